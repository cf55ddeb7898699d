"""Following a workflow: until it ends, through an outage, and no longer than the time-out."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.engine import follow as follow_module
from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.engine.follow import follow
from support.stub import StubEngine

ID = "11111111-2222-3333-4444-555555555555"


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    clock = FakeTime()
    monkeypatch.setattr(follow_module, "time", clock)
    return clock


def state(status: str, *tasks: str) -> dict[str, Any]:
    return {
        "workflowId": ID,
        "status": status,
        "tasks": [{"taskId": f"t{i}", "status": task, "pollCount": 1} for i, task in enumerate(tasks)],
    }


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


def test_outage_that_lasts_raises_at_the_timeout(stub_engine: StubEngine, api: EngineApi, clock: FakeTime) -> None:
    stub_engine.outage = [503] * 100
    with pytest.raises(EngineError) as caught:
        follow(api, ID, lambda _: None, 5)
    assert caught.value.transient
    assert 5 < clock.now < 8


def test_timeout_returns_the_workflow_still_running(stub_engine: StubEngine, api: EngineApi, clock: FakeTime) -> None:
    stub_engine.runs[ID] = [state("RUNNING", "SCHEDULED")]
    assert follow(api, ID, lambda _: None, 5)["status"] == "RUNNING"
    assert 5 < clock.now < 8


def test_missing_workflow_raises_at_once(api: EngineApi, clock: FakeTime) -> None:
    with pytest.raises(EngineError) as caught:
        follow(api, ID, lambda _: None, 60)
    assert caught.value.status == 404
    assert not caught.value.transient
    assert clock.pauses == []
