"""Rows of a check that differ only while an override is on: what it restores is what the file wants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from dialpad_ivr.contract.validation import short
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.provisioning.drift import CheckedRow
from dialpad_ivr.provisioning.override_report import OverrideRun
from dialpad_ivr.provisioning.overrides import Override, meets_direction, running_overrides, slot_of
from dialpad_ivr.provisioning.report import MAY_BE_MADE

_Slot = tuple[str, ...]  # credential profile, target type, target id and IVR type


@dataclass(frozen=True)
class Overridden:
    """An IVR that an override has selected in a slot.

    Attributes:
        direction: `inbound`, `outbound` or "" for both.
        restores: The id of what it selects at its end.
    """

    override: Override
    direction: str
    ivr_id: str
    restores: str


def with_overrides(
    checked: Sequence[CheckedRow], engine: EngineApi, when: Callable[[datetime], str]
) -> list[CheckedRow]:
    """The rows of a check, with those in sync that will be so once the overrides that are on have ended.

    A row that is in sync only because of an override stays so: a plan of it would change nothing. Each row that is
    overridden has a note: until when, by which override, and what that restores if it is not what the file wants.

    Args:
        checked: The rows.
        engine: The engine that the overrides run on.
        when: Writes a time for people.

    Raises:
        EngineError: The engine did not answer.
    """
    slots = {_slot(each) for each in checked if each.state in ("differs", "in_sync")}
    if not slots:
        return list(checked)
    overridden: dict[_Slot, list[Overridden]] = defaultdict(list)
    for override in running_overrides(engine):
        if override.on and slots & {slot[:4] for slot in override.slots}:
            for slot, found in _selected(engine, override):
                overridden[slot].append(found)
    return [_noted(each, overridden.get(_slot(each), ()), when) for each in checked]


def _slot(each: CheckedRow) -> _Slot:
    return slot_of(each.row.model_dump())[:4]


def _selected(engine: EngineApi, override: Override) -> Iterable[tuple[_Slot, Overridden]]:
    """What an override has selected, by slot; what it restores was read shortly before it began."""
    for row in OverrideRun(engine, override).rows:
        if row.made in MAY_BE_MADE:
            slot = (row.credential, row.target_type, row.target_id, row.ivr_type)
            yield slot, Overridden(override, row.select_option or "", row.ivr_id, row.previous)


def _noted(each: CheckedRow, overridden: Iterable[Overridden], when: Callable[[datetime], str]) -> CheckedRow:
    row = each.row
    here = [found for found in overridden if meets_direction(row.select_option or "", {found.direction})]
    if each.state not in ("differs", "in_sync") or not here:
        return each
    last: Overridden | None = None
    after: set[str] = set()
    for ivr in row.previous:
        left, selected = list(here), ivr.id
        # One that is nested in another restores what that one selects.
        while found := next((one for one in left if one.ivr_id == selected), None):
            left.remove(found)
            selected, last = found.restores, found
        after.add(selected)
    if last is None:
        return each  # a person has changed it meanwhile
    end = last.override.end
    note = f"overridden {f'until {when(end)}' if end else 'until it is ended'} by {last.override.workflow_id}"
    if after == {row.ivr_id}:
        return replace(each, state="in_sync", row=row.model_copy(update={"note": note}))
    note = f"{note}, which restores {short(', '.join(sorted(after)))}"
    if each.state == "differs":
        note = f"{row.note} {note[0].upper()}{note[1:]}.".strip()
    return replace(each, row=row.model_copy(update={"note": note}))
