"""Following a provisioning run: through outages, and without hiding that no worker takes its changes."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.engine import follow as follow_module
from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.local.engine import free_port
from dialpad_ivr.provisioning import workflow as workflow_module
from dialpad_ivr.provisioning.workflow import WORKFLOW, ProvisioningRun, follow_run
from dialpad_ivr.settings import Settings
from support.clock import FakeTime, Notices
from support.runs import change_task
from support.stub import StubEngine

ID, CHUNK = "11111111-2222-3333-4444-555555555555", "CHUNK"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    clock = FakeTime()
    monkeypatch.setattr(follow_module, "time", clock)
    return clock


def parent(status: str) -> dict[str, Any]:
    chunk = {"taskType": "SUB_WORKFLOW", "referenceTaskName": "chunk", "status": "IN_PROGRESS", "subWorkflowId": CHUNK}
    return {"workflowName": WORKFLOW, "status": status, "input": {"changes": [{}]}, "tasks": [chunk]}


def chunk(status: str, task: dict[str, Any] | None = None) -> dict[str, Any]:
    set_ivr = {"taskType": "set_custom_ivr", "status": "SCHEDULED", "inputData": {"__index": 0}, **(task or {})}
    results = [{"row": 0, "outcome": "updated"}] if status == "COMPLETED" else []
    return {
        "workflowId": CHUNK,
        "status": status,
        "input": {"first": 0},
        "tasks": [set_ivr],
        "variables": {"results": results},
    }


def test_change_that_no_worker_polls_for_is_reported_once(
    stub_engine: StubEngine, api: EngineApi, clock: FakeTime
) -> None:
    notices = Notices(clock)
    stub_engine.worker = False
    stub_engine.runs = {ID: [parent("RUNNING")], CHUNK: [chunk("RUNNING")]}
    follow_run(ProvisioningRun(api, ID), lambda _: None, 60, notices)
    (notice,) = notices
    assert "dialpad-ivr worker" in notice
    assert 5 <= notices.times[0] < 9


@pytest.mark.parametrize("task", [{}, {"status": "IN_PROGRESS", "pollCount": 1}])
def test_worker_that_polls_or_has_all_changes_is_not_reported_missing(
    stub_engine: StubEngine, api: EngineApi, clock: FakeTime, task: dict[str, Any]
) -> None:
    notices = Notices(clock)
    stub_engine.worker = task == {}
    stub_engine.runs = {ID: [parent("RUNNING")], CHUNK: [chunk("RUNNING", task)]}
    follow_run(ProvisioningRun(api, ID), lambda _: None, 60, notices)
    assert notices == []


def test_outage_is_reported_and_survived(stub_engine: StubEngine, api: EngineApi, clock: FakeTime) -> None:
    notices = Notices(clock)
    stub_engine.outage = [503] * 10
    stub_engine.runs = {ID: [parent("COMPLETED")], CHUNK: [chunk("COMPLETED")]}
    run = ProvisioningRun(api, ID)
    follow_run(run, lambda _: None, 60, notices)
    assert (run.ended, run.counts) == (True, {"updated": 1})
    assert len(notices) == 3
    assert "503" in notices[0]


def test_engine_that_never_answered_raises_at_once(clock: FakeTime) -> None:
    api = EngineApi(Settings(server_url=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(EngineError) as caught:
        follow_run(ProvisioningRun(api, ID), lambda _: None, 86_400)
    assert caught.value.unreachable
    assert clock.pauses == []


def test_on_change_is_called_after_each_refresh(stub_engine: StubEngine, api: EngineApi) -> None:
    stub_engine.runs = {ID: [parent("RUNNING"), parent("COMPLETED")], CHUNK: [chunk("RUNNING"), chunk("COMPLETED")]}
    seen: list[str] = []
    follow_run(ProvisioningRun(api, ID), lambda run: seen.append(run.status), 60)
    assert seen[0] == "RUNNING"
    assert seen[-1] == "COMPLETED"


def test_run_that_does_not_move_is_evaluated_with_its_chunks(
    stub_engine: StubEngine, api: EngineApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeTime()
    monkeypatch.setattr(follow_module, "time", clock)
    monkeypatch.setattr(workflow_module, "time", clock)
    stub_engine.runs = {ID: [parent("RUNNING")], CHUNK: [chunk("RUNNING")]}
    follow_run(ProvisioningRun(api, ID), lambda _: None, 40)
    evaluated = [write.path for write in stub_engine.writes]
    assert evaluated == [f"/api/workflow/decide/{name}" for name in (CHUNK, ID)] * 2


@pytest.mark.parametrize(
    ("task", "evaluated"),
    [
        ({"status": "IN_PROGRESS", "updateTime": 1_000, "responseTimeoutSeconds": 20}, 1),
        ({"status": "SCHEDULED", "updateTime": 1_000, "responseTimeoutSeconds": 20}, 0),
        ({"status": "IN_PROGRESS", "updateTime": 4e12, "responseTimeoutSeconds": 20}, 0),
        ({"status": "IN_PROGRESS", "updateTime": 1_000, "responseTimeoutSeconds": 20, "callbackAfterSeconds": 2e9}, 0),
    ],
    ids=["overdue", "not taken", "just taken", "waiting"],
)
def test_chunk_with_a_task_whose_worker_is_gone_is_evaluated_at_once(
    stub_engine: StubEngine, api: EngineApi, task: dict[str, Any], evaluated: int
) -> None:
    stub_engine.runs = {ID: [parent("RUNNING")], CHUNK: [chunk("RUNNING") | {"tasks": [change_task(0, **task)]}]}
    ProvisioningRun(api, ID).refresh()
    assert [write.path for write in stub_engine.writes] == [f"/api/workflow/decide/{CHUNK}"] * evaluated


@pytest.mark.parametrize(
    ("others", "returned"),
    [([], ["the-join"]), ([{"taskType": "set_custom_ivr", "status": "SCHEDULED"}], []), ([{"taskType": "JOIN"}], [])],
)
def test_a_join_that_has_nothing_to_wait_for_is_put_back_into_its_queue(
    stub_engine: StubEngine, api: EngineApi, others: list[dict[str, Any]], returned: list[str]
) -> None:
    def task(number: int, **more: Any) -> dict[str, Any]:
        return change_task(number, **{"status": "IN_PROGRESS", "outputData": {"change_0": {}}, **more})

    tasks = [task(0, status="COMPLETED"), *(task(1, **more) for more in others)]
    waiting = task(2, taskType="JOIN", taskId="the-join")
    stub_engine.runs = {ID: [parent("RUNNING")], CHUNK: [chunk("RUNNING") | {"tasks": [*tasks, waiting]}]}
    run = ProvisioningRun(api, ID)
    run.refresh()
    run.evaluate()
    assert [update["taskId"] for update in stub_engine.completed_tasks] == returned
    assert all(update["outputData"] == {"change_0": {}} for update in stub_engine.completed_tasks)
