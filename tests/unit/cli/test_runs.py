"""The commands `stop`, `approve` and `rollback`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.contract.outputs import SelectedIvr
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.local.engine import free_port
from dialpad_ivr.provisioning.plan import Plan, read_plan
from dialpad_ivr.provisioning.run import STOP_WORKER
from support.invoke import Invoke
from support.runs import CHANGE, ID, NEW, OLD, SLOT, run_states, running_states, terminated_states, waiting_for_approval
from support.stub import StubEngine

# ---- stop


# Of three changes: one made, one lost, one never sent.
STOPPED: list[dict[str, Any]] = [
    {"status": "COMPLETED", "pollCount": 1, "outputData": {"outcome": "updated"}},
    {"status": "CANCELED", "pollCount": 1},
    {"status": "CANCELED", "pollCount": 1, "workerId": STOP_WORKER},
]


@pytest.fixture
def running(stub_engine: StubEngine) -> StubEngine:
    """The engine with a run that can be stopped."""
    stub_engine.runs, stub_engine.terminated = running_states(*STOPPED), terminated_states(*STOPPED)
    return stub_engine


def test_stop_terminates_the_run_and_writes_its_report_and_rollback_plan(invoke: Invoke, running: StubEngine) -> None:
    report = invoke("stop", ID, "--yes", "--report", "monday", "--json").json
    assert report["counts"] == {"updated": 1, "unknown": 1, "not_sent": 1}
    assert report["summary"].startswith("Ended early")
    (terminate,) = [request for request in running.writes if request.method == "DELETE"]
    assert "@" in terminate.query["reason"]
    assert json.loads(Path("monday.report.json").read_text()) == report
    assert len(read_plan(Path("monday.rollback.plan.json")).rows) == 2


def test_stop_shows_both_ways_on(invoke: Invoke, running: StubEngine) -> None:
    shown = invoke("stop", ID, "--yes").out
    assert "dialpad-ivr apply PLAN" in shown
    assert f"dialpad-ivr apply provisioning.{ID[:8]}.rollback.plan.json" in shown


def test_stop_without_confirmation_exits_2_and_stops_nothing(invoke: Invoke, running: StubEngine) -> None:
    shown = invoke("stop", ID, code=2).err
    assert "1 of 3 changes done." in shown
    assert "--yes" in shown
    assert running.writes == []


def test_stop_of_a_run_that_has_ended_exits_1_and_names_its_report(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = run_states("COMPLETED")
    shown = invoke("stop", ID, "--yes", code=1).err
    assert "COMPLETED" in shown
    assert f"dialpad-ivr status {ID}" in shown
    assert stub_engine.writes == []


def test_interrupted_stop_still_terminates_and_says_how_to_see_the_report(
    invoke: Invoke, running: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(EngineApi, "pause", interrupt)
    shown = invoke("stop", ID, "--yes", "--report", "monday", code=130).err
    assert f"dialpad-ivr status {ID} --report monday" in shown
    assert [request.method for request in running.writes] == ["DELETE"]


# ---- approve and rollback


@pytest.mark.parametrize(("options", "approved"), [([], True), (["--reject", "--reason", "not now"], False)])
def test_approve_completes_the_task_that_waits(
    invoke: Invoke, stub_engine: StubEngine, options: list[str], approved: bool
) -> None:
    stub_engine.runs = waiting_for_approval()
    invoke("approve", ID, "--yes", *options)
    (completed,) = stub_engine.completed_tasks
    assert completed["taskId"] == "approval-task"
    assert completed["outputData"]["approved"] is approved
    assert completed["outputData"]["reason"] == ("" if approved else "not now")
    assert "@" in completed["outputData"]["by"]


def test_approve_asks_first_and_says_how_many_changes_there_are(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = waiting_for_approval()
    assert f"Approve 1 change of {ID}? Confirm with --yes." in invoke("approve", ID, code=2).err
    assert f"Reject 1 change of {ID}? Confirm with --yes." in invoke("approve", ID, "--reject", code=2).err
    assert stub_engine.completed_tasks == []


def test_approve_of_a_run_that_does_not_wait_exits_1(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = run_states("RUNNING")
    invoke("approve", ID, code=1)
    assert "There is no workflow nothing." in invoke("approve", "nothing", code=1).err
    assert stub_engine.completed_tasks == []


def test_rollback_writes_the_plan_that_restores_the_selections(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = run_states("COMPLETED")
    summary = invoke("rollback", ID, "--json").json
    assert (summary["changes"], summary["cannot_restore"]) == (1, [])
    plan: Plan = read_plan(Path(summary["plan"]))
    assert [(row.ivr_id, row.ivr_name) for row in plan.rows] == [(OLD, "Winter")]
    assert [row.previous for row in plan.rows] == [(SelectedIvr(id=NEW, name="Summer"),)]
    assert "Summer" in invoke("rollback", ID).out
    assert stub_engine.writes == []


def test_rollback_reports_the_rows_that_cannot_be_restored(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = run_states("COMPLETED", input={"changes": [CHANGE]})
    summary = invoke("rollback", ID, "--json").json
    assert summary["changes"] == 0
    assert [row["target_id"] for row in summary["cannot_restore"]] == [SLOT["target_id"]]
    assert SLOT["target_id"] in invoke("rollback", ID).out


def test_rollback_of_a_running_workflow_exits_1_and_writes_nothing(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = run_states("RUNNING")
    assert f"dialpad-ivr status {ID}" in invoke("rollback", ID, code=1).err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("command", ["status", "stop", "approve", "rollback"])
def test_commands_on_a_run_exit_4_without_an_engine(invoke: Invoke, no_engine: str, command: str) -> None:
    options = ["--no-follow"] if command == "status" else []
    assert no_engine in invoke(command, ID, *options, code=4).err


@pytest.mark.parametrize("command", ["plan", "apply", "status", "stop", "approve", "rollback"])
def test_invalid_settings_exit_2(invoke: Invoke, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", f"http://evil.example:{free_port()}")
    assert "DIALPAD_IVR_API_URL" in invoke(command, "x", code=2).err
