"""The state of test requests on the engine."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.console.test_requests import RequestState, fetch_state
from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.engine.api import EngineApi
from support.stub import StubEngine


async def state(api: EngineApi, engine: StubEngine, workflow_status: str, **task: Any) -> RequestState:
    this = {"taskDefName": TASK_TYPE, "status": "IN_PROGRESS", "outputData": {}, **task}
    tasks = [{"taskDefName": "prepare", "status": "COMPLETED"}, this]
    engine.runs["w"] = [{"workflowId": "w", "status": workflow_status, "tasks": tasks if task else tasks[:1]}]
    return await fetch_state(api, "w")


@pytest.mark.parametrize("task", [{}, {"status": "SCHEDULED"}])
async def test_task_without_a_worker_is_scheduled(
    api: EngineApi, stub_engine: StubEngine, task: dict[str, Any]
) -> None:
    test_request = await state(api, stub_engine, "RUNNING", **task)
    assert test_request.in_progress
    assert (test_request.task_status, test_request.workflow_id) == ("SCHEDULED", "w")


async def test_deferred_task_shows_its_error(api: EngineApi, stub_engine: StubEngine) -> None:
    error = {"code": "paced", "message": "Waiting for a permit."}
    test_request = await state(api, stub_engine, "RUNNING", outputData={"outcome": None, "ok": False, "error": error})
    assert test_request.in_progress
    assert test_request.output is not None
    assert test_request.output.error is not None
    assert test_request.output.error.message == "Waiting for a permit."


async def test_ended_task_without_output_shows_the_reason(api: EngineApi, stub_engine: StubEngine) -> None:
    ended = await state(api, stub_engine, "FAILED", status="TIMED_OUT", reasonForIncompletion="responseTimeout: 150 s")
    assert (ended.in_progress, ended.output, ended.problem) == (False, None, "responseTimeout: 150 s")
    other = await state(
        api, stub_engine, "COMPLETED", outputData={"outcome": "of another version"}, reasonForIncompletion="odd"
    )
    assert (other.in_progress, other.output, other.problem) == (False, None, "odd")
    assert "no task of this plugin" in str((await state(api, stub_engine, "COMPLETED")).problem)


BODIES = {
    "the list": {"items": [{"ivr_type": "HOLD_MUSIC", "ivrs": [{"id": 7, "name": "Summer"}]}]},
    "one slot": {"ivr_type": "HOLD_MUSIC", "ivrs": [{"id": "7", "name": "Summer", "selected": True}]},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_ivr_that_a_request_sets_is_named_from_its_response(
    api: EngineApi, stub_engine: StubEngine, body: dict[str, Any]
) -> None:
    output = {
        "outcome": "planned",
        "ok": True,
        "request": {"method": "PATCH", "url": "http://127.0.0.1", "body": {"ivr_id": 7}},
        "response": {"status_code": 200, "elapsed_ms": 1, "body": body},
    }
    wanted = (await state(api, stub_engine, "COMPLETED", status="COMPLETED", outputData=output)).wanted
    assert wanted is not None
    assert (wanted.id, wanted.name) == ("7", "Summer")
