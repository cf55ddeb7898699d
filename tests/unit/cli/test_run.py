"""The command `run`: what it starts and follows, what it shows, and its exit codes."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.engine.definitions import shipped
from dialpad_ivr.local.engine import free_port
from support.invoke import Invoke
from support.stub import StubEngine

ID = "11111111-2222-3333-4444-555555555555"
CHANGE = {
    "target_type": "callcenter",
    "target_id": "5502522061422592",
    "ivr_type": "HOLD_MUSIC",
    "ivr_id": "5127493019721728",
}


def workflow(status: str, output: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    task = {"taskId": "t", "referenceTaskName": "set_ivr", "taskType": "set_custom_ivr", "status": status}
    return {"workflowId": ID, "status": status, "tasks": [task], "output": output or {}, **more}


def test_run_starts_a_workflow_and_shows_its_output(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs[ID] = [workflow("RUNNING"), workflow("COMPLETED", {"outcome": "updated", "ok": True})]
    done = invoke("run", "set_custom_ivr", "--input", json.dumps(CHANGE), "--version", "1", "--json").json
    assert done == {
        "workflow_id": ID,
        "status": "COMPLETED",
        "reason": None,
        "output": {"outcome": "updated", "ok": True},
    }
    (start,) = stub_engine.writes
    assert start.body == {"name": "set_custom_ivr", "input": CHANGE, "version": 1}


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (workflow("COMPLETED", {"ok": True}), 0),
        (workflow("COMPLETED", {}), 0),  # a workflow of somebody else's
        (workflow("COMPLETED", {"ok": False}), 1),
        (workflow("COMPLETED", {"ok": None}), 1),
        (workflow("FAILED", {"ok": True}, reasonForIncompletion="Why it failed"), 1),
        (workflow("TERMINATED"), 1),
        (workflow("TIMED_OUT"), 1),
    ],
)
def test_run_exit_code_follows_status_and_ok(
    invoke: Invoke, stub_engine: StubEngine, state: dict[str, Any], code: int
) -> None:
    stub_engine.runs[ID] = [state]
    shown = invoke("run", code=code)
    assert f"Workflow {ID}: {state['status']}" in shown.out
    assert state.get("reasonForIncompletion", "") in shown.out


def test_a_start_that_was_not_answered_may_have_happened(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.outage = [0] * 3
    assert "may have been started" in invoke("run", "nightly", code=4).err


def test_a_start_that_was_refused_did_not_happen(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUCTOR_SERVER_URL", f"http://127.0.0.1:{free_port()}/api")
    shown = invoke("run", code=4).err
    assert "may have been started" not in shown
    assert "CONDUCTOR_SERVER_URL" in shown


def test_follow_does_not_start_a_workflow(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs[ID] = [workflow("COMPLETED")]
    assert invoke("run", "--follow", ID, "--json").json["workflow_id"] == ID
    assert stub_engine.writes == []


def test_run_that_outlasts_the_timeout_exits_1_and_shows_how_to_resume(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs[ID] = [workflow("RUNNING")]
    assert f"dialpad-ivr run --follow {ID}" in invoke("run", "--timeout", "0", code=1).err


def test_interrupted_run_exits_130_and_shows_how_to_resume(
    invoke: Invoke, stub_engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    stub_engine.runs[ID] = [workflow("RUNNING")]
    monkeypatch.setattr("dialpad_ivr.cli.run.follow", interrupt)
    assert f"dialpad-ivr run --follow {ID}" in invoke("run", code=130).err


def test_follow_of_an_unknown_workflow_does_not_suggest_to_resume(invoke: Invoke) -> None:
    assert "Resume" not in invoke("run", "--follow", "nope", code=1).err


def test_run_of_a_shipped_workflow_that_is_not_registered_names_register(invoke: Invoke) -> None:
    assert "dialpad-ivr register" in invoke("run", "set_custom_ivr", code=1).err


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("nightly_musik", 'no workflow "nightly_musik".\nDid you mean nightly_music?'),
        ("nope", 'no workflow "nope". It has:\n  nightly_music\n  other\n'),
        ("other", '"other" in version 3.'),
    ],
)
def test_run_of_a_workflow_that_the_engine_does_not_have_names_those_that_it_has(
    invoke: Invoke, stub_engine: StubEngine, name: str, advice: str
) -> None:
    stub_engine.definitions = {(name, "3"): {} for name in ("nightly_music", "other", "provision_custom_ivrs_chunk")}
    shown = invoke("run", name, code=1).err
    assert advice in shown
    assert "register" not in shown


def test_input_that_a_shipped_workflow_does_not_have_is_refused(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.definitions = {(d.name, str(d.body["version"])): d.body for d in shipped() if d.kind == "workflow"}
    payload = json.dumps({"selectoption": "inbound", "Mode": "plan", "ivr_id": 5, "colour": "red"})
    shown = invoke("run", "set_custom_ivr", "--input", payload, code=2).err
    assert 'set_custom_ivr has no input "selectoption". Did you mean "select_option"?' in shown
    assert 'set_custom_ivr has no input "Mode". Did you mean "mode"?' in shown
    assert 'set_custom_ivr has no input "colour". It has target_type, target_id,' in shown
    assert "ivr_id" not in shown.splitlines()[0]
    assert not stub_engine.writes


def test_id_with_an_exponent_is_passed_on_as_it_was_written(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs[ID] = [workflow("COMPLETED")]
    invoke("run", "nightly", "--input", '{"ivr_id": 5.1274930e15, "share": 0.5, "tiny": 1e-3}')
    assert stub_engine.writes[-1].body["input"] == {"ivr_id": "5.1274930e15", "share": 0.5, "tiny": 0.001}


@pytest.mark.parametrize(("text", "told"), [("{'a': 1}", "not valid JSON"), ("@nope.json", "nope.json cannot be read")])
def test_input_that_cannot_be_read_says_what_to_do(invoke: Invoke, text: str, told: str) -> None:
    assert told in invoke("run", "set_custom_ivr", "--input", text, code=2).err


def test_names_of_many_workflows_are_shown_in_part(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.definitions = {(f"w{number:02}", "1"): {} for number in range(30)}
    shown = invoke("run", "nope", code=1).err
    assert "w09" in shown
    assert "w10" not in shown
    assert "20 more" in shown


def test_workflows_that_the_engine_does_not_list_are_no_second_error(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: EngineApi) -> Any:
        raise EngineError("no such path", 404)

    monkeypatch.setattr(EngineApi, "workflow_versions", refuse)
    assert len(invoke("run", "nope", code=1).err.splitlines()) == 1


def test_run_exits_4_without_an_engine(invoke: Invoke, no_engine: str) -> None:
    assert no_engine in invoke("run", code=4).err


@pytest.mark.parametrize("arguments", [["run", "--follow", ID], ["status", ID], ["status", ID, "--no-follow"]])
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_following_exits_4_at_once_without_an_engine(
    invoke: Invoke, no_engine: str, arguments: list[str], as_json: list[str]
) -> None:
    began = time.monotonic()
    assert no_engine in invoke(*arguments, *as_json, code=4).err
    assert time.monotonic() - began < 5  # the timeouts are an hour and a day


# The first asks for the workflow's inputs and starts it, the second reads once.
@pytest.mark.parametrize(
    ("arguments", "answered"), [(["run", "set_custom_ivr", "--json"], 2), (["run", "--follow", ID], 1)]
)
def test_engine_that_goes_away_exits_4_at_the_timeout_and_shows_how_to_resume(
    invoke: Invoke, stub_engine: StubEngine, monkeypatch: pytest.MonkeyPatch, arguments: list[str], answered: int
) -> None:
    stub_engine.runs[ID] = [workflow("RUNNING")]
    reads = itertools.count()
    respond = stub_engine.stub.respond
    monkeypatch.setattr(
        stub_engine.stub, "respond", lambda request: respond(request) if next(reads) < answered else (0, "gone")
    )
    shown = invoke(*arguments, "--timeout", "1", code=4)
    assert f"dialpad-ivr run --follow {ID}" in shown.err
    assert shown.out == ""


def test_missing_worker_is_reported_on_standard_error(
    invoke: Invoke, stub_engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(_: Any, __: Any, ___: Any, ____: Any, report: Any) -> dict[str, Any]:
        report("No worker polls")
        return workflow("COMPLETED")

    stub_engine.runs[ID] = [workflow("COMPLETED")]
    monkeypatch.setattr("dialpad_ivr.cli.run.follow", wait)
    shown = invoke("run", "--json")
    assert shown.json["status"] == "COMPLETED"
    assert "No worker polls" in shown.err


def test_status_reports_on_standard_error_too(
    invoke: Invoke, stub_engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(_: Any, __: Any, ___: Any, report: Any) -> None:
        report("No worker polls")

    monkeypatch.setattr("dialpad_ivr.provisioning.workflow.follow_run", wait)
    assert "No worker polls" in invoke("status", ID, code=1).err


def test_progress_shows_a_status_once(invoke: Invoke, stub_engine: StubEngine) -> None:
    polled = workflow("RUNNING")
    polled["tasks"][0]["pollCount"] = 1
    stub_engine.runs[ID] = [workflow("RUNNING"), polled, workflow("COMPLETED")]
    assert invoke("run").err.split("\n")[1:-1] == ["  set_ivr: RUNNING", "  set_ivr: COMPLETED"]


def test_outcomes_of_sub_workflows_are_shown(invoke: Invoke, stub_engine: StubEngine) -> None:
    parent = workflow("COMPLETED", {"of": "somebody else"})
    parent["tasks"] = [
        {
            "taskId": "s",
            "referenceTaskName": "child",
            "taskType": "SUB_WORKFLOW",
            "status": "COMPLETED",
            "subWorkflowId": "CHILD",
        }
    ]
    child = workflow("COMPLETED")
    selected = {"id": "7", "name": "Summer"}
    output = {"outcome": "unchanged", "ok": True, "ivr": {"selected": selected}}
    child["tasks"][0]["outputData"] = output
    stub_engine.runs = {ID: [parent], "CHILD": [child]}
    lines = invoke("run").out.splitlines()
    assert lines[-1] == "unchanged: Summer"
    (row,) = (line for line in lines if line.startswith("  set_ivr"))
    assert "unchanged" in row


def test_sub_workflow_that_cannot_be_read_is_no_failure(invoke: Invoke, stub_engine: StubEngine) -> None:
    parent = workflow("COMPLETED", {"outcome": "updated", "ok": True})
    parent["tasks"][0]["subWorkflowId"] = "REMOVED"
    stub_engine.runs[ID] = [parent]
    shown = invoke("run")
    assert "sub-workflow" in shown.err
    assert "updated" in shown.out


@pytest.mark.parametrize("text", ["[]", "{", "@missing.json", "nonsense", "[" * 100_000])
def test_input_that_is_not_a_json_object_exits_2(invoke: Invoke, stub_engine: StubEngine, text: str) -> None:
    assert "--input" in invoke("run", "--input", text, code=2).err
    assert stub_engine.stub.received == []


def test_input_is_read_from_a_file_and_from_standard_input(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs[ID] = [workflow("COMPLETED")]
    Path("change.json").write_text(json.dumps(CHANGE))
    invoke("run", "--input", "@change.json")
    invoke("run", "--input", "-", input=json.dumps(CHANGE))
    assert [start.body["input"] for start in stub_engine.writes] == [CHANGE, CHANGE]
