"""The docs as the tests read them: their pages, the blocks in them, and the commands in those."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md"), *(ROOT / "deploy").glob("*.md")])
_IN_NAVIGATION = re.compile(r"^ +- [^:]+: (\S+\.md)$", re.MULTILINE)
# The pages of the site, in the order of its navigation; some lie outside docs/.
NAVIGATION = [
    next(folder / name for folder in (ROOT / "docs", ROOT) if (folder / name).is_file())
    for name in _IN_NAVIGATION.findall((ROOT / "mkdocs.yml").read_text("utf-8"))
]

_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_FAILS = re.compile(r"\s+# exits with (\d+)$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: Its page, relative to the root.
        kind: Its language.
        title: The file that it is, if it is one.
    """

    page: str
    kind: str
    title: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.title or self.text[:40]!r}"


@dataclass(frozen=True)
class Shown:
    """A command of a `console` block, and what it is shown to print."""

    command: str
    code: int
    lines: tuple[str, ...]

    def missing_in(self, output: str) -> list[str]:
        """The lines shown that are not in the output; `...` stands for anything, and spaces do not count."""
        real = [_spaced(line) for line in output.splitlines()]
        return [line for line in self.lines if not any(_pattern(line).fullmatch(each) for each in real)]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in their order."""
    name = page.relative_to(ROOT).as_posix()
    return [Block(name, *found.groups()) for found in _BLOCK.finditer(page.read_text("utf-8"))]


def shown(block: Block) -> list[Shown]:
    """The commands of a `console` block."""
    commands: list[Shown] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            fails = _FAILS.search(line)
            commands.append(Shown(_FAILS.sub("", line[2:]), int(fails[1]) if fails else 0, ()))
        elif line.strip() not in ("", "..."):
            last = commands.pop()
            commands.append(Shown(last.command, last.code, (*last.lines, line)))
    return commands


def _spaced(line: str) -> str:
    return " ".join(line.split())


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in _spaced(line).split("...")))
