"""The task `list_targets`: validate -> credential -> permit -> calls -> outcome -> result.

It lists the targets of a type, and finds one by name, phone number or email address, so that a definition can pass its
id on. Where Dialpad can search by name that comes first; all targets are read where nothing is written the same.
"""

from __future__ import annotations

from dialpad_ivr.contract.inputs import ListTargetsInput
from dialpad_ivr.contract.targets import PLURALS
from dialpad_ivr.contract.validation import check_input, input_warnings
from dialpad_ivr.contract.values import LISTED_LIMIT, TARGETS_TASK_TYPE
from dialpad_ivr.dialpad.calls import Calls, Request
from dialpad_ivr.dialpad.verdict import Verdict
from dialpad_ivr.tasks.caller import Caller, run
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.directory import SEARCHED, Directory, RefusedError, list_call
from dialpad_ivr.tasks.names import WILDCARD
from dialpad_ivr.tasks.result import Draft, Result, invalid_input
from dialpad_ivr.tasks.target_search import Search, contradictions, e164
from dialpad_ivr.tasks.tools import Tools


async def list_targets(delivery: Delivery, tools: Tools) -> Result:
    """Run the task once.

    Returns:
        The result, for every input and every fault: only a bug, and a cancellation, raise.
    """
    params = check_input(delivery.payload, ListTargetsInput)
    field_errors = params if isinstance(params, list) else contradictions(params)
    if isinstance(params, list) or field_errors:
        return invalid_input(delivery, field_errors, TARGETS_TASK_TYPE)
    warnings = input_warnings(delivery.payload, params)
    draft = Draft.of(delivery, TARGETS_TASK_TYPE, first_call(params, tools.client), None, warnings)

    async def judge(caller: Caller) -> Verdict:
        search = Search(params, Directory(caller, tools.client))
        try:
            miss = await search.run()
        except RefusedError as exc:
            return exc.verdict
        finally:
            draft.warnings += search.warnings
        draft.own_fields["targets"] = search.found[:LISTED_LIMIT]
        if len(search.found) > LISTED_LIMIT:
            draft.warnings.append(
                f"There are {len(search.found)} {PLURALS[params.target_type]}; the first {LISTED_LIMIT} are listed. "
                "Give office, or a name."
            )
        if miss is not None:
            return miss.verdict
        if len(search.found) == 1 and search.looked_for:
            draft.own_fields["found"] = search.found[0]
        return Verdict("listed")

    return await run(delivery, tools, params, draft, judge)


def first_call(params: ListTargetsInput, calls: Calls) -> Request:
    """The first call that a valid input leads to."""
    if params.office is not None:
        return calls.prepare_list_offices()
    if params.target_type == "user" and (params.email or params.number):
        return calls.prepare_list_users(email=params.email, number=e164(params.number))
    if params.number is not None:
        return calls.prepare_get_number(e164(params.number) or "")
    return list_call(calls, params.target_type, name=_searched_name(params))(None)


def _searched_name(params: ListTargetsInput) -> str | None:
    """The name that Dialpad searches for, where it can: a text that the names of all matches contain."""
    searched = params.target_type in SEARCHED and params.office is None and params.number is None
    return params.name if searched and params.name and WILDCARD not in params.name else None
