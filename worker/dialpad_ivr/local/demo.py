"""The demo: five workflows on a real engine, each with its result and any mismatch with the expected one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, JsonObject
from dialpad_ivr.local.stack import Stack

WORKFLOW = "set_custom_ivr_branching"
_TIMEOUT_SECONDS = 60

_CALL_CENTER = {"target_type": "callcenter", "target_id": "5502522061422592"}


@dataclass(frozen=True)
class Scenario:
    """One workflow of the demo, and its expected result.

    Attributes:
        title: What it shows.
        inputs: The workflow's input.
        outcome: The expected outcome, which is also the expected branch.
        retries: The expected retries by the task definition.
        attempts: The expected number of PATCHes.
        faults: The faults that the double injects.
    """

    title: str
    inputs: JsonObject
    outcome: str
    retries: int = 0
    attempts: int = 1
    faults: list[JsonObject] = field(default_factory=list)


SCENARIOS = (
    Scenario(
        "a successful change",
        {**_CALL_CENTER, "ivr_type": "HOLD_MUSIC", "ivr_id": "5127493019721728"},
        "updated",
    ),
    Scenario(
        "an unknown target",
        {"target_type": "callcenter", "target_id": "404", "ivr_type": "HOLD_MUSIC", "ivr_id": "5127493019721728"},
        "not_found",
    ),
    Scenario(
        "an input with 3 errors",
        {"target_type": "CallCenter", "target_id": "-1", "ivr_type": "HOLD_MUSIC"},
        "invalid_input",
        attempts=0,
    ),
    Scenario(
        "a 429, then success",
        {**_CALL_CENTER, "ivr_type": "GREETING", "ivr_id": "5127493019721750"},
        "updated",
        attempts=2,
        faults=[{"fault": "rate_limited", "retry_after": 2, "match": {"ivr_type": "GREETING"}}],
    ),
    Scenario(
        "a 503, then success",
        {**_CALL_CENTER, "ivr_type": "CLOSED", "ivr_id": "5127493019721760"},
        "updated",
        retries=1,
        attempts=2,
        faults=[{"fault": "status", "status": 503, "match": {"ivr_type": "CLOSED"}}],
    ),
)


@dataclass(frozen=True)
class ScenarioResult:
    """The result of a scenario.

    Attributes:
        scenario: The scenario.
        workflow_id: The workflow's id.
        status: The workflow's final status.
        task_status: The task's final status.
        outcome: The task's outcome.
        branch: The branch that the workflow took.
        retries: Retries by the task definition.
        attempts: PATCHes sent.
        responses: HTTP statuses of the double's responses, in order; None for no response.
        seconds: The workflow's duration.
        mismatches: The differences from the expected result, each as a sentence.
    """

    scenario: Scenario
    workflow_id: str
    status: str
    task_status: str
    outcome: str | None
    branch: str | None
    retries: int
    attempts: int
    responses: list[int | None]
    seconds: float
    mismatches: list[str] = field(default_factory=list)


def run_scenarios(stack: Stack, on_progress: Callable[[int], None]) -> list[ScenarioResult]:
    """Run all scenarios at once.

    Args:
        stack: The stack to run them on.
        on_progress: Called with the number of workflows that have ended.

    Returns:
        The results, in the scenarios' order.

    Raises:
        EngineError: The engine does not respond.
        httpx.HTTPError: The double does not respond.
    """
    with httpx.Client(base_url=stack.double_url, timeout=10, trust_env=False) as double:
        for scenario in SCENARIOS:
            double.post("/_double/faults", json=scenario.faults).raise_for_status()
        engine = stack.engine
        ids = [engine.start_workflow(WORKFLOW, scenario.inputs) for scenario in SCENARIOS]
        workflows = _await_all(engine, ids, on_progress)
        arrivals = double.get("/_double/ledger").raise_for_status().json()["arrivals"]
        targets = double.get("/_double/state").raise_for_status().json()["targets"]
    return [_result(scenario, workflows[i], arrivals, targets) for scenario, i in zip(SCENARIOS, ids, strict=True)]


def _await_all(engine: EngineApi, ids: list[str], on_progress: Callable[[int], None]) -> dict[str, JsonObject]:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while True:
        workflows = {workflow_id: engine.workflow(workflow_id) for workflow_id in ids}
        ended = sum(workflow["status"] in TERMINAL_STATUSES for workflow in workflows.values())
        on_progress(ended)
        if ended == len(ids) or time.monotonic() > deadline:
            return workflows
        time.sleep(0.2)


def _result(scenario: Scenario, workflow: JsonObject, arrivals: list[Any], targets: list[Any]) -> ScenarioResult:
    attempts = [task for task in workflow["tasks"] if task["referenceTaskName"] == "set_ivr"]
    output = attempts[-1]["outputData"]
    inputs = scenario.inputs
    responses = [
        arrival["status"]
        for arrival in arrivals
        if (arrival["target_id"], arrival["ivr_type"]) == (inputs.get("target_id"), inputs.get("ivr_type"))
    ]
    result = ScenarioResult(
        scenario=scenario,
        workflow_id=workflow["workflowId"],
        status=workflow["status"],
        task_status=attempts[-1]["status"],
        outcome=output.get("outcome"),
        branch=workflow["output"].get("branch"),
        retries=attempts[-1]["retryCount"],
        attempts=output.get("attempts", 0),
        responses=responses,
        seconds=(workflow["endTime"] - workflow["startTime"]) / 1000 if workflow["endTime"] else 0.0,
    )
    ok = scenario.outcome == "updated"
    expected: dict[str, tuple[Any, Any]] = {
        "outcome": (result.outcome, scenario.outcome),
        "branch": (result.branch, scenario.outcome),
        "workflow": (result.status, "COMPLETED" if ok else "FAILED"),
        "task": (result.task_status, "COMPLETED" if ok else "COMPLETED_WITH_ERRORS"),
        "retries": (result.retries, scenario.retries),
        "attempts": (result.attempts, scenario.attempts),
        "requests that Dialpad received": (len(responses), scenario.attempts),
    }
    if ok:
        expected["selected in Dialpad"] = (_selected(targets, inputs), inputs["ivr_id"])
    mismatches = [f"{name} is {got}, expected {want}" for name, (got, want) in expected.items() if got != want]
    return replace(result, mismatches=mismatches)


def _selected(targets: list[Any], inputs: JsonObject) -> Any:
    for target in targets:
        if (target["target_type"], target["target_id"]) == (inputs["target_type"], inputs["target_id"]):
            return next(
                slot["selected"]["inbound"] for slot in target["slots"] if slot["ivr_type"] == inputs["ivr_type"]
            )
    return None
