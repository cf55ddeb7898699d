"""The sliding window admits what pyrate-limiter's exact log admits."""

from __future__ import annotations

from bisect import insort
from operator import attrgetter

from hypothesis import given
from hypothesis import strategies as st
from pyrate_limiter import InMemoryBucket, Rate, RateItem

from dialpad_ivr.pacing.window import SlidingWindow
from support.windows import most_in_any_window

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
