"""How late calls may have arrived, and what responses that become slow cost: in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from dialpad_ivr.pacing.delays import DelayEstimator
from dialpad_ivr.pacing.limiter import Limiter
from dialpad_ivr.settings import Settings
from support.virtual import VirtualLoop
from support.windows import Clock, most_in_any_window


def test_delay_is_the_excess_over_the_minimum_round_trip() -> None:
    estimator = DelayEstimator(1.0)
    for number in range(99):
        estimator.observe(number, 0.05)
    assert estimator.observe(99, 0.1) == pytest.approx(0.05 + (0.1 - 0.05) / 100)
    assert estimator.observe(100, 0.07) == pytest.approx(0.02 + (0.1 - 0.05) / 101)
    assert estimator.assumed(100) == 0  # two of 32 may have been read late
    assert estimator.observe(101, 0.08) == pytest.approx(0.03, abs=0.001)
    assert estimator.assumed(101) == pytest.approx(0.0205, abs=0.0001)
    assert estimator.observe(102, 9.0) == pytest.approx(9 - 0.05, abs=0.01)
    assert estimator.assumed(103) == pytest.approx(0.025)  # one slow response is nothing to expect


def test_slow_responses_are_no_jitter() -> None:
    estimator = DelayEstimator(1.0)
    for number in range(100):
        estimator.observe(number, 0.05)
    jitter = estimator.assumed(100)
    for number in range(100, 120):
        estimator.observe(number, 4.0)
    # Not of what was seen, but because it is seen too late.
    assert estimator.assumed(120) == pytest.approx(jitter + 0.025)
    assert estimator.observe(120, 0.05) == pytest.approx(jitter)
    assert estimator.assumed(120) == pytest.approx(jitter)


def test_silence_adds_an_allowance_before_the_first_slow_response() -> None:
    estimator = DelayEstimator(1.0)
    for number in range(100):
        estimator.sent(number)
        estimator.observe(number, 0.05)
    estimator.sent(100)
    assert estimator.average(100.05) == 0
    assert estimator.average(100.1) == pytest.approx(0.025)


def test_what_is_too_slow_to_be_jitter_depends_on_the_window() -> None:
    estimator = DelayEstimator(4.0)
    estimator.observe(0, 1.9)
    assert estimator.assumed(0) == 1.9
    estimator.observe(0, 2.1)
    assert estimator.assumed(0) == 1.9


def test_what_a_busy_machine_may_add_depends_on_the_window() -> None:
    estimator = DelayEstimator(4.0)
    for number in range(100):
        estimator.observe(number, 0.05)
    assert [estimator.observe(number, 0.1) for number in range(100, 140)] == pytest.approx([0.05] * 40, abs=0.001)


def test_the_allowance_for_silence_depends_on_the_window() -> None:
    estimator = DelayEstimator(4.0)
    estimator.sent(0)
    assert estimator.average(0.09) == 0
    assert estimator.average(0.11) == pytest.approx(0.1)


def test_nothing_is_assumed_before_the_first_call() -> None:
    estimator = DelayEstimator(1.0)
    assert estimator.assumed(0) == estimator.average(0) == 0
    estimator.sent(0)
    assert estimator.assumed(0.02) == 0
    assert estimator.assumed(0.03) == pytest.approx(0.025)


def test_the_fewer_round_trips_the_more_of_them_may_be_delay() -> None:
    estimator = DelayEstimator(1.0)
    delays = [estimator.observe(number, 0.05) for number in range(64)]
    assert delays == pytest.approx([0.05] * 3 + [0.05 * (1 - count / 64) for count in range(4, 65)])


def test_a_response_as_late_as_others_is_no_silence() -> None:
    estimator = DelayEstimator(1.0)
    for number in range(100):
        estimator.observe(number, 0.05)
    estimator.observe(100, 0.15)
    before = estimator.average(101)
    estimator.sent(101)
    assert estimator.average(101.1) == before
    assert estimator.average(101.2) == pytest.approx(max(before, 0.025))


def test_round_trips_that_are_a_little_longer_for_two_seconds_may_be_delays() -> None:
    estimator = DelayEstimator(1.0)
    for number in range(100):
        estimator.observe(number * 0.05, 0.05)
    for number in range(100, 140):
        assert estimator.observe(number * 0.05, 0.06) == pytest.approx(0.01, abs=0.001)
    for number in range(140, 260):
        estimator.observe(number * 0.05, 0.06)
    assert estimator.observe(13, 0.06) == 0


def arrivals_of(
    calls: int,
    settings: Settings,
    slots: int,
    way: Callable[[float], float],
    answer: Callable[[float], float],
    before: Callable[[], float] = lambda: 0.0,
) -> list[float]:
    """When the calls of so many callers arrive.

    `way` and `answer` are seconds, by the time since the start; `before` are those that pass until a call leaves.
    """
    clock = Clock()
    loop = VirtualLoop(clock)
    limiter = Limiter(settings, clock=loop.time).company("acme")
    free = asyncio.Semaphore(slots)
    arrivals: list[float] = []
    started = clock.now

    async def call() -> None:
        async with free:
            permit = await limiter.permit(write=True)
            await asyncio.sleep(before())
            await permit.sent(clock.now)
            await asyncio.sleep(way(clock.now - started))
            arrivals.append(clock.now)
            await asyncio.sleep(answer(clock.now - started))
            await permit.answered(clock.now)

    async def callers() -> None:
        await asyncio.gather(*(call() for _ in range(calls)))

    loop.run_until_complete(callers())
    loop.close()
    return arrivals


@pytest.mark.parametrize("stall", [0.3, 0.6, 0.95])
def test_a_stall_of_the_network_breaks_no_limit(stall: float) -> None:
    def way(elapsed: float) -> float:
        held_back = [start + stall - elapsed for start in (1.46, 7.02, 13.51) if start <= elapsed < start + stall]
        return sum(held_back) + 0.001

    settings = Settings(patch_limit=40, patch_window_seconds=4, max_inline_wait_seconds=20)
    arrivals = arrivals_of(240, settings, 60, way, lambda _: 0.05)
    assert most_in_any_window(arrivals, 1.0) <= 20
    assert most_in_any_window(arrivals, 4.0) <= 40
    assert 239 / (arrivals[-1] - arrivals[0]) / 10 >= 0.9


@pytest.mark.parametrize(
    ("slow", "least"),
    [
        pytest.param(0.05, 0.99, id="never", marks=pytest.mark.long),
        pytest.param(0.4, 0.93, id="slower"),
        pytest.param(1.5, 0.97, id="slow", marks=pytest.mark.long),
        pytest.param(4.0, 0.97, id="very"),
    ],
)
def test_responses_that_slow_down_and_speed_up_break_no_limit_and_cost_little(slow: float, least: float) -> None:
    dice = random.Random(3)

    def way(_: float) -> float:
        return dice.uniform(0, 0.003) + (dice.random() < 0.02) * dice.uniform(0, 0.01)

    def answer(elapsed: float) -> float:
        return (0.05 if elapsed % 14 < 8 else slow) + dice.uniform(0, 0.005)

    arrivals = arrivals_of(1400, Settings(max_inline_wait_seconds=20), 120, way, answer)
    assert most_in_any_window(arrivals, 1.0) <= 20
    assert (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]) / 20 >= least


@pytest.mark.parametrize("slow", [0.05, 4.0])
def test_calls_that_are_held_back_before_they_leave_break_no_limit_and_cost_little(slow: float) -> None:
    dice = random.Random(5)

    def before() -> float:  # as seen on a busy machine
        return dice.expovariate(1 / 0.004) + (dice.random() < 0.02) * dice.uniform(0.03, 0.2)

    def answer(elapsed: float) -> float:
        return (0.05 if elapsed % 14 < 8 else slow) + dice.uniform(0, 0.005)

    arrivals = arrivals_of(1400, Settings(max_inline_wait_seconds=20), 120, lambda _: 0.001, answer, before)
    assert most_in_any_window(arrivals, 1.0) <= 20
    assert (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]) / 20 >= 0.97
