"""A client of the workflow `provision_custom_ivrs`: starts, follows, approves and stops runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, EngineError, JsonObject
from dialpad_ivr.engine.follow import Progress, Report, poll
from dialpad_ivr.provisioning.formats import FIELDS
from dialpad_ivr.provisioning.plan import Plan, PlannedChange
from dialpad_ivr.provisioning.run import (
    HELD_BACK,
    WORKFLOW,
    ChangeResult,
    ProvisioningRun,
    approval_task,
    change_tasks,
    running_chunks,
    was_held_back,
    was_taken_since,
)

__all__ = [
    "MAX_CHANGES",
    "WORKFLOW",
    "ChangeResult",
    "ProvisioningRun",
    "approve",
    "follow_run",
    "running_workflow",
    "start",
    "stop",
]

MAX_CHANGES: Final = 5000  # per run, because of the engine's limits

# For the results that workers still owe when a run is stopped; longer than they wait for permits and for answers.
_DRAIN_SECONDS: Final = 60.0
_CHUNKS_HELD: Final = 10  # to hold back the rows of more takes longer than to terminate them
_HELD_AT_ONCE: Final = 8
_HELD_SECONDS: Final = 365 * 86_400
_FIRST_PAUSE_SECONDS: Final = 0.5


def start(
    engine: EngineApi, plan: Plan, *, overwrite: bool, max_failures: str | None = None, approval: bool = False
) -> str:
    """Start the workflow with the changes of a plan.

    Args:
        engine: The engine.
        plan: The plan; only its rows with the action `change` are applied.
        overwrite: Whether to also change targets whose selection changed since the plan.
        max_failures: Failed changes, as a number or a percentage, after which no more changes are dispatched.
        approval: Whether to wait for approval before the first change.

    Returns:
        The workflow's id.

    Raises:
        EngineError: The engine did not start the workflow.
    """
    inputs = {
        "changes": [_workflow_change(row, overwrite=overwrite) for row in plan.changes],
        "max_failures": max_failures,
        "approval": approval,
        "plan": {
            **plan.model_dump(include={"hash", "made_at", "api_url", "source"}),
            "actions": dict(plan.counts),
        },
    }
    return engine.start_workflow(WORKFLOW, inputs, correlation_id=plan.hash)


def _workflow_change(row: PlannedChange, *, overwrite: bool) -> JsonObject:
    params = {name: value for name in FIELDS if (value := getattr(row, name))}
    guard = {} if overwrite else {"if_selected": [ivr.id for ivr in row.previous]}
    note = {"line": row.line, "previous": [ivr.model_dump() for ivr in row.previous], "ivr_name": row.ivr_name}
    return {**params, **guard, "note": note}


def follow_run(
    run: ProvisioningRun,
    on_change: Callable[[ProvisioningRun], None],
    timeout_seconds: float,
    report: Report = lambda _: None,
) -> None:
    """Poll a run until it ends or the timeout is reached. Transient engine errors are retried.

    Args:
        run: The run.
        on_change: Called with the run after each refresh.
        timeout_seconds: How long to poll, in seconds.
        report: Called with a sentence during an outage, and once if no worker polls for a waiting change.

    Raises:
        EngineError: There is no such run, or the engine does not answer: it never did, or still does not at the
            timeout.
    """

    def read() -> Progress:
        run.refresh()
        on_change(run)
        return Progress(run.ended, (run.status, run.counts, run.waits_for_approval))

    poll(run.engine, read, lambda: run.waiting, timeout_seconds, report, _FIRST_PAUSE_SECONDS, run.evaluate)


def running_workflow(engine: EngineApi, plan: Plan) -> str | None:
    """The id of a running workflow that applies this plan; `None` if there is none.

    Raises:
        EngineError: The engine did not answer.
    """
    runs = engine.correlated(WORKFLOW, plan.hash)
    return next((workflow["workflowId"] for workflow in runs if workflow["status"] not in TERMINAL_STATUSES), None)


def earlier_runs(engine: EngineApi, run: ProvisioningRun) -> list[str]:
    """The ids of the runs of the same plan that were started before a run, the latest first.

    Raises:
        EngineError: The engine did not answer.
    """
    found = engine.correlated(WORKFLOW, run.plan["hash"], ended=True) if run.plan.get("hash") else []
    earlier = [workflow for workflow in found if workflow["startTime"] < run.started_at]
    return [workflow["workflowId"] for workflow in sorted(earlier, key=lambda w: int(w["startTime"]), reverse=True)]


def approve(engine: EngineApi, workflow_id: str, *, approved: bool, by: str, reason: str) -> None:
    """Approve or reject a run that waits for approval.

    Raises:
        EngineError: The run does not wait for approval.
    """
    task = approval_task(engine.workflow(workflow_id))
    if task is None:
        raise EngineError(f"{workflow_id} does not wait for approval.", 409)
    engine.complete_task(workflow_id, task["taskId"], {"approved": approved, "by": by, "reason": reason})


def stop(engine: EngineApi, workflow_id: str, *, by: str) -> None:
    """End a run: dispatch no more changes, wait for the results of those that workers hold, and terminate it.

    Terminated at once, it would lose those results: the engine ignores what arrives later. On Ctrl-C, after a minute,
    and if too many changes wait, it is terminated all the same, and their outcome is `unknown`.

    Args:
        engine: The engine.
        workflow_id: A run that has not ended.
        by: Who stops it, for the reason that the engine stores.

    Raises:
        EngineError: It is not a run of this workflow, or has ended (409); or the engine did not terminate it.
    """
    workflow = engine.workflow(workflow_id)
    name, status = workflow.get("workflowName"), workflow["status"]
    if name != WORKFLOW:
        raise EngineError(f"{workflow_id} is a run of {name}, not of {WORKFLOW}.", 409)
    if status in TERMINAL_STATUSES:
        raise EngineError(f"{workflow_id} is not running: it has ended as {status}.", 409)
    try:
        with contextlib.suppress(EngineError):  # at worst, more results are unknown
            engine.pause(workflow_id)  # no chunk is started; the engine still dispatches the tasks of running ones
            _drain(engine, workflow_id)
    finally:
        engine.terminate(workflow_id, f"Stopped by {by}.")


def _drain(engine: EngineApi, workflow_id: str) -> None:
    """Hold back the changes that wait for a worker, and wait for the results of the others."""
    deadline = time.monotonic() + _DRAIN_SECONDS
    with ThreadPoolExecutor(_HELD_AT_ONCE) as pool:
        while busy := running_chunks(engine.workflow(workflow_id)):
            if len(busy) > _CHUNKS_HELD:
                return
            in_flight = 0
            for chunk in reversed(busy):  # workers are at the first ones
                tasks = change_tasks(engine.workflow(chunk))
                waiting = [
                    task
                    for task in tasks
                    if task["status"] == "SCHEDULED" and not (was_held_back(task) or was_taken_since(task))
                ]
                list(pool.map(partial(_hold_back, engine), reversed(waiting)))
                in_flight += len(waiting)  # to be looked at again: a worker may have been quicker
                in_flight += sum(task["status"] == "IN_PROGRESS" or was_taken_since(task) for task in tasks)
            if not in_flight or time.monotonic() > deadline:
                return
            time.sleep(_FIRST_PAUSE_SECONDS)


def _hold_back(engine: EngineApi, task: JsonObject) -> None:
    output = {**(task.get("outputData") or {}), HELD_BACK: task["pollCount"]}
    engine.postpone_task(task["workflowInstanceId"], task["taskId"], output, _HELD_SECONDS)
