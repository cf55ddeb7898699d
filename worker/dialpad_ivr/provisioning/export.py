"""Exports what is selected, as the rows of a file of changes: to plan them again finds nothing to change.

A row names its target and its IVR, so that it can be read and edited. An id is added where the name alone would not do:
another has the same, there is none, it holds a wildcard, or a spreadsheet would compute it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

from dialpad_ivr.contract.inputs import ListTargetsInput
from dialpad_ivr.contract.outputs import FoundIvr
from dialpad_ivr.contract.values import IVR_TYPES, LISTED_LIMIT
from dialpad_ivr.dialpad.parsing import ListedTarget
from dialpad_ivr.provisioning.directory import TargetDirectory
from dialpad_ivr.provisioning.listing import Target, TargetListing, list_company
from dialpad_ivr.provisioning.reader import Reader
from dialpad_ivr.provisioning.snapshot import ivrs_of, read_ivrs
from dialpad_ivr.provisioning.writing import can_write
from dialpad_ivr.tasks.directory import RefusedError
from dialpad_ivr.tasks.names import WILDCARD

LeftOut = Literal["nothing_selected", "directions_differ", "selection_unknown", "undocumented_slot"]
"""Why a slot is in no row: nothing is selected, or inbound and outbound differ, which no change can set; the list does
not say what is selected; or no change can name the slot."""


@dataclass(frozen=True)
class Export:
    """What was exported.

    Attributes:
        rows: By type, office, target and slot; text by column.
        targets: How many targets were read.
        left_out: Slots that are in no row, by why.
        unread: Why a list, or the IVRs of a target, could not be read.
        listing: The targets that were found.
    """

    rows: tuple[dict[str, str], ...]
    targets: int
    left_out: Counter[LeftOut]
    unread: Counter[str]
    listing: TargetListing


async def read_export(
    wanted: Sequence[ListTargetsInput],
    ivr_types: Collection[str],
    reader: Reader,
    on_progress: Callable[[str, int, int], None],
) -> Export:
    """Read the targets that are wanted, and what they have selected. One call reads all slots of a target.

    Args:
        wanted: The targets of each type; all with the same credential.
        ivr_types: The slots; empty for all.
        reader: Reads the lists.
        on_progress: Progress callback: what is being read, how many were, and the total.
    """
    credential = wanted[0].credential
    directory = TargetDirectory(credential, reader)
    listing = await list_company(wanted, directory, partial(on_progress, "Listing targets"))
    of_target: dict[Target, list[dict[str, str]]] = {}
    left_out: Counter[LeftOut] = Counter()
    unread = Counter(listing.refused)

    async def read(target: Target) -> None:
        slots = ivr_types or IVR_TYPES
        output = await read_ivrs(reader, target.target_type, target.found.id, credential, slots)
        if output.ok:
            names = await _target_columns(target, listing, directory)
            of_target[target] = list(_rows(names, ivrs_of(output), ivr_types, left_out))
        else:
            unread[output.error.message if output.error else "no answer"] += 1
            of_target[target] = []
        on_progress("Reading current selections", len(of_target), len(listing.targets))

    on_progress("Reading current selections", 0, len(listing.targets))
    await asyncio.gather(*map(read, listing.targets))
    more = {} if credential == "default" else {"credential": credential}
    rows = tuple({**row, **more} for target in listing.targets for row in of_target[target])
    return Export(rows, len(listing.targets), left_out, unread, listing)


async def _target_columns(target: Target, listing: TargetListing, directory: TargetDirectory) -> dict[str, str]:
    """The columns that say which target it is, and no other."""
    found, target_type = target.found, target.target_type
    name = (found.name or "").strip()
    name = name if can_write(name) else ""
    # The company's list shows no office of a channel, and a plan could not read that of an office that is not listed.
    office = found.office if target_type not in ("office", "channel") and name else None
    office = office if office and office.id in listing.offices else None
    same: list[ListedTarget] = []
    if office is not None:
        with suppress(RefusedError):  # an office's own list is another call
            same = await directory.named(target_type, name, office_id=office.id)
        if found.id not in (each.id for each in same):
            office = None
    if office is None:
        same = await directory.named(target_type, name)
    alone = _is_unique(name, [each.name for each in same])
    columns = {"target_type": target_type, "target_id": "" if alone else found.id, "target": name}
    return {**columns, "office": _office_cell(listing.offices[office.id], listing)} if office else columns


def _office_cell(office: ListedTarget, listing: TargetListing) -> str:
    name = (office.name or "").strip()
    alone = _is_unique(name, [each.name for each in listing.offices.values()])
    return name if alone and can_write(name) and name not in listing.offices else office.id


def _rows(
    target: dict[str, str], ivrs: Sequence[FoundIvr], ivr_types: Collection[str], left_out: Counter[LeftOut]
) -> Iterator[dict[str, str]]:
    """A row for each slot that one change can set as it is."""
    slots: dict[str, list[FoundIvr]] = {}
    for ivr in ivrs:
        slots.setdefault(ivr.ivr_type or "", []).append(ivr)
    for ivr_type in sorted(slots):
        if ivr_types and ivr_type not in ivr_types:
            continue
        slot = slots[ivr_type]
        selected = [ivr for ivr in slot if ivr.selected]
        if ivr_type not in IVR_TYPES:
            left_out["undocumented_slot"] += 1
        elif len(slot) >= LISTED_LIMIT or (not selected and any(ivr.selected is None for ivr in slot)):
            left_out["selection_unknown"] += 1
        elif len(selected) != 1:
            left_out["directions_differ" if selected else "nothing_selected"] += 1
        else:
            name = (selected[0].name or "").strip()
            name = name if can_write(name) else ""
            alone = _is_unique(name, [ivr.name for ivr in slot])
            yield {**target, "ivr_type": ivr_type, "ivr_id": "" if alone else selected[0].id, "ivr": name}


def _is_unique(name: str, names: Sequence[str | None]) -> bool:
    """Whether a name finds this one thing among those of these names."""
    return bool(name) and WILDCARD not in name and [(each or "").strip() for each in names].count(name) == 1
