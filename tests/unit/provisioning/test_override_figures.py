"""How many overrides there are, and what they have changed and left, as the metrics show it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.local.engine import free_port
from dialpad_ivr.provisioning.override_figures import OverrideWatch
from dialpad_ivr.provisioning.overrides import RESTORE, WORKFLOW
from dialpad_ivr.provisioning.times import milliseconds
from dialpad_ivr.settings import Settings
from support.runs import CHANGE, run_states
from support.runs import ID as RUN
from support.stub import StubEngine


def now() -> datetime:
    return datetime.now(timezone.utc)


def an_override(number: int, status: str = "RUNNING", ended: float = 1, **more: Any) -> dict[str, Any]:
    found = {"workflowId": f"id-{number}", "workflowName": WORKFLOW, "status": status, "tasks": [], "input": {}, **more}
    return found if status == "RUNNING" else {**found, "endTime": milliseconds(now() - timedelta(hours=ended))}


def at(phase: str, minutes: float | None = None, **more: Any) -> dict[str, Any]:
    """The variables of an override in a phase, which ends in so many minutes."""
    until = None if minutes is None else milliseconds(now() + timedelta(minutes=minutes))
    return {"phase": phase, "until_ms": until, "rows": 10, **more}


@pytest.fixture
def engine(stub_engine: StubEngine) -> StubEngine:
    stub_engine.definitions = {(WORKFLOW, "1"): {}}
    return stub_engine


def given(engine: StubEngine, *overrides: dict[str, Any]) -> None:
    engine.runs = {"search": [{}], **{each["workflowId"]: [each] for each in overrides}}


@pytest.fixture
def watch(engine: StubEngine, api: EngineApi) -> OverrideWatch:
    return OverrideWatch(api)


def test_running_ones_are_counted_by_state_with_the_slots_that_they_have_changed(
    engine: StubEngine, watch: OverrideWatch
) -> None:
    given(
        engine,
        an_override(0, variables={}),  # it has just been started
        an_override(1, variables=at("planned", 60)),
        an_override(2, variables=at("applying", 60)),
        an_override(3, variables=at("active", overridden_rows=7)),
        an_override(4, variables=at("restoring", -0.1, overridden_rows=9)),  # a minute and 2 s are granted
        an_override(5, variables=at("active", -2, overridden_rows=5)),
        an_override(6, variables=at("planned", -2)),
    )
    figures = watch.read()
    assert figures.overrides == {"planned": 2, "active": 3, "overdue": 2}
    assert figures.rows == {"overridden": 10 + 7 + 9 + 5, "left": 0}


def test_what_was_not_restored_is_counted_for_a_day_and_read_once(engine: StubEngine, watch: OverrideWatch) -> None:
    given(
        engine,
        an_override(0, "COMPLETED", output={"outcome": "success", "left_rows": 0}),
        an_override(1, "FAILED", output={"outcome": "not_restored", "left_rows": 3}),
        an_override(2, "FAILED", 25, output={"outcome": "not_restored", "left_rows": 5}),
        an_override(3, "FAILED", output={"outcome": "invalid_input", "left_rows": 0}),
        an_override(4, "TERMINATED", variables=at("planned"), output={"phase": "planned"}),
    )
    for _ in range(2):
        assert watch.read().rows == {"overridden": 0, "left": 3}
    paths = [request.path for request in engine.stub.received]
    assert paths.count("/api/workflow/id-1/status") == 1
    assert "/api/workflow/id-2/status" not in paths


def test_what_was_not_restored_is_counted_until_a_person_has_restored_it(
    engine: StubEngine, watch: OverrideWatch
) -> None:
    made = [{"referenceTaskName": "apply", "status": "COMPLETED", "subWorkflowId": RUN}]
    output, inputs = {"outcome": "not_restored", "left_rows": 1}, {"changes": [CHANGE]}
    left = an_override(0, "FAILED", output=output, tasks=made, input=inputs)
    given(engine, left)
    assert watch.read().rows["left"] == 1
    restore = [{"referenceTaskName": "restore", "status": "COMPLETED", "subWorkflowId": RUN}]
    engine.runs["r1"] = [{"workflowId": "r1", "workflowName": RESTORE, "correlationId": "id-0", "tasks": restore}]
    engine.runs |= run_states("COMPLETED")
    assert watch.read().rows["left"] == 0


def test_what_was_broken_off_is_counted_until_it_is_restored(engine: StubEngine, watch: OverrideWatch) -> None:
    tasks = []
    for half, left in (("apply", 1), ("restore", 0)):
        tasks.append({"referenceTaskName": half, "status": "COMPLETED", "subWorkflowId": RUN})
        broken = an_override(0, "TERMINATED", variables=at("active"), output={"phase": "active"}, tasks=tasks)
        broken["input"] = {"changes": [CHANGE]}
        given(engine, broken)
        engine.runs |= run_states("COMPLETED")
        assert watch.read().rows["left"] == left


def test_one_that_was_removed_is_not_counted_though_the_index_lists_it(
    engine: StubEngine, watch: OverrideWatch
) -> None:
    given(engine, an_override(0, variables=at("active")), an_override(1, "FAILED", output={"outcome": "failed"}))
    engine.removed = {"id-0", "id-1"}
    assert watch.read().overrides["active"] == 0


def test_without_an_engine_they_are_not_known() -> None:
    nowhere = Settings(server_url=f"http://127.0.0.1:{free_port()}/api")
    with pytest.raises(EngineError):
        OverrideWatch(EngineApi(nowhere)).read()
