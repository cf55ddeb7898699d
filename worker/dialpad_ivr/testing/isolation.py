"""A copy of a workflow definition whose test run reaches nothing outside of the engine.

The engine's `POST /api/workflow/test` keeps workers away by a task domain that nobody polls, but runs the engine's own
system tasks all the same: it sends the HTTP request, publishes the event, and waits out the WAIT. So here every task
that the engine does not merely compute is replaced by a SIMPLE one, which waits for its mock. Sub-workflows are copied
into the definition that starts them, so that the same holds for them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from dialpad_ivr.engine.api import JsonObject

EVALUATED: Final = frozenset(
    {
        *("SWITCH", "DECISION", "FORK", "FORK_JOIN", "FORK_JOIN_DYNAMIC", "JOIN", "EXCLUSIVE_JOIN", "DO_WHILE"),
        *("SUB_WORKFLOW", "INLINE", "LAMBDA", "JSON_JQ_TRANSFORM", "SET_VARIABLE", "TERMINATE", "NOOP"),
    }
)
"""The types of tasks that the engine computes by itself, without reaching anything outside."""

SWITCHES: Final = ("SWITCH", "DECISION")
"""The types of tasks that decide between branches."""

# Of the workflow; the others start workflows, call listeners, or limit executions.
_KEPT: Final = (
    *("name", "version", "inputParameters", "inputTemplate", "outputParameters", "variables"),
    *("timeoutSeconds", "timeoutPolicy"),
)
# Of its tasks: each would reach outside, answer from a cache, or take time.
_DROPPED: Final = ("onStateChange", "cacheConfig", "startDelay", "sink")


WITHOUT_DOMAINS: Final = "_without_domains"
"""Ends the reference name of a task that only the copy has. The engine takes `__` for an iteration."""


class WorkflowTestError(Exception):
    """A definition cannot be tested. The message says why and what to do."""


class Spec(NamedTuple):
    """A task as the definition has it, and how deep it is nested there."""

    task: JsonObject
    depth: int


@dataclass
class Isolated:
    """An isolated definition.

    Attributes:
        definition: It, with its sub-workflows in it.
        forked: Copies of the workflows that its dynamic forks start by name, under names of their own: they have to be
            registered before, which is for an engine that nobody else uses.
        specs: The tasks of all of them as they were, by reference name.
    """

    definition: JsonObject
    forked: list[JsonObject] = field(default_factory=list)
    specs: dict[str, Spec] = field(default_factory=dict)


class OwnEngineNeededError(WorkflowTestError):
    """The test has to register definitions, so it needs an engine that nobody else uses: `kit_engine(None)`."""


Find = Callable[[str, int | None], JsonObject | None]
"""Finds a workflow definition by its name and version."""


def isolate(definition: Mapping[str, Any], mocked: Collection[str], find: Find) -> Isolated:
    """Copy a definition so that a run of it reaches nothing outside of the engine.

    Args:
        definition: A workflow definition in the engine's format. It is not changed.
        mocked: The reference names that have a mock: a SUB_WORKFLOW among them is not run.
        find: Finds the definitions of sub-workflows.

    Raises:
        WorkflowTestError: A sub-workflow is not found, or starts itself.
    """
    isolated = Isolated({})
    isolated.definition = _copy(definition, (), 0, mocked, find, isolated)
    return isolated


def _copy(
    definition: Mapping[str, Any],
    parents: tuple[str, ...],
    depth: int,
    mocked: Collection[str],
    find: Find,
    isolated: Isolated,
) -> JsonObject:
    inside = (*parents, str(definition["name"]))

    def copied(tasks: list[JsonObject], depth: int) -> list[JsonObject]:
        copies: list[JsonObject] = []
        for task in tasks:
            copy = copy_of(task, depth)
            if "forkTaskWorkflow" in (copy.get("inputParameters") or {}):
                copies.append(_domains_removed(copy))
            copies.append(copy)
        return copies

    def copy_of(task: JsonObject, depth: int) -> JsonObject:
        reference, kind = task["taskReferenceName"], task.get("type") or "SIMPLE"
        isolated.specs[reference] = Spec(task, depth)
        copy = {key: value for key, value in task.items() if key not in _DROPPED}
        if kind == "SUB_WORKFLOW" and reference not in mocked:
            return {**copy, "subWorkflowParam": with_definition(task, depth)}
        if kind not in EVALUATED or kind == "SUB_WORKFLOW":
            if kind == "SIMPLE":
                return copy
            once = {"name": task["name"], "retryCount": 0, "ownerEmail": "test@example.com"}
            return {**copy, "type": "SIMPLE", "taskDefinition": once, "subWorkflowParam": None}
        if kind == "FORK_JOIN_DYNAMIC" and "forkTaskWorkflow" in (task.get("inputParameters") or {}):
            copy["inputParameters"] = with_forked(task, depth)
        if "decisionCases" in task:
            cases = task["decisionCases"] or {}
            copy["decisionCases"] = {case: copied(tasks, depth + 1) for case, tasks in cases.items()}
        copy |= {key: copied(task[key], depth + 1) for key in ("defaultCase", "loopOver") if task.get(key)}
        if task.get("forkTasks"):
            copy["forkTasks"] = [copied(tasks, depth + 1) for tasks in task["forkTasks"]]
        return copy

    def with_definition(task: JsonObject, depth: int) -> JsonObject:
        param = task.get("subWorkflowParam") or {}
        child = param.get("workflowDefinition")
        if not isinstance(child, Mapping):
            child = found(task, str(param.get("name")), param.get("version"))
        # Without the domains of its own: real workers may poll them.
        kept = {key: value for key, value in param.items() if key not in ("taskToDomain", "version")}
        return {**kept, "workflowDefinition": _copy(child, inside, depth + 1, mocked, find, isolated)}

    def with_forked(task: JsonObject, depth: int) -> JsonObject:
        inputs = task["inputParameters"]
        version = str(inputs.get("forkTaskWorkflowVersion"))
        child = found(task, str(inputs["forkTaskWorkflow"]), int(version) if version.isdecimal() else None)
        copy = _copy(child, inside, depth + 2, mocked, find, isolated)
        name = f"test_{uuid.uuid4().hex}_{child['name']}"
        isolated.forked.append({**copy, "name": name, "version": 1})
        return {**inputs, "forkTaskWorkflow": name, "forkTaskWorkflowVersion": "1"}

    def found(task: JsonObject, name: str, version: int | None) -> JsonObject:
        if name in inside:
            raise WorkflowTestError(f"{task['taskReferenceName']} starts {name}, which it is part of.\n{_MOCK_IT}")
        child = find(name, version)
        if child is None:
            raise WorkflowTestError(
                f"{task['taskReferenceName']} starts the workflow {name}, which is found neither beside the "
                f"definition nor on the engine.\n{_MOCK_IT}"
            )
        return child

    kept = {key: definition[key] for key in _KEPT if key in definition}
    tasks = copied(definition["tasks"], depth)
    return {"ownerEmail": "test@example.com", "schemaVersion": 2, **kept, "tasks": tasks}


_MOCK_IT: Final = "Add its definition, or a mock under the task's reference name."


def _domains_removed(fork: JsonObject) -> JsonObject:
    """A task before a dynamic fork of workflows that removes their task domains, which real workers may poll.

    Makes the fork start what it gives.
    """
    reference = f"{fork['taskReferenceName']}{WITHOUT_DOMAINS}"
    inputs = fork["inputParameters"]
    query = '.given | if type == "array" then map(if type == "object" then del(.taskToDomain) else . end) else . end'
    task = {
        "name": reference,
        "taskReferenceName": reference,
        "type": "JSON_JQ_TRANSFORM",
        "inputParameters": {"given": inputs.get("forkTaskInputs"), "queryExpression": query},
    }
    fork["inputParameters"] = {**inputs, "forkTaskInputs": f"${{{reference}.output.result}}"}
    return task


def reads(task: Mapping[str, Any], reference: str) -> bool:
    """Whether a task's input refers to the output of another one."""
    return f"${{{reference}.output" in json.dumps(task.get("inputParameters") or {})
