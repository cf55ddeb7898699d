"""An override that an engine runs, and the guard that starts it, for the stub of the engine."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from dialpad_ivr.engine.definitions import shipped
from dialpad_ivr.provisioning.overrides import GUARD, WORKFLOW
from dialpad_ivr.provisioning.times import milliseconds
from support.runs import CHANGE
from support.stub import StubEngine

ID, GUARD_ID = "0e000000-0000-0000-0000-000000000001", "0e000000-0000-0000-0000-000000000002"


def with_a_guard(engine: StubEngine) -> StubEngine:
    """An engine with our workflows, and a guard that starts an override of another target."""
    engine.definitions = {(each.name, "1"): each.body for each in shipped() if each.kind == "workflow"}
    child = {"taskType": "SUB_WORKFLOW", "referenceTaskName": "override", "status": "IN_PROGRESS", "subWorkflowId": ID}
    guard = {"workflowId": GUARD_ID, "workflowName": GUARD, "status": "RUNNING", "tasks": [child]}
    engine.runs = {GUARD_ID: [guard], ID: [an_override("7")]}
    return engine


def an_override(target_id: str) -> dict[str, Any]:
    begun = milliseconds(datetime.now(timezone.utc)) - 1000
    return {
        "workflowId": ID,
        "workflowName": WORKFLOW,
        "status": "RUNNING",
        "startTime": 0,
        "input": {"changes": [{**CHANGE, "target_id": target_id}], "reason": "outage", "requested_by": "ann@desk"},
        "variables": {"phase": "active", "from_ms": begun, "until_ms": None},
        "tasks": [],
    }
