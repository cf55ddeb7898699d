"""The worker process: one event loop that polls the engine, runs tasks concurrently, and drains when told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from functools import partial
from typing import Any

from dialpad_ivr.engine.definitions import task_definition
from dialpad_ivr.engine.domains import bulk_domain
from dialpad_ivr.http_server import serving
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.registry import TASKS
from dialpad_ivr.tasks.tools import open_tools
from dialpad_ivr.telemetry.logs import get_logger
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


async def run_worker(settings: Settings, tracing: Tracing) -> int:
    """Run until told to stop.

    SIGTERM and SIGINT drain: polling stops, calls in flight finish and their results are reported, for at most the
    grace time. A second signal ends at once.

    Args:
        settings: All of them.
        tracing: What makes spans of tasks and calls.

    Returns:
        The exit code: 0 when everything in flight was reported, 1 when the grace time ran out, 130 after a second
        signal.

    Raises:
        PortError: The health port cannot be listened on.
    """
    sys.setrecursionlimit(max(_RECURSION_LIMIT, sys.getrecursionlimit()))
    # httpcore asks sniffio which event loop runs, twenty times a task. Failed imports are not cached, so it would hit
    # the disk on every call. No sniffio means asyncio, which is so.
    sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]
    log = get_logger()
    async with (
        open_tools(settings, tracing) as tools,
        undelivered_results(settings) as undelivered,
        open_engine_client(settings) as engine,
    ):
        identity = f"{socket.gethostname()}-{os.getpid()}"
        bulk_domains = [bulk_domain(settings.domain, profile) for profile in tools.credentials.profiles()]
        pollers = []
        for task_type in TASKS:
            handle = make_handler(task_type, tools, engine, undelivered, identity)
            pollers.append(
                Poller(task_type, handle, undelivered.store, engine, identity, settings, tools.metrics, bulk_domains)
            )
        app = health_app(
            tools.metrics.registry,
            lambda: next(filter(None, (p.unready for p in pollers)), None),
            partial(limits_report, tools),
        )
        async with serving(app, settings.health_host, settings.health_port) as port:
            running = [asyncio.create_task(poller.run()) for poller in pollers]
            first_signal, second_signal = asyncio.Event(), asyncio.Event()

            def stop(number: int) -> None:
                if first_signal.is_set():
                    second_signal.set()
                    return
                log.info("worker_stopping", signal=signal.Signals(number).name, grace_seconds=settings.grace_seconds)
                first_signal.set()
                for poller in pollers:
                    poller.drain()

            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop, number)
            log.info(
                "worker_started",
                server=settings.server_url,
                dialpad=settings.api_url,
                concurrency=settings.concurrency,
                health=f"http://{settings.health_host}:{port}/healthz",
            )
            _warn_of_short_timeouts(settings)
            code = await _until_stopped(running, first_signal, second_signal, settings.grace_seconds)
            in_flight = sum(poller.in_flight for poller in pollers)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            if code:
                log.error("worker_stopped_early", tasks_in_flight=in_flight)
            else:
                log.info("worker_stopped")
            return code


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


async def _until_stopped(
    running: list[asyncio.Task[None]], first_signal: asyncio.Event, second_signal: asyncio.Event, grace_seconds: float
) -> int:
    """Wait for the end; returns the exit code."""
    stopping, hurry = asyncio.create_task(first_signal.wait()), asyncio.create_task(second_signal.wait())
    await asyncio.wait([*running, stopping], return_when=asyncio.FIRST_COMPLETED)
    drained = asyncio.create_task(asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION))
    either: list[asyncio.Task[Any]] = [drained, hurry]
    await asyncio.wait(either, timeout=grace_seconds, return_when=asyncio.FIRST_COMPLETED)
    for waiting in (stopping, hurry, drained):
        waiting.cancel()
    for ended in filter(asyncio.Task.done, running):
        ended.result()  # a poller does not end by itself: if it failed, so does the worker
    if all(map(asyncio.Task.done, running)):
        return 0
    return 130 if second_signal.is_set() else 1
