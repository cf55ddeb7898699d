"""Stopping a run: what is taken from the queue, what is awaited, and that it is terminated whatever happens."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.provisioning import workflow
from dialpad_ivr.provisioning.plan import PlannedChange, make_plan
from dialpad_ivr.provisioning.run import STOP_WORKER
from dialpad_ivr.settings import Settings
from support.runs import CHUNK, ID, SLOT, change_task, run_states
from support.stub import StubEngine

AT_WORK = {"status": "IN_PROGRESS", "pollCount": 1}
MADE = {"status": "COMPLETED", "pollCount": 1, "outputData": {"outcome": "updated"}}
WAITING = {"status": "SCHEDULED"}
HELD_BACK = {**AT_WORK, "workerId": STOP_WORKER}


@pytest.fixture
def engine(stub_engine: StubEngine) -> EngineApi:
    return EngineApi(Settings(server_url=f"{stub_engine.stub.url}/api"))


def chunk_states(*states: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """A run whose chunk has these tasks, one read after the other."""
    runs = run_states("RUNNING")
    (parent,), (chunk,) = runs[ID], runs[CHUNK]
    parent["tasks"][0]["status"] = "IN_PROGRESS"
    runs[CHUNK] = [{**chunk, "tasks": [change_task(n, **task) for n, task in enumerate(tasks)]} for tasks in states]
    return runs


def methods(stub_engine: StubEngine) -> list[str]:
    return [request.method for request in stub_engine.writes]


def polls(stub_engine: StubEngine) -> list[dict[str, str]]:
    return [request.query for request in stub_engine.stub.received if "/poll/" in request.path]


def test_stop_takes_what_waits_from_the_queue_and_awaits_what_workers_have(
    engine: EngineApi, stub_engine: StubEngine
) -> None:
    stub_engine.runs = chunk_states([AT_WORK, WAITING], [AT_WORK, HELD_BACK], [MADE, HELD_BACK])
    stub_engine.polled = [[change_task(1)]]
    reports: list[str] = []
    workflow.stop(engine, ID, by="ann@desk", report=reports.append)
    assert reports == ["Held back 1; waiting for the results of 1 ..."] * 2
    assert methods(stub_engine) == ["PUT", "DELETE"]  # pause, terminate
    assert "ann@desk" in stub_engine.writes[-1].query["reason"]
    assert {query["workerid"] for query in polls(stub_engine)} == {STOP_WORKER}
    assert len(stub_engine.runs[CHUNK]) == 1  # it was read until nothing was at work


def test_stop_takes_a_task_whose_retry_or_deferral_is_due_later(engine: EngineApi, stub_engine: StubEngine) -> None:
    stub_engine.runs = chunk_states([WAITING], [WAITING], [HELD_BACK])
    stub_engine.polled = [[], [change_task(0)]]
    workflow.stop(engine, ID, by="ann")
    assert len(polls(stub_engine)) == 3


def test_stop_polls_in_the_domain_of_the_run(engine: EngineApi, stub_engine: StubEngine) -> None:
    stub_engine.runs = chunk_states([{**WAITING, "domain": "night"}], [HELD_BACK])
    workflow.stop(engine, ID, by="ann")
    assert {query["domain"] for query in polls(stub_engine)} == {"night"}


def test_stop_takes_what_waits_in_each_domain_before_it_awaits_anything(
    engine: EngineApi, stub_engine: StubEngine
) -> None:
    stub_engine.runs = chunk_states(
        [{**AT_WORK, "domain": "bulk"}, {**WAITING, "domain": "bulk.acme"}], [{**MADE, "domain": "bulk"}, HELD_BACK]
    )
    stub_engine.polled = [[], [change_task(1)]]
    workflow.stop(engine, ID, by="ann")
    assert {query["domain"] for query in polls(stub_engine)} == {"bulk", "bulk.acme"}


def test_a_run_has_the_changes_of_each_profile_in_one_piece(engine: EngineApi, stub_engine: StubEngine) -> None:
    rows = [
        PlannedChange.model_validate({**SLOT, "ivr_id": "1", "line": line, "credential": name, "action": "change"})
        for line, name in enumerate(["emea", "default", "emea", "default"], start=2)
    ]
    stub_engine.runs = run_states("RUNNING")
    workflow.start(engine, make_plan(rows, "https://dialpad.com", "x.csv"), overwrite=False, domain="night")
    inputs = stub_engine.writes[-1].body["input"]
    assert [row["note"]["line"] for row in inputs["changes"]] == [3, 5, 2, 4]
    assert inputs["domain"] == "night"


@pytest.mark.parametrize(
    ("task", "output"),
    [
        ({"pollCount": 1}, {"attempts": 0}),  # what a first delivery must be told from
        ({"pollCount": 2}, {}),  # a worker was killed with it
        ({"pollCount": 1, "retryCount": 1}, {}),
        ({"pollCount": 3, "outputData": {"attempts": 2, "waited_ms": 9}}, {"attempts": 2, "waited_ms": 9}),
    ],
)
def test_stop_returns_the_tasks_of_other_workflows(
    engine: EngineApi, stub_engine: StubEngine, task: dict[str, Any], output: dict[str, Any]
) -> None:
    stub_engine.runs = chunk_states([WAITING], [HELD_BACK])
    stub_engine.polled = [[change_task(7, workflowInstanceId="another", **task), change_task(0)]]
    workflow.stop(engine, ID, by="ann")
    (returned,) = stub_engine.completed_tasks
    assert (returned["workflowInstanceId"], returned["taskId"]) == ("another", "task-7")
    assert (returned["status"], returned["callbackAfterSeconds"], returned["outputData"]) == ("IN_PROGRESS", 0, output)


@pytest.mark.long
def test_stop_takes_no_more_than_some_hundred_tasks_of_other_workflows(
    engine: EngineApi, stub_engine: StubEngine
) -> None:
    stub_engine.runs = chunk_states([WAITING], [HELD_BACK])
    batch = [change_task(number, workflowInstanceId="another") for number in range(50)]
    stub_engine.polled = [batch] * 11
    workflow.stop(engine, ID, by="ann")
    assert len(stub_engine.completed_tasks) == 500


@pytest.mark.parametrize("error", [KeyboardInterrupt, EngineError("refused", 403)])
def test_stop_terminates_even_if_it_cannot_hold_back(
    engine: EngineApi, stub_engine: StubEngine, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    def fail(*_: object) -> None:
        raise error

    stub_engine.runs = chunk_states([WAITING])
    monkeypatch.setattr(EngineApi, "pause", fail)
    if isinstance(error, EngineError):
        workflow.stop(engine, ID, by="ann")
    else:
        with pytest.raises(error):
            workflow.stop(engine, ID, by="ann")
    assert methods(stub_engine) == ["DELETE"]


@pytest.mark.parametrize(("name", "status"), [("set_custom_ivr", "RUNNING"), (workflow.WORKFLOW, "COMPLETED")])
def test_stop_of_what_is_no_running_run_is_refused(
    engine: EngineApi, stub_engine: StubEngine, name: str, status: str
) -> None:
    stub_engine.runs = run_states(status, workflowName=name)
    with pytest.raises(EngineError) as caught:
        workflow.stop(engine, ID, by="ann")
    assert caught.value.status == 409
    assert stub_engine.writes == []


def test_earlier_runs_of_the_same_plan_are_found_the_latest_first(engine: EngineApi, stub_engine: StubEngine) -> None:
    def state(workflow_id: str, started: int, plan_hash: str = "h") -> list[dict[str, Any]]:
        (parent,) = run_states("COMPLETED", startTime=started, correlationId=plan_hash)[ID]
        return [{**parent, "workflowId": workflow_id, "input": {**parent["input"], "plan": {"hash": plan_hash}}}]

    stub_engine.runs = {**run_states("COMPLETED"), "a": state("a", 1), "b": state("b", 2), "c": state("c", 4)}
    stub_engine.runs |= {ID: state(ID, 3), "other": state("other", 1, "another plan")}
    run = workflow.ProvisioningRun(engine, ID)
    run.refresh()
    assert workflow.earlier_runs(engine, run) == ["b", "a"]
