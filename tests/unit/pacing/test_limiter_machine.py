"""Any interleaving of callers, late answers, 429s, outages and suspensions, against an oracle that counts calls.

The oracle knows nothing of slots, delays or estimates: it looks at when calls were sent, and in which order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from redis.asyncio import Redis

from dialpad_ivr.pacing.circuit import LONGEST_SECONDS, Failure, Outage, lease_seconds
from dialpad_ivr.pacing.limiter import CircuitOpenError, CompanyLimiter, Permit, PermitDeferredError
from dialpad_ivr.pacing.redis import RedisLimiter
from dialpad_ivr.pacing.window import CallWindow, Limits, MemoryWindow, Reservation, Wait
from dialpad_ivr.settings import Settings
from dialpad_ivr.telemetry.metrics import Metrics
from support.redis import RedisServer
from support.virtual import VirtualLoop, explore
from support.windows import Clock, most_in_any_window, use_fake_redis_time

LIMITS = Settings(
    company_limit=3,
    company_window_seconds=1,
    patch_limit=5,
    patch_window_seconds=4,
    max_inline_wait_seconds=3,
    default_pause_seconds=1,
    longest_pause_seconds=8,
)
BRIEF = st.floats(0.001, 2, allow_nan=False)


class PacingMachine(RuleBasedStateMachine):
    """Callers of one company."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = self.make_clock()
        self.loop = VirtualLoop(self.clock, self.awaits_network)
        self.limiter = CompanyLimiter(LIMITS, self.clock, asyncio.sleep, self.make_window())
        self.sent: list[float] = []
        self.patches: list[float] = []
        self.tickets = 0
        self.served: dict[bool, list[int]] = {True: [], False: []}  # tickets as their calls were sent: bulk, and others
        self.paused_until = float("-inf")
        self.callers: list[asyncio.Task[None]] = []
        self.retry_after: float | None = None  # of each answer while Dialpad is down; 0 without one
        self.circuit_open = False
        self.probes = 0  # that are under way

    def make_clock(self) -> Clock:
        return Clock()

    def make_window(self) -> CallWindow:
        return MemoryWindow(Limits.of(LIMITS), self.clock)

    def awaits_network(self) -> bool:
        return False

    async def close(self) -> None:
        """Whatever the window has opened."""

    async def _call(self, answer_seconds: float, *, write: bool, bulk: bool) -> None:
        """A task: it calls until it has an answer that shows that Dialpad works."""
        retried, answered = False, False
        while not answered:
            try:
                answered = await self._attempt(answer_seconds, write=write, bulk=bulk, retried=retried)
            except PermitDeferredError as deferred:
                await asyncio.sleep(deferred.seconds)
                continue
            retried = not answered
            await asyncio.sleep(retried)

    async def _attempt(self, answer_seconds: float, *, write: bool, bulk: bool, retried: bool) -> bool:
        """One call; returns whether Dialpad answered it."""
        self.tickets += 1
        ticket, overtaken = self.tickets, len(self.served[True])
        permit = await self.limiter.permit(write=write, bulk=bulk, max_wait_seconds=None if bulk else 1)
        probe = permit.outage is not None
        assert self.clock.now >= self.paused_until, "a call was sent during a pause"
        assert probe or not self.circuit_open, "a call was sent that is no probe"
        assert not probe or self.probes == 0, "a probe was sent beside another one"
        if not bulk:
            assert len(self.served[True]) - overtaken <= 1, "bulk work went before what somebody waits for"
        self.served[bulk].append(ticket)
        self.sent.append(self.clock.now)
        if write:
            self.patches.append(self.clock.now)
        self.probes += probe
        try:
            await asyncio.sleep(answer_seconds)
        finally:
            self.probes -= probe
        if self.retry_after is not None:
            failure = Failure("http_503", str(ticket), retried, self.retry_after)
            try:
                await self.limiter.failed(permit, failure)
            except CircuitOpenError as exc:
                self.circuit_open |= not exc.outage.suspected
                raise
            return False
        self.circuit_open &= not probe
        await self.limiter.succeeded(permit)
        await permit.answered(self.clock.now)
        self.limiter.not_throttled()
        return True

    def _let(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        # Time passes only when nothing else can go on, so that no rule comes between a permit and its call.
        self.loop.run_until_complete(asyncio.sleep(1e-6))
        while self.awaits_network():
            self.loop.run_until_complete(asyncio.sleep(1e-6))

    @rule(write=st.booleans(), bulk=st.booleans(), count=st.integers(1, 8), answer_seconds=st.floats(0.01, 5))
    def take(self, *, write: bool, bulk: bool, count: int, answer_seconds: float) -> None:
        for _ in range(count):
            self.callers.append(self.loop.create_task(self._call(answer_seconds, write=write, bulk=bulk)))
        self._let(0)

    @rule(seconds=BRIEF)
    def time_passes(self, seconds: float) -> None:
        self._let(seconds)

    @rule(retry_after=st.none() | st.integers(0, 20))
    def throttle(self, retry_after: int | None) -> None:
        pause = self.loop.run_until_complete(self.limiter.throttled(retry_after))
        assert 0 < pause < LIMITS.longest_pause_seconds + 1e-6
        self.paused_until = max(self.paused_until, self.clock.now + pause - 1e-3)
        self._let(0)

    @rule(retry_after=st.none() | st.just(0) | st.integers(1, 10))
    def outage(self, retry_after: float | None) -> None:
        """Dialpad goes down, with or without a Retry-After, or comes back."""
        self.retry_after = retry_after

    @rule(number=st.integers(0, 30))
    def cancel(self, number: int) -> None:
        waiting = [task for task in self.callers if not task.done()]
        if waiting:
            waiting[number % len(waiting)].cancel()
            self._let(0)

    @rule(seconds=BRIEF)
    def suspend(self, seconds: float) -> None:
        """The process stands still: time passes, and nothing of it runs."""
        self.clock.now += seconds

    @invariant()
    def limits_hold(self) -> None:
        assert most_in_any_window(self.sent, LIMITS.company_window_seconds) <= LIMITS.company_limit
        assert most_in_any_window(self.patches, LIMITS.patch_window_seconds) <= LIMITS.patch_limit

    @invariant()
    def first_come_first_served(self) -> None:
        for served in self.served.values():
            assert served == sorted(served)

    @invariant()
    def nobody_failed(self) -> None:
        for task in [task for task in self.callers if task.done()]:
            self.callers.remove(task)
            if not task.cancelled():
                task.result()

    def teardown(self) -> None:
        self.retry_after = None
        try:
            # Whoever still waits leaves: each at its limit's rate, after the longest pause and the outage.
            if self.callers:
                calls = len(self.callers)
                longest = LIMITS.longest_pause_seconds + 5 + 10 * (calls + 8) * LIMITS.patch_window_seconds
                longest += 2 * (LONGEST_SECONDS + lease_seconds(LIMITS.deadline_seconds))
                _, late = self.loop.run_until_complete(asyncio.wait(self.callers, timeout=longest))
                assert not late, f"{len(late)} of {calls} callers never got a permit"
                self.limits_hold()
                self.first_come_first_served()
                self.nobody_failed()
        finally:
            for task in {*self.callers, *asyncio.all_tasks(self.loop)}:
                if task.done() and not task.cancelled():
                    task.exception()  # else it is logged while something is parsed, which Python 3.11 does not bear
                task.cancel()
            self.loop.run_until_complete(self.close())
            self.loop.close()


@pytest.mark.parametrize("runs", [40, pytest.param(2000, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
def test_no_interleaving_breaks_a_rule(runs: int) -> None:
    explore(PacingMachine, runs)


class CountedRedisLimiter(RedisLimiter):
    """Counts the requests that Redis has not answered yet: while there are some, no virtual time passes."""

    in_flight = 0

    async def turn(self, turns: str, arguments: list[Any]) -> int:
        with self._counted():
            return await super().turn(turns, arguments)

    async def take(self, keys: list[str], arguments: list[Any]) -> list[Any]:
        with self._counted():
            return await super().take(keys, arguments)

    async def failed(self, state: str, arguments: list[Any]) -> list[Any]:
        with self._counted():
            return await super().failed(state, arguments)

    async def close(self, state: str) -> None:
        with self._counted():
            await super().close(state)

    async def move(self, keys: list[str], member: str, arrival: int) -> None:
        with self._counted():
            await super().move(keys, member, arrival)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1


@pytest.fixture
def on_redis(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[PacingMachine]]:
    """The machine with a window on a real Redis, whose clock is the machine's."""
    use_fake_redis_time(monkeypatch)
    with redis_server.client() as client:

        class OnRedis(PacingMachine):
            def make_clock(self) -> Clock:
                client.flushall()
                return Clock(client)

            def make_window(self) -> CallWindow:
                self.redis = Redis.from_url(redis_server.url, decode_responses=True)
                self.shared = CountedRedisLimiter(self.redis, LIMITS, Metrics(), self.clock)
                return self.shared.window("company")

            def awaits_network(self) -> bool:
                return self.shared.in_flight > 0

            async def close(self) -> None:
                await self.redis.aclose()

            @rule()
            def flush(self) -> None:
                client.flushall()
                self.circuit_open = False
                self.clock.now += 0  # Redis's clock is a key, too

        yield OnRedis


@pytest.mark.parametrize("runs", [10, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
def test_no_interleaving_breaks_a_rule_over_redis(on_redis: type[PacingMachine], runs: int) -> None:
    explore(on_redis, runs)


class OneCallTooMany(PacingMachine):
    def make_window(self) -> CallWindow:
        limits = Limits.of(LIMITS)
        return MemoryWindow(replace(limits, company=replace(limits.company, calls=4)), self.clock)


class WindowTooShort(PacingMachine):
    def make_window(self) -> CallWindow:
        limits = Limits.of(LIMITS)
        return MemoryWindow(replace(limits, patch=replace(limits.patch, seconds=3.5)), self.clock)


class PauseForgotten(PacingMachine):
    class _Window(MemoryWindow):
        async def take(self, **call: Any) -> Reservation | Wait | Outage:
            self._paused_until = float("-inf")
            return await super().take(**call)

    def make_window(self) -> CallWindow:
        return self._Window(Limits.of(LIMITS), self.clock)


class LastComeFirstServed(PacingMachine):
    def __init__(self) -> None:
        super().__init__()
        self.limiter._turn._waiters = _Stack()


class _Stack(deque[Any]):
    def append(self, item: Any) -> None:
        self.appendleft(item)


class ClassesForgotten(PacingMachine):
    class _Limiter(CompanyLimiter):
        async def permit(self, *, write: bool, bulk: bool = False, max_wait_seconds: float | None = None) -> Permit:
            return await super().permit(write=write, max_wait_seconds=max_wait_seconds)

    def __init__(self) -> None:
        super().__init__()
        self.limiter = self._Limiter(LIMITS, self.clock, asyncio.sleep, self.make_window())


class ProbeTooMany(PacingMachine):
    def make_window(self) -> CallWindow:
        window = MemoryWindow(Limits.of(LIMITS), self.clock)
        window._circuit._lease = 0
        return window


class CircuitForgotten(PacingMachine):
    def make_window(self) -> CallWindow:
        window = MemoryWindow(Limits.of(LIMITS), self.clock)
        window._circuit.outage = lambda: None  # type: ignore[method-assign]
        return window


class PlaceLostByCancelling(PacingMachine):
    class _Lock(asyncio.Lock):
        async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
            if kind is not asyncio.CancelledError:
                self.release()

    def __init__(self) -> None:
        super().__init__()
        self.limiter._turn = self._Lock()


@pytest.mark.long
@pytest.mark.parametrize(
    "faulty",
    [
        OneCallTooMany,
        WindowTooShort,
        PauseForgotten,
        LastComeFirstServed,
        ClassesForgotten,
        PlaceLostByCancelling,
        ProbeTooMany,
        CircuitForgotten,
    ],
)
def test_a_planted_fault_is_found(faulty: type[PacingMachine]) -> None:
    with pytest.raises(AssertionError):
        explore(faulty, 200, shrink=False)
