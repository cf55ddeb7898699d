"""A client of the workflow `provision_custom_ivrs`: starts, follows, approves and stops runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Final

from dialpad_ivr.contract.validation import short
from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, EngineError, JsonObject
from dialpad_ivr.engine.follow import Progress, Report, poll
from dialpad_ivr.provisioning.columns import FIELDS
from dialpad_ivr.provisioning.overrides import GUARD, child_of
from dialpad_ivr.provisioning.plan import Plan, PlannedChange
from dialpad_ivr.provisioning.run import (
    STOP_WORKER,
    UNFINISHED,
    WORKFLOW,
    ChangeResult,
    ProvisioningRun,
    approval_task,
    change_tasks,
    is_held_back,
    unfinished_chunks,
)
from dialpad_ivr.tasks.delivery import untouched_output

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
    "waiting_for_approval",
    "workflow_changes",
]

MAX_CHANGES: Final = 5000  # per run, because of the engine's limits

# For the results of workers when a run is stopped; longer than they wait for permits and for answers.
_RESULTS_SECONDS: Final = 60.0
_POLLED_AT_ONCE: Final = 50
_OTHERS_AT_MOST: Final = 500  # tasks of other workflows that `stop` may take out of the queue for a moment
_FIRST_PAUSE_SECONDS: Final = 0.5


def start(
    engine: EngineApi,
    plan: Plan,
    *,
    overwrite: bool,
    max_failures: str | None = None,
    approval: bool = False,
    domain: str | None = None,
) -> str:
    """Start the workflow with the changes of a plan, profile by profile: a chunk of one has a queue of its own.

    Args:
        engine: The engine.
        plan: The plan; only its rows with the action `change` are applied.
        overwrite: Whether to also change targets whose selection changed since the plan.
        max_failures: Failed changes, as a number or a percentage, after which no more changes are dispatched.
        approval: Whether to wait for approval before the first change.
        domain: The task domain of the workers, if it is not the default queue.

    Returns:
        The workflow's id.

    Raises:
        EngineError: The engine did not start the workflow.
    """
    inputs = {
        "changes": workflow_changes(plan, overwrite=overwrite),
        "max_failures": max_failures,
        "approval": approval,
        "domain": domain,
        "plan": {
            **plan.model_dump(include={"hash", "made_at", "api_url", "source"}),
            "actions": dict(plan.counts),
        },
    }
    return engine.start_workflow(WORKFLOW, inputs, correlation_id=plan.hash)


def workflow_changes(plan: Plan, *, overwrite: bool) -> list[JsonObject]:
    """The rows to change as the workflows take them, profile by profile: a chunk of one has a queue of its own."""
    return [_workflow_change(row, overwrite=overwrite) for row in sorted(plan.changes, key=lambda row: row.credential)]


def _workflow_change(row: PlannedChange, *, overwrite: bool) -> JsonObject:
    """The input of the task, and a note for the report."""
    params = {name: value for name in FIELDS if (value := getattr(row, name))}
    guard = {} if overwrite else {"if_selected": [ivr.id for ivr in row.previous]}
    previous = [ivr.model_dump() for ivr in row.previous]
    names = {name: getattr(row, name) for name in ("target_name", "office_name", "ivr_name")}
    return {**params, **guard, "note": {"line": row.line, "previous": previous, **names}}


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


def waiting_for_approval(engine: EngineApi, workflow_id: str) -> tuple[JsonObject, JsonObject]:
    """A run, or an override (also by the id of its guard), and the task in which it waits for approval.

    Raises:
        EngineError: It does not wait for approval (409), there is none (404), or the engine did not answer.
    """
    try:
        found = engine.workflow(workflow_id)
    except EngineError as exc:
        if exc.status != 404:
            raise
        raise EngineError(f"There is no workflow {short(workflow_id)}.", 404) from None
    if found.get("workflowName") == GUARD and (override := child_of(found, "override")):
        found = engine.workflow(override)
    task = approval_task(found)
    if task is None:
        raise EngineError(f"{workflow_id} does not wait for approval.", 409)
    return found, task


def approve(engine: EngineApi, workflow_id: str, *, approved: bool, by: str, reason: str) -> None:
    """Approve or reject what waits for approval.

    Raises:
        EngineError: It does not wait for approval (409).
    """
    found, task = waiting_for_approval(engine, workflow_id)
    engine.complete_task(found["workflowId"], task["taskId"], {"approved": approved, "by": by, "reason": reason})


def stop(engine: EngineApi, workflow_id: str, *, by: str, report: Report = lambda _: None) -> None:
    """End a run: take the changes that wait out of the queue, await the results of the others, and terminate it.

    Terminated at once, it would lose those results: the engine ignores what arrives later. On Ctrl-C, and for a change
    without a result after a minute, it is terminated all the same, and the outcome is `unknown`.

    Args:
        engine: The engine.
        workflow_id: A run that has not ended.
        by: Who stops it, for the reason that the engine stores.
        report: Called with a sentence on how far it is, until the run is terminated.

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
            _settle(engine, workflow_id, report)
    finally:
        engine.terminate(workflow_id, f"Stopped by {by}.")


def _settle(engine: EngineApi, workflow_id: str, report: Report) -> None:
    """Hold back or await each change that the engine has scheduled."""
    settled: set[str] = set()
    held_back = 0
    deadline = time.monotonic() + _RESULTS_SECONDS
    while unfinished := unfinished_chunks(engine.workflow(workflow_id)):
        taken = awaited = 0
        for chunk in unfinished:  # all of them before any is awaited: they may wait in different queues
            if chunk in settled:
                continue
            tasks = change_tasks(engine.workflow(chunk))
            unsettled = [task for task in tasks if task["status"] in UNFINISHED and not is_held_back(task)]
            awaited += len(unsettled)
            for domain in {task.get("domain") for task in unsettled}:
                taken += _hold_back(engine, domain, unfinished)  # of all chunks: others share the queue
            if not unsettled:
                settled.add(chunk)
        if settled.issuperset(unfinished):
            return
        held_back += taken
        report(f"Held back {held_back}; waiting for the results of {max(awaited - taken, 0)} ...")
        if taken:
            deadline = time.monotonic() + _RESULTS_SECONDS
        elif time.monotonic() > deadline:
            return
        else:
            time.sleep(_FIRST_PAUSE_SECONDS)


def _hold_back(engine: EngineApi, domain: str | None, chunks: list[str]) -> int:
    """Take the tasks of these chunks out of their queue: once polled, a task is in nobody else's hands.

    Returns:
        How many were taken.
    """
    taken = 0
    others: list[JsonObject] = []
    try:
        while len(others) < _OTHERS_AT_MOST:
            polled = engine.poll(TASK_TYPE, STOP_WORKER, _POLLED_AT_ONCE, domain)
            taken += len(polled)
            others += [task for task in polled if task["workflowInstanceId"] not in chunks]
            if not polled:
                break
    finally:
        for task in others:
            output = untouched_output(task.get("outputData"), task.get("retryCount"), task.get("pollCount"))
            engine.return_task(task, output)
    return taken - len(others)
