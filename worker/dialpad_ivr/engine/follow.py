"""Follow a workflow until it ends: through outages, and without hiding that no worker takes its tasks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from dialpad_ivr.contract.schema import INPUTS
from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, EngineError, JsonObject
from dialpad_ivr.engine.domains import worker_domain

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2.0
_LONGEST_PAUSE_AFTER_A_SLOW_READ_SECONDS: Final = 5.0

_OUTAGE_REPORTED_AFTER_SECONDS: Final = 3.0
_OUTAGE_REPORTED_EVERY_SECONDS: Final = 10.0

# Nothing has happened for a second, and then no worker polls for another four. One with free slots polls every second
# or more often.
_QUIET_SECONDS: Final = 1.0
_UNPOLLED_SECONDS: Final = 4.0

_EVALUATED_AFTER_SECONDS: Final = 15.0  # without a change

Report = Callable[[str], None]
"""Is called with a sentence for the user."""


class WaitingTask(NamedTuple):
    """A task of ours that no worker has taken yet: its type and its task domain."""

    task_type: str
    domain: str | None


class Progress(NamedTuple):
    """What a read of a workflow found.

    Attributes:
        ended: Whether there is nothing more to wait for.
        state: Differs from the previous one if something has happened in between.
    """

    ended: bool
    state: object


def follow(
    engine: EngineApi,
    workflow_id: str,
    on_change: Callable[[JsonObject], None],
    timeout_seconds: float,
    report: Report = lambda _: None,
) -> JsonObject:
    """Poll a workflow until it ends or the timeout expires.

    Args:
        engine: The engine that runs it.
        workflow_id: Its id.
        on_change: Called with the workflow whenever a task of it has changed.
        timeout_seconds: How long to poll, in seconds.
        report: Called during an outage, and once if no worker polls for a waiting task.

    Returns:
        The workflow with its tasks, ended or not.

    Raises:
        EngineError: As `poll` does.
    """
    workflow: JsonObject = {}
    seen: object = None

    def read() -> Progress:
        nonlocal workflow, seen
        workflow = engine.workflow(workflow_id)
        state = [(task["taskId"], task["status"], task.get("pollCount")) for task in workflow.get("tasks") or []]
        if state != seen:
            seen = state
            on_change(workflow)
        return Progress(workflow["status"] in TERMINAL_STATUSES, state)

    def waiting() -> Iterable[WaitingTask]:
        return filter(None, (waiting_task(task) for _, task in task_tree(engine, workflow, ("IN_PROGRESS",))))

    poll(engine, read, waiting, timeout_seconds, report)
    return workflow


def poll(
    engine: EngineApi,
    read: Callable[[], Progress],
    waiting: Callable[[], Iterable[WaitingTask]],
    timeout_seconds: float,
    report: Report = lambda _: None,
    first_pause_seconds: float = _FIRST_PAUSE_SECONDS,
    evaluate: Callable[[], None] = lambda: None,
) -> None:
    """Read until the progress has ended or the timeout expires. Server errors and outages are retried.

    Args:
        engine: The engine that is read.
        read: Reads once.
        waiting: The tasks that no worker had taken yet when it was last read.
        timeout_seconds: How long to read, in seconds.
        report: Called during an outage, and once if no worker polls for a waiting task.
        first_pause_seconds: The pause between two reads after something has happened; it then grows.
        evaluate: Called whenever nothing has happened for a while, to make the engine look for what it has missed.

    Raises:
        EngineError: The engine rejected a read, or it does not answer: it never did, or still does not when the timeout
            expires.
    """
    deadline = time.monotonic() + timeout_seconds
    outage = _Outage(report)
    workers = _Workers(engine, report)
    pause, seen, moved_at = first_pause_seconds, None, time.monotonic()
    while True:
        began, slow = time.monotonic(), 0.0
        try:
            progress = read()
        except EngineError as exc:
            if not exc.transient or not engine.answered or time.monotonic() >= deadline:
                raise
            outage.goes_on(exc)
        else:
            outage.is_over()
            if progress.ended or time.monotonic() >= deadline:
                return
            changed = progress.state != seen
            if changed:
                pause, seen, moved_at = first_pause_seconds, progress.state, time.monotonic()
            elif time.monotonic() > moved_at + _EVALUATED_AFTER_SECONDS:
                moved_at = time.monotonic()
                with contextlib.suppress(EngineError):  # the next read deals with it
                    evaluate()
            workers.check(waiting, changed=changed)
            # At most a fifth of the time is spent on reads, to limit the load on the engine.
            slow = min(4 * (time.monotonic() - began), _LONGEST_PAUSE_AFTER_A_SLOW_READ_SECONDS)
        time.sleep(max(0, min(max(pause, slow), deadline - time.monotonic())))
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)


def task_tree(
    engine: EngineApi, workflow: JsonObject, statuses: tuple[str, ...] | None = None, depth: int = 0
) -> Iterator[tuple[int, JsonObject]]:
    """The tasks of a workflow and, each after its SUB_WORKFLOW task, those of its sub-workflows.

    Args:
        engine: The engine, from which the sub-workflows are read.
        workflow: The workflow with its tasks.
        statuses: Descend only from tasks in one of these statuses.
        depth: The depth of the workflow's own tasks.

    Yields:
        The depth of a task, and the task.

    Raises:
        EngineError: A sub-workflow cannot be read.
    """
    for task in workflow.get("tasks") or []:
        yield depth, task
        child = task.get("subWorkflowId")
        if child and not task.get("retried") and (statuses is None or task["status"] in statuses):
            yield from task_tree(engine, engine.workflow(child), statuses, depth + 1)


def waiting_task(task: JsonObject) -> WaitingTask | None:
    """The task, if it is one of ours that no worker has taken yet."""
    if task["taskType"] in INPUTS and task["status"] == "SCHEDULED" and not task.get("pollCount"):
        return WaitingTask(task["taskType"], task.get("domain") or None)
    return None


class _Outage:
    """Reports that the engine does not answer: after a few seconds, and then every now and then."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._answered_at = time.monotonic()
        self._next_report = _OUTAGE_REPORTED_AFTER_SECONDS

    def goes_on(self, error: EngineError) -> None:
        seconds = time.monotonic() - self._answered_at
        if seconds >= self._next_report:
            self._next_report = seconds + _OUTAGE_REPORTED_EVERY_SECONDS
            problem = "not answered" if error.unreachable else f"answered {error.status}"
            self._report(f"The engine has {problem} for {seconds:.0f} s; still trying.")

    def is_over(self) -> None:
        if self._next_report > _OUTAGE_REPORTED_AFTER_SECONDS:
            self._report("The engine answers again.")
        self._answered_at, self._next_report = time.monotonic(), _OUTAGE_REPORTED_AFTER_SECONDS


class _Workers:
    """Reports once that no worker polls for a waiting task.

    Two readings of the last poll are compared, not its time with the time here: the clocks may differ. A worker polls
    for all our types, and one whose slots for one type are all in use still polls for the others.
    """

    def __init__(self, engine: EngineApi, report: Report) -> None:
        self._engine = engine
        self._report = report
        self._changed_at = time.monotonic()
        self._reading: tuple[float, dict[str | None, int]] | None = None
        self._reported = False

    def check(self, waiting: Callable[[], Iterable[WaitingTask]], *, changed: bool) -> None:
        """Look whether a worker polls, if nothing has happened for a while."""
        now = time.monotonic()
        if changed:
            self._changed_at, self._reading, self._reported = now, None, False
        if self._reported or now - self._changed_at < _QUIET_SECONDS:
            return
        if self._reading and now - self._reading[0] < _UNPOLLED_SECONDS:
            return
        with contextlib.suppress(EngineError):  # the next read deals with an outage; not every engine shows polls
            before, polls = self._reading, self._last_polls()
            self._reading = now, polls
            if before is None:
                return
            for task_type, domain in waiting():
                if polls.get(domain) == before[1].get(domain):
                    where = f" in the domain {domain}" if domain else ""
                    own = worker_domain(domain)
                    setting = f"DIALPAD_IVR_DOMAIN={own} " if own else ""
                    self._report(
                        f"No worker polls for {task_type}{where}, so nothing happens. "
                        f"Start one with: {setting}dialpad-ivr worker"
                    )
                    self._reported = True
                    return

    def _last_polls(self) -> dict[str | None, int]:
        """The last poll for any of our types, by domain."""
        newest: dict[str | None, int] = {}
        for task_type in INPUTS:
            for domain, polled_at in self._engine.last_polls(task_type).items():
                newest[domain] = max(polled_at, newest.get(domain, 0))
        return newest
