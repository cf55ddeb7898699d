"""The SDK's `AsyncTaskRunner` (conductor-python 2.0.0, pinned) with what it lacks.

That is back-off when polls fail, no spinning at capacity, and a drain. `tests/unit/test_sdk_contract.py` checks every
private name that is used here.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from conductor.client.automator.async_task_runner import AsyncTaskRunner
from conductor.client.configuration.configuration import Configuration
from conductor.client.http.async_rest import ApiException
from conductor.client.http.models import Task
from conductor.client.worker.worker import Worker

from dialpad_ivr.log import get_logger
from dialpad_ivr.metrics import Metrics

_LONGEST_BACKOFF_SECONDS = 30.0


class Runner(AsyncTaskRunner):  # type: ignore[misc]  # the SDK is not typed
    """The SDK's runner, with back-off and a drain."""

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
        self._told_to_drain = asyncio.Event()

    def drain(self) -> None:
        """Take no more work; `run` returns once what is in flight is finished and reported."""
        self.worker.paused = True
        # The second version of the update brings the next task along; the first does not.
        self._use_update_v2 = False
        self._told_to_drain.set()

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

    async def output_of(self, task_id: str) -> dict[str, Any]:
        """The output of another task, an earlier attempt for one; empty if the engine does not tell."""
        try:
            task: Task = await self.async_api_client.call_api(
                "/tasks/{taskId}", "GET", {"taskId": task_id}, response_type="Task", _return_http_data_only=True
            )
        except ApiException as exc:
            get_logger().warning("cannot read the earlier attempt", earlier_task_id=task_id, status=exc.status)
            return {}
        return task.output_data or {}

    @property
    def unready(self) -> str | None:
        """Why no work is taken right now; `None` when it is."""
        if self.draining:
            return "draining"
        if self._poll_failures:
            return "the engine does not answer polls"
        return None if self._polled else "starting"

    async def run_once(self) -> None:
        """One turn of the SDK's loop: wait for a free slot or for the back-off, then poll."""
        if self.draining and not self._running_tasks:
            await self.stop()
        elif self.draining or len(self._running_tasks) >= self._max_workers:
            await asyncio.wait(self._running_tasks, return_when=asyncio.FIRST_COMPLETED)
        else:
            if self._poll_failures:
                await self._back_off()
            await super().run_once()

    async def _back_off(self) -> None:
        longest = min(0.25 * 2**self._poll_failures, _LONGEST_BACKOFF_SECONDS)
        try:
            await asyncio.wait_for(self._told_to_drain.wait(), random.uniform(longest / 2, longest))  # noqa: S311
        except asyncio.TimeoutError:
            return

    def on_poll_completed(self, _: Any) -> None:
        """The SDK's event: the engine answered."""
        if self._poll_failures:
            get_logger().info("engine answers again", failures=self._poll_failures)
        self._poll_failures, self._polled = 0, True

    def on_poll_failure(self, event: Any) -> None:
        """The SDK's event: the engine did not answer, or refused."""
        self._poll_failures += 1
        # After five failed attempts the SDK would never ask for a token again.
        failed = self.async_api_client._token_refresh_failures
        self.async_api_client._token_refresh_failures = min(failed, 4)
        self._metrics.poll_failed()
        if self._poll_failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th ... of a row
            status = getattr(event.cause, "status", None)
            get_logger().warning(
                "cannot poll the engine; trying again",
                server=self.configuration.host,
                failures=self._poll_failures,
                status=status or None,
                cause=str(getattr(event.cause, "reason", None) or type(event.cause).__name__)[:200],
                hint="check CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET" if status in (401, 403) else None,
            )

    def on_task_update_failure(self, event: Any) -> None:
        """The SDK's event: it gave a result up. The engine delivers the task again after its response timeout."""
        self._metrics.update_failed()
        get_logger().error(
            "result lost: the engine did not take it",
            task_id=event.task_id,
            workflow_id=event.workflow_instance_id,
            outcome=(event.task_result.output_data or {}).get("outcome"),
        )
