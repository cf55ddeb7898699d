"""The path that a run of a workflow took."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dialpad_ivr.engine.api import JsonObject
from dialpad_ivr.testing.isolation import SWITCHES, WITHOUT_DOMAINS, Spec

DEFAULT_CASE: Final = "default"
"""The case of a SWITCH that took its `defaultCase`."""

_ITERATION: Final = re.compile(r"__\d+$")


@dataclass(frozen=True)
class Step:
    """A task that was executed.

    Attributes:
        reference: Its reference name; in a loop it ends with the iteration, such as `__1`.
        name: The name of its task definition, such as `set_custom_ivr`.
        type: Its type in the definition, such as SIMPLE, HTTP or SWITCH.
        status: Its last status.
        output: Its output.
        depth: How deep it is nested in cases, branches, loops and sub-workflows.
        attempts: How often it was executed, with its retries.
        case: Of a SWITCH, the case that it took: a key of its `decisionCases`, `default`, or `None` if it has none for
            the value.
        value: Of a SWITCH, the value that it compared.
    """

    reference: str
    name: str
    type: str
    status: str
    output: JsonObject
    depth: int
    attempts: int = 1
    case: str | None = None
    value: str | None = None

    @property
    def base_reference(self) -> str:
        """Its reference name without an iteration."""
        return without_iteration(self.reference)

    @property
    def is_switch(self) -> bool:
        """Whether it decides between branches."""
        return self.type in SWITCHES


@dataclass(frozen=True)
class WorkflowRun:
    """What a run with mocks did.

    Attributes:
        status: The workflow's last status: COMPLETED, FAILED, TERMINATED or TIMED_OUT.
        reason: Why it is not COMPLETED.
        output: Its output.
        variables: Its variables.
        steps: The tasks that were executed, in order, each sub-workflow's after the task that started it.
    """

    status: str
    reason: str | None
    output: JsonObject
    variables: JsonObject
    steps: tuple[Step, ...]

    @property
    def path(self) -> list[str]:
        """The reference names of the tasks that were executed, in order."""
        return [step.reference for step in self.steps]

    @property
    def branches(self) -> dict[str, str | None]:
        """The case that each SWITCH took, by its reference name; `None` where no case matched."""
        return {step.reference: step.case for step in self.steps if step.is_switch}


def path_taken(workflow: JsonObject, tasks: Iterable[tuple[int, JsonObject]], specs: Mapping[str, Spec]) -> WorkflowRun:
    """What an ended workflow did.

    Args:
        workflow: The workflow.
        tasks: Its tasks, with those of its sub-workflows.
        specs: The tasks as they are defined, by reference name.
    """
    steps: list[Step] = []
    fork_depth = 0
    for _, task in tasks:
        base = without_iteration(task["referenceTaskName"])
        spec = specs.get(base)
        if spec and spec.task.get("type") == "FORK_JOIN_DYNAMIC":
            fork_depth = spec.depth
        if not task.get("retried") and not base.endswith(WITHOUT_DOMAINS):
            steps.append(_step(task, spec, spec.depth if spec else fork_depth + 1))
    return WorkflowRun(
        status=workflow["status"],
        reason=workflow.get("reasonForIncompletion"),
        output=workflow.get("output") or {},
        variables=workflow.get("variables") or {},
        steps=tuple(steps),
    )


def _step(task: JsonObject, spec: Spec | None, depth: int) -> Step:
    case = value = None
    if spec and spec.task.get("type") in SWITCHES:
        value = str((task.get("inputData") or {}).get("case"))
        cases = spec.task.get("decisionCases") or {}
        case = value if value in cases else DEFAULT_CASE if "defaultCase" in spec.task else None
    return Step(
        reference=task["referenceTaskName"],
        name=task_name(task),
        type=str(spec.task.get("type") or "SIMPLE") if spec else task["taskType"],
        status=task["status"],
        output=task.get("outputData") or {},
        depth=depth,
        attempts=(task.get("retryCount") or 0) + 1,
        case=case,
        value=value,
    )


def task_name(task: JsonObject) -> str:
    """The name of an executed task's definition."""
    return str((task.get("workflowTask") or {}).get("name") or task["taskType"])


def without_iteration(reference: str) -> str:
    """A reference name without the iteration that a loop adds."""
    return _ITERATION.sub("", reference)
