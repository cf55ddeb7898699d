"""The commands `apply` and `status`: exit codes, the files they write, and their messages."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from dialpad_ivr.provisioning import workflow
from dialpad_ivr.provisioning.plan import read_plan
from dialpad_ivr.provisioning.workflow import WORKFLOW
from support.invoke import Invoke
from support.runs import ID, NEW, OLD, SLOT, a_plan, run_states, terminated_states, waiting_for_approval
from support.stub import StubEngine

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


def test_apply_suggests_partial_only_if_it_would_change_something(invoke: Invoke, stub_engine: StubEngine) -> None:
    shown = invoke("apply", a_plan("missing_ivr"), "--yes", "--partial", code=1).err
    assert "--partial" not in shown
    assert "1 row cannot be applied" in shown
    assert stub_engine.stub.received == []


def test_the_command_to_follow_a_detached_run_carries_the_report(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = run_states("RUNNING")
    shown = invoke("apply", a_plan("change"), "--yes", "--detach", "--report", "q3 run/monday").out
    assert shlex.split(shown) == ["dialpad-ivr", "status", ID, "--report", "q3 run/monday"]


@pytest.mark.parametrize("command", ["apply", "status"])
def test_the_command_to_follow_an_interrupted_run_carries_the_report(
    invoke: Invoke, stub_engine: StubEngine, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    stub_engine.runs = run_states("RUNNING")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "follow_run", interrupted)
    arguments = [a_plan("change"), "--yes"] if command == "apply" else [ID]
    shown = invoke(command, *arguments, "--report", "monday", code=130).err
    assert f"dialpad-ivr status {ID} --report monday" in shown


def test_the_command_to_follow_a_run_that_outlasts_the_timeout_carries_the_report(
    invoke: Invoke, stub_engine: StubEngine
) -> None:
    stub_engine.runs = run_states("RUNNING")
    shown = invoke("status", ID, "--timeout", "0.001", "--report", "monday", code=1).err
    assert f"dialpad-ivr status {ID} --report monday" in shown


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


def test_a_run_that_ended_early_says_so_and_how_to_go_on(invoke: Invoke, stub_engine: StubEngine) -> None:
    path = a_plan("change")
    stub_engine.runs = terminated_states({"status": "CANCELED", "pollCount": 1})
    shown = invoke("apply", path, "--yes", "--report", "monday", code=1).out
    assert "Ended early: 1 unknown." in shown
    assert f"dialpad-ivr apply {path}" in shown
    assert "dialpad-ivr apply monday.rollback.plan.json" in shown


def test_a_terminated_run_whose_changes_were_all_made_exits_0(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = terminated_states({"status": "COMPLETED", "pollCount": 1, "outputData": {"outcome": "updated"}})
    report = invoke("status", ID, "--json").json
    assert (report["status"], report["summary"]) == ("TERMINATED", "1 of 1 change done.")


def test_unchanged_rows_are_not_undone_and_the_run_that_may_have_made_them_is_named(
    invoke: Invoke, stub_engine: StubEngine
) -> None:
    (state,) = run_states("COMPLETED", "unchanged")[ID]
    state["input"]["plan"]["hash"] = state["correlationId"] = "the-hash"
    earlier = {**state, "workflowId": "earlier", "startTime": 1}
    stub_engine.runs = {**run_states("COMPLETED", "unchanged"), ID: [{**state, "startTime": 2}], "earlier": [earlier]}
    shown = invoke("status", ID).out
    assert "dialpad-ivr rollback earlier" in shown
    assert not list(Path().glob("*.rollback.plan.json"))
    assert invoke("rollback", ID, "--json").json["changes"] == 0


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
    shown = invoke("status", ID, "--no-follow")
    assert f"dialpad-ivr approve {ID}" in shown.all
    assert f"~ callcenter {SLOT['target_id']} HOLD_MUSIC  (line 2)" in shown.out
    assert f"    Winter ({OLD}) -> Summer ({NEW})" in shown.out


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
