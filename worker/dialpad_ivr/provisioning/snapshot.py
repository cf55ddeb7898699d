"""Reading the current selection for every row of a file of changes."""

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
from dialpad_ivr.provisioning.plan import Action, PlannedChange
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.list_custom_ivrs import list_custom_ivrs
from dialpad_ivr.tasks.tools import Tools
from dialpad_ivr.telemetry.metrics import Metrics

_ATTEMPTS: Final = 3
_RETRY_SECONDS: Final = 1.0  # doubled for each further attempt
_OUTAGE_SECONDS: Final = 30  # which a person waits for Dialpad to work again
_MAX_LISTED: Final = 5  # IVRs in a note

_Target = tuple[str, str, str]  # credential, target type, target id


async def read_selections(
    changes: Sequence[Change], settings: Settings, on_read: Callable[[int, int], None]
) -> list[PlannedChange]:
    """Read the custom IVRs of each target once, paced and concurrently, and plan the changes.

    Args:
        changes: Valid rows.
        settings: The API's URL, the rate limits, and the credentials file.
        on_read: Progress callback: the number of targets read, and the total.

    Returns:
        A planned change per row, in the same order.

    Raises:
        SettingsError: A Redis URL is set, but the Redis client is not installed.
    """
    ivr_types: dict[_Target, set[str]] = defaultdict(set)
    for change in changes:
        ivr_types[_target(change)].add(change.params.ivr_type)
    outputs: dict[_Target, ListCustomIvrsOutput] = {}
    unauthorized: dict[str, ListCustomIvrsOutput] = {}  # by credential; not tried again
    no_answer: list[ListCustomIvrsOutput] = []  # of the latest targets in a row; after some, no more are tried
    metrics = Metrics()
    async with DialpadClient(settings) as client, open_limiter(settings, metrics) as pacer:
        patience = settings.model_copy(update={"outage_budget_seconds": _OUTAGE_SECONDS})
        tools = Tools(patience, client, Credentials(settings.credentials_file), pacer, metrics)
        semaphore = asyncio.Semaphore(settings.concurrency)

        async def read(target: _Target) -> None:
            async with semaphore:
                if target[0] in unauthorized:
                    output = unauthorized[target[0]]
                elif len(no_answer) >= settings.concurrency:
                    output = no_answer[-1]
                else:
                    output = await _read(target, ivr_types[target], tools)
                    if output.outcome == "unauthorized":
                        unauthorized[target[0]] = output
                    if output.outcome != "unavailable":
                        no_answer.clear()
                    else:
                        no_answer.append(output)
            outputs[target] = output
            on_read(len(outputs), len(ivr_types))

        on_read(0, len(ivr_types))
        await asyncio.gather(*(read(target) for target in ivr_types))
    return [_planned(change, outputs[_target(change)]) for change in changes]


def _target(change: Change) -> _Target:
    return (change.params.credential, change.params.target_type, change.params.target_id)


async def _read(target: _Target, ivr_types: set[str], tools: Tools) -> ListCustomIvrsOutput:
    """A target's IVRs, or the error of reading them."""
    credential, target_type, target_id = target
    payload = {"target_type": target_type, "target_id": target_id, "credential": credential}
    if len(ivr_types) == 1:
        return await _list({**payload, "ivr_type": min(ivr_types)}, tools)
    output = await _list(payload, tools)
    if len(output.ivrs) < LISTED_LIMIT:
        return output
    # The list may be truncated, so read each slot separately.
    outputs = [await _list({**payload, "ivr_type": ivr_type}, tools) for ivr_type in sorted(ivr_types)]
    failed = next((each for each in outputs if not each.ok), None)
    return failed or output.model_copy(update={"ivrs": [ivr for each in outputs for ivr in each.ivrs]})


async def _list(payload: dict[str, str], tools: Tools) -> ListCustomIvrsOutput:
    """Run the task to completion, with the waits and retries that the engine would do."""
    failures = attempts = waited_ms = outage_ms = 0
    while True:
        call = Delivery(
            payload,
            attempts=attempts,
            waited_ms=waited_ms,
            outage_ms=outage_ms,
            retried=True,  # it gives up by itself when nothing answers; for a circuit each target is one of many
            last_attempt=failures == _ATTEMPTS - 1,
        )
        result = await list_custom_ivrs(call, tools)
        attempts, waited_ms, outage_ms = result.output.attempts, result.output.waited_ms, result.output.outage_ms
        if result.callback_seconds is not None:
            await asyncio.sleep(result.callback_seconds)
        elif result.status == "FAILED" and not call.last_attempt:
            failures += 1
            await asyncio.sleep(_RETRY_SECONDS * 2 ** (failures - 1))
        else:
            return cast("ListCustomIvrsOutput", result.output)


def _planned(change: Change, read: ListCustomIvrsOutput) -> PlannedChange:
    params = change.params
    if not read.ok:
        action: Action = "unknown_target" if read.outcome == "not_found" else "unreadable"
        return PlannedChange.of(params, change.line, action, note=read.error.message if read.error else "no answer")
    listed = (ListedIvr(each.id, each.name, each.selected) for each in read.ivrs if each.ivr_type == params.ivr_type)
    slot = Slot(params.ivr_type, tuple(listed))
    ivr = slot.find(params.ivr_id)
    selected = tuple(SelectedIvr(id=each.id, name=each.name) for each in slot.ivrs if each.selected)
    if ivr is None:
        note = f"{_slot_text(slot)} Check ivr_id and ivr_type, or create the IVR first."
        return PlannedChange.of(params, change.line, "missing_ivr", previous=selected, note=note)
    if slot.selection_unknown():
        note = "Dialpad's list does not say what is selected."
        return PlannedChange.of(params, change.line, "unreadable", ivr_name=ivr.name, note=note)
    if already_selected(slot, params):
        return PlannedChange.of(params, change.line, "unchanged", ivr_name=ivr.name, previous=selected)
    notes = input_warnings(params.model_dump(), params)
    if not selected:
        notes.append("Cannot be rolled back: nothing is selected now, and Dialpad's API cannot unselect an IVR.")
    elif len(selected) > 1:
        notes.append(
            "Cannot be rolled back: inbound and outbound differ now, and Dialpad's list does not say which is which."
        )
    return PlannedChange.of(params, change.line, "change", ivr_name=ivr.name, previous=selected, note=" ".join(notes))


def _slot_text(slot: Slot) -> str:
    if not slot.ivrs:
        return "The target has no IVR for this slot."
    shown = ", ".join(f"{ivr.name or 'unnamed'} ({ivr.id})" for ivr in slot.ivrs[:_MAX_LISTED])
    more = f" and {len(slot.ivrs) - _MAX_LISTED} more" if len(slot.ivrs) > _MAX_LISTED else ""
    return f"The target's IVRs for this slot: {shown}{more}."
