"""Test requests: through the engine if one answers, else directly to Dialpad, by the worker's own code."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import anyio.to_thread

from dialpad_ivr.contract.outputs import ListCustomIvrsOutput, SelectedIvr, TaskOutput
from dialpad_ivr.contract.schema import INPUTS, OUTPUTS
from dialpad_ivr.dialpad.parsing import ivr_name
from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, EngineError, JsonObject
from dialpad_ivr.engine.follow import follow
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.registry import TASKS
from dialpad_ivr.tasks.tools import Tools

_INITIAL_WAIT_SECONDS = 2.0  # then the page polls
_KEPT = 20  # test requests


@dataclass(frozen=True)
class RequestState:
    """The state of a test request.

    Attributes:
        output: The task's output; `None` until there is one.
        payload: The task's input.
        workflow_id: Its workflow; `None` if it was sent directly to Dialpad.
        task_status: The task's status in the engine; `None` once it has ended.
        problem: Why there is no output, and how to fix it.
    """

    output: TaskOutput | None = None
    payload: JsonObject = field(default_factory=dict)
    workflow_id: str | None = None
    task_status: str | None = None
    problem: str | None = None

    @property
    def in_progress(self) -> bool:
        """Whether it has not ended yet."""
        return self.task_status is not None

    def ivr_name(self, ivr_id: str) -> str | None:
        """The name of an IVR, if the response shows it."""
        if isinstance(self.output, ListCustomIvrsOutput):
            return next((ivr.name for ivr in self.output.ivrs if ivr.id == ivr_id), None)
        body = self.output.response.body if self.output and self.output.response else None
        return ivr_name(body, ivr_id)

    @property
    def wanted(self) -> SelectedIvr | None:
        """The IVR that the request sets, or would set."""
        body = self.output.request.body if self.output and self.output.request else None
        ivr_id = str(body["ivr_id"]) if body else None
        return SelectedIvr(id=ivr_id, name=self.ivr_name(ivr_id)) if ivr_id else None


@dataclass
class SentRequest:
    """A test request that was sent: when, what and how it went."""

    id: str
    sent_at: int  # milliseconds since 1970
    task_type: str
    payload: JsonObject
    state: RequestState


class History:
    """The last test requests of this process, newest first."""

    def __init__(self) -> None:
        self.requests: deque[SentRequest] = deque(maxlen=_KEPT)
        self._count = 0

    def add(self, task_type: str, payload: JsonObject, state: RequestState) -> None:
        """Record a test request."""
        self._count += 1
        id_ = state.workflow_id or f"direct-{self._count}"
        self.requests.appendleft(SentRequest(id_, round(time.time() * 1000), task_type, payload, state))

    def find(self, id_: str) -> SentRequest | None:
        """A test request by its workflow's id, or its own if it was sent directly to Dialpad."""
        return next((request for request in self.requests if request.id == id_), None)

    def ivr_name(self, ivr_id: str) -> str | None:
        """The name of an IVR, if a response showed it."""
        return next((name for request in self.requests if (name := request.state.ivr_name(ivr_id))), None)


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
    return RequestState(result.output, payload)


def _state(workflow: JsonObject) -> RequestState:
    workflow_id = workflow["workflowId"]
    tasks = [task for task in workflow.get("tasks") or [] if task["taskDefName"] in INPUTS]
    ended = workflow["status"] in TERMINAL_STATUSES
    if not tasks:
        problem = workflow.get("reasonForIncompletion") or "This workflow has no task of this plugin."
        return RequestState(
            workflow_id=workflow_id, task_status=None if ended else "SCHEDULED", problem=problem if ended else None
        )
    task = tasks[-1]
    output, payload = _output(task["taskDefName"], task.get("outputData")), task.get("inputData") or {}
    if not ended:
        return RequestState(output, payload, workflow_id, task["status"])
    problem = task.get("reasonForIncompletion") or workflow.get("reasonForIncompletion") if output is None else None
    return RequestState(output, payload, workflow_id, None, problem)


def _output(task_type: str, data: Any) -> TaskOutput | None:
    try:
        return OUTPUTS[task_type].model_validate(data)
    except ValueError:  # no output yet, or another version's
        return None
