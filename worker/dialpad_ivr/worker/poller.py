"""The SDK's `AsyncTaskRunner` (conductor-python 2.0.0, pinned) with what it lacks.

It adds back-off when polls fail, no spinning at capacity, a drain, one run of a task that is handed out twice, and
results that are reported until the engine has them; the SDK gives one up after a minute.
`tests/unit/test_sdk_contract.py` checks every private name used here.

A result that cannot be reported holds its slot. Nothing is lost by that: an engine that takes no result hands out no
work either.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx
from conductor.client.automator.async_task_runner import AsyncTaskRunner
from conductor.client.configuration.configuration import Configuration
from conductor.client.http.async_rest import ApiException, AsyncRESTClientObject
from conductor.client.http.models import Task, TaskResult
from conductor.client.worker.worker import Worker

from dialpad_ivr.telemetry.logs import get_logger
from dialpad_ivr.telemetry.metrics import Metrics

_LONGEST_BACKOFF_SECONDS: Final = 30.0
# An engine that works answers both in a fraction of a second; the SDK would wait for two minutes.
_ANSWER_SECONDS: Final = 20.0
_GIVE_UP_SECONDS: Final = 900.0
# Statuses of a refusal that may pass: not signed in, or too busy. Any other 4xx is for good.
_PASSING: Final = (401, 403, 408, 409, 423, 425, 429)
_EARLIER_TRIES: Final = 3
_REMEMBERED_RUNS: Final = 2  # for each slot: the second one comes within milliseconds, and results are not small


class Report(TaskResult):  # type: ignore[misc]  # the SDK is not typed
    """A result, and what to do when the engine fails to take it for the first time."""

    on_trouble: Callable[[], Awaitable[None]] | None = None


class Runner(AsyncTaskRunner):  # type: ignore[misc]  # the SDK is not typed
    """The SDK's runner, with back-off, a drain, and results that are not given up."""

    def __init__(self, worker: Worker, engine: Configuration, metrics: Metrics) -> None:
        ours = (worker.domain, worker.thread_count)
        super().__init__(worker, engine, event_listeners=[self])
        # The SDK lets its own environment variables win: one of them would overwrite the registered definition.
        worker.register_task_def = worker.paused = False
        worker.domain, worker.thread_count = ours
        self._max_workers = worker.thread_count
        self._metrics = metrics
        self._poll_failures = 0
        self._polled = False
        self._runs: dict[tuple[str, int | None], asyncio.Future[TaskResult | None]] = {}
        self._pool: httpx.AsyncClient | None = None
        self._told_to_drain = asyncio.Event()
        self._news = asyncio.Event()

    def drain(self) -> None:
        """Take no more work; `run` returns once what is in flight is finished and reported."""
        self.worker.paused = True
        # The second version of the update brings the next task along; the first does not.
        self._use_update_v2 = False
        self._told_to_drain.set()
        self._tell_news()

    async def told_to_drain(self) -> None:
        """Wait until it is told to drain."""
        await self._told_to_drain.wait()

    @property
    def draining(self) -> bool:
        """Whether it was told to drain."""
        return self._told_to_drain.is_set()

    @property
    def in_flight(self) -> int:
        """Tasks that are running or being reported."""
        return len(self._running_tasks)

    async def earlier(self, task_id: str) -> Task | None:
        """The attempt before this one, as the engine knows it; `None` if it does not tell."""
        for _ in range(_EARLIER_TRIES):
            try:
                task: Task | None = await self.async_api_client.call_api(
                    "/tasks/{taskId}",
                    "GET",
                    {"taskId": task_id},
                    response_type="Task",
                    _return_http_data_only=True,
                    _request_timeout=_ANSWER_SECONDS,
                )
            except ApiException as exc:  # noqa: PERF203  # it may be there a second later
                get_logger().warning("cannot read the earlier attempt", earlier_task_id=task_id, status=exc.status)
                await self._wait_for_news(1)
            else:
                return task
        return None

    @property
    def unready(self) -> str | None:
        """Why no work is taken right now; `None` when it is."""
        if self.draining:
            return "draining"
        if self._poll_failures:
            return "the engine does not answer polls"
        return None if self._polled else "starting"

    async def run(self) -> None:
        """Poll and run tasks until drained or stopped."""
        async with AsyncRESTClientObject().connection as pool:
            pool.timeout = _ANSWER_SECONDS
            self._pool = pool
            await super().run()

    async def run_once(self) -> None:
        """One turn of the SDK's loop: wait for a free slot or for the back-off, then poll."""
        # When one connection breaks the SDK throws its pool away, and with it what other connections are about to
        # bring: a poll's tasks, for one, which then lie until their response timeout. One that it is given it leaves.
        if self.async_api_client.async_rest_client.connection is not self._pool:
            self.async_api_client.async_rest_client = AsyncRESTClientObject(self._pool)
        if self.draining and not self._running_tasks:
            await self.stop()
        elif self.draining or len(self._running_tasks) >= self._max_workers:
            await asyncio.wait(self._running_tasks, return_when=asyncio.FIRST_COMPLETED)
        else:
            if self._poll_failures:
                await self._wait_for_news(min(0.25 * 2**self._poll_failures, _LONGEST_BACKOFF_SECONDS))
            # The SDK waits until so long after its last poll, by the wall clock: one that was set back an hour would
            # make it wait for an hour.
            self._last_poll_time: float = min(self._last_poll_time, time.time())
            await super().run_once()

    def _tell_news(self) -> None:
        """Wake whatever waits: the engine answers again, or there is no time to wait any longer."""
        self._news.set()
        self._news = asyncio.Event()

    async def _wait_for_news(self, longest_seconds: float) -> None:
        try:
            await asyncio.wait_for(self._news.wait(), random.uniform(longest_seconds / 2, longest_seconds))  # noqa: S311
        except asyncio.TimeoutError:
            return

    async def _AsyncTaskRunner__async_batch_poll(self, count: int) -> list[Task]:  # noqa: N802
        """Poll as the SDK does, and note since when we may have had the tasks."""
        asked_at = time.monotonic()
        tasks: list[Task] = await super()._AsyncTaskRunner__async_batch_poll(count)
        for task in tasks:
            task.asked_at = asked_at
        return tasks

    async def _AsyncTaskRunner__async_execute_task(self, task: Task) -> TaskResult | None:  # noqa: N802
        """Run a task as the SDK does, or wait for what comes of it if it runs here already, or has just run.

        A busy engine hands a task out twice now and then. Run a second time, it would find the change made, and say
        that there was nothing to do. The result is reported twice all the same: what the engine notes when it hands a
        task out may overwrite that it was completed meanwhile.
        """
        delivery = task.task_id, task.scheduled_time
        known = self._runs.get(delivery)
        if known is not None:
            get_logger().info("given a task that it has already", task_id=task.task_id)
            return await asyncio.shield(known)
        run = self._runs[delivery] = asyncio.ensure_future(super()._AsyncTaskRunner__async_execute_task(task))
        result = await run
        if result is None or result.status == "IN_PROGRESS":  # it will come again, and shall run again
            del self._runs[delivery]
        if len(self._runs) > _REMEMBERED_RUNS * self._max_workers:
            del self._runs[next(delivery for delivery, run in self._runs.items() if run.done())]
        return result

    async def _AsyncTaskRunner__async_update_task(self, report: TaskResult) -> Task | None:  # noqa: N802
        """Report a result, in the SDK's place; returns the next task if the engine sends one along.

        The engine takes no notice of a result that it has already, or that comes too late: to send it again is safe.
        """
        try:
            return await self._send(report)
        except Exception as exc:  # noqa: BLE001  # whatever it was, the result is still to be reported
            trouble = exc
        with self._metrics.undelivered():
            return await self._send_again(report, trouble)

    async def _send(self, report: TaskResult) -> Task | None:
        client = self.async_task_client
        if self._use_update_v2:
            asked_at = time.monotonic()
            try:
                following: Task | None = await client.update_task_v2(body=report, _request_timeout=_ANSWER_SECONDS)
            except ApiException as exc:
                if exc.status not in (404, 405):
                    raise
            else:
                if following is not None:
                    following.asked_at = asked_at
                return following
        # An engine without the second version says 404, as one does that has no such task: the first tells which.
        await client.update_task(body=report, _request_timeout=_ANSWER_SECONDS)
        self._use_update_v2 = False
        return None

    async def _send_again(self, report: TaskResult, trouble: Exception) -> Task | None:
        """Report a result until the engine has it, refuses it for good, or too long a time has passed."""
        known = {"task_id": report.task_id, "workflow_id": report.workflow_instance_id, "status": report.status}
        if isinstance(report, Report) and report.on_trouble:
            await report.on_trouble()
        started, failures = time.monotonic(), 1
        while _may_pass(trouble) and time.monotonic() - started < _GIVE_UP_SECONDS:
            if failures == 1:
                get_logger().warning("the engine did not take a result; trying again", **known, cause=_cause(trouble))
            await self._wait_for_news(min(0.25 * 2**failures, _LONGEST_BACKOFF_SECONDS))
            self._let_it_ask_for_a_token()
            try:
                following = await self._send(report)
            except Exception as exc:  # noqa: BLE001  # as above
                trouble, failures = exc, failures + 1
            else:
                seconds = round(time.monotonic() - started, 1)
                get_logger().info("the engine took the result", **known, failures=failures, after_seconds=seconds)
                self._tell_news()
                return following
        self._metrics.update_failed()
        get_logger().error("result lost: the engine did not take it", **known, cause=_cause(trouble), failures=failures)
        return None

    def _let_it_ask_for_a_token(self) -> None:
        # After five failed attempts the SDK would never ask for one again.
        failed = self.async_api_client._token_refresh_failures
        self.async_api_client._token_refresh_failures = min(failed, 4)

    def on_poll_completed(self, _: Any) -> None:
        """The SDK's event: the engine answered."""
        if self._poll_failures:
            get_logger().info("engine answers again", failures=self._poll_failures)
            self._tell_news()
        self._poll_failures, self._polled = 0, True

    def on_poll_failure(self, event: Any) -> None:
        """The SDK's event: the engine did not answer, or refused."""
        self._poll_failures += 1
        self._let_it_ask_for_a_token()
        self._metrics.poll_failed()
        if self._poll_failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th ... of a row
            status = getattr(event.cause, "status", None)
            get_logger().warning(
                "cannot poll the engine; trying again",
                server=self.configuration.host,
                failures=self._poll_failures,
                status=status or None,
                cause=_cause(event.cause),
                hint="check CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET" if status in (401, 403) else None,
            )


def _may_pass(trouble: Exception) -> bool:
    """Whether another try can help."""
    status = getattr(trouble, "status", None) or 0
    return not 400 <= status < 500 or status in _PASSING


def _cause(trouble: Exception) -> str:
    """What went wrong, without the body: it may repeat what was sent."""
    status = getattr(trouble, "status", None)
    return f"HTTP {status}" if status else str(getattr(trouble, "reason", None) or type(trouble).__name__)[:200]
