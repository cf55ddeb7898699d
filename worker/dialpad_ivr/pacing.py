"""Permits: when a call may leave, so that Dialpad has no reason to answer 429.

Two limits hold at once, both of the company: so many PATCHes in any minute, and so many calls of any kind in any
second. pyrate-limiter keeps count of both windows exactly; what is added here is

- order: first come, first served, spread evenly over the window instead of in bursts;
- arrival: what a server counts is not when a call leaves but when it arrives, so jitter on the way can move calls
  closer together than they left. An answer tells how late its call may have arrived, at most: by as much as its round
  trip was longer than the shortest one. The call then counts from that moment on (`Permit.answered`). So the allowance
  follows the jitter that is seen, call by call, a stall included, and costs its average, not its worst case;
- the pause that a 429 orders, for everyone of that company;
- a bound on the wait: a permit further away than that is not waited for here, but handed back (`NotYetError`).

Nothing here knows of the engine or of HTTP. The clock and the sleep are passed in, so the rules are tested without
time.
"""

from __future__ import annotations

import asyncio
import time
from bisect import insort
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from operator import attrgetter

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from dialpad_ivr.settings import Settings

# pyrate-limiter is handed timestamps and intervals in microseconds: its usual milliseconds would each lose up to one.
_UNIT = 1_000_000
# Added to every window, for what is left of uncertainty in how quick a call can be.
_SLACK_SECONDS = 0.002

_timestamp = attrgetter("timestamp")


class NotYetError(Exception):
    """The permit is further away than a caller should wait here.

    Attributes:
        seconds: How long until it is worth asking again.
        pause_seconds: How much of that Dialpad ordered; 0 where only our own pacing is the reason.
    """

    def __init__(self, seconds: float, pause_seconds: float) -> None:
        super().__init__(f"no permit for {seconds:.1f} s")
        self.seconds = seconds
        self.pause_seconds = pause_seconds


@dataclass(frozen=True)
class Limit:
    """So many calls in any window of so many seconds."""

    calls: int
    seconds: float


class Lateness:
    """How much later than the quickest calls a call may have arrived.

    The time from leaving to arriving is a part of the round trip, so it exceeds the quickest call's by no more than the
    round trip does.
    """

    _KEPT = 128  # round trips
    _ENOUGH = 16  # of them, to know the quickest: the first ones set connections up
    _MOST = 0.5  # of the window: slow answers are not jitter, and must not throttle without bound

    def __init__(self, window_seconds: float) -> None:
        self._most = self._MOST * window_seconds
        self._round_trips: deque[float] = deque(maxlen=self._KEPT)
        self._late: deque[float] = deque(maxlen=self._KEPT)

    def observe(self, round_trip_seconds: float) -> float:
        """The seconds by which a call with that round trip may have been late."""
        self._round_trips.append(min(round_trip_seconds, self._quickest() + 2 * self._most))
        late = min(round_trip_seconds - self._quickest(), self._most)
        self._late.append(late)
        return late

    def _quickest(self) -> float:
        """The quickest that a call can be, in seconds; 0 until enough were seen to tell."""
        seen = self._round_trips
        if len(seen) < self._ENOUGH:
            return 0.0
        # The least of n values, evenly spread, lies the n-th part of their spread above the least possible.
        return min(seen) - (max(seen) - min(seen)) / len(seen)

    def average(self) -> float:
        """The average of those seen lately, in seconds."""
        return sum(self._late) / len(self._late) if self._late else 0.0

    def assumed(self) -> float:
        """What to assume of a call that is not answered yet: the worst of those seen lately."""
        return max(self._late, default=0.0)


class _Window:
    """One limit's window: pyrate-limiter's exact log, with calls that can be moved to when they arrived."""

    # A call that left later than its slot does not move the next ones, up to so many slots: a stall costs little then.
    _CATCH_UP = 4

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._bucket = InMemoryBucket([Rate(limit.calls, int((limit.seconds + _SLACK_SECONDS) * _UNIT))])
        self._next_slot = float("-inf")

    def interval(self, late_seconds: float) -> float:
        """Seconds between two calls that use the limit up evenly when calls are that late on average."""
        return (self._limit.seconds + _SLACK_SECONDS + late_seconds) / self._limit.calls

    def slot(self, arrived: float) -> float:
        """When the next call may leave, as far as evenness goes."""
        return max(self._next_slot, arrived)

    def use_slot(self, arrived: float, now: float, late_seconds: float) -> None:
        """Take note that a call leaves now."""
        interval = self.interval(late_seconds)
        self._next_slot = max(self.slot(arrived), now - self._CATCH_UP * interval) + interval

    def take(self, item: RateItem) -> float:
        """Count a call from its timestamp on; returns 0, or the seconds until there is room for it."""
        self._bucket.leak(item.timestamp)
        if self._bucket.put(item):
            self.move(item, item.timestamp)  # calls that are assumed to arrive later stand behind it
            return 0.0
        return int(self._bucket.waiting(item)) / _UNIT  # type: ignore[arg-type]  # awaitable for async buckets only

    def move(self, item: RateItem, timestamp: int) -> None:
        """Count a call from another moment on. The log is kept in the order of time, which its search relies on."""
        if self.forget(item):
            item.timestamp = timestamp
            insort(self._bucket.items, item, key=_timestamp)

    def forget(self, item: RateItem) -> bool:
        """Count a call no longer; false if its time in the window was over already."""
        try:
            self._bucket.items.remove(item)
        except ValueError:
            return False
        return True


class Permit:
    """Leave to send one call, now.

    Attributes:
        waited_seconds: How long it was waited for.
    """

    def __init__(
        self, waited_seconds: float, released: float, taken: dict[_Window, RateItem], lateness: Lateness
    ) -> None:
        self.waited_seconds = waited_seconds
        self._released = released
        self._taken = taken
        self._lateness = lateness
        self._move(lateness.assumed())

    def answered(self, moment: float) -> None:
        """Tell when the answer's headers came, by the lane's clock: the call then counts from when it arrived at most.

        What counts is the time from the permit, not from the sending: the process may be held up between the two.
        """
        self._move(self._lateness.observe(moment - self._released))

    def _move(self, late_seconds: float) -> None:
        for window, item in self._taken.items():
            window.move(item, int((self._released + late_seconds) * _UNIT))


class Lane:
    """The permits of one company, in this process."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        patch = Limit(settings.patch_limit, settings.patch_window_seconds)
        company = Limit(settings.company_limit, settings.company_window_seconds)
        self._company, self._patch = _Window(company), _Window(patch)
        self._default_pause = settings.default_pause_seconds
        self._longest_pause = settings.longest_pause_seconds
        self._longest_hold = settings.longest_hold_seconds
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()  # wakes its waiters in the order in which they came
        self._waiting = 0
        self._paused_until = float("-inf")
        self._refusals = 0  # 429s in a row
        self._handed_back = 0
        window = min(patch.seconds, company.seconds)
        # Apart, since a read takes another time than a write.
        self._lateness = {True: Lateness(window), False: Lateness(window)}

    async def permit(self, *, write: bool) -> Permit:
        """Wait for leave to send one call.

        Args:
            write: Whether it is a PATCH, which both limits count; any other call counts for the company's only.

        Raises:
            NotYetError: It would take more than the longest hold.
        """
        arrived = self._clock()
        self._refuse_if_far(0, max(self._waiting * self._interval(write=write), self.pause_seconds))
        self._waiting += 1
        try:
            async with self._turn:
                taken = await self._wait(arrived, write=write)
        finally:
            self._waiting -= 1
        self._handed_back = 0
        released = self._clock()
        return Permit(released - arrived, released, taken, self._lateness[write])

    def refused(self, retry_after_seconds: float | None) -> float:
        """Take note of a 429: nobody of this company passes for a while.

        Args:
            retry_after_seconds: What the answer asks for, if it does. Else the default pause, doubled for each refusal
                that follows another one.

        Returns:
            The seconds of the pause that is under way now.
        """
        if self.pause_seconds == 0:  # else it is one of the same burst
            self._refusals += 1
        asked = retry_after_seconds
        if not asked:  # 0 would be an invitation to hammer
            asked = self._default_pause * 2 ** min(self._refusals - 1, 16)
        self._paused_until = max(self._paused_until, self._clock() + min(asked, self._longest_pause))
        return self.pause_seconds

    def accepted(self) -> None:
        """Take note of an answer that is no 429."""
        if self.pause_seconds == 0:
            self._refusals = 0

    @property
    def pause_seconds(self) -> float:
        """What is left of a pause."""
        return max(0.0, self._paused_until - self._clock())

    async def _wait(self, arrived: float, *, write: bool) -> dict[_Window, RateItem]:
        """Wait for the next slot, the end of a pause, and room in the windows; returns what was taken of each."""
        windows = self._windows(write=write)
        slot = max(window.slot(arrived) for window in windows)
        taken: dict[_Window, RateItem] = {}
        while True:
            now = self._clock()
            wait = max(slot - now, self._paused_until - now)
            if wait <= 0:
                wait = _take(windows, taken, int(now * _UNIT))
            if wait <= 0:
                break
            try:
                self._refuse_if_far(now - arrived, wait)
                await self._sleep(wait)
            except BaseException:
                for window, item in taken.items():
                    window.forget(item)
                raise
        for window in windows:
            window.use_slot(arrived, now, self._lateness[write].average())
        return taken

    def _windows(self, *, write: bool) -> tuple[_Window, ...]:
        return (self._patch, self._company) if write else (self._company,)

    def _interval(self, *, write: bool) -> float:
        late = self._lateness[write].average()
        return max(window.interval(late) for window in self._windows(write=write))

    def _refuse_if_far(self, held_seconds: float, seconds: float) -> None:
        """Hand the caller back if the permit is so far away that it would be held too long."""
        if held_seconds + seconds > self._longest_hold:
            # Those handed back come again one after another, not all in the moment in which the way is free.
            behind = self._handed_back * self._interval(write=True)
            self._handed_back += 1
            raise NotYetError(seconds + behind, self.pause_seconds)


def _take(windows: tuple[_Window, ...], taken: dict[_Window, RateItem], stamp: int) -> float:
    """Take what is missing; returns the seconds to wait for the rest. Nothing is sent before all is taken."""
    for window, item in taken.items():
        window.move(item, stamp)  # the call leaves now, not when the first of its permits was to be had
    for window in windows:
        if window not in taken:
            item = RateItem("", stamp)
            wait = window.take(item)
            if wait > 0:
                return wait
            taken[window] = item
    return 0.0


class Pacer:
    """The lanes of all companies, in memory: one process owns the limits.

    Args:
        settings: The limits, the pauses and the longest hold.
        clock: Seconds that never go back.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._lanes: dict[str, Lane] = {}

    def lane(self, company: str) -> Lane:
        """The lane of a company, made when it is first asked for."""
        if company not in self._lanes:
            self._lanes[company] = Lane(self._settings, self._clock, self._sleep)
        return self._lanes[company]
