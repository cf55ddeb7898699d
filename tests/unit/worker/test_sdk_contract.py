"""What the worker relies on in the SDK beyond its documentation: a new version that changes it fails here."""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
from typing import Any

from conductor.client.automator.async_task_runner import AsyncTaskRunner
from conductor.client.configuration.configuration import Configuration
from conductor.client.http.async_rest import AsyncRESTClientObject
from conductor.client.http.models import Task, TaskResult
from conductor.client.http.models.task_def import TaskDef
from conductor.client.worker.worker import Worker


def runner(execute: Any, concurrency: int = 2) -> AsyncTaskRunner:
    worker = Worker("t", execute, thread_count=concurrency, poll_interval=100)
    return AsyncTaskRunner(worker, Configuration(server_api_url="http://127.0.0.1:9/api"))


async def nothing() -> dict[str, Any]:
    return {}


def test_the_version_is_the_one_that_this_was_read_in() -> None:
    assert importlib.metadata.version("conductor-python") == "2.0.0"


def test_the_runner_has_the_parts_that_ours_overrides_and_reads() -> None:
    one = runner(nothing, 7)
    assert one._running_tasks == set()
    assert one._max_workers == 7
    assert one._use_update_v2 is True
    assert one._last_poll_time == 0
    assert one._shutdown is False
    assert inspect.iscoroutinefunction(one.run_once)
    assert inspect.iscoroutinefunction(one.stop)
    assert inspect.iscoroutinefunction(one._AsyncTaskRunner__async_update_task)
    assert inspect.iscoroutinefunction(one._AsyncTaskRunner__async_batch_poll)
    assert inspect.iscoroutinefunction(one._AsyncTaskRunner__async_execute_task)


async def test_a_connection_pool_that_the_client_is_given_it_leaves_alone() -> None:
    async with AsyncRESTClientObject().connection as pool:
        client = AsyncRESTClientObject(pool)
        await client._reset_connection()
        await client.close()
        assert client.connection is pool
        assert not pool.is_closed


def test_a_closure_is_not_copied() -> None:
    async def execute() -> dict[str, Any]:
        return {}

    assert runner(execute).worker.execute_function is execute


def test_the_poll_interval_is_in_milliseconds() -> None:
    assert runner(nothing).worker.get_polling_interval_in_seconds() == 0.1


async def test_a_paused_worker_polls_nothing_and_the_first_update_version_brings_no_task_along() -> None:
    one = runner(nothing)
    one.worker.paused = True
    calls: list[str] = []

    class Client:
        async def update_task(self, body: TaskResult) -> str:
            calls.append("v1")
            return "ok"

        async def batch_poll(self, **_: Any) -> list[Task]:
            calls.append("poll")
            return []

    one.async_task_client = Client()
    one._semaphore = asyncio.Semaphore(1)
    one._use_update_v2 = False
    task = Task(task_id="1", workflow_instance_id="w", input_data={})
    await one._AsyncTaskRunner__async_execute_and_update_task(task)
    assert calls == ["v1"]


def test_a_polled_task_has_the_fields_that_a_call_is_made_of() -> None:
    one = Task(runtime_metadata={"a": "b"}, retried_task_id="r", task_definition=TaskDef(name="t", retry_count=3))
    assert (one.runtime_metadata, one.retried_task_id, one.task_definition.retry_count) == ({"a": "b"}, "r", 3)
    assert (one.retry_count, one.output_data, one.input_data) == (None, None, None)
