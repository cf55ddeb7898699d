"""A target and an IVR looked up by their names on the real engine, and their ids handed to the next task."""

from __future__ import annotations

from typing import Any

from dialpad_ivr.engine.definitions import shipped
from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest
from support.fixtures import StartWorker

WORKFLOW = next(d.body for d in shipped() if d.name == "set_custom_ivr_by_name")
EXAMPLE: dict[str, Any] = WORKFLOW["metadata"]["exampleInput"]
CENTER = "5502522061422592"
BY_ID: dict[str, Any] = {
    **{name: value for name, value in EXAMPLE.items() if name not in ("target_name", "office")},
    "target_id": CENTER,
}


def selected(double: DoubleControl, target_id: str = CENTER) -> str | None:
    return double.selected(EXAMPLE["target_type"], target_id, EXAMPLE["ivr_type"])["inbound"]


def test_the_example_selects_the_ivr_of_that_name_for_the_target_of_that_name(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    with start_worker():
        (ended,) = engine.ended([engine.start(WORKFLOW["name"], EXAMPLE)])
    assert ended["status"] == "COMPLETED"
    assert ended["output"]["outcome"] == "updated"
    assert ended["output"]["target"]["id"] == CENTER
    assert ended["output"]["found"]["name"] == EXAMPLE["ivr_name"]
    assert selected(double) == ended["output"]["found"]["id"]


def test_an_id_in_place_of_the_targets_name_looks_up_the_ivr_alone(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    with start_worker():
        (ended,) = engine.ended([engine.start(WORKFLOW["name"], BY_ID)])
    assert (ended["output"]["outcome"], ended["output"]["target"]) == ("updated", None)
    assert selected(double) == ended["output"]["found"]["id"]
    assert [line["method"] for line in double.ledger()] == ["GET", "PATCH"]


def test_of_two_targets_of_one_name_the_office_decides(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    hotline = {**EXAMPLE, "target_name": "Hotline", "office": "Lisbon"}
    with start_worker():
        (ended,) = engine.ended([engine.start(WORKFLOW["name"], hotline)])
    assert ended["output"]["outcome"] == "updated"
    assert ended["output"]["target"]["office"]["name"] == "Lisbon"
    lisbon, berlin = (selected(double, number) for number in ("5502522061422631", "5502522061422611"))
    assert lisbon == ended["output"]["found"]["id"]
    assert berlin not in (lisbon, None)


def test_a_mode_is_passed_on(engine: EngineRest, double: DoubleControl, start_worker: StartWorker) -> None:
    before = selected(double)
    with start_worker():
        (ended,) = engine.ended([engine.start(WORKFLOW["name"], {**EXAMPLE, "mode": "plan"})])
    assert ended["output"]["outcome"] == "planned"
    assert selected(double) == before


NOT_FOUND = [
    ({**EXAMPLE, "target_name": "Suport"}, 'not_found: There are no call centers called "Suport"'),
    ({**EXAMPLE, "target_name": "Hotline", "office": None}, "5502522061422611 (office Berlin)"),
    ({**EXAMPLE, "office": "Berln"}, 'Did you mean "Berlin"?'),
    ({**EXAMPLE, "target_type": "staffgroup"}, "invalid_input"),
    ({**EXAMPLE, "target_id": CENTER}, "Give target_name, without *"),
    ({**EXAMPLE, "target_name": "Support*"}, "Give target_name, without *"),
    ({**EXAMPLE, "target_name": " "}, "Give target_name, without *"),
    ({**EXAMPLE, "target_name": None, "office": None}, "target_id is null"),
    ({**BY_ID, "ivr_name": "No such music"}, f'not_found: callcenter {CENTER} has no IVR called "No such music"'),
    ({**BY_ID, "ivr_name": "Summer hold musik"}, 'Did you mean "Summer hold music"'),
    ({**BY_ID, "ivr_name": ""}, "ivr_id"),  # nothing was looked for, so there is no id
    ({**BY_ID, "target_id": "1"}, "not_found"),
    ({**BY_ID, "ivr_type": "nope"}, "invalid_input"),
]


def test_a_name_that_is_not_found_fails_the_workflow_and_changes_nothing(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    with start_worker():
        ended = engine.ended(engine.start(WORKFLOW["name"], changed) for changed, _ in NOT_FOUND)
    for (_, reason), workflow in zip(NOT_FOUND, ended, strict=True):
        assert workflow["status"] == "FAILED"
        assert reason in workflow["reasonForIncompletion"]
    assert double.summary()["applied"] == 0


def test_an_ambiguous_name_of_an_ivr_fails_with_the_ids(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    state = double.state()
    for target in state:
        for slot in target["slots"]:
            if target["target_id"] == CENTER and slot["ivr_type"] == EXAMPLE["ivr_type"]:
                slot["ivrs"].append({"id": "77", "name": EXAMPLE["ivr_name"]})
    double.set_state(*state)
    with start_worker():
        (ended,) = engine.ended([engine.start(WORKFLOW["name"], EXAMPLE)])
    assert ended["status"] == "FAILED"
    assert "conflict: 2 IVRs" in ended["reasonForIncompletion"]
    assert "77" in ended["reasonForIncompletion"]
