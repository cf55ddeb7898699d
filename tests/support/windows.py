"""A clock that only sleeps move, and the peak of a sliding window."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from dialpad_ivr.pacing import redis as fleet
from dialpad_ivr.pacing.limiter import CompanyLimiter

MakeLimiter = Callable[..., CompanyLimiter]

_REDIS_TIME = "redis.call('TIME')"
_FAKE_REDIS_TIME = "{0, redis.call('GET', 'fake-time')}"


def use_fake_redis_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a `Clock` Redis's clock too, in the limiters that are made from now on."""
    for name in ("_SCRIPT", "_CIRCUIT_SCRIPT", "_TURN_SCRIPT"):
        script: str = getattr(fleet, name)
        assert _REDIS_TIME in script
        monkeypatch.setattr(fleet, name, script.replace(_REDIS_TIME, _FAKE_REDIS_TIME))


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


def most_in_any_window(moments: list[float], seconds: float) -> int:
    """The most arrivals in any half-open window of that length."""
    window: deque[float] = deque()
    most = 0
    for moment in sorted(moments):
        window.append(moment)
        while window[0] <= moment - seconds:
            window.popleft()
        most = max(most, len(window))
    return most
