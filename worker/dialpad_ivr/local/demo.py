"""The demo: a handful of real workflows, what happened to each, and whether that is as it should be."""

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
    """One workflow of the demo, and how it should end.

    Attributes:
        title: What it shows.
        inputs: The workflow's input.
        outcome: The outcome, and so the branch, that it should come to.
        retries: Retries of the task definition that it should cost.
        attempts: PATCHes that it should take.
        faults: How the double misbehaves meanwhile.
    """

    title: str
    inputs: JsonObject
    outcome: str
    retries: int = 0
    attempts: int = 1
    faults: list[JsonObject] = field(default_factory=list)


SCENARIOS = (
    Scenario(
        "a change that is made",
        {**_CALL_CENTER, "ivr_type": "HOLD_MUSIC", "ivr_id": "5127493019721728"},
        "updated",
    ),
    Scenario(
        "an unknown target",
        {"target_type": "callcenter", "target_id": "404", "ivr_type": "HOLD_MUSIC", "ivr_id": "5127493019721728"},
        "not_found",
    ),
    Scenario(
        "an input with 3 mistakes",
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
class Ending:
    """How a scenario ended.

    Attributes:
        scenario: Which.
        workflow_id: Its workflow.
        status: The workflow's.
        task_status: The task's, in the end.
        outcome: The task's outcome.
        branch: The branch that the workflow took.
        retries: What it cost in retries of the task definition.
        attempts: PATCHes sent.
        answers: The statuses that the double answered with.
        seconds: From its start to its end.
        mistakes: In what it is not as it should be.
    """

    scenario: Scenario
    workflow_id: str
    status: str
    task_status: str
    outcome: str | None
    branch: str | None
    retries: int
    attempts: int
    answers: list[int | None]
    seconds: float
    mistakes: list[str] = field(default_factory=list)


def play(stack: Stack, on_progress: Callable[[int], None]) -> list[Ending]:
    """Run all scenarios at once.

    Args:
        stack: Where.
        on_progress: Told how many have ended.

    Returns:
        How each ended, in the scenarios' order.

    Raises:
        EngineError: The engine does not answer.
        httpx.HTTPError: The double does not.
    """
    with httpx.Client(base_url=stack.double_url, timeout=10, trust_env=False) as double:
        for scenario in SCENARIOS:
            double.post("/_double/faults", json=scenario.faults).raise_for_status()
        engine = stack.engine
        ids = [engine.start_workflow(WORKFLOW, scenario.inputs) for scenario in SCENARIOS]
        workflows = _await_all(engine, ids, on_progress)
        lines = double.get("/_double/ledger").raise_for_status().json()["arrivals"]
        state = double.get("/_double/state").raise_for_status().json()["targets"]
    return [_ending(scenario, workflows[i], lines, state) for scenario, i in zip(SCENARIOS, ids, strict=True)]


def _await_all(engine: EngineApi, ids: list[str], on_progress: Callable[[int], None]) -> dict[str, JsonObject]:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while True:
        workflows = {workflow_id: engine.workflow(workflow_id) for workflow_id in ids}
        ended = sum(workflow["status"] in TERMINAL_STATUSES for workflow in workflows.values())
        on_progress(ended)
        if ended == len(ids) or time.monotonic() > deadline:
            return workflows
        time.sleep(0.2)


def _ending(scenario: Scenario, workflow: JsonObject, lines: list[Any], state: list[Any]) -> Ending:
    tries = [task for task in workflow["tasks"] if task["referenceTaskName"] == "set_ivr"]
    output = tries[-1]["outputData"]
    asked = scenario.inputs
    answers = [
        line["status"]
        for line in lines
        if (line["target_id"], line["ivr_type"]) == (asked.get("target_id"), asked.get("ivr_type"))
    ]
    ending = Ending(
        scenario=scenario,
        workflow_id=workflow["workflowId"],
        status=workflow["status"],
        task_status=tries[-1]["status"],
        outcome=output.get("outcome"),
        branch=workflow["output"].get("branch"),
        retries=tries[-1]["retryCount"],
        attempts=output.get("attempts", 0),
        answers=answers,
        seconds=(workflow["endTime"] - workflow["startTime"]) / 1000 if workflow["endTime"] else 0.0,
    )
    ok = scenario.outcome == "updated"
    expected: dict[str, tuple[Any, Any]] = {
        "outcome": (ending.outcome, scenario.outcome),
        "branch": (ending.branch, scenario.outcome),
        "workflow": (ending.status, "COMPLETED" if ok else "FAILED"),
        "task": (ending.task_status, "COMPLETED" if ok else "COMPLETED_WITH_ERRORS"),
        "retries": (ending.retries, scenario.retries),
        "attempts": (ending.attempts, scenario.attempts),
        "calls that Dialpad saw": (len(answers), scenario.attempts),
    }
    if ok:
        expected["selected in Dialpad"] = (_selected(state, asked), asked["ivr_id"])
    mistakes = [f"{what} is {got}, not {want}" for what, (got, want) in expected.items() if got != want]
    return replace(ending, mistakes=mistakes)


def _selected(state: list[Any], asked: JsonObject) -> Any:
    for target in state:
        if (target["target_type"], target["target_id"]) == (asked["target_type"], asked["target_id"]):
            return next(
                slot["selected"]["inbound"] for slot in target["slots"] if slot["ivr_type"] == asked["ivr_type"]
            )
    return None
