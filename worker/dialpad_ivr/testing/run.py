"""Run a workflow definition with mocked tasks, and say which path it took."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, JsonObject
from dialpad_ivr.engine.definitions import shipped
from dialpad_ivr.engine.follow import task_tree
from dialpad_ivr.settings import load_settings
from dialpad_ivr.testing.engines import KitEngine
from dialpad_ivr.testing.isolation import (
    EVALUATED,
    Find,
    Isolated,
    OwnEngineNeededError,
    WorkflowTestError,
    isolate,
)
from dialpad_ivr.testing.mocks import Mock
from dialpad_ivr.testing.path import WorkflowRun, path_taken, task_name, without_iteration

Mocks = Mapping[str, Mock | Sequence[Mock]]
"""Mocks by a task's reference name, else by its name, else for any other task by `*`.

The n-th of several is for the n-th execution, retries and iterations included; the last is for all after it.
"""

RunDefinition = Callable[..., "WorkflowRun"]
"""`run_definition` with an engine: `run_definition(definition, input, mocks)`."""

_STATUSES: Final = ("COMPLETED", "FAILED", "FAILED_WITH_TERMINAL_ERROR")
_OPEN: Final = ("SCHEDULED", "IN_PROGRESS")
_QUIET_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 0.02


def load_definition(source: Mapping[str, Any] | str | Path) -> JsonObject:
    """A workflow definition, given as it is or as a file.

    Raises:
        WorkflowTestError: The file cannot be read, or it is no workflow definition.
    """
    definition = dict(source) if isinstance(source, Mapping) else _read(source)
    if not isinstance(definition, dict) or not definition.get("name") or not isinstance(definition.get("tasks"), list):
        where = "This" if isinstance(source, Mapping) else source
        raise WorkflowTestError(f"{where} is no workflow definition: it needs a name and a list of tasks.")
    return definition


def _read(source: str | Path) -> Any:
    try:
        return json.loads(Path(source).read_text("utf-8-sig"))
    except OSError as exc:
        raise WorkflowTestError(f"{source} cannot be read: {exc.strerror}.") from None
    except (ValueError, RecursionError) as exc:
        raise WorkflowTestError(f"{source} is not valid JSON: {exc}") from None


def run_definition(
    definition: Mapping[str, Any] | str | Path,
    input: Mapping[str, Any],  # noqa: A002  # what the engine calls it
    mocks: Mocks,
    engine: KitEngine | None = None,
    definitions: Iterable[Mapping[str, Any]] = (),
) -> WorkflowRun:
    """Run a definition on an engine, with mocks in place of the tasks that do something; nothing else is reached.

    SWITCH, FORK_JOIN, JOIN, DO_WHILE, SUB_WORKFLOW, INLINE, JSON_JQ_TRANSFORM, SET_VARIABLE and TERMINATE are the
    engine's own. All other tasks need a mock: workers' tasks, HTTP, EVENT, HUMAN, ...; a WAIT without one ends at once.
    A SUB_WORKFLOW with a mock is not run. Retries do not wait. The definition is not registered, and the execution is
    removed afterwards.

    Args:
        definition: The definition in the engine's format, or a file with it.
        input: The workflow's input.
        mocks: `{"set_ivr": outcome_mock("not_found")}`; see `Mocks`.
        engine: The engine; the one that the settings name if absent.
        definitions: Definitions of sub-workflows, which come before those on the engine and those that are shipped.

    Raises:
        WorkflowTestError: The definition cannot be tested, or a task that was reached has no mock.
        EngineError: The engine rejects the definition, or does not answer.
    """
    engine = engine or KitEngine(EngineApi(load_settings()))
    for reference, given in mocks.items():
        _check(reference, given)
    isolated = isolate(load_definition(definition), mocks, definition_finder(engine.api, definitions))
    if isolated.forked and not engine.own:
        raise OwnEngineNeededError(
            f"A dynamic fork starts {isolated.forked[0]['name'].split('_', 2)[2]}, of which a copy has to be "
            "registered for the test.\nUse an engine of the test's own: kit_engine(None)."
        )
    for forked in isolated.forked:
        engine.api.put_workflow_definition(forked)
    workflow_id = engine.api.start_definition(isolated.definition, dict(input), f"test-{uuid.uuid4()}")
    try:
        return _Driver(engine.api, isolated, mocks).run(workflow_id)
    finally:
        engine.api.remove(workflow_id)


def definition_finder(api: EngineApi, definitions: Iterable[Mapping[str, Any]]) -> Find:
    """Finds workflow definitions: those given, then the engine's, then the shipped ones."""
    given = {str(definition.get("name")): dict(definition) for definition in definitions}

    def find(name: str, version: int | None) -> JsonObject | None:
        ours = (d.body for d in shipped() if (d.kind, d.name) == ("workflow", name))
        return given.get(name) or api.workflow_definition(name, version) or next(ours, None)

    return find


def _check(reference: str, given: Mock | Sequence[Mock]) -> None:
    for mock in _several(given):
        if not isinstance(mock, Mapping) or mock.get("status") not in _STATUSES:
            raise WorkflowTestError(
                f"The mock of {reference} needs a status: {', '.join(_STATUSES)}.\n"
                'For example {"status": "COMPLETED", "output": {}}, or outcome_mock("updated").'
            )
        if not isinstance(mock.get("output", {}), Mapping) or set(mock) - {"status", "output"}:
            raise WorkflowTestError(f"The mock of {reference} may have a status and an output (an object) only.")


def _several(given: Mock | Sequence[Mock]) -> Sequence[Mock]:
    return [given] if isinstance(given, Mapping) else given or [{"status": "COMPLETED", "output": {}}]


class _Driver:
    """Answers the tasks of a run with their mocks until the workflow has ended."""

    def __init__(self, api: EngineApi, isolated: Isolated, mocks: Mocks) -> None:
        self._api = api
        self._isolated = isolated
        self._mocks = mocks
        self._executions: Counter[str] = Counter()

    def run(self, workflow_id: str) -> WorkflowRun:
        seen: object = None
        deadline = time.monotonic() + _QUIET_SECONDS
        while True:
            workflow = self._api.workflow(workflow_id)
            tree = list(task_tree(self._api, workflow))
            if workflow["status"] in TERMINAL_STATUSES:
                return path_taken(workflow, tree, self._isolated.specs)
            tasks = [task for _, task in tree]
            waiting = [task for task in tasks if task["taskType"] not in EVALUATED and task["status"] in _OPEN]
            for task in waiting:
                mock = self._mock(task)
                self._api.update_task(
                    task["workflowInstanceId"], task["taskId"], mock["status"], mock["output"], _reason(mock)
                )
            state = [(task["taskId"], task["status"]) for task in tasks]
            if state != seen:
                seen, deadline = state, time.monotonic() + _QUIET_SECONDS
            elif time.monotonic() > deadline:
                still = ", ".join(task["referenceTaskName"] for task in tasks if task["status"] in _OPEN)
                raise WorkflowTestError(f"The workflow does not go on: {still or 'no task'} is still running.")
            if not waiting:  # a JOIN or a SUB_WORKFLOW, which the engine looks at every now and then
                time.sleep(_PAUSE_SECONDS)
                self._api.evaluate(workflow_id)

    def _mock(self, task: JsonObject) -> Mock:
        reference = task["referenceTaskName"]
        base, name = without_iteration(reference), task_name(task)
        spec = self._isolated.specs.get(base)
        for key in (reference, base, name, "*"):
            if key in self._mocks:
                several = _several(self._mocks[key])
                self._executions[key] += 1
                mock = several[min(self._executions[key], len(several)) - 1]
                return {"status": mock["status"], "output": dict(mock.get("output", {}))}
        if spec and spec.task.get("type") == "WAIT":
            return {"status": "COMPLETED", "output": {}}
        raise WorkflowTestError(
            f"The task {base} ({name}) was reached, and has no mock.\n"
            f'Add one: {{"{base}": {{"status": "COMPLETED", "output": {{}}}}}}, or "*" for all others.'
        )


def _reason(mock: Mock) -> str | None:
    """What the worker would give as the reason of a failure."""
    error = mock["output"].get("error")
    return f"{mock['output'].get('outcome')}: {error.get('message')}" if isinstance(error, Mapping) else None
