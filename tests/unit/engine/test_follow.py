"""Following a workflow: until it ends, through an outage, and no longer than the time-out."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from dialpad_ivr.engine import follow as follow_module
from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.engine.follow import follow, task_tree
from dialpad_ivr.local.engine import free_port
from dialpad_ivr.settings import Settings
from support.clock import FakeTime, Notices
from support.stub import StubEngine

ID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    clock = FakeTime()
    monkeypatch.setattr(follow_module, "time", clock)
    return clock


@pytest.fixture
def notices(clock: FakeTime) -> Notices:
    return Notices(clock)


def state(status: str, *tasks: str) -> dict[str, Any]:
    return {
        "workflowId": ID,
        "status": status,
        "tasks": [
            {"taskId": f"t{i}", "taskType": "SIMPLE", "status": task, "pollCount": 1} for i, task in enumerate(tasks)
        ],
    }


def unpolled(**more: Any) -> dict[str, Any]:
    task = {"taskId": "t", "taskType": "set_custom_ivr", "status": "SCHEDULED", "pollCount": 0, **more}
    return {"workflowId": ID, "status": "RUNNING", "tasks": [task]}


def test_follow_returns_the_ended_workflow(stub_engine: StubEngine, api: EngineApi) -> None:
    stub_engine.runs[ID] = [
        state("RUNNING", "SCHEDULED"),
        state("RUNNING", "IN_PROGRESS"),
        state("COMPLETED", "COMPLETED"),
    ]
    assert follow(api, ID, lambda _: None, 60) == state("COMPLETED", "COMPLETED")


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "TIMED_OUT", "TERMINATED"])
def test_follow_stops_at_every_terminal_status(
    stub_engine: StubEngine, api: EngineApi, clock: FakeTime, status: str
) -> None:
    stub_engine.runs[ID] = [state(status)]
    assert follow(api, ID, lambda _: None, 60)["status"] == status
    assert clock.pauses == []


def test_on_change_is_called_once_for_each_change(stub_engine: StubEngine, api: EngineApi) -> None:
    scheduled, done = state("RUNNING", "SCHEDULED"), state("COMPLETED", "COMPLETED")
    stub_engine.runs[ID] = [scheduled, scheduled, scheduled, done]
    seen: list[dict[str, Any]] = []
    follow(api, ID, seen.append, 60)
    assert seen == [scheduled, done]


def test_pause_grows_while_nothing_changes_and_is_short_again_after_a_change(
    stub_engine: StubEngine, api: EngineApi, clock: FakeTime
) -> None:
    quiet = [state("RUNNING", "SCHEDULED")] * 12
    stub_engine.runs[ID] = [*quiet, state("RUNNING", "IN_PROGRESS"), state("COMPLETED", "COMPLETED")]
    follow(api, ID, lambda _: None, 600)
    assert clock.pauses[:11] == sorted(clock.pauses[:11])
    assert clock.pauses[10:12] == [2.0, 2.0]
    assert clock.pauses[12] == clock.pauses[0] == 0.1


def test_outage_that_passes_is_waited_out(stub_engine: StubEngine, api: EngineApi, clock: FakeTime) -> None:
    stub_engine.outage = [503, 500, 502]
    stub_engine.runs[ID] = [state("COMPLETED")]
    assert follow(api, ID, lambda _: None, 60)["status"] == "COMPLETED"
    assert len(clock.pauses) == 3


@pytest.mark.parametrize("status", [0, 503])
def test_outage_that_lasts_is_reported_and_raises_at_the_timeout(
    stub_engine: StubEngine, api: EngineApi, clock: FakeTime, notices: Notices, status: int
) -> None:
    stub_engine.runs[ID] = [state("RUNNING", "SCHEDULED")]
    api.version()
    stub_engine.outage = [status] * 1000
    with pytest.raises(EngineError) as caught:
        follow(api, ID, lambda _: None, 60, notices)
    assert (caught.value.transient, caught.value.status) == (True, status)
    assert clock.now == pytest.approx(60)
    assert 3 <= notices.times[0] < 6
    gaps = [later - earlier for earlier, later in zip(notices.times, notices.times[1:], strict=False)]
    assert len(gaps) == 5
    assert all(10 <= gap < 13 for gap in gaps)
    for text, time in zip(notices, notices.times, strict=True):
        assert f"{time:.0f} s" in text
        assert not status or str(status) in text


def test_outage_that_passes_is_reported_once_and_its_end_too(
    stub_engine: StubEngine, api: EngineApi, notices: Notices
) -> None:
    stub_engine.runs[ID] = [state("COMPLETED")]
    api.version()
    stub_engine.outage = [0] * 24
    assert follow(api, ID, lambda _: None, 60, notices)["status"] == "COMPLETED"
    assert len(notices) == 2
    assert "again" in notices[-1]


def test_short_outage_is_not_reported(stub_engine: StubEngine, api: EngineApi, notices: Notices) -> None:
    stub_engine.runs[ID] = [state("COMPLETED")]
    stub_engine.outage = [503, 503]
    follow(api, ID, lambda _: None, 60, notices)
    assert notices == []


def test_engine_that_never_answered_raises_at_once(clock: FakeTime) -> None:
    api = EngineApi(Settings(server_url=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(EngineError) as caught:
        follow(api, ID, lambda _: None, 3600)
    assert caught.value.unreachable
    assert clock.pauses == []


def test_task_that_no_worker_polls_for_is_reported_once_after_a_few_seconds(
    stub_engine: StubEngine, api: EngineApi, notices: Notices
) -> None:
    stub_engine.worker = False
    stub_engine.last_polls["set_custom_ivr", None] = 1
    stub_engine.runs[ID] = [unpolled()]
    follow(api, ID, lambda _: None, 60, notices)
    (notice,) = notices
    assert "set_custom_ivr" in notice
    assert "dialpad-ivr worker" in notice
    assert 5 <= notices.times[0] < 9


@pytest.mark.parametrize(
    ("domain", "start"),
    [
        ("emea", "DIALPAD_IVR_DOMAIN=emea dialpad-ivr worker"),
        ("emea.bulk", "DIALPAD_IVR_DOMAIN=emea dialpad-ivr worker"),
        ("bulk.acme", ": dialpad-ivr worker"),
    ],
)
def test_worker_of_another_domain_does_not_count(
    stub_engine: StubEngine, api: EngineApi, notices: Notices, domain: str, start: str
) -> None:
    stub_engine.runs[ID] = [unpolled(domain=domain)]
    follow(api, ID, lambda _: None, 60, notices)
    (notice,) = notices
    assert f"in the domain {domain}," in notice
    assert start in notice


def test_worker_that_polls_for_bulk_work_is_not_reported_missing(
    stub_engine: StubEngine, api: EngineApi, notices: Notices
) -> None:
    stub_engine.runs[ID] = [unpolled(domain="bulk")]
    follow(api, ID, lambda _: None, 60, notices)
    assert notices == []


def test_task_of_a_sub_workflow_that_no_worker_polls_for_is_reported(
    stub_engine: StubEngine, api: EngineApi, notices: Notices
) -> None:
    stub_engine.worker = False
    sub_workflow = {"taskId": "s", "taskType": "SUB_WORKFLOW", "status": "IN_PROGRESS", "subWorkflowId": "CHILD"}
    stub_engine.runs[ID] = [{"workflowId": ID, "status": "RUNNING", "tasks": [sub_workflow]}]
    stub_engine.runs["CHILD"] = [unpolled()]
    follow(api, ID, lambda _: None, 60, notices)
    assert len(notices) == 1


@pytest.mark.parametrize(
    "task", [{}, {"status": "IN_PROGRESS", "pollCount": 1}, {"taskType": "HUMAN", "status": "IN_PROGRESS"}]
)
def test_worker_that_polls_is_not_reported_missing(
    stub_engine: StubEngine, api: EngineApi, notices: Notices, task: dict[str, Any]
) -> None:
    stub_engine.worker = task == {}
    stub_engine.runs[ID] = [unpolled(**task)]
    follow(api, ID, lambda _: None, 60, notices)
    assert notices == []


def test_worker_whose_slots_are_all_in_use_is_not_reported_missing(
    stub_engine: StubEngine, api: EngineApi, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_engine.worker = False
    polls = itertools.count()
    full = {"set_custom_ivr": {None: 1}}
    monkeypatch.setattr(EngineApi, "last_polls", lambda _, name: full.get(name) or {None: 2 + next(polls)})
    stub_engine.runs[ID] = [unpolled()]
    follow(api, ID, lambda _: None, 60, notices)
    assert notices == []


def test_engine_that_does_not_show_polls_reports_nothing(
    stub_engine: StubEngine, api: EngineApi, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise EngineError("no such path", 404)

    monkeypatch.setattr(EngineApi, "last_polls", refuse)
    stub_engine.runs[ID] = [unpolled()]
    assert follow(api, ID, lambda _: None, 60, notices)["status"] == "RUNNING"
    assert notices == []


def test_tasks_of_sub_workflows_follow_their_own_task(stub_engine: StubEngine, api: EngineApi) -> None:
    parent = state("COMPLETED", "COMPLETED", "COMPLETED")
    parent["tasks"][0] |= {"subWorkflowId": "CHILD"}
    stub_engine.runs["CHILD"] = [state("COMPLETED", "FAILED")]
    found = [(depth, task["taskId"], task["status"]) for depth, task in task_tree(api, parent)]
    assert found == [(0, "t0", "COMPLETED"), (1, "t0", "FAILED"), (0, "t1", "COMPLETED")]


def test_timeout_returns_the_workflow_still_running(stub_engine: StubEngine, api: EngineApi, clock: FakeTime) -> None:
    stub_engine.runs[ID] = [state("RUNNING", "SCHEDULED")]
    assert follow(api, ID, lambda _: None, 5)["status"] == "RUNNING"
    assert clock.now == pytest.approx(5)


def test_missing_workflow_raises_at_once(api: EngineApi, clock: FakeTime) -> None:
    with pytest.raises(EngineError) as caught:
        follow(api, ID, lambda _: None, 60)
    assert caught.value.status == 404
    assert not caught.value.transient
    assert clock.pauses == []
