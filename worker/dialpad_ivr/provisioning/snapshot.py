"""Reading what a file of changes is about: the targets that it names, and the current selection for every row."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, cast

from dialpad_ivr.contract.outputs import FoundIvr, ListCustomIvrsOutput, SelectedIvr, TaskOutput
from dialpad_ivr.contract.validation import input_warnings, short
from dialpad_ivr.contract.values import LISTED_LIMIT
from dialpad_ivr.dialpad.parsing import ListedIvr, Slot
from dialpad_ivr.dialpad.verdict import Verdict, already_selected
from dialpad_ivr.provisioning.changes import Change, Violation
from dialpad_ivr.provisioning.hours import note_silent_rows
from dialpad_ivr.provisioning.office_zones import with_office_zones
from dialpad_ivr.provisioning.plan import Action, PlannedChange
from dialpad_ivr.provisioning.reader import Reader
from dialpad_ivr.provisioning.targets import resolve_targets
from dialpad_ivr.tasks.list_custom_ivrs import find_ivr
from dialpad_ivr.tasks.names import with_name

_MAX_LISTED: Final = 5  # IVRs in a note

_Target = tuple[str, str, str]  # credential, target type, target id


@dataclass(frozen=True)
class Snapshot:
    """What was read for a file of changes.

    Attributes:
        rows: A planned change per row, and per target of a wildcard.
        violations: Names that mean no target, or several, and rows that turn out to set the same slot. If there are
            any, no selection was read, and there are no rows.
        warnings: What could not be read in addition; the rows are right without it.
    """

    rows: tuple[PlannedChange, ...]
    violations: tuple[Violation, ...]
    warnings: tuple[str, ...] = ()


async def read_snapshot(
    changes: Sequence[Change], reader: Reader, on_progress: Callable[[str, int, int], None]
) -> Snapshot:
    """Look up the targets that rows name, read the current selections, and note what callers cannot hear.

    Args:
        changes: Valid rows.
        reader: Reads the lists.
        on_progress: Progress callback: what is being read, how many were, and the total.
    """
    resolved = await resolve_targets(changes, reader, partial(on_progress, "Looking up targets"))
    if resolved.violations:
        return Snapshot((), resolved.violations)
    rows = await read_selections(resolved.changes, reader, partial(on_progress, "Reading current selections"))
    rows, warnings = await note_silent_rows(
        rows, resolved.handling_of, partial(on_progress, "Reading what callers hear")
    )
    rows, unknown = await with_office_zones(rows, resolved.zone_of, partial(on_progress, "Reading time zones"))
    return Snapshot((*resolved.unreadable, *rows), (), (*warnings, *unknown))


async def read_selections(
    changes: Sequence[Change], reader: Reader, on_read: Callable[[int, int], None]
) -> list[PlannedChange]:
    """Read the custom IVRs of each target once, paced and concurrently, and plan the changes.

    Args:
        changes: Valid rows with the ids of their targets. The same list shows which IVR a name means.
        reader: Reads the lists.
        on_read: Progress callback: the number of targets read, and the total.

    Returns:
        A planned change per row, in the same order.
    """
    ivr_types: dict[_Target, set[str]] = defaultdict(set)
    for change in changes:
        ivr_types[_target(change)].add(change.ivr_type)
    outputs: dict[_Target, TaskOutput] = {}

    async def read(target: _Target) -> None:
        credential, target_type, target_id = target
        outputs[target] = await read_ivrs(reader, target_type, target_id, credential, ivr_types[target])
        on_read(len(outputs), len(ivr_types))

    on_read(0, len(ivr_types))
    await asyncio.gather(*(read(target) for target in ivr_types))
    return [_planned(change, outputs[_target(change)]) for change in changes]


def _target(change: Change) -> _Target:
    return (change.credential, change.target_type, change.target_id or "")


async def read_ivrs(
    reader: Reader, target_type: str, target_id: str, credential: str, ivr_types: Collection[str]
) -> TaskOutput:
    """A target's IVRs, by one call wherever that shows all of them, or the error of reading them.

    Args:
        reader: Reads them.
        target_type: The target's type.
        target_id: The target's id.
        credential: The name of the credential profile.
        ivr_types: The slots that are wanted; others may be listed too.
    """
    if len(ivr_types) == 1:
        return await reader.list_ivrs(target_type, target_id, credential, min(ivr_types))
    output = await reader.list_ivrs(target_type, target_id, credential)
    if not output.ok or len(ivrs_of(output)) < LISTED_LIMIT:
        return output
    # The list may be truncated, so read each slot separately.
    outputs = [await reader.list_ivrs(target_type, target_id, credential, each) for each in sorted(ivr_types)]
    failed = next((each for each in outputs if not each.ok), None)
    return failed or output.model_copy(update={"ivrs": [ivr for each in outputs for ivr in ivrs_of(each)]})


def ivrs_of(output: TaskOutput) -> list[FoundIvr]:
    """The IVRs in the output of a read that is ok."""
    return cast("ListCustomIvrsOutput", output).ivrs


def _planned(change: Change, read: TaskOutput) -> PlannedChange:
    if not read.ok:
        action: Action = "unknown_target" if read.outcome == "not_found" else "unreadable"
        return PlannedChange.of(change, action, note=read.error.message if read.error else "no answer")
    ivrs = [ivr for ivr in ivrs_of(read) if ivr.ivr_type == change.ivr_type]
    slot = Slot(change.ivr_type, tuple(ListedIvr(each.id, each.name, each.selected) for each in ivrs))
    selected = tuple(SelectedIvr(id=each.id, name=each.name) for each in slot.ivrs if each.selected)
    ivr = _find(change, ivrs)
    if isinstance(ivr, Verdict):
        if len(ivrs) >= LISTED_LIMIT:
            note = f"The slot has {LISTED_LIMIT} IVRs or more, of which only those are listed."
            return PlannedChange.of(change, "unreadable", previous=selected, note=note)
        action = "missing_ivr" if ivr.outcome == "not_found" else "ambiguous_ivr"
        return PlannedChange.of(change, action, previous=selected, note=ivr.message)
    change = replace(change, ivr_id=ivr.id)
    if slot.selection_unknown():
        note = "Dialpad's list does not say what is selected."
        return PlannedChange.of(change, "unreadable", ivr_name=ivr.name, note=note)
    params = change.params
    if already_selected(slot, params):
        return PlannedChange.of(change, "unchanged", ivr_name=ivr.name, previous=selected)
    notes = input_warnings(params.model_dump(), params)
    if not selected:
        notes.append("Cannot be rolled back: nothing is selected now, and Dialpad's API cannot unselect an IVR.")
    elif len(selected) > 1:
        notes.append(
            "Cannot be rolled back: inbound and outbound differ now, and Dialpad's list does not say which is which."
        )
    return PlannedChange.of(change, "change", ivr_name=ivr.name, previous=selected, note=" ".join(notes))


def _find(change: Change, ivrs: Sequence[FoundIvr]) -> FoundIvr | Verdict:
    """The IVR that a row names, by its id, its name, or both."""
    column = "ivr" if change.ivr_id is None else "ivr_id"
    if change.ivr_id is None and ivrs:
        return find_ivr(change.ivr or "", ivrs, f"{change.target_type} {change.target_id}")
    ivr = next((each for each in ivrs if each.id == change.ivr_id), None)
    if ivr is None:
        note = f"{_slot_text(ivrs)} Check {column} and ivr_type, or create the IVR first."
        return Verdict("not_found", "no_such_ivr", note)
    if change.ivr is not None and not with_name(change.ivr, [ivr], lambda each: each.name)[0]:
        note = f'IVR {ivr.id} is called "{short(ivr.name or "")}", not "{short(change.ivr)}". Correct ivr or ivr_id.'
        return Verdict("not_found", "another_name", note)
    return ivr


def _slot_text(ivrs: Sequence[FoundIvr]) -> str:
    if not ivrs:
        return "The target has no IVR for this slot."
    shown = ", ".join(f"{short(ivr.name or 'unnamed')} ({ivr.id})" for ivr in ivrs[:_MAX_LISTED])
    more = f" and {len(ivrs) - _MAX_LISTED} more" if len(ivrs) > _MAX_LISTED else ""
    return f"The target's IVRs for this slot: {shown}{more}."
