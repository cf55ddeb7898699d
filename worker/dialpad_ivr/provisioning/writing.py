"""Writes rows as a file of changes: what `changes.read_changes` reads as the same rows again."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import yaml

from dialpad_ivr.provisioning.columns import FIELDS
from dialpad_ivr.provisioning.formats import FORMULA_SIGNS

Row = Mapping[str, str]
"""Text by column; a column that is empty may be absent."""

COLUMNS: Final = ("target_type", "target_id", "target", "office", "ivr_type", "ivr_id", "ivr")
_FORMULA: Final = re.compile(f"'*[{FORMULA_SIGNS}]")
# A spreadsheet that takes another separator than the comma, which may be that of its country, begins a cell here.
_FORMULA_WITHIN: Final = re.compile(rf"[;\t\r\n][\s\"']*[{FORMULA_SIGNS}]")
_YAML_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times faster, where available


def can_write(name: str) -> bool:
    """Whether a name can be in a delimited file: one that a spreadsheet would compute in part cannot."""
    return not _FORMULA_WITHIN.search(name)


def csv_text(rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> str:
    """Rows as CSV, with these columns and others that are filled in. An apostrophe keeps a name from being computed."""
    more = [name for name in FIELDS if name not in columns and any(row.get(name) for row in rows)]
    head = (*columns, *more)
    return "".join(map(_line, [head, *([_cell(row.get(name, "")) for name in head] for row in rows)]))


def json_text(rows: Sequence[Row]) -> str:
    """Rows as JSON, each in a line of its own."""
    lines = (json.dumps(_filled(row), ensure_ascii=False) for row in rows)
    return "[\n" + ",\n".join(f"  {line}" for line in lines) + "\n]\n"


def yaml_text(rows: Sequence[Row]) -> str:
    """Rows as YAML."""
    dumped = yaml.dump([_filled(row) for row in rows], Dumper=_YAML_DUMPER, allow_unicode=True, sort_keys=False)
    return str(dumped)


WRITERS: Final[dict[str, Callable[[Sequence[Row]], str]]] = {
    ".csv": csv_text,
    ".json": json_text,
    ".yaml": yaml_text,
    ".yml": yaml_text,
}
"""By the suffix of the file."""


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # only what is in the terminator is quoted in a cell
    return text.getvalue().removesuffix("\r\n") + "\n"


def _cell(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def _filled(row: Row) -> dict[str, str]:
    return {name: text for name, text in row.items() if text}
