"""How late calls may have arrived, and what responses that become slow cost: in virtual time."""

from __future__ import annotations

import asyncio
import random

import pytest

from dialpad_ivr.pacing.delays import DelayEstimator
from dialpad_ivr.pacing.limiter import Limiter
from dialpad_ivr.settings import Settings
from support.virtual import VirtualLoop
from support.windows import Clock, most_in_any_window


def test_delay_is_the_excess_over_the_minimum_round_trip() -> None:
    estimator = DelayEstimator(1.0)
    assert estimator.observe(0, 0.1) == 0.1  # nothing to compare it with: it may all be delay
    for number in range(1, 21):
        estimator.observe(number, 0.05)
    assert estimator.observe(21, 0.07) == pytest.approx(0.02 + (0.1 - 0.05) / 22)
    assert estimator.assumed(21) == 0.1
    assert estimator.observe(22, 9.0) == 0.5


def test_slow_responses_are_no_jitter() -> None:
    estimator = DelayEstimator(1.0)
    for number in range(40):
        estimator.observe(number, 0.05)
    jitter = estimator.assumed(40)
    for number in range(40, 60):
        estimator.observe(number, 4.0)
    # Not of what was seen, but because it is seen too late.
    assert estimator.assumed(60) == pytest.approx(jitter + 0.025)
    assert estimator.observe(60, 0.05) == pytest.approx(jitter)
    assert estimator.assumed(60) == pytest.approx(jitter)


def test_silence_adds_an_allowance_before_the_first_slow_response() -> None:
    estimator = DelayEstimator(1.0)
    for number in range(40):
        estimator.sent(number)
        estimator.observe(number, 0.05)
    estimator.sent(40)
    assert estimator.average(40.05) == 0
    assert estimator.average(40.1) == pytest.approx(0.025)


def test_what_is_too_slow_to_be_jitter_depends_on_the_window() -> None:
    estimator = DelayEstimator(4.0)
    assert estimator.observe(0, 9.0) == 2.0
    assert estimator.average(0) == pytest.approx(0.1)


def test_nothing_is_assumed_before_the_first_call() -> None:
    estimator = DelayEstimator(1.0)
    assert estimator.assumed(0) == estimator.average(0) == 0
    estimator.sent(0)
    assert estimator.assumed(0.02) == 0
    assert estimator.assumed(0.03) == pytest.approx(0.025)


def test_four_round_trips_show_the_minimum() -> None:
    estimator = DelayEstimator(1.0)
    assert [estimator.observe(number, 0.05) for number in range(4)] == [0.05, 0.05, 0.05, 0]


def test_a_response_as_late_as_others_is_no_silence() -> None:
    estimator = DelayEstimator(1.0)
    for number in range(40):
        estimator.observe(number, 0.05)
    estimator.observe(40, 0.15)
    before = estimator.average(41)
    estimator.sent(41)
    assert estimator.average(41.1) == before
    assert estimator.average(41.2) == pytest.approx(before + 0.025)


@pytest.mark.parametrize(
    ("slow", "least"), [(0.05, 0.99), (0.4, 0.93), (1.5, 0.97), (4.0, 0.97)], ids=["never", "slower", "slow", "very"]
)
def test_responses_that_slow_down_and_speed_up_break_no_limit_and_cost_little(slow: float, least: float) -> None:
    calls, clock, dice = 1400, Clock(), random.Random(3)
    loop = VirtualLoop(clock)
    limiter = Limiter(Settings(max_inline_wait_seconds=20), clock=loop.time).company("acme")
    slots = asyncio.Semaphore(120)
    arrivals: list[float] = []
    started = clock.now

    async def call() -> None:
        async with slots:
            permit = await limiter.permit(write=True)
            await asyncio.sleep(dice.uniform(0, 0.003) + (dice.random() < 0.02) * dice.uniform(0, 0.01))
            arrivals.append(clock.now)
            fast = (clock.now - started) % 14 < 8
            await asyncio.sleep((0.05 if fast else slow) + dice.uniform(0, 0.005))
            await permit.answered(clock.now)

    async def callers() -> None:
        await asyncio.gather(*(call() for _ in range(calls)))

    loop.run_until_complete(callers())
    loop.close()
    assert most_in_any_window(arrivals, 1.0) <= 20
    assert (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]) / 20 >= least
