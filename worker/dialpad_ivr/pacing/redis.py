"""One limit for a whole fleet: the log of a company's calls in a Redis that all workers share.

pyrate-limiter's own Redis bucket is not used here. It counts with each client's clock, cannot move a call to when it
arrived, does not see calls that are assumed to arrive later, and cannot tell a log that is empty from one that was
lost. `redis.lua` does all that in one step, on Redis's clock; it is the same rules as `MemoryWindow`'s.

What a Redis may do, and what happens then:

- gone, slow, or out of memory: nobody knows whether there is room, so callers get `PermitDeferredError` and
  nothing is sent. It goes on by itself when Redis answers again;
- restarted, flushed, failed over or restored: calls made before are forgotten. Redis's run id and markers in the log
  show it, and nothing leaves until those calls have left their windows.

The keys' names hold a digest of the company's name, never a credential.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from dialpad_ivr.pacing.limiter import DelayEstimator, Limiter, PermitDeferredError
from dialpad_ivr.pacing.window import CATCH_UP, MICROSECONDS, Limits, Reservation, Wait
from dialpad_ivr.redis_client import open_redis, redis_errors
from dialpad_ivr.settings import Settings
from dialpad_ivr.telemetry.logs import get_logger
from dialpad_ivr.telemetry.metrics import Metrics

_SCRIPT: Final = (Path(__file__).parent / "redis.lua").read_text("utf-8")
_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 5.0
_UNANSWERED: Final = "the Redis that the fleet shares does not answer"
_KEPT_MS: Final = 24 * 3600 * 1000  # a log that is asked for nothing


@asynccontextmanager
async def open_limiter(settings: Settings, metrics: Metrics) -> AsyncIterator[Limiter]:
    """The pacer that the settings ask for: over Redis if they name one, else in memory.

    Raises:
        SettingsError: The client of Redis is not installed.
    """
    metrics.permitted(
        patch=settings.patch_limit / settings.patch_window_seconds,
        company=settings.company_limit / settings.company_window_seconds,
    )
    if settings.redis_url is None:
        yield Limiter(settings)
        return
    async with open_redis(settings.redis_url) as redis:
        fleet = RedisLimiter(redis, settings, metrics)
        yield Limiter(settings, fleet.window)


class RedisLimiter:
    """What all companies' logs share: the Redis, and whether it answers.

    Args:
        redis: An asyncio client that decodes responses.
        settings: The limits.
        metrics: Where failures are counted.
        clock: Seconds that never go back; used for durations of this process only.
    """

    def __init__(
        self, redis: Any, settings: Settings, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._script = redis.register_script(_SCRIPT)
        self._settings = settings
        self._metrics = metrics
        self.clock = clock
        self._failures = 0
        self._ask_again_at = float("-inf")

    def window(self, company: str) -> RedisWindow:
        """The log of a company."""
        return RedisWindow(self, company, Limits.of(self._settings))

    async def enter(self, keys: list[str], arguments: list[Any]) -> list[Any]:
        """Run the script.

        Raises:
            PermitDeferredError: Redis does not answer, or cannot.
        """
        left = self._ask_again_at - self.clock()
        if left > 0:  # those that wait in line need not each find out anew
            raise PermitDeferredError(left, why=_UNANSWERED)
        try:
            answer: list[Any] = await self._script(keys, arguments)
        except redis_errors() as exc:
            raise await self._failed(exc) from None
        if self._failures:
            get_logger().info("the shared limit can be asked again", failures=self._failures)
        self._failures = 0
        self._metrics.shared_limit(answered=True)
        return answer

    async def move(self, keys: list[str], member: str, stamp: int) -> None:
        """Let a call count from another moment on. What fails here leaves it where it is: it was assumed late then."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.zadd(key, {member: stamp}, xx=True)
                await pipe.execute()
        except redis_errors() as exc:
            await self._failed(exc)

    async def _failed(self, exc: Exception) -> PermitDeferredError:
        self._failures += 1
        delay = min(_RETRY_SECONDS * 2 ** min(self._failures - 1, 8), _LONGEST_RETRY_SECONDS)
        self._ask_again_at = self.clock() + delay
        self._metrics.shared_limit(answered=False)
        # The pool's other connections are likely dead too: each would cost another failure.
        await self._redis.connection_pool.disconnect(inuse_connections=False)
        if self._failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th ... of a row
            get_logger().error(
                "the shared limit cannot be asked: tasks are held back until Redis answers",
                cause=f"{type(exc).__name__}: {exc}"[:200],
                failures=self._failures,
                hint="check DIALPAD_IVR_REDIS_URL and the Redis; see: dialpad-ivr doctor",
            )
        return PermitDeferredError(delay, why=_UNANSWERED)


class RedisWindow:
    """The log of a company's calls that all workers share; see `dialpad_ivr.pacing.window.CallWindow`."""

    def __init__(self, fleet: RedisLimiter, company: str, limits: Limits) -> None:
        digest = hashlib.sha256(f"dialpad-ivr company {company}".encode()).hexdigest()[:24]
        # The braces keep the keys on one node of a Redis cluster.
        names = ("calls", "patches", "state")
        self._keys = [f"dialpad-ivr:{{{digest}}}:{name}" for name in names]
        self._fleet = fleet
        self._limits = limits
        self._hold = _hold_seconds(limits)
        self._paused_until = float("-inf")
        self._ordered_until = float("-inf")  # by an answer to this process: Redis may lose it

    @property
    def pause_seconds(self) -> float:
        """What is left of a pause, as far as this process knows."""
        return max(0.0, self._paused_until - self._fleet.clock())

    async def pause(self, seconds: float) -> None:
        """See `CallWindow`. Redis hears of it at once, or else with the next call that is asked for."""
        self._ordered_until = max(self._ordered_until, self._fleet.clock() + seconds)
        self._paused_until = max(self._paused_until, self._ordered_until)
        try:
            await self._ask(write=False, waited=0, average=0, assumed=0)
        except PermitDeferredError:
            return

    async def take(
        self, *, write: bool, waited_seconds: float, average_late: float, assumed_late: float
    ) -> Reservation | Wait:
        """See `CallWindow`.

        Raises:
            PermitDeferredError: Redis does not answer.
        """
        wait, why, now, member = await self._ask(
            write=write, waited=waited_seconds, average=average_late, assumed=assumed_late
        )
        if why == "pause":
            self._paused_until = self._fleet.clock() + wait
        elif why == "new":
            get_logger().warning(
                "the shared log of calls is new; nothing leaves until calls made before would be over",
                wait_seconds=round(wait, 1),
                hint="expected at first use; else Redis was restarted, flushed or set back",
            )
        if wait > 0:
            return Wait(wait)
        return _RedisReservation(self._fleet, self._keys[: 2 if write else 1], member, now)

    async def _ask(self, *, write: bool, waited: float, average: float, assumed: float) -> tuple[float, str, int, str]:
        member = uuid.uuid4().hex
        company, patch = self._limits.company, self._limits.patch
        ordered = max(0.0, self._ordered_until - self._fleet.clock())
        seconds = (waited, average, assumed, ordered, self._hold)
        arguments = [member, int(write), *(int(value * MICROSECONDS) for value in seconds)]
        arguments += [company.calls, int(company.seconds * MICROSECONDS)]
        arguments += [patch.calls, int(patch.seconds * MICROSECONDS), CATCH_UP, _KEPT_MS]
        wait, why, now = await self._fleet.enter(self._keys, arguments)
        return int(wait) / MICROSECONDS, str(why), int(now), member


class _RedisReservation:
    def __init__(self, fleet: RedisLimiter, keys: list[str], member: str, released: int) -> None:
        self._fleet = fleet
        self._keys = keys
        self._member = member
        self._released = released

    async def move(self, late_seconds: float) -> None:
        await self._fleet.move(self._keys, self._member, self._released + int(late_seconds * MICROSECONDS))


def _hold_seconds(limits: Limits) -> float:
    """How long after the log was lost the calls in it may still count.

    Where the company's limit alone keeps PATCHes under theirs (20 a second is 1200 a minute), the calls before and
    after keep to it together as soon as the company's window has passed.
    """
    company, patch = limits.company, limits.patch
    implied = company.calls * patch.seconds <= patch.calls * company.seconds
    return (company.seconds if implied else max(company.seconds, patch.seconds)) * (1 + DelayEstimator.MOST)
