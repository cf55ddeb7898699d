"""The circuit of a company: while Dialpad does not work for it, one probe at a time is sent, and nothing else.

`Circuit` serves one process; `redis.lua` and `circuit.lua` follow the same rules for a fleet:

- it opens at once when a failure names the time to come back (`Retry-After`), otherwise after failures of several
  targets without a success between them: one target that always fails says nothing of the others. Until then the
  first failure is its target's own, and each other target's first one may be an outage's: it costs no retry;
- a probe is an ordinary call. Probes are sent when Dialpad said, else with exponential back-off;
- a probe that succeeds closes it. Calls that were under way when it opened do not: they may be older than the outage;
- who comes while a probe is under way comes back after as long as that has been, to learn of its answer;
- a probe has a lease: when its worker dies, or its answer is a 429, the next one is sent after that.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

TARGETS: Final = 3
"""The failing targets that open a circuit."""

# Seconds between two probes. The growth leaves several probes for an outage's length: Dialpad may be back for seconds
# only. The longest leaves some of 30 s for the engine to deliver the probing task.
FIRST_SECONDS: Final = 1.0
GROWTH: Final = 1.25
LONGEST_SECONDS: Final = 25.0
SHORTEST_WAIT: Final = 1.0
"""Seconds that a caller waits at least, e.g. for the answer of a probe."""

_LEASE_MARGIN: Final = 5.0


@dataclass(frozen=True)
class Failure:
    """A call that Dialpad did not answer, or answered with a status that shows that it does not work.

    Attributes:
        cause: The status or the error, in a word, e.g. `http_503`.
        target: What it was about.
        retried: Whether it was a retry, which is no evidence against Dialpad that was not there before.
        retry_after_seconds: When to come back, if the response says so; else 0.
    """

    cause: str
    target: str
    retried: bool = False
    retry_after_seconds: float = 0.0


@dataclass(frozen=True)
class Outage:
    """An open circuit, or one that may open with the next failure.

    Attributes:
        cause: The latest failure, in a word.
        age_seconds: How long it has been open.
        wait_seconds: When to try again.
        opened: Whether it was opened just now.
        suspected: Whether it is not open yet.
    """

    cause: str
    age_seconds: float
    wait_seconds: float
    opened: bool = False
    suspected: bool = False


def lease_seconds(deadline_seconds: float) -> float:
    """How long a probe may be under way, from the timeout of a call."""
    return deadline_seconds + _LEASE_MARGIN


def jitter() -> float:
    """The share of a back-off to wait: workers that share nothing must not probe in step."""
    return random.uniform(0.8, 1.0)  # noqa: S311


class Circuit:
    """The circuit of a company that only this process calls for.

    Args:
        lease: How long a probe may be under way, in seconds.
        clock: Monotonic seconds.
    """

    def __init__(self, lease: float, clock: Callable[[], float]) -> None:
        self._lease = lease
        self._clock = clock
        self._failed: dict[str, bool] = {}  # targets since the last success, and whether they are evidence
        self._cause = ""
        self._opened_at: float | None = None
        self._backoff = self._probe_at = self._lease_ends = 0.0
        self._prober: object = None

    def outage(self) -> Outage | None:
        """The outage, unless a call may be sent now."""
        if self._opened_at is None or max(self._probe_at, self._lease_ends) <= self._clock():
            return None
        return self._outage()

    def sent(self, call: object) -> Outage | None:
        """Record that a call is sent now; returns the outage if that makes it a probe."""
        if self._opened_at is None:
            return None
        now = self._clock()
        self._prober, self._lease_ends, self._probe_at = call, now + self._lease, now + self._next_backoff()
        return self._outage()

    def failed(self, call: object, failure: Failure) -> Outage | None:
        """Record a failure; returns the outage if it is one's, perhaps."""
        now = self._clock()
        opens = False
        if self._opened_at is None:
            suspected = any(self._failed.values()) and failure.target not in self._failed
            self._failed[failure.target] = self._failed.get(failure.target, False) or not failure.retried
            opens = bool(failure.retry_after_seconds) or sum(self._failed.values()) >= TARGETS
            if not opens:
                return Outage(failure.cause, 0.0, SHORTEST_WAIT, suspected=True) if suspected else None
            self._opened_at, self._backoff, self._lease_ends = now, 0.0, now
            self._probe_at = now + (failure.retry_after_seconds or self._next_backoff())
        elif call is self._prober:
            self._lease_ends = now
            if failure.retry_after_seconds:
                self._probe_at = now + failure.retry_after_seconds
        self._cause = failure.cause
        return self._outage(opened=opens)

    def succeeded(self, *, probe: bool) -> None:
        """Record an answer that shows that Dialpad works."""
        if self._opened_at is None or probe:
            self._failed.clear()
            self._opened_at = None

    def _next_backoff(self) -> float:
        self._backoff = min(max(self._backoff * GROWTH, FIRST_SECONDS), LONGEST_SECONDS)
        return self._backoff * jitter()

    def _outage(self, *, opened: bool = False) -> Outage:
        now = self._clock()
        wait = max(self._probe_at - now, SHORTEST_WAIT)
        if self._lease_ends > now:  # a probe is under way: the longer it takes, the less likely is a success
            wait = min(wait, max(now - (self._lease_ends - self._lease), SHORTEST_WAIT))
        return Outage(self._cause, now - (self._opened_at or now), wait, opened)
