"""Notes on the rows of a plan that select what callers cannot hear now. They never keep a row from being applied."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from dialpad_ivr.contract.playback import CallHandling, may_be_silent, why_silent
from dialpad_ivr.provisioning.plan import PlannedChange
from dialpad_ivr.tasks.directory import RefusedError

HandlingOf = Callable[[str, str, str], Awaitable[CallHandling | None]]
"""How the target of a credential, a type and an id handles calls; `None` if there is none. Raises `RefusedError`."""

_Target = tuple[str, str, str]  # credential, target type, target id


async def note_silent_rows(
    rows: Sequence[PlannedChange], handling_of: HandlingOf, on_read: Callable[[int, int], None]
) -> tuple[list[PlannedChange], tuple[str, ...]]:
    """Add a note to each row to change whose slot callers cannot hear, with the settings that its target has now.

    Args:
        rows: The rows of a plan.
        handling_of: Called once for each target that matters.
        on_read: Progress callback: the number of targets looked at, and the total.

    Returns:
        The rows, and a warning if some targets could not be read: their rows are as they were.
    """
    wanted = {_target(row) for row in rows if row.action == "change" and may_be_silent(row.target_type, row.ivr_type)}
    if not wanted:
        return list(rows), ()
    handling: dict[_Target, CallHandling | None] = {}
    reasons: dict[_Target, str] = {}

    async def read(target: _Target) -> None:
        found = None
        try:
            found = await handling_of(*target)
            if found is None:
                reasons[target] = f"Dialpad does not show {target[1]} {target[2]}."
        except RefusedError as exc:
            reasons[target] = exc.verdict.message
        handling[target] = found
        on_read(len(handling), len(wanted))

    on_read(0, len(wanted))
    await asyncio.gather(*(read(target) for target in sorted(wanted)))
    noted = [_noted(row, handling.get(_target(row))) for row in rows]
    if not reasons:
        return noted, ()
    count = f"{len(reasons)} of {len(wanted)} target{'s' if len(wanted) > 1 else ''}"
    unknown = f"Whether callers can hear the changes is not known for {count}: their settings could not be read."
    return noted, (f"{unknown} {reasons[min(reasons)]}",)


def _target(row: PlannedChange) -> _Target:
    return (row.credential, row.target_type, row.target_id)


def _noted(row: PlannedChange, handling: CallHandling | None) -> PlannedChange:
    if row.action != "change" or handling is None:
        return row
    note = why_silent(row.target_type, row.ivr_type, row.select_option, handling)
    return row.model_copy(update={"note": f"{row.note} {note}".strip()}) if note else row
