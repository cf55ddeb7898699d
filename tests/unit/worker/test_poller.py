"""The SDK's runner, as ours changes it; the rest is tested on the real engine in `tests/faults`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import anyio
from conductor.client.configuration.configuration import Configuration
from conductor.client.context.task_context import get_task_context
from conductor.client.http.async_api_client import AsyncApiClient
from conductor.client.http.models import Task, TaskResult
from conductor.client.worker.worker import Worker

from dialpad_ivr.telemetry.metrics import Metrics
from dialpad_ivr.worker.poller import Runner


async def test_a_clock_that_was_set_back_does_not_stop_the_polls() -> None:
    polled = asyncio.Event()

    class Client:
        async def batch_poll(self, **_: Any) -> list[Any]:
            polled.set()
            return []

    async def execute() -> dict[str, Any]:
        return {}

    engine = Configuration(server_api_url="http://127.0.0.1:9/api")
    runner = Runner(Worker("t", execute, thread_count=1, poll_interval=100), engine, Metrics())
    runner.async_api_client, runner.async_task_client = AsyncApiClient(engine), Client()
    # As after a poll an hour ahead of now.
    runner._consecutive_empty_polls, runner._last_poll_time = 3, time.time() + 3600
    for _ in range(2):  # the first waits for the poll interval
        await asyncio.wait_for(runner.run_once(), 5)
    assert polled.is_set()


class Engine:
    """Takes results, and hands out no more tasks."""

    def __init__(self) -> None:
        self.reports: list[TaskResult] = []

    async def update_task_v2(self, body: TaskResult, **_: Any) -> None:
        self.reports.append(body)


def task(**given: Any) -> Task:
    fields = {"task_id": "1", "workflow_instance_id": "w", "input_data": {}, "scheduled_time": 7}
    return Task(**{**fields, **given})


class Handed:
    """A runner that is handed tasks; each runs until it is `let` go on."""

    def __init__(self, status: str = "COMPLETED") -> None:
        self.runs: list[str] = []
        self.let = asyncio.Event()
        self.engine = Engine()

        async def execute() -> TaskResult:
            now: Task = get_task_context().task
            self.runs.append(now.task_id)
            await self.let.wait()
            return TaskResult(task_id=now.task_id, workflow_instance_id="w", status=status)

        configuration = Configuration(server_api_url="http://127.0.0.1:9/api")
        self.runner = Runner(Worker("t", execute, thread_count=2), configuration, Metrics())
        self.runner.async_task_client, self.runner._semaphore = self.engine, asyncio.Semaphore(2)

    async def __call__(self, *tasks: Task) -> None:
        async with anyio.create_task_group() as group:
            for one in tasks:
                group.start_soon(self.runner._AsyncTaskRunner__async_execute_and_update_task, one)
            for _ in range(9):  # turns of the event loop, in which all of them begin
                await asyncio.sleep(0)
            self.let.set()


async def test_a_task_that_is_handed_out_twice_runs_once_and_is_reported_twice() -> None:
    handed = Handed()
    await handed(task(), task())
    assert handed.runs == ["1"]
    assert [report.status for report in handed.engine.reports] == ["COMPLETED", "COMPLETED"]
    await handed(task())  # and once more, after it was reported
    assert handed.runs == ["1"]
    assert len(handed.engine.reports) == 3


async def test_a_task_that_is_scheduled_anew_runs_anew_and_so_does_another_one() -> None:
    handed = Handed()
    await handed(task(), task(scheduled_time=8))
    await handed(task(task_id="2"))
    assert handed.runs == ["1", "1", "2"]


async def test_a_task_that_waits_runs_again_when_it_comes_back() -> None:
    handed = Handed("IN_PROGRESS")
    await handed(task())
    await handed(task())
    assert handed.runs == ["1", "1"]


async def test_few_runs_are_remembered() -> None:
    handed = Handed()
    for number in range(40):
        await handed(task(task_id=str(number)))
    assert len(handed.runner._runs) == 4
    assert len(handed.runs) == 40
