"""Permits: when a call may leave, so that Dialpad has no reason to answer 429.

Two limits hold at once, both of the company: so many PATCHes in any minute, and so many calls of any kind in any
second. pyrate-limiter keeps count of both windows exactly; what is added here is

- order: first come, first served, spread evenly over the window instead of in bursts;
- an allowance: what a server counts is arrival, so jitter on the way can move calls closer together. Both windows are
  longer than documented by the spread of the round trips seen, so that even the worst case of it breaks no limit;
- the pause that a 429 orders, for everyone of that company;
- a bound on the wait: a permit further away than that is not waited for here, but handed back (`NotYetError`).

Nothing here knows of the engine or of HTTP. The clock and the sleep are passed in, so the rules are tested without
time.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from dialpad_ivr.settings import Settings

# pyrate-limiter is handed timestamps and intervals in microseconds: its usual milliseconds would each lose up to one.
_UNIT = 1_000_000


class NotYetError(Exception):
    """The permit is further away than a caller should wait here.

    Attributes:
        seconds: How long until it is worth asking again.
        paused: Whether a pause is the reason.
    """

    def __init__(self, seconds: float, *, paused: bool) -> None:
        super().__init__(f"no permit for {seconds:.1f} s")
        self.seconds = seconds
        self.paused = paused


@dataclass(frozen=True)
class Limit:
    """So many calls in any window of so many seconds."""

    calls: int
    seconds: float


class Jitter:
    """How unevenly calls may arrive: the spread of the round trips seen lately.

    The way there is no longer than the round trip, so its spread cannot be larger than that of the round trips.
    """

    _KEPT = 128  # round trips
    _ENOUGH = 16  # to say anything of their spread
    _UNKNOWN = 0.05  # of the window, until enough were seen
    _MOST = 0.10  # of the window: slow answers are not jitter, and must not throttle without bound
    _QUANTILE = 0.98  # one straggler in fifty does not slow down all that follow
    _MARGIN = 1.1  # the sample's spread is a little smaller than the true one
    _LEAST_SECONDS = 0.002

    def __init__(self, window_seconds: float) -> None:
        self._seen: deque[float] = deque(maxlen=self._KEPT)
        self._window = window_seconds
        self.allowance_seconds = self._UNKNOWN * window_seconds

    def observe(self, round_trip_seconds: float) -> None:
        """Take a round trip into account."""
        self._seen.append(round_trip_seconds)
        if len(self._seen) >= self._ENOUGH:
            ordered = sorted(self._seen)
            spread = ordered[int(self._QUANTILE * (len(ordered) - 1))] - ordered[0]
            wanted = spread * self._MARGIN + self._LEAST_SECONDS
            self.allowance_seconds = min(wanted, self._MOST * self._window)


class Lane:
    """The permits of one company, in this process."""

    # A call that left later than its slot does not move the next ones, up to so many slots: a stall costs little then.
    _CATCH_UP = 4

    def __init__(
        self,
        patch: Limit,
        company: Limit,
        longest_hold_seconds: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._limits = {"patch": patch, "company": company}
        self._buckets = {name: InMemoryBucket([_rate(limit, 0)]) for name, limit in self._limits.items()}
        self._longest_hold = longest_hold_seconds
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()  # wakes its waiters in the order in which they came
        self._waiting = 0
        self._next_slot = float("-inf")
        self._paused_until = float("-inf")
        self._handed_back = 0
        self.jitter = Jitter(min(patch.seconds, company.seconds))

    async def permit(self, *, write: bool) -> float:
        """Wait for leave to send one call.

        Args:
            write: Whether it is a PATCH, which both limits count; any other call counts for the company's only.

        Returns:
            The seconds waited.

        Raises:
            NotYetError: It would be more than the longest hold.
        """
        arrived = self._clock()
        queue = self._waiting * self._interval(write=write)
        self._refuse_if_far(0, max(queue, self.pause_seconds))
        self._waiting += 1
        try:
            async with self._turn:
                await self._wait_for_slot(arrived, write=write)
        finally:
            self._waiting -= 1
        self._handed_back = 0
        return self._clock() - arrived

    def pause(self, seconds: float) -> None:
        """Let nobody of this company pass for so long; a longer pause that is under way already stands."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    @property
    def pause_seconds(self) -> float:
        """What is left of a pause."""
        return max(0.0, self._paused_until - self._clock())

    async def _wait_for_slot(self, arrived: float, *, write: bool) -> None:
        names = ("patch", "company") if write else ("company",)
        interval = self._interval(write=write)
        slot = max(self._next_slot, arrived)
        taken: dict[str, RateItem] = {}
        while True:
            now = self._clock()
            wait = max(slot - now, self._paused_until - now)
            if wait <= 0:
                wait = self._take(names, taken, now)
            if wait <= 0:
                break
            try:
                self._refuse_if_far(now - arrived, wait)
            except NotYetError:
                for name, item in taken.items():
                    self._buckets[name].items.remove(item)
                raise
            await self._sleep(wait)
        self._next_slot = max(slot, now - self._CATCH_UP * interval) + interval

    def _take(self, names: tuple[str, ...], taken: dict[str, RateItem], now: float) -> float:
        """Take what is missing of the permits, each stamped with now; returns the seconds to wait for the rest."""
        stamp = int(now * _UNIT)
        for item in taken.values():
            item.timestamp = stamp  # the call leaves now, not when the first of its permits was to be had
        for name in names:
            if name in taken:
                continue
            bucket = self._buckets[name]
            bucket.rates = [_rate(self._limits[name], self.jitter.allowance_seconds)]
            bucket.leak(stamp)
            item = RateItem("", stamp)
            if not bucket.put(item):
                return int(bucket.waiting(item)) / _UNIT  # type: ignore[arg-type]  # awaitable for async buckets only
            taken[name] = item
        return 0

    def _interval(self, *, write: bool) -> float:
        """Seconds between two calls that use the tighter limit up evenly."""
        limits = self._limits.values() if write else [self._limits["company"]]
        return max((limit.seconds + self.jitter.allowance_seconds) / limit.calls for limit in limits)

    def _refuse_if_far(self, held_seconds: float, seconds: float) -> None:
        """Hand the caller back if the permit is still so many seconds away that it would be held too long."""
        if held_seconds + seconds > self._longest_hold:
            # Those handed back come again one after another, not all in the moment in which the way is free.
            behind = self._handed_back * self._interval(write=True)
            self._handed_back += 1
            raise NotYetError(seconds + behind, paused=self.pause_seconds > 0)


class Pacer:
    """The lanes of all companies, in memory: one process owns the limits.

    Args:
        settings: The limits and the longest hold.
        clock: Seconds that never go back.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._patch = Limit(settings.patch_limit, settings.patch_window_seconds)
        self._company = Limit(settings.company_limit, settings.company_window_seconds)
        self._longest_hold = settings.longest_hold_seconds
        self._clock = clock
        self._sleep = sleep
        self._lanes: dict[str, Lane] = {}

    def lane(self, company: str) -> Lane:
        """The lane of a company, made when it is first asked for."""
        if company not in self._lanes:
            self._lanes[company] = Lane(self._patch, self._company, self._longest_hold, self._clock, self._sleep)
        return self._lanes[company]


def _rate(limit: Limit, allowance_seconds: float) -> Rate:
    return Rate(limit.calls, int((limit.seconds + allowance_seconds) * _UNIT))
