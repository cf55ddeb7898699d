"""Reading current selections from the test double over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.contract.values import LISTED_LIMIT
from dialpad_ivr.provisioning.changes import Change
from dialpad_ivr.provisioning.plan import PlannedChange
from dialpad_ivr.provisioning.reader import open_reader
from dialpad_ivr.provisioning.snapshot import read_selections
from dialpad_ivr.testing.double import DoubleControl
from support.changes import unpaced

TARGET = {"target_type": "callcenter", "target_id": "1"}


def slot(ivr_type: str, *numbers: int, selected: Any) -> dict[str, Any]:
    ivrs = [{"id": str(number), "name": f"IVR {number}"} for number in numbers]
    return {"ivr_type": ivr_type, "ivrs": ivrs, "selected": selected}


async def read(double: DoubleControl, *params: dict[str, Any], **settings: Any) -> list[PlannedChange]:
    changes = [
        Change(line, **{**TARGET, "ivr_type": "MENU", "ivr_id": None, **one})
        for line, one in enumerate(params, start=2)
    ]
    progress: list[tuple[int, int]] = []
    async with open_reader(unpaced(double, **settings)) as reader:
        rows = await read_selections(changes, reader, lambda done, of: progress.append((done, of)))
    targets = len({change.target_id for change in changes})
    assert progress == [(done, targets) for done in range(targets + 1)]
    return rows


async def test_each_row_has_its_action_and_each_target_is_read_once(double: DoubleControl) -> None:
    differing = {"inbound": "20", "outbound": "21"}
    slots = [
        slot("MENU", 10, 11, selected="11"),
        slot("CLOSED", 12, selected=None),
        slot("AUTO_RECORDING", 20, 21, 22, selected=differing),
    ]
    double.set_state({**TARGET, "slots": slots})
    rows = await read(
        double,
        {"ivr_id": "10"},
        {"ivr_id": "11"},
        {"ivr_id": "99"},
        {"ivr_type": "CLOSED", "ivr_id": "12"},
        {"ivr_type": "AUTO_RECORDING", "ivr_id": "22", "select_option": "inbound"},
        {"ivr_type": "GREETING", "ivr_id": "1"},
        {"target_id": "2", "ivr_id": "10"},
        {"ivr_id": "11", "select_option": "inbound"},
    )
    assert [row.action for row in rows] == [
        "change",
        "unchanged",
        "missing_ivr",
        "change",
        "change",
        "missing_ivr",
        "unknown_target",
        "change",
    ]
    assert [[ivr.id for ivr in row.previous] for row in rows[:5]] == [["11"], ["11"], ["11"], [], ["20", "21"]]
    assert rows[0].ivr_name == "IVR 10"
    assert "IVR 10 (10), IVR 11 (11)" in rows[2].note
    assert "cannot unselect" in rows[3].note
    assert "inbound and outbound" in rows[4].note.lower()
    assert "no IVR for this slot" in rows[5].note
    assert "404" in rows[6].note
    assert "call center auto recording only" in rows[7].note
    assert double.summary()["arrivals"] == 2


async def test_transient_faults_are_retried(double: DoubleControl) -> None:
    double.set_state({**TARGET, "slots": [slot("MENU", 10, 11, selected="11")]})
    double.add_faults(
        {"fault": "rate_limited", "retry_after": 1, "times": 1},
        {"fault": "status", "status": 503, "times": 1},
        {"fault": "reset_before", "times": 1},
    )
    (row,) = await read(double, {"ivr_id": "10"})
    assert row.action == "change"
    assert double.summary()["arrivals"] == 4


async def test_target_with_a_truncated_list_is_read_slot_by_slot(double: DoubleControl) -> None:
    many = range(1000, 1000 + LISTED_LIMIT)
    double.set_state({**TARGET, "slots": [slot("GREETING", *many, selected=None), slot("MENU", 10, 11, selected="11")]})
    (row,) = await read(double, {"ivr_id": "10"})
    assert row.action == "change"
    assert [ivr.id for ivr in row.previous] == ["11"]


@pytest.mark.long
async def test_no_more_targets_are_tried_once_dialpad_does_not_answer(double: DoubleControl) -> None:
    double.add_faults({"fault": "status", "status": 503, "times": 1000})
    targets = [{"target_id": str(number), "ivr_id": "10"} for number in range(1, 91)]
    rows = await read(double, *targets, concurrency=24)
    assert {row.action for row in rows} == {"unreadable"}
    assert double.summary()["arrivals"] <= 2 * 24 * 3


@pytest.mark.long
async def test_targets_without_an_answer_do_not_stop_the_others_from_being_read(double: DoubleControl) -> None:
    double.set_state(synthetic=60)
    double.add_faults({"fault": "status", "status": 503, "times": 20})
    targets = [{"target_id": str(6_000_000_000_000_000 + number), "ivr_id": "10"} for number in range(60)]
    assert "unreadable" not in {row.action for row in await read(double, *targets)}
