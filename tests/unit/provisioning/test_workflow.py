"""Stopping a run: what is held back, what is awaited, and that it is terminated whatever happens."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.provisioning import workflow
from dialpad_ivr.settings import Settings
from support.runs import CHUNK, ID, change_task, run_states
from support.stub import StubEngine

AT_WORK = {"status": "IN_PROGRESS", "pollCount": 1}
MADE = {"status": "COMPLETED", "pollCount": 1, "outputData": {"outcome": "updated"}}
WAITING = {"status": "SCHEDULED"}
HELD_BACK = {"status": "SCHEDULED", "outputData": {"held_back": 0}}


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


def test_stop_holds_back_what_waits_and_awaits_what_workers_have(engine: EngineApi, stub_engine: StubEngine) -> None:
    stub_engine.runs = chunk_states([AT_WORK, WAITING], [AT_WORK, HELD_BACK], [MADE, HELD_BACK])
    workflow.stop(engine, ID, by="ann@desk")
    assert methods(stub_engine) == ["PUT", "POST", "DELETE"]  # pause, hold back, terminate
    (held,) = stub_engine.completed_tasks
    assert (held["taskId"], held["status"], held["outputData"]) == ("task-1", "IN_PROGRESS", {"held_back": 0})
    assert held["callbackAfterSeconds"] > 86_400
    assert "ann@desk" in stub_engine.writes[-1].query["reason"]
    assert [len(states) for states in (stub_engine.runs[CHUNK],)] == [1]  # it was read until nothing was at work


def test_stop_keeps_what_a_task_that_waits_has_spent(engine: EngineApi, stub_engine: StubEngine) -> None:
    waited = {"status": "SCHEDULED", "pollCount": 2, "outputData": {"attempts": 1}}
    stub_engine.runs = chunk_states([waited], [{**waited, "outputData": {"attempts": 1, "held_back": 2}}])
    workflow.stop(engine, ID, by="ann")
    assert [held["outputData"] for held in stub_engine.completed_tasks] == [{"attempts": 1, "held_back": 2}]


def test_stop_awaits_a_task_that_was_polled_as_it_was_held_back(engine: EngineApi, stub_engine: StubEngine) -> None:
    polled = {"status": "SCHEDULED", "pollCount": 1, "outputData": {"held_back": 0}}
    stub_engine.runs = chunk_states([WAITING], [polled], [MADE])
    workflow.stop(engine, ID, by="ann")
    assert len(stub_engine.completed_tasks) == 1
    assert len(stub_engine.runs[CHUNK]) == 1


def test_a_large_run_is_terminated_at_once(engine: EngineApi, stub_engine: StubEngine) -> None:
    stub_engine.runs = chunk_states([WAITING])
    stub_engine.runs[ID][0]["tasks"] *= 11
    workflow.stop(engine, ID, by="ann")
    assert methods(stub_engine) == ["PUT", "DELETE"]


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
