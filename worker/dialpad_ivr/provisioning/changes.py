"""A file of changes, read into valid rows and every violation at once."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from dialpad_ivr.contract.inputs import SetCustomIvrInput
from dialpad_ivr.contract.outputs import FieldError
from dialpad_ivr.contract.validation import check_input, short
from dialpad_ivr.provisioning.formats import (
    EXAMPLE,
    EXAMPLE_JSON,
    FIELDS,
    READERS,
    ChangesError,
    Row,
    Violation,
    check_names,
    clean,
    delimited_rows,
)

__all__ = ["MAX_BYTES", "MAX_ROWS", "Change", "Changes", "ChangesError", "Violation", "read_changes"]

MAX_ROWS: Final = 10_000  # at 1200 changes a minute more than eight minutes of work; a longer file is hardly meant
MAX_BYTES: Final = 20_000_000  # 2,000 bytes a row, ten times what a change needs; bounds memory and time


@dataclass(frozen=True)
class Change:
    """One valid row."""

    line: int  # 1-based, where the row begins
    asked: SetCustomIvrInput  # its mode is always "apply"


@dataclass(frozen=True)
class Changes:
    """What a file holds. Apply nothing of it unless `violations` is empty."""

    changes: tuple[Change, ...]  # in the file's order
    violations: tuple[Violation, ...]  # in the order of lines


class _FirstRow(NamedTuple):
    """An earlier row of the same slot."""

    line: int
    ivr_id: str
    credential: str | None  # None: not a valid name, so nothing can be said about it


# By target type, target id and IVR type; in each by select_option.
_Taken = dict[tuple[str, str, str], dict[str | None, _FirstRow]]


def read_changes(path: Path) -> Changes:
    """Read a file of changes.

    Args:
        path: A .csv, .tsv or .txt file (separated by commas, semicolons or tabs, with a header row), or a .json, .yaml
            or .yml file (a list of objects, or an object with such a list in "changes"). UTF-8, or UTF-16 with a BOM.

    Returns:
        The valid rows, and every violation: of a field, of the file's form, and of a row with an earlier one. A slot
        may be set by one row only. So even a row that repeats another is a violation: mostly it is a copy of which
        somebody forgot to change the target, and to skip it would hide that a target was left out.

    Raises:
        ChangesError: The file cannot be opened, is too large, or is not text, CSV, JSON or YAML.
    """
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise ChangesError(f"{path}: the name must end in {', '.join(READERS)}. {_SAVE_AS}")
    changes: list[Change] = []
    violations: list[Violation] = []
    taken: _Taken = {}
    count = 0
    try:
        for count, row in enumerate(islice(read(_text(path), violations), MAX_ROWS + 1), start=1):
            if count > MAX_ROWS:
                message = f"The file has more than {MAX_ROWS:,} rows; from here on nothing was read."
                violations.append(Violation(row.line, "$", message, "Split it into several files."))
                break
            asked, found = _check(row, taken, delimited=read is delimited_rows)
            violations += found
            if asked:
                changes.append(Change(row.line, asked))
    except ChangesError as exc:
        raise ChangesError(f"{path}: {exc}") from exc
    if not count and not violations:
        example = EXAMPLE if read is delimited_rows else EXAMPLE_JSON
        violations.append(Violation(1, "$", "The file holds no changes.", f"For example: {example}"))
    violations += _rounded(changes)
    return Changes(tuple(changes), tuple(sorted(violations, key=lambda violation: violation.line)))


_SAVE_AS: Final = 'In Excel, save as "CSV UTF-8 (comma delimited)".'


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise ChangesError(f"cannot be read ({exc.strerror}). Check its name, and that you may read it.") from exc
    if len(data) > MAX_BYTES:
        raise ChangesError(f"larger than {MAX_BYTES // 1_000_000} MB. Split it into several files.")
    if data.startswith(b"PK\x03\x04"):
        raise ChangesError(f"an Excel workbook, not text. {_SAVE_AS}")
    try:
        text = data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise ChangesError(f"not text in UTF-8 (line {line}). {_SAVE_AS}") from exc
    if "\0" in text:
        raise ChangesError(f"not text in UTF-8, or in UTF-16 with a byte order mark. {_SAVE_AS}")
    return text


def _check(row: Row, taken: _Taken, *, delimited: bool) -> tuple[SetCustomIvrInput | None, list[Violation]]:
    if row.problem:
        return None, [row.problem]
    pairs = list(row.pairs)
    found = list(check_names(row.line, [name for name, _ in pairs], FIELDS))
    values = {name: clean(value) for name, value in pairs if isinstance(name, str) and name in FIELDS}
    asked = check_input(values, SetCustomIvrInput)
    credential_known = True
    if isinstance(asked, list):
        # Where rows share a header, a column that is missing is a violation of the header, not of each row.
        errors = [error for error in asked if error.rule != "required" or not delimited]
        found += [_explain(row.line, error, values.get(error.path)) for error in errors]
        if [error.path for error in asked] != ["credential"]:
            return None, found
        # The slot can still be compared with earlier rows.
        credential_known, asked = False, SetCustomIvrInput.model_validate({**values, "credential": None})
    found += _conflicts(row.line, asked, asked.credential if credential_known else None, taken)
    return None if found else asked, found


_FORMAT_AS_TEXT: Final = "In the spreadsheet, format the column as text"
_DAMAGE: Final = tuple(
    (re.compile(pattern), what, hint)
    for pattern, what, hint in (
        (
            "[+-]?[0-9]+([.,][0-9]*)?[eE][+-]?[0-9]+",
            "scientific notation, in which digits are lost",
            f"{_FORMAT_AS_TEXT}, enter the ids again, and export again: this file does not hold the lost digits.",
        ),
        (
            "[0-9]{1,3}([., '\N{RIGHT SINGLE QUOTATION MARK}_\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}][0-9]{3})+",
            "a number with thousands separators",
            f"{_FORMAT_AS_TEXT} and export again, or write the digits alone.",
        ),
        (
            "[0-9]+[.,][0-9]*",
            "a number with decimals",
            f"{_FORMAT_AS_TEXT}, compare the ids with Dialpad's, and export again: digits may be lost.",
        ),
        (
            "['`\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}][0-9]+",
            "an id with an apostrophe in front",
            "Delete the apostrophe.",
        ),
    )
)


def _explain(line: int, error: FieldError, value: Any) -> Violation:
    """A violation of a field; what a spreadsheet did to an id is called by its name."""
    if error.path.endswith("_id") and isinstance(value, str):
        for pattern, what, hint in _DAMAGE:
            if pattern.fullmatch(value):
                return Violation(line, error.path, f'{error.path} is "{short(value)}": {what}.', hint)
    return Violation(line, error.path, error.message, error.hint, tuple(error.allowed), error.suggestion)


def _rounded(changes: Iterable[Change]) -> Iterator[Violation]:
    """Spreadsheets keep 15 digits of a number and write zeros for the rest; such ids look valid, and are others.

    A single id may well end in zeros. That eight different ones all do is chance in less than one file in 100,000,
    even where ids are even numbers only.
    """
    for name in ("target_id", "ivr_id"):
        lines: dict[str, int] = {}
        for change in changes:
            value = getattr(change.asked, name)
            if len(value) > 15:
                lines.setdefault(value, change.line)
        if len(lines) >= 8 and all(value[15:].strip("0") == "" for value in lines):
            message = f"Every {name} of more than 15 digits ends in zeros: a spreadsheet has rounded them."
            hint = f"{_FORMAT_AS_TEXT}, enter the ids again, and export again: this file does not hold the lost digits."
            yield Violation(min(lines.values()), name, message, hint)


def _conflicts(
    line: int,
    asked: SetCustomIvrInput,
    credential: str | None,
    taken: _Taken,
) -> Iterator[Violation]:
    """Earlier rows for the same slot; a row without select_option is for both directions. Remembers this row too."""
    rows = taken.setdefault((asked.target_type, asked.target_id, asked.ivr_type), {})
    option = asked.select_option
    same = [earlier for other, earlier in rows.items() if option in (None, other) or other is None]
    rows.setdefault(option, _FirstRow(line, asked.ivr_id, credential))
    if not same:
        return
    slot = f"{asked.ivr_type} of {asked.target_type} {asked.target_id}"
    both = " A row without select_option is for both directions." if {*rows} != {option} else ""
    contradicting = next((earlier for earlier in same if earlier.ivr_id != asked.ivr_id), None)
    if contradicting:
        message = f"ivr_id is {asked.ivr_id}, but line {contradicting.line} sets {slot} to {contradicting.ivr_id}."
        yield Violation(line, "ivr_id", message, f"Delete one of the two rows, or correct what it is for.{both}")
    other = next((e for e in same if e.credential and credential and e.credential != credential), None)
    if other:  # neither value is repeated: somebody may have pasted a key
        message = f"Line {other.line} sets {slot} with another credential."
        yield Violation(line, "credential", message, f"Delete one of the two rows, or correct what it is for.{both}")
    if not contradicting and not other:
        message = f"Line {same[0].line} sets {slot} to {asked.ivr_id} already."
        yield Violation(line, "$", message, f"Delete this row; if it was meant for another target, correct it.{both}")
