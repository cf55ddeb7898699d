"""A worker within an event loop: polls the engine, runs tasks concurrently, and drains when told to stop."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
from opentelemetry import trace

from dialpad_ivr.engine.definitions import task_definition
from dialpad_ivr.engine.domains import bulk_domain
from dialpad_ivr.http_server import serving
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.registry import TASKS
from dialpad_ivr.tasks.tools import open_tools
from dialpad_ivr.telemetry.logs import get_logger, silence_sdk
from dialpad_ivr.telemetry.metrics import OverrideFigures
from dialpad_ivr.telemetry.tracing import Tracing
from dialpad_ivr.worker.engine_client import open_engine_client
from dialpad_ivr.worker.handler import make_handler
from dialpad_ivr.worker.health import health_app
from dialpad_ivr.worker.limits import limits_report
from dialpad_ivr.worker.poller import Poller
from dialpad_ivr.worker.undelivered import undelivered_results

_REPORTING_SECONDS = 60.0  # for which the engine may be away without delivering a task again
# The engine takes inputs that nest up to 1,000 deep. Python's JSON parser would stop a little before that, and one such
# input would cost all tasks that were polled with it.
_RECURSION_LIMIT = 3000


async def run_worker(settings: Settings, stop: asyncio.Event | None = None) -> bool:
    """Poll the engine and run tasks in the event loop of the caller, until told to stop.

    Set `stop`, or cancel the call: then polling stops, calls in flight finish and their results are reported, for at
    most `settings.grace_seconds`. A cancelled call raises `CancelledError` only after that. Cancelled while it drains,
    it ends at once. What is left is delivered again by the engine.

    Signals, logging and OpenTelemetry stay the caller's: spans go to the global tracer provider. The health port is
    opened as the settings say. Python's recursion limit is raised to 3,000, for the engine's most deeply nested inputs.

    Args:
        settings: The same as the command's; `load_settings()` reads them from the environment.
        stop: Ends the worker when it is set.

    Returns:
        Whether every task in flight was finished and reported within the grace time.

    Raises:
        PortError: The health port cannot be listened on.
        SettingsError: Redis is configured, and its client is not installed.
    """
    never = asyncio.Event()
    async with started_worker(settings, Tracing(trace.get_tracer_provider())) as worker:
        try:
            await worker.until(stop or never)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                worker.drain()
                await worker.drained(never)
            raise
        worker.drain()
        return await worker.drained(never)


@asynccontextmanager
async def started_worker(
    settings: Settings, tracing: Tracing, overrides: Callable[[], OverrideFigures] | None = None
) -> AsyncIterator[Worker]:
    """A worker that polls for the duration of the context; what is then in flight is cancelled.

    Args:
        settings: All of them.
        tracing: What makes spans of tasks and calls.
        overrides: Reads what overrides do, for the metrics.

    Raises:
        PortError: The health port cannot be listened on.
        SettingsError: Redis is configured, and its client is not installed.
    """
    sys.setrecursionlimit(max(_RECURSION_LIMIT, sys.getrecursionlimit()))
    silence_sdk()
    async with (
        open_engine_client(settings) as engine,  # first: what the SDK frees, the other client uses
        open_tools(settings, tracing) as tools,
        undelivered_results(settings) as undelivered,
    ):
        identity = f"{socket.gethostname()}-{os.getpid()}"
        bulk_domains = [bulk_domain(settings.domain, profile) for profile in tools.credentials.profiles()]
        pollers = []
        for task_type in TASKS:
            handle = make_handler(task_type, tools, engine, undelivered, identity)
            pollers.append(
                Poller(task_type, handle, undelivered.store, engine, identity, settings, tools.metrics, bulk_domains)
            )
        if overrides:
            tools.metrics.watch_overrides(overrides)
        app = health_app(
            tools.metrics.registry,
            lambda: next(filter(None, (p.unready for p in pollers)), None),
            partial(limits_report, tools),
        )
        async with serving(app, settings.health_host, settings.health_port) as port:
            worker = Worker(pollers, settings.grace_seconds)
            try:
                get_logger().info(
                    "worker_started",
                    server=settings.server_url,
                    dialpad=settings.api_url,
                    concurrency=settings.concurrency,
                    health=f"http://{settings.health_host}:{port}/healthz",
                )
                _warn_of_short_timeouts(settings)
                yield worker
            finally:
                with anyio.CancelScope(shield=True):
                    await worker.close()


class Worker:
    """Running pollers. Must be created inside the event loop.

    Args:
        pollers: The pollers, which it runs.
        grace_seconds: How long calls in flight may take to finish.
    """

    def __init__(self, pollers: list[Poller], grace_seconds: float) -> None:
        self._pollers = pollers
        self._grace_seconds = grace_seconds
        self._running = [asyncio.create_task(poller.run()) for poller in pollers]

    async def until(self, stop: asyncio.Event) -> None:
        """Wait until an event is set, or a poller has failed, which `drained` then raises."""
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*self._running, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()

    def drain(self, signal_name: str | None = None) -> None:
        """Poll no more.

        Args:
            signal_name: The signal that is the reason, for the log.
        """
        get_logger().info("worker_stopping", signal=signal_name, grace_seconds=self._grace_seconds)
        for poller in self._pollers:
            poller.drain()

    async def drained(self, hurry: asyncio.Event) -> bool:
        """Wait for what is in flight, for the grace time at most, or until an event is set.

        Returns:
            Whether all of it was reported.
        """
        waits: list[asyncio.Task[Any]] = [
            asyncio.create_task(asyncio.wait(self._running, return_when=asyncio.FIRST_EXCEPTION)),
            asyncio.create_task(hurry.wait()),
        ]
        try:
            await asyncio.wait(waits, timeout=self._grace_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        for ended in filter(asyncio.Task.done, self._running):
            ended.result()  # a poller does not end by itself: if it failed, so does the worker
        return self._ended

    @property
    def _ended(self) -> bool:
        return all(map(asyncio.Task.done, self._running))

    async def close(self) -> None:
        """Cancel what is in flight."""
        early, in_flight = not self._ended, sum(poller.in_flight for poller in self._pollers)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if early:
            get_logger().error("worker_stopped_early", tasks_in_flight=in_flight)
        else:
            get_logger().info("worker_stopped")


def _warn_of_short_timeouts(settings: Settings) -> None:
    """Warn when the engine would deliver a task again, or end it, while this worker still has it."""
    definition = task_definition()
    longest_run = 3 * (settings.max_inline_wait_seconds + settings.deadline_seconds) + _REPORTING_SECONDS
    for name, needed in (
        ("responseTimeoutSeconds", longest_run),
        ("timeoutSeconds", settings.waiting_budget_seconds + settings.outage_budget_seconds + longest_run),
    ):
        if needed > definition[name]:
            get_logger().warning("timeouts_too_short", field=name, shipped=definition[name], needed=needed)
