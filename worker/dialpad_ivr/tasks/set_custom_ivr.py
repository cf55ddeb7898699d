"""The task `set_custom_ivr`: validate -> credential -> permit -> call -> outcome -> result."""

from __future__ import annotations

from dialpad_ivr.contract.inputs import SetCustomIvrInput
from dialpad_ivr.contract.validation import check_input, input_warnings
from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.dialpad.client import CallError, Response
from dialpad_ivr.dialpad.parsing import Slot
from dialpad_ivr.dialpad.verdict import (
    Verdict,
    already_selected,
    no_answer_verdict,
    patch_verdict,
    precondition_verdict,
)
from dialpad_ivr.pacing.limiter import CircuitOpenError, PermitDeferredError
from dialpad_ivr.tasks.caller import Caller, run
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.result import Draft, Result, invalid_input
from dialpad_ivr.tasks.tools import Tools


async def set_custom_ivr(delivery: Delivery, tools: Tools) -> Result:
    """Run the task once.

    Returns:
        The result, for every input and every fault: only a bug, and a cancellation, raise.
    """
    params = check_input(delivery.payload, SetCustomIvrInput)
    if isinstance(params, list):
        return invalid_input(delivery, params, TASK_TYPE)
    request = tools.client.prepare_set_custom_ivr(
        params.target_type, params.target_id, params.ivr_type, params.ivr_id, params.select_option
    )
    draft = Draft.of(delivery, TASK_TYPE, request, params.ivr_type, input_warnings(delivery.payload, params))
    draft.perhaps_sent = delivery.perhaps_sent and params.mode == "apply"
    if params.mode == "validate":
        return Result(draft.output("valid"))
    if params.mode == "plan":
        return await run(delivery, tools, params, draft, lambda caller: _plan(params, caller, draft))
    return await run(
        delivery,
        tools,
        params,
        draft,
        lambda caller: _apply(
            params,
            caller,
            draft,
            sent_before=bool(delivery.attempts) or delivery.perhaps_sent,
            last_attempt=delivery.last_attempt,
        ),
    )


async def _plan(params: SetCustomIvrInput, caller: Caller, draft: Draft) -> Verdict:
    """Read the current selection; never write."""
    slot, refusal, draft.response = await _read_slot(params, caller)
    if refusal is not None:
        return refusal
    listed = slot.find(params.ivr_id)
    _note_read(slot, params, draft)
    if listed is None:
        draft.warnings.append(
            f"The target lists no IVR {params.ivr_id} for {params.ivr_type}: Dialpad may well refuse it."
        )
    elif listed.selected:
        if already_selected(slot, params):
            return Verdict("unchanged")
        draft.warnings.append("The IVR is selected, but the list cannot tell inbound from outbound.")
    conflict = precondition_verdict(slot, params)
    if conflict is not None:
        draft.warnings.append(conflict.message)
    return Verdict("planned")


async def _apply(
    params: SetCustomIvrInput, caller: Caller, draft: Draft, *, sent_before: bool, last_attempt: bool
) -> Verdict:
    """Make the change. Where its fate is unknown and no retry follows, the current selection decides."""
    if params.if_selected is not None:
        verdict = await _check_expectation(params, caller, draft, sent_before=sent_before)
        if verdict is not None:
            return verdict
    try:
        draft.response = await caller.send(draft.request)
        verdict = patch_verdict(draft.response, params)
    except CallError as exc:
        draft.response = None
        verdict = no_answer_verdict(exc)
    draft.selected = verdict.selected
    draft.warnings += verdict.warnings
    # An answer that never came before may have been to a change that was made, whatever came of this call.
    unsettled = verdict.may_have_changed or (draft.perhaps_sent and verdict.outcome == "unavailable")
    if unsettled and last_attempt:
        return await _settle(verdict, params, caller, draft)
    return verdict


async def _check_expectation(
    params: SetCustomIvrInput, caller: Caller, draft: Draft, *, sent_before: bool
) -> Verdict | None:
    """Compare the slot with `if_selected`; a verdict ends the task, `None` lets the PATCH be sent."""
    slot, refusal, draft.response = await _read_slot(params, caller)
    if refusal is not None:
        return refusal
    _note_read(slot, params, draft)
    verdict = precondition_verdict(slot, params)
    if not sent_before:
        return verdict
    # A previous attempt sent the PATCH, or may have, and never saw the response: our IVR was not selected before it.
    draft.previous_ids = None
    draft.previous = next((ivr for ivr in slot.ivrs if ivr.selected and ivr.id != params.ivr_id), None)
    if verdict is not None and verdict.outcome == "unchanged":
        draft.warnings.append("Read afterwards: the IVR is selected.")
        return Verdict("updated")
    if verdict is not None:
        draft.warnings.append("A previous attempt may have made the change; it was undone since.")
    return verdict


def _note_read(slot: Slot, params: SetCustomIvrInput, draft: Draft) -> None:
    """Take the slot, as read before anything was sent, into the output."""
    draft.previous = draft.selected = slot.selected()
    draft.previous_ids = None if slot.selection_unknown() else sorted(slot.all_selected())
    draft.listed = slot.find(params.ivr_id) is not None


async def _settle(verdict: Verdict, params: SetCustomIvrInput, caller: Caller, draft: Draft) -> Verdict:
    """Let the current selection decide what became of a PATCH whose response never came."""
    try:
        slot, refusal, _ = await _read_slot(params, caller, resend_lost=True)
    except CircuitOpenError:
        raise  # the next delivery settles it
    except PermitDeferredError:
        slot, refusal = Slot(None, ()), verdict
    if refusal is not None or not slot.ivrs:
        # Where Dialpad itself said that it failed, that stands; where it said nothing, nothing is known.
        unknown = draft.perhaps_sent or draft.response is None or draft.response.status_code < 300
        message = f"{verdict.message} The current selection could not be read either."
        return Verdict("unconfirmed" if unknown else verdict.outcome, verdict.code, message)
    listed, draft.selected = slot.find(params.ivr_id), slot.selected()
    if listed is None or not listed.selected:
        return Verdict("unavailable", verdict.code, f"{verdict.message} The change was not made.")
    draft.selected = listed
    if params.select_option is not None:
        message = f"{verdict.message} The IVR is selected, but the list cannot tell inbound from outbound."
        return Verdict("unconfirmed", verdict.code, message)
    draft.warnings.append(f"{verdict.message} Read afterwards: the IVR is selected.")
    return Verdict("updated")


async def _read_slot(
    params: SetCustomIvrInput, caller: Caller, *, resend_lost: bool = False
) -> tuple[Slot, Verdict | None, Response | None]:
    """The slot (without IVRs if the target lists none), the verdict on a list that could not be read, the response."""
    listing = await caller.list_slots(
        params.target_type, params.target_id, only=params.ivr_type, resend_lost=resend_lost
    )
    slot = next((slot for slot in listing.items if slot.ivr_type == params.ivr_type), Slot(params.ivr_type, ()))
    return slot, listing.refusal, listing.response
