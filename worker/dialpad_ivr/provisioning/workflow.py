"""A client of the workflow `provision_custom_ivrs`: starts, follows and approves runs, and reads their rows.

A run of a thousand rows takes megabytes on the engine, most of it copies of definitions. So the results of a completed
chunk are read once, from its variables, and only running chunks are read with their tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from dialpad_ivr.contract.outcomes import OK_OUTCOMES
from dialpad_ivr.contract.outputs import SelectedIvr
from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, EngineError, JsonObject
from dialpad_ivr.engine.follow import Progress, Report, WaitingTask, poll, waiting_task
from dialpad_ivr.provisioning.formats import FIELDS
from dialpad_ivr.provisioning.plan import Plan, PlannedChange

WORKFLOW: Final = "provision_custom_ivrs"
MAX_CHANGES: Final = 5000  # per run, because of the engine's limits
APPROVAL: Final = "approval"

# Running chunks that are read with their tasks on each refresh. The queue serves the earliest first.
_CHUNKS_READ: Final = 2
_FIRST_PAUSE_SECONDS: Final = 0.5


@dataclass(frozen=True)
class ChangeResult:
    """The result of one change.

    Attributes:
        change: The input of `set_custom_ivr`.
        line: Line in the file of changes; 0 if unknown.
        previous: The selection at the time of the plan; `None` if unknown.
        outcome: An outcome of the task; `not_sent`; `unknown` if dispatched without a result; `None` while pending.
    """

    change: JsonObject
    line: int
    previous: tuple[SelectedIvr, ...] | None
    outcome: str | None = None
    message: str = ""
    attempts: int = 0

    @property
    def ok(self) -> bool:
        """Whether the change succeeded."""
        return self.outcome in OK_OUTCOMES


def start(
    engine: EngineApi, plan: Plan, *, overwrite: bool, max_failures: str | None = None, approval: bool = False
) -> str:
    """Start the workflow with the changes of a plan.

    Args:
        engine: The engine.
        plan: The plan; only its rows with the action `change` are applied.
        overwrite: Whether to also change targets whose selection changed since the plan.
        max_failures: Failed changes, as a number or a percentage, after which no more changes are dispatched.
        approval: Whether to wait for approval before the first change.

    Returns:
        The workflow's id.

    Raises:
        EngineError: The engine did not start the workflow.
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
    params = {name: value for name in FIELDS if (value := getattr(row, name))}
    guard = {} if overwrite else {"if_selected": [ivr.id for ivr in row.previous]}
    note = {"line": row.line, "previous": [ivr.model_dump() for ivr in row.previous]}
    return {**params, **guard, "note": note}


class ProvisioningRun:
    """A run of the workflow, as of the last `refresh`.

    Attributes:
        status: The workflow's status.
        rows: In the order of the workflow's input.
        output: The workflow's output.
        reason: Why the workflow failed.
        waits_for_approval: Whether the run waits for approval.
        started_at: Milliseconds since 1970.
        ended_at: Milliseconds since 1970; 0 while running.
        plan: The plan's metadata in the workflow's input; empty for a run that was started without a plan.
        waiting: The changes that no worker has taken yet.
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
        self.waiting: list[WaitingTask] = []
        self._engine = engine
        self._chunks: dict[str, str] = {}  # last known status by workflow id
        self._more_to_start = True  # whether chunks of the current wave have no workflow yet

    @property
    def ended(self) -> bool:
        """Whether the run and its chunks have ended, and all results have been read."""
        return self.status in TERMINAL_STATUSES and not self._running_chunks()

    @property
    def counts(self) -> Counter[str]:
        """Rows by outcome, without pending ones."""
        return Counter(row.outcome for row in self.rows if row.outcome)

    def refresh(self) -> None:
        """Read the changes since the last refresh.

        Raises:
            EngineError: The engine did not answer, or there is no such run.
        """
        if self._more_to_start or not self._running_chunks():  # otherwise no chunk can have been added
            self._read_parent()
        elif self._engine.workflow_status(self.workflow_id)["status"] in TERMINAL_STATUSES:
            self._read_parent()  # the workflow was terminated
        chunks_read = 0
        self.waiting = []
        for chunk in self._running_chunks():
            current = self._engine.workflow_status(chunk)
            if current["status"] == "COMPLETED":
                self._read_results(current["variables"])
            elif current["status"] in TERMINAL_STATUSES or chunks_read < _CHUNKS_READ:
                chunks_read += 1
                self._read_tasks(self._engine.workflow(chunk))
            self._chunks[chunk] = current["status"]  # last: a read above may have failed
        if self.ended:
            self._mark_not_sent()

    def _running_chunks(self) -> list[str]:
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
            if waits := waiting_task(task):
                self.waiting.append(waits)
            output = task.get("outputData") or {}
            done = task["status"] not in ("SCHEDULED", "IN_PROGRESS", "CANCELED")
            outcome = output.get("outcome") if done else None
            if ended and outcome is None:
                outcome = "unknown" if task.get("pollCount") else "not_sent"  # a task never polled was never sent
            error = output.get("error") or {}
            if outcome is not None:
                self._note(first + index, outcome, error.get("message"), output.get("attempts"))

    def _note(self, number: int, outcome: str, message: Any, attempts: Any) -> None:
        row = self.rows[number]
        self.rows[number] = ChangeResult(
            row.change, row.line, row.previous, outcome, str(message or ""), int(attempts or 0)
        )

    def _mark_not_sent(self) -> None:
        """Mark the rows without a task as not sent."""
        for number, row in enumerate(self.rows):
            if row.outcome is None:
                self._note(number, "not_sent", "Nothing was sent.", 0)


class _Note(BaseModel):
    """The note that `start` attaches to a change, for the report; any other note is ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)

    line: int
    previous: list[SelectedIvr]


def _row(change: Any) -> ChangeResult:
    if not isinstance(change, dict):
        return ChangeResult({}, 0, None)
    params = {key: value for key, value in change.items() if key != "note"}
    try:
        note = _Note.model_validate(change.get("note"))
    except ValidationError:
        return ChangeResult(params, 0, None)
    return ChangeResult(params, note.line, tuple(note.previous))


def follow_run(
    run: ProvisioningRun,
    on_change: Callable[[ProvisioningRun], None],
    timeout_seconds: float,
    report: Report = lambda _: None,
) -> None:
    """Poll a run until it ends or the timeout is reached. Transient engine errors are retried.

    Args:
        run: The run.
        on_change: Called with the run after each refresh.
        timeout_seconds: How long to poll, in seconds.
        report: Called with a sentence during an outage, and once if no worker polls for a waiting change.

    Raises:
        EngineError: There is no such run, or the engine does not answer: it never did, or still does not at the
            timeout.
    """

    def read() -> Progress:
        run.refresh()
        on_change(run)
        return Progress(run.ended, (run.status, run.counts, run.waits_for_approval))

    poll(run._engine, read, lambda: run.waiting, timeout_seconds, report, _FIRST_PAUSE_SECONDS)


def running_workflow(engine: EngineApi, plan: Plan) -> str | None:
    """The id of a running workflow that applies this plan; `None` if there is none.

    Raises:
        EngineError: The engine did not answer.
    """
    runs = engine.correlated(WORKFLOW, plan.hash)
    return next((workflow["workflowId"] for workflow in runs if workflow["status"] not in TERMINAL_STATUSES), None)


def approve(engine: EngineApi, workflow_id: str, *, approved: bool, by: str, reason: str) -> None:
    """Approve or reject a run that waits for approval.

    Raises:
        EngineError: The run does not wait for approval.
    """
    task = _approval_task(engine.workflow(workflow_id))
    if task is None:
        raise EngineError(f"{workflow_id} does not wait for approval.", 409)
    engine.complete_task(workflow_id, task["taskId"], {"approved": approved, "by": by, "reason": reason})


def _approval_task(workflow: JsonObject) -> JsonObject | None:
    """The task in which a run currently waits for approval."""
    tasks: list[JsonObject] = workflow.get("tasks") or []
    waiting = (task for task in tasks if task["referenceTaskName"] == APPROVAL and task["status"] == "IN_PROGRESS")
    return next(waiting, None)
