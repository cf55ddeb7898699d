"""Polls the engine for one task type, runs the tasks, and reports each result until the engine has it.

Built on the SDK's public `AsyncTaskResourceApi`. What the SDK's own runner lacks and this has: back-off when polls
fail, a drain, one run of a task that is delivered twice, and results that are not given up after a minute.

A type has several queues: the worker's own, which comes first, and those of bulk work, each with slots of its own. So
bulk work keeps no slot from what somebody waits for, nor one company's from another's: an update brings the next task
of the same queue, and a slot that had been lent would not come back before that queue is empty.

An undelivered result holds its slot. Nothing is lost by that: an engine that accepts no result dispatches no work
either.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from conductor.client.http.api.async_task_resource_api import AsyncTaskResourceApi
from conductor.client.http.async_rest import ApiException
from conductor.client.http.models import Task, TaskResult

from dialpad_ivr.settings import Settings
from dialpad_ivr.telemetry.logs import get_logger
from dialpad_ivr.telemetry.metrics import Metrics
from dialpad_ivr.worker.engine_client import describe_error, renew_token
from dialpad_ivr.worker.mapping import Polled, deferred

# For which the engine may hold a poll that it cannot fill. While nothing runs, one for a single task is held longer:
# that is answered as soon as a task comes, and costs a quarter of the calls. A stop waits for it.
_POLL_MS: Final = 100
_IDLE_POLL_MS: Final = 500
# Tasks a poll of the own queue asks for, where many may be handed back at once. The engine takes them out of the queue
# one after another: a poll for many would keep all slots empty meanwhile, while polls for some overlap with the results
# of those before.
_POLL_COUNT: Final = 8
# The longest pause between two polls of an empty bulk queue, in seconds. It grows with their number, so that many of
# them cost few polls. The engine counts a queue as polled for 10 s.
_BULK_PAUSE: Final = 0.5
_BULK_PAUSE_EACH: Final = 0.3
_MAX_BULK_PAUSE: Final = 3.0
_MAX_BACKOFF_SECONDS: Final = 30.0
_GIVE_UP_SECONDS: Final = 900.0
# Refusals that may pass: not signed in, or too busy. Any other 4xx is final.
_TRANSIENT_STATUSES: Final = (401, 403, 408, 409, 423, 425, 429)
_REMEMBERED_RUNS: Final = 2  # for each slot: a duplicate comes within milliseconds, and results are not small


@dataclass(eq=False)
class _Queue:
    """A queue, and the slots in which its tasks run."""

    params: dict[str, str | int]
    poll_count: int  # tasks a poll asks for, at most
    max_pause: float  # between two polls while it is empty, in seconds
    slots: set[asyncio.Task[None]] = field(default_factory=set)
    empty_polls: int = 0
    due: float = 0.0  # when to poll it again, by the event loop's clock


class Poller:
    """Keeps up to `concurrency` tasks of one type running for each queue. Must be created inside the event loop.

    Args:
        task_type: The task's type.
        handle: Runs a task and returns its result; must not raise.
        on_undelivered: Called once for a result that the engine did not accept the first time.
        client: The SDK's task API.
        identity: The worker's name.
        settings: Concurrency, poll interval and domain.
        metrics: What failures are counted in.
        bulk_domains: The task domains that are polled beside the own one.
    """

    def __init__(
        self,
        task_type: str,
        handle: Callable[[Polled], Awaitable[TaskResult]],
        on_undelivered: Callable[[Task, TaskResult], Awaitable[None]],
        client: AsyncTaskResourceApi,
        identity: str,
        settings: Settings,
        metrics: Metrics,
        bulk_domains: Sequence[str] = (),
    ) -> None:
        self._task_type = task_type
        self._handle = handle
        self._on_undelivered = on_undelivered
        self._client = client
        self._identity = identity
        params: dict[str, str | int] = {"workerid": identity, "timeout": _POLL_MS}
        own = {**params, "domain": settings.domain} if settings.domain else params
        pause = min(
            max(settings.poll_interval_seconds, _BULK_PAUSE, _BULK_PAUSE_EACH * len(bulk_domains)), _MAX_BULK_PAUSE
        )
        self._queues = [
            _Queue(own, _POLL_COUNT, settings.poll_interval_seconds),
            # Held by the engine, an empty poll would keep the worker from its own queue.
            *(_Queue({**params, "timeout": 0, "domain": name}, settings.concurrency, pause) for name in bulk_domains),
        ]
        self._server_url = settings.server_url
        self._concurrency = settings.concurrency
        self._metrics = metrics
        self._runs: dict[tuple[str, int | None], asyncio.Future[TaskResult]] = {}
        self._update_brings_next_task = True  # until the engine turns out to lack that call, or the poller drains
        self._poll_failures = 0
        self._polled = False
        self._draining = False
        self._wake = asyncio.Event()

    def drain(self) -> None:
        """Poll no more; `run` returns once what is in flight has finished and is reported.

        Tasks that are on their way are deferred: another worker may have them.
        """
        self._draining = True
        self._update_brings_next_task = False
        self._end_pauses()

    @property
    def in_flight(self) -> int:
        """Tasks that are running or being reported."""
        return sum(len(queue.slots) for queue in self._queues)

    @property
    def unready(self) -> str | None:
        """Why no work is taken right now; `None` when it is."""
        if self._draining:
            return "draining"
        if self._poll_failures:
            return "the engine does not answer polls"
        return None if self._polled else "starting"

    async def run(self) -> None:
        """Poll and run tasks until drained; cancelled, it cancels what is in flight."""
        loop = asyncio.get_running_loop()
        try:
            while not self._draining:
                if self._poll_failures:
                    await self._pause(_backoff_seconds(self._poll_failures))
                else:
                    await self._until_due()
                for queue in self._queues:
                    if not self._draining and self._has_room(queue) and loop.time() >= queue.due:
                        await self._poll_queue(queue)
                    if self._poll_failures:
                        break
            while self.in_flight:
                await asyncio.wait([slot for queue in self._queues for slot in queue.slots])
        finally:
            for queue in self._queues:
                for slot in queue.slots:
                    slot.cancel()

    def _has_room(self, queue: _Queue) -> bool:
        return len(queue.slots) < self._concurrency

    async def _until_due(self) -> None:
        """Wait until a queue with free slots is to be polled, or a full one has a free slot."""
        due = [queue.due for queue in self._queues if self._has_room(queue)]
        pause = max(0.0, min(due) - asyncio.get_running_loop().time()) if due else None
        busy = [slot for queue in self._queues if not self._has_room(queue) for slot in queue.slots]
        if busy:
            await asyncio.wait(busy, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        elif pause:
            await asyncio.sleep(pause)

    async def _poll_queue(self, queue: _Queue) -> None:
        """Poll a queue for some of the tasks that it has slots free for, and run them."""
        params, count = queue.params, min(self._concurrency - len(queue.slots), queue.poll_count)
        if queue is self._queues[0] and not self.in_flight:
            params, count = {**params, "timeout": _IDLE_POLL_MS}, 1
        polled = await self._poll(params, count)
        queue.empty_polls = 0 if polled else queue.empty_polls + 1
        pause = min(0.001 * 2 ** min(queue.empty_polls, 12), queue.max_pause) if queue.empty_polls else 0.0
        queue.due = asyncio.get_running_loop().time() + pause
        for one in polled:
            slot = asyncio.create_task(self._fill_slot(one))
            queue.slots.add(slot)
            slot.add_done_callback(queue.slots.discard)

    async def _fill_slot(self, polled: Polled | None) -> None:
        """Run a task and report it, and whatever comes in return for that."""
        while polled is not None:
            result = deferred(polled.task, self._identity) if self._draining else await self._run_once(polled)
            polled = await self._report(polled.task, result)

    async def _poll(self, params: dict[str, str | int], count: int) -> list[Polled]:
        polled_at = time.monotonic()
        try:
            tasks = await self._client.batch_poll(tasktype=self._task_type, count=count, **params)
            # The SDK makes tasks without an id, or nothing, of a response that is no list of tasks.
            if tasks is None or any(not task.task_id for task in tasks):
                raise ValueError("unreadable response")
        except Exception as exc:  # noqa: BLE001  # whatever it was, the next poll may succeed
            await self._poll_failed(exc)
            return []
        if self._poll_failures:
            get_logger().info("poll_recovered", failures=self._poll_failures)
            self._end_pauses()
        self._poll_failures, self._polled = 0, True
        return [Polled(task, polled_at) for task in tasks]

    async def _poll_failed(self, error: Exception) -> None:
        self._poll_failures += 1
        self._metrics.poll_failed()
        status = getattr(error, "status", None)
        if self._poll_failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th ... of a row
            get_logger().warning(
                "poll_failed",
                server=self._server_url,
                failures=self._poll_failures,
                status=status or None,
                cause=describe_error(error),
                hint="check CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET" if status in (401, 403) else None,
            )
        await renew_token(self._client)

    async def _run_once(self, polled: Polled) -> TaskResult:
        """Run a task, or wait for the result if the same delivery is running here already, or has just run.

        A busy engine dispatches a task twice now and then. Run a second time, it would find the change made, and
        report that there was nothing to do. The result is reported twice all the same: what the engine notes when it
        dispatches a task may overwrite that it was completed meanwhile.
        """
        delivery = polled.task.task_id, polled.task.scheduled_time
        if delivery in self._runs:
            get_logger().info("duplicate_delivery", task_id=polled.task.task_id)
            return await asyncio.shield(self._runs[delivery])
        run = self._runs[delivery] = asyncio.ensure_future(self._handle(polled))
        result = await run
        if result.status == "IN_PROGRESS":  # it will be delivered again, and shall run again
            del self._runs[delivery]
        if len(self._runs) > _REMEMBERED_RUNS * self._concurrency * len(self._queues):
            del self._runs[next(delivery for delivery, run in self._runs.items() if run.done())]
        return result

    async def _report(self, task: Task, result: TaskResult) -> Polled | None:
        """Report a result; returns the next task if the engine sends one along.

        The engine ignores a result that it has already, or that comes too late: to send it again is safe.
        """
        try:
            return await self._send(result)
        except Exception as exc:  # noqa: BLE001  # whatever it was, the result is still to be reported
            error = exc
        with self._metrics.undelivered():
            await self._on_undelivered(task, result)
            return await self._send_until_accepted(result, error)

    async def _send(self, result: TaskResult) -> Polled | None:
        if self._update_brings_next_task:
            polled_at = time.monotonic()
            try:
                task = await self._client.update_task_v2(body=result)
            except ApiException as exc:
                if exc.status not in (404, 405):
                    raise
            else:
                return Polled(task, polled_at) if task is not None else None
        # An engine without that call answers 404, as one does that has no such task: the older call shows which.
        await self._client.update_task(body=result)
        self._update_brings_next_task = False
        return None

    async def _send_until_accepted(self, result: TaskResult, error: Exception) -> Polled | None:
        """Report a result until the engine accepts it, rejects it for good, or too much time has passed."""
        log = get_logger().bind(task_id=result.task_id, workflow_id=result.workflow_instance_id, status=result.status)
        started, failures = time.monotonic(), 1
        while _is_transient(error) and time.monotonic() - started < _GIVE_UP_SECONDS:
            if failures == 1:
                log.warning("result_not_accepted", cause=describe_error(error))
            await self._pause(_backoff_seconds(failures))
            await renew_token(self._client)
            try:
                polled = await self._send(result)
            except Exception as exc:  # noqa: BLE001  # as above
                error, failures = exc, failures + 1
            else:
                log.info("result_accepted", failures=failures, seconds=round(time.monotonic() - started, 1))
                self._end_pauses()
                return polled
        self._metrics.update_failed()
        log.error("result_lost", cause=describe_error(error), failures=failures)
        return None

    async def _pause(self, max_seconds: float) -> None:
        """Wait, with jitter, until it is worth trying again."""
        wake = self._wake
        try:
            await asyncio.wait_for(wake.wait(), random.uniform(max_seconds / 2, max_seconds))  # noqa: S311
        except asyncio.TimeoutError:
            return

    def _end_pauses(self) -> None:
        """The engine responds again, or there is no time to wait any longer."""
        self._wake.set()
        self._wake = asyncio.Event()


def _backoff_seconds(failures: int) -> float:
    return min(2.0 ** min(failures - 2, 10), _MAX_BACKOFF_SECONDS)


def _is_transient(error: Exception) -> bool:
    status = getattr(error, "status", None) or 0
    return not 400 <= status < 500 or status in _TRANSIENT_STATUSES
