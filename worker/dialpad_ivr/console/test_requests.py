"""A test request: through the engine where one is connected, else straight to Dialpad, by the worker's own code."""

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
_AT_ONCE_SECONDS = 2.0  # for which an answer is waited for; then the page asks for it again and again


@dataclass(frozen=True)
class RequestRun:
    """A test request, as far as it has come.

    Attributes:
        output: The task's output, once there is one.
        workflow_id: The engine's id of it; `None` if it went straight to Dialpad.
        task_status: What the engine says of the task while it is under way.
        problem: Why there is no output, and what to do.
    """

    output: TaskOutput | None = None
    workflow_id: str | None = None
    task_status: str | None = None
    problem: str | None = None

    @property
    def under_way(self) -> bool:
        """Whether there is more to come."""
        return self.task_status is not None


@dataclass(frozen=True)
class Connection:
    """Whether an engine answers.

    Attributes:
        version: Its version; `None` if none answers, or it refuses.
        problem: Why it refuses. Nothing goes past an engine that is there.
    """

    version: str | None = None
    problem: str | None = None


async def connect(engine: EngineApi) -> Connection:
    """Ask the engine whether it is there."""
    try:
        with anyio.fail_after(_CONNECT_SECONDS):  # the SDK would wait for two minutes
            return Connection(await anyio.to_thread.run_sync(engine.version, abandon_on_cancel=True))
    except EngineError as exc:
        return Connection(problem=str(exc) if exc.status else None)
    except TimeoutError:
        return Connection(problem=f"{engine.url} does not answer within {_CONNECT_SECONDS:g} s.")


async def through_engine(engine: EngineApi, task_type: str, given: JsonObject) -> RequestRun:
    """Start a test request on the engine, and wait a moment for its end."""
    name = f"{task_type}_test_request"

    def start() -> RequestRun:
        try:
            workflow_id = engine.start_workflow(name, given)
        except EngineError as exc:
            hint = " Put the definitions there with: dialpad-ivr register" if exc.status == 404 else ""
            return RequestRun(problem=f"{exc}{hint}")
        try:
            return _seen(follow(engine, workflow_id, lambda _: None, _AT_ONCE_SECONDS))
        except EngineError as exc:
            return RequestRun(workflow_id=workflow_id, task_status="UNKNOWN", problem=str(exc))

    return await anyio.to_thread.run_sync(start)


async def look(engine: EngineApi, workflow_id: str) -> RequestRun:
    """A test request that was started on the engine, as it is now."""
    try:
        return _seen(await anyio.to_thread.run_sync(engine.workflow, workflow_id))
    except EngineError as exc:
        return RequestRun(workflow_id=workflow_id, task_status="UNKNOWN" if exc.transient else None, problem=str(exc))


async def direct(tools: Tools, task_type: str, given: JsonObject) -> RequestRun:
    """Run the task here."""
    result = await TASKS[task_type](Delivery(given), tools)
    return RequestRun(output=result.output)


def _seen(workflow: JsonObject) -> RequestRun:
    workflow_id = workflow["workflowId"]
    ours = [task for task in workflow.get("tasks") or [] if task["taskDefName"] in INPUTS]
    ended = workflow["status"] in TERMINAL_STATUSES
    if not ours:
        problem = workflow.get("reasonForIncompletion") or "This workflow holds no task of this plugin."
        return RequestRun(None, workflow_id, None if ended else "SCHEDULED", problem if ended else None)
    task = ours[-1]
    output = _output(task["taskDefName"], task.get("outputData"))
    if not ended:
        return RequestRun(output, workflow_id, task["status"])
    problem = task.get("reasonForIncompletion") or workflow.get("reasonForIncompletion") if output is None else None
    return RequestRun(output, workflow_id, None, problem)


def _output(task_type: str, data: Any) -> TaskOutput | None:
    try:
        return OUTPUTS[task_type].model_validate(data)
    except ValueError:  # none yet, or that of another version
        return None
