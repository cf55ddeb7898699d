"""Files of changes for tests, and what was read from them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from dialpad_ivr.provisioning.changes import Change, Changes, Violation
from dialpad_ivr.provisioning.plan import PlannedChange
from dialpad_ivr.provisioning.reader import open_reader
from dialpad_ivr.provisioning.snapshot import Snapshot, read_snapshot
from dialpad_ivr.settings import Settings
from dialpad_ivr.testing.double import DoubleControl

HEADER = "target_type,target_id,ivr_type,ivr_id,select_option,credential"
SLOT = {"target_type": "callcenter", "target_id": "5502522061422592", "ivr_type": "HOLD_MUSIC"}
ROW = {**SLOT, "ivr_id": "5127493019721728"}


def table(*rows: str, header: str = HEADER) -> str:
    return "\r\n".join([header, *rows, ""])


def rows_of(changes: Changes) -> list[tuple[int, dict[str, Any]]]:
    assert not changes.violations
    return [(change.line, change.params.model_dump(exclude_defaults=True)) for change in changes.changes]


def where(changes: Changes) -> list[tuple[int, str]]:
    return [(violation.line, violation.path) for violation in changes.violations]


def only(changes: Changes) -> Violation:
    (violation,) = changes.violations
    return violation


PLAIN = table("callcenter,5502522061422592,HOLD_MUSIC,5127493019721728,,")

NAMED = {"target_type": "callcenter", "target": "Support", "ivr_type": "HOLD_MUSIC", "ivr": "Summer hold music"}
"""A row of names, of the double's company."""

ReadRows = Callable[..., Coroutine[Any, Any, Snapshot]]
"""What is read for rows that differ from `NAMED` in these values."""


def unpaced(double: DoubleControl, **more: Any) -> Settings:
    """Settings to read a double without waiting."""
    return Settings(api_url=double.url, allow_loopback=True, company_limit=100_000, patch_limit=100_000, **more)


async def snapshot_of(changes: Sequence[Change], settings: Settings) -> Snapshot:
    async with open_reader(settings) as reader:
        return await read_snapshot(changes, reader, lambda *_: None)


def planned(snapshot: Snapshot) -> list[PlannedChange]:
    assert not snapshot.violations
    return list(snapshot.rows)
