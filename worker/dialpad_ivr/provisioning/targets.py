"""Looks up the targets that a file of changes names: each list that is needed is read once, whatever the rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from dialpad_ivr.contract.inputs import ListTargetsInput
from dialpad_ivr.contract.outputs import FoundTarget
from dialpad_ivr.contract.playback import CallHandling
from dialpad_ivr.contract.validation import short
from dialpad_ivr.dialpad.verdict import Verdict
from dialpad_ivr.provisioning.changes import MAX_ROWS, Change, FirstRows, Violation, conflicts
from dialpad_ivr.provisioning.directory import TargetDirectory
from dialpad_ivr.provisioning.hours import HandlingOf
from dialpad_ivr.provisioning.office_zones import ZoneOf
from dialpad_ivr.provisioning.plan import PlannedChange
from dialpad_ivr.provisioning.reader import Reader
from dialpad_ivr.tasks.directory import RefusedError
from dialpad_ivr.tasks.target_search import Miss, Search, in_text

# How many names that mean nothing get a suggestion: among thousands of targets, each takes some milliseconds.
_SUGGESTED: Final = 20

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
        handling_of: From a list that was read, or else from the target itself.
        zone_of: The same of the time zone of the target's office.
    """

    changes: tuple[Change, ...]
    unreadable: tuple[PlannedChange, ...]
    unresolved: tuple[Unresolved, ...]
    handling_of: HandlingOf
    zone_of: ZoneOf

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
    directories = {name: TargetDirectory(name, reader) for name in {change.credential for change in changes}}

    async def handling_of(credential: str, target_type: str, target_id: str) -> CallHandling | None:
        return await directories[credential].handling(target_type, target_id)

    async def zone_of(credential: str, target_type: str, target_id: str) -> str | None:
        return await directories[credential].office_zone(target_type, target_id)

    wanted = list(dict.fromkeys(change.wanted for change in changes if change.wanted is not None))
    if not wanted:
        return Resolved(tuple(changes), (), (), handling_of, zone_of)
    results: dict[ListTargetsInput, _Result] = {}

    async def search(params: ListTargetsInput) -> None:
        results[params] = await _search(params, directories[params.credential], suggest=False)
        on_found(len(results), len(wanted))

    on_found(0, len(wanted))
    await asyncio.gather(*(search(params) for params in wanted))
    for params in [each for each in wanted if _suggestible(each, results[each].miss)][:_SUGGESTED]:
        results[params] = await _search(params, directories[params.credential], suggest=True)  # no list is read again
    return Resolved(*_resolved(changes, results), handling_of, zone_of)


@dataclass(frozen=True)
class _Result:
    """What a search came to: what it found, why that is not what is wanted, or why nothing is known."""

    found: Sequence[FoundTarget] = ()
    miss: Miss | None = None
    refusal: Verdict | None = None


def _suggestible(params: ListTargetsInput, miss: Miss | None) -> bool:
    return miss is not None and miss.outcome == "not_found" and params.number is None and params.email is None


async def _search(params: ListTargetsInput, directory: TargetDirectory, *, suggest: bool) -> _Result:
    search = Search(params, directory, suggest=suggest)
    try:
        miss = await search.run()
    except RefusedError as exc:
        return _Result(refusal=exc.verdict)
    return _Result(search.found, miss)


def _resolved(
    changes: Sequence[Change], results: dict[ListTargetsInput, _Result]
) -> tuple[tuple[Change, ...], tuple[PlannedChange, ...], tuple[Unresolved, ...]]:
    resolved: list[Change] = []
    unreadable: list[PlannedChange] = []
    unresolved: list[Unresolved] = []
    first_rows: FirstRows = {}
    for change in changes:
        targets = [change]
        if change.wanted is not None:
            result = results[change.wanted]
            if result.refusal is not None:
                row = PlannedChange.of(called_as_wanted(change), "unreadable", note=result.refusal.message)
                unreadable.append(row)
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
    return tuple(resolved), tuple(unreadable), tuple(unresolved)


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


def called_as_wanted(change: Change) -> Change:
    """A row whose target was not found, with what the file calls it in place of the names in Dialpad."""
    wanted = change.wanted
    if wanted is None or change.target_name is not None:
        return change
    return replace(change, target_name=wanted.name or wanted.number or wanted.email, office_name=wanted.office)
