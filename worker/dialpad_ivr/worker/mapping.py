"""Between the engine's task and result and those of `dialpad_ivr.tasks`."""

from __future__ import annotations

import math
import random
from typing import Any, NamedTuple

from conductor.client.http.models import Task, TaskExecLog, TaskResult

from dialpad_ivr.engine.definitions import MAX_RETRY_SECONDS, RETRY_JITTER_SECONDS
from dialpad_ivr.engine.domains import is_bulk
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.delivery import Delivery, is_first_delivery, untouched_output
from dialpad_ivr.tasks.result import Result


class Polled(NamedTuple):
    """A task, and when it was polled at the earliest (monotonic seconds): its lease may run since then."""

    task: Task
    polled_at: float


def to_delivery(polled: Polled, previous: Task | None, settings: Settings) -> Delivery:
    """The delivery that a polled task is.

    Args:
        polled: The task as it was polled.
        previous: The previous attempt, if it is known.
        settings: How long a call may take.
    """
    task = polled.task
    output: dict[str, Any] = task.output_data or (previous and previous.output_data) or {}
    # A workflow's task may have a retry count of its own, which the engine prefers.
    own = getattr(task.workflow_task, "retry_count", None)
    retries = own if own is not None else task.task_definition.retry_count if task.task_definition else 0
    failed_attempts = _count(output, "failed_attempts")
    failures = (task.retry_count or 0) + failed_attempts
    lease = task.response_timeout_seconds or math.inf
    # Every result has an output, that of a deferral too: without one, the worker was killed, or is too late. An attempt
    # that timed out may have the output of a deferral, and have been delivered again since.
    known = bool(output) and not (previous and previous.status == "TIMED_OUT")
    first = is_first_delivery(task.retry_count, task.poll_count)
    return Delivery(
        payload={} if task.input_data is None else task.input_data,
        runtime_metadata=task.runtime_metadata or {},
        attempts=_count(output, "attempts"),
        perhaps_sent=output.get("perhaps_sent") is True or not (known or first),
        waited_ms=_count(output, "waited_ms"),
        outage_ms=_count(output, "outage_ms"),
        failed_attempts=failed_attempts,
        retried=bool(failures),
        retry_seconds=_retry_seconds(task.task_definition, failures),
        bulk=is_bulk(task.domain),
        last_attempt=failures >= (retries or 0),
        send_deadline=polled.polled_at + max(lease - settings.deadline_seconds, lease / 2),
    )


def to_task_result(task: Task, identity: str, result: Result) -> TaskResult:
    """The update that reports a result."""
    output = result.output
    update = _task_result(task, identity, result.status, output.model_dump(mode="json"), result.callback_seconds)
    if output.outcome is not None:
        update.reason_for_incompletion = result.reason
    if not output.ok:
        # A line in the task's log in the UI; a success needs none, its output says it all.
        update.logs = [TaskExecLog(log=result.reason, task_id=task.task_id)]
    return update


def completed(task: Task, identity: str, output: dict[str, Any]) -> TaskResult:
    """The update for a task whose output is known already."""
    return _task_result(task, identity, "COMPLETED", output)


def deferred(task: Task, identity: str) -> TaskResult:
    """The update for a task that cannot be started now: for the next worker, with what is known of it."""
    output = untouched_output(task.output_data, task.retry_count, task.poll_count)
    return _task_result(task, identity, "IN_PROGRESS", output, callback_seconds=1)


def _task_result(
    task: Task, identity: str, status: str, output: dict[str, Any], callback_seconds: int | None = None
) -> TaskResult:
    return TaskResult(
        task_id=task.task_id,
        workflow_instance_id=task.workflow_instance_id,
        worker_id=identity,
        status=status,
        output_data=output,
        callback_after_seconds=callback_seconds,
    )


def _retry_seconds(definition: Any, failures: int) -> int:
    """The delay of a retry by its definition, of which the SDK drops the longest delay and the jitter."""
    if definition is None:
        return 1
    delay = definition.retry_delay_seconds or 0
    if definition.retry_logic == "EXPONENTIAL_BACKOFF":
        delay = min(delay * 2 ** min(failures, 10), MAX_RETRY_SECONDS)
    return max(1, int(delay) + random.randint(0, RETRY_JITTER_SECONDS))  # noqa: S311


def _count(output: dict[str, Any], name: str) -> int:
    value = output.get(name)
    return value if isinstance(value, int) else 0
