"""The pacing rules over both windows, on a clock that only the limiter's own sleeps move."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from dataclasses import replace
from typing import Any, cast

import pytest

from dialpad_ivr.pacing.circuit import Outage
from dialpad_ivr.pacing.limiter import CompanyLimiter, Limiter, LimiterState, Permit, PermitDeferredError
from dialpad_ivr.pacing.window import CallWindow, Limits, MemoryWindow, Usage, Wait
from dialpad_ivr.settings import Settings
from support.windows import Clock, MakeLimiter, most_in_any_window


async def never(_: float) -> None:
    await asyncio.Event().wait()


async def test_both_limits_hold_in_every_window_at_full_rate(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    released = []
    for _ in range(1000):
        permit = await one.permit(write=True)
        released.append(clock.now)
        await permit.answered(clock.now + 0.05)
    assert most_in_any_window(released, 1.0) == 20
    assert most_in_any_window(released, 10.0) <= 200
    assert 1000 / 20 / (released[-1] - released[0]) > 0.99


async def test_calls_are_spread_evenly(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    released = []
    for _ in range(400):
        await (await one.permit(write=True)).answered(clock.now + 0.05)
        released.append(clock.now)
    # The first calls set connections up; how late they were is not known.
    # A second holds 20: what the first calls' unknown delay moved is at most one slot out of place.
    assert max(b - a for a, b in itertools.pairwise(released)) < 0.1
    assert most_in_any_window(released[20:], 0.1) <= 3


@pytest.mark.parametrize("jitter", [0.0, 0.005, 0.05, 0.2])
async def test_limits_hold_at_arrival_whatever_the_jitter(clock: Clock, limiter: MakeLimiter, jitter: float) -> None:
    one = limiter()
    chance = random.Random(7)
    arrivals: list[float] = []
    flying: list[tuple[float, Any]] = []
    started = clock.now
    for _ in range(500):
        permit = await one.permit(write=True)
        way = 0.02 + chance.uniform(0, jitter)
        arrivals.append(clock.now + way)
        flying.append((clock.now + way + 0.03, permit))
        for landed in [f for f in flying if f[0] <= clock.now]:
            await landed[1].answered(landed[0])
            flying.remove(landed)
    assert most_in_any_window(arrivals, 1.0) <= 20
    assert most_in_any_window(arrivals, 10.0) <= 200
    assert 500 / 20 / (clock.now - started) > 1 / (1.01 + jitter)


async def test_a_network_stall_breaks_no_limit(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    arrivals = []
    for i in range(400):
        permit = await one.permit(write=True)
        # Every hundredth call finds the way blocked for a while, and so do those behind it.
        blocked = max(0.0, 0.3 - 0.05 * (i % 100)) if i > 50 else 0.0
        arrivals.append(clock.now + 0.02 + blocked)
        await permit.answered(clock.now + 0.05 + blocked)
    assert most_in_any_window(arrivals, 1.0) <= 20


async def test_a_suspension_between_permit_and_sending_breaks_no_limit(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    arrivals = []
    for i in range(400):
        permit = await one.permit(write=True)
        clock.now += 0.02 if i % 20 == 7 else 0.0
        arrivals.append(clock.now + 0.02)
        await permit.answered(clock.now + 0.05)
    assert most_in_any_window(arrivals, 1.0) <= 20


async def test_a_worker_that_stands_still_for_longer_than_the_window_breaks_no_limit_of_the_fleet() -> None:
    clock = Clock()
    settings = Settings(max_inline_wait_seconds=60)
    shared = MemoryWindow(Limits.of(settings), clock)
    other = CompanyLimiter(settings, clock, clock.sleep, shared)
    arrivals = []

    async def send(one: CompanyLimiter) -> None:
        permit = await one.permit(write=True)
        arrivals.append(clock.now)
        await permit.answered(clock.now + 0.001)

    class Suspended:
        """The window of the worker that stands still once: it gets a reservation long after that was made."""

        def __getattr__(self, name: str) -> Any:
            return getattr(shared, name)

        async def take(self, **call: Any) -> Any:
            taken = await shared.take(**call)
            if not isinstance(taken, Wait | Outage) and len(arrivals) == 50:
                for _ in range(24):
                    await send(other)
            return taken

    one = CompanyLimiter(settings, clock, clock.sleep, cast("CallWindow", Suspended()))
    for _ in range(100):
        await send(one)
    assert len(arrivals) == 124
    assert most_in_any_window(arrivals, 1.0) <= 20


@pytest.mark.parametrize(("seconds", "reservations"), [(1.0, 1), (1.1, 2)])
async def test_a_reservation_that_took_more_than_half_a_window_is_discarded_once(
    seconds: float, reservations: int
) -> None:
    """A window that is always so slow is used all the same."""
    clock = Clock()
    taken: list[Any] = []
    settings = Settings(company_window_seconds=2)

    class SlowWindow(MemoryWindow):
        async def take(self, **call: Any) -> Any:
            assert len(taken) < 3, "it never comes to an end"
            taken.append(await super().take(**call))
            clock.now += seconds
            return taken[-1]

    window = SlowWindow(Limits.of(settings), clock)
    await CompanyLimiter(settings, clock, clock.sleep, window).permit(write=True)
    assert len(taken) == reservations


async def test_reads_count_for_the_company_only(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(patch_limit=2, patch_window_seconds=30)
    before = clock.now
    for _ in range(40):
        await (await one.permit(write=False)).answered(clock.now + 0.01)
    assert clock.now - before < 3
    await (await one.permit(write=True)).answered(clock.now + 0.01)
    await (await one.permit(write=True)).answered(clock.now + 0.01)
    await (await one.permit(write=True)).answered(clock.now + 0.01)
    assert clock.now - before > 30


async def test_the_state_tells_who_waits_and_for_how_long_there_is_a_pause() -> None:
    one = Limiter(Settings(), clock=Clock(), sleep=never).company("acme")
    nothing = LimiterState(Usage(0, 0), waiting=0, waiting_bulk=0, pause_seconds=0, outage=None)
    assert await one.state() == nothing
    await one.throttled(1)
    waiting = [asyncio.create_task(one.permit(write=True, bulk=bulk)) for bulk in (True, False, True)]
    await asyncio.sleep(0)  # each stands in its line
    assert await one.state() == replace(nothing, waiting=1, waiting_bulk=2, pause_seconds=1)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting, timeout=5)
    assert await one.state() == replace(nothing, pause_seconds=1)


async def test_waiters_are_served_in_the_order_in_which_they_came(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    order: list[int] = []

    async def take(number: int) -> None:
        await (await one.permit(write=True)).answered(clock.now + 0.05)
        order.append(number)

    await asyncio.gather(*(take(number) for number in range(60)))
    assert order == list(range(60))


async def test_bulk_work_lets_others_go_first_and_still_gets_its_turns(clock: Clock, limiter: MakeLimiter) -> None:
    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        await asyncio.sleep(0)

    one = limiter(sleep)
    order: list[str] = []

    async def take(name: str, *, bulk: bool) -> None:
        await (await one.permit(write=True, bulk=bulk)).answered(clock.now + 0.05)
        order.append(name)

    bulk = [asyncio.create_task(take(f"bulk {number}", bulk=True)) for number in range(20)]
    await asyncio.sleep(0)  # each stands in its line
    await asyncio.gather(*(take(f"single {number}", bulk=False) for number in range(3)), *bulk)
    # The first went at once; the second may have had its turn already.
    assert order.index("single 2") in (3, 4)
    assert [name for name in order if "single" in name] == [f"single {number}" for number in range(3)]
    assert [name for name in order if "bulk" in name] == [f"bulk {number}" for number in range(20)]


async def test_a_single_change_is_not_deferred_because_of_bulk_work(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(never, max_inline_wait_seconds=1)

    async def take(*, bulk: bool) -> None:
        await one.permit(write=True, bulk=bulk)

    waiting = [asyncio.create_task(take(bulk=True)) for _ in range(18)]
    await asyncio.sleep(0)
    with pytest.raises(PermitDeferredError):
        await asyncio.wait_for(asyncio.gather(*(take(bulk=True) for _ in range(4))), 5)
    single = asyncio.create_task(take(bulk=False))
    await asyncio.sleep(0)
    assert not single.done()
    for task in (single, *waiting):
        task.cancel()


async def test_a_wait_beyond_max_inline_wait_is_deferred(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(patch_limit=1, patch_window_seconds=30, max_inline_wait_seconds=3)
    await (await one.permit(write=True)).answered(clock.now + 0.05)
    with pytest.raises(PermitDeferredError) as caught:
        await one.permit(write=True)
    assert caught.value.pause_seconds == 0
    assert 29 < caught.value.seconds < 31


async def test_a_caller_may_wait_less(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(never)
    waiting = [asyncio.create_task(one.permit(write=True, max_wait_seconds=1)) for _ in range(60)]
    await asyncio.wait(waiting[25:], timeout=30)  # those that are deferred
    deferred = [task.exception() for task in waiting if task.done() and task.exception()]
    at_once = sum(task.done() for task in waiting) - len(deferred)
    assert at_once + len(deferred) + 20 == pytest.approx(60, abs=2)
    assert not (await asyncio.wait([asyncio.create_task(one.permit(write=True))], timeout=0))[0]
    for task in waiting:
        task.cancel()


async def test_deferred_calls_return_a_little_faster_than_the_permitted_rate(
    clock: Clock, limiter: MakeLimiter
) -> None:
    """Each before its turn, but not before there can be room."""
    one = limiter(max_inline_wait_seconds=0)
    await one.throttled(2)
    waits = []
    for _ in range(101):
        with pytest.raises(PermitDeferredError) as caught:
            await one.permit(write=True)
        waits.append(caught.value.seconds)
    assert waits[:30] == pytest.approx([2] * 30)
    assert waits[100] == pytest.approx(2 + 0.9 * 100 * 0.05 - 1.5, abs=0.1)
    assert waits == sorted(waits)


async def test_deferred_calls_return_before_those_that_wait_for_the_end_of_an_outage(
    clock: Clock, limiter: MakeLimiter
) -> None:
    """It may have ended sooner than those were told."""
    window = limiter()._window
    turns = [await window.turn(seconds, 1.0) for seconds in (30, 30, 1, 1, 30)]
    assert turns == pytest.approx([30, 31, 3, 4, 32], abs=0.01)
    clock.now += 31
    assert await window.turn(1, 1.0) == pytest.approx(2, abs=0.01)


async def test_deferred_calls_return_at_the_rate_of_the_tighter_limit(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(patch_limit=10, patch_window_seconds=10, max_inline_wait_seconds=0)
    await one.throttled(2)
    waits = []
    for _ in range(11):
        with pytest.raises(PermitDeferredError) as caught:
            await one.permit(write=True)
        waits.append(caught.value.seconds)
    assert waits[10] == pytest.approx(2 + 0.9 * 10 - 1.5, abs=0.1)


async def test_the_wait_in_a_queue_is_that_of_the_tightest_limit(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(never, patch_limit=10, patch_window_seconds=10)
    waiting = [asyncio.create_task(one.permit(write=True)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(PermitDeferredError):
        await one.permit(write=True, max_wait_seconds=2)  # a PATCH a second
    reading = asyncio.create_task(one.permit(write=False, max_wait_seconds=2))
    await asyncio.sleep(0)
    assert not reading.done()
    for task in (reading, *waiting):
        task.cancel()


async def test_of_bulk_work_one_call_is_waited_for(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(never)
    waiting = [asyncio.create_task(one.permit(write=True, bulk=True)) for _ in range(10)]
    await asyncio.sleep(0)
    with pytest.raises(PermitDeferredError):
        await one.permit(write=True, max_wait_seconds=0.04)  # one takes 0.05 s
    with pytest.raises(PermitDeferredError):
        await one.permit(write=True, bulk=True, max_wait_seconds=0.1)
    single = asyncio.create_task(one.permit(write=True, max_wait_seconds=0.06))
    await asyncio.sleep(0)
    assert not single.done()
    for task in (single, *waiting):
        task.cancel()


async def test_who_can_not_wait_gets_a_permit_that_is_free(clock: Clock, limiter: MakeLimiter) -> None:
    assert (await limiter().permit(write=True, max_wait_seconds=0)).waited_seconds == 0


async def test_the_longest_inline_wait_is_waited(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(max_inline_wait_seconds=3)
    await one.throttled(3)
    assert (await one.permit(write=True)).waited_seconds == 3


async def test_a_deferred_call_uses_no_permit(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(patch_limit=1, patch_window_seconds=30, max_inline_wait_seconds=3)
    await (await one.permit(write=True)).answered(clock.now + 0.05)
    for _ in range(50):
        with pytest.raises(PermitDeferredError):
            await one.permit(write=True)
    before = clock.now
    for _ in range(19):
        await (await one.permit(write=False)).answered(clock.now + 0.05)
    assert clock.now - before < 2


async def test_a_429_pauses_the_company(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(max_inline_wait_seconds=2)
    assert await one.throttled(3) == 3
    waits = []
    for _ in range(3):
        with pytest.raises(PermitDeferredError) as caught:
            await one.permit(write=True)
        assert caught.value.pause_seconds == 3
        waits.append(caught.value.seconds)
    assert waits == pytest.approx([3] * 3)
    clock.now += 3
    await (await one.permit(write=True)).answered(clock.now + 0.05)


async def test_a_short_pause_is_waited_for(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    await one.throttled(1.5)
    permit = await one.permit(write=True)
    assert permit.waited_seconds == pytest.approx(1.5)


async def test_a_deferral_says_for_how_long_and_why(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(patch_limit=1, patch_window_seconds=30, max_inline_wait_seconds=3)
    await one.permit(write=True)
    with pytest.raises(PermitDeferredError, match=r"^no permit for 30\.0 s: the permitted rate is used up$"):
        await one.permit(write=True)
    await one.throttled(60)
    with pytest.raises(PermitDeferredError) as caught:
        await one.permit(write=True)
    assert str(caught.value) == "no permit for 60.0 s: Dialpad's rate limit was reached"
    assert caught.value.why == "Dialpad's rate limit was reached"


async def test_a_retry_after_of_nothing_is_the_default_pause(clock: Clock, limiter: MakeLimiter) -> None:
    assert await limiter(default_pause_seconds=4).throttled(0) == 4


async def test_429s_in_a_row_lengthen_the_pause_up_to_the_longest_however_many(
    clock: Clock, limiter: MakeLimiter
) -> None:
    one = limiter(default_pause_seconds=1, longest_pause_seconds=300)
    pauses = []
    for _ in range(1100):
        pauses.append(await one.throttled(None))
        clock.now += pauses[-1]
    assert pauses[:9] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert set(pauses[9:]) == {300}


async def test_an_answer_during_a_pause_ends_no_row_of_429s(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(default_pause_seconds=1)
    await one.throttled(None)
    one.not_throttled()  # of a call that was sent before
    clock.now += 1
    assert await one.throttled(None) == 2


async def test_pauses_without_a_retry_after_double_in_a_row(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(default_pause_seconds=1, longest_pause_seconds=6)
    pauses = []
    for _ in range(4):
        pauses.append(await one.throttled(None))
        clock.now += pauses[-1]
    assert pauses == [1, 2, 4, 6]
    one.not_throttled()
    assert await one.throttled(None) == 1


async def test_429s_of_one_burst_count_as_one(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(default_pause_seconds=1)
    assert [await one.throttled(None) for _ in range(20)] == pytest.approx([1] * 20)


async def test_a_longer_pause_stands(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    await one.throttled(30)
    assert await one.throttled(2) == 30


async def test_a_retry_after_is_cut_to_the_longest_pause(clock: Clock, limiter: MakeLimiter) -> None:
    assert await limiter(longest_pause_seconds=300).throttled(1e9) == 300


async def test_a_cancelled_waiter_leaves_its_place_to_the_next(clock: Clock, limiter: MakeLimiter) -> None:
    asleep = asyncio.Event()

    async def sleep(_: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    one = limiter(sleep, company_limit=1, company_window_seconds=1)
    await (await one.permit(write=True)).answered(clock.now + 0.01)
    waiter = asyncio.create_task(one.permit(write=True))
    await asleep.wait()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    clock.now += 2
    assert (await one.permit(write=True)).waited_seconds == 0


async def test_who_waits_where_others_use_the_limit_too_is_deferred_earlier() -> None:
    """A fleet's share is seen by the rate at which permits come."""
    clock = Clock()

    class SharedWindow(MemoryWindow):
        async def take(self, **arguments: Any) -> Any:
            await asyncio.sleep(0)
            clock.now += 0.45  # eight of nine slots are others'
            return await super().take(**arguments)

    settings = Settings(max_inline_wait_seconds=10)
    one = CompanyLimiter(settings, clock, clock.sleep, SharedWindow(Limits.of(settings), clock))
    # At 20 a second 60 would wait for 3 s at most.
    before = await asyncio.gather(*(one.permit(write=True) for _ in range(60)), return_exceptions=True)
    assert not [each for each in before if isinstance(each, PermitDeferredError)]
    after = await asyncio.gather(*(one.permit(write=True) for _ in range(60)), return_exceptions=True)
    assert 22 <= sum(isinstance(each, Permit) for each in after) <= 24


def test_each_company_has_its_own_limiter() -> None:
    settings = Settings()
    names: list[str] = []

    def window(company: str) -> MemoryWindow:
        names.append(company)
        return MemoryWindow(Limits.of(settings), time.monotonic)

    limiter = Limiter(settings, window)
    assert limiter.company("a") is limiter.company("a")
    assert limiter.company("a") is not limiter.company("b")
    assert names == ["a", "b"]
    assert limiter.companies == {"a": limiter.company("a"), "b": limiter.company("b")}
