"""The sliding window admits what pyrate-limiter's exact log admits."""

from __future__ import annotations

from bisect import insort
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrate_limiter import InMemoryBucket, Rate, RateItem

from dialpad_ivr.pacing.circuit import Outage
from dialpad_ivr.pacing.window import CATCH_UP, Limits, MemoryWindow, SlidingWindow, Usage, Wait
from dialpad_ivr.settings import Settings
from support.windows import Clock, most_in_any_window

CALLS = st.integers(1, 6)
LENGTH = st.integers(1, 50)
# The microseconds since the previous step, and by how many the call of that step is delayed (0: it is not moved).
STEPS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40)), max_size=60)


def bucket_put(bucket: InMemoryBucket, item: RateItem) -> int:
    """The oracle's admission: 0, or the microseconds until there is room."""
    bucket.leak(item.timestamp)
    if bucket.put(item):
        # It appends, although a delayed call may count from later on; its search needs the order of time.
        bucket.items.sort(key=attrgetter("timestamp"))
        return 0
    wait = bucket.waiting(item)
    assert isinstance(wait, int)
    return wait


def bucket_move(bucket: InMemoryBucket, item: RateItem, timestamp: int) -> None:
    if item in bucket.items:
        bucket.items.remove(item)
        item.timestamp = timestamp
        insort(bucket.items, item, key=attrgetter("timestamp"))


@given(CALLS, LENGTH, STEPS)
def test_admissions_and_waits_match_pyrate_limiter(calls: int, length: int, steps: list[tuple[int, int]]) -> None:
    window, bucket = SlidingWindow(calls, length), InMemoryBucket([Rate(calls, length)])
    now = 0
    for pause, delay in steps:
        now += pause
        item = RateItem("", now)
        wait = window.wait(now)
        assert wait == bucket_put(bucket, item)
        if wait == 0:
            window.add(now)
            if delay:
                window.move(now, now + delay)
                bucket_move(bucket, item, now + delay)


@given(CALLS, LENGTH, STEPS)
def test_no_window_holds_more_calls_than_the_limit_and_the_wait_is_exact(
    calls: int, length: int, steps: list[tuple[int, int]]
) -> None:
    window = SlidingWindow(calls, length)
    now = 0
    admitted: list[float] = []
    for pause, _ in steps:
        now += pause
        wait = window.wait(now)
        if wait:
            assert window.wait(now + wait - 1) == 1
            now += wait
            assert window.wait(now) == 0
        window.add(now)
        admitted.append(now)
    assert most_in_any_window(admitted, length) <= calls


def test_a_call_that_has_left_the_window_is_not_moved_back_into_it() -> None:
    window = SlidingWindow(1, 10)
    window.add(0)
    assert window.wait(11) == 0
    window.move(0, 11)
    assert window.wait(11) == 0


def test_a_call_counts_until_its_windows_length_has_passed() -> None:
    window = SlidingWindow(2, 10)
    window.add(0)
    window.add(4)
    assert [window.used(now) for now in (4, 10, 11, 14, 15)] == [2, 2, 1, 1, 0]
    assert [window.wait(now) for now in (4, 10, 11)] == [7, 1, 0]


def test_the_interval_of_a_call_is_that_of_the_tightest_limit_that_counts_it() -> None:
    limits = Limits.of(Settings(company_limit=20, company_window_seconds=1, patch_limit=60, patch_window_seconds=60))
    assert limits.interval(0, write=True) == pytest.approx(1, rel=0.01)
    assert limits.interval(0, write=False) == pytest.approx(0.05, rel=0.01)
    tight = Limits.of(Settings(company_limit=1, company_window_seconds=1, patch_limit=1200, patch_window_seconds=60))
    assert tight.interval(0, write=True) == tight.interval(0, write=False) == pytest.approx(1, rel=0.01)


def test_both_windows_are_longer_than_dialpads() -> None:
    settings = Settings()
    limits = Limits.of(settings)
    assert limits.company.seconds > settings.company_window_seconds
    assert limits.patch.seconds > settings.patch_window_seconds


async def test_each_limit_counts_its_own_calls() -> None:
    clock = Clock()
    window = MemoryWindow(Limits.of(Settings()), clock)
    for write in (True, False, True):
        await window.take(write=write, waited_seconds=0, average_delay=0, assumed_delay=0)
        clock.now += 0.06
    assert await window.usage() == Usage(company=3, patch=2)
    clock.now += 1
    assert await window.usage() == Usage(company=0, patch=2)
    clock.now += 60
    assert await window.usage() == Usage(company=0, patch=0)


async def test_calls_that_a_stall_held_up_are_caught_up_a_few_at_a_time() -> None:
    clock = Clock()
    window = MemoryWindow(Limits.of(Settings()), clock)

    async def sent() -> list[bool]:
        return [
            not isinstance(
                await window.take(write=True, waited_seconds=2, average_delay=0, assumed_delay=0), Wait | Outage
            )
            for _ in range(15)
        ]

    assert sum(await sent()) in (CATCH_UP, CATCH_UP + 1)
    clock.now += 0.051  # an interval
    assert sum(await sent()) in (1, 2)
