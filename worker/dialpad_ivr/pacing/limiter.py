"""Permits: when a call may be sent, so that Dialpad has no reason to answer 429.

Two limits of the company hold at once: PATCHes in any minute, and calls of any kind in any second. A call window
(`dialpad_ivr.pacing.window`) counts both. This module adds

- order: first come, first served; of bulk work one call at a time queues with the others, so that no more than that one
  goes before what somebody waits for, and bulk work still gets its turns;
- arrivals: a server counts when a call arrives, not when it leaves, so jitter can move calls closer together than they
  were sent. A call counts from when it may have arrived, by its response (`dialpad_ivr.pacing.delays`);
- the pause that a 429 causes, for all calls of that company;
- a bound on the wait: a permit further away than `max_inline_wait_seconds`, or than the caller waits, is deferred
  (`PermitDeferredError`);
- the order in which deferred calls return: one after another, at the permitted rate. So few of them come before there
  is room, and after a pause or an outage (`CircuitOpenError`) all are back soon. One that has just been the probe of an
  outage comes after the others, so that its target does not decide for them.

Nothing here knows of the engine, of HTTP or of Redis. The window, the clock and the sleep are parameters, so the rules
are tested without time passing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

from dialpad_ivr.pacing.circuit import Failure, Outage
from dialpad_ivr.pacing.delays import DelayEstimator
from dialpad_ivr.pacing.window import CallWindow, Limits, MemoryWindow, Reservation, Usage, Wait
from dialpad_ivr.settings import Settings


class PermitDeferredError(Exception):
    """The permit is further away than a caller should wait in the worker.

    Attributes:
        seconds: How long until it is worth trying again.
        pause_seconds: How much of that Dialpad ordered; 0 where only our own pacing is the reason.
        why: The reason, in a few words.
    """

    def __init__(self, seconds: float, pause_seconds: float = 0.0, why: str = "the permitted rate is used up") -> None:
        super().__init__(f"no permit for {seconds:.1f} s: {why}")
        self.seconds = seconds
        self.pause_seconds = pause_seconds
        self.why = why


class CircuitOpenError(PermitDeferredError):
    """Dialpad does not work for the company, or perhaps does not.

    Attributes:
        outage: What is known of it.
    """

    def __init__(self, seconds: float, outage: Outage) -> None:
        perhaps = "perhaps " if outage.suspected else ""
        super().__init__(seconds, why=f"Dialpad {perhaps}does not work for this company ({outage.cause})")
        self.outage = outage


class Permit:
    """Permission to send one call, now.

    Attributes:
        waited_seconds: How long it was waited for.
        outage: What the call is a probe of, if it is one.
        reservation: The call in the window.
    """

    def __init__(
        self, waited_seconds: float, requested: float, reservation: Reservation, delays: DelayEstimator
    ) -> None:
        self.waited_seconds = waited_seconds
        self.outage = reservation.outage
        self.reservation = reservation
        self._requested = self._sent = requested
        self._delays = delays

    async def sent(self, moment: float) -> None:
        """Report that the call has left, so that it is counted from then on, at the earliest.

        A new connection or a busy machine may hold it back after its reservation. The response would tell, too, but may
        take seconds.

        Args:
            moment: When it has left, by the limiter's clock.
        """
        self._sent = moment
        self._delays.sent(moment)
        await self.reservation.move(moment - self._requested + self._delays.assumed(moment))

    async def answered(self, moment: float) -> None:
        """Report the response time, so that the call is counted at its latest possible arrival.

        Args:
            moment: When the response's headers came, by the limiter's clock.
        """
        delay = self._delays.observe(self._sent, moment - self._sent)
        await self.reservation.move(self._sent - self._requested + delay)


@dataclass(frozen=True)
class LimiterState:
    """What stands between a company's calls and Dialpad.

    Attributes:
        usage: How much of the limits is used; of a fleet's, if it shares them.
        waiting: The calls that wait in this process for a permit, without those of bulk work.
        waiting_bulk: Those of bulk work.
        pause_seconds: The rest of the pause that a 429 caused.
        outage: The open circuit, as far as this process knows.
    """

    usage: Usage
    waiting: int
    waiting_bulk: int
    pause_seconds: float
    outage: Outage | None


class CompanyLimiter:
    """The permits of one company, in this process."""

    # The weight of the latest interval between two permits in their moving average.
    _NEWEST_WEIGHT = 0.1
    # Of the window. A reservation that took longer to come (the process or Redis stood still) is not used: others would
    # have its place in the window when its call arrives. The next one is used in any case: Redis may be slow.
    _LATE_SHARE = 0.5
    # By which a call that failed in an outage returns after the others: callbacks are whole seconds.
    _PROBED_SECONDS = 2.0
    # By which a deferred call returns before its turn: a callback is rounded up, and takes some time to be recorded.
    _EARLY_SECONDS = 1.5
    # Of the interval between two turns: rather one call in ten is deferred twice than none is there when there is room.
    _TURN_SHARE = 0.9

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        window: CallWindow,
    ) -> None:
        self._limits = Limits.of(settings)
        self._default_pause = settings.default_pause_seconds
        self._longest_pause = settings.longest_pause_seconds
        self._max_inline_wait = settings.max_inline_wait_seconds
        self._clock = clock
        self._sleep = sleep
        self._window = window
        self._turn = asyncio.Lock()  # wakes its waiters in the order in which they came
        self._bulk_turn = asyncio.Lock()
        self._waiting = {True: 0, False: 0}  # bulk work, and other calls
        self._throttled_in_a_row = 0
        self._returns_at = float("-inf")  # the last turn of a deferred call, of this process
        self._told: tuple[Outage, float] | None = None  # the open circuit, as far as this process knows, and since when
        self._last_permit = float("-inf")
        self._interval_seen = 0.0  # between two permits while calls waited, on average: others may share the limit
        # Separately, since a read takes a different time from a write.
        shortest = self._limits.shortest
        self._delays = {True: DelayEstimator(shortest), False: DelayEstimator(shortest)}

    async def permit(self, *, write: bool, bulk: bool = False, max_wait_seconds: float | None = None) -> Permit:
        """Wait for the permission to send one call.

        Args:
            write: Whether it is a PATCH, which both limits count; any other call counts for the company's only.
            bulk: Whether other calls of this process go first.
            max_wait_seconds: The longest wait for the calls before it, as estimated now; by default
                `max_inline_wait_seconds`, which bounds any wait.

        Raises:
            CircuitOpenError: Dialpad does not work for this company.
            PermitDeferredError: The wait is too long, or the window does not respond.
        """
        arrived = self._clock()
        ahead = self._waiting[False] + (self._waiting[True] if bulk else min(self._waiting[True], 1))
        queued = ahead * self._interval(write=write)
        seconds = max(queued, self.pause_seconds)
        if seconds > self._max_inline_wait or (max_wait_seconds is not None and queued > max_wait_seconds):
            raise await self._deferred(seconds)
        self._waiting[bulk] += 1
        try:
            async with self._bulk_turn if bulk else nullcontext(), self._turn:
                reservation, requested = await self._reserve(arrived, write=write)
        finally:
            self._waiting[bulk] -= 1
        now = self._clock()
        self._record_interval(arrived, now)
        if reservation.outage is None:
            self._told = None
        return Permit(now - arrived, requested, reservation, self._delays[write])

    async def throttled(self, retry_after_seconds: float | None) -> float:
        """Record a 429 and pause all calls of this company.

        Args:
            retry_after_seconds: What the response asks for, if it does. Otherwise the default pause, doubled for each
                429 in a row.

        Returns:
            The rest of the pause, in seconds.
        """
        if self.pause_seconds == 0:  # else it belongs to the same burst
            self._throttled_in_a_row += 1
        pause = retry_after_seconds
        if not pause:  # a 0 would invite hammering
            pause = self._default_pause * 2 ** min(self._throttled_in_a_row - 1, 16)
        await self._window.pause(min(pause, self._longest_pause))
        return self.pause_seconds

    def not_throttled(self) -> None:
        """Record a response other than a 429."""
        if self.pause_seconds == 0:
            self._throttled_in_a_row = 0

    async def failed(self, permit: Permit, failure: Failure) -> None:
        """Record that Dialpad did not answer a call, or answered that it does not work.

        Raises:
            CircuitOpenError: It does not work for this company: the call is no failure of its task's own.
        """
        retry_after = min(failure.retry_after_seconds, self._longest_pause)
        outage = await permit.reservation.failed(replace(failure, retry_after_seconds=retry_after))
        if outage is not None:
            raise await self._deferred_by(outage, called=True)

    async def succeeded(self, permit: Permit) -> None:
        """Record an answer that shows that Dialpad works; that of a probe closes the circuit."""
        await permit.reservation.succeeded()
        if permit.outage is not None:
            self._told = None

    @property
    def circuit_open(self) -> bool:
        """Whether Dialpad does not work for the company, by the latest that this process knows."""
        return self._outage() is not None

    async def state(self) -> LimiterState:
        """What stands between this company's calls and Dialpad now.

        Raises:
            PermitDeferredError: The window does not respond.
        """
        usage = await self._window.usage()
        return LimiterState(usage, self._waiting[False], self._waiting[True], self.pause_seconds, self._outage())

    @property
    def pause_seconds(self) -> float:
        """The rest of the pause."""
        return self._window.pause_seconds

    async def _reserve(self, arrived: float, *, write: bool) -> tuple[Reservation, float]:
        """Wait until the window has room; returns the reservation and when it was requested."""
        delays = self._delays[write]
        discarded = False
        while True:
            requested = self._clock()
            waited = requested - arrived
            taken = await self._window.take(
                write=write,
                waited_seconds=waited,
                average_delay=delays.average(requested),
                assumed_delay=delays.assumed(requested),
            )
            if isinstance(taken, Outage):
                raise await self._deferred_by(taken, called=False)
            if not isinstance(taken, Wait):
                late = self._clock() - requested > self._LATE_SHARE * self._limits.shortest
                if late and not discarded and taken.outage is None:
                    discarded = True
                    continue
                return taken, requested
            if waited + taken.seconds > self._max_inline_wait:
                raise await self._deferred(taken.seconds)
            await self._sleep(taken.seconds)

    def _record_interval(self, arrived: float, now: float) -> None:
        """Track the rate at which permits are available: a fleet shares the limits."""
        if arrived < self._last_permit:  # it waited for its turn: the interval is not due to a lack of calls
            interval = min(now - self._last_permit, self._max_inline_wait)  # a pause says nothing about the rate
            self._interval_seen += self._NEWEST_WEIGHT * (interval - self._interval_seen)
        self._last_permit = now

    def _interval(self, *, write: bool) -> float:
        return max(self._permitted_interval(write=write), self._interval_seen)

    def _permitted_interval(self, *, write: bool) -> float:
        return self._limits.interval(self._delays[write].average(self._clock()), write=write)

    async def _deferred(self, seconds: float) -> PermitDeferredError:
        """The error for a call whose permit is that many seconds away."""
        returns_after = max(await self._turn_after(seconds) - self._EARLY_SECONDS, seconds)
        if self.pause_seconds:
            return PermitDeferredError(returns_after, self.pause_seconds, "Dialpad's rate limit was reached")
        return PermitDeferredError(returns_after)

    async def _turn_after(self, seconds: float) -> float:
        """In how many seconds a call has its turn that cannot be sent for that long: after those deferred before."""
        turn = await self._window.turn(seconds, self._TURN_SHARE * self._permitted_interval(write=True))
        self._returns_at = max(self._returns_at, self._clock() + turn)
        return turn

    def _outage(self) -> Outage | None:
        """The open circuit as of now, by the latest that this process was told."""
        if self._told is None:
            return None
        outage, then = self._told
        gone = self._clock() - then
        # Each return, a probe perhaps, tells more; without one nothing is known.
        if gone >= outage.wait_seconds + self._limits.lease_seconds:
            return None
        wait = max(outage.wait_seconds - gone, 0)
        return replace(outage, age_seconds=outage.age_seconds + gone, wait_seconds=wait, opened=False)

    async def _deferred_by(self, outage: Outage, *, called: bool) -> CircuitOpenError:
        now = self._clock()
        if not outage.suspected:
            self._told = outage, now
        if called:
            last = max(self._returns_at - now, outage.wait_seconds)
            return CircuitOpenError(last + self._PROBED_SECONDS, outage)
        return CircuitOpenError(await self._turn_after(outage.wait_seconds), outage)


class Limiter:
    """The limiters of all companies.

    Args:
        settings: The limits, the pauses and the longest inline wait.
        window: The call window of a company; by default one in memory, for a process that has the limits to itself.
        clock: Monotonic seconds.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        settings: Settings,
        window: Callable[[str], CallWindow] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._window = window or (lambda _: MemoryWindow(Limits.of(settings), clock))
        self._clock = clock
        self._sleep = sleep
        self._companies: dict[str, CompanyLimiter] = {}

    @property
    def companies(self) -> dict[str, CompanyLimiter]:
        """The limiters that were used, by the company's name."""
        return dict(self._companies)

    def company(self, name: str) -> CompanyLimiter:
        """The limiter of a company, made at its first use."""
        if name not in self._companies:
            self._companies[name] = CompanyLimiter(self._settings, self._clock, self._sleep, self._window(name))
        return self._companies[name]
