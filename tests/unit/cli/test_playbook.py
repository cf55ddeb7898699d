"""The commands `playbook ...`: what is refused, what is registered, what is started, and what is shown."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.provisioning.overrides import GUARD
from dialpad_ivr.testing.double import DoubleControl
from support.invoke import Invoke
from support.playbooks import GUARD_ID, ID, an_override, with_a_guard
from support.runs import CHANGE, SLOT
from support.stub import StubEngine

SNOW = "target_type,target,office,ivr_type,ivr\ncallcenter,Support,Head office,HOLD_MUSIC,Summer hold music\n"
SAVE = ("playbook", "save", "snow-day", "snow.csv", "--for", "12h", "--zone", "Europe/Berlin")


@pytest.fixture(autouse=True)
def _reads_the_double(monkeypatch: pytest.MonkeyPatch, double: DoubleControl) -> None:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", double.url)
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    Path("snow.csv").write_text(SNOW)


@pytest.fixture
def engine(stub_engine: StubEngine) -> StubEngine:
    return with_a_guard(stub_engine)


def started(engine: StubEngine) -> list[Any]:
    return [request.body for request in engine.writes if request.path == "/api/workflow"]


# ---- save, list, show, delete


def test_save_registers_a_workflow_and_says_where_it_is_in_the_engines_ui(invoke: Invoke, engine: StubEngine) -> None:
    shown = invoke(*SAVE).all
    assert 'under "Run workflow": playbook_snow_day' in shown
    assert "dialpad-ivr playbook rehearse snow-day" in shown
    assert engine.definitions["playbook_snow_day", "1"]["inputTemplate"]["lasts"] == "12h"
    assert invoke(*SAVE, "--approval", "--json").json["version"] == 2
    shown = invoke("playbook", "list").all
    for part in ("snow-day", "12h", "yes", "callcenter Support, Head office: HOLD_MUSIC Summer hold music"):
        assert part in shown
    shown = invoke("playbook", "show", "snow-day").all
    for part in ("version 2", "playbook_snow_day", "Europe/Berlin", "waits for a person", "snow.csv", "Head office"):
        assert part in shown


def test_save_tells_all_that_is_wrong_with_the_options_and_the_file_and_registers_nothing(
    invoke: Invoke, engine: StubEngine
) -> None:
    Path("bad.csv").write_text(SNOW.replace("HOLD_MUSIC", "HOLD_MUSICK") + "callcenter,,,GREETING,x\n")
    shown = invoke("playbook", "save", "Snow Day", "bad.csv", "--max-failures", "few", code=1).all
    for part in ("snow-day", "--for is missing", "--max-failures", "HOLD_MUSIC", "line 3", "names no target"):
        assert part in shown
    shown = invoke("playbook", "save", "snow-day", "snow.csv", "--for", "soon", code=2).all
    assert "no duration. Write it as 12h, 90m, 2d12h or 45s. Nothing was done." in shown
    shown = invoke("playbook", "save", "snow-day", "snow.csv", "--for", "5s", code=2).err
    assert shown.count("would last 5 s") == 1
    violations = invoke("playbook", "save", "-", "snow.csv", "--json", code=2).json["violations"]
    assert [each["option"] for each in violations] == ["NAME", "--for"]
    assert engine.writes == []


def test_save_on_an_engine_without_our_workflows_says_how_to_register_them(
    invoke: Invoke, stub_engine: StubEngine
) -> None:
    assert "dialpad-ivr register" in invoke(*SAVE, code=1).err


def test_without_an_engine_save_exits_4(invoke: Invoke, no_engine: str) -> None:
    assert no_engine in invoke(*SAVE, code=4).err


def test_list_says_when_there_is_none(invoke: Invoke, engine: StubEngine) -> None:
    assert "There is no playbook." in invoke("playbook", "list").out
    assert invoke("playbook", "list", "--json").json == []


@pytest.mark.parametrize("command", [("show",), ("rehearse",), ("delete", "--yes"), ("start", "--reason", "x")])
def test_a_name_that_there_is_not_exits_1_with_near_ones(
    invoke: Invoke, engine: StubEngine, command: tuple[str, ...]
) -> None:
    invoke(*SAVE)
    shown = invoke("playbook", command[0], "snowday", *command[1:], code=1).err
    assert 'There is no playbook "snowday".\nDid you mean snow-day?' in shown


def test_delete_asks_and_then_removes_all_versions(invoke: Invoke, engine: StubEngine) -> None:
    invoke(*SAVE)
    invoke(*SAVE, "--approval")
    assert "--yes" in invoke("playbook", "delete", "snow-day", code=2).err
    invoke("playbook", "delete", "snow-day", "--yes")
    assert not [name for name, *_ in engine.definitions if name == "playbook_snow_day"]


# ---- rehearse, start


def test_rehearse_shows_what_would_change_and_exits_0(
    invoke: Invoke, engine: StubEngine, double: DoubleControl
) -> None:
    invoke(*SAVE)
    shown = invoke("playbook", "rehearse", "snow-day").all
    assert "Winter hold music (5127493019721729) -> Summer hold music (5127493019721728)" in shown
    assert "Nothing was changed. Start it with: dialpad-ivr playbook start snow-day" in shown
    found = invoke("playbook", "rehearse", "snow-day", "--json").json
    assert (found["ok"], found["actions"], len(found["rows"])) == (True, {"change": 1}, 1)
    assert {line["method"] for line in double.ledger()} == {"GET"}


def test_rehearse_of_what_cannot_be_started_says_why_and_exits_1(invoke: Invoke, engine: StubEngine) -> None:
    Path("snow.csv").write_text(SNOW + "callcenter,Hot*,,HOLD_MUSIC,Rain\n")
    invoke(*SAVE)
    shown = invoke("playbook", "rehearse", "snow-day", code=1).all
    assert 'has no IVR called "Rain"' in shown
    assert "2 with a missing IVR" in shown
    shown = invoke("playbook", "start", "snow-day", "--reason", "x", "--yes", code=1).all
    assert 'has no IVR called "Rain"' in shown
    assert "Nothing was started." in shown
    Path("snow.csv").write_text(SNOW.replace("Support", "Suport"))
    invoke(*SAVE)
    found = invoke("playbook", "rehearse", "snow-day", "--json", code=1).json
    assert [each["suggestion"] or each["hint"] for each in found["violations"]] == ['Did you mean "Support"?']
    assert started(engine) == []


def test_rehearse_tells_of_an_override_of_the_same_slot(invoke: Invoke, engine: StubEngine) -> None:
    invoke(*SAVE)
    engine.runs[ID] = [an_override(SLOT["target_id"])]
    shown = invoke("playbook", "rehearse", "snow-day", code=1).out
    assert f"Override {ID} has callcenter" in shown
    assert "It cannot be started now. End the other override first, or nest this one in it with --nested." in shown
    found = invoke("playbook", "rehearse", "snow-day", "--json", code=1).json
    assert (found["ok"], found["overrides"]) == (False, [ID])


def test_rehearse_of_what_is_selected_already_says_that_there_is_nothing_to_start(
    invoke: Invoke, engine: StubEngine
) -> None:
    Path("snow.csv").write_text(SNOW.replace("Summer", "Winter"))
    invoke(*SAVE)
    assert "There is nothing to start: all of it is selected already." in invoke("playbook", "rehearse", "snow-day").all


def test_start_hands_the_guard_what_it_has_found_for_as_long_as_was_saved(invoke: Invoke, engine: StubEngine) -> None:
    invoke(*SAVE, "--max-failures", "5%")
    shown = invoke("playbook", "start", "snow-day", "--reason", "snow", "--yes").all
    assert f"dialpad-ivr override end {ID}" in shown
    (start,) = started(engine)
    inputs = start["input"]
    assert (start["name"], inputs["reason"], inputs["max_failures"]) == (GUARD, "snow", "5%")
    assert (inputs["from"], inputs["zone"]) == ("4s", "Europe/Berlin")
    lasts = datetime.fromisoformat(inputs["until"].replace("Z", "+00:00")) - datetime.now(timezone.utc)
    assert 11.9 < lasts.total_seconds() / 3600 <= 12
    assert [(change["target_id"], change["ivr_id"]) for change in inputs["changes"]] == [
        (SLOT["target_id"], CHANGE["ivr_id"])
    ]


def test_start_takes_another_end_in_the_playbooks_zone(invoke: Invoke, engine: StubEngine) -> None:
    invoke(*SAVE)
    until = ("--until", "2030-12-27 08:00")
    assert invoke("playbook", "start", "snow-day", "--reason", "x", "--yes", "--json", *until).json == {
        "workflow_id": ID,
        "from": "now",
        "until": "2030-12-27T07:00:00Z",
        "zone": "Europe/Berlin",
        "notes": [],
    }


def test_start_with_impossible_times_reads_nothing(invoke: Invoke, engine: StubEngine, double: DoubleControl) -> None:
    invoke(*SAVE)
    wrong = ("--until", "never", "--for", "5x", "--zone", "Mars")
    shown = invoke("playbook", "start", "snow-day", "--reason", " ", *wrong, code=2).err
    for part in ("--reason is empty", '"never" is no time', '"5x" is no duration', '"Mars" is no time zone'):
        assert part in shown
    assert double.ledger() == []


def test_start_asks_before_it_starts_anything(invoke: Invoke, engine: StubEngine) -> None:
    invoke(*SAVE)
    assert "change 1 slot? Confirm with --yes." in invoke("playbook", "start", "snow-day", "--reason", "x", code=2).all
    assert started(engine) == []


def test_start_in_the_slot_of_an_override_is_refused_with_its_id(invoke: Invoke, engine: StubEngine) -> None:
    invoke(*SAVE)
    engine.runs[ID] = [an_override(SLOT["target_id"])]
    shown = invoke("playbook", "start", "snow-day", "--reason", "x", "--yes", code=1).all
    assert f"Override {ID} has callcenter" in shown
    assert "Two overrides cannot have a slot at the same time. Nothing was started." in shown
    assert started(engine) == []


def test_start_nested_in_an_override_restores_what_that_one_selects(invoke: Invoke, engine: StubEngine) -> None:
    invoke(*SAVE)
    outer = an_override(SLOT["target_id"])
    outer["variables"]["from_ms"] -= 3_600_000
    engine.runs[ID] = [outer]
    start = ("playbook", "start", "snow-day", "--reason", "x", "--nested", "--yes")
    assert f"already selected by override {ID} until it is ended" in invoke(*start).out
    outer["input"]["changes"][0]["ivr_id"] = "1017"
    invoke(*start)
    (inputs,) = (each["input"] for each in started(engine))
    assert inputs["inside"] == ID
    assert [each["id"] for each in inputs["changes"][0]["note"]["previous"]] == ["1017"]


def test_start_of_what_is_selected_already_starts_nothing(invoke: Invoke, engine: StubEngine) -> None:
    Path("snow.csv").write_text(SNOW.replace("Summer", "Winter"))
    invoke(*SAVE)
    assert "Nothing to change." in invoke("playbook", "start", "snow-day", "--reason", "x", "--yes").out
    assert started(engine) == []


def test_approve_takes_the_id_of_the_guard_that_a_playbooks_run_shows(invoke: Invoke, engine: StubEngine) -> None:
    wait = {"taskType": "WAIT", "referenceTaskName": "approval", "status": "IN_PROGRESS", "taskId": "waits"}
    engine.runs[ID] = [{**an_override("7"), "tasks": [wait]}]
    invoke("approve", GUARD_ID, "--yes")
    (completed,) = engine.completed_tasks
    assert (completed["workflowInstanceId"], completed["taskId"]) == (ID, "waits")
