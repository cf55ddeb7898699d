"""The task `list_targets`: validate -> credential -> permit -> calls -> outcome -> result.

It lists the targets of a type, and finds one by name, phone number or email address, so that a definition can pass its
id on. Where Dialpad can search by name that comes first; all targets are read where nothing is written the same.
"""

from __future__ import annotations

import re

from dialpad_ivr.contract.inputs import ListTargetsInput
from dialpad_ivr.contract.outcomes import TERMINAL_OUTCOMES
from dialpad_ivr.contract.outputs import FieldError, FoundOffice, FoundTarget
from dialpad_ivr.contract.targets import PLURALS
from dialpad_ivr.contract.validation import check_input, input_warnings, short
from dialpad_ivr.contract.values import LISTED_LIMIT, TARGETS_TASK_TYPE
from dialpad_ivr.dialpad.calls import Calls, Request
from dialpad_ivr.dialpad.parsing import ListedTarget
from dialpad_ivr.dialpad.verdict import Verdict
from dialpad_ivr.tasks.caller import Caller, run
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.directory import Directory, RefusedError, list_call
from dialpad_ivr.tasks.names import WILDCARD, did_you_mean, listed_in_text, with_name
from dialpad_ivr.tasks.result import Draft, Result, invalid_input
from dialpad_ivr.tasks.tools import Tools

_SEARCHED = ("callcenter", "department")  # by name, on Dialpad's side


async def list_targets(delivery: Delivery, tools: Tools) -> Result:
    """Run the task once.

    Returns:
        The result, for every input and every fault: only a bug, and a cancellation, raise.
    """
    params = check_input(delivery.payload, ListTargetsInput)
    field_errors = params if isinstance(params, list) else _contradictions(params)
    if isinstance(params, list) or field_errors:
        return invalid_input(delivery, field_errors, TARGETS_TASK_TYPE)
    draft = Draft(
        TARGETS_TASK_TYPE,
        first_call(params, tools.client),
        None,
        attempts=delivery.attempts,
        waited_ms=delivery.waited_ms,
        outage_ms=delivery.outage_ms,
        warnings=input_warnings(delivery.payload, params),
    )

    async def judge(caller: Caller) -> Verdict:
        try:
            return await _Search(params, Directory(caller, tools.client), draft).verdict()
        except RefusedError as exc:
            return exc.verdict

    return await run(delivery, tools, params, draft, judge)


def _contradictions(params: ListTargetsInput) -> list[FieldError]:
    """Fields that do not go together, which the schema cannot say."""
    errors = []
    if params.email is not None and params.target_type != "user":
        message = f"email finds users, not {PLURALS[params.target_type]}."
        errors.append(FieldError(path="email", rule="target_type", message=message, hint="Use name or number."))
    if params.office is not None and params.target_type == "channel":
        message = "office is given, but channels belong to no office."
        errors.append(FieldError(path="office", rule="target_type", message=message, hint="Remove it."))
    return errors


def first_call(params: ListTargetsInput, calls: Calls) -> Request:
    """The first call that a valid input leads to."""
    if params.office is not None:
        return calls.prepare_list_offices()
    if params.target_type == "user" and (params.email or params.number):
        return calls.prepare_list_users(email=params.email, number=_e164(params.number))
    if params.number is not None:
        return calls.prepare_get_number(_e164(params.number) or "")
    return list_call(calls, params.target_type, name=_searched_name(params))(None)


def _searched_name(params: ListTargetsInput) -> str | None:
    """The name that Dialpad searches for, where it can: a text that the names of all matches contain."""
    searched = params.target_type in _SEARCHED and params.office is None and params.number is None
    return params.name if searched and params.name and WILDCARD not in params.name else None


def _e164(number: str | None) -> str | None:
    """A phone number without what separates its digits."""
    return None if number is None else re.sub(r"[^+0-9]", "", number)


class _Search:
    """One search, and what it found out about offices on its way."""

    def __init__(self, params: ListTargetsInput, directory: Directory, draft: Draft) -> None:
        self._params = params
        self._directory = directory
        self._draft = draft
        self._office_names: dict[str, str | None] | None = None  # until the offices were read
        self._what = PLURALS[params.target_type]

    async def verdict(self) -> Verdict:
        """Read what is needed, and fill in the draft.

        Raises:
            RefusedError: Something could not be read.
        """
        params = self._params
        office_id = None
        if params.office is not None:
            office = self._office(params.office, await self._read_offices())
            if isinstance(office, Verdict):
                return office
            office_id = office.id
        if params.number is not None and params.target_type != "user":
            target = await self._of_number(params.number)
            if isinstance(target, Verdict):
                return target
            candidates = [target] if office_id in (None, target.office_id) else []
        elif params.number is not None or params.email is not None:
            candidates = await self._users(office_id)
        else:
            candidates = await self._of_type(office_id)
        matches, exact = candidates, True
        if params.name is not None:
            matches, exact = with_name(params.name, candidates, lambda target: target.name)
        if not exact and matches and WILDCARD not in (params.name or ""):
            self._draft.warnings.append(
                f'The target is called "{short(matches[0].name or "")}": the same but for upper and lower case.'
            )
        return await self._judge(matches, candidates)

    async def _judge(self, matches: list[ListedTarget], candidates: list[ListedTarget]) -> Verdict:
        params = self._params
        one_wanted = bool(params.number or params.email or (params.name and WILDCARD not in params.name))
        if params.target_type == "office":
            self._office_names = {target.id: target.name for target in candidates}
        if len(matches) > 1 and self._office_names is None and any(target.office_id for target in matches):
            await self._read_office_names()
        found = [self._shown(target) for target in matches]
        self._draft.own_fields["targets"] = found[:LISTED_LIMIT]
        if len(found) > LISTED_LIMIT:
            self._draft.warnings.append(
                f"There are {len(found)} {self._what}; the first {LISTED_LIMIT} are listed. Give office, or a name."
            )
        looked_for = one_wanted or params.name is not None
        if len(found) == 1 and looked_for:
            self._draft.own_fields["found"] = found[0]
        if len(found) > 1 and one_wanted:
            each = listed_in_text([_in_text(target) for target in found])
            hint = "Use an id." if params.office or params.target_type == "office" else "Give office, or use an id."
            message = f"{len(found)} {self._what} {self._criteria()}: {each}. {hint}"
            return Verdict("conflict", "several_of_that_name", message)
        if not found and looked_for:
            near = did_you_mean(params.name or "", (target.name for target in candidates))
            hint = near or f"Look at the list of {self._what}."
            return Verdict("not_found", "no_such_name", f"There are no {self._what} {self._criteria()}. {hint}")
        return Verdict("listed")

    def _criteria(self) -> str:
        """What was looked for, as the end of a sentence."""
        params = self._params
        parts = [f'called "{short(params.name)}"'] if params.name else []
        parts += [f"with {name} {short(value)}" for name in ("number", "email") if (value := getattr(params, name))]
        return f"{' and '.join(parts)}{self._in_office()}"

    def _in_office(self) -> str:
        return f' of office "{short(self._params.office)}"' if self._params.office else ""

    def _shown(self, target: ListedTarget) -> FoundTarget:
        office = None
        if target.office_id is not None:
            office = FoundOffice(id=target.office_id, name=(self._office_names or {}).get(target.office_id))
        return FoundTarget(id=target.id, name=target.name, office=office)

    async def _read_offices(self) -> list[ListedTarget]:
        offices = await self._directory.offices()
        self._office_names = {office.id: office.name for office in offices}
        return offices

    async def _read_office_names(self) -> None:
        """The names of the offices, if the key may list them: it may list other things only."""
        try:
            await self._read_offices()
        except RefusedError as exc:
            if exc.verdict.outcome not in TERMINAL_OUTCOMES:
                raise  # another try may help
            self._draft.warnings.append(f"The names of the offices could not be read. {exc.verdict.message}")

    def _office(self, wanted: str, offices: list[ListedTarget]) -> ListedTarget | Verdict:
        """The office of an id or of a name."""
        of_id = next((office for office in offices if office.id == wanted), None)
        if of_id is not None:
            return of_id
        named, _ = with_name(wanted, offices, lambda office: office.name)
        if len(named) == 1:
            return named[0]
        if named:
            message = f'{len(named)} offices are called "{short(wanted)}"'
            each = listed_in_text([office.id for office in named])
            return Verdict("conflict", "several_offices", f"{message}: {each}. Give the office's id.")
        hint = did_you_mean(wanted, (office.name for office in offices)) or "Look at the list of offices."
        return Verdict("not_found", "no_such_office", f'There is no office "{short(wanted)}". {hint}')

    async def _of_number(self, number: str) -> ListedTarget | Verdict:
        """The target of a phone number, if it is of the type."""
        owner = await self._directory.number_owner(_e164(number) or "")
        if owner is None:
            message = f"No target has the number {number}. Write it with its country's code, as in +14155551000."
            return Verdict("not_found", "no_such_number", message)
        target_type, target_id = owner
        if target_type != self._params.target_type:
            owned = f"{short(target_type)} {target_id}"
            message = f"The number {number} belongs to {owned}, which is not one of the {self._what}."
            return Verdict("not_found", "number_of_another_type", message)
        target = await self._directory.target(target_type, target_id)
        if target is None:
            message = f"The number {number} belongs to {target_type} {target_id}, which Dialpad does not show."
            return Verdict("not_found", "no_such_target", message)
        return target

    async def _users(self, office_id: str | None) -> list[ListedTarget]:
        """The users of the address and of the number, whatever the server made of them."""
        params = self._params
        email, number = (params.email or "").casefold(), _digits(params.number or "")
        return [
            user
            for user in await self._directory.users(email=params.email, number=_e164(params.number))
            if (not email or email in map(str.casefold, user.emails))
            and (not number or number in map(_digits, user.numbers))
            and office_id in (None, user.office_id)
        ]

    async def _of_type(self, office_id: str | None) -> list[ListedTarget]:
        """The targets of the type; only those that Dialpad finds by the name, if one of them is written the same."""
        target_type, name = self._params.target_type, _searched_name(self._params)
        if name is not None:
            try:
                searched = await self._directory.targets(target_type, name=name)
            except RefusedError as exc:
                if exc.verdict.code != "http_400":  # a name that Dialpad cannot search for
                    raise
            else:
                if with_name(name, searched, lambda target: target.name)[1]:
                    return searched
        return await self._directory.targets(target_type, office_id=office_id)


def _digits(number: str) -> str:
    return re.sub(r"[^0-9]", "", number)


def _in_text(target: FoundTarget) -> str:
    """A target of several of one name: what tells it from the others."""
    if target.office is None:
        return target.id
    return f"{target.id} (office {short(target.office.name or target.office.id)})"
