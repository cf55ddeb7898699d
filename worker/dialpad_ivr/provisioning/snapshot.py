"""Reading what is selected now, for every row of a file of changes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final, cast

from dialpad_ivr.contract.outputs import ListCustomIvrsOutput, SelectedIvr
from dialpad_ivr.contract.validation import input_warnings
from dialpad_ivr.contract.values import LISTED_LIMIT
from dialpad_ivr.credentials import Credentials
from dialpad_ivr.dialpad.client import DialpadClient
from dialpad_ivr.dialpad.parsing import ListedIvr, Slot
from dialpad_ivr.dialpad.verdict import already_selected
from dialpad_ivr.pacing.redis import open_limiter
from dialpad_ivr.provisioning.changes import Change
from dialpad_ivr.provisioning.plan import PlannedChange
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.list_custom_ivrs import list_custom_ivrs
from dialpad_ivr.tasks.tools import Tools
from dialpad_ivr.telemetry.metrics import Metrics

_TRIES: Final = 3
_NAMED: Final = 5  # IVRs that a note lists

_Target = tuple[str, str, str]  # credential, type, id


async def read_selections(
    changes: Sequence[Change], settings: Settings, on_read: Callable[[int, int], None]
) -> list[PlannedChange]:
    """Read each target once, paced and concurrently.

    Args:
        changes: Valid rows.
        settings: The host, the limits, and where the keys are.
        on_read: Called with the number of targets that are read, and of all.

    Returns:
        A row of the plan for each of them, in their order.

    Raises:
        SettingsError: The settings name a Redis, and its client is not installed.
    """
    wanted: dict[_Target, set[str]] = defaultdict(set)
    for change in changes:
        wanted[_target(change)].add(change.asked.ivr_type)
    found: dict[_Target, ListCustomIvrsOutput] = {}
    refused: dict[str, ListCustomIvrsOutput] = {}  # credentials whose key is not accepted: no use to go on with them
    metrics = Metrics()
    async with DialpadClient(settings) as client, open_limiter(settings, metrics) as pacer:
        tools = Tools(settings, client, Credentials(settings.credentials_file), pacer, metrics)
        at_once = asyncio.Semaphore(settings.concurrency)

        async def read(target: _Target) -> None:
            async with at_once:
                output = refused.get(target[0]) or await _read(target, wanted[target], tools)
            if output.outcome == "unauthorized":
                refused[target[0]] = output
            found[target] = output
            on_read(len(found), len(wanted))

        on_read(0, len(wanted))
        await asyncio.gather(*(read(target) for target in wanted))
    return [_planned(change, found[_target(change)]) for change in changes]


def _target(change: Change) -> _Target:
    return (change.asked.credential, change.asked.target_type, change.asked.target_id)


async def _read(target: _Target, ivr_types: set[str], tools: Tools) -> ListCustomIvrsOutput:
    """A target's IVRs, or why they cannot be read."""
    credential, target_type, target_id = target
    asked = {"target_type": target_type, "target_id": target_id, "credential": credential}
    output = await _list(asked, tools)
    if len(output.ivrs) < LISTED_LIMIT:
        return output
    # The list may be cut: then each slot is read by itself.
    slots = [await _list({**asked, "ivr_type": ivr_type}, tools) for ivr_type in sorted(ivr_types)]
    failed = next((slot for slot in slots if not slot.ok), None)
    return failed or output.model_copy(update={"ivrs": [ivr for slot in slots for ivr in slot.ivrs]})


async def _list(asked: dict[str, str], tools: Tools) -> ListCustomIvrsOutput:
    """Run the task until it ends; what the engine would do with it is done here: wait, and try again."""
    failures = attempts = waited_ms = 0
    while True:
        call = Delivery(asked, attempts=attempts, waited_ms=waited_ms, last_attempt=failures == _TRIES - 1)
        result = await list_custom_ivrs(call, tools)
        attempts, waited_ms = result.output.attempts, result.output.waited_ms
        if result.callback_seconds is not None:
            await asyncio.sleep(result.callback_seconds)
        elif result.status == "FAILED" and not call.last_attempt:
            failures += 1
            await asyncio.sleep(2 ** (failures - 1))
        else:
            return cast("ListCustomIvrsOutput", result.output)


def _planned(change: Change, read: ListCustomIvrsOutput) -> PlannedChange:
    asked = change.asked
    if not read.ok:
        message = read.error.message if read.error else "no answer"
        return PlannedChange.of(asked, change.line, "unreadable", note=message)
    listed = (ListedIvr(ivr.id, ivr.name, ivr.selected) for ivr in read.ivrs if ivr.ivr_type == asked.ivr_type)
    slot = Slot(asked.ivr_type, tuple(listed))
    ours = slot.find(asked.ivr_id)
    selected = tuple(SelectedIvr(id=ivr.id, name=ivr.name) for ivr in slot.ivrs if ivr.selected)
    if ours is None:
        note = f"{_slot_text(slot)} Check ivr_id and ivr_type, or create the IVR first."
        return PlannedChange.of(asked, change.line, "missing_ivr", previous=selected, note=note)
    if slot.selection_unknown():
        note = "Dialpad's list does not tell what is selected."
        return PlannedChange.of(asked, change.line, "unreadable", ivr_name=ours.name, note=note)
    if already_selected(slot, asked):
        return PlannedChange.of(asked, change.line, "unchanged", ivr_name=ours.name, previous=selected)
    notes = input_warnings(asked.model_dump(), asked)
    if not selected:
        notes.append("Nothing is selected now: no rollback, since Dialpad's API cannot unselect an IVR.")
    elif len(selected) > 1:
        notes.append("Inbound and outbound differ now: no rollback, since Dialpad does not tell which is which.")
    return PlannedChange.of(asked, change.line, "change", ivr_name=ours.name, previous=selected, note=" ".join(notes))


def _slot_text(slot: Slot) -> str:
    if not slot.ivrs:
        return "The target has no IVR for this slot."
    shown = ", ".join(f"{ivr.name or 'unnamed'} ({ivr.id})" for ivr in slot.ivrs[:_NAMED])
    more = f" and {len(slot.ivrs) - _NAMED} more" if len(slot.ivrs) > _NAMED else ""
    return f"For this slot the target has: {shown}{more}."
