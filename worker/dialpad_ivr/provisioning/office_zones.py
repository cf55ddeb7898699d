"""The time zones of rows that name none: those of their targets' offices, where they are known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

from dialpad_ivr.contract.validation import short
from dialpad_ivr.provisioning.plan import PlannedChange
from dialpad_ivr.provisioning.times import read_zone
from dialpad_ivr.tasks.directory import RefusedError

ZoneOf = Callable[[str, str, str], Awaitable[str | None]]
"""The time zone of the office of a target, by its credential, type and id; `None` if unknown. Raises `RefusedError`."""

_Target = tuple[str, str, str]  # credential, target type, target id


async def with_office_zones(
    rows: Sequence[PlannedChange], zone_of: ZoneOf, on_read: Callable[[int, int], None]
) -> tuple[list[PlannedChange], tuple[str, ...]]:
    """Give each row with a window, but without a zone, the one of its target's office.

    Args:
        rows: The rows of a plan.
        zone_of: Called once for each target that matters.
        on_read: Progress callback: the number of targets looked at, and the total.

    Returns:
        The rows, and a warning if some zones are not known: their rows are as they were.
    """
    wanted = {_target(row) for row in rows if row.window and not row.window.zone}
    if not wanted:
        return list(rows), ()
    zones: dict[_Target, str | None] = {}
    reasons: dict[_Target, str] = {}

    async def read(target: _Target) -> None:
        zone = None
        try:
            zone = await zone_of(*target)
            if zone is None:
                reasons[target] = f"Dialpad does not show that of {target[1]} {target[2]}."
            elif not isinstance(read_zone(zone), ZoneInfo):
                reasons[target] = f'"{short(zone)}", which Dialpad shows, is no time zone.'
                zone = None
        except RefusedError as exc:
            reasons[target] = exc.verdict.message
        zones[target] = zone
        on_read(len(zones), len(wanted))

    on_read(0, len(wanted))
    await asyncio.gather(*(read(target) for target in sorted(wanted)))
    zoned = [_in_zone(row, zones.get(_target(row))) for row in rows]
    if not reasons:
        return zoned, ()
    count = f"{len(reasons)} of {len(wanted)} target{'s' if len(wanted) > 1 else ''}"
    return zoned, (f"The time zone of the office is not known for {count}. {reasons[min(reasons)]}",)


def _target(row: PlannedChange) -> _Target:
    return (row.credential, row.target_type, row.target_id)


def _in_zone(row: PlannedChange, zone: str | None) -> PlannedChange:
    if row.window is None or row.window.zone or zone is None:
        return row
    return row.model_copy(update={"window": replace(row.window, zone=zone)})
