"""An IVR looked up by its name on the real engine, and its id handed to the next task."""

from __future__ import annotations

from typing import Any

from dialpad_ivr.engine.definitions import shipped
from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest
from support.fixtures import StartWorker

WORKFLOW = next(d.body for d in shipped() if d.name == "set_custom_ivr_by_name")
EXAMPLE: dict[str, Any] = WORKFLOW["metadata"]["exampleInput"]


def selected(double: DoubleControl) -> str | None:
    return double.selected(EXAMPLE["target_type"], EXAMPLE["target_id"], EXAMPLE["ivr_type"])["inbound"]


def test_the_example_selects_the_ivr_of_that_name(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    with start_worker():
        (ended,) = engine.ended([engine.start(WORKFLOW["name"], EXAMPLE)])
    assert ended["status"] == "COMPLETED"
    assert ended["output"]["outcome"] == "updated"
    assert ended["output"]["found"]["name"] == EXAMPLE["ivr_name"]
    assert selected(double) == ended["output"]["found"]["id"]


def test_a_mode_is_passed_on(engine: EngineRest, double: DoubleControl, start_worker: StartWorker) -> None:
    before = selected(double)
    with start_worker():
        (ended,) = engine.ended([engine.start(WORKFLOW["name"], {**EXAMPLE, "mode": "plan"})])
    assert ended["output"]["outcome"] == "planned"
    assert selected(double) == before


NOT_FOUND = [
    ({"ivr_name": "No such music"}, 'not_found: callcenter 5502522061422592 has no IVR called "No such music"'),
    ({"ivr_name": "Summer hold musik"}, 'Did you mean "Summer hold music"'),
    ({"ivr_name": ""}, "ivr_id"),  # nothing was looked for, so there is no id
    ({"target_id": "1"}, "not_found"),
    ({"ivr_type": "nope"}, "invalid_input"),
]


def test_a_name_that_is_not_found_fails_the_workflow_and_changes_nothing(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    with start_worker():
        ended = engine.ended(engine.start(WORKFLOW["name"], {**EXAMPLE, **changed}) for changed, _ in NOT_FOUND)
    for (_, reason), workflow in zip(NOT_FOUND, ended, strict=True):
        assert workflow["status"] == "FAILED"
        assert reason in workflow["reasonForIncompletion"]
    assert double.summary()["applied"] == 0


def test_an_ambiguous_name_fails_with_the_ids(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    state = double.state()
    for target in state:
        for slot in target["slots"]:
            if target["target_id"] == EXAMPLE["target_id"] and slot["ivr_type"] == EXAMPLE["ivr_type"]:
                slot["ivrs"].append({"id": "77", "name": EXAMPLE["ivr_name"]})
    double.set_state(*state)
    with start_worker():
        (ended,) = engine.ended([engine.start(WORKFLOW["name"], EXAMPLE)])
    assert ended["status"] == "FAILED"
    assert "conflict: 2 IVRs" in ended["reasonForIncompletion"]
    assert "77" in ended["reasonForIncompletion"]
