"""Overrides as the engine shows them, for the stub of the engine."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from dialpad_ivr.provisioning.overrides import WORKFLOW
from dialpad_ivr.provisioning.times import milliseconds
from support.runs import CHANGE, OLD, run_states

XMAS = {
    "from_ms": milliseconds(datetime(2027, 12, 24, 17, tzinfo=timezone.utc)),
    "until_ms": milliseconds(datetime(2027, 12, 27, 7, tzinfo=timezone.utc)),
}
NOTE = {"line": 2, "previous": [{"id": OLD, "name": "Winter"}], "ivr_name": "Summer", "target_name": "Support"}
WAITS = {
    "planned": "before_wait",
    "approval": "approval",
    "active": "during_wait",
}


def override(state: str, workflow_id: str = "o1", reason: str = "Christmas", **more: Any) -> dict[str, Any]:
    """One of a single slot, as the engine has it."""
    ref = WAITS.get(state)
    wait = {"taskType": "WAIT", "referenceTaskName": ref, "status": "IN_PROGRESS", "taskId": "waits"}
    return {
        "workflowId": workflow_id,
        "workflowName": WORKFLOW,
        "status": "RUNNING",
        "startTime": 0,
        "input": {
            "changes": [{**CHANGE, "note": NOTE}],
            "reason": reason,
            "requested_by": "ann@desk",
            "zone": "Europe/Berlin",
        },
        "variables": {"phase": state, **XMAS},
        "tasks": [wait] if ref else [],
        **more,
    }


def half(name: str, outcome: str, run: str) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """A task that has started a provisioning run of the slot, and that run."""
    states = run_states("COMPLETED", outcome)
    (parent, *_), (chunk, *_) = states.values()
    parent = {**parent, "workflowId": run, "tasks": [{**parent["tasks"][0], "subWorkflowId": f"{run}-chunk"}]}
    result = {**chunk["variables"]["results"][0], "message": f"about {name}"}
    chunk = {**chunk, "workflowId": f"{run}-chunk", "variables": {"results": [result]}}
    task = {"taskType": "SUB_WORKFLOW", "referenceTaskName": name, "status": "COMPLETED", "subWorkflowId": run}
    return task, {run: [parent], f"{run}-chunk": [chunk]}


NOT_SENT = "Not sent: ops_chat answered 500."


def notification(half: str, status: str, workflow_id: str = "n1") -> tuple[dict[str, Any], dict[str, Any]]:
    """A task that has started a notification, and that."""
    task = {
        "taskType": "START_WORKFLOW",
        "referenceTaskName": f"notify_{half}",
        "status": "COMPLETED",
        "outputData": {"workflowId": workflow_id},
    }
    message = NOT_SENT if status == "FAILED" else "Sent: 200."
    output = {} if status == "RUNNING" else {"sent": status == "COMPLETED", "message": message}
    found = {"workflowId": workflow_id, "status": status, "output": output, "endTime": XMAS["from_ms"] + 20_000}
    return task, found


def ended(
    made: str, restored: str | None, outcome: str, workflow_id: str = "o1", left: int = 0, **more: Any
) -> dict[str, Any]:
    """The states of one that has ended, with its runs."""
    task, runs = half("apply", made, f"{workflow_id}-a")
    tasks = [task]
    if restored:
        task, found = half("restore", restored, f"{workflow_id}-r")
        tasks.append({**task, "startTime": XMAS["until_ms"] + 3_723_000})
        runs |= found
    output = {"outcome": outcome, "message": "1 overridden", "phase": "ended", "started_ms": XMAS["from_ms"] + 2000}
    output |= {"left_rows": left, "restored": {"counts": {restored: 1} if restored else {}}}
    status = {"success": "COMPLETED", "broken_off": "TERMINATED"}.get(outcome, "FAILED")
    known = {"status": status, "output": output, "endTime": XMAS["until_ms"] + 5000, "tasks": tasks, **more}
    return {**runs, workflow_id: [override("ended", workflow_id, **known)]}


def decided(reference: str, at: int, **output: Any) -> dict[str, Any]:
    """A task in which it waited, until a person decided something or its time was over."""
    task = {"taskType": "WAIT", "referenceTaskName": reference, "status": "COMPLETED", "endTime": at}
    return {**task, "outputData": output}


def not_made(outcome: str, state: str) -> dict[str, Any]:
    """The states of one, `active` or `ended`, whose change was not made, with its run."""
    states = ended(outcome, None, "failed")
    (found,) = states["o1"]
    found["tasks"][0]["outputData"] = {"rows": 1, "ok_rows": 0, "counts": {outcome: 1}}
    if state == "active":
        found |= {"status": "RUNNING", "output": {}, "endTime": 0, "variables": {"phase": "active", **XMAS}}
    return states


def repaired(restored: str, again: str) -> dict[str, Any]:
    """The states of one that ended with its slot left, and of the workflow that was to restore it since."""
    states = ended("updated", restored, "not_restored", left=1)
    task, runs = half("restore", again, "o1-again")
    states["o1"][0]["output"]["conductor.failure_workflow"] = "restorer"
    return {**states, **runs, "restorer": [{"workflowId": "restorer", "status": "COMPLETED", "tasks": [task]}]}
