"""What must hold in a storm, as rules over the data of a run."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from support.engine import TERMINAL
from support.provisioning import ivr, old_ivr, target
from support.worker import KEYS

STEPS = 5
LIMITS = {"company": {"calls": 60, "window_seconds": 1}, "patch": {"calls": 600, "window_seconds": 10}}
CONCURRENCY = 8

# Faults that hide a change from the worker, which then rightly repeats it.
_HIDING = ("reset_after", "slow", "broken_json", "wrong_content_type")
_CLOCK_TOLERANCE_SECONDS = 0.01  # the engine and the double share a clock; the engine's times are whole milliseconds

Details = dict[str, Any]


@dataclass
class StormRun:
    """The data of a run.

    Attributes:
        chains: The targets' numbers.
        events: What happened when, in seconds.
        kills: Workers killed or suspended: each may repeat what it had in flight.
        tasks: The engine's tasks, from its database.
        workflows: The status of each chain's workflow, by id.
        override_workflows: The status of each other workflow: overrides, and what they start.
        overridden: The numbers of the targets that overrides changed.
        reported: The targets that the reports of the overrides name as not restored.
        ledger: The double's arrivals.
        selected: The final selection of each target.
        worst: The most calls in any window of the company's limit.
        logs: The workers' logs.
        exit_codes: Of the workers that were drained.
        memory: Resident MB of the oldest worker over time.
        seconds: The duration.
    """

    chains: range
    events: list[tuple[float, str]] = field(default_factory=list)
    kills: int = 0
    tasks: list[dict[str, Any]] = field(default_factory=list)
    workflows: dict[str, str] = field(default_factory=dict)
    override_workflows: dict[str, str] = field(default_factory=dict)
    overridden: range = range(0)
    reported: set[str] = field(default_factory=set)
    ledger: list[dict[str, Any]] = field(default_factory=list)
    selected: dict[str, str | None] = field(default_factory=dict)
    worst: int = 0
    logs: str = ""
    exit_codes: list[int] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    seconds: float = 0

    @property
    def statuses(self) -> dict[str, str]:
        """The status of each workflow, by id."""
        return {**self.workflows, **self.override_workflows}

    @property
    def log_events(self) -> list[str]:
        """The names of the events in the logs."""
        return re.findall(r'"event": "(\w+)"', self.logs)  # no JSON: the last line of a killed worker is cut short


class Rule(str, Enum):
    """What must hold."""

    EVERY_WORKFLOW_ENDED = "every_workflow_ended"
    EVERY_TASK_ENDED = "every_task_ended"
    ONE_WORKFLOW_PER_CHAIN = "one_workflow_per_chain"
    SUCCESS_SHOWS_THE_REQUESTED_IVR = "success_shows_the_requested_ivr"
    SUCCESS_HAS_ITS_CHANGE = "success_has_its_change"
    LAST_CHANGE_IS_SELECTED = "last_change_is_selected"
    OVERRIDES_RESTORE_OR_REPORT = "overrides_restore_or_report"
    LIMIT_NOT_EXCEEDED = "limit_not_exceeded"
    NEVER_THROTTLED = "never_throttled"
    NO_UNEXPLAINED_REPEATS = "no_unexplained_repeats"
    NO_BUG_IN_THE_LOGS = "no_bug_in_the_logs"
    DRAINED_WORKERS_EXIT_WITH_0 = "drained_workers_exit_with_0"
    NO_KEY_IN_THE_LOGS = "no_key_in_the_logs"


@dataclass(frozen=True)
class Violation:
    """A rule that was broken, and where."""

    rule: Rule
    details: Details


def violations(run: StormRun) -> list[Violation]:
    """Every violation of every rule."""
    return [Violation(rule, details) for rule, check in _CHECKS.items() for details in check(run)]


def requested_ivr(number: int, step: int) -> str:
    """The IVR that a step of a chain selects. Steps alternate; the first and the last select the new one."""
    return old_ivr(number) if step % 2 else ivr(number)


def repeats(run: StormRun) -> dict[str, int]:
    """How many changes were repeated right away: after a response that never came (explained), and otherwise."""
    counts = {"explained": 0, "unexplained": 0}
    previous: dict[str, dict[str, Any]] = {}
    for arrival in run.ledger:
        if not arrival["applied"]:
            continue
        before = previous.get(arrival["target_id"])
        if before is not None and before["after"] == arrival["after"]:
            # No status: the client had stopped waiting for the response.
            hidden = before["fault"] in _HIDING or before["status"] is None
            counts["explained" if hidden else "unexplained"] += 1
        previous[arrival["target_id"]] = arrival
    return counts


@dataclass(frozen=True)
class _Step:
    """A step that was started."""

    number: int
    step: int
    attempts: list[dict[str, Any]]

    @property
    def last(self) -> dict[str, Any]:
        return self.attempts[-1]

    @property
    def succeeded(self) -> bool:
        return bool(self.last["status"] == "COMPLETED")

    @property
    def requested(self) -> str:
        return requested_ivr(self.number, self.step)

    def details(self) -> Details:
        return {"target_id": target(self.number), "step": self.step, "output": self.last["outputData"]}


def _steps(run: StormRun) -> Iterator[_Step]:
    by_step: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    steps = (task for task in run.tasks if task["referenceTaskName"].startswith("step"))
    for task in sorted(steps, key=lambda task: int(task["retryCount"])):
        by_step[task["inputData"]["target_id"], task["referenceTaskName"]].append(task)
    for number in run.chains:
        for step in range(STEPS):
            attempts = by_step.get((target(number), f"step{step}"))
            if attempts:
                yield _Step(number, step, attempts)


def _successes(run: StormRun) -> Iterator[_Step]:
    return (step for step in _steps(run) if step.succeeded)


def _workflows_not_ended(run: StormRun) -> Iterator[Details]:
    for workflow_id, status in run.statuses.items():
        if status not in TERMINAL:
            yield {"workflow_id": workflow_id, "status": status}


def _tasks_not_ended(run: StormRun) -> Iterator[Details]:
    statuses = run.statuses
    for task in run.tasks:
        # Of a workflow that it cancels, the engine may miss what it evaluates or dispatches at that moment. What is in
        # progress there stays so, and does nothing; what is scheduled would still be dispatched.
        status = statuses.get(task["workflowInstanceId"])
        canceled = status in TERMINAL and status != "COMPLETED"
        if task["status"] == "SCHEDULED" or (task["status"] == "IN_PROGRESS" and not canceled):
            yield {"task_id": task["taskId"], "type": task["taskType"], "status": task["status"]}


def _missing_workflows(run: StormRun) -> Iterator[Details]:
    if len(run.workflows) != len(run.chains):
        yield {"workflows": len(run.workflows), "chains": len(run.chains)}


def _successes_with_another_ivr(run: StormRun) -> Iterator[Details]:
    for step in _successes(run):
        output = step.last["outputData"]
        if not (output["ok"] and output["ivr"]["selected"]["id"] == step.requested):
            yield step.details()


def _successes_without_change(run: StormRun) -> Iterator[Details]:
    made: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for arrival in run.ledger:
        if arrival["applied"]:
            made[arrival["target_id"]].append(arrival)
    for step in _successes(run):
        since = step.attempts[0]["scheduledTime"] / 1000 - _CLOCK_TOLERANCE_SECONDS
        by = step.last["endTime"] / 1000 + _CLOCK_TOLERANCE_SECONDS
        if not any(
            since <= arrival["wall"] <= by and arrival["after"]["inbound"] == step.requested
            for arrival in made[target(step.number)]
        ):
            yield step.details()


def _wrong_selections(run: StormRun) -> Iterator[Details]:
    possible = {number: {old_ivr(number)} for number in run.chains}
    for step in _steps(run):
        # A step that failed may have made its change or not.
        possible[step.number] = (set() if step.succeeded else possible[step.number]) | {step.requested}
    for number, ids in possible.items():
        selected = run.selected[target(number)]
        if selected not in ids:
            yield {"target_id": target(number), "selected": selected, "possible": sorted(ids)}


def _neither_as_before_nor_reported(run: StormRun) -> Iterator[Details]:
    for number in run.overridden:
        selected = run.selected[target(number)]
        if selected != old_ivr(number) and target(number) not in run.reported:
            yield {"target_id": target(number), "selected": selected, "before": old_ivr(number)}


def _limit_exceeded(run: StormRun) -> Iterator[Details]:
    if run.worst > LIMITS["company"]["calls"]:
        yield {"calls": run.worst}


def _throttled(run: StormRun) -> Iterator[Details]:
    for arrival in run.ledger:
        if arrival["status"] == 429 and arrival["fault"] is None:
            yield {"seq": arrival["seq"]}


def _unexplained_repeats(run: StormRun) -> Iterator[Details]:
    unexplained = repeats(run)["unexplained"]
    if unexplained > run.kills * CONCURRENCY:
        yield {"unexplained": unexplained, "kills": run.kills}


def _bugs_logged(run: StormRun) -> Iterator[Details]:
    for line in run.logs.splitlines():
        if "Traceback" in line or '"task_bug"' in line:
            yield {"line": line[:500]}


def _failed_drains(run: StormRun) -> Iterator[Details]:
    for code in run.exit_codes:
        if code:
            yield {"exit_code": code}


def _keys_logged(run: StormRun) -> Iterator[Details]:
    for key, company in KEYS.items():
        if key in run.logs:
            yield {"company": company}


_CHECKS: dict[Rule, Callable[[StormRun], Iterator[Details]]] = {
    Rule.EVERY_WORKFLOW_ENDED: _workflows_not_ended,
    Rule.EVERY_TASK_ENDED: _tasks_not_ended,
    Rule.ONE_WORKFLOW_PER_CHAIN: _missing_workflows,
    Rule.SUCCESS_SHOWS_THE_REQUESTED_IVR: _successes_with_another_ivr,
    Rule.SUCCESS_HAS_ITS_CHANGE: _successes_without_change,
    Rule.LAST_CHANGE_IS_SELECTED: _wrong_selections,
    Rule.OVERRIDES_RESTORE_OR_REPORT: _neither_as_before_nor_reported,
    Rule.LIMIT_NOT_EXCEEDED: _limit_exceeded,
    Rule.NEVER_THROTTLED: _throttled,
    Rule.NO_UNEXPLAINED_REPEATS: _unexplained_repeats,
    Rule.NO_BUG_IN_THE_LOGS: _bugs_logged,
    Rule.DRAINED_WORKERS_EXIT_WITH_0: _failed_drains,
    Rule.NO_KEY_IN_THE_LOGS: _keys_logged,
}
