"""Records every request, its response and the change that it made. Never holds a bearer key."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any


@dataclass
class FakeArrival:
    """One request received.

    Attributes:
        seq: Its number, from 1, in order of arrival.
        monotonic: Arrival on the monotonic clock, in seconds.
        wall: Arrival in seconds since 1970.
        company: The company of its key; None if the key is missing or unknown.
        method: The HTTP method.
        path: The decoded path, without the query.
        target_type: From the path, or a GET's query; not validated.
        target_id: Likewise.
        ivr_type: From the path; not validated.
        body: Parsed JSON, else text, truncated. None for no body or one over 1 MiB.
        done: Whether it was processed: the fields below are final.
        status: The response's status; None for no response (reset, or the client hung up).
        applied: Whether the change was made, even if the response did not show it.
        before: The slot's selection before the change: `{"inbound": id, "outbound": id}`. None if none was made.
        after: The same, after the change.
        fault: The fault injected.
    """

    seq: int
    monotonic: float
    wall: float
    company: str | None
    method: str
    path: str
    target_type: str | None
    target_id: str | None
    ivr_type: str | None
    body: Any = None
    done: bool = False
    status: int | None = None
    applied: bool = False
    before: dict[str, str | None] | None = None
    after: dict[str, str | None] | None = None
    fault: str | None = None


class FakeLedger:
    """The latest arrivals, and totals over all of them.

    Args:
        size: How many arrivals it holds.
    """

    def __init__(self, size: int = 200_000) -> None:
        self.arrivals: deque[FakeArrival] = deque(maxlen=size)
        self._count = 0
        self._first = self._last = 0.0
        self._statuses: Counter[str] = Counter()
        self._companies: Counter[str] = Counter()
        self._changes: Counter[Hashable] = Counter()

    def arrive(self, *, monotonic: float, company: str | None, **known: Any) -> FakeArrival:
        """Record an arrival; `known` are the fields of `FakeArrival` that are known by then."""
        self._count += 1
        self._first, self._last = self._first or monotonic, monotonic
        self._companies[company or ""] += 1
        arrival = FakeArrival(seq=self._count, monotonic=monotonic, company=company, **known)
        self.arrivals.append(arrival)
        return arrival

    def apply(
        self, arrival: FakeArrival, change: Hashable, before: dict[str, str | None], after: dict[str, str | None]
    ) -> None:
        """Record that an arrival's change was made; equal changes count as duplicates."""
        arrival.applied, arrival.before, arrival.after = True, before, after
        self._changes[arrival.company, change] += 1

    def finish(self, arrival: FakeArrival, status: int | None) -> None:
        """Record the response's status, just before it is sent; None for no response."""
        arrival.done, arrival.status = True, status
        self._statuses["none" if status is None else str(status)] += 1

    def summary(self) -> dict[str, Any]:
        """The totals, including arrivals that are no longer held.

        `kept` is the number of arrivals held; `seconds` is from the first arrival to the last; `by_status` has "none"
        for requests without a response, and `by_company` "" for those without a valid key; `applied` counts changes
        made, `duplicates` those that an earlier request of the company had made already (same slot, same body).
        """
        applied = self._changes.total()
        return {
            "arrivals": self._count,
            "kept": len(self.arrivals),
            "in_flight": self._count - sum(self._statuses.values()),
            "seconds": self._last - self._first,
            "by_status": dict(sorted(self._statuses.items())),
            "by_company": dict(sorted(self._companies.items())),
            "applied": applied,
            "duplicates": applied - len(self._changes),
        }

    def rows(self) -> list[dict[str, Any]]:
        """The arrivals held, oldest first, each with the fields of `FakeArrival`."""
        return [dict(vars(arrival)) for arrival in self.arrivals]
