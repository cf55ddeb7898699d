"""One delivery of a task, free of the engine's SDK: `dialpad_ivr.worker.mapping` makes it from a polled task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


def is_first_delivery(retry_count: int | None, poll_count: int | None) -> bool:
    """Whether no earlier delivery of a task can have sent anything, by the engine's counts."""
    return not retry_count and (poll_count or 0) <= 1


def untouched_output(output: dict[str, Any] | None, retry_count: int | None, poll_count: int | None) -> dict[str, Any]:
    """The output with which a polled task is put back unstarted: with what is known of it.

    Of a first delivery it says that nothing was sent: to the next worker, the counts no longer show it.
    """
    return output or ({"attempts": 0} if is_first_delivery(retry_count, poll_count) else {})


@dataclass(frozen=True)
class Delivery:
    """One delivery of a task.

    Attributes:
        payload: The task's input, not validated.
        runtime_metadata: The engine's secrets by name.
        attempts: Calls sent in previous deliveries of this task.
        perhaps_sent: Whether a previous delivery sent a change whose answer never came, or may have: no result of it is
            known.
        waited_ms: Milliseconds waited in previous deliveries.
        outage_ms: Milliseconds waited there for Dialpad to work again.
        failed_attempts: Previous attempts that failed and were deferred; of bulk work only.
        retried: Whether a previous attempt failed.
        retry_seconds: After how long a failed attempt is tried again.
        last_attempt: Whether no retry follows a failure.
        bulk: Whether other calls go first: nobody waits for this one.
        send_deadline: No change is sent from then on (monotonic seconds). The engine re-queues the task shortly after;
            a later PATCH could overtake its replacement.
    """

    payload: Any
    runtime_metadata: Mapping[str, object] = field(default_factory=dict, repr=False)
    attempts: int = 0
    perhaps_sent: bool = False
    waited_ms: int = 0
    outage_ms: int = 0
    failed_attempts: int = 0
    retried: bool = False
    retry_seconds: int = 0
    last_attempt: bool = True
    bulk: bool = False
    send_deadline: float = math.inf
