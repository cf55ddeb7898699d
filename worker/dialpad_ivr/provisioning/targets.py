"""Looks up the targets that a file of changes names: each list that is needed is read once, whatever the rows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeVar

from dialpad_ivr.contract.inputs import ListTargetsInput
from dialpad_ivr.contract.outputs import FoundTarget
from dialpad_ivr.contract.targets import OFFICE_LIST_PATHS
from dialpad_ivr.contract.validation import short
from dialpad_ivr.contract.values import TARGETS_TASK_TYPE
from dialpad_ivr.dialpad.parsing import ListedTarget
from dialpad_ivr.dialpad.verdict import Verdict
from dialpad_ivr.provisioning.changes import MAX_ROWS, Change, FirstRows, Violation, conflicts
from dialpad_ivr.provisioning.plan import PlannedChange
from dialpad_ivr.provisioning.reader import Reader
from dialpad_ivr.tasks.caller import Caller, run
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.directory import Directory, RefusedError
from dialpad_ivr.tasks.list_targets import first_call
from dialpad_ivr.tasks.result import Draft, Result
from dialpad_ivr.tasks.target_search import Miss, Search, in_text

_Read = TypeVar("_Read")

# For a list: nobody delivers the task again, and the reads of many rows share the rate with it.
_LIST_SECONDS: Final = 1800.0


Problem = Literal["no_target", "several_targets", "same_slot", "too_many"]


@dataclass(frozen=True)
class Unresolved:
    """A row that names no target, or several, or that turns out to set the same slot as an earlier one.

    Attributes:
        change: The row; with the id of its target if it sets the same slot.
    """

    change: Change
    problem: Problem
    violation: Violation


@dataclass(frozen=True)
class Resolved:
    """The rows of a file with the ids of their targets.

    Attributes:
        changes: In file order; of a wildcard, one for each of its targets.
        unreadable: Rows whose target could not be looked up, with the reason.
        unresolved: Names that mean no target, or several, and rows that turn out to set the same slot; by line. Do not
            apply any of the changes unless it is empty.
    """

    changes: tuple[Change, ...]
    unreadable: tuple[PlannedChange, ...]
    unresolved: tuple[Unresolved, ...]

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What is wrong with the unresolved rows."""
        return tuple(each.violation for each in self.unresolved)


async def resolve_targets(changes: Sequence[Change], reader: Reader, on_found: Callable[[int, int], None]) -> Resolved:
    """Look up the targets that rows name. Without a name nothing is read.

    Args:
        changes: Valid rows.
        reader: Reads the lists.
        on_found: Progress callback: the number of different targets or wildcards looked up, and the total.
    """
    wanted = list(dict.fromkeys(change.wanted for change in changes if change.wanted is not None))
    if not wanted:
        return Resolved(tuple(changes), (), ())
    directories = {credential: _Directory(credential, reader) for credential in {each.credential for each in wanted}}
    results: dict[ListTargetsInput, _Result] = {}

    async def search(params: ListTargetsInput) -> None:
        results[params] = await _search(params, directories[params.credential])
        on_found(len(results), len(wanted))

    on_found(0, len(wanted))
    await asyncio.gather(*(search(params) for params in wanted))
    return _resolved(changes, results)


@dataclass(frozen=True)
class _Result:
    """What a search came to: what it found, why that is not what is wanted, or why nothing is known."""

    found: Sequence[FoundTarget] = ()
    miss: Miss | None = None
    refusal: Verdict | None = None


async def _search(params: ListTargetsInput, directory: _Directory) -> _Result:
    search = Search(params, directory)
    try:
        miss = await search.run()
    except RefusedError as exc:
        return _Result(refusal=exc.verdict)
    return _Result(search.found, miss)


def _resolved(changes: Sequence[Change], results: dict[ListTargetsInput, _Result]) -> Resolved:
    resolved: list[Change] = []
    unreadable: list[PlannedChange] = []
    unresolved: list[Unresolved] = []
    first_rows: FirstRows = {}
    for change in changes:
        targets = [change]
        if change.wanted is not None:
            result = results[change.wanted]
            if result.refusal is not None:
                unreadable.append(_unreadable(change, change.wanted, result.refusal))
                continue
            violation = _violation(change, change.wanted, result)
            if violation is not None:
                several = result.miss is not None and result.miss.outcome == "conflict"
                unresolved.append(Unresolved(change, "several_targets" if several else "no_target", violation))
                continue
            targets = list(_each_target(change, result.found))
        if len(resolved) + len(targets) > MAX_ROWS:
            message = f"With this row, the file comes to more than {MAX_ROWS:,} changes. The rest was not looked at."
            violation = Violation(change.line, "target", message, "Split the file into several.")
            unresolved.append(Unresolved(change, "too_many", violation))
            break
        for target in targets:
            found = [Unresolved(target, "same_slot", each) for each in conflicts(target, target.credential, first_rows)]
            unresolved += found
            resolved += [] if found else [target]
    return Resolved(tuple(resolved), tuple(unreadable), tuple(unresolved))


def _violation(change: Change, wanted: ListTargetsInput, result: _Result) -> Violation | None:
    """Why what was found is not the row's target; `None` if it is."""
    found = result.found
    if change.target_id is not None and found:  # of several of a name, the id says which
        if any(target.id == change.target_id for target in found):
            return None
        named = " ".join(
            f'"{short(text)}"' for text in (wanted.name, wanted.office, wanted.number, wanted.email) if text
        )
        others = f" and {len(found) - 1} more" if len(found) > 1 else ""
        message = f"target_id is {change.target_id}, but {named} is {in_text(found[0])}{others}."
        return Violation(change.line, "target_id", message, "Correct one of them, or leave one empty.")
    if result.miss is None:
        return None
    miss = result.miss
    return Violation(change.line, "target" if miss.field == "name" else miss.field, miss.message, miss.hint)


def _each_target(change: Change, found: Sequence[FoundTarget]) -> Iterator[Change]:
    for target in found:
        if change.target_id in (None, target.id):
            office = target.office.name if target.office else None
            yield replace(change, target_id=target.id, target_name=target.name, office_name=office)


def _unreadable(change: Change, wanted: ListTargetsInput, refusal: Verdict) -> PlannedChange:
    named = replace(change, target_name=wanted.name or wanted.number or wanted.email, office_name=wanted.office)
    return PlannedChange.of(named, "unreadable", note=refusal.message)


class _Directory:
    """Reads targets for all rows of a credential: each list once, other than the task `list_targets`."""

    def __init__(self, credential: str, reader: Reader) -> None:
        self._credential = credential
        self._reader = reader
        self._lists: dict[tuple[str, str | None], asyncio.Task[list[ListedTarget]]] = {}
        self._by_name: dict[str, dict[str, list[ListedTarget]]] = {}

    async def offices(self) -> list[ListedTarget]:
        return await self._list("office")

    async def named(self, target_type: str, name: str) -> list[ListedTarget]:
        if target_type not in self._by_name:
            targets = await self._list(target_type)
            by_name: dict[str, list[ListedTarget]] = defaultdict(list)
            for target in targets:
                by_name[(target.name or "").strip()].append(target)
            self._by_name[target_type] = by_name
        return self._by_name[target_type].get(name, [])

    async def targets(self, target_type: str, *, office_id: str | None = None) -> list[ListedTarget]:
        targets = await self._list(target_type)
        if office_id is None:
            return targets
        if target_type in OFFICE_LIST_PATHS and any(target.office_id is None for target in targets):
            return await self._list(target_type, office_id)  # the company's list does not show every target's office
        return [target for target in targets if target.office_id == office_id]

    async def users(self, *, email: str | None = None, number: str | None = None) -> list[ListedTarget]:
        return await self._read("user", lambda directory: directory.users(email=email, number=number))

    async def number_owner(self, number: str) -> tuple[str, str] | None:
        return await self._read("office", lambda directory: directory.number_owner(number))

    async def target(self, target_type: str, target_id: str) -> ListedTarget | None:
        return await self._read(target_type, lambda directory: directory.target(target_type, target_id))

    async def _list(self, target_type: str, office_id: str | None = None) -> list[ListedTarget]:
        key = (target_type, office_id)
        if key not in self._lists:
            self._lists[key] = asyncio.create_task(
                self._read(target_type, lambda directory: directory.targets(target_type, office_id=office_id))
            )
        return await self._lists[key]

    async def _read(self, target_type: str, read: Callable[[Directory], Awaitable[_Read]]) -> _Read:
        """Read with the pace, the waits and the retries of a task.

        Raises:
            RefusedError: It could not be read to its end.
        """
        params = ListTargetsInput.model_validate({"target_type": target_type, "credential": self._credential})
        tools = self._reader.tools
        answers: list[_Read] = []

        async def judge(caller: Caller) -> Verdict:
            try:
                answers.append(await read(Directory(caller, tools.client, _LIST_SECONDS)))
            except RefusedError as exc:
                return exc.verdict
            return Verdict("listed")

        async def task(delivery: Delivery) -> Result:
            draft = Draft(
                TARGETS_TASK_TYPE,
                first_call(params, tools.client),
                None,
                attempts=delivery.attempts,
                waited_ms=delivery.waited_ms,
                outage_ms=delivery.outage_ms,
                warnings=[],
            )
            return await run(delivery, tools, params, draft, judge)

        output = await self._reader.run(self._credential, params.model_dump(), task)
        if not output.ok:
            error = output.error
            raise RefusedError(
                Verdict(output.outcome, error.code if error else "", error.message if error else "no answer")
            )
        return answers[-1]
