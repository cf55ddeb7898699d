"""The provisioning commands: exit codes, the files they write, and their messages without an engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.contract.outputs import SelectedIvr
from dialpad_ivr.local.engine import free_port
from dialpad_ivr.provisioning.plan import Plan, PlannedChange, make_plan, read_plan, write_plan
from dialpad_ivr.provisioning.workflow import WORKFLOW
from dialpad_ivr.settings import load_settings
from support.double import DoubleControl
from support.invoke import Invoke
from support.stub import StubEngine

ID, CHUNK = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"
SLOT = {"target_type": "callcenter", "target_id": "5502522061422592", "ivr_type": "HOLD_MUSIC"}
NEW, OLD = "5127493019721728", "5127493019721729"
CHANGE = {**SLOT, "ivr_id": NEW}


@pytest.fixture
def changes() -> Path:
    file = Path("changes.json")
    file.write_text(json.dumps([CHANGE]))
    return file


def a_plan(*actions: str, api_url: str | None = None, path: Path = Path("changes.plan.json")) -> Path:
    """A plan with a row for each action."""
    rows = [
        PlannedChange.model_validate(
            {**SLOT, "line": line, "ivr_id": str(line), "action": action, "previous": (SelectedIvr(id=OLD),)}
        )
        for line, action in enumerate(actions, start=2)
    ]
    write_plan(make_plan(rows, api_url or load_settings().api_url, "changes.csv"), path)
    return path


def run_states(status: str, outcome: str = "updated", **more: Any) -> dict[str, list[dict[str, Any]]]:
    """A run of one change, and its chunk."""
    ok = outcome == "updated"
    change = {**CHANGE, "note": {"line": 2, "previous": [{"id": OLD, "name": "Winter"}]}}
    parent = {
        "workflowId": ID,
        "workflowName": WORKFLOW,
        "status": status,
        "input": {"changes": [change], "plan": {"api_url": "https://dialpad.com"}},
        "tasks": [{"taskType": "SUB_WORKFLOW", "referenceTaskName": "chunk", "status": status, "subWorkflowId": CHUNK}],
        "output": {"ok": ok, "message": "1 change"} if status == "COMPLETED" else {},
        **more,
    }
    result = {"row": 0, "outcome": outcome, "message": "", "attempts": 1}
    chunk = {
        "workflowId": CHUNK,
        "status": status,
        "variables": {"results": [result]},
        "input": {"first": 0},
        "tasks": [],
    }
    return {ID: [parent], CHUNK: [chunk]}


# ---- plan


def test_offline_plan_of_a_valid_file_exits_0_and_writes_nothing(invoke: Invoke, changes: Path) -> None:
    assert invoke("plan", changes, "--offline", "--json").json == {"changes": 1, "violations": []}
    assert "1 changes" in invoke("plan", changes, "--offline").out
    assert [path.name for path in Path().iterdir()] == [changes.name]


def test_plan_of_an_invalid_file_exits_1_and_reports_every_violation(invoke: Invoke) -> None:
    Path("changes.json").write_text(json.dumps([CHANGE, {**CHANGE, "target_id": "x", "ivr_type": "NOPE"}]))
    violations = invoke("plan", "changes.json", "--offline", "--json", code=1).json["violations"]
    assert {violation["path"] for violation in violations} == {"target_id", "ivr_type"}
    assert len({violation["line"] for violation in violations}) <= 2
    shown = invoke("plan", "changes.json", code=1).out
    assert "target_id" in shown
    assert "ivr_type" in shown


@pytest.mark.parametrize("name", ["missing.csv", "changes.xlsx"])
def test_plan_of_an_unusable_file_exits_2(invoke: Invoke, name: str) -> None:
    if name != "missing.csv":
        Path(name).write_bytes(b"PK\x03\x04")
    assert name in invoke("plan", name, "--offline", code=2).err


def test_plan_reads_the_selection_and_writes_the_plan_without_an_engine(
    invoke: Invoke, changes: Path, double: DoubleControl, no_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", double.url)
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    summary = invoke("plan", changes, "--json").json
    assert (summary["plan"], summary["actions"]) == ("changes.plan.json", {"change": 1})
    plan = read_plan(Path("changes.plan.json"))
    assert plan.hash == summary["hash"]
    assert [[ivr.id for ivr in row.previous] for row in plan.rows] == [[OLD]]
    assert {arrival["method"] for arrival in double.ledger()} == {"GET"}


def test_plan_with_a_row_that_cannot_be_applied_exits_1_and_is_written(
    invoke: Invoke, double: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", double.url)
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    Path("changes.json").write_text(json.dumps([CHANGE, {**CHANGE, "target_id": "404"}]))
    actions = invoke("plan", "changes.json", "--out", "other.json", "--json", code=1).json["actions"]
    assert actions == {"change": 1, "unreadable": 1}
    assert len(read_plan(Path("other.json")).blocked) == 1


def test_plan_that_cannot_be_written_exits_2(
    invoke: Invoke, changes: Path, double: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", double.url)
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    assert "no/such/folder" in invoke("plan", changes, "--out", "no/such/folder/plan.json", code=2).err


# ---- apply


def test_apply_exits_4_without_an_engine(invoke: Invoke, no_engine: str) -> None:
    assert no_engine in invoke("apply", a_plan("change"), "--yes", code=4).err


@pytest.mark.parametrize("value", ["-1", "5 %", "many", "", "%", "1e3"])
def test_apply_with_an_invalid_max_failures_exits_2(invoke: Invoke, value: str) -> None:
    assert "--max-failures" in invoke("apply", a_plan("change"), f"--max-failures={value}", code=2).err


def test_apply_of_no_plan_exits_2(invoke: Invoke, changes: Path) -> None:
    assert "missing.plan.json" in invoke("apply", "missing.plan.json", code=2).err
    assert changes.name in invoke("apply", changes, code=2).err


def test_apply_of_an_edited_plan_exits_2(invoke: Invoke, stub_engine: StubEngine) -> None:
    path = a_plan("change")
    path.write_text(path.read_text().replace(OLD, "1"))
    assert "hash" in invoke("apply", path, "--yes", code=2).err
    assert stub_engine.stub.received == []


def test_apply_of_another_hosts_plan_exits_2(invoke: Invoke, stub_engine: StubEngine) -> None:
    shown = invoke("apply", a_plan("change", api_url="https://sandbox.dialpad.com"), "--yes", code=2).err
    assert "https://sandbox.dialpad.com" in shown
    assert stub_engine.stub.received == []


def test_apply_with_blocked_rows_exits_1_unless_partial(invoke: Invoke, stub_engine: StubEngine) -> None:
    path = a_plan("change", "missing_ivr", "unreadable")
    shown = invoke("apply", path, "--yes", code=1).err
    assert "--partial" in shown
    assert "(line 3)" in shown
    assert "(line 4)" in shown
    assert stub_engine.stub.received == []
    stub_engine.runs = run_states("RUNNING")
    assert invoke("apply", path, "--yes", "--partial", "--detach", "--json").json == {"workflow_id": ID}
    (start,) = stub_engine.writes
    assert [change["ivr_id"] for change in start.body["input"]["changes"]] == ["2"]


def test_apply_without_changes_exits_0_and_starts_nothing(invoke: Invoke, stub_engine: StubEngine) -> None:
    assert invoke("apply", a_plan("unchanged"), "--json").json == {"outcome": "success", "counts": {}}
    assert stub_engine.stub.received == []


def test_apply_without_confirmation_exits_2_and_starts_nothing(invoke: Invoke, stub_engine: StubEngine) -> None:
    assert "--yes" in invoke("apply", a_plan("change"), code=2).err
    assert stub_engine.writes == []


def test_apply_of_a_plan_that_is_being_applied_exits_1(invoke: Invoke, stub_engine: StubEngine) -> None:
    path = a_plan("change")
    stub_engine.runs = run_states("RUNNING", correlationId=read_plan(path).hash)
    assert f"dialpad-ivr status {ID}" in invoke("apply", path, "--yes", code=1).err
    assert stub_engine.writes == []


def test_apply_on_an_engine_without_the_workflow_says_how_to_register_it(invoke: Invoke) -> None:
    assert "dialpad-ivr register" in invoke("apply", a_plan("change"), "--yes", code=1).err


def test_apply_starts_one_workflow_and_writes_report_and_rollback_plan(invoke: Invoke, stub_engine: StubEngine) -> None:
    path = a_plan("change")
    stub_engine.runs = run_states("COMPLETED")
    report = invoke("apply", path, "--yes", "--report", "monday", "--max-failures", "5%", "--json").json
    assert (report["status"], report["counts"]) == ("COMPLETED", {"updated": 1})
    (start,) = stub_engine.writes
    assert start.body["correlationId"] == read_plan(path).hash
    assert start.body["input"]["max_failures"] == "5%"
    assert start.body["input"]["changes"][0]["if_selected"] == [OLD]
    assert json.loads(Path("monday.report.json").read_text()) == report
    assert len(Path("monday.report.csv").read_text().splitlines()) == 2
    (undo,) = read_plan(Path("monday.rollback.plan.json")).rows
    assert (undo.ivr_id, [ivr.id for ivr in undo.previous]) == (OLD, [NEW])


def test_apply_with_overwrite_does_not_guard_the_selection(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = run_states("RUNNING")
    invoke("apply", a_plan("change"), "--yes", "--overwrite", "--detach")
    assert "if_selected" not in stub_engine.writes[0].body["input"]["changes"][0]


# ---- status


def test_status_of_a_succeeded_run_exits_0(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = run_states("COMPLETED")
    shown = invoke("status", ID).out
    assert f"Workflow {ID}: COMPLETED" in shown
    assert f"provisioning.{ID[:8]}.rollback.plan.json" in shown
    assert Path(f"provisioning.{ID[:8]}.report.json").exists()


def test_status_of_a_run_with_a_failed_change_exits_1(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = run_states("COMPLETED", "not_found")
    (row,) = invoke("status", ID, "--json", code=1).json["rows"]
    assert (row["outcome"], row["ok"], row["line"]) == ("not_found", False, 2)


def test_status_without_following_shows_a_running_workflow_and_exits_0(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = run_states("RUNNING")
    assert invoke("status", ID, "--no-follow", "--json").json["status"] == "RUNNING"
    assert f"dialpad-ivr status {ID}" in invoke("status", ID, "--no-follow").err
    assert list(Path().iterdir()) == []


def test_status_exits_1_when_the_run_outlasts_the_timeout(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = run_states("RUNNING")
    assert invoke("status", ID, "--timeout", "0.001", "--json", code=1).json["status"] == "RUNNING"


def test_status_shows_that_a_run_waits_for_approval(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = waiting_for_approval()
    assert f"dialpad-ivr approve {ID}" in invoke("status", ID, "--no-follow").all


def test_status_of_another_workflow_exits_1(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = run_states("COMPLETED", workflowName="set_custom_ivr")
    assert WORKFLOW in invoke("status", ID, code=1).err


def test_status_of_an_unknown_workflow_exits_1(invoke: Invoke) -> None:
    assert "404" in invoke("status", ID, code=1).err


def test_report_that_cannot_be_written_does_not_hide_the_result(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = run_states("COMPLETED")
    shown = invoke("status", ID, "--report", "no/such/folder/monday", "--json")
    assert shown.json["status"] == "COMPLETED"
    assert "no/such/folder" in shown.err


# ---- approve and rollback


def waiting_for_approval() -> dict[str, list[dict[str, Any]]]:
    task = {"taskType": "HUMAN", "referenceTaskName": "approval", "status": "IN_PROGRESS", "taskId": "approval-task"}
    return run_states("RUNNING", tasks=[task])


@pytest.mark.parametrize(("options", "approved"), [([], True), (["--reject", "--reason", "not now"], False)])
def test_approve_completes_the_task_that_waits(
    invoke: Invoke, stub_engine: StubEngine, options: list[str], approved: bool
) -> None:
    stub_engine.runs = waiting_for_approval()
    invoke("approve", ID, *options)
    (completed,) = stub_engine.completed_tasks
    assert completed["taskId"] == "approval-task"
    assert completed["outputData"]["approved"] is approved
    assert completed["outputData"]["reason"] == ("" if approved else "not now")
    assert "@" in completed["outputData"]["by"]


def test_approve_of_a_run_that_does_not_wait_exits_1(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = run_states("RUNNING")
    invoke("approve", ID, code=1)
    assert stub_engine.completed_tasks == []


def test_rollback_writes_the_plan_that_restores_the_selections(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = run_states("COMPLETED")
    summary = invoke("rollback", ID, "--json").json
    assert (summary["changes"], summary["cannot_restore"]) == (1, [])
    plan: Plan = read_plan(Path(summary["plan"]))
    assert [(row.ivr_id, row.ivr_name) for row in plan.rows] == [(OLD, "Winter")]
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


@pytest.mark.parametrize("command", ["status", "approve", "rollback"])
def test_commands_on_a_run_exit_4_without_an_engine(invoke: Invoke, no_engine: str, command: str) -> None:
    options = ["--no-follow"] if command == "status" else []
    assert no_engine in invoke(command, ID, *options, code=4).err


@pytest.mark.parametrize("command", ["plan", "apply", "status", "approve", "rollback"])
def test_invalid_settings_exit_2(invoke: Invoke, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", f"http://evil.example:{free_port()}")
    assert "DIALPAD_IVR_API_URL: " in invoke(command, "x", code=2).err
