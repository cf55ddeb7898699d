"""Finds targets by office, name, phone number or email address: the one rule for the task and for files of changes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from dialpad_ivr.contract.inputs import ListTargetsInput
from dialpad_ivr.contract.outcomes import TERMINAL_OUTCOMES, TerminalOutcome
from dialpad_ivr.contract.outputs import FieldError, FoundOffice, FoundTarget
from dialpad_ivr.contract.targets import PLURALS
from dialpad_ivr.contract.validation import short
from dialpad_ivr.dialpad.parsing import ListedTarget
from dialpad_ivr.dialpad.verdict import Verdict
from dialpad_ivr.tasks.directory import RefusedError
from dialpad_ivr.tasks.names import WILDCARD, did_you_mean, listed_in_text, with_name


class TargetReader(Protocol):
    """What a search reads targets from. Every method raises `RefusedError` where something could not be read."""

    finds_all_by_name: bool
    """Whether `named` finds every target of a name, whatever its upper and lower case."""

    async def offices(self) -> list[ListedTarget]:
        """All offices; each belongs to itself."""

    async def named(self, target_type: str, name: str, *, office_id: str | None = None) -> list[ListedTarget]:
        """Targets of that name, found sooner than by reading all of them; empty where that cannot be done."""

    async def targets(self, target_type: str, *, office_id: str | None = None) -> list[ListedTarget]:
        """The targets of a type, or those of an office."""

    async def users(self, *, email: str | None = None, number: str | None = None) -> list[ListedTarget]:
        """The users that Dialpad finds by an email address or a phone number: that they have it is not checked."""

    async def number_owner(self, number: str) -> tuple[str, str] | None:
        """Type and id of the target that a number (E.164) belongs to; `None` if there is none."""

    async def target(self, target_type: str, target_id: str) -> ListedTarget | None:
        """One target; `None` if there is none of that id."""


@dataclass(frozen=True)
class Miss:
    """Why a search found nothing, or too much.

    Attributes:
        field: The field of the input that says what was not found.
        outcome: `not_found`, or `conflict` if several match.
        code: Finer than the outcome.
        message: What is wrong.
        hint: What to do.
    """

    field: str
    outcome: TerminalOutcome
    code: str
    message: str
    hint: str

    @property
    def verdict(self) -> Verdict:
        """The verdict on a task that needs what was not found."""
        return Verdict(self.outcome, self.code, f"{self.message} {self.hint}")


class _MissError(Exception):
    def __init__(self, miss: Miss) -> None:
        super().__init__(miss.message)
        self.miss = miss


def contradictions(params: ListTargetsInput) -> list[FieldError]:
    """Fields that do not go together, which the schema cannot say."""
    errors = []
    if params.email is not None and params.target_type != "user":
        message = f"email finds users, not {PLURALS[params.target_type]}."
        errors.append(FieldError(path="email", rule="target_type", message=message, hint="Use the name or the number."))
    if params.office is not None and params.target_type == "channel":
        message = "office is given, but channels belong to no office."
        errors.append(FieldError(path="office", rule="target_type", message=message, hint="Remove it."))
    return errors


def e164(number: str | None) -> str | None:
    """A phone number without what separates its digits."""
    return None if number is None else re.sub(r"[^+0-9]", "", number)


class Search:
    """One search.

    Attributes:
        found: The targets that match, also where there are too many.
        warnings: What is found but perhaps not meant, and what could not be read in addition.
    """

    def __init__(self, params: ListTargetsInput, reader: TargetReader, *, suggest: bool = True) -> None:
        """Prepare the search.

        Args:
            params: What to look for.
            reader: Where to look.
            suggest: Whether a miss names what is called nearly the same, which takes a while among many.
        """
        self._suggest = suggest
        self.found: list[FoundTarget] = []
        self.warnings: list[str] = []
        self._params = params
        self._reader = reader
        self._office_names: dict[str, str | None] | None = None  # until the offices were read
        self._what = PLURALS[params.target_type]

    @property
    def one_wanted(self) -> bool:
        """Whether one target is looked for, not all that match."""
        params = self._params
        return bool(params.number or params.email or (params.name and WILDCARD not in params.name))

    @property
    def looked_for(self) -> bool:
        """Whether anything in particular is looked for."""
        return self.one_wanted or self._params.name is not None

    async def run(self) -> Miss | None:
        """Read what is needed.

        Returns:
            Why it is not found; `None` if it is.

        Raises:
            RefusedError: Something could not be read.
        """
        try:
            return await self._run()
        except _MissError as exc:
            return exc.miss

    async def _run(self) -> Miss | None:
        params = self._params
        office_id = None
        if params.office is not None:
            office_id = self._office(params.office, await self._read_offices()).id
        if params.number is not None and params.target_type != "user":
            target = await self._of_number(params.number)
            candidates = [target] if office_id in (None, target.office_id) else []
        elif params.number is not None or params.email is not None:
            candidates = await self._users(office_id)
        else:
            candidates = await self._of_type(office_id)
        matches, exact = candidates, True
        if params.name is not None:
            matches, exact = with_name(params.name, candidates, lambda target: target.name)
        if not exact and matches and WILDCARD not in (params.name or ""):
            self.warnings.append(
                f'The target is called "{short(matches[0].name or "")}": the same but for upper and lower case.'
            )
        return await self._judge(matches, candidates)

    async def _judge(self, matches: list[ListedTarget], candidates: list[ListedTarget]) -> Miss | None:
        params = self._params
        if params.target_type == "office":
            self._office_names = {target.id: target.name for target in candidates}
        if len(matches) > 1 and self._office_names is None and any(target.office_id for target in matches):
            await self._read_office_names()
        self.found = [self._shown(target) for target in matches]
        if len(matches) > 1 and self.one_wanted:
            each = listed_in_text([in_text(target) for target in self.found])
            message = f"{len(matches)} {self._what} {self._criteria()}: {each}."
            hint = "Use an id." if params.office or params.target_type == "office" else "Give office, or use an id."
            return Miss(self._field, "conflict", "several_of_that_name", message, hint)
        if not matches and self.looked_for:
            near = self._suggest and did_you_mean(params.name or "", (target.name for target in candidates))
            hint = near or self._see_all(params.target_type)
            return Miss(
                self._field, "not_found", "no_such_name", f"There are no {self._what} {self._criteria()}.", hint
            )
        return None

    @property
    def _field(self) -> str:
        """The field that names the target."""
        return next(name for name in ("name", "number", "email") if getattr(self._params, name) is not None)

    def _criteria(self) -> str:
        """What was looked for, as the end of a sentence."""
        params = self._params
        parts = [f'called "{short(params.name)}"'] if params.name else []
        parts += [f"with {name} {short(value)}" for name in ("number", "email") if (value := getattr(params, name))]
        return f"{' and '.join(parts)}{self._in_office()}"

    def _in_office(self) -> str:
        return f' of office "{short(self._params.office)}"' if self._params.office else ""

    def _see_all(self, target_type: str) -> str:
        """What to do where nothing is similar."""
        credential = self._params.credential
        profile = "" if credential == "default" else f" --credential {credential}"
        return f"See all {PLURALS[target_type]}: dialpad-ivr targets {target_type}{profile}"

    def _shown(self, target: ListedTarget) -> FoundTarget:
        office = None
        if target.office_id is not None:
            office = FoundOffice(id=target.office_id, name=(self._office_names or {}).get(target.office_id))
        return FoundTarget(id=target.id, name=target.name, office=office)

    async def _read_offices(self) -> list[ListedTarget]:
        offices = await self._reader.offices()
        self._office_names = {office.id: office.name for office in offices}
        return offices

    async def _read_office_names(self) -> None:
        """The names of the offices, if the key may list them: it may list other things only."""
        try:
            await self._read_offices()
        except RefusedError as exc:
            if exc.verdict.outcome not in TERMINAL_OUTCOMES:
                raise  # another try may help
            self.warnings.append(f"The names of the offices could not be read. {exc.verdict.message}")

    def _office(self, wanted: str, offices: list[ListedTarget]) -> ListedTarget:
        """The office of an id or of a name."""
        of_id = next((office for office in offices if office.id == wanted), None)
        if of_id is not None:
            return of_id
        named, _ = with_name(wanted, offices, lambda office: office.name)
        if len(named) == 1:
            return named[0]
        if named:
            each = listed_in_text([office.id for office in named])
            message = f'{len(named)} offices are called "{short(wanted)}": {each}.'
            raise _MissError(Miss("office", "conflict", "several_offices", message, "Give the office's id."))
        near = self._suggest and did_you_mean(wanted, (office.name for office in offices))
        hint = near or self._see_all("office")
        message = f'There is no office "{short(wanted)}".'
        raise _MissError(Miss("office", "not_found", "no_such_office", message, hint))

    async def _of_number(self, number: str) -> ListedTarget:
        """The target of a phone number, if it is of the type."""
        owner = await self._reader.number_owner(e164(number) or "")
        if owner is None:
            hint = "Correct it." if number.startswith("+") else "Write it with its country's code, as in +14155551000."
            message = f"No target has the number {number}."
            raise _MissError(Miss("number", "not_found", "no_such_number", message, hint))
        target_type, target_id = owner
        if target_type != self._params.target_type:
            owned = f"{short(target_type)} {target_id}"
            message = f"The number {number} belongs to {owned}, which is not one of the {self._what}."
            hint = "Correct the number, or target_type."
            raise _MissError(Miss("number", "not_found", "number_of_another_type", message, hint))
        target = await self._reader.target(target_type, target_id)
        if target is None:
            message = f"The number {number} belongs to {target_type} {target_id}, which Dialpad does not show."
            raise _MissError(Miss("number", "not_found", "no_such_target", message, "Check it in Dialpad."))
        return target

    async def _users(self, office_id: str | None) -> list[ListedTarget]:
        """The users of the address and of the number, whatever the server made of them."""
        params = self._params
        email, number = (params.email or "").casefold(), _digits(params.number or "")
        return [
            user
            for user in await self._reader.users(email=params.email, number=e164(params.number))
            if (not email or email in map(str.casefold, user.emails))
            and (not number or number in map(_digits, user.numbers))
            and office_id in (None, user.office_id)
        ]

    async def _of_type(self, office_id: str | None) -> list[ListedTarget]:
        """The targets of the type; only those that are found by the name, if one of them is written the same."""
        target_type, name = self._params.target_type, self._params.name
        if name and WILDCARD not in name:
            searched = await self._reader.named(target_type, name, office_id=office_id)
            known = self._reader.finds_all_by_name and (searched or not self._suggest)
            if known or with_name(name, searched, lambda target: target.name)[1]:
                return searched
        return await self._reader.targets(target_type, office_id=office_id)


def in_text(target: FoundTarget) -> str:
    """A target of several of one name: what tells it from the others."""
    if target.office is None:
        return target.id
    return f"{target.id} (office {short(target.office.name or target.office.id)})"


def _digits(number: str) -> str:
    return re.sub(r"[^0-9]", "", number)
