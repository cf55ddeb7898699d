"""The log of a company's calls: is there room for one more now, and if not, when to ask again.

`MemoryWindow` serves one process; pyrate-limiter keeps count of its windows. `RedisWindow` serves a fleet,
over Redis. Both obey the same rules:

- both limits hold in every window, a PATCH counting for both, any other call for the company's alone;
- calls leave evenly spread, not in bursts; one that left late does not delay those behind it by as much;
- a call counts from the moment on at which it may have arrived (`Reservation.move`), which is what a server counts;
- nothing leaves during a pause.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Protocol

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from dialpad_ivr.settings import Settings

# Both logs count in microseconds: pyrate-limiter's usual milliseconds would each lose up to one.
MICROSECONDS: Final = 1_000_000
# Added to every window, for what is left of uncertainty in how quick a call can be.
_SLACK_SECONDS: Final = 0.002
# A call that left later than its slot does not move the next ones, up to so many slots: a stall costs little then.
CATCH_UP: Final = 4

_timestamp = attrgetter("timestamp")


@dataclass(frozen=True)
class Limit:
    """So many calls in any window of so many seconds."""

    calls: int
    seconds: float

    def interval(self, late_seconds: float) -> float:
        """Seconds between two calls that use the limit up evenly when calls are that late on average."""
        return (self.seconds + late_seconds) / self.calls


@dataclass(frozen=True)
class Limits:
    """The two limits of a company, with what is added to their windows."""

    company: Limit
    patch: Limit

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those of the settings."""
        return cls(
            Limit(settings.company_limit, settings.company_window_seconds + _SLACK_SECONDS),
            Limit(settings.patch_limit, settings.patch_window_seconds + _SLACK_SECONDS),
        )

    @property
    def shortest(self) -> float:
        """The shorter window, in seconds."""
        return min(self.company.seconds, self.patch.seconds)

    def interval(self, late_seconds: float, *, write: bool) -> float:
        """Seconds between two calls that use up the limits that count them."""
        company = self.company.interval(late_seconds)
        return max(company, self.patch.interval(late_seconds)) if write else company


@dataclass(frozen=True)
class Wait:
    """No room yet.

    Attributes:
        seconds: When to ask again.
    """

    seconds: float


class Reservation(Protocol):
    """A call in the log."""

    async def move(self, late_seconds: float) -> None:
        """Let it count from so many seconds after it was taken."""


class CallWindow(Protocol):
    """The log of one company's calls."""

    @property
    def pause_seconds(self) -> float:
        """What is left of a pause, as far as is known here."""

    async def take(
        self, *, write: bool, waited_seconds: float, average_late: float, assumed_late: float
    ) -> Reservation | Wait:
        """Enter one call, which then leaves at once, if there is room for it.

        Args:
            write: Whether it is a PATCH.
            waited_seconds: How long it has been waiting: it has a claim on the slots of that time.
            average_late: By how many seconds calls were late lately, on average.
            assumed_late: By how many seconds to think that this one will be late.

        Raises:
            PermitDeferredError: Nobody knows whether there is room.
        """

    async def pause(self, seconds: float) -> None:
        """Let nothing leave for so many seconds, or for what is left of a longer pause."""


class _SlidingWindow:
    """One limit's window: pyrate-limiter's exact log, with calls that can be moved to when they arrived."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._bucket = InMemoryBucket([Rate(limit.calls, int(limit.seconds * MICROSECONDS))])
        self._next_slot = float("-inf")

    def slot(self, arrived: float) -> float:
        """When the next call may leave, as far as evenness goes."""
        return max(self._next_slot, arrived)

    def use_slot(self, arrived: float, now: float, late_seconds: float) -> None:
        """Take note that a call leaves now."""
        interval = self._limit.interval(late_seconds)
        self._next_slot = max(self.slot(arrived), now - CATCH_UP * interval) + interval

    def take(self, item: RateItem) -> float:
        """Count a call from its timestamp on; returns 0, or the seconds until there is room for it."""
        self._bucket.leak(item.timestamp)
        if self._bucket.put(item):
            return 0.0
        return int(self._bucket.waiting(item)) / MICROSECONDS  # type: ignore[arg-type]  # awaitable for async buckets

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


class _MemoryReservation:
    def __init__(self, taken: dict[_SlidingWindow, RateItem], released: float) -> None:
        self._taken = taken
        self._released = released

    async def move(self, late_seconds: float) -> None:
        for window, item in self._taken.items():
            window.move(item, int((self._released + late_seconds) * MICROSECONDS))


class MemoryWindow:
    """The log of a process that has the company's limits to itself.

    Args:
        limits: The two limits.
        clock: Seconds that never go back.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._company, self._patch = _SlidingWindow(limits.company), _SlidingWindow(limits.patch)
        self._clock = clock
        self._paused_until = float("-inf")

    @property
    def pause_seconds(self) -> float:
        """What is left of a pause."""
        return max(0.0, self._paused_until - self._clock())

    async def pause(self, seconds: float) -> None:
        """See `CallWindow`."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    async def take(
        self, *, write: bool, waited_seconds: float, average_late: float, assumed_late: float
    ) -> Reservation | Wait:
        """See `CallWindow`."""
        now = self._clock()
        arrived = now - waited_seconds
        windows = (self._patch, self._company) if write else (self._company,)
        wait = max(self._paused_until - now, *(window.slot(arrived) - now for window in windows))
        if wait > 0:
            return Wait(wait)
        taken: dict[_SlidingWindow, RateItem] = {}
        for window in windows:
            item = RateItem("", int(now * MICROSECONDS))
            wait = window.take(item)
            if wait > 0:
                for earlier, its_item in taken.items():
                    earlier.forget(its_item)
                return Wait(wait)
            taken[window] = item
        for window in windows:
            window.use_slot(arrived, now, average_late)
        entry = _MemoryReservation(taken, now)
        await entry.move(assumed_late)
        return entry
