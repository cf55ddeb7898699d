"""Reading and validating a file of changes: the valid rows, and all validation errors at once."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from dialpad_ivr.contract.ids import LOST_DIGITS
from dialpad_ivr.contract.inputs import ListTargetsInput, SetCustomIvrInput
from dialpad_ivr.contract.validation import short
from dialpad_ivr.provisioning.columns import COLUMNS, EXAMPLE, EXAMPLE_JSON, FIELDS, INSTEAD_OF, RowValues, check_values
from dialpad_ivr.provisioning.formats import (
    READERS,
    ChangesError,
    Row,
    Violation,
    check_names,
    clean,
    delimited_rows,
)
from dialpad_ivr.provisioning.windows import RowWindow, row_window

__all__ = [
    "MAX_BYTES",
    "MAX_ROWS",
    "Change",
    "Changes",
    "ChangesError",
    "FirstRows",
    "Violation",
    "change_of",
    "conflicts",
    "group_violations",
    "read_changes",
]

MAX_ROWS: Final = 10_000  # over eight minutes at 1,200 changes per minute
MAX_BYTES: Final = 20_000_000  # 2,000 bytes per row, ten times what a change needs; bounds memory and time


@dataclass(frozen=True)
class Change:
    """One valid row, or one of the changes that a row with a wildcard stands for.

    Attributes:
        line: 1-based, where the row begins.
        target_id: `None` until the target has been looked up.
        ivr_id: `None` until the IVR has been looked up.
        wanted: What the row names as its target, if it names one; a `target_id` beside it must be among what is found.
        ivr: The name of the IVR, if the row names it; an `ivr_id` beside it must be of that name.
        target_name: The target's name in Dialpad, where it has been looked up.
        office_name: The name of its office.
        window: When the change is made and when it ends, if the row says so.
    """

    line: int
    target_type: str
    target_id: str | None
    ivr_type: str
    ivr_id: str | None
    select_option: str | None = None
    credential: str = "default"
    wanted: ListTargetsInput | None = None
    ivr: str | None = None
    target_name: str | None = None
    office_name: str | None = None
    window: RowWindow | None = None

    @property
    def params(self) -> SetCustomIvrInput:
        """The input of the task. Its mode is always "apply".

        Raises:
            ValidationError: The target or the IVR has not been looked up.
        """
        return SetCustomIvrInput.model_validate({name: getattr(self, name) for name in FIELDS})


@dataclass(frozen=True)
class Changes:
    """The contents of a file. Do not apply any of it unless `violations` is empty.

    Attributes:
        changes: In file order.
        violations: By line; those of windows are for `windows.window_violations` to find.
        windows: Of each row, valid or not, its line and its window.
    """

    changes: tuple[Change, ...]
    violations: tuple[Violation, ...]
    windows: tuple[tuple[int, RowWindow | None], ...] = ()

    @property
    def has_windows(self) -> bool:
        """Whether a row says when its change is made, or when it ends."""
        return any(window for _, window in self.windows)


class _FirstRow(NamedTuple):
    """The first row for a slot."""

    line: int
    ivr: str
    credential: str | None  # None if invalid, and then not compared


FirstRows = dict[tuple[str, str | None, str, RowWindow | None], dict[str | None, _FirstRow]]
"""The first rows by target type, target id, IVR type and window, then by select_option."""


def read_changes(path: Path) -> Changes:
    """Read a file of changes.

    Args:
        path: A .csv, .tsv or .txt file (separated by commas, semicolons or tabs, with a header row), or a .json, .yaml
            or .yml file (a list of objects, or an object with such a list in "changes"). UTF-8, or UTF-16 with a BOM.

    Returns:
        The valid rows, and every violation: invalid fields, malformed rows, and conflicts between rows. A slot may be
        set by one row only. An exact duplicate is a violation too: it is usually a copied row whose target was never
        changed, and skipping it would hide the target that is missing.

    Raises:
        ChangesError: The file cannot be opened, is too large, or is not text, CSV, JSON or YAML.
    """
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise ChangesError(f"{path}: the name must end in {', '.join(READERS)}. {_SAVE_AS}")
    changes: list[Change] = []
    violations: list[Violation] = []
    windows: list[tuple[int, RowWindow | None]] = []
    first_rows: FirstRows = {}
    count = 0
    try:
        for count, row in enumerate(islice(read(_text(path), violations), MAX_ROWS + 1), start=1):
            if count > MAX_ROWS:
                message = f"The file has more than {MAX_ROWS:,} rows. The rest was not read."
                violations.append(Violation(row.line, "$", message, "Split it into several files."))
                break
            change, window, found = _check(row, first_rows, delimited=read is delimited_rows)
            violations += found
            windows += [] if row.problem else [(row.line, window)]
            if change:
                changes.append(change)
    except ChangesError as exc:
        raise ChangesError(f"{path}: {exc}") from exc
    if not count and not violations:
        example = EXAMPLE if read is delimited_rows else EXAMPLE_JSON
        violations.append(Violation(1, "$", "The file has no changes.", f"For example: {example}"))
    violations += _rounded_ids(changes)
    return Changes(tuple(changes), tuple(sorted(violations, key=lambda violation: violation.line)), tuple(windows))


class ViolationGroup(NamedTuple):
    """A violation that occurs in one or more rows."""

    violation: Violation  # as in the first row
    lines: tuple[int, ...]  # ascending, without duplicates


def group_violations(violations: Iterable[Violation]) -> list[ViolationGroup]:
    """Group violations that differ only in their line, and so in what finds an id there; in order of first lines."""
    groups: dict[Violation, list[Violation]] = {}
    for violation in violations:
        groups.setdefault(replace(violation, line=0, hint=""), []).append(violation)
    return [ViolationGroup(group[0], tuple(sorted({each.line for each in group}))) for group in groups.values()]


_SAVE_AS: Final = 'In Excel, save as "CSV UTF-8 (comma delimited)".'


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise ChangesError(f"cannot be read ({exc.strerror}). Check the path and your permissions.") from exc
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


def _check(
    row: Row, first_rows: FirstRows, *, delimited: bool
) -> tuple[Change | None, RowWindow | None, list[Violation]]:
    if row.problem:
        return None, None, [row.problem]
    pairs = list(row.pairs)
    found = list(check_names(row.line, [name for name, _ in pairs], COLUMNS))
    values = {name: clean(value) for name, value in pairs if isinstance(name, str) and name in COLUMNS}
    window = row_window(values)
    checked = check_values(values)
    credential_valid = True
    if isinstance(checked, list):
        # In a delimited file, a missing column is reported once, for the header.
        needed = ({name, *INSTEAD_OF.get(name, ())} for name in FIELDS) if delimited else ()
        missing = {path for paths in needed if not paths & {*values} for path in paths}
        found += [
            Violation(row.line, error.path, error.message, error.hint, tuple(error.allowed), error.suggestion)
            for error in checked
            if error.rule != "required" or error.path not in missing
        ]
        if [error.path for error in checked] != ["credential"]:
            return None, window, found
        # The slot can still be compared with earlier rows.
        credential_valid, checked = False, check_values({**values, "credential": None})
        if isinstance(checked, list):
            return None, window, found
    change = change_of(row.line, checked, window)
    if change.target_id is not None:
        found += conflicts(change, change.credential if credential_valid else None, first_rows)
    return None if found else change, window, found


def change_of(line: int, checked: RowValues, window: RowWindow | None = None) -> Change:
    """The change of a row whose values are valid."""
    params = checked.params
    return Change(
        line,
        params.target_type,
        params.target_id if checked.has_target_id else None,
        params.ivr_type,
        params.ivr_id if checked.has_ivr_id else None,
        params.select_option,
        params.credential,
        checked.wanted,
        checked.ivr,
        window=window,
    )


def _rounded_ids(changes: Iterable[Change]) -> Iterator[Violation]:
    """Detect ids that a spreadsheet has rounded to 15 significant digits. They look valid but are different ids.

    A single id may end in zeros. Eight distinct ids that all do so by chance occur in less than one file in 100,000,
    even if all ids are even.
    """
    for name in ("target_id", "ivr_id"):
        lines: dict[str, int] = {}
        for change in changes:
            value = getattr(change, name)
            if value is not None and len(value) > 15:
                lines.setdefault(value, change.line)
        if len(lines) >= 8 and all(value[15:].strip("0") == "" for value in lines):
            message = f"Every {name} of more than 15 digits ends in zeros. A spreadsheet has rounded them."
            yield Violation(min(lines.values()), name, message, LOST_DIGITS)


def conflicts(change: Change, credential: str | None, first_rows: FirstRows) -> Iterator[Violation]:
    """Conflicts with earlier rows for the same slot. Adds this row to `first_rows`.

    A row without select_option sets both directions. Rows of different windows are not compared: see `planned_ahead`.

    Args:
        change: A row whose target is known.
        credential: Its credential; `None` if it is invalid.
        first_rows: The earlier rows.
    """
    rows = first_rows.setdefault((change.target_type, change.target_id, change.ivr_type, change.window), {})
    option, line = change.select_option, change.line
    column, ivr = "ivr_id" if change.ivr_id else "ivr", change.ivr_id or f'"{short(change.ivr or "")}"'
    same_slot = [earlier for other, earlier in rows.items() if option in (None, other) or other is None]
    rows.setdefault(option, _FirstRow(line, ivr, credential))
    if not same_slot:
        return
    name = f' ("{short(change.target_name)}")' if change.target_name else ""
    slot = f"{change.ivr_type} of {change.target_type} {change.target_id}{name}"
    both = " A row without select_option sets both directions." if {*rows} != {option} else ""
    conflicting = next((earlier for earlier in same_slot if earlier.ivr != ivr), None)
    if conflicting:
        message = f"{column} is {ivr}, but line {conflicting.line} sets {slot} to {conflicting.ivr}."
        yield Violation(line, column, message, f"Delete one of the two rows, or correct the wrong one.{both}")
    other = next((e for e in same_slot if e.credential and credential and e.credential != credential), None)
    if other:  # the message omits both values: one may be a pasted key
        message = f"Line {other.line} sets {slot} with a different credential."
        yield Violation(line, "credential", message, f"Delete one of the two rows, or correct the wrong one.{both}")
    if not conflicting and not other:
        message = f"Line {same_slot[0].line} already sets {slot} to {ivr}."
        yield Violation(line, "$", message, f"Delete this row, or correct its target.{both}")
