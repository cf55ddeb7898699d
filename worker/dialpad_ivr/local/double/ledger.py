"""What arrived, what was answered, what was changed. Never holds a bearer token."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any


@dataclass
class Arrival:
    """One request.

    Attributes:
        seq: Its number, from 1, in order of arrival.
        monotonic: Seconds on a clock that never goes back.
        wall: Seconds since 1970.
        company: Whose key it bore; None for a missing or unknown one.
        method: The HTTP method.
        path: The decoded path, without the query.
        target_type: As the path, or a GET's query, says; not checked. So are the next two.
        target_id: ...
        ivr_type: ...
        body: Parsed JSON, else text; cut when long. None for no body, or one over 1 MiB.
        done: Whether it was dealt with: the next four are final.
        status: The status answered; None for none (reset, or the client hung up).
        applied: Whether the change was made, even if the answer never said so.
        before: What the slot had selected: `{"inbound": id, "outbound": id}`. None where nothing was applied.
        after: The same, after the change.
        fault: The fault that was applied.
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
    """The latest arrivals, and sums over all of them.

    Args:
        size: How many arrivals are kept.
    """

    def __init__(self, size: int = 200_000) -> None:
        self.arrivals: deque[Arrival] = deque(maxlen=size)
        self._count = 0
        self._first = self._last = 0.0
        self._statuses: Counter[str] = Counter()
        self._companies: Counter[str] = Counter()
        self._changes: Counter[Hashable] = Counter()

    def arrive(self, *, monotonic: float, company: str | None, **known: Any) -> Arrival:
        """Count an arrival; the fields are those of `Arrival`, as far as they are known by then."""
        self._count += 1
        self._first, self._last = self._first or monotonic, monotonic
        self._companies[company or ""] += 1
        arrival = Arrival(seq=self._count, monotonic=monotonic, company=company, **known)
        self.arrivals.append(arrival)
        return arrival

    def apply(
        self, arrival: Arrival, change: Hashable, before: dict[str, str | None], after: dict[str, str | None]
    ) -> None:
        """Note that its change, which equals another one that asked for the same, was made."""
        arrival.applied, arrival.before, arrival.after = True, before, after
        self._changes[arrival.company, change] += 1

    def finish(self, arrival: Arrival, status: int | None) -> None:
        """Note what is answered, just before it is sent; None for nothing."""
        arrival.done, arrival.status = True, status
        self._statuses["none" if status is None else str(status)] += 1

    def summary(self) -> dict[str, Any]:
        """The sums, also over arrivals that are no longer kept.

        `seconds` is from the first arrival to the last; `by_status` has "none" for requests left without an answer, and
        `by_company` "" for those without a valid key; `applied` counts changes made, `duplicates` those among them that
        an earlier request of that company, for the same slot and with the same body, had made already.
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
        """The arrivals kept, the oldest first, each with the fields of `Arrival`."""
        return [dict(vars(arrival)) for arrival in self.arrivals]
