"""`override start` of a file whose rows have windows: shown, confirmed and started one after another, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.provisioning import override_control
from dialpad_ivr.provisioning.overrides import GUARD, WORKFLOW
from dialpad_ivr.testing.double import DoubleControl
from support.invoke import Invoke
from support.stub import StubEngine
from unit.cli.test_override import an_override

HEADER = "target_type,target,office,ivr_type,ivr,from,until,zone\n"
SUPPORT = "callcenter,Support,Head office,GREETING,Holiday greeting"
HOLIDAYS = f"""{HEADER}{SUPPORT},2027-12-24 18:00,2027-12-27 08:00,
{SUPPORT},2027-12-31 12:00,2028-01-02 08:00,
callcenter,Hot*,,HOLD_MUSIC,Summer hold music,2027-12-24 18:00,2027-12-27 08:00,
"""
TIMES = [
    ("2027-12-24T17:00:00Z", "2027-12-27T07:00:00Z", "Europe/Berlin"),
    ("2027-12-24T18:00:00Z", "2027-12-27T08:00:00Z", "Europe/Lisbon"),
    ("2027-12-25T02:00:00Z", "2027-12-27T16:00:00Z", "US/Pacific"),
    ("2027-12-31T20:00:00Z", "2028-01-02T16:00:00Z", "US/Pacific"),
]
IDS = [f"0e000000-0000-0000-0000-00000000000{number}" for number in range(4)]
START = ("override", "start", "holidays.csv", "--reason", "holidays")


@pytest.fixture(autouse=True)
def dialpad(double: DoubleControl, monkeypatch: pytest.MonkeyPatch) -> DoubleControl:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", double.url)
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    return double


@pytest.fixture
def started(stub_engine: StubEngine, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The inputs of what is started, each of which gets the next id."""
    stub_engine.definitions = {(name, "1"): {} for name in (WORKFLOW, GUARD)}
    inputs: list[dict[str, Any]] = []

    def start(_: EngineApi, name: str, payload: dict[str, Any], **__: Any) -> str:
        assert name == GUARD
        workflow_id = IDS[len(inputs)]
        inputs.append(payload)
        child = {"taskType": "SUB_WORKFLOW", "referenceTaskName": "override", "subWorkflowId": workflow_id}
        stub_engine.runs[f"guard-{workflow_id}"] = [
            {"workflowId": f"guard-{workflow_id}", "workflowName": GUARD, "status": "RUNNING", "tasks": [child]}
        ]
        return f"guard-{workflow_id}"

    monkeypatch.setattr(EngineApi, "start_workflow", start)
    monkeypatch.setattr(override_control, "_SEEN_WITHIN_SECONDS", 0.0)
    return inputs


def write(text: str) -> None:
    Path("holidays.csv").write_text(text)


def test_all_windows_are_shown_and_confirmed_once_and_each_becomes_an_override(
    invoke: Invoke, started: list[dict[str, Any]]
) -> None:
    write(HOLIDAYS)
    asked = invoke(*START, code=2).all
    assert "4 overrides: change 4 slots? Confirm with --yes." in asked
    assert started == []
    shown = invoke(*START, "--yes").all
    assert [(each["from"], each["until"], each["zone"]) for each in started] == TIMES
    for text in ("From 2027-12-24 18:00 +01:00 until 2027-12-27 08:00 +01:00 (Europe/Berlin)", "18:00 -08:00"):
        assert text in asked
        assert text in shown
    for workflow_id in IDS:
        assert f"dialpad-ivr override cancel {workflow_id}" in shown


def test_json_is_a_list_of_what_was_started(invoke: Invoke, started: list[dict[str, Any]]) -> None:
    write(HOLIDAYS)
    printed = invoke(*START, "--yes", "--json").json
    assert [each["workflow_id"] for each in printed] == IDS
    assert [(each["from"], each["until"], each["zone"]) for each in printed] == TIMES


def test_if_one_cannot_be_started_those_that_were_are_told_with_how_to_cancel_them(
    invoke: Invoke, started: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = EngineApi.start_workflow

    def start(*arguments: Any, **named: Any) -> str:
        if len(started) == 2:
            raise EngineError("The engine is full.", 500)
        return real(*arguments, **named)

    monkeypatch.setattr(EngineApi, "start_workflow", start)
    write(HOLIDAYS)
    shown = invoke(*START, "--yes", code=1)
    assert "2 of 4 overrides started, and stay:" in shown.err
    for workflow_id in IDS[:2]:
        assert f"cancel it with: dialpad-ivr override cancel {workflow_id}" in shown.err
    assert "The engine is full." in shown.err
    started.clear()
    printed = invoke(*START, "--yes", "--json", code=1)
    assert [each["workflow_id"] for each in printed.json] == IDS[:2]


def test_everything_that_is_wrong_is_told_at_once_also_what_running_overrides_have(
    invoke: Invoke, started: list[dict[str, Any]], stub_engine: StubEngine
) -> None:
    change = {"target_type": "callcenter", "target_id": "5502522061422592", "ivr_type": "GREETING", "ivr_id": "1"}
    other = an_override(input={**an_override()["input"], "changes": [change]})
    stub_engine.runs[other["workflowId"]] = [other]
    closed = SUPPORT.replace("GREETING", "CLOSED").replace("Holiday greeting", "Closed for the holidays")
    write(
        f"{HOLIDAYS}{closed},2027-03-14 02:30,2027-12-27 08:00,\n{closed},2027-12-24 18:00,2027-12-24 18:00,\n"
        f"{closed},2027-06-24 18:00,2027-06-25 18:00,\n{closed},2027-06-25 18:00,2027-06-26 18:00,\n"
    )
    shown = invoke(*START, "--yes", "--json", code=1).json
    found = [(each["lines"], each["path"]) for each in shown["violations"]]
    assert found == [([2], "$"), ([5], "from"), ([6], "until"), ([8], "from")]
    assert other["workflowId"] in shown["violations"][0]["message"]
    assert "does not exist in US/Pacific" in shown["violations"][1]["message"]
    assert started == []


@pytest.mark.parametrize("option", [("--from", "now"), ("--until", "2028-01-01 00:00"), ("--for", "2h")])
def test_the_options_and_the_columns_exclude_each_other(
    invoke: Invoke, started: list[dict[str, Any]], dialpad: DoubleControl, option: tuple[str, str]
) -> None:
    write(HOLIDAYS)
    assert "Leave these options out, or remove the columns." in invoke(*START, *option, "--yes", code=2).err
    assert (started, dialpad.ledger()) == ([], [])


def test_a_zone_is_for_rows_whose_offices_zone_is_not_known(
    invoke: Invoke, started: list[dict[str, Any]], dialpad: DoubleControl
) -> None:
    state = [{**each, "settings": {}} for each in dialpad.state() if each["target_type"] in ("callcenter", "office")]
    dialpad.set_state(*state)
    write(HOLIDAYS)
    shown = invoke(*START, "--zone", "Asia/Tokyo", "--yes").all
    assert "The time zone of the office is not known for 3 of 3 targets." in shown
    assert {each["zone"] for each in started} == {"Asia/Tokyo"}


@pytest.mark.parametrize("command", ["plan", "apply", "check"])
def test_other_commands_say_in_two_lines_what_such_a_file_is_for(
    invoke: Invoke, dialpad: DoubleControl, command: str
) -> None:
    write(HOLIDAYS)
    lines = invoke(command, "holidays.csv", code=2).err.splitlines()
    assert len(lines) == 2
    assert "dialpad-ivr override start holidays.csv --reason" in lines[1]
    assert dialpad.ledger() == []


def test_run_refuses_changes_with_windows(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.definitions["provision_custom_ivrs", "1"] = {"inputParameters": ["changes"]}
    changes = {"changes": [{"target_type": "callcenter", "from": "2027-12-24 18:00"}]}
    lines = invoke("run", "provision_custom_ivrs", "--input", json.dumps(changes), code=2).err.splitlines()
    assert len(lines) == 2
    assert "override start" in lines[1]
    assert stub_engine.writes == []
