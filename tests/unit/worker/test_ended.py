"""Whether the workflow of a polled task has ended, as the engine says."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.responses import Response
from structlog.testing import capture_logs

from dialpad_ivr.settings import Settings
from dialpad_ivr.worker import ended
from dialpad_ivr.worker.ended import EndedWorkflows
from dialpad_ivr.worker.engine_client import open_engine_client
from support.fake_engine import FakeEngine, running_fake_engine


@asynccontextmanager
async def asking() -> AsyncIterator[tuple[FakeEngine, EndedWorkflows]]:
    async with running_fake_engine() as engine, open_engine_client(Settings(server_url=engine.url)) as client:
        yield engine, EndedWorkflows(client)


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "TIMED_OUT", "TERMINATED"])
async def test_one_that_has_ended_is_evaluated_so_that_what_is_left_of_it_is_canceled(status: str) -> None:
    async with asking() as (engine, workflows):
        engine.statuses["w"] = status
        assert await workflows.includes("w")
        assert engine.called("evaluate") == ["w"]


@pytest.mark.parametrize("status", ["RUNNING", "PAUSED"])
async def test_one_that_has_not_is_left_alone(status: str) -> None:
    async with asking() as (engine, workflows):
        engine.statuses["w"] = status
        assert not await workflows.includes("w")
        assert engine.called("evaluate") == []


async def test_one_whose_status_cannot_be_read_is_taken_for_running() -> None:
    async with asking() as (engine, workflows):
        engine.failures["status"] = deque([Response("secret", status_code=503), Response("no JSON")])
        with capture_logs() as logs:
            assert not await workflows.includes("refused")
            assert not await workflows.includes("unreadable")
        assert [(entry["event"], entry["cause"]) for entry in logs] == [
            ("workflow_status_unreadable", "HTTP 503"),
            ("workflow_status_unreadable", "no status"),
        ]


async def test_the_engine_is_asked_once_for_many_tasks_of_a_workflow() -> None:
    async with asking() as (engine, workflows):
        engine.statuses = {"ended": "TERMINATED", "running": "RUNNING"}
        names = ["ended", "running"] * 4
        assert await asyncio.gather(*map(workflows.includes, names)) == [True, False] * 4
        assert sorted(engine.called("status")) == ["ended", "running"]
        assert engine.called("evaluate") == ["ended"]


async def test_it_is_asked_again_when_its_response_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended, "_VALID_SECONDS", 60)
    async with asking() as (engine, workflows):
        engine.statuses["w"] = "RUNNING"
        assert not await workflows.includes("w")
        engine.statuses["w"] = "TERMINATED"
        assert not await workflows.includes("w")
        monkeypatch.setattr(ended, "_VALID_SECONDS", 0)
        assert await workflows.includes("w")
