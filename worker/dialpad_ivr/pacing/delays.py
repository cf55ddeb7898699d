"""How late a call may have arrived, by its response.

A response bounds the network delay of its call: that exceeds the minimum by at most what the round trip does. The call
then counts from that time on. So the jitter allowance follows the jitter that is seen, call by call, and costs its
average instead of its worst case.

When Dialpad itself becomes slow, all round trips take longer, which is no jitter. So a round trip that is much longer
than the others is compared with those of the calls that were sent shortly before. And while responses take so long that
they tell of a delay only when it no longer matters, a fixed allowance is assumed at least.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections import deque


class DelayEstimator:
    """How much longer than the minimum a call may have taken to arrive.

    The way there is a part of the round trip, so its delay is at most the round trip's.
    """

    _SAMPLES = 128  # round trips
    _NEIGHBORS = 32  # those that a much longer round trip is compared with: the calls sent before it
    # Of the window. Less may be a busy machine or network for some seconds; to take it for delay costs little.
    _SMALL_SHARE = 0.1
    _MIN_SAMPLES = 4  # to estimate the minimum from
    # Before there are so many, less is assumed of it: a busy machine may be slow from the start, and quicker later.
    _ENOUGH_SAMPLES = 64
    _MAX_SHARE = 0.5  # of the window: assumed of a call without a response, more would throttle without bound
    # Of the window, assumed at least while responses take so long that they tell of a delay only when it no longer
    # matters.
    _UNSEEN_SHARE = 0.025
    _OUTLIERS = 16  # one delay in so many is one: rather a response that was read late than a call that arrived late

    def __init__(self, window_seconds: float) -> None:
        self._max_delay = self._MAX_SHARE * window_seconds
        self._small_delay = self._SMALL_SHARE * window_seconds
        self._unseen_delay = self._UNSEEN_SHARE * window_seconds
        self._round_trips: list[tuple[float, float]] = []  # when sent, and how long; in the order of sending
        self._delays: deque[float] = deque(maxlen=self._NEIGHBORS)  # of recent calls; not of slow responses
        self._last_round_trip = self._shortest = 0.0
        self._silent_since = math.inf  # when the first call was sent after the last response

    def sent(self, moment: float) -> None:
        """Note that a call is sent."""
        self._silent_since = min(self._silent_since, moment)

    def observe(self, sent: float, round_trip_seconds: float) -> float:
        """Add the round trip of a call sent at a time; returns its delay, at most, in seconds.

        However long that is: a call that a stalled network or host held back counts once it has arrived.
        """
        self._last_round_trip, self._silent_since = round_trip_seconds, math.inf
        samples, sample = self._round_trips, (sent, round_trip_seconds)
        insort(samples, sample)
        del samples[: -self._SAMPLES]
        self._shortest = self._minimum([took for _, took in samples])
        if round_trip_seconds - self._shortest > self._small_delay:
            end = max(bisect_right(samples, sample), min(self._NEIGHBORS, len(samples)))
            self._shortest = self._minimum([took for _, took in samples[max(0, end - self._NEIGHBORS) : end]])
        self._shortest *= min(1.0, len(samples) / self._ENOUGH_SAMPLES)
        delay = round_trip_seconds - self._shortest
        if delay < self._max_delay:
            self._delays.append(delay)
        return delay

    def average(self, now: float) -> float:
        """The average delay of recent calls, in seconds."""
        seen = sum(self._delays) / len(self._delays) if self._delays else 0.0
        return max(seen, self._unseen(now))

    def assumed(self, now: float) -> float:
        """The delay to assume for a call without a response, in seconds: the longest of recent calls, but outliers."""
        longest = sorted(self._delays)[-1 - len(self._delays) // self._OUTLIERS :]
        return min(max([*longest[:1], self._unseen(now)]), self._max_delay)

    def _unseen(self, now: float) -> float:
        usual = self._shortest + max(self._delays, default=0.0)
        late = self._last_round_trip > self._max_delay or now - self._silent_since > usual + self._unseen_delay
        return self._unseen_delay if late else 0.0

    def _minimum(self, round_trips: list[float]) -> float:
        """The estimated minimum, in seconds; 0 if there are not enough samples."""
        shortest = min(round_trips)
        near = [took - shortest for took in round_trips if took - shortest < self._max_delay]
        if len(near) < self._MIN_SAMPLES:
            return max(0.0, shortest - max(self._delays, default=shortest))
        # For n uniform samples the minimum overestimates the true minimum by about range / n.
        return max(0.0, shortest - max(near) / len(near))
