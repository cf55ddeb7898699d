"""The events that the worker logs: what each means, and what to do. `docs/reference/log-events.md` is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EVENTS: Final[Mapping[str, str]] = {
    # The process
    "worker_started": "The worker polls for tasks; `health` is the URL of its health port.",
    "worker_stopping": "A signal arrived, or the program that runs the worker stops it (`signal` is null): polling "
    "stops, and calls in flight have the grace time to finish.",
    "worker_stopped": "The worker has stopped, and every result was reported.",
    "worker_stopped_early": "The worker stopped with tasks in flight, which the engine delivers again; raise "
    "`DIALPAD_IVR_GRACE_SECONDS` if it was the grace time that ran out.",
    "timeouts_too_short": "With these settings a task may outlast a timeout of its shipped definition: raise `field` "
    "on the engine to `needed`, or lower the settings.",
    # Tasks
    "task_done": "A task has its final outcome ([Outcomes](outcomes.md)).",
    "task_deferred": "A task waits in the engine, which delivers it again after `callback_seconds`.",
    "task_bug": "A task failed with an exception that nothing expects: please report it, with the traceback.",
    "duplicate_delivery": "The engine delivered a task that runs here already, or has just run: it was not run again.",
    "duplicate_delivery_answered": "The previous attempt had made the change, but its result reached the engine too "
    "late: that result was reused, and no request was sent.",
    "previous_attempt_unreadable": "The engine did not return the attempt that this task retries. If it cannot be read "
    "at all, the task runs without what that attempt knew.",
    "task_of_ended_workflow": "The engine delivered a task of bulk work whose workflow has ended, since it had missed "
    "it when it canceled the others. It was not run, and the engine cancels what else is left of that workflow.",
    "workflow_status_unreadable": "The engine did not say whether the workflow of a task of bulk work has ended; the "
    "task was run.",
    # The engine
    "poll_failed": "The engine did not answer a poll, or refused it (logged for the 1st, 2nd, 4th, 8th ... failure in "
    "a row); polling goes on with back-off. `dialpad-ivr doctor` checks the connection.",
    "poll_recovered": "The engine answers polls again.",
    "result_not_accepted": "The engine did not accept a result; it is sent again with back-off for 15 minutes.",
    "result_accepted": "The engine accepted a result that it had not accepted before.",
    "result_lost": "The engine never accepted a result, and the worker gave it up: the engine delivers the task again "
    "after its response timeout.",
    "undelivered_not_stored": "An undelivered result could not be written to the state directory (`folder`) or to "
    "Redis (no `folder`), so it may not survive a restart: check that they can be written to.",
    "overrides_not_read": "The overrides could not be read from the engine, so the metrics on them are missing; they "
    "are read again a minute later.",
    # The rate limit
    "rate_log_reset": "Redis has no record of the calls of the current window: all calls of the company are held until "
    "that window has expired. Expected at first use; otherwise Redis was restarted, flushed or restored.",
    "redis_unavailable": "Redis does not answer, so nobody knows how much of the rate limit is used: tasks are "
    "deferred until it does (logged for the 1st, 2nd, 4th, 8th ... failure in a row).",
    "redis_recovered": "Redis answers again.",
    # Outages of Dialpad
    "circuit_opened": "Dialpad does not work for `company`, by its latest answer or error (`cause`): its tasks wait in "
    "the engine, and one probe at a time is sent.",
    "circuit_probe": "A task of `company` is sent to find out whether the outage is over.",
    "circuit_closed": "Dialpad works again for `company`, after `seconds`.",
    # Traces
    "tracing_started": "Spans are exported by `exporters`.",
    "tracing_unavailable": "The `OTEL_` variables ask for traces, but they cannot be exported: it runs without them.",
    "tracing_flush_timeout": "The last spans were not accepted in time when the worker stopped, and are lost.",
}
