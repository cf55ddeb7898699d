"""Between the engine's task and result and ours."""

from __future__ import annotations

import math
from typing import Any

from conductor.client.http.models import Task, TaskExecLog

from dialpad_ivr.contract.values import LIST_LIMIT
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.run import Delivery, Result
from dialpad_ivr.telemetry.logs import get_logger
from dialpad_ivr.worker.poller import Report
from dialpad_ivr.worker.undelivered import UndeliveredResults, delivery_id


async def answered_before(task: Task, earlier: Task | None, kept: UndeliveredResults) -> dict[str, Any] | None:
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


def to_delivery(task: Task, before: Task | None, settings: Settings) -> Delivery:
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
    return Delivery(
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


def deferred(task: Task, identity: str) -> Report:
    """A task that cannot be begun now: untouched, for whoever gets it next."""
    return task_result(task, identity, "IN_PROGRESS", task.output_data or {}, callback_seconds=1)


def task_result(
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


def to_task_result(task: Task, identity: str, result: Result) -> Report:
    """What the engine is told of a result."""
    report = task_result(task, identity, result.status, result.output.model_dump(mode="json"), result.callback_seconds)
    if result.output.outcome is not None:
        report.reason_for_incompletion = result.reason
    if not result.output.ok:
        # A line in the task's log in the UI; a success needs none, its output says it all.
        report.logs = [TaskExecLog(log=result.reason, task_id=task.task_id)]
    return report
