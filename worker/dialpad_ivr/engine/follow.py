"""Following a workflow from its start to its end."""

from __future__ import annotations

import time
from collections.abc import Callable

from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, EngineError, JsonObject

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0


def follow(
    engine: EngineApi, workflow_id: str, on_change: Callable[[JsonObject], None], timeout_seconds: float
) -> JsonObject:
    """Ask for a workflow again and again until it ends.

    A server that does not answer for a while is asked again until the time is up.

    Args:
        engine: Where it runs.
        workflow_id: Its id.
        on_change: Called with the workflow each time that a task of it has changed.
        timeout_seconds: How long to follow.

    Returns:
        The workflow with its tasks, ended or not.

    Raises:
        EngineError: It does not exist, or the engine did not answer until the time was up.
    """
    deadline = time.monotonic() + timeout_seconds
    pause, seen = _FIRST_PAUSE_SECONDS, None
    while True:
        try:
            workflow = engine.workflow(workflow_id)
        except EngineError as exc:
            if not exc.transient or time.monotonic() > deadline:
                raise
        else:
            tasks = workflow.get("tasks", [])
            state = [(task["taskId"], task["status"], task.get("pollCount")) for task in tasks]
            if state != seen:
                seen, pause = state, _FIRST_PAUSE_SECONDS
                on_change(workflow)
            if workflow["status"] in TERMINAL_STATUSES or time.monotonic() > deadline:
                return workflow
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
