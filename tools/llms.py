"""Generates `llms.txt` (https://llmstxt.org): the pages of the documentation, each with what it has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


def llms_txt(generated: Mapping[str, str]) -> str:
    """The text. Its links are paths in the repository; `docs/links.py` makes those of the site from them.

    Args:
        generated: The generated files, by their path: what is on the disk may be older.
    """
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))

    def entries(nav: Any) -> Iterator[str]:
        for entry in nav:
            ((title, name),) = entry.items()
            path = f"docs/{name}" if (ROOT / "docs" / name).exists() or f"docs/{name}" in generated else name
            text = generated.get(path) or (ROOT / path).read_text("utf-8")
            yield f"- [{title}]({path}): {_contents(text)}"

    sections = [("Start", [entry for entry in site["nav"] if isinstance(next(iter(entry.values())), str)])]
    sections += [item for entry in site["nav"] for item in entry.items() if not isinstance(item[1], str)]
    parts = [f"# {site['site_name']}", f"> {site['site_description']}"]
    parts += ["\n".join([f"## {title}", "", *entries(nav)]) for title, nav in sections]
    return "\n\n".join(parts) + "\n"


def _contents(markdown: str) -> str:
    """The first sentence of a page and its headings; of one that begins with a list, that list's bold beginnings."""
    prose = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    first = next((part for part in prose.split("\n\n") if not re.match(r"\s*(#|<|\||!|- )", part)), "")
    headings = re.findall(r"^## (.+)$", prose, re.MULTILINE)
    if not first:
        headings = re.findall(r"^- \*\*([^*]+?)[.:]?\*\*", prose.partition("\n## ")[0], re.MULTILINE) + headings
    sentence = re.split(r"(?<=[.:])\s", " ".join(first.split()))[0].replace(":", ".")
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", f"{sentence} {'; '.join(headings)}")
    return text.replace("**", "").strip()
