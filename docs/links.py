"""MkDocs hook: adds the pages outside `docs/`, and makes relative links work on the site as in the repository."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "deploy/*.md", "workflows/*.json", "task_defs/*.json")
    for path in ROOT.glob(pattern)
    if path.name != "README.md" or path.parent != ROOT  # the site's front page is docs/index.md
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside `docs/`."""
    for name in OUTSIDE:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite relative links from paths in the repository to paths on the site."""
    here = page.file.src_uri
    folder = posixpath.dirname(here if here in OUTSIDE else f"docs/{here}")

    def on_site(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[1]))
        target = "index.md" if target == "README.md" else target.removeprefix("docs/")
        return f"]({posixpath.relpath(target, posixpath.dirname(here) or '.')}"

    return re.sub(r"\]\((?![a-z]+:|#|/)([^)#]+)", on_site, markdown)
