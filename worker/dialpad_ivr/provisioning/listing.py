"""The targets of a company, of several types at once, for commands that list or export them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dialpad_ivr.contract.inputs import ListTargetsInput
from dialpad_ivr.contract.outputs import FoundOffice, FoundTarget
from dialpad_ivr.dialpad.parsing import ListedTarget
from dialpad_ivr.provisioning.directory import TargetDirectory
from dialpad_ivr.tasks.directory import RefusedError
from dialpad_ivr.tasks.target_search import Miss, Search


class Target(NamedTuple):
    """A target that was found."""

    target_type: str
    found: FoundTarget


@dataclass(frozen=True)
class TargetListing:
    """What was found.

    Attributes:
        targets: By type, name of the office, name and id.
        offices: All offices by id; empty if they could not be read.
        refused: Why something could not be read, with the call that was refused.
        misses: Why a type has nothing that was looked for.
    """

    targets: tuple[Target, ...]
    offices: dict[str, ListedTarget]
    refused: tuple[str, ...]
    misses: tuple[Miss, ...]


async def list_company(
    wanted: Sequence[ListTargetsInput], directory: TargetDirectory, on_listed: Callable[[int, int], None]
) -> TargetListing:
    """Find what is wanted of each type. Several targets of one name are all of them found.

    Args:
        wanted: What to look for; one for each type.
        directory: Reads the lists.
        on_listed: Progress callback: the number of types looked through, and the total.
    """
    listed: list[Target] = []
    refused: list[str] = []
    misses: list[Miss] = []
    done = 0

    async def search(params: ListTargetsInput) -> None:
        nonlocal done
        found = Search(params, directory)
        try:
            miss = await found.run()
        except RefusedError as exc:
            refused.append(exc.verdict.message)
        else:
            listed.extend(Target(params.target_type, target) for target in found.found)
            misses.extend([miss] if miss and not found.found else [])
        done += 1
        on_listed(done, len(wanted))

    on_listed(0, len(wanted))
    await asyncio.gather(*(search(params) for params in wanted))
    offices: dict[str, ListedTarget] = {}
    if any(target.found.office for target in listed):
        try:
            offices = {office.id: office for office in await directory.offices()}
        except RefusedError as exc:
            refused.append(exc.verdict.message)
    targets = [Target(target.target_type, _with_office(target.found, offices)) for target in listed]
    return TargetListing(
        tuple(sorted(targets, key=_order)), offices, tuple(dict.fromkeys(refused)), tuple(dict.fromkeys(misses))
    )


def _with_office(found: FoundTarget, offices: dict[str, ListedTarget]) -> FoundTarget:
    if found.office is None or found.office.id not in offices:
        return found
    office = FoundOffice(id=found.office.id, name=offices[found.office.id].name)
    return found.model_copy(update={"office": office})


def _order(target: Target) -> tuple[str, str, str, int]:
    office = target.found.office
    names = ((name or "").casefold() for name in (office.name if office else "", target.found.name))
    return (target.target_type, *names, int(target.found.id))  # type: ignore[return-value] # two names
