"""The workflow `check_custom_ivrs` on the real engine: what it finds, and what `provision_custom_ivrs` makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.engine.definitions import shipped
from dialpad_ivr.provisioning.scheduled_check import MAX_ROWS, VERSION, WORKFLOW
from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest
from support.fixtures import StartWorker
from support.provisioning import UNPACED, change, ivr, old_ivr, selected, target, unknown

WRONG_PROFILE = {"credential": "wrong"}  # Dialpad does not accept its key


def test_the_client_schedules_the_version_that_is_shipped() -> None:
    assert [d.body["version"] for d in shipped() if d.name == WORKFLOW] == [VERSION]


def test_each_state_is_found_and_what_differs_can_be_provisioned(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=60)
    rows: list[Any] = [
        change(0, ivr_id=old_ivr(0), if_selected=["1"], mode="apply"),  # both are the check's own
        change(1, note={"line": 7, "target_name": "Support", "ivr_name": "New"}),
        unknown(2),
        change(3, ivr_id="5"),
        change(4, **WRONG_PROFILE),
        change(5, ivr_id=int(old_ivr(5)), select_option="inbound"),
        {"target_type": "office"},
        "no row",
        *[change(number, ivr_id=old_ivr(number)) for number in range(8, 59)],
        change(59),  # in the second chunk
    ]
    with start_worker(**UNPACED):
        (ended,) = engine.ended([engine.start(WORKFLOW, {"changes": rows})])
        assert double.summary()["applied"] == 0
        assert ended["status"] == "COMPLETED", ended["reasonForIncompletion"]
        found = ended["output"]
        counts = {"in_sync": 53, "differs": 2, "missing_target": 1, "missing_ivr": 1, "unreadable": 3}
        assert (found["in_sync"], found["rows"], found["counts"]) == (False, 60, counts)
        assert found["message"].startswith("53 of 60 in sync, 2 different, 1 with a missing target")
        assert [(each["line"], each["state"], each["outcome"]) for each in found["differences"]] == [
            (7, "differs", "planned"),
            (3, "missing_target", "not_found"),
            (4, "missing_ivr", "planned"),
            (5, "unreadable", "unauthorized"),
            (7, "unreadable", "invalid_input"),
            (8, "unreadable", "invalid_input"),
            (60, "differs", "planned"),
        ]
        assert all(each["message"] for each in found["differences"] if each["state"] != "differs")
        assert found["more_differences"] == 0
        first = found["differences"][0]
        assert (first["target_id"], first["target_name"]) == (target(1), "Support")
        assert first["wanted"] == {"id": ivr(1), "name": "New"}
        assert [each["id"] for each in first["selected"]] == [old_ivr(1)]
        assert found["repair"] is None
        (chunk, _) = [task["subWorkflowId"] for task in ended["tasks"] if task["taskType"] == "SUB_WORKFLOW"]
        tasks = [task for task in engine.workflow(chunk)["tasks"] if task["taskType"] == "set_custom_ivr"]
        assert {task["domain"] for task in tasks} == {"bulk"}

        assert [each["if_selected"] for each in found["changes"]] == [[old_ivr(1)], [old_ivr(59)]]
        (provisioned,) = engine.ended([engine.start("provision_custom_ivrs", {"changes": found["changes"]})])
        assert provisioned["output"]["counts"] == {"updated": 2}
        assert selected(double, range(1, 2)) == [ivr(1)]
        (again,) = engine.ended([engine.start(WORKFLOW, {"changes": [change(1), change(59)], "repair": "ask"})])
        assert (again["output"]["in_sync"], again["output"]["differences"]) == (True, [])
        assert again["output"]["repair"] is None  # there is nothing to approve


def test_an_ivr_beside_another_one_is_in_sync_for_no_direction(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    """Dialpad's list does not say which of two is inbound."""
    ivrs = [{"id": number, "name": f"Recording {number}"} for number in ("1", "2")]
    slot = {"ivr_type": "AUTO_RECORDING", "ivrs": ivrs, "selected": {"inbound": "1", "outbound": "2"}}
    where = {"target_type": "callcenter", "target_id": target(9)}
    double.set_state({**where, "slots": [slot]})
    row = {**where, "ivr_type": "AUTO_RECORDING", "ivr_id": "1"}
    rows = [{**row, "select_option": "inbound"}, row]
    with start_worker(**UNPACED):
        (ended,) = engine.ended([engine.start(WORKFLOW, {"changes": rows})])
    assert [each["state"] for each in ended["output"]["differences"]] == ["unreadable", "differs"]
    assert "inbound" in ended["output"]["differences"][0]["message"]
    assert sorted(ended["output"]["changes"][0]["if_selected"]) == ["1", "2"]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"changes": []}, "at least one row"),
        ({"changes": [{}] * (MAX_ROWS + 1)}, "split them"),
        ({"changes": [{}], "repair": "always"}, "repair"),
        ({"changes": [{}], "domain": "a:b"}, "one task domain"),
    ],
)
def test_an_input_that_makes_no_sense_fails_at_once_and_says_why(
    engine: EngineRest, payload: dict[str, Any], reason: str
) -> None:
    (ended,) = engine.ended([engine.start(WORKFLOW, payload)])
    assert ended["status"] == "FAILED"
    assert reason in ended["reasonForIncompletion"]
