"""A run of the workflow `provision_custom_ivrs`, read from the engine: its progress, and the result of each change.

A run of a thousand rows takes megabytes on the engine, most of it copies of definitions. So the results of a completed
chunk are read once, from its variables, and only running chunks are read with their tasks.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from dialpad_ivr.contract.outcomes import OK_OUTCOMES
from dialpad_ivr.contract.outputs import SelectedIvr
from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, EngineError, JsonObject
from dialpad_ivr.engine.follow import WaitingTask, waiting_task

WORKFLOW: Final = "provision_custom_ivrs"
APPROVAL: Final = "approval"

# The engine looks for a task whose worker is gone when its response timeout is over, but after a restart it may do so a
# minute or two late.
_OVERDUE_SECONDS: Final = 3.0
# Running chunks that are read with their tasks on each refresh. The queue serves the earliest first.
_CHUNKS_READ: Final = 2
UNFINISHED: Final = ("SCHEDULED", "IN_PROGRESS")
STOP_WORKER: Final = "dialpad-ivr stop"
"""The worker id under which `stop` polls the tasks that wait, so that no worker gets them."""

_NOT_SENT: Final = "No request was sent."
_LOST: Final = "A worker had this change when the run ended, and its result was lost."
# The engine loses its note of a poll that comes while it terminates the workflow. Up to that many rows of a task domain
# beyond the last one that was certainly polled, nobody knows: it schedules several chunks at a time, and dispatches
# those of a domain in that order.
_REACH: Final = 500
_PERHAPS_TAKEN: Final = "The run was terminated while workers took its changes: this one may have been sent."
NO_RESULT: Final = ("unknown", "not_sent")
"""The outcomes of changes without a result, in a run that ended early."""


@dataclass(frozen=True)
class ChangeResult:
    """The result of one change.

    Attributes:
        change: The input of `set_custom_ivr`.
        line: Line in the file of changes; 0 if unknown.
        previous: The selection at the time of the plan; `None` if unknown.
        outcome: An outcome of the task; `not_sent`; `unknown` if dispatched without a result; `None` while pending.
        message: Why the outcome is not ok.
        attempts: How often the change was sent.
        ivr_name: Name of the IVR to select, if known.
        target_name: Name of the target, if it was looked up.
        office_name: Name of its office, if that is known too.
    """

    change: JsonObject
    line: int
    previous: tuple[SelectedIvr, ...] | None
    outcome: str | None = None
    message: str = ""
    attempts: int = 0
    ivr_name: str | None = None
    target_name: str | None = None
    office_name: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the change succeeded."""
        return self.outcome in OK_OUTCOMES


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
        engine: The engine.
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
        self.engine = engine
        self._chunks: dict[str, str] = {}  # last known status by workflow id
        self._last_taken: dict[str | None, int] = {}  # the highest row that a worker is known to have taken, by domain
        # Rows that the engine canceled without a note of a poll, by domain.
        self._perhaps_taken: defaultdict[str | None, list[int]] = defaultdict(list)
        self._in_flight: dict[str, int] = {}  # tasks that workers hold, by running chunk
        self._more_to_start = True  # whether chunks of the current wave have no workflow yet

    @property
    def ended(self) -> bool:
        """Whether the run and its chunks have ended, and all results have been read."""
        return self.status in TERMINAL_STATUSES and not self._running_chunks()

    @property
    def counts(self) -> Counter[str]:
        """Rows by outcome, without pending ones."""
        return Counter(row.outcome for row in self.rows if row.outcome)

    @property
    def done(self) -> int:
        """The number of changes that succeeded: the progress."""
        return sum(row.ok for row in self.rows)

    @property
    def in_flight(self) -> int:
        """The number of changes that workers are making right now, as far as it was read."""
        return sum(self._in_flight.get(chunk, 0) for chunk in self._running_chunks())

    @property
    def ended_early(self) -> bool:
        """Whether the run ended although the result of a change is unknown, or a change was not sent."""
        return self.ended and any(row.outcome in NO_RESULT for row in self.rows)

    @property
    def summary(self) -> str:
        """The state in one sentence for people."""
        total, counts = len(self.rows), self.counts
        failed = sum(counts.values()) - self.done - sum(counts[outcome] for outcome in NO_RESULT)
        parts = [f"{self.done} of {total} change{'' if total == 1 else 's'} done"]
        parts += [f"{failed} failed"] if failed else []
        if not self.ended_early:
            return f"{', '.join(parts)}."
        lost = [f"{counts[outcome]} {outcome.replace('_', ' ')}" for outcome in NO_RESULT if counts[outcome]]
        return f"Ended early: {', '.join([*(parts if self.done or failed else []), *lost])}."

    def refresh(self) -> None:
        """Read the changes since the last refresh.

        Raises:
            EngineError: The engine did not answer, or there is no such run.
        """
        if self._more_to_start or not self._running_chunks():  # otherwise no chunk can have been added
            self._read_parent()
        elif self.engine.workflow_status(self.workflow_id)["status"] in TERMINAL_STATUSES:
            self._read_parent()  # the workflow was terminated
        chunks_read = 0
        self.waiting = []
        for chunk in self._running_chunks():
            current = self.engine.workflow_status(chunk)
            if current["status"] == "COMPLETED":
                self._read_results(current["variables"])
            elif current["status"] in TERMINAL_STATUSES or chunks_read < _CHUNKS_READ:
                chunks_read += 1
                self._read_tasks(found := self.engine.workflow(chunk))
                if any(map(_is_overdue, change_tasks(found))):
                    self.engine.evaluate(chunk)
            self._chunks[chunk] = current["status"]  # last: a read above may have failed
        if self.ended:
            self._mark_the_rest()

    def evaluate(self) -> None:
        """Let the engine look at the run and its chunks now.

        When it misses the end of a task, by itself it looks again after the response timeout. And a JOIN that a server
        had taken from its queue when it was stopped comes back only after a minute or two.
        """
        for workflow_id in (*self._running_chunks(), self.workflow_id):
            self.engine.evaluate(workflow_id)
        for workflow_id in (*self._running_chunks()[:_CHUNKS_READ], self.workflow_id):
            tasks = self.engine.workflow(workflow_id).get("tasks") or []
            unfinished = [task for task in tasks if task["status"] in UNFINISHED and task["taskType"] != "DO_WHILE"]
            if len(unfinished) == 1 and unfinished[0]["taskType"] == "JOIN":  # all that it waits for has ended
                self.engine.return_task(unfinished[0], unfinished[0].get("outputData") or {})

    def _running_chunks(self) -> list[str]:
        return [chunk for chunk, status in self._chunks.items() if status not in TERMINAL_STATUSES]

    def _read_parent(self) -> None:
        workflow = self.engine.workflow(self.workflow_id)
        if workflow.get("workflowName") != WORKFLOW:
            raise EngineError(f"{self.workflow_id} is a run of {workflow.get('workflowName')}, not of {WORKFLOW}.", 404)
        if not self.rows:
            inputs = workflow.get("input") or {}
            changes, plan = inputs.get("changes"), inputs.get("plan")
            self.rows = [_row(change) for change in changes] if isinstance(changes, list) else []
            self.plan = plan if isinstance(plan, dict) else {}
        tasks = workflow.get("tasks") or []
        starts = [task for task in tasks if task["taskType"] == "SUB_WORKFLOW" and not task.get("retried")]
        chunks = [task.get("subWorkflowId") for task in starts]
        self._more_to_start = not all(chunks)
        for chunk in filter(None, chunks):
            self._chunks.setdefault(chunk, "RUNNING")
        self.waits_for_approval = approval_task(workflow) is not None
        self.started_at, self.ended_at = workflow.get("startTime") or 0, workflow.get("endTime") or 0
        self.output, self.reason = workflow.get("output") or {}, workflow.get("reasonForIncompletion") or ""
        self.status = workflow["status"]

    def _read_results(self, variables: JsonObject) -> None:
        for result in variables.get("results") or []:
            self._note(result["row"], result["outcome"], result.get("message"), result.get("attempts"))

    def _read_tasks(self, chunk: JsonObject) -> None:
        first, ended = chunk["input"]["first"], chunk["status"] in TERMINAL_STATUSES
        tasks = change_tasks(chunk)
        self.waiting += filter(None, map(waiting_task, tasks))
        for task in tasks:  # an attempt comes before its retry
            number, domain = first + task["inputData"]["__index"], task.get("domain")
            output = task.get("outputData") or {}
            done = task["status"] not in (*UNFINISHED, "CANCELED")
            outcome = output.get("outcome") if done else None
            held_back = is_held_back(task)
            if (task.get("pollCount") or done) and not held_back:
                self._last_taken[domain] = max(self._last_taken.get(domain, 0), number)
            if outcome is not None and (ended or not task.get("retried")):
                self._note(number, outcome, (output.get("error") or {}).get("message"), output.get("attempts"))
            elif ended and not held_back:
                if task.get("pollCount"):
                    self._note(number, "unknown", _LOST, output.get("attempts"))
                elif self.rows[number].outcome is None:
                    self._perhaps_taken[domain].append(number)
        self._in_flight[chunk["workflowId"]] = sum(
            task["status"] == "IN_PROGRESS" and not is_held_back(task) for task in tasks
        )

    def _note(self, number: int, outcome: str, message: Any, attempts: Any) -> None:
        self.rows[number] = replace(
            self.rows[number], outcome=outcome, message=str(message or ""), attempts=int(attempts or 0)
        )

    def _mark_the_rest(self) -> None:
        """Settle the rows without a result: `unknown` if a worker may have taken them, else `not_sent`."""
        for domain, numbers in self._perhaps_taken.items() if self._last_taken else ():
            last = self._last_taken.get(domain, -1)
            certainly_not = sorted(number for number in numbers if number > last)[_REACH:]
            for number in {*numbers}.difference(certainly_not):
                if self.rows[number].outcome is None:
                    self._note(number, "unknown", _PERHAPS_TAKEN, 0)
        for number, row in enumerate(self.rows):
            if row.outcome is None:
                self._note(number, "not_sent", _NOT_SENT, 0)


def unfinished_chunks(workflow: JsonObject) -> list[str]:
    """The ids of a run's chunks that have not ended."""
    tasks: list[JsonObject] = workflow.get("tasks") or []
    return [
        task["subWorkflowId"]
        for task in tasks
        if task["taskType"] == "SUB_WORKFLOW" and task.get("subWorkflowId") and task["status"] in UNFINISHED
    ]


def change_tasks(chunk: JsonObject) -> list[JsonObject]:
    """The tasks of a chunk that make its changes, in the order in which they were scheduled; retries are tasks, too."""
    tasks: list[JsonObject] = chunk.get("tasks") or []
    return [task for task in tasks if task["taskType"] == TASK_TYPE and "__index" in (task.get("inputData") or {})]


def _is_overdue(task: JsonObject) -> bool:
    """Whether the engine has to deliver a task again, since no worker has reported it."""
    if task["status"] != "IN_PROGRESS":
        return False
    seconds = (task.get("responseTimeoutSeconds") or 0) + (task.get("callbackAfterSeconds") or 0) + _OVERDUE_SECONDS
    return time.time() > (task.get("updateTime") or math.inf) / 1000 + seconds


def is_held_back(task: JsonObject) -> bool:
    """Whether `stop` took a task that was certainly never sent."""
    output = task.get("outputData") or {}
    polls_of_others = (task.get("pollCount") or 0) - 1
    return task.get("workerId") == STOP_WORKER and (output.get("attempts") == 0 or not (output or polls_of_others))


class _Note(BaseModel):
    """The note that `start` attaches to a change, for the report; any other note is ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)

    line: int
    previous: list[SelectedIvr]
    ivr_name: str | None = None
    target_name: str | None = None
    office_name: str | None = None


def _row(change: Any) -> ChangeResult:
    if not isinstance(change, dict):
        return ChangeResult({}, 0, None)
    params = {key: value for key, value in change.items() if key != "note"}
    try:
        note = _Note.model_validate(change.get("note"))
    except ValidationError:
        return ChangeResult(params, 0, None)
    names = {name: getattr(note, name) for name in ("ivr_name", "target_name", "office_name")}
    return ChangeResult(params, note.line, tuple(note.previous), **names)


def approval_task(workflow: JsonObject) -> JsonObject | None:
    """The task in which a run currently waits for approval."""
    tasks: list[JsonObject] = workflow.get("tasks") or []
    waiting = (task for task in tasks if task["referenceTaskName"] == APPROVAL and task["status"] == "IN_PROGRESS")
    return next(waiting, None)
