"""Many changes at once on the real engine: the workflows by themselves, and the commands around them."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.engine.definitions import shipped
from dialpad_ivr.provisioning.run import STOP_WORKER
from dialpad_ivr.provisioning.workflow import MAX_CHANGES
from dialpad_ivr.testing.double import DoubleControl
from support.command import Command
from support.engine import EngineRest, until
from support.fixtures import StartWorker
from support.provisioning import (
    UNPACED,
    change,
    interrupted_run,
    ivr,
    planned,
    selected,
    unknown,
    write_csv,
)
from support.worker import WorkerProcess

WORKFLOW = "provision_custom_ivrs"


def test_each_workflow_runs_its_example(engine: EngineRest, double: DoubleControl, worker: WorkerProcess) -> None:
    for definition in shipped():
        if definition.name.startswith(WORKFLOW):
            example = definition.body["metadata"]["exampleInput"]
            (ended,) = engine.ended([engine.start(definition.name, example)])
            assert ended["status"] == "COMPLETED", ended["output"]
            assert ended["output"]["counts"] == {"updated": 2}


def test_a_workflow_by_itself_counts_outcomes_and_fails_when_not_all_is_as_asked(
    engine: EngineRest, targets: DoubleControl, worker: WorkerProcess
) -> None:
    rows: list[Any] = [change(0, note={"line": 2}), unknown(1), {"target_type": "office"}, 7, change(2)]
    (ended,) = engine.ended([engine.start(WORKFLOW, {"changes": rows, "chunk_rows": 2})])
    assert ended["status"] == "FAILED"
    assert ended["output"]["outcome"] == "partial"
    assert ended["output"]["counts"] == {"updated": 2, "not_found": 1, "invalid_input": 2}
    assert (ended["output"]["ok_rows"], ended["output"]["failed_rows"], ended["output"]["not_sent"]) == (2, 3, 0)
    assert ended["reasonForIncompletion"] == ended["output"]["message"]
    assert ended["variables"]["branch"] == "partial"


@pytest.mark.parametrize(("times", "outcome"), [(1, "updated"), (2, "unavailable")])
def test_a_row_that_fails_stays_the_same_task_for_its_retry(
    engine: EngineRest, targets: DoubleControl, worker: WorkerProcess, times: int, outcome: str
) -> None:
    """The engine's own retry comes a moment after the failure, and the chunk's JOIN may have taken that for the end."""
    targets.add_faults({"fault": "status", "status": 503, "times": times})
    (ended,) = engine.ended([engine.start(WORKFLOW, {"changes": [change(0)]})])
    assert ended["output"]["counts"] == {outcome: 1}
    (chunk,) = (task["subWorkflowId"] for task in ended["tasks"] if task["taskType"] == "SUB_WORKFLOW")
    (row,) = (task for task in engine.workflow(chunk)["tasks"] if task["taskType"] == "set_custom_ivr")
    assert (row["retryCount"], row["outputData"]["failed_attempts"], row["outputData"]["attempts"]) == (0, 1, 2)


@pytest.mark.long
def test_a_chunk_that_the_engine_failed_to_start_is_started_again(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    (chunk,) = (definition.body for definition in shipped() if definition.name == f"{WORKFLOW}_chunk")
    double.set_state(synthetic=100)
    started = engine.start(WORKFLOW, {"changes": [change(number) for number in range(100)], "chunk_rows": 1})

    def chunks(key: str) -> list[dict[str, Any]]:
        return [task for task in engine.workflow(started)["tasks"] if task.get(key)]

    until(lambda: chunks("subWorkflowId"))
    engine.delete_workflow_definition(chunk["name"], chunk["version"])
    try:
        until(lambda: chunks("retried"))
    finally:
        engine.put_workflow_definition(chunk)
    with start_worker():
        (ended,) = engine.ended([started])
    assert ended["output"]["counts"] == {"updated": 100}


def test_nothing_as_asked_is_failed(engine: EngineRest, targets: DoubleControl, worker: WorkerProcess) -> None:
    (ended,) = engine.ended([engine.start(WORKFLOW, {"changes": [unknown(1), unknown(2)]})])
    assert (ended["status"], ended["output"]["outcome"]) == ("FAILED", "failed")
    assert targets.summary()["applied"] == 0


def test_a_mode_for_all_writes_nothing(engine: EngineRest, targets: DoubleControl, worker: WorkerProcess) -> None:
    rows = [change(0), change(1), change(2, mode="validate")]
    (ended,) = engine.ended([engine.start(WORKFLOW, {"changes": rows, "mode": "plan"})])
    assert ended["output"]["counts"] == {"planned": 2, "valid": 1}
    assert targets.summary()["applied"] == 0


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({}, "at least one change"),
        ({"changes": []}, "at least one change"),
        ({"changes": "x"}, "at least one change"),
        ({"changes": [{}] * (MAX_CHANGES + 1)}, "split them"),
        ({"changes": [{}], "chunk_rows": 0}, "chunk_rows"),
        ({"changes": [{}], "chunk_rows": "7"}, "chunk_rows"),
        ({"changes": [{}], "max_failures": "few"}, "max_failures"),
        ({"changes": [{}], "max_failures": -1}, "max_failures"),
    ],
)
def test_an_input_that_makes_no_sense_fails_at_once_and_says_why(
    engine: EngineRest, double: DoubleControl, payload: dict[str, Any], reason: str
) -> None:
    (ended,) = engine.ended([engine.start(WORKFLOW, payload)])
    assert ended["status"] == "FAILED"
    assert reason in ended["reasonForIncompletion"]
    assert double.summary()["arrivals"] == 0


@pytest.mark.parametrize("limit", [10, "10", "2.6%"])
@pytest.mark.long
def test_no_change_is_dispatched_after_max_failures(
    engine: EngineRest, targets: DoubleControl, worker: WorkerProcess, limit: Any
) -> None:
    rows = [unknown(number) if 150 <= number < 161 else change(number) for number in range(400)]
    (ended,) = engine.ended([engine.start(WORKFLOW, {"changes": rows, "max_failures": limit})])
    assert ended["status"] == "FAILED"
    assert ended["output"]["counts"] == {"updated": 189, "not_found": 11}
    assert ended["output"]["not_sent"] == 200
    assert "max_failures was reached" in ended["reasonForIncompletion"]
    sums = targets.summary()
    assert sums["applied"] - sums["duplicates"] == 189  # the engine delivers a task at least once


@pytest.mark.long
def test_at_max_failures_it_goes_on(engine: EngineRest, targets: DoubleControl, worker: WorkerProcess) -> None:
    rows = [unknown(number) if number < 11 else change(number) for number in range(210)]
    (ended,) = engine.ended([engine.start(WORKFLOW, {"changes": rows, "max_failures": 11})])
    assert ended["output"]["counts"] == {"updated": 199, "not_found": 11}


# ---- queues


def change_domains(engine: EngineRest, workflow_id: str) -> dict[str, set[str | None]]:
    """The task domains in which the changes of a run are, by credential profile."""
    found: dict[str, set[str | None]] = {}
    for chunk in engine.workflow(workflow_id)["tasks"]:
        for task in engine.workflow(chunk["subWorkflowId"])["tasks"] if chunk.get("subWorkflowId") else ():
            if task["taskType"] == "set_custom_ivr":
                profile = task["inputData"].get("credential", "default")
                found.setdefault(profile, set()).add(task.get("domain"))
    return found


def test_each_profiles_changes_have_a_queue_of_their_own_and_a_plain_worker_makes_them(
    engine: EngineRest, targets: DoubleControl, worker: WorkerProcess
) -> None:
    profiles = ["default"] * 4 + ["limited"] * 4 + ["default", "odd"] * 2
    rows = [change(number, credential=profile) for number, profile in enumerate(profiles)]
    (ended,) = engine.ended([engine.start(WORKFLOW, {"changes": rows, "chunk_rows": 4})])
    assert ended["output"]["counts"] == {"updated": 12}
    found = change_domains(engine, ended["workflowId"])
    assert found == {"default": {"bulk"}, "limited": {"bulk.limited"}, "odd": {"bulk"}}  # mixed rows share a queue


def test_a_profile_that_no_worker_knows_by_name_is_served_with_the_default_one(
    engine: EngineRest, targets: DoubleControl, worker: WorkerProcess
) -> None:
    (ended,) = engine.ended([engine.start(WORKFLOW, {"changes": [change(0, credential="vault")]})])
    assert ended["output"]["counts"] == {"updated": 1}
    assert change_domains(engine, ended["workflowId"]) == {"vault": {"bulk"}}


def test_a_single_change_overtakes_a_run(engine: EngineRest, targets: DoubleControl, start_worker: StartWorker) -> None:
    known = targets.summary()["arrivals"]
    targets.configure(latency=1)
    with start_worker(DIALPAD_IVR_CONCURRENCY="2", **UNPACED):
        run = engine.start(WORKFLOW, {"changes": [change(number) for number in range(60)]})
        targets.wait_for_arrivals(known + 4)
        (single,) = engine.ended([engine.start("set_custom_ivr", change(60))])
        assert single["status"] == "COMPLETED"
        assert engine.workflow(run)["status"] == "RUNNING"
        targets.configure(latency=0)
        (ended,) = engine.ended([run])
    assert ended["output"]["counts"] == {"updated": 60}


def test_workers_of_a_domain_make_the_changes_of_the_runs_that_name_it(
    command: Command, engine: EngineRest, targets: DoubleControl, start_worker: StartWorker, tmp_path: Path
) -> None:
    plan = planned(command, tmp_path, [change(0), change(1)])
    with start_worker(DIALPAD_IVR_DOMAIN="night", **UNPACED):
        started = command.json("apply", plan, "--yes", "--detach", DIALPAD_IVR_DOMAIN="night")["workflow_id"]
        (ended,) = engine.ended([started])
    assert ended["output"]["counts"] == {"updated": 2}
    assert change_domains(engine, started) == {"default": {"night.bulk"}}


def test_a_run_of_an_older_definition_without_domains_is_made_and_reported(
    command: Command, engine: EngineRest, targets: DoubleControl, worker: WorkerProcess, tmp_path: Path
) -> None:
    (body,) = (definition.body for definition in shipped() if definition.name == WORKFLOW)
    older = {**json.loads(json.dumps(body)), "version": 99}
    older["tasks"][0]["inputParameters"]["queryExpression"] += " | del(.waves[][].taskToDomain)"
    engine.put_workflow_definition(older)
    try:
        started = engine.start(WORKFLOW, {"changes": [change(0), change(1)]}, version=99)
        assert command.json("status", started, "--report", tmp_path / "r")["counts"] == {"updated": 2}
    finally:
        engine.delete_workflow_definition(WORKFLOW, 99)
    assert change_domains(engine, started) == {"default": {None}}


def test_stop_holds_back_what_waits_in_several_queues(
    command: Command, engine: EngineRest, targets: DoubleControl, tmp_path: Path
) -> None:
    rows = [change(number, credential="default" if number < 50 else "limited") for number in range(100)]
    expected = {"default": {"bulk"}, "limited": {"bulk.limited"}}

    def scheduled() -> bool:
        engine.poll("set_custom_ivr", "bulk.limited", count=0)  # takes none, but the engine sees that it is polled
        return change_domains(engine, started) == expected

    engine.poll("set_custom_ivr", "bulk.limited", count=0)
    started = engine.start(WORKFLOW, {"changes": rows})
    until(scheduled, what="both chunks")
    assert command.json("stop", started, "--yes", "--report", tmp_path / "r")["counts"] == {"not_sent": 100}


# ---- the commands


def test_plan_apply_and_rollback(
    command: Command, targets: DoubleControl, worker: WorkerProcess, tmp_path: Path
) -> None:
    numbers = range(120)
    before = selected(targets, numbers)
    rows = [change(number) for number in numbers]
    rows[7]["ivr_id"] = before[7]  # nothing to change
    printed = command("plan", write_csv(tmp_path / "changes.csv", rows), **UNPACED)
    assert "119 to change, 1 unchanged" in printed
    assert targets.summary()["applied"] == 0

    report = command.json("apply", tmp_path / "changes.plan.json", "--yes")
    assert report["counts"] == {"updated": 119, "unchanged": 1}
    assert report["outcome"] == "success"
    after = selected(targets, numbers)
    assert [now == row["ivr_id"] for now, row in zip(after, rows, strict=True)] == [True] * 120
    assert targets.summary()["applied"] == 119

    (kept,) = tmp_path.glob("changes.*.report.json")
    assert json.loads(kept.read_text()) == report
    (table,) = tmp_path.glob("changes.*.report.csv")
    with table.open(newline="") as file:
        assert [(row["line"], row["outcome"]) for row in csv.DictReader(file)][:2] == [
            ("2", "updated"),
            ("3", "updated"),
        ]

    (undo,) = tmp_path.glob("changes.*.rollback.plan.json")
    assert command.json("apply", undo, "--yes")["counts"] == {"updated": 119}
    assert selected(targets, numbers) == before


def test_a_selection_that_moved_since_the_plan_is_left_alone_and_reported(
    command: Command, double: DoubleControl, worker: WorkerProcess, tmp_path: Path
) -> None:
    asked = {
        "target_type": "callcenter",
        "target_id": "5502522061422592",
        "ivr_type": "HOLD_MUSIC",
        "ivr_id": "5127493019721728",
    }
    seen = double.selected("callcenter", asked["target_id"], "HOLD_MUSIC")["inbound"]
    plan = planned(command, tmp_path, [asked])
    state = double.state()
    (slot,) = (
        slot
        for found in state
        if found["target_id"] == asked["target_id"]
        for slot in found["slots"]
        if slot["ivr_type"] == "HOLD_MUSIC"
    )
    (other,) = {one["id"] for one in slot["ivrs"]} - {seen, asked["ivr_id"]} or {None}
    slot["selected"] = {"inbound": other, "outbound": other}
    double.set_state(*state)

    printed = command("apply", plan, "--yes", code=1)
    assert "conflict" in printed
    assert "plan again" in printed.lower()
    assert double.selected("callcenter", asked["target_id"], "HOLD_MUSIC")["inbound"] == other
    assert double.summary()["applied"] == 0

    command("apply", plan, "--yes", "--overwrite")
    assert double.selected("callcenter", asked["target_id"], "HOLD_MUSIC")["inbound"] == asked["ivr_id"]


def test_every_mistake_in_a_file_is_told_with_its_line_and_nothing_is_read(
    command: Command, double: DoubleControl, tmp_path: Path
) -> None:
    rows = [change(0), change(1, target_id="x"), change(2, ivr_type="MUSIC"), change(0, ivr_id="5")]
    printed = command("plan", write_csv(tmp_path / "changes.csv", rows), code=1)
    for line in (3, 4, 5):
        assert f"line {line}" in printed
    assert double.summary()["arrivals"] == 0
    assert not (tmp_path / "changes.plan.json").exists()


def test_offline_reads_and_writes_nothing(command: Command, double: DoubleControl, tmp_path: Path) -> None:
    printed = command("plan", write_csv(tmp_path / "changes.csv", [change(0)]), "--offline")
    assert "1 change" in printed
    assert double.summary()["arrivals"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["changes.csv"]


def test_rows_that_cannot_be_applied_are_told_and_left_out_only_when_asked(
    command: Command, targets: DoubleControl, worker: WorkerProcess, tmp_path: Path
) -> None:
    rows = [change(0), change(1, ivr_id="1"), unknown(2)]
    printed = command("plan", write_csv(tmp_path / "changes.csv", rows), code=1, **UNPACED)
    assert "1 to change, 1 with a missing IVR, 1 with an unknown target" in printed
    assert ivr(1) in printed  # what the target has instead
    plan = tmp_path / "changes.plan.json"
    assert "--partial" in command("apply", plan, "--yes", code=1)
    assert targets.summary()["applied"] == 0
    report = command.json("apply", plan, "--yes", "--partial")
    assert report["counts"] == {"updated": 1, "missing_ivr": 1, "unknown_target": 1}


def test_a_wrong_key_ends_the_reading_early(command: Command, targets: DoubleControl, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "changes.csv", [change(number) for number in range(200)])
    printed = command("plan", file, code=1, DIALPAD_API_KEY="no-such-key", **UNPACED)
    assert printed.count("does not accept the key") == 1
    assert targets.summary()["arrivals"] <= 40
    assert not (tmp_path / "changes.plan.json").exists()


@pytest.mark.long
def test_a_plan_is_applied_once_at_a_time_and_can_be_followed_from_anywhere(
    command: Command, targets: DoubleControl, start_worker: StartWorker, tmp_path: Path
) -> None:
    plan = planned(command, tmp_path, [change(number) for number in range(60)])
    started = command.json("apply", plan, "--yes", "--detach")["workflow_id"]
    assert started in command("apply", plan, "--yes", code=1)
    far = command.json("status", started, "--no-follow")
    assert far["status"] == "RUNNING"
    assert far["counts"] == {"pending": 60}
    with start_worker(**UNPACED):
        ended = command.json("status", started, "--report", tmp_path / "elsewhere")
    assert ended["counts"] == {"updated": 60}
    assert (tmp_path / "elsewhere.report.csv").exists()
    command("rollback", started, "--out", tmp_path / "undo.plan.json")
    assert len(json.loads((tmp_path / "undo.plan.json").read_text())["rows"]) == 60


@pytest.mark.long
def test_ctrl_c_stops_following_and_not_the_workflow(
    command: Command, targets: DoubleControl, start_worker: StartWorker, tmp_path: Path
) -> None:
    plan = planned(command, tmp_path, [change(number) for number in range(10)])
    process = command.popen("apply", plan, "--yes")
    assert process.stderr is not None
    started = process.stderr.readline().split()[-1]
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"dialpad-ivr status {started}" in printed
    with start_worker(**UNPACED):
        assert command.json("status", started, "--report", tmp_path / "r")["counts"] == {"updated": 10}


def test_approval_is_waited_for(
    command: Command, engine: EngineRest, targets: DoubleControl, worker: WorkerProcess, tmp_path: Path
) -> None:
    plan = planned(command, tmp_path, [change(number) for number in range(3)])
    started = command.json("apply", plan, "--yes", "--approval", "--detach")["workflow_id"]
    until(lambda: any(t["status"] == "IN_PROGRESS" for t in engine.workflow(started)["tasks"]), 20, "the approval task")
    assert targets.summary()["applied"] == 0
    command("approve", started, "--yes")
    assert command.json("status", started, "--report", tmp_path / "r")["counts"] == {"updated": 3}
    assert "does not wait for approval" in command("approve", started, "--yes", code=1)


def test_a_rejection_ends_it_and_nothing_is_sent(
    command: Command, engine: EngineRest, targets: DoubleControl, worker: WorkerProcess, tmp_path: Path
) -> None:
    plan = planned(command, tmp_path, [change(0)])
    started = command.json("apply", plan, "--yes", "--approval", "--detach")["workflow_id"]
    until(lambda: any(t["status"] == "IN_PROGRESS" for t in engine.workflow(started)["tasks"]), 20, "the approval task")
    command("approve", started, "--yes", "--reject", "--reason", "not in business hours")
    printed = command.json("status", started, "--report", tmp_path / "r", code=1)
    assert printed["counts"] == {"not_sent": 1}
    (ended,) = engine.ended([started])
    assert "not in business hours" in ended["reasonForIncompletion"]
    assert targets.summary()["applied"] == 0


def test_a_plan_made_elsewhere_is_refused(command: Command, targets: DoubleControl, tmp_path: Path) -> None:
    plan = planned(command, tmp_path, [change(0)])
    printed = command("apply", plan, "--yes", code=2, DIALPAD_IVR_API_URL="https://sandbox.dialpad.com")
    assert "was made at" in printed


def test_without_consent_nothing_is_started(command: Command, targets: DoubleControl, tmp_path: Path) -> None:
    plan = planned(command, tmp_path, [change(0)])
    assert "--yes" in command("apply", plan, code=2)


def test_another_workflow_is_not_followed_as_one(command: Command, engine: EngineRest) -> None:
    other = engine.start("set_custom_ivr", {**change(0), "mode": "validate"}, domain="nobody")
    assert "not of provision_custom_ivrs" in command("status", other, code=1)


@pytest.mark.long
def test_of_a_run_that_was_terminated_elsewhere_no_row_is_claimed_to_be_unsent(
    command: Command, engine: EngineRest, targets: DoubleControl, start_worker: StartWorker, tmp_path: Path
) -> None:
    plan = planned(command, tmp_path, [change(number) for number in range(60)])
    started = command.json("apply", plan, "--yes", "--detach", "--overwrite")["workflow_id"]
    known = targets.summary()["arrivals"]
    targets.configure(latency=20)
    with start_worker(DIALPAD_IVR_CONCURRENCY="10", DIALPAD_IVR_GRACE_SECONDS="0", **UNPACED) as worker:
        targets.wait_for_arrivals(known + 10)
        engine.terminate(started)
        report = command.json("status", started, "--report", tmp_path / "ended", code=1)
        worker.process.kill()
    assert report["status"] == "TERMINATED"
    assert report["summary"] == "Ended early: 60 unknown."
    # What may have been changed can be undone.
    assert len(json.loads((tmp_path / "ended.rollback.plan.json").read_text())["rows"]) == 60


def test_a_run_that_no_worker_touched_was_not_sent_when_it_is_stopped(
    command: Command, targets: DoubleControl, tmp_path: Path
) -> None:
    plan = planned(command, tmp_path, [change(number) for number in range(60)])
    started = command.json("apply", plan, "--yes", "--detach")["workflow_id"]
    assert "60" in command("stop", started, code=2)  # it asks, and says what is done so far
    assert command.json("status", started, "--no-follow")["status"] == "RUNNING"
    assert command.json("stop", started, "--yes", "--report", tmp_path / "r")["counts"] == {"not_sent": 60}
    assert started in command("stop", started, "--yes", code=1)
    assert not (tmp_path / "r.rollback.plan.json").exists()


@pytest.mark.long
def test_a_stopped_run_knows_each_row_and_can_be_continued_and_undone(
    command: Command, targets: DoubleControl, start_worker: StartWorker, tmp_path: Path
) -> None:
    numbers = range(100)
    before = selected(targets, numbers)
    plan = planned(command, tmp_path, [change(number) for number in numbers])
    known = targets.summary()["arrivals"]
    targets.configure(latency=0.5)
    with start_worker(DIALPAD_IVR_CONCURRENCY="10", **UNPACED):
        started = command.json("apply", plan, "--yes", "--detach")["workflow_id"]
        targets.wait_for_arrivals(known + 30)
        report = command.json("stop", started, "--yes", "--report", tmp_path / "first")
        made = [now == ivr(number) for number, now in enumerate(selected(targets, numbers))]
        assert report["status"] == "TERMINATED"
        assert [row["outcome"] for row in report["rows"]] == ["updated" if one else "not_sent" for one in made]
        assert 0 < sum(made) < len(numbers)

        targets.configure(latency=0)
        again = command.json("apply", plan, "--yes", "--report", tmp_path / "second")
        assert again["counts"] == {"unchanged": sum(made), "updated": len(numbers) - sum(made)}
        assert f"dialpad-ivr rollback {started}" in command("status", again["workflow_id"], "--report", tmp_path / "r")
        for name, undone in (("second", len(numbers) - sum(made)), ("first", sum(made))):
            undo = tmp_path / f"{name}.rollback.plan.json"
            report = command.json("apply", undo, "--yes", "--report", tmp_path / "undo")
            assert report["counts"] == {"updated": undone}
    assert selected(targets, numbers) == before


@pytest.mark.long
def test_a_stop_that_is_interrupted_ends_the_run_and_what_workers_hold_is_unknown(
    command: Command, engine: EngineRest, targets: DoubleControl, start_worker: StartWorker, tmp_path: Path
) -> None:
    plan = planned(command, tmp_path, [change(number) for number in range(20)])
    known = targets.summary()["arrivals"]
    targets.configure(latency=120)  # no call ends while the test lasts
    patient = {"DIALPAD_IVR_READ_TIMEOUT_SECONDS": "120", "DIALPAD_IVR_DEADLINE_SECONDS": "120"}
    with start_worker(DIALPAD_IVR_CONCURRENCY="5", DIALPAD_IVR_GRACE_SECONDS="0", **patient, **UNPACED) as worker:
        started = command.json("apply", plan, "--yes", "--detach", "--overwrite")["workflow_id"]
        targets.wait_for_arrivals(known + 5)
        stopping = command.popen("stop", started, "--yes", "--report", tmp_path / "stopped")
        until(lambda: held_back(engine, started) == 15, 30, "the rest to be held back")
        stopping.send_signal(signal.SIGINT)
        _, printed = stopping.communicate(timeout=30)
        worker.process.kill()
    assert stopping.returncode == 130
    assert f"dialpad-ivr status {started} --report" in printed
    report = command.json("status", started, "--report", tmp_path / "stopped", code=1)
    assert report["summary"] == "Ended early: 5 unknown, 15 not sent."
    assert len(json.loads((tmp_path / "stopped.rollback.plan.json").read_text())["rows"]) == 5


def held_back(engine: EngineRest, workflow_id: str) -> int:
    chunks = [task for task in engine.workflow(workflow_id)["tasks"] if task["taskType"] == "SUB_WORKFLOW"]
    tasks = [task for chunk in chunks for task in engine.workflow(chunk["subWorkflowId"])["tasks"]]
    return sum(task.get("workerId") == STOP_WORKER for task in tasks)


def test_notes_of_others_are_no_hindrance(
    command: Command, engine: EngineRest, targets: DoubleControl, worker: WorkerProcess, tmp_path: Path
) -> None:
    notes: list[Any] = ["a text", {"line": "x"}, {"line": 3, "previous": [7]}, None]
    rows = [change(number, note=note) for number, note in enumerate(notes)]
    started = engine.start(WORKFLOW, {"changes": rows, "plan": "mine"})
    report = command.json("status", started, "--report", tmp_path / "r")
    assert report["counts"] == {"updated": 4}
    assert "was not planned" in command("rollback", started, "--out", tmp_path / "undo.plan.json")


@pytest.mark.long
@pytest.mark.timeout(480)
def test_interrupted_half_way_it_finishes_with_every_row_right_and_a_true_report(tmp_path: Path) -> None:
    report, right, sums, recovered = interrupted_run(150, tmp_path)
    assert all(right)
    assert report["outcome"] == "success"
    assert recovered < 20
    # What the killed worker had changed, and could not report, was found selected when it was delivered again, and
    # counts as made by this run, or its undo would lack it.
    assert report["counts"] == {"updated": 150}
    assert sums["applied"] - 150 <= 40, "no more are sent twice than were in flight"
    undo = json.loads((tmp_path / "after.rollback.plan.json").read_text())
    assert len(undo["rows"]) == 150
