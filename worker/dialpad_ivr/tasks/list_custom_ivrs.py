"""The task `list_custom_ivrs`: validate -> credential -> permit -> call -> outcome -> result.

It reads a target's IVRs, and finds one by name, so that a definition can pass its id to `set_custom_ivr`. A list of
several pages takes as many calls; one that is interrupted by a deferral is read from its beginning again.
"""

from __future__ import annotations

from collections.abc import Sequence

from dialpad_ivr.contract.inputs import ListCustomIvrsInput
from dialpad_ivr.contract.outputs import FoundIvr
from dialpad_ivr.contract.validation import check_input, input_warnings, short
from dialpad_ivr.contract.values import LIST_TASK_TYPE, LISTED_LIMIT
from dialpad_ivr.dialpad.verdict import Verdict
from dialpad_ivr.tasks.caller import Caller, run
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.names import did_you_mean, listed_in_text, with_name
from dialpad_ivr.tasks.result import Draft, Result, invalid_input
from dialpad_ivr.tasks.tools import Tools


async def list_custom_ivrs(delivery: Delivery, tools: Tools) -> Result:
    """Run the task once.

    Returns:
        The result, for every input and every fault: only a bug, and a cancellation, raise.
    """
    params = check_input(delivery.payload, ListCustomIvrsInput)
    if isinstance(params, list):
        return invalid_input(delivery, params, LIST_TASK_TYPE)
    draft = Draft.of(
        delivery,
        LIST_TASK_TYPE,
        tools.client.prepare_list_custom_ivrs(params.target_type, params.target_id, ivr_type=params.ivr_type),
        params.ivr_type,
        input_warnings(delivery.payload, params),
    )
    return await run(delivery, tools, params, draft, lambda caller: _list(params, caller, draft))


async def _list(params: ListCustomIvrsInput, caller: Caller, draft: Draft) -> Verdict:
    """Read all pages, and look for the name."""
    listing = await caller.list_slots(params.target_type, params.target_id, only=params.ivr_type)
    if listing.refusal is not None:
        return listing.refusal
    ivrs = [
        FoundIvr(id=ivr.id, name=ivr.name, ivr_type=slot.ivr_type, selected=ivr.selected)
        for slot in listing.items
        if params.ivr_type in (None, slot.ivr_type)
        for ivr in slot.ivrs
    ]
    draft.own_fields["ivrs"] = ivrs[:LISTED_LIMIT]
    draft.selected = next((ivr for ivr in ivrs if params.ivr_type and ivr.selected), None)
    if len(ivrs) > LISTED_LIMIT:
        draft.warnings.append(
            f"The target has {len(ivrs)} IVRs; the first {LISTED_LIMIT} are listed. Ask for one ivr_type."
        )
    return Verdict("listed") if params.name is None else _find(params, params.name, ivrs, draft)


def _find(params: ListCustomIvrsInput, name: str, ivrs: list[FoundIvr], draft: Draft) -> Verdict:
    found = find_ivr(name, ivrs, f"{params.target_type} {params.target_id}")
    if isinstance(found, Verdict):
        return found
    draft.own_fields["found"] = found
    if (found.name or "").strip() != name:
        draft.warnings.append(f'The IVR is called "{short(found.name or "")}": the same but for upper and lower case.')
    return Verdict("listed")


def find_ivr(name: str, ivrs: Sequence[FoundIvr], target: str) -> FoundIvr | Verdict:
    """The one IVR of a name, or the verdict on a task that needs it.

    Args:
        name: The name, without blanks around it; `*` in it stands for any text.
        ivrs: The IVRs to search.
        target: The target that has them, for a message.
    """
    matches, _ = with_name(name, ivrs, lambda ivr: ivr.name)
    if len(matches) == 1:
        return matches[0]
    if matches:
        shown = listed_in_text([f"{ivr.id} ({ivr.ivr_type})" for ivr in matches])
        hint = "Give ivr_type, or use an id." if len({ivr.ivr_type for ivr in ivrs}) > 1 else "Use an id."
        message = f'{len(matches)} IVRs of {target} are called "{short(name)}": {shown}. {hint}'
        return Verdict("conflict", "several_of_that_name", message)
    hint = did_you_mean(name, (ivr.name for ivr in ivrs)) or "Look at its list of IVRs."
    return Verdict("not_found", "no_such_name", f'{target} has no IVR called "{short(name)}". {hint}')
