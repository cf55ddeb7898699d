"""The page of an execution."""

from __future__ import annotations

import html
from typing import Any

import httpx
import pytest

from dialpad_ivr.contract.values import TASK_TYPE
from support.console import text_of
from support.stub import StubEngine


def workflow(*tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    base = {"workflowName": "switch_music", "status": "RUNNING", "startTime": 1, "input": {}, "output": {}}
    return {**base, "tasks": list(tasks), **more}


def task(name: str, **more: Any) -> dict[str, Any]:
    return {"referenceTaskName": name, "taskType": TASK_TYPE, "status": "COMPLETED", **more}


async def test_execution_shows_its_steps_with_input_and_output(
    on_engine: httpx.AsyncClient, stub_engine: StubEngine
) -> None:
    steps = [
        task("set_ivr", inputData={"target_id": "77"}, outputData={"outcome": "updated"}),
        task("chunk", taskType="SUB_WORKFLOW", status="FAILED", subWorkflowId="w2", reasonForIncompletion="it broke"),
    ]
    stub_engine.runs["w1"] = [workflow(*steps, input={"office": "Berlin"}, output={"now": "Summer"})]
    page = html.unescape((await on_engine.get("/executions/w1")).text)
    for text in ("switch_music", "set_ivr", '"target_id": "77"', '"updated"', '"Berlin"', '"Summer"', "it broke"):
        assert text in page, text
    assert 'href="/executions/w2"' in page


async def test_execution_shows_nothing_of_a_credential(on_engine: httpx.AsyncClient, stub_engine: StubEngine) -> None:
    key = "sk-LIVE-0123456789abcdef"
    secrets = {
        "headers": {"Authorization": key, "note": f"Bearer {key}"},
        "list": [{"api_key": key}, {"apiKey": key, "password": [key]}],
        "credential": key,
        "token": {"nested": key},
    }
    stub_engine.runs["w1"] = [
        workflow(
            task("call", inputData=secrets, outputData=secrets, runtimeMetadata={"X": key}, workflowTask={"x": key}),
            task("failed", reasonForIncompletion=f"401 with Bearer {key}"),
            input=secrets,
            output=secrets,
            workflowDefinition={"x": key},
        )
    ]
    page = (await on_engine.get("/executions/w1")).text
    assert key not in page
    assert page.count("(not shown)") > 20


@pytest.mark.long
async def test_large_execution_is_cut(on_engine: httpx.AsyncClient, stub_engine: StubEngine) -> None:
    big = {"text": "x" * 100_000}
    steps = [task(f"step_{number}", outputData=big) for number in range(150)]
    stub_engine.runs["w1"] = [workflow(*steps, output=big)]
    page = (await on_engine.get("/executions/w1")).text
    assert len(page) < 600_000
    assert "step_99" in page
    assert "step_100" not in page
    assert "50 more steps" in text_of(page)
    assert "cut: 1000" in page


async def test_unknown_execution_is_not_found(on_engine: httpx.AsyncClient) -> None:
    assert (await on_engine.get("/executions/nope")).status_code == 404
