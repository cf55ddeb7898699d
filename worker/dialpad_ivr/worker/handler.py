"""Runs a polled task: answers it from an undelivered result, or runs it; then counts, logs and maps the result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from conductor.client.http.api.async_task_resource_api import AsyncTaskResourceApi
from conductor.client.http.models import Task, TaskResult

from dialpad_ivr.contract.outputs import TaskError
from dialpad_ivr.contract.schema import OUTPUTS
from dialpad_ivr.engine.domains import is_bulk
from dialpad_ivr.pacing.limiter import PermitDeferredError
from dialpad_ivr.tasks.registry import TASKS
from dialpad_ivr.tasks.result import Result, with_retry_deferred
from dialpad_ivr.tasks.tools import Tools
from dialpad_ivr.telemetry.logs import get_logger
from dialpad_ivr.worker.ended import EndedWorkflows
from dialpad_ivr.worker.engine_client import previous_attempt
from dialpad_ivr.worker.mapping import Polled, completed, deferred, to_delivery, to_task_result
from dialpad_ivr.worker.undelivered import UndeliveredResults


def make_handler(
    task_type: str, tools: Tools, client: AsyncTaskResourceApi, undelivered: UndeliveredResults, identity: str
) -> Callable[[Polled], Awaitable[TaskResult]]:
    """What runs the polled tasks of a type.

    Args:
        task_type: The type.
        tools: What its tasks work with.
        client: Reads the previous attempt of a retry, and whether a workflow has ended.
        undelivered: Answers for it.
        identity: The worker's name.
    """
    ended = EndedWorkflows(client)

    async def handle(polled: Polled) -> TaskResult:
        task = polled.task
        structlog.contextvars.bind_contextvars(
            task=task_type, workflow_id=task.workflow_instance_id, task_id=task.task_id
        )
        with tools.tracing.task(task_type, task, identity) as record:
            try:
                result = await deliver(polled)
            except Exception as exc:  # noqa: BLE001  # a bug must fail the task where its author sees it, without values
                get_logger().exception("task_bug")
                message = f"The worker failed ({type(exc).__name__}); its log has the details."
                error = TaskError(code="internal_error", message=message)
                result = finish(task, Result(OUTPUTS[task_type](outcome="unavailable", ok=False, error=error)))
            record(result.output_data, result.callback_after_seconds)
        return result

    async def deliver(polled: Polled) -> TaskResult:
        task = polled.task
        if is_bulk(task.domain) and await ended.includes(task.workflow_instance_id):
            get_logger().info("task_of_ended_workflow")
            return deferred(task, identity)  # the engine takes it out of the queue
        # A task with an output was deferred before: it is no retry that replaces another attempt.
        previous = None if task.output_data else await previous_attempt(client, task)
        try:
            output = await undelivered.answer(task, previous)
        except PermitDeferredError:
            return deferred(task, identity)
        if output is not None:
            return completed(task, identity, output)
        delivery = to_delivery(polled, previous, tools.settings)
        return finish(task, with_retry_deferred(await TASKS[task_type](delivery, tools), delivery))

    def finish(task: Task, result: Result) -> TaskResult:
        output = result.output
        tools.metrics.task_done(task_type, output.outcome)
        get_logger().info(
            "task_done" if output.outcome else "task_deferred",
            outcome=output.outcome,
            status_code=output.response.status_code if output.response else None,
            attempts=output.attempts,
            waited_ms=output.waited_ms,
            callback_seconds=result.callback_seconds,
        )
        return to_task_result(task, identity, result)

    return handle
