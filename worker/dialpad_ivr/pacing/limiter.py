"""Permits: when a call may leave, so that Dialpad has no reason to answer 429.

Two limits hold at once, both of the company: so many PATCHes in any minute, and so many calls of any kind in any
second. A log of the company's calls (`dialpad_ivr.pacing.window`) keeps count of both; what is added here is

- order: first come, first served;
- arrival: what a server counts is not when a call leaves but when it arrives, so jitter on the way can move calls
  closer together than they left. An answer tells how late its call may have arrived, at most: by as much as its round
  trip was longer than the shortest one. The call then counts from that moment on (`Permit.answered`). So the allowance
  follows the jitter that is seen, call by call, a stall included, and costs its average, not its worst case;
- the pause that a 429 orders, for everyone of that company;
- a bound on the wait: a permit further away than that is not waited for here, but handed back (`PermitDeferredError`).

Nothing here knows of the engine, of HTTP or of Redis. The log, the clock and the sleep are passed in, so the rules are
tested without time.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from dialpad_ivr.pacing.window import CallWindow, Limits, MemoryWindow, Reservation, Wait
from dialpad_ivr.settings import Settings


class PermitDeferredError(Exception):
    """The permit is further away than a caller should wait here.

    Attributes:
        seconds: How long until it is worth asking again.
        pause_seconds: How much of that Dialpad ordered; 0 where only our own pacing is the reason.
        why: The reason, in a few words.
    """

    def __init__(self, seconds: float, pause_seconds: float = 0.0, why: str = "the permitted rate is used up") -> None:
        super().__init__(f"no permit for {seconds:.1f} s: {why}")
        self.seconds = seconds
        self.pause_seconds = pause_seconds
        self.why = why


class DelayEstimator:
    """How much later than the quickest calls a call may have arrived.

    The time from leaving to arriving is a part of the round trip, so it exceeds the quickest call's by no more than the
    round trip does.
    """

    _KEPT = 128  # round trips
    _ENOUGH = 4  # of them, to know the quickest
    MOST = 0.5  # of the window: slow answers are not jitter, and must not throttle without bound

    def __init__(self, window_seconds: float) -> None:
        self._most = self.MOST * window_seconds
        self._round_trips: deque[float] = deque(maxlen=self._KEPT)
        self._quickest = 0.0  # that a call can be, in seconds; 0 until enough were seen to tell
        self.average = 0.0
        """The average of those seen lately, in seconds."""
        self.assumed = 0.0
        """What to assume of a call that is not answered yet, in seconds: the worst of those seen lately."""

    def observe(self, round_trip_seconds: float) -> float:
        """The seconds by which a call with that round trip may have been late."""
        seen = self._round_trips
        seen.append(min(round_trip_seconds, self._quickest + 2 * self._most))
        least, longest = min(seen), max(seen)
        if len(seen) >= self._ENOUGH:
            # The least of n values, evenly spread, lies the n-th part of their spread above the least possible.
            self._quickest = max(0.0, least - (longest - least) / len(seen))
        self.average = sum(min(trip - self._quickest, self._most) for trip in seen) / len(seen)
        self.assumed = min(longest - self._quickest, self._most)
        return min(round_trip_seconds - self._quickest, self._most)


class Permit:
    """Leave to send one call, now.

    Attributes:
        waited_seconds: How long it was waited for.
    """

    def __init__(self, waited_seconds: float, asked: float, entry: Reservation, lateness: DelayEstimator) -> None:
        self.waited_seconds = waited_seconds
        self._asked = asked
        self._entry = entry
        self._lateness = lateness

    async def answered(self, moment: float) -> None:
        """Tell when the answer's headers came, by the lane's clock: the call then counts from when it arrived at most.

        What counts is the time since the log was asked, not since the sending: its answer may take a while, and the
        process may be held up before it sends.
        """
        await self._entry.move(self._lateness.observe(moment - self._asked))


class CompanyLimiter:
    """The permits of one company, in this process."""

    # How much the latest gap between two permits weighs in their average.
    _NEWEST = 0.1

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        log: CallWindow,
    ) -> None:
        self._limits = Limits.of(settings)
        self._default_pause = settings.default_pause_seconds
        self._longest_pause = settings.longest_pause_seconds
        self._longest_hold = settings.max_inline_wait_seconds
        self._clock = clock
        self._sleep = sleep
        self._log = log
        self._turn = asyncio.Lock()  # wakes its waiters in the order in which they came
        self._waiting = 0
        self._refusals = 0  # 429s in a row
        self._handed_back = 0
        self._last_permit = float("-inf")
        self._gap = 0.0  # between two permits while others waited, on average: others may share the limit
        # Apart, since a read takes another time than a write.
        window = self._limits.shortest
        self._lateness = {True: DelayEstimator(window), False: DelayEstimator(window)}

    async def permit(self, *, write: bool) -> Permit:
        """Wait for leave to send one call.

        Args:
            write: Whether it is a PATCH, which both limits count; any other call counts for the company's only.

        Raises:
            PermitDeferredError: It would take more than the longest hold.
        """
        arrived = self._clock()
        self._refuse_if_far(0, max(self._waiting * self._interval(write=write), self.pause_seconds))
        self._waiting += 1
        try:
            async with self._turn:
                entry, asked = await self._wait(arrived, write=write)
        finally:
            self._waiting -= 1
        released = self._clock()
        self._note_gap(arrived, released)
        self._handed_back = 0
        return Permit(released - arrived, asked, entry, self._lateness[write])

    async def throttled(self, retry_after_seconds: float | None) -> float:
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
        await self._log.pause(min(asked, self._longest_pause))
        return self.pause_seconds

    def not_throttled(self) -> None:
        """Take note of an answer that is no 429."""
        if self.pause_seconds == 0:
            self._refusals = 0

    @property
    def pause_seconds(self) -> float:
        """What is left of a pause."""
        return self._log.pause_seconds

    async def _wait(self, arrived: float, *, write: bool) -> tuple[Reservation, float]:
        """Wait until the log takes the call; returns when it was asked, too."""
        lateness = self._lateness[write]
        while True:
            asked = self._clock()
            held = asked - arrived
            taken = await self._log.take(
                write=write,
                waited_seconds=held,
                average_late=lateness.average,
                assumed_late=lateness.assumed,
            )
            if not isinstance(taken, Wait):
                return taken, asked
            self._refuse_if_far(held, taken.seconds)
            await self._sleep(taken.seconds)

    def _note_gap(self, arrived: float, released: float) -> None:
        """Keep the pace at which permits are to be had: with a fleet it is a part of what the limits allow."""
        if arrived < self._last_permit:  # it waited for its turn: the gap is not for want of calls
            gap = min(released - self._last_permit, self._longest_hold)  # a pause is no pace
            self._gap += self._NEWEST * (gap - self._gap)
        self._last_permit = released

    def _interval(self, *, write: bool) -> float:
        return max(self._limits.interval(self._lateness[write].average, write=write), self._gap)

    def _refuse_if_far(self, held_seconds: float, seconds: float) -> None:
        """Hand the caller back if the permit is so far away that it would be held too long."""
        if held_seconds + seconds > self._longest_hold:
            # Those handed back come again one after another, not all in the moment in which the way is free.
            behind = self._handed_back * self._interval(write=True)
            self._handed_back += 1
            if self.pause_seconds:
                raise PermitDeferredError(seconds + behind, self.pause_seconds, "Dialpad's rate limit was reached")
            raise PermitDeferredError(seconds + behind)


class Limiter:
    """The lanes of all companies.

    Args:
        settings: The limits, the pauses and the longest hold.
        log: The log of a company's calls; one in memory if left out: this process has the limits to itself.
        clock: Seconds that never go back.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        settings: Settings,
        log: Callable[[str], CallWindow] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._log = log or (lambda _: MemoryWindow(Limits.of(settings), clock))
        self._clock = clock
        self._sleep = sleep
        self._lanes: dict[str, CompanyLimiter] = {}

    def company(self, company: str) -> CompanyLimiter:
        """The lane of a company, made when it is first asked for."""
        if company not in self._lanes:
            self._lanes[company] = CompanyLimiter(self._settings, self._clock, self._sleep, self._log(company))
        return self._lanes[company]
