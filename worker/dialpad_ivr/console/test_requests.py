"""Test requests: through the engine if one answers, else directly to Dialpad, by the worker's own code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio.to_thread

from dialpad_ivr.contract.outputs import TaskOutput
from dialpad_ivr.contract.schema import INPUTS, OUTPUTS
from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, EngineError, JsonObject
from dialpad_ivr.engine.follow import follow
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.registry import TASKS
from dialpad_ivr.tasks.tools import Tools

_CONNECT_SECONDS = 5.0
_INITIAL_WAIT_SECONDS = 2.0  # then the page polls


@dataclass(frozen=True)
class RequestState:
    """The state of a test request.

    Attributes:
        output: The task's output; `None` until there is one.
        workflow_id: Its workflow; `None` if it was sent directly to Dialpad.
        task_status: The task's status in the engine; `None` once it has ended.
        problem: Why there is no output, and how to fix it.
    """

    output: TaskOutput | None = None
    workflow_id: str | None = None
    task_status: str | None = None
    problem: str | None = None

    @property
    def in_progress(self) -> bool:
        """Whether it has not ended yet."""
        return self.task_status is not None


@dataclass(frozen=True)
class Connection:
    """The state of the connection to the engine.

    Attributes:
        version: The engine's version; `None` if none answers or access is denied.
        problem: Why an engine that is there cannot be used. Test requests never bypass it.
    """

    version: str | None = None
    problem: str | None = None


async def check_connection(engine: EngineApi) -> Connection:
    """Check whether an engine answers."""
    try:
        with anyio.fail_after(_CONNECT_SECONDS):  # the SDK's own timeout is two minutes
            return Connection(await anyio.to_thread.run_sync(engine.version, abandon_on_cancel=True))
    except EngineError as exc:
        return Connection(problem=str(exc) if exc.status else None)
    except TimeoutError:
        return Connection(problem=f"{engine.url} did not answer within {_CONNECT_SECONDS:g} s.")


async def send_through_engine(engine: EngineApi, task_type: str, payload: JsonObject) -> RequestState:
    """Start a test request on the engine and wait briefly for its result."""
    name = f"{task_type}_test_request"

    def start() -> RequestState:
        try:
            workflow_id = engine.start_workflow(name, payload)
        except EngineError as exc:
            hint = " Register the definitions with: dialpad-ivr register" if exc.status == 404 else ""
            return RequestState(problem=f"{exc}{hint}")
        try:
            return _state(follow(engine, workflow_id, lambda _: None, _INITIAL_WAIT_SECONDS))
        except EngineError as exc:
            return RequestState(workflow_id=workflow_id, task_status="UNKNOWN", problem=str(exc))

    return await anyio.to_thread.run_sync(start)


async def fetch_state(engine: EngineApi, workflow_id: str) -> RequestState:
    """The current state of a test request on the engine."""
    try:
        return _state(await anyio.to_thread.run_sync(engine.workflow, workflow_id))
    except EngineError as exc:
        return RequestState(workflow_id=workflow_id, task_status="UNKNOWN" if exc.transient else None, problem=str(exc))


async def send_directly(tools: Tools, task_type: str, payload: JsonObject) -> RequestState:
    """Run the task in this process."""
    result = await TASKS[task_type](Delivery(payload), tools)
    return RequestState(output=result.output)


def _state(workflow: JsonObject) -> RequestState:
    workflow_id = workflow["workflowId"]
    tasks = [task for task in workflow.get("tasks") or [] if task["taskDefName"] in INPUTS]
    ended = workflow["status"] in TERMINAL_STATUSES
    if not tasks:
        problem = workflow.get("reasonForIncompletion") or "This workflow has no task of this plugin."
        return RequestState(None, workflow_id, None if ended else "SCHEDULED", problem if ended else None)
    task = tasks[-1]
    output = _output(task["taskDefName"], task.get("outputData"))
    if not ended:
        return RequestState(output, workflow_id, task["status"])
    problem = task.get("reasonForIncompletion") or workflow.get("reasonForIncompletion") if output is None else None
    return RequestState(output, workflow_id, None, problem)


def _output(task_type: str, data: Any) -> TaskOutput | None:
    try:
        return OUTPUTS[task_type].model_validate(data)
    except ValueError:  # no output yet, or another version's
        return None
