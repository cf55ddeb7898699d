"""One limit for a whole fleet: a company's call window in a Redis that all workers share.

`redis.lua` and `turn.lua` follow the same rules as `MemoryWindow`, each in one step and on Redis's clock.

What Redis may do, and what happens then:

- gone, slow, or out of memory: nobody knows whether there is room, so callers get `PermitDeferredError` and nothing is
  sent. It resumes by itself when Redis responds again;
- restarted, flushed, failed over or restored: previous calls are forgotten. Redis's run id and markers in the window
  reveal it, and nothing is sent until those calls have left their windows. An open circuit is forgotten too, and opens
  again by the same failures.

A success costs the circuit no call of Redis: each worker says with its next call how long ago its last one was.

The keys' names contain a digest of the company's name, never a credential.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from dialpad_ivr.pacing import circuit
from dialpad_ivr.pacing.circuit import Failure, Outage
from dialpad_ivr.pacing.limiter import Limiter, PermitDeferredError
from dialpad_ivr.pacing.window import CATCH_UP, MICROSECONDS, Limits, Reservation, Usage, Wait
from dialpad_ivr.redis_client import open_redis, redis_errors
from dialpad_ivr.settings import Settings
from dialpad_ivr.telemetry.logs import get_logger
from dialpad_ivr.telemetry.metrics import Metrics

_SCRIPT: Final = (Path(__file__).parent / "redis.lua").read_text("utf-8")
_CIRCUIT_SCRIPT: Final = (Path(__file__).parent / "circuit.lua").read_text("utf-8")
_TURN_SCRIPT: Final = (Path(__file__).parent / "turn.lua").read_text("utf-8")
_CIRCUIT_FIELDS: Final = ("probe_at", "lease", "prober", "backoff", "opened", "cause", "failed", "failed_at")
_RETRY_SECONDS, _MAX_RETRY_SECONDS = 1.0, 5.0
_UNAVAILABLE: Final = "the fleet's Redis does not answer"
_EXPIRY_MS: Final = 24 * 3600 * 1000  # of an unused window


@asynccontextmanager
async def open_limiter(settings: Settings, metrics: Metrics) -> AsyncIterator[Limiter]:
    """The limiter that the settings ask for: over Redis if they name one, otherwise in memory.

    Raises:
        SettingsError: The Redis client is not installed.
    """
    metrics.permitted(
        patch=settings.patch_limit / settings.patch_window_seconds,
        company=settings.company_limit / settings.company_window_seconds,
    )
    if settings.redis_url is None:
        yield Limiter(settings)
        return
    async with open_redis(settings.redis_url) as redis:
        yield Limiter(settings, RedisLimiter(redis, settings, metrics).window)


class RedisLimiter:
    """The connection that all companies' windows share, with a circuit breaker.

    Args:
        redis: An asyncio client that decodes responses.
        settings: The limits.
        metrics: Where failures are counted.
        clock: Monotonic seconds; used for durations of this process only.
    """

    def __init__(
        self, redis: Any, settings: Settings, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._script = redis.register_script(_SCRIPT)
        self._circuit_script = redis.register_script(_CIRCUIT_SCRIPT)
        self._turn_script = redis.register_script(_TURN_SCRIPT)
        self._settings = settings
        self._metrics = metrics
        self.clock = clock
        self._failures = 0
        self._retry_at = float("-inf")

    def window(self, company: str) -> RedisWindow:
        """The call window of a company."""
        return RedisWindow(self, company, Limits.of(self._settings))

    async def turn(self, turns: str, arguments: list[Any]) -> int:
        """Give a deferred call its turn; returns in how many microseconds it is.

        Raises:
            PermitDeferredError: Redis does not respond, or cannot run the script.
        """
        (wait,) = await self._run(self._turn_script, [turns], arguments)
        return int(wait)

    async def take(self, keys: list[str], arguments: list[Any]) -> list[Any]:
        """Reserve a call, if there is room for it.

        Raises:
            PermitDeferredError: Redis does not respond, or cannot run the script.
        """
        return await self._run(self._script, keys, arguments)

    async def failed(self, state: str, arguments: list[Any]) -> list[Any]:
        """Record a failure in the circuit; what is open is not known (an empty list) if Redis does not respond."""
        try:
            return await self._run(self._circuit_script, [state], arguments)
        except PermitDeferredError:
            return []

    async def close(self, state: str) -> None:
        """Close the circuit. On failure the next probe does."""
        try:
            await self._redis.hdel(state, *_CIRCUIT_FIELDS)
        except redis_errors() as exc:
            await self._failed(exc)

    async def _run(self, script: Any, keys: list[str], arguments: list[Any]) -> list[Any]:
        left = self._retry_at - self.clock()
        if left > 0:  # not every waiting caller needs to try
            raise PermitDeferredError(left, why=_UNAVAILABLE)
        try:
            answer: list[Any] = await script(keys, arguments)
        except redis_errors() as exc:
            raise await self._failed(exc) from None
        if self._failures:
            get_logger().info("redis_recovered", failures=self._failures)
        self._failures = 0
        self._metrics.shared_limit(answered=True)
        return answer

    async def move(self, keys: list[str], member: str, arrival: int) -> None:
        """Count a call from another time on. On failure it still counts at the delay that was assumed for it."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.zadd(key, {member: arrival}, xx=True)
                await pipe.execute()
        except redis_errors() as exc:
            await self._failed(exc)

    async def count(self, keys: dict[str, int]) -> list[int]:
        """The calls under each key in the last microseconds, by Redis's clock.

        Raises:
            PermitDeferredError: Redis does not respond.
        """
        try:
            seconds, microseconds = await self._redis.time()
            now = seconds * MICROSECONDS + microseconds
            return [await self._redis.zcount(key, now - length, "(+inf") for key, length in keys.items()]
        except redis_errors() as exc:
            raise await self._failed(exc) from None

    async def _failed(self, exc: Exception) -> PermitDeferredError:
        self._failures += 1
        delay = min(_RETRY_SECONDS * 2 ** min(self._failures - 1, 8), _MAX_RETRY_SECONDS)
        self._retry_at = self.clock() + delay
        self._metrics.shared_limit(answered=False)
        # The pool's other connections are likely dead too: each would cost another failure.
        await self._redis.connection_pool.disconnect(inuse_connections=False)
        if self._failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th ... in a row
            get_logger().error(
                "redis_unavailable",
                cause=f"{type(exc).__name__}: {exc}"[:200],
                failures=self._failures,
                hint="check DIALPAD_IVR_REDIS_URL and Redis itself; see: dialpad-ivr doctor",
            )
        return PermitDeferredError(delay, why=_UNAVAILABLE)


class RedisWindow:
    """A company's calls, shared by all workers; see `dialpad_ivr.pacing.window.CallWindow`."""

    def __init__(self, limiter: RedisLimiter, company: str, limits: Limits) -> None:
        digest = hashlib.sha256(f"dialpad-ivr company {company}".encode()).hexdigest()[:24]
        # The braces keep the keys on one node of a Redis cluster.
        self._keys = [f"dialpad-ivr:{{{digest}}}:{name}" for name in ("calls", "patches", "state")]
        self._turns = f"dialpad-ivr:{{{digest}}}:turns"
        self.limiter = limiter
        backoffs = (circuit.SHORTEST_WAIT, circuit.FIRST_SECONDS, circuit.LONGEST_SECONDS)
        self._constants = [
            *(limits.company.calls, _microseconds(limits.company.seconds)),
            *(limits.patch.calls, _microseconds(limits.patch.seconds), CATCH_UP, _EXPIRY_MS),
            *map(_microseconds, (limits.lease_seconds, *backoffs)),
            circuit.GROWTH,
        ]
        lengths = map(_microseconds, (limits.company.seconds, limits.patch.seconds))
        self._lengths = dict(zip(self._keys[:2], lengths, strict=True))
        self._hold = _hold_seconds(limits)
        self._paused_until = float("-inf")
        self._ordered_until = float("-inf")  # by a response to this process: Redis may lose it
        self._succeeded_at = float("-inf")  # the last success of this process

    @property
    def pause_seconds(self) -> float:
        """See `CallWindow`."""
        return max(0.0, self._paused_until - self.limiter.clock())

    async def pause(self, seconds: float) -> None:
        """See `CallWindow`. Redis gets it at once, or else with the next call."""
        self._ordered_until = max(self._ordered_until, self.limiter.clock() + seconds)
        self._paused_until = max(self._paused_until, self._ordered_until)
        try:
            await self._take(write=False, waited=0, average=0, assumed=0)
        except PermitDeferredError:
            return

    async def take(
        self, *, write: bool, waited_seconds: float, average_delay: float, assumed_delay: float
    ) -> Reservation | Wait | Outage:
        """See `CallWindow`.

        Raises:
            PermitDeferredError: Redis does not respond.
        """
        wait, why, now, member, outage = await self._take(
            write=write, waited=waited_seconds, average=average_delay, assumed=assumed_delay
        )
        if why == "pause":
            self._paused_until = self.limiter.clock() + wait
        elif why == "new":
            get_logger().warning(
                "rate_log_reset",
                wait_seconds=round(wait, 1),
                hint="expected at first use; otherwise Redis was restarted, flushed or restored",
            )
        elif why == "open" and outage is not None:
            return outage
        if wait > 0:
            return Wait(wait)
        return _RedisReservation(self, self._keys[: 2 if write else 1], member, now, outage)

    async def turn(self, seconds: float, interval: float) -> float:
        """See `CallWindow`."""
        arguments = [uuid.uuid4().hex, _microseconds(seconds), _microseconds(interval), _EXPIRY_MS]
        return await self.limiter.turn(self._turns, arguments) / MICROSECONDS

    async def usage(self) -> Usage:
        """See `CallWindow`."""
        return Usage(*await self.limiter.count(self._lengths))

    async def failed(self, member: str, failure: Failure) -> Outage | None:
        """Record a failure of a call; see `Reservation`."""
        seconds = (failure.retry_after_seconds, self._success_age)
        arguments = [member, failure.target, int(not failure.retried), failure.cause]
        arguments += [*map(_microseconds, seconds), circuit.TARGETS]
        arguments += [_microseconds(circuit.SHORTEST_WAIT), _microseconds(circuit.FIRST_SECONDS * circuit.jitter())]
        answer = await self.limiter.failed(self._keys[-1], [*arguments, _EXPIRY_MS])
        if not answer:
            return None
        wait, cause, age, opened, suspected = answer
        seconds_to_wait, seconds_open = int(wait) / MICROSECONDS, int(age) / MICROSECONDS
        return Outage(str(cause), seconds_open, seconds_to_wait, opened=bool(opened), suspected=bool(suspected))

    async def succeeded(self, *, probe: bool) -> None:
        """Record a success; see `Reservation`."""
        self._succeeded_at = self.limiter.clock()
        if probe:
            await self.limiter.close(self._keys[-1])

    @property
    def _success_age(self) -> float:
        return min(self.limiter.clock() - self._succeeded_at, _EXPIRY_MS / 1000)

    async def _take(
        self, *, write: bool, waited: float, average: float, assumed: float
    ) -> tuple[float, str, int, str, Outage | None]:
        member = uuid.uuid4().hex
        ordered = max(0.0, self._ordered_until - self.limiter.clock())
        seconds = (waited, average, assumed, ordered, self._hold, self._success_age)
        arguments = [member, int(write), *map(_microseconds, seconds), circuit.jitter(), *self._constants]
        wait, why, now, *rest = await self.limiter.take(self._keys, arguments)
        seconds_to_wait = int(wait) / MICROSECONDS
        outage = Outage(str(rest[0]), int(rest[1]) / MICROSECONDS, seconds_to_wait) if rest else None
        return seconds_to_wait, str(why), int(now), member, outage


class _RedisReservation:
    def __init__(self, window: RedisWindow, keys: list[str], member: str, reserved: int, outage: Outage | None) -> None:
        self.outage = outage
        self._window = window
        self._keys = keys
        self._member = member
        self._reserved = reserved

    async def move(self, delay_seconds: float) -> None:
        await self._window.limiter.move(self._keys, self._member, self._reserved + _microseconds(delay_seconds))

    async def failed(self, failure: Failure) -> Outage | None:
        return await self._window.failed(self._member, failure)

    async def succeeded(self) -> None:
        await self._window.succeeded(probe=self.outage is not None)


def _microseconds(seconds: float) -> int:
    return int(seconds * MICROSECONDS)


def _hold_seconds(limits: Limits) -> float:
    """How long forgotten calls may still count.

    Where the company's limit alone keeps PATCHes under theirs (20 a second is 1200 a minute), calls before and after a
    loss obey both limits as soon as the company's window has passed. Each may arrive late, by as much as the shorter
    window after a stall.
    """
    company, patch = limits.company, limits.patch
    implied = company.calls * patch.seconds <= patch.calls * company.seconds
    return (company.seconds if implied else max(company.seconds, patch.seconds)) + limits.shortest
