"""The workflow `provision_custom_ivrs`, seen from outside: started, followed, and read row by row.

A run of a thousand rows is megabytes on the engine, most of it copies of definitions. So what has ended is read once,
from the variables of the chunks, and only the chunks at work are read with their tasks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from dialpad_ivr.contract.outcomes import OK_OUTCOMES
from dialpad_ivr.contract.outputs import SelectedIvr
from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, EngineError, JsonObject
from dialpad_ivr.provisioning.formats import FIELDS
from dialpad_ivr.provisioning.plan import Plan, PlannedChange

WORKFLOW: Final = "provision_custom_ivrs"
MOST_CHANGES: Final = 5000  # that the workflow takes, for the engine's limits
APPROVAL: Final = "approval"

# Of the chunks at work, so many are read with their tasks at a time: the queue serves the earliest first.
_LOOKED_INTO: Final = 2
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 5.0


@dataclass(frozen=True)
class ChangeResult:
    """What became of one change.

    Attributes:
        change: The input of `set_custom_ivr`.
        line: Of the file of changes; 0 where none is known.
        previous: What was selected when it was planned; `None` where that is not known.
        outcome: One of the task's, `not_sent`, `unknown` for one that was handed out but told nothing, or `None`
            while nothing is known yet.
    """

    change: JsonObject
    line: int
    previous: tuple[SelectedIvr, ...] | None
    outcome: str | None = None
    message: str = ""
    attempts: int = 0

    @property
    def ok(self) -> bool:
        """Whether it is as asked."""
        return self.outcome in OK_OUTCOMES


def start(
    engine: EngineApi, plan: Plan, *, overwrite: bool, max_failures: str | None = None, approval: bool = False
) -> str:
    """Start the workflow with the changes of a plan; returns its id.

    Args:
        engine: Where.
        plan: What; rows that are not to be changed are not handed out.
        overwrite: Whether to change a target whose selection is another one than the plan saw.
        max_failures: After how many failed changes, or which percentage, no more are handed out.
        approval: Whether to wait for a person first.

    Raises:
        EngineError: The engine refuses it.
    """
    inputs = {
        "changes": [_workflow_change(row, overwrite=overwrite) for row in plan.changes],
        "max_failures": max_failures,
        "approval": approval,
        "plan": {
            **plan.model_dump(include={"hash", "made_at", "api_url", "source"}),
            "actions": dict(plan.counts),
        },
    }
    return engine.start_workflow(WORKFLOW, inputs, correlation_id=plan.hash)


def _workflow_change(row: PlannedChange, *, overwrite: bool) -> JsonObject:
    asked = {name: value for name in FIELDS if (value := getattr(row, name))}
    guard = {} if overwrite else {"if_selected": [ivr.id for ivr in row.previous]}
    note = {"line": row.line, "previous": [ivr.model_dump() for ivr in row.previous]}
    return {**asked, **guard, "note": note}


class ProvisioningRun:
    """A run of the workflow, as far as it has been read.

    Attributes:
        status: The workflow's.
        rows: In the order in which they were handed in.
        output: The workflow's.
        reason: Why it failed.
        waits_for_approval: Whether a person has to approve it first.
        started_at: Milliseconds since 1970.
        ended_at: The same, 0 before.
        plan: What its input tells of the plan; empty if it was started otherwise.
    """

    def __init__(self, engine: EngineApi, workflow_id: str) -> None:
        self.workflow_id = workflow_id
        self.status = "RUNNING"
        self.rows: list[ChangeResult] = []
        self.output: JsonObject = {}
        self.reason = ""
        self.waits_for_approval = False
        self.started_at = self.ended_at = 0
        self.plan: JsonObject = {}
        self._engine = engine
        self._chunks: dict[str, str] = {}  # by workflow id: its status when last seen
        self._more_to_start = True  # chunks of this wave that have no workflow yet

    @property
    def ended(self) -> bool:
        """Whether it ended, its chunks too, and all of it is read."""
        return self.status in TERMINAL_STATUSES and not self._working()

    @property
    def counts(self) -> Counter[str]:
        """Rows by outcome; those without one are not counted."""
        return Counter(row.outcome for row in self.rows if row.outcome)

    def refresh(self) -> None:
        """Read what has changed.

        Raises:
            EngineError: The engine does not tell, or it is no such workflow.
        """
        if self._more_to_start or not self._working():  # else no chunk can have been added
            self._read_parent()
        elif self._engine.workflow_status(self.workflow_id)["status"] in TERMINAL_STATUSES:
            self._read_parent()  # somebody ended it
        looked_into = 0
        for chunk in self._working():
            now = self._engine.workflow_status(chunk)
            if now["status"] == "COMPLETED":
                self._read_results(now["variables"])
            elif now["status"] in TERMINAL_STATUSES or looked_into < _LOOKED_INTO:
                looked_into += 1
                self._read_tasks(self._engine.workflow(chunk))
            self._chunks[chunk] = now["status"]  # only now: the engine may have failed to tell
        if self.ended:
            self._close()

    def _working(self) -> list[str]:
        return [chunk for chunk, status in self._chunks.items() if status not in TERMINAL_STATUSES]

    def _read_parent(self) -> None:
        workflow = self._engine.workflow(self.workflow_id)
        if workflow.get("workflowName") != WORKFLOW:
            raise EngineError(f"{self.workflow_id} is a run of {workflow.get('workflowName')}, not of {WORKFLOW}.", 404)
        if not self.rows:
            inputs = workflow.get("input") or {}
            changes, plan = inputs.get("changes"), inputs.get("plan")
            self.rows = [_row(change) for change in changes] if isinstance(changes, list) else []
            self.plan = plan if isinstance(plan, dict) else {}
        tasks = workflow.get("tasks") or []
        chunks = [task.get("subWorkflowId") for task in tasks if task["taskType"] == "SUB_WORKFLOW"]
        self._more_to_start = not all(chunks)
        for chunk in filter(None, chunks):
            self._chunks.setdefault(chunk, "RUNNING")
        self.waits_for_approval = _approval_task(workflow) is not None
        self.started_at, self.ended_at = workflow.get("startTime") or 0, workflow.get("endTime") or 0
        self.output, self.reason = workflow.get("output") or {}, workflow.get("reasonForIncompletion") or ""
        self.status = workflow["status"]

    def _read_results(self, variables: JsonObject) -> None:
        for result in variables.get("results") or []:
            self._note(result["row"], result["outcome"], result.get("message"), result.get("attempts"))

    def _read_tasks(self, chunk: JsonObject) -> None:
        first = chunk["input"]["first"]
        ended = chunk["status"] in TERMINAL_STATUSES
        for task in chunk.get("tasks") or []:
            index = (task.get("inputData") or {}).get("__index")
            if task["taskType"] != "set_custom_ivr" or index is None or task.get("retried"):
                continue
            output = task.get("outputData") or {}
            over = task["status"] not in ("SCHEDULED", "IN_PROGRESS", "CANCELED")
            outcome = output.get("outcome") if over else None
            if ended and outcome is None:
                # Never polled, it was never sent.
                outcome = "unknown" if task.get("pollCount") else "not_sent"
            error = output.get("error") or {}
            if outcome is not None:
                self._note(first + index, outcome, error.get("message"), output.get("attempts"))

    def _note(self, number: int, outcome: str, message: Any, attempts: Any) -> None:
        row = self.rows[number]
        self.rows[number] = ChangeResult(
            row.change, row.line, row.previous, outcome, str(message or ""), int(attempts or 0)
        )

    def _close(self) -> None:
        """What was never heard of was never handed out."""
        for number, row in enumerate(self.rows):
            if row.outcome is None:
                self._note(number, "not_sent", "Nothing was sent.", 0)


class _Note(BaseModel):
    """What `start` hands in with a change, for the report; anybody else's note is not read."""

    model_config = ConfigDict(extra="forbid", strict=True)

    line: int
    previous: list[SelectedIvr]


def _row(change: Any) -> ChangeResult:
    if not isinstance(change, dict):
        return ChangeResult({}, 0, None)
    asked = {key: value for key, value in change.items() if key != "note"}
    try:
        note = _Note.model_validate(change.get("note"))
    except ValidationError:
        return ChangeResult(asked, 0, None)
    return ChangeResult(asked, note.line, tuple(note.previous))


def follow_run(run: ProvisioningRun, on_change: Callable[[ProvisioningRun], None], timeout_seconds: float) -> None:
    """Read a run again and again until it ends, or the time is up. An engine that does not answer is asked again.

    Raises:
        EngineError: There is no such run, or the engine did not answer until the time was up.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        began = time.monotonic()
        try:
            run.refresh()
        except EngineError as exc:
            if not exc.transient or time.monotonic() > deadline:
                raise
        else:
            on_change(run)
            if run.ended or time.monotonic() > deadline:
                return
        # A fifth of the engine's time at most is ours: it has work to do.
        took = time.monotonic() - began
        time.sleep(min(max(4 * took, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS))


def running_with(engine: EngineApi, plan: Plan) -> str | None:
    """The id of a run that is applying this very plan now; `None` if there is none.

    Raises:
        EngineError: The engine does not tell.
    """
    found = engine.correlated(WORKFLOW, plan.hash)
    return next((workflow["workflowId"] for workflow in found if workflow["status"] not in TERMINAL_STATUSES), None)


def approve(engine: EngineApi, workflow_id: str, *, approved: bool, by: str, reason: str) -> None:
    """Let a run that waits for approval go on, or end.

    Raises:
        EngineError: It does not wait for approval.
    """
    task = _approval_task(engine.workflow(workflow_id))
    if task is None:
        raise EngineError(f"{workflow_id} does not wait for approval.", 409)
    engine.complete_task(workflow_id, task["taskId"], {"approved": approved, "by": by, "reason": reason})


def _approval_task(workflow: JsonObject) -> JsonObject | None:
    """The task of a run that waits for a person now."""
    tasks: list[JsonObject] = workflow.get("tasks") or []
    waiting = (task for task in tasks if task["referenceTaskName"] == APPROVAL and task["status"] == "IN_PROGRESS")
    return next(waiting, None)
