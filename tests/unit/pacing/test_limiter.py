"""The pacing rules, over both logs, without time passing: a clock that only the lane's own sleeps move.

The shared log counts on a real Redis, whose clock is faked: the script reads the time from a key.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio import Redis

from dialpad_ivr.pacing import redis as fleet
from dialpad_ivr.pacing.limiter import CompanyLimiter, DelayEstimator, Limiter, PermitDeferredError
from dialpad_ivr.pacing.redis import RedisLimiter
from dialpad_ivr.pacing.window import Limits, MemoryWindow
from dialpad_ivr.settings import Settings
from dialpad_ivr.telemetry.metrics import Metrics
from support.windows import most_in_any_window


class Clock:
    """Time that passes only in sleeps; for a Redis too, if there is one."""

    def __init__(self, redis: Any = None) -> None:
        self._redis = redis
        self.now = 1000.0

    @property
    def now(self) -> float:
        return self._now

    @now.setter
    def now(self, moment: float) -> None:
        self._now = moment
        if self._redis is not None:
            self._redis.set("fake-time", round(moment * 1_000_000))

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


MakeLane = Callable[..., CompanyLimiter]


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def clock(store: str, request: pytest.FixtureRequest) -> Iterator[Clock]:
    if store == "memory":
        yield Clock()
        return
    with request.getfixturevalue("redis_server").client() as client:
        client.flushall()
        yield Clock(client)


@pytest.fixture
async def lane(
    store: str, clock: Clock, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MakeLane]:
    """Makes a lane with these settings, for a company that has sent nothing lately."""
    numbers = itertools.count()
    async with AsyncExitStack() as stack:
        if store == "redis":
            server = request.getfixturevalue("redis_server")
            client = await stack.enter_async_context(Redis.from_url(server.url, decode_responses=True))
            asked = "redis.call('TIME')"
            assert asked in fleet._SCRIPT
            monkeypatch.setattr(fleet, "_SCRIPT", fleet._SCRIPT.replace(asked, "{0, redis.call('GET', 'fake-time')}"))

        def make(sleep: Any = clock.sleep, **limits: Any) -> CompanyLimiter:
            settings = Settings(
                **{"patch_limit": 200, "patch_window_seconds": 10, "max_inline_wait_seconds": 60, **limits}
            )
            if store == "memory":
                return CompanyLimiter(settings, clock, sleep, MemoryWindow(Limits.of(settings), clock))
            log = RedisLimiter(client, settings, Metrics(), clock).window(f"company {next(numbers)}")
            log._hold = 0.0  # what a log holds back for when it is new has tests of its own
            return CompanyLimiter(settings, clock, sleep, log)

        yield make


async def test_both_limits_hold_in_every_window_and_little_is_wasted(clock: Clock, lane: MakeLane) -> None:
    one = lane()
    released = []
    for _ in range(1000):
        permit = await one.permit(write=True)
        released.append(clock.now)
        await permit.answered(clock.now + 0.05)
    assert most_in_any_window(released, 1.0) == 20
    assert most_in_any_window(released, 10.0) <= 200
    assert 1000 / 20 / (released[-1] - released[0]) > 0.99


async def test_calls_are_spread_evenly(clock: Clock, lane: MakeLane) -> None:
    one = lane()
    released = []
    for _ in range(400):
        await (await one.permit(write=True)).answered(clock.now + 0.05)
        released.append(clock.now)
    # The first calls set connections up; how late they were is not known.
    # A second holds 20: what the first calls' unknown lateness moved is at most one slot out of place.
    assert max(b - a for a, b in itertools.pairwise(released)) < 0.1
    assert most_in_any_window(released[20:], 0.1) <= 3


@pytest.mark.parametrize("jitter", [0.0, 0.005, 0.05, 0.2])
async def test_no_window_overflows_at_arrival_whatever_the_jitter(clock: Clock, lane: MakeLane, jitter: float) -> None:
    one = lane()
    chance = random.Random(7)
    arrivals: list[float] = []
    flying: list[tuple[float, Any]] = []
    started = clock.now
    for _ in range(1000):
        permit = await one.permit(write=True)
        way = 0.02 + chance.uniform(0, jitter)
        arrivals.append(clock.now + way)
        flying.append((clock.now + way + 0.03, permit))
        for landed in [f for f in flying if f[0] <= clock.now]:
            await landed[1].answered(landed[0])
            flying.remove(landed)
    assert most_in_any_window(arrivals, 1.0) <= 20
    assert most_in_any_window(arrivals, 10.0) <= 200
    assert 1000 / 20 / (clock.now - started) > 1 / (1.01 + jitter)


async def test_a_stall_on_the_way_is_made_up_for(clock: Clock, lane: MakeLane) -> None:
    one = lane()
    arrivals = []
    for i in range(400):
        permit = await one.permit(write=True)
        # Every hundredth call finds the way blocked for a while, and so do those behind it.
        blocked = max(0.0, 0.3 - 0.05 * (i % 100)) if i > 50 else 0.0
        arrivals.append(clock.now + 0.02 + blocked)
        await permit.answered(clock.now + 0.05 + blocked)
    assert most_in_any_window(arrivals, 1.0) <= 20


async def test_a_process_that_is_held_up_between_permit_and_sending_breaks_no_limit(
    clock: Clock, lane: MakeLane
) -> None:
    one = lane()
    arrivals = []
    for i in range(400):
        permit = await one.permit(write=True)
        clock.now += 0.02 if i % 20 == 7 else 0.0
        arrivals.append(clock.now + 0.02)
        await permit.answered(clock.now + 0.05)
    assert most_in_any_window(arrivals, 1.0) <= 20


async def test_reads_count_for_the_company_only(clock: Clock, lane: MakeLane) -> None:
    one = lane(patch_limit=2, patch_window_seconds=30)
    before = clock.now
    for _ in range(40):
        await (await one.permit(write=False)).answered(clock.now + 0.01)
    assert clock.now - before < 3
    await (await one.permit(write=True)).answered(clock.now + 0.01)
    await (await one.permit(write=True)).answered(clock.now + 0.01)
    await (await one.permit(write=True)).answered(clock.now + 0.01)
    assert clock.now - before > 30


async def test_waiters_are_served_in_the_order_in_which_they_came(clock: Clock, lane: MakeLane) -> None:
    one = lane()
    order: list[int] = []

    async def take(number: int) -> None:
        await (await one.permit(write=True)).answered(clock.now + 0.05)
        order.append(number)

    await asyncio.gather(*(take(number) for number in range(60)))
    assert order == list(range(60))


async def test_a_permit_further_away_than_the_longest_hold_is_handed_back(clock: Clock, lane: MakeLane) -> None:
    one = lane(patch_limit=1, patch_window_seconds=30, max_inline_wait_seconds=3)
    await (await one.permit(write=True)).answered(clock.now + 0.05)
    with pytest.raises(PermitDeferredError) as caught:
        await one.permit(write=True)
    assert caught.value.pause_seconds == 0
    assert 29 < caught.value.seconds < 31


async def test_what_is_handed_back_took_nothing(clock: Clock, lane: MakeLane) -> None:
    one = lane(patch_limit=1, patch_window_seconds=30, max_inline_wait_seconds=3)
    await (await one.permit(write=True)).answered(clock.now + 0.05)
    for _ in range(50):
        with pytest.raises(PermitDeferredError):
            await one.permit(write=True)
    before = clock.now
    for _ in range(19):
        await (await one.permit(write=False)).answered(clock.now + 0.05)
    assert clock.now - before < 2


async def test_a_429_pauses_everybody_and_they_come_back_one_after_another(clock: Clock, lane: MakeLane) -> None:
    one = lane(max_inline_wait_seconds=2)
    assert await one.throttled(3) == 3
    waits = []
    for _ in range(3):
        with pytest.raises(PermitDeferredError) as caught:
            await one.permit(write=True)
        assert caught.value.pause_seconds == 3
        waits.append(caught.value.seconds)
    assert waits == pytest.approx([3, 3.05, 3.1], abs=0.01)
    clock.now += 3
    await (await one.permit(write=True)).answered(clock.now + 0.05)


async def test_a_short_pause_is_waited_for(clock: Clock, lane: MakeLane) -> None:
    one = lane()
    await one.throttled(1.5)
    permit = await one.permit(write=True)
    assert permit.waited_seconds == pytest.approx(1.5)


async def test_pauses_without_a_retry_after_double_until_an_answer_comes_through(clock: Clock, lane: MakeLane) -> None:
    one = lane(default_pause_seconds=1, longest_pause_seconds=6)
    pauses = []
    for _ in range(4):
        pauses.append(await one.throttled(None))
        clock.now += pauses[-1]
    assert pauses == [1, 2, 4, 6]
    one.not_throttled()
    assert await one.throttled(None) == 1


async def test_429s_of_one_burst_count_as_one(clock: Clock, lane: MakeLane) -> None:
    one = lane(default_pause_seconds=1)
    assert [await one.throttled(None) for _ in range(20)] == pytest.approx([1] * 20)


async def test_a_longer_pause_stands(clock: Clock, lane: MakeLane) -> None:
    one = lane()
    await one.throttled(30)
    assert await one.throttled(2) == 30


async def test_a_retry_after_is_cut_to_the_longest_pause(clock: Clock, lane: MakeLane) -> None:
    assert await lane(longest_pause_seconds=300).throttled(1e9) == 300


async def test_a_cancelled_waiter_leaves_its_place_to_the_next(clock: Clock, lane: MakeLane) -> None:
    asleep = asyncio.Event()

    async def sleep(_: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    one = lane(sleep, company_limit=1, company_window_seconds=1)
    await (await one.permit(write=True)).answered(clock.now + 0.01)
    waiter = asyncio.create_task(one.permit(write=True))
    await asleep.wait()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    clock.now += 2
    assert (await one.permit(write=True)).waited_seconds == 0


def test_companies_have_lanes_of_their_own() -> None:
    pacer = Limiter(Settings())
    assert pacer.company("a") is pacer.company("a")
    assert pacer.company("a") is not pacer.company("b")


def test_lateness_is_what_exceeds_the_quickest_round_trip_once_enough_were_seen() -> None:
    lateness = DelayEstimator(1.0)
    assert lateness.observe(0.1) == 0.1  # nothing to compare it with: it may all be lateness
    for _ in range(20):
        lateness.observe(0.05)
    assert lateness.observe(0.07) == pytest.approx(0.02 + (0.1 - 0.05) / 22)
    assert lateness.observe(9.0) == 0.5
