"""The SDK's runner, as ours changes it; the rest is tested on the real engine in `tests/faults`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from conductor.client.configuration.configuration import Configuration
from conductor.client.http.async_api_client import AsyncApiClient
from conductor.client.worker.worker import Worker

from dialpad_ivr.metrics import Metrics
from dialpad_ivr.runner import Runner


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
