"""Overrides as read from the engine, and which of them meet."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.provisioning import override_control, overrides
from dialpad_ivr.provisioning.overrides import GUARD, WORKFLOW, Override, outer_of, overlaps, read_override
from dialpad_ivr.provisioning.plan import make_plan
from dialpad_ivr.provisioning.times import Window, milliseconds
from dialpad_ivr.settings import Settings
from support.override_states import ended
from support.runs import CHANGE, SLOT
from support.stub import StubEngine

ID, GUARD_ID = "0e000000-0000-0000-0000-000000000001", "0e000000-0000-0000-0000-000000000002"
NOON = datetime(2099, 12, 24, 12, 0, tzinfo=timezone.utc)
WAITS = {"taskType": "WAIT", "status": "IN_PROGRESS", "taskId": "waits"}


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def workflow(**more: Any) -> dict[str, Any]:
    return {
        "workflowId": ID,
        "workflowName": WORKFLOW,
        "status": "RUNNING",
        "startTime": 0,
        "input": {
            "changes": [CHANGE],
            "from": "2099-12-24T12:00:00Z",
            "until": "10h",
            "reason": "snow",
        },
        "variables": {"phase": "planned", "from_ms": milliseconds(NOON), "until_ms": milliseconds(at(10))},
        **more,
    }


def override(start: float, end: float | None, number: int = 1, **slot: str) -> Override:
    change = {**CHANGE, **slot}
    return Override(
        workflow_id=f"override-{number}",
        status="RUNNING",
        state="planned",
        start=at(start),
        end=None if end is None else at(end),
        changes=(change,),
        reason="snow",
        requested_by="ann@desk",
        zone="UTC",
        domain=None,
        inside=None,
        guard=None,
        output={},
        ended_at=None,
    )


@pytest.fixture
def engine(stub_engine: StubEngine) -> EngineApi:
    return EngineApi(Settings(server_url=f"{stub_engine.stub.url}/api"))


# ---- which of them meet


@pytest.mark.parametrize(
    ("start", "end", "meets"),
    [(0, 5, False), (0, 9.9, False), (0, 11, True), (10, 20, True), (12, 13, True), (20.1, 30, False), (0, None, True)],
)
def test_two_meet_if_they_are_on_at_the_same_time(start: float, end: float | None, meets: bool) -> None:
    found = overlaps([CHANGE], at(start), None if end is None else at(end), [override(10, 20)])
    assert bool(found) == meets


@pytest.mark.parametrize("start", [20, 20 + 60 / 3600])
def test_two_meet_too_where_the_first_is_not_restored_yet_when_the_second_begins(start: float) -> None:
    assert overlaps([CHANGE], at(start), at(30), [override(10, 20)])


def test_one_without_an_end_meets_whatever_begins_later() -> None:
    assert overlaps([CHANGE], at(1000), at(1001), [override(10, None)])


@pytest.mark.parametrize(
    ("ours", "theirs", "meet"),
    [
        ({}, {}, True),
        ({}, {"select_option": "inbound"}, True),
        ({"select_option": "inbound"}, {}, True),
        ({"select_option": "inbound"}, {"select_option": "inbound"}, True),
        ({"select_option": "inbound"}, {"select_option": "outbound"}, False),
        ({"credential": "sandbox"}, {}, False),
        ({"target_id": "7"}, {}, False),
        ({"target_id": 5502522061422592}, {}, True),
        ({"ivr_type": "GREETING"}, {}, False),
        ({"ivr_id": "7"}, {}, True),
    ],
)
def test_two_meet_in_the_slot_of_a_target_whatever_they_select(ours: Any, theirs: Any, meet: bool) -> None:
    found = overlaps([{**CHANGE, **ours}], at(1), at(2), [override(0, 3, **theirs)])
    assert bool(found) == meet
    if meet:
        assert found[0].slots[0][1:4] == tuple(SLOT.values())


@pytest.mark.parametrize(
    ("start", "end", "nests"), [(1, 9, True), (0, 9, False), (1, 10, False), (1, None, False), (1, 11, False)]
)
def test_an_inner_one_begins_after_the_outer_and_ends_before_it(start: float, end: float | None, nests: bool) -> None:
    ends = None if end is None else at(end)
    found = outer_of(overlaps([CHANGE], at(start), ends, [override(0, 10)]), at(start), ends)
    assert (found is not None) == nests


def test_of_several_outer_ones_the_innermost_is_taken() -> None:
    found = overlaps([CHANGE], at(3), at(4), [override(1, 9, 2), override(2, 8, 3), override(0, None, 1)])
    outer = outer_of(found, at(3), at(4))
    assert outer is not None
    assert outer.workflow_id == "override-3"


# ---- what the engine shows of one


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({}, "planned"),
        ({"tasks": [{**WAITS, "referenceTaskName": "approval"}]}, "approval"),
        ({"tasks": [{**WAITS, "referenceTaskName": "before_again_wait__2"}]}, "planned"),
        ({"variables": {"phase": "applying"}}, "applying"),
        ({"variables": {"phase": "active"}, "tasks": [{**WAITS, "referenceTaskName": "during_wait"}]}, "active"),
        ({"variables": {"phase": "restoring"}}, "restoring"),
        ({"status": "COMPLETED", "output": {"outcome": "success", "phase": "ended"}}, "success"),
        ({"status": "FAILED", "output": {"outcome": "not_restored", "phase": "ended"}}, "not_restored"),
        ({"status": "TERMINATED", "output": {"outcome": None, "phase": "active"}}, "broken_off"),
    ],
)
def test_its_state_is_what_it_waits_for_or_what_came_of_it(
    engine: EngineApi, stub_engine: StubEngine, more: dict[str, Any], state: str
) -> None:
    stub_engine.runs = {ID: [workflow(**more)]}
    found = read_override(engine, ID)
    assert found.state == state
    assert found.left_behind == (state == "broken_off")


@pytest.mark.parametrize(
    ("counts", "left_behind"), [({"updated": 3, "conflict": 2}, False), ({"unauthorized": 1, "conflict": 1}, True)]
)
def test_it_has_left_something_behind_unless_only_a_person_had_changed_it(
    engine: EngineApi, stub_engine: StubEngine, counts: dict[str, int], left_behind: bool
) -> None:
    output = {"outcome": "not_restored", "phase": "ended", "left_rows": 2, "restored": {"counts": counts}}
    stub_engine.runs = {ID: [workflow(status="FAILED", output=output)]}
    assert read_override(engine, ID).left_behind == left_behind


def test_its_end_is_the_one_that_it_was_extended_to(engine: EngineApi, stub_engine: StubEngine) -> None:
    stub_engine.runs = {ID: [workflow(variables={**workflow()["variables"], "until_ms": milliseconds(at(20))})]}
    found = read_override(engine, ID)
    assert (found.start, found.end) == (NOON, at(20))


def test_it_is_found_by_its_guard_too(engine: EngineApi, stub_engine: StubEngine) -> None:
    child = {"taskType": "SUB_WORKFLOW", "referenceTaskName": "override", "status": "IN_PROGRESS", "subWorkflowId": ID}
    guard = {"workflowId": GUARD_ID, "workflowName": GUARD, "status": "RUNNING", "tasks": [child]}
    stub_engine.runs = {ID: [workflow(parentWorkflowId=GUARD_ID)], GUARD_ID: [guard]}
    found = read_override(engine, GUARD_ID)
    assert (found.workflow_id, found.guard) == (ID, GUARD_ID)


def test_another_workflow_is_no_override(engine: EngineApi, stub_engine: StubEngine) -> None:
    stub_engine.runs = {ID: [workflow(workflowName="set_custom_ivr")]}
    with pytest.raises(EngineError, match="not an override"):
        read_override(engine, ID)


# ---- what is done with one


def waiting(reference: str, phase: str) -> dict[str, Any]:
    return workflow(variables={"phase": phase}, tasks=[{**WAITS, "referenceTaskName": reference}])


def test_it_is_ended_by_completing_the_task_in_which_it_waits(engine: EngineApi, stub_engine: StubEngine) -> None:
    stub_engine.runs = {ID: [waiting("during_again_wait__3", "active")]}
    override_control.end_override(engine, ID, by="ann@desk", reason="melted")
    (completed,) = stub_engine.completed_tasks
    assert (completed["taskId"], completed["status"]) == ("waits", "COMPLETED")
    assert completed["outputData"] == {"action": "end", "by": "ann@desk", "reason": "melted"}


def test_ended_while_changes_are_made_it_goes_on_where_the_last_one_was_made_meanwhile(
    engine: EngineApi, stub_engine: StubEngine
) -> None:
    apply = {"taskType": "SUB_WORKFLOW", "referenceTaskName": "apply", "status": "IN_PROGRESS", "subWorkflowId": "made"}
    applying = workflow(variables={"phase": "applying"}, tasks=[apply])
    stub_engine.runs = {
        ID: [applying, applying, waiting("during_wait", "active")],
        "made": [{"workflowName": "provision_custom_ivrs", "status": "COMPLETED"}],
    }
    override_control.end_override(engine, ID, by="ann@desk", reason="")
    assert stub_engine.completed_tasks[0]["outputData"]["action"] == "end"


def told(override_id: str, reason: str, requested_by: str) -> dict[str, Any]:
    """What the workflow that restores needs to tell people."""
    whose = {"override_id": override_id, "reason": reason, "requested_by": requested_by}
    return {"notify": None, **whose, "ended_by": "ann@desk"}


def test_one_that_was_broken_off_is_restored_by_a_workflow_of_its_own(
    engine: EngineApi, stub_engine: StubEngine
) -> None:
    kept = {"phase": "active", "not_made": [0], "previous": {"0": "7"}}
    stub_engine.runs = {ID: [workflow(status="TERMINATED", output=kept)]}
    override_control.end_override(engine, ID, by="ann@desk", reason="")
    (started,) = stub_engine.writes
    assert started.body["name"] == overrides.RESTORE
    assert started.body["correlationId"] == ID
    assert started.body["input"] == {"changes": [CHANGE], "domain": None, **kept, **told(ID, "snow", "")}


def test_of_one_that_could_not_restore_everything_only_what_is_left_is_restored(
    engine: EngineApi, stub_engine: StubEngine
) -> None:
    stub_engine.runs = ended("updated", "unauthorized", "not_restored", left=1)
    change = stub_engine.runs["o1"][0]["input"]["changes"][0]
    inputs = stub_engine.runs["o1"][0]["input"]
    inputs["changes"] = [{**change, "target_id": "7"}, change]  # the first was never made
    override_control.end_override(engine, "o1", by="ann@desk", reason="")
    (started,) = stub_engine.writes
    assert (started.body["name"], started.body["correlationId"]) == (overrides.RESTORE, "o1")
    people = told("o1", inputs["reason"], inputs["requested_by"])
    assert started.body["input"] == {"changes": [change], "phase": "active", "domain": None, **people}


@pytest.mark.parametrize(
    ("act", "state", "said"),
    [
        (override_control.end_override, waiting("before_wait", "planned"), f"not begun.\nCancel it with: .* {ID}$"),
        (
            override_control.end_override,
            workflow(status="COMPLETED", output={"outcome": "success"}),
            r"already ended \(success\)",
        ),
        (override_control.end_override, workflow(variables={"phase": "restoring"}), "is being restored already"),
        (override_control.cancel_override, waiting("during_wait", "active"), f"already begun.\nEnd it with: .* {ID}$"),
    ],
)
def test_what_makes_no_sense_in_its_state_is_refused(
    engine: EngineApi, stub_engine: StubEngine, act: Any, state: dict[str, Any], said: str
) -> None:
    stub_engine.runs = {ID: [state]}
    with pytest.raises(EngineError, match=said):
        act(engine, ID, by="ann@desk", reason="")
    assert stub_engine.completed_tasks == []


@pytest.mark.parametrize(("seconds", "problem"), [(2, True), (12, False)])
def test_one_that_is_on_cannot_be_moved_to_end_sooner_than_the_engine_notices(seconds: int, problem: bool) -> None:
    active = replace(override(0, None), start=datetime.now(timezone.utc) - timedelta(hours=1), state="active")
    found = override_control.end_problem(active, datetime.now(timezone.utc) + timedelta(seconds=seconds))
    assert (found is not None and "dialpad-ivr override end override-1" in found) == problem


def test_one_that_is_about_to_begin_is_ended_once_it_has_begun(engine: EngineApi, stub_engine: StubEngine) -> None:
    planned, active = waiting("before_wait", "planned"), waiting("during_wait", "active")
    planned["variables"]["from_ms"] = milliseconds(datetime.now(timezone.utc) + timedelta(seconds=3))
    stub_engine.runs = {ID: [planned, active]}
    override_control.end_override(engine, ID, by="ann@desk", reason="")
    assert [task["outputData"]["action"] for task in stub_engine.completed_tasks] == ["end"]


def test_one_that_waits_for_approval_can_be_canceled(engine: EngineApi, stub_engine: StubEngine) -> None:
    stub_engine.runs = {ID: [waiting("approval", "planned")]}
    override_control.cancel_override(engine, ID, by="ann@desk", reason="")
    assert stub_engine.completed_tasks[0]["outputData"]["action"] == "cancel"


# ---- two that are started at the same moment


def starting(number: int, started: int, **inputs: Any) -> dict[str, Any]:
    """An override that waits for its beginning, of those that were just started."""
    name = f"{ID[:-1]}{number}"
    wait = {**WAITS, "referenceTaskName": "before_wait"}
    more = {**workflow()["input"], **inputs}
    return workflow(workflowId=name, startTime=started, input=more, tasks=[wait])


def start(engine: EngineApi, stub_engine: StubEngine, own: list[dict[str, Any]], *others: dict[str, Any]) -> str:
    """Start an override with these states while others are running, which were not when it was checked."""
    own_id = own[0]["workflowId"]
    child = {"taskType": "SUB_WORKFLOW", "referenceTaskName": "override", "subWorkflowId": own_id}
    guard = {"workflowId": GUARD_ID, "workflowName": GUARD, "status": "RUNNING", "tasks": [child]}
    stub_engine.runs = {GUARD_ID: [guard], own_id: own, **{each["workflowId"]: [each] for each in others}}
    stub_engine.definitions = {(name, "1"): {} for name in (WORKFLOW, GUARD)}
    plan = make_plan([], "https://dialpad.com", "changes.csv")
    window = Window(at(0), at(10), ZoneInfo("UTC"))
    return override_control.start_override(engine, plan, window, reason="snow", requested_by="ann")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(override_control, "_SEEN_WITHIN_SECONDS", 0.0)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(("other", "started"), [(3, 99), (1, 100)])
def test_it_gives_way_to_one_that_was_started_before_it_and_names_that(
    engine: EngineApi, stub_engine: StubEngine, other: int, started: int
) -> None:
    with pytest.raises(EngineError, match=f"Override {ID[:-1]}{other} has .* which was canceled") as raised:
        start(engine, stub_engine, [starting(5, 100)], starting(other, started))
    assert raised.value.status == 409
    (completed,) = stub_engine.completed_tasks
    assert completed["workflowInstanceId"] == f"{ID[:-1]}5"
    assert completed["outputData"]["action"] == "cancel"


@pytest.mark.usefixtures("at_once")
def test_it_gives_way_before_it_begins_even_if_that_is_soon(engine: EngineApi, stub_engine: StubEngine) -> None:
    own, begins = starting(5, 100), datetime.now(timezone.utc) + timedelta(seconds=4)
    own["variables"] = {**own["variables"], "from_ms": milliseconds(begins)}
    canceled = {**own, "status": "COMPLETED", "variables": {"phase": "ended"}, "tasks": []}
    with pytest.raises(EngineError, match="which was canceled"):
        start(engine, stub_engine, [*[own] * 5, canceled], starting(3, 99))
    assert {task["outputData"]["action"] for task in stub_engine.completed_tasks} == {"cancel"}


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    "other", [starting(3, 101), starting(9, 100), starting(3, 99, changes=[{**CHANGE, "target_id": "7"}])]
)
def test_it_goes_on_beside_one_that_was_started_later_or_has_other_slots(
    engine: EngineApi, stub_engine: StubEngine, other: dict[str, Any]
) -> None:
    assert start(engine, stub_engine, [starting(5, 100)], other) == f"{ID[:-1]}5"
    assert stub_engine.completed_tasks == []


@pytest.mark.usefixtures("at_once")
def test_it_goes_on_within_the_overrides_that_it_is_nested_in(engine: EngineApi, stub_engine: StubEngine) -> None:
    around = starting(3, 99, inside=f"{ID[:-1]}4"), starting(4, 98)
    assert start(engine, stub_engine, [starting(5, 100, inside=f"{ID[:-1]}3")], *around) == f"{ID[:-1]}5"
    assert stub_engine.completed_tasks == []
