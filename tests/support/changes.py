"""Files of changes for tests, and what was read from them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from dialpad_ivr.provisioning.changes import Changes, Violation
from dialpad_ivr.provisioning.plan import PlannedChange
from dialpad_ivr.provisioning.snapshot import Snapshot

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


def planned(snapshot: Snapshot) -> list[PlannedChange]:
    assert not snapshot.violations
    return list(snapshot.rows)
