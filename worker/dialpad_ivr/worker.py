"""The worker: one process, one event loop; polls the engine, runs tasks concurrently, drains when told to stop."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from conductor.client.context.task_context import get_task_context
from conductor.client.http.models import Task, TaskExecLog, TaskResult
from conductor.client.worker.worker import Worker

from dialpad_ivr.contract import LIST_LIMIT, LIST_TASK_TYPE, OUTPUTS, TASK_TYPE, TaskError
from dialpad_ivr.credentials import Credentials
from dialpad_ivr.definitions import task_definition
from dialpad_ivr.dialpad import DialpadClient
from dialpad_ivr.engine_api import configuration
from dialpad_ivr.fleet import paced
from dialpad_ivr.health import health_app, serving
from dialpad_ivr.kept import KeptChanges, delivery_id, kept_changes
from dialpad_ivr.list_task import list_custom_ivrs
from dialpad_ivr.log import get_logger
from dialpad_ivr.metrics import Metrics
from dialpad_ivr.pacing import NotYetError
from dialpad_ivr.runner import Report, Runner
from dialpad_ivr.set_task import set_custom_ivr
from dialpad_ivr.settings import Settings
from dialpad_ivr.task import Call, Result, Tools
from dialpad_ivr.tracing import Tracing

_REPORTING_SECONDS = 60.0  # for which the engine may be away without delivering a task again
# The engine takes inputs that nest up to 1,000 deep. Python's JSON parser would stop a little before that, and one such
# input would cost all tasks that were polled with it.
_RECURSION_LIMIT = 3000

TASKS: Final[dict[str, Callable[[Call, Tools], Awaitable[Result]]]] = {
    TASK_TYPE: set_custom_ivr,
    LIST_TASK_TYPE: list_custom_ivrs,
}


def make_runner(task_type: str, settings: Settings, tools: Tools, kept: KeptChanges) -> Runner:
    """The runner of a task; must be called inside the event loop."""
    identity = f"{socket.gethostname()}-{os.getpid()}"

    # A function without parameters: the SDK would bind and convert parameters in ways that lose violations.
    async def execute() -> TaskResult:
        task: Task = get_task_context().task
        structlog.contextvars.bind_contextvars(
            task=task_type, workflow_id=task.workflow_instance_id, task_id=task.task_id
        )
        if runner.draining:
            return _hand_back(task, identity)
        with tools.tracing.task(task_type, task, identity) as told:
            report = await deliver(task)
            told(report.output_data, report.callback_after_seconds)
        return report

    async def deliver(task: Task) -> Report:
        first = not task.retried_task_id or task.output_data
        earlier = None if first else await runner.earlier(task.retried_task_id)
        try:
            made = await _made_already(task, earlier, kept)
        except NotYetError:
            return _hand_back(task, identity)
        if made is not None:
            return _report(task, identity, "COMPLETED", made)
        result = await _run(task_type, _call(task, earlier, settings), tools)
        report = _told(task, identity, result)
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
        paced(settings, metrics) as pacer,
        kept_changes(settings) as kept,
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
    longest_run = 3 * (settings.longest_hold_seconds + settings.deadline_seconds) + _REPORTING_SECONDS
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


async def _run(task_type: str, call: Call, tools: Tools) -> Result:
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


async def _made_already(task: Task, earlier: Task | None, kept: KeptChanges) -> dict[str, Any] | None:
    """The output of the attempt before, if that made the change and the engine did not hear of it in time."""
    if earlier is None:
        return None
    output = None
    if earlier.status == "TIMED_OUT":
        output = await kept.find(delivery_id(earlier.task_id, earlier.scheduled_time, task.input_data))
    elif earlier.status == "COMPLETED" and earlier.input_data == task.input_data:
        # The result came when the engine had given it up, but not yet noted so: it has it, and asks for another.
        output = earlier.output_data
    if not output or output.get("outcome") != "updated":
        return None
    get_logger().info("made already: the engine did not take the result of the attempt before in time")
    note = "The attempt before made the change, and the engine took its result too late: nothing was sent again."
    return {**output, "warnings": [*output.get("warnings", ()), note][:LIST_LIMIT]}


def _call(task: Task, before: Task | None, settings: Settings) -> Call:
    """The call that a polled task asks for.

    Args:
        task: As it was polled.
        before: The attempt before this one, if it is known.
        settings: How long a call may take.
    """
    earlier: dict[str, Any] = task.output_data or (before and before.output_data) or {}
    # A workflow's task may have a count of its own, which the engine prefers.
    own = getattr(task.workflow_task, "retry_count", None)
    retries = own if own is not None else task.task_definition.retry_count if task.task_definition else 0
    lease = task.response_timeout_seconds or math.inf
    return Call(
        raw_input={} if task.input_data is None else task.input_data,
        runtime_metadata=task.runtime_metadata or {},
        attempts=_count(earlier, "attempts"),
        waited_ms=_count(earlier, "waited_ms"),
        last_attempt=(task.retry_count or 0) >= (retries or 0),
        expires_at=task.asked_at + max(lease - settings.deadline_seconds, lease / 2),
    )


def _count(output: dict[str, Any], name: str) -> int:
    value = output.get(name)
    return value if isinstance(value, int) else 0


def _hand_back(task: Task, identity: str) -> Report:
    """A task that cannot be begun now: untouched, for whoever gets it next."""
    return _report(task, identity, "IN_PROGRESS", task.output_data or {}, callback_seconds=1)


def _report(
    task: Task, identity: str, status: str, output: dict[str, Any], callback_seconds: int | None = None
) -> Report:
    """What is sent to the engine."""
    return Report(
        task_id=task.task_id,
        workflow_instance_id=task.workflow_instance_id,
        worker_id=identity,
        status=status,
        output_data=output,
        callback_after_seconds=callback_seconds,
    )


def _told(task: Task, identity: str, result: Result) -> Report:
    """What the engine is told of a result."""
    report = _report(task, identity, result.status, result.output.model_dump(mode="json"), result.callback_seconds)
    if result.output.outcome is not None:
        report.reason_for_incompletion = result.reason
    if not result.output.ok:
        # A line in the task's log in the UI; a success needs none, its output says it all.
        report.logs = [TaskExecLog(log=result.reason, task_id=task.task_id)]
    return report
