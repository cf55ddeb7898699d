"""Both rate limits as a server enforces them: on arrival, company by company, in sliding and in fixed windows."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_SHORTEST = 1e-6  # seconds; rounding must not turn a wait into 0


class FakeLimit(BaseModel):
    """A number of calls in a window.

    Which windows Dialpad counts in is not documented, so both are enforced unless one is switched off: the window that
    ends now (sliding), and the one that began at a whole multiple of its length on the wall clock (fixed).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    calls: int = Field(ge=1)
    window_seconds: float = Field(gt=0, le=86_400)
    sliding: bool = True
    fixed: bool = True


class _Sliding:
    """The arrivals in the window that ends now, and the most there ever were."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._times: deque[float] = deque()
        self.most = 0

    def add(self, now: float) -> None:
        self._forget(now)
        self._times.append(now)
        self.most = max(self.most, len(self._times))

    def wait(self, calls: int, now: float) -> float:
        """Seconds until there is room for another call."""
        self._forget(now)
        return 0 if len(self._times) < calls else self._times[-calls] + self._seconds - now

    def _forget(self, now: float) -> None:
        # Add as `wait` does: other rounding could make a wait 0.
        while self._times and self._times[0] + self._seconds <= now:
            self._times.popleft()


class _Fixed:
    """The arrivals in the current fixed window."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._window = -1
        self._count = 0

    def add(self, now: float) -> None:
        self._turn(now)
        self._count += 1

    def wait(self, calls: int, now: float) -> float:
        """Seconds until there is room for another call."""
        self._turn(now)
        return 0 if self._count < calls else max((self._window + 1) * self._seconds - now, _SHORTEST)

    def _turn(self, now: float) -> None:
        window = math.floor(now / self._seconds)
        if window != self._window:
            self._window, self._count = window, 0


class _Count:
    """One company's arrivals under one limit."""

    def __init__(self, limit: FakeLimit) -> None:
        self._limit = limit
        self._fixed = _Fixed(limit.window_seconds)
        self.accepted = _Sliding(limit.window_seconds)
        self.all = _Sliding(limit.window_seconds)

    def wait(self, now: float) -> float:
        calls = self._limit.calls
        return max(
            self.accepted.wait(calls, now) if self._limit.sliding else 0,
            self._fixed.wait(calls, now) if self._limit.fixed else 0,
        )

    def add(self, now: float, *, accepted: bool) -> None:
        self.all.add(now)
        if accepted:
            self.accepted.add(now)
            self._fixed.add(now)


class FakeLimits:
    """Both limits, for every company.

    A throttled call takes no room in a window: once there is room, a retry is accepted. `worst` counts it under `all`.

    Args:
        patch: For PATCHes alone.
        company: For calls of any kind, PATCHes included.
    """

    def __init__(self, patch: FakeLimit, company: FakeLimit) -> None:
        self._limits = {"patch": patch, "company": company}
        self._counts: dict[tuple[str, str], _Count] = {}

    def arrive(self, company: str, now: float, *, patch: bool, enforce: bool = True) -> float:
        """Count an arrival.

        Args:
            company: The company that calls.
            now: Monotonic time in seconds; fixed windows begin at whole multiples of their length.
            patch: Whether it is a PATCH.
            enforce: Whether to throttle; if not, every arrival is accepted and counted.

        Returns:
            0 if it is accepted; else the seconds until there is room.
        """
        counts = [self._count(company, name) for name in (("patch", "company") if patch else ("company",))]
        wait = max(count.wait(now) for count in counts) if enforce else 0
        for count in counts:
            count.add(now, accepted=wait == 0)
        return wait

    def worst(self) -> dict[str, dict[str, Any]]:
        """For each limit: the most arrivals of one company in any sliding window, `accepted` and `all`."""
        return {
            name: {
                "calls": limit.calls,
                "window_seconds": limit.window_seconds,
                "accepted": max((count.accepted.most for count in self._of(name)), default=0),
                "all": max((count.all.most for count in self._of(name)), default=0),
            }
            for name, limit in self._limits.items()
        }

    def _of(self, name: str) -> list[_Count]:
        return [count for (_, limit), count in self._counts.items() if limit == name]

    def _count(self, company: str, name: str) -> _Count:
        key = company, name
        if key not in self._counts:
            self._counts[key] = _Count(self._limits[name])
        return self._counts[key]
