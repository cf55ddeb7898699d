"""The calls of a company within both limits: is there room for one more now, and if not, when to try again.

`MemoryWindow` serves one process, `RedisWindow` a fleet. Both follow the same rules:

- both limits hold in every window; a PATCH counts for both, any other call only for the company's;
- calls are spread evenly instead of sent in bursts; a late call does not delay those behind it by as much;
- a call counts from the latest time at which it may have arrived (`Reservation.move`), since arrivals are what a server
  counts;
- nothing is sent during a pause;
- deferred calls return one after another;
- while the circuit (`dialpad_ivr.pacing.circuit`) is open, one probe at a time is sent.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from dialpad_ivr.pacing.circuit import Circuit, Failure, Outage, lease_seconds
from dialpad_ivr.settings import Settings

# Both windows count in microseconds: milliseconds would each lose up to one.
MICROSECONDS: Final = 1_000_000
# Added to every window, for the remaining uncertainty about the minimum network delay.
_SLACK_SECONDS: Final = 0.002
# A call that left later than its slot does not move the next ones, up to this many slots: a stall costs little then.
CATCH_UP: Final = 4


@dataclass(frozen=True)
class Limit:
    """A number of calls in any window of a number of seconds."""

    calls: int
    seconds: float

    def interval(self, delay_seconds: float) -> float:
        """Seconds between two calls that use up the limit evenly at that average network delay."""
        return (self.seconds + delay_seconds) / self.calls


@dataclass(frozen=True)
class Limits:
    """The two limits of a company, with the slack that is added to their windows, and the lease of a probe."""

    company: Limit
    patch: Limit
    lease_seconds: float

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """The limits of the settings."""
        return cls(
            Limit(settings.company_limit, settings.company_window_seconds + _SLACK_SECONDS),
            Limit(settings.patch_limit, settings.patch_window_seconds + _SLACK_SECONDS),
            lease_seconds(settings.deadline_seconds),
        )

    @property
    def shortest(self) -> float:
        """The shorter window, in seconds."""
        return min(self.company.seconds, self.patch.seconds)

    def interval(self, delay_seconds: float, *, write: bool) -> float:
        """Seconds between two calls that use up the limits that count them."""
        company = self.company.interval(delay_seconds)
        return max(company, self.patch.interval(delay_seconds)) if write else company


@dataclass(frozen=True)
class Wait:
    """No room yet.

    Attributes:
        seconds: When to try again.
    """

    seconds: float


@dataclass(frozen=True)
class Usage:
    """The calls that count now.

    Attributes:
        company: Calls of any kind in the company's window.
        patch: PATCHes in theirs.
    """

    company: int
    patch: int


class Reservation(Protocol):
    """A call that is counted in a window."""

    @property
    def outage(self) -> Outage | None:
        """What the call is a probe of, if it is one."""

    async def move(self, delay_seconds: float) -> None:
        """Count the call from that many seconds after it was reserved."""

    async def failed(self, failure: Failure) -> Outage | None:
        """Record that the call failed; returns the outage if it is one's, perhaps."""

    async def succeeded(self) -> None:
        """Record that Dialpad works: the call's answer shows it."""


class CallWindow(Protocol):
    """The calls of one company."""

    @property
    def pause_seconds(self) -> float:
        """The rest of the pause, as far as this process knows."""

    async def take(
        self, *, write: bool, waited_seconds: float, average_delay: float, assumed_delay: float
    ) -> Reservation | Wait | Outage:
        """Reserve one call, which is then sent at once, if there is room for it.

        Args:
            write: Whether it is a PATCH.
            waited_seconds: How long it has been waiting: it may use the slots of that time.
            average_delay: The average network delay of recent calls, in seconds.
            assumed_delay: The network delay to assume for this one until its response, in seconds.

        Raises:
            PermitDeferredError: It cannot be found out whether there is room.
        """

    async def turn(self, seconds: float, interval: float) -> float:
        """In how many seconds a deferred call returns that cannot be sent for so long: after those deferred before.

        Where those return much later, because of an outage that has ended since, it returns before them.

        Args:
            seconds: How long it cannot be sent.
            interval: Seconds between two turns.

        Raises:
            PermitDeferredError: It cannot be found out.
        """

    async def pause(self, seconds: float) -> None:
        """Send nothing for that many seconds, or for the rest of a longer pause."""

    async def usage(self) -> Usage:
        """How much of the limits is used.

        Raises:
            PermitDeferredError: It cannot be found out.
        """


class SlidingWindow:
    """One limit: the times of the calls that count, in order. All times are whole microseconds."""

    def __init__(self, calls: int, length: int) -> None:
        self._calls = calls
        self._length = length
        self._times: list[int] = []

    def wait(self, now: int) -> int:
        """Drop the calls that have left the window; returns 0, or the microseconds until there is room.

        A call that is exactly the window's length ago still counts.
        """
        del self._times[: bisect_left(self._times, now - self._length)]
        excess = len(self._times) - self._calls
        return 0 if excess < 0 else self._times[excess] + self._length - now + 1

    def used(self, now: int) -> int:
        """The calls that count at a time."""
        return len(self._times) - bisect_left(self._times, now - self._length)

    def add(self, time: int) -> None:
        """Count a call from a time on."""
        insort(self._times, time)

    def move(self, time: int, later: int) -> None:
        """Count a call from another time on, unless it has left the window."""
        index = bisect_left(self._times, time)
        if index < len(self._times) and self._times[index] == time:
            del self._times[index]
            insort(self._times, later)


class _PacedWindow(SlidingWindow):
    """A limit whose calls are also spread evenly: each has a slot."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(limit.calls, int(limit.seconds * MICROSECONDS))
        self._limit = limit
        self._next_slot = float("-inf")

    def slot(self, arrived: float) -> float:
        """The earliest slot of a call that arrived then, in seconds."""
        return max(self._next_slot, arrived)

    def use_slot(self, arrived: float, now: float, delay_seconds: float) -> None:
        """Record that a call is sent now."""
        interval = self._limit.interval(delay_seconds)
        self._next_slot = max(self.slot(arrived), now - CATCH_UP * interval) + interval


class _MemoryReservation:
    def __init__(
        self, windows: tuple[_PacedWindow, ...], circuit: Circuit, reserved: float, delay_seconds: float
    ) -> None:
        self.outage = circuit.sent(self)
        self._windows = windows
        self._circuit = circuit
        self._reserved = reserved
        self._time = self._arrival(delay_seconds)
        for window in windows:
            window.add(self._time)

    async def move(self, delay_seconds: float) -> None:
        earlier, self._time = self._time, self._arrival(delay_seconds)
        for window in self._windows:
            window.move(earlier, self._time)

    async def failed(self, failure: Failure) -> Outage | None:
        return self._circuit.failed(self, failure)

    async def succeeded(self) -> None:
        self._circuit.succeeded(probe=self.outage is not None)

    def _arrival(self, delay_seconds: float) -> int:
        return int((self._reserved + delay_seconds) * MICROSECONDS)


class MemoryWindow:
    """The calls of a company that only this process makes.

    Args:
        limits: The two limits.
        clock: Monotonic seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._company, self._patch = _PacedWindow(limits.company), _PacedWindow(limits.patch)
        self._circuit = Circuit(limits.lease_seconds, clock)
        self._clock = clock
        self._paused_until = float("-inf")
        self._turns: list[float] = []  # when deferred calls return, in order

    @property
    def pause_seconds(self) -> float:
        """See `CallWindow`."""
        return max(0.0, self._paused_until - self._clock())

    async def turn(self, seconds: float, interval: float) -> float:
        """See `CallWindow`."""
        now = self._clock()
        del self._turns[: bisect_right(self._turns, now)]
        soonest = now + seconds
        turn = soonest + (len(self._turns) - bisect_left(self._turns, soonest)) * interval
        insort(self._turns, turn)
        return turn - now

    async def pause(self, seconds: float) -> None:
        """See `CallWindow`."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    async def usage(self) -> Usage:
        """See `CallWindow`."""
        now = int(self._clock() * MICROSECONDS)
        return Usage(self._company.used(now), self._patch.used(now))

    async def take(
        self, *, write: bool, waited_seconds: float, average_delay: float, assumed_delay: float
    ) -> Reservation | Wait | Outage:
        """See `CallWindow`."""
        now = self._clock()
        outage = self._circuit.outage()
        if outage is not None and now >= self._paused_until:
            return outage
        arrived = now - waited_seconds
        windows = (self._patch, self._company) if write else (self._company,)
        wait = max(self._paused_until - now, *(window.slot(arrived) - now for window in windows))
        if wait <= 0:
            wait = max(window.wait(int(now * MICROSECONDS)) for window in windows) / MICROSECONDS
        if wait > 0:
            return Wait(wait)
        for window in windows:
            window.use_slot(arrived, now, average_delay)
        return _MemoryReservation(windows, self._circuit, now, assumed_delay)
