"""`check --every`, `schedules list` and `schedules remove`, with a stub of the engine and the real double."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.testing.double import DoubleControl
from support.invoke import Invoke
from support.runs import CHANGE, ID, waiting_for_approval
from support.stub import StubEngine

AT_SIX = ("--every", "0 0 6 * * *")
NAMES = """\
target_type,target,office,ivr_type,ivr
callcenter,Support,Head office,HOLD_MUSIC,Summer hold music
callcenter,Hot*,,HOLD_MUSIC,Summer hold music
"""
CHECK = {"name": "check_custom_ivrs", "version": 1}


@pytest.fixture
def engine(stub_engine: StubEngine) -> StubEngine:
    """The engine with the workflow."""
    stub_engine.definitions["check_custom_ivrs", "1"] = CHECK
    return stub_engine


@pytest.fixture
def company(double: DoubleControl, monkeypatch: pytest.MonkeyPatch) -> DoubleControl:
    """The double, which the command reads."""
    monkeypatch.setenv("DIALPAD_IVR_API_URL", double.url)
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    return double


@pytest.fixture
def file() -> Path:
    path = Path("selections.csv")
    path.write_text(NAMES)
    return path


def scheduled(engine: StubEngine, name: str = "selections") -> dict[str, Any]:
    assert engine.schedules is not None
    return engine.schedules[name]


# ---- check --every


def test_names_are_looked_up_and_ids_are_scheduled(
    invoke: Invoke, engine: StubEngine, company: DoubleControl, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_DOMAIN", "night")
    shown = invoke("check", file, *AT_SIX, "--zone", "Europe/Berlin", "--repair", "ask")
    schedule = scheduled(engine)
    assert (schedule["cronExpression"], schedule["zoneId"]) == ("0 0 6 * * *", "Europe/Berlin")
    inputs = schedule["startWorkflowRequest"]["input"]
    assert (inputs["repair"], inputs["domain"]) == ("ask", "night")
    assert [row["note"]["line"] for row in inputs["changes"]] == [2, 3, 3]
    assert inputs["changes"][0] == {
        **CHANGE,
        "credential": "default",
        "note": {"line": 2, "target_name": "Support", "office_name": "Head office", "ivr_name": "Summer hold music"},
    }
    assert {arrival["method"] for arrival in company.ledger()} == {"GET"}
    for said in ("Scheduled as selections: 3 rows", "06:00:00 CE", "Run this again when", "schedules list"):
        assert said in shown.out


def test_the_exit_code_is_0_once_it_is_scheduled_whatever_the_check_found(
    invoke: Invoke, engine: StubEngine, company: DoubleControl, file: Path
) -> None:
    found = invoke("check", file, *AT_SIX, "--json").json
    assert found["counts"] == {"differs": 3}
    assert [row["state"] for row in found["rows"]] == ["differs"] * 3
    schedule = found["schedule"]
    assert [schedule[name] for name in ("name", "rows", "repair", "zone")] == ["selections", 3, "never", "UTC"]
    assert schedule["next_run"].endswith("T06:00:00+00:00")
    assert invoke("check", file, code=5).out


def test_a_schedule_of_that_name_is_replaced(
    invoke: Invoke, engine: StubEngine, company: DoubleControl, file: Path
) -> None:
    invoke("check", file, *AT_SIX)
    file.write_text(NAMES.replace("Hot*", "Hotline").replace(",,HOLD", ",Berlin,HOLD"))
    assert "Replaced the schedule selections: 2 rows" in invoke("check", file, *AT_SIX).out
    assert len(scheduled(engine)["startWorkflowRequest"]["input"]["changes"]) == 2


def test_a_schedule_of_another_workflow_is_left_alone(invoke: Invoke, engine: StubEngine, file: Path) -> None:
    other = {"name": "selections", "startWorkflowRequest": {"name": "billing"}}
    engine.schedules = {"selections": other}
    shown = invoke("check", file, *AT_SIX, code=2).err
    assert "billing" in shown
    assert "--name" in shown
    assert engine.schedules == {"selections": other}


@pytest.mark.parametrize("row", ["callcenter,Nobody,,HOLD_MUSIC,Summer hold music", "callcenter,Hot*,,HOLD_MUSIC,None"])
def test_a_row_of_which_no_ids_are_known_is_not_scheduled_nor_are_the_others(
    invoke: Invoke, engine: StubEngine, company: DoubleControl, file: Path, row: str
) -> None:
    file.write_text(f"{NAMES}{row}\n" if "Nobody" in row else "\n".join([*NAMES.splitlines()[:2], row]))
    shown = invoke("check", file, *AT_SIX, code=1).err
    assert f"1 line ({4 if 'Nobody' in row else 3})" in shown
    assert engine.schedules == {}


def test_a_row_with_ids_that_are_not_there_is_scheduled(
    invoke: Invoke, engine: StubEngine, company: DoubleControl
) -> None:
    rows = [CHANGE, {**CHANGE, "target_id": "404"}, {**CHANGE, "ivr_type": "MENU"}]
    Path("ids.json").write_text(json.dumps(rows, indent=1))
    invoke("check", "ids.json", *AT_SIX, "--name", "by-id")
    changes = scheduled(engine, "by-id")["startWorkflowRequest"]["input"]["changes"]
    assert [(row["target_id"], row["ivr_type"]) for row in changes] == [
        (CHANGE["target_id"], "HOLD_MUSIC"),
        ("404", "HOLD_MUSIC"),
        (CHANGE["target_id"], "MENU"),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--zone", "UTC"), "--zone is for a schedule."),
        (("--repair", "ask"), "--repair is for a schedule."),
        (("--every", "0 6 * * *"), "has 5 fields"),
        ((*AT_SIX, "--zone", "Berlin"), "no time zone 'Berlin'"),
        ((*AT_SIX, "--name", "a:b"), "cannot be the name"),
    ],
)
def test_a_schedule_that_cannot_be_is_an_error_before_anything_is_read(
    invoke: Invoke, engine: StubEngine, file: Path, arguments: tuple[str, ...], said: str
) -> None:
    shown = invoke("check", file, *arguments, code=2).err
    assert said in shown.splitlines()[0]
    assert len(shown.splitlines()) == 2
    assert engine.writes == []


def test_without_the_workflow_on_the_engine_nothing_is_scheduled(
    invoke: Invoke, stub_engine: StubEngine, file: Path
) -> None:
    assert "dialpad-ivr register" in invoke("check", file, *AT_SIX, code=1).err
    assert stub_engine.schedules == {}


def test_without_the_scheduler_each_command_says_how_to_turn_it_on(
    invoke: Invoke, engine: StubEngine, file: Path
) -> None:
    engine.schedules = None
    for command in (("check", file, *AT_SIX), ("schedules", "list"), ("schedules", "remove", "x")):
        assert "conductor.scheduler.enabled=true" in invoke(*command, code=1).err


# ---- schedules list, schedules remove


def a_schedule(**more: Any) -> dict[str, Any]:
    start = {"name": "check_custom_ivrs", "input": {"changes": [CHANGE, CHANGE], "repair": "ask"}}
    base = {"name": "morning", "cronExpression": "0 0 6 * * *", "zoneId": "Europe/Berlin"}
    return {**base, "startWorkflowRequest": start, **more}


@pytest.fixture
def with_runs(engine: StubEngine) -> StubEngine:
    """A schedule whose last check waits for its repair to be approved, beside one of another workflow."""
    engine.schedules = {"morning": a_schedule(), "billing": {"name": "billing", "startWorkflowRequest": {"name": "b"}}}
    (repair,) = waiting_for_approval()[ID]
    found = {
        "in_sync": False,
        "rows": 2,
        "counts": {"in_sync": 1, "differs": 1},
        "differences": [
            {
                "state": "differs",
                "line": 3,
                "target_type": "callcenter",
                "target_id": 7,
                "target_name": "Support",
                "office_name": "Berlin",
                "ivr_type": "HOLD_MUSIC",
                "wanted": {"id": 2, "name": "Summer"},
                "selected": [{"id": "1", "name": "Winter"}],
            }
        ],
        "more_differences": 0,
        "message": "1 of 2 in sync, 1 different",
    }
    judged = {"referenceTaskName": "judge", "outputData": {"result": found}}
    check = {
        "workflowId": "check-1",
        "workflowName": "check_custom_ivrs",
        "correlationId": "morning",
        "status": "RUNNING",
        "startTime": 1_795_928_400_000,
        "tasks": [judged],
    }
    engine.runs = {"check-1": [check], ID: [{**repair, "correlationId": "morning"}]}
    return engine


def test_the_list_shows_the_next_check_the_last_one_and_what_waits_for_approval(
    invoke: Invoke, with_runs: StubEngine
) -> None:
    shown = invoke("schedules", "list").out
    assert 'morning: 2 rows, "0 0 6 * * *" in Europe/Berlin, asks to repair' in shown
    assert "last check: Sun 29 Nov 2026, 06:00:00 CET: 1 of 2 in sync, 1 different" in shown
    assert "line 3: callcenter Support, Berlin (7) HOLD_MUSIC: Winter (1) -> Summer (2)" in shown
    assert "output of workflow check-1" in shown
    assert f": dialpad-ivr approve {ID}" in shown
    assert "billing" not in shown
    (listed,) = invoke("schedules", "list", "--json").json["schedules"]
    assert (listed["name"], listed["rows"], listed["paused"]) == ("morning", 2, False)
    assert listed["last_run"]["workflow_id"] == "check-1"
    assert listed["last_run"]["result"]["differences"][0]["selected"] == [{"id": "1", "name": "Winter"}]
    assert listed["waiting_for_approval"] == [ID]


def test_a_check_of_an_earlier_schedule_of_that_name_is_not_shown_as_its_own(
    invoke: Invoke, with_runs: StubEngine
) -> None:
    with_runs.schedules = {"morning": a_schedule(updatedTime=1_795_928_400_001)}
    assert "last check: none yet" in invoke("schedules", "list").out


@pytest.mark.parametrize(
    ("more", "then"),
    [({"paused": True}, "paused"), ({"cronExpression": "every day"}, "unknown"), ({"zoneId": "Mars"}, "unknown")],
)
def test_a_schedule_that_does_not_fire_is_listed_all_the_same(
    invoke: Invoke, engine: StubEngine, more: dict[str, Any], then: str
) -> None:
    engine.schedules = {"morning": a_schedule(**more)}
    shown = invoke("schedules", "list").out
    assert f"next check: {then}" in shown
    assert "last check: none yet" in shown


def test_an_empty_list_says_how_to_schedule_a_check(invoke: Invoke, engine: StubEngine) -> None:
    assert "check FILE --every" in invoke("schedules", "list").out
    assert invoke("schedules", "list", "--json").json == {"schedules": []}


def test_remove_takes_the_schedule_away_and_shows_what_still_waits(invoke: Invoke, with_runs: StubEngine) -> None:
    shown = invoke("schedules", "remove", "morning").out
    assert "Removed morning." in shown
    assert f"dialpad-ivr approve {ID}" in shown
    assert with_runs.schedules is not None
    assert [*with_runs.schedules] == ["billing"]


@pytest.mark.parametrize("name", ["evening", "billing"])
def test_remove_of_what_is_no_scheduled_check_exits_1(invoke: Invoke, with_runs: StubEngine, name: str) -> None:
    shown = invoke("schedules", "remove", name, code=1).err
    assert f"No check is scheduled as {name}." in shown
    assert "morning" in shown
    assert with_runs.writes == []
