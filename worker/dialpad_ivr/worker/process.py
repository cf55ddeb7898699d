"""The worker: one process, one event loop; polls the engine, runs tasks concurrently, drains when told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import Any

import structlog
from conductor.client.context.task_context import get_task_context
from conductor.client.http.models import Task, TaskResult
from conductor.client.worker.worker import Worker

from dialpad_ivr.contract.outputs import TaskError
from dialpad_ivr.contract.schema import OUTPUTS
from dialpad_ivr.credentials import Credentials
from dialpad_ivr.dialpad.client import DialpadClient
from dialpad_ivr.engine.api import configuration
from dialpad_ivr.engine.definitions import task_definition
from dialpad_ivr.http_server import serving
from dialpad_ivr.pacing.limiter import PermitDeferredError
from dialpad_ivr.pacing.redis import open_limiter
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.registry import TASKS
from dialpad_ivr.tasks.run import Delivery, Result, Tools
from dialpad_ivr.telemetry.logs import get_logger
from dialpad_ivr.telemetry.metrics import Metrics
from dialpad_ivr.telemetry.tracing import Tracing
from dialpad_ivr.worker.health import health_app
from dialpad_ivr.worker.mapping import answered_before, deferred, task_result, to_delivery, to_task_result
from dialpad_ivr.worker.poller import Report, Runner
from dialpad_ivr.worker.undelivered import UndeliveredResults, delivery_id, undelivered_results

_REPORTING_SECONDS = 60.0  # for which the engine may be away without delivering a task again
# The engine takes inputs that nest up to 1,000 deep. Python's JSON parser would stop a little before that, and one such
# input would cost all tasks that were polled with it.
_RECURSION_LIMIT = 3000


def make_runner(task_type: str, settings: Settings, tools: Tools, kept: UndeliveredResults) -> Runner:
    """The runner of a task; must be called inside the event loop."""
    identity = f"{socket.gethostname()}-{os.getpid()}"

    # A function without parameters: the SDK would bind and convert parameters in ways that lose violations.
    async def execute() -> TaskResult:
        task: Task = get_task_context().task
        structlog.contextvars.bind_contextvars(
            task=task_type, workflow_id=task.workflow_instance_id, task_id=task.task_id
        )
        if runner.draining:
            return deferred(task, identity)
        with tools.tracing.task(task_type, task, identity) as told:
            report = await deliver(task)
            told(report.output_data, report.callback_after_seconds)
        return report

    async def deliver(task: Task) -> Report:
        first = not task.retried_task_id or task.output_data
        earlier = None if first else await runner.earlier(task.retried_task_id)
        try:
            made = await answered_before(task, earlier, kept)
        except PermitDeferredError:
            return deferred(task, identity)
        if made is not None:
            return task_result(task, identity, "COMPLETED", made)
        result = await _run(task_type, to_delivery(task, earlier, settings), tools)
        report = to_task_result(task, identity, result)
        if result.output.outcome == "updated":
            this = delivery_id(task.task_id, task.scheduled_time, task.input_data)
            report.on_trouble = lambda: kept.keep(this, report.output_data)
        return report

    worker = Worker(
        task_definition_name=task_type,
        execute_function=execute,
        poll_interval=settings.poll_interval_seconds * 1000,
        domain=settings.domain,
        worker_id=identity,
        thread_count=settings.concurrency,
        register_task_def=False,
    )
    runner = Runner(worker, configuration(settings), tools.metrics)
    return runner


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
    # httpcore asks sniffio which event loop runs, twenty times a task. It is not installed, and Python does not keep in
    # mind that an import failed: it would search the disk each time. No sniffio means asyncio, which is so.
    sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]
    metrics = Metrics()
    log = get_logger()
    async with (
        DialpadClient(settings) as client,
        open_limiter(settings, metrics) as pacer,
        undelivered_results(settings) as kept,
    ):
        credentials = Credentials(settings.credentials_file)
        tools = Tools(settings, client, credentials, pacer, metrics, tracing)
        runners = [make_runner(task_type, settings, tools, kept) for task_type in TASKS]
        app = health_app(metrics.registry, lambda: next(filter(None, (runner.unready for runner in runners)), None))
        async with serving(app, settings.health_host, settings.health_port) as port:
            running = [asyncio.create_task(runner.run()) for runner in runners]
            told_to_stop, second_signal = asyncio.Event(), asyncio.Event()

            def stop(number: int) -> None:
                if told_to_stop.is_set():
                    second_signal.set()
                    return
                log.info("stopping", signal=signal.Signals(number).name, grace_seconds=settings.grace_seconds)
                told_to_stop.set()
                for runner in runners:
                    runner.drain()

            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop, number)
            log.info(
                "worker started",
                server=settings.server_url,
                dialpad=settings.api_url,
                concurrency=settings.concurrency,
                health=f"http://{settings.health_host}:{port}/healthz",
            )
            _warn_of_short_timeouts(settings)
            code = await _until_stopped(running, told_to_stop, second_signal, settings.grace_seconds)
            left = sum(runner.in_flight for runner in runners)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            if code:
                log.error("stopped with tasks in flight; the engine delivers them again", tasks=left)
            else:
                log.info("stopped; everything in flight was reported")
            return code


def _warn_of_short_timeouts(settings: Settings) -> None:
    """Tell when the engine would deliver a task again, or end it, while this worker still has it."""
    definition = task_definition()
    longest_run = 3 * (settings.max_inline_wait_seconds + settings.deadline_seconds) + _REPORTING_SECONDS
    for name, needed in (
        ("responseTimeoutSeconds", longest_run),
        ("timeoutSeconds", settings.waiting_budget_seconds + longest_run),
    ):
        if needed > definition[name]:
            get_logger().warning(
                "settings outlast the task definition: raise it on the engine",
                field=name,
                shipped=definition[name],
                needed=needed,
            )


async def _until_stopped(
    running: list[asyncio.Task[None]], told_to_stop: asyncio.Event, second_signal: asyncio.Event, grace_seconds: float
) -> int:
    """Wait for the end; returns the exit code."""
    told, hurry = asyncio.create_task(told_to_stop.wait()), asyncio.create_task(second_signal.wait())
    await asyncio.wait([*running, told], return_when=asyncio.FIRST_COMPLETED)
    drained = asyncio.create_task(asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION))
    either: list[asyncio.Task[Any]] = [drained, hurry]
    await asyncio.wait(either, timeout=grace_seconds, return_when=asyncio.FIRST_COMPLETED)
    for waiting in (told, hurry, drained):
        waiting.cancel()
    for ended in filter(asyncio.Task.done, running):
        ended.result()  # a runner does not end by itself: if it failed, so does the worker
    if all(map(asyncio.Task.done, running)):
        return 0
    return 130 if second_signal.is_set() else 1


async def _run(task_type: str, call: Delivery, tools: Tools) -> Result:
    try:
        result = await TASKS[task_type](call, tools)
    except Exception as exc:  # noqa: BLE001  # a bug must fail the task where its author sees it, without values
        get_logger().exception("bug in the worker")
        message = f"The worker failed ({type(exc).__name__}); its log has the details."
        error = TaskError(code="internal_error", message=message)
        result = Result(OUTPUTS[task_type](outcome="unavailable", ok=False, error=error))
    tools.metrics.task_done(task_type, result.output.outcome)
    output = result.output
    get_logger().info(
        "task done" if output.outcome else "task waits",
        outcome=output.outcome,
        status_code=output.response.status_code if output.response else None,
        attempts=output.attempts,
        waited_ms=output.waited_ms,
        callback_seconds=result.callback_seconds,
    )
    return result
