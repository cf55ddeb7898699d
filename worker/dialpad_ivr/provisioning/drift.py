"""Compares a file of changes with what is selected: a state for each row, however its target is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any, Final, Literal, get_args

from dialpad_ivr.provisioning.changes import Change
from dialpad_ivr.provisioning.columns import FIELDS
from dialpad_ivr.provisioning.plan import Action, PlannedChange
from dialpad_ivr.provisioning.reader import Reader
from dialpad_ivr.provisioning.report import report_csv
from dialpad_ivr.provisioning.snapshot import read_selections
from dialpad_ivr.provisioning.targets import Problem, Unresolved, called_as_wanted, resolve_targets

State = Literal[
    "in_sync",
    "differs",
    "missing_target",
    "ambiguous_target",
    "missing_ivr",
    "ambiguous_ivr",
    "conflict",
    "unreadable",
]
"""What became of a row: `conflict` sets the same slot as an earlier row; `unreadable` could not be compared."""

STATES: Final[tuple[State, ...]] = get_args(State)

_COLUMNS: Final = ("line", "state", *FIELDS, "target", "office", "ivr", "selected", "message")
_BY_ACTION: Final[dict[Action, State]] = {
    "unchanged": "in_sync",
    "change": "differs",
    "unknown_target": "missing_target",
    "missing_ivr": "missing_ivr",
    "ambiguous_ivr": "ambiguous_ivr",
    "unreadable": "unreadable",
}
_BY_PROBLEM: Final[dict[Problem, State]] = {
    "no_target": "missing_target",
    "several_targets": "ambiguous_target",
    "same_slot": "conflict",
    "too_many": "unreadable",
}


@dataclass(frozen=True)
class CheckedRow:
    """A row, or one of the targets of a row with a wildcard.

    Attributes:
        row: As a plan has it: what the file wants (`ivr_id`, `ivr_name`), what is selected (`previous`), and a note.
    """

    state: State
    row: PlannedChange


async def check_rows(
    changes: Sequence[Change], reader: Reader, on_progress: Callable[[str, int, int], None]
) -> list[CheckedRow]:
    """Look up the targets that rows name, read what is selected, and compare. Changes nothing.

    Args:
        changes: Valid rows.
        reader: Reads the lists; of a target's IVRs, one for all of its rows.
        on_progress: Progress callback: what is being read, how many were, and the total.

    Returns:
        The rows by line, a row for each target of a wildcard. A name that means no target, or several, is a state of
        its row; the other rows are compared all the same.
    """
    resolved = await resolve_targets(changes, reader, partial(on_progress, "Looking up targets"))
    read = await read_selections(resolved.changes, reader, partial(on_progress, "Reading current selections"))
    checked = [*map(_unresolved, resolved.unresolved), *map(compared, (*resolved.unreadable, *read))]
    return sorted(checked, key=lambda each: (each.row.line, each.row.slot))


def compared(row: PlannedChange) -> CheckedRow:
    """The state of a row whose target was looked up, and its selection read."""
    if row.action != "change" or row.select_option is None:
        return CheckedRow(_BY_ACTION[row.action], row)
    # A plan sets it again to be sure; the list shows what is selected, but not for which direction.
    selected = {ivr.id for ivr in row.previous}
    if selected == {row.ivr_id}:
        return CheckedRow("in_sync", row.model_copy(update={"note": ""}))
    if row.ivr_id not in selected:
        return CheckedRow("differs", row)
    note = f"It is selected beside another one: Dialpad's list does not say which is {row.select_option}."
    return CheckedRow("unreadable", row.model_copy(update={"note": note}))


def _unresolved(unresolved: Unresolved) -> CheckedRow:
    change, violation = unresolved.change, unresolved.violation
    note = f"{violation.message} {violation.hint}"
    row = PlannedChange.of(called_as_wanted(change), "unreadable", note=note)
    return CheckedRow(_BY_PROBLEM[unresolved.problem], row)


def counts(checked: Iterable[CheckedRow]) -> dict[State, int]:
    """Rows by state, in the order of `STATES`; only states that occur."""
    counted = Counter(each.state for each in checked)
    return {state: counted[state] for state in STATES if counted[state]}


def drift_rows(checked: Iterable[CheckedRow]) -> list[dict[str, Any]]:
    """The rows of a report, by column."""
    return [
        {
            "line": row.line,
            "state": state,
            **{name: getattr(row, name) for name in FIELDS},
            "target": row.target_name,
            "office": row.office_name,
            "ivr": row.ivr_name,
            "selected": [ivr.model_dump() for ivr in row.previous],
            "message": row.note,
        }
        for state, row in ((each.state, each.row) for each in checked)
    ]


def drift_report(
    checked: Sequence[CheckedRow], api_url: str, source: str, resumed: tuple[int, float] = (0, 0.0)
) -> dict[str, Any]:
    """The report, for JSON.

    Args:
        checked: The rows.
        api_url: Base URL of the API that was read.
        source: The file's name.
        resumed: How many targets an interrupted command had read, and how many seconds before at most.
    """
    count, seconds = resumed
    return {
        "source": source,
        "api_url": api_url,
        "checked_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "read_earlier": {"targets": count, "seconds": round(seconds)},
        "in_sync": all(each.state == "in_sync" for each in checked),
        "counts": counts(checked),
        "rows": drift_rows(checked),
    }


def drift_csv(checked: Sequence[CheckedRow]) -> str:
    """The report as CSV, safe to open in a spreadsheet."""
    rows = [
        {**row, "selected": ", ".join(f"{ivr['name'] or 'unnamed'} ({ivr['id']})" for ivr in row["selected"])}
        for row in drift_rows(checked)
    ]
    return report_csv(rows, _COLUMNS)
