"""Plans and provisioning runs for the stub of the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dialpad_ivr.contract.outputs import SelectedIvr
from dialpad_ivr.provisioning.plan import PlannedChange, make_plan, write_plan
from dialpad_ivr.provisioning.workflow import WORKFLOW
from dialpad_ivr.settings import load_settings

ID, CHUNK = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"
SLOT = {"target_type": "callcenter", "target_id": "5502522061422592", "ivr_type": "HOLD_MUSIC"}
NEW, OLD = "5127493019721728", "5127493019721729"
CHANGE = {**SLOT, "ivr_id": NEW}


def a_plan(*actions: str, api_url: str | None = None, path: Path = Path("changes.plan.json")) -> Path:
    """A plan with a row for each action."""
    rows = [
        PlannedChange.model_validate(
            {**SLOT, "line": line, "ivr_id": str(line), "action": action, "previous": (SelectedIvr(id=OLD),)}
        )
        for line, action in enumerate(actions, start=2)
    ]
    write_plan(make_plan(rows, api_url or load_settings().api_url, "changes.csv"), path)
    return path


def run_states(status: str, outcome: str = "updated", **more: Any) -> dict[str, list[dict[str, Any]]]:
    """A run of one change, and its chunk."""
    ok = outcome == "updated"
    change = {**CHANGE, "note": {"line": 2, "previous": [{"id": OLD, "name": "Winter"}], "ivr_name": "Summer"}}
    parent = {
        "workflowId": ID,
        "workflowName": WORKFLOW,
        "status": status,
        "input": {"changes": [change], "plan": {"api_url": "https://dialpad.com"}},
        "tasks": [{"taskType": "SUB_WORKFLOW", "referenceTaskName": "chunk", "status": status, "subWorkflowId": CHUNK}],
        "output": {"ok": ok, "message": "1 change"} if status == "COMPLETED" else {},
        **more,
    }
    result = {"row": 0, "outcome": outcome, "message": "", "attempts": 1}
    chunk = {
        "workflowId": CHUNK,
        "status": status,
        "variables": {"results": [result]},
        "input": {"first": 0},
        "tasks": [],
    }
    return {ID: [parent], CHUNK: [chunk]}


def waiting_for_approval() -> dict[str, list[dict[str, Any]]]:
    task = {"taskType": "HUMAN", "referenceTaskName": "approval", "status": "IN_PROGRESS", "taskId": "approval-task"}
    return run_states("RUNNING", tasks=[task])


def terminated_states(*tasks: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """A run of that many changes that was terminated, with these tasks in its chunk."""
    states = run_states("TERMINATED")
    (parent,), (chunk,) = states[ID], states[CHUNK]
    parent["input"]["changes"] *= len(tasks)
    chunk["variables"] = {}
    chunk["tasks"] = [change_task(number, **task) for number, task in enumerate(tasks)]
    return states


def running_states(*tasks: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The same run before it was terminated."""
    states = terminated_states(*tasks)
    for state in (states[ID][0], states[CHUNK][0]):
        state["status"] = "RUNNING"
    return states


def change_task(number: int, **more: Any) -> dict[str, Any]:
    """The task that makes a change of the chunk."""
    return {
        "taskType": "set_custom_ivr",
        "taskId": f"task-{number}",
        "workflowInstanceId": CHUNK,
        "status": "SCHEDULED",
        "pollCount": 0,
        "inputData": {"__index": number},
        **more,
    }
