"""MkDocs hook: adds the pages outside `docs/`, and makes relative links work on the site as in the repository.

Beside each page lies its Markdown, and in the site's root is `llms.txt`, which leads to these.
"""

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

_markdown: dict[str, str] = {}  # of each page on the site


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

    _markdown[here] = re.sub(r"\]\((?![a-z]+:|#|/)([^)#]+)", on_site, markdown)
    return _markdown[here]


def on_post_build(config: MkDocsConfig) -> None:
    """Write each page's Markdown, and `llms.txt` with the site's paths."""
    site = Path(config.site_dir)
    for name, text in _markdown.items():
        (site / name).write_text(text, "utf-8")
    index = (ROOT / "llms.txt").read_text("utf-8")
    (site / "llms.txt").write_text(index.replace("](docs/", "]("), "utf-8")
