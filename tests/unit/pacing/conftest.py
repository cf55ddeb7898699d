"""The limiter of a company over both windows, on a clock that only sleeps move.

The shared window is on a real Redis with a fake clock: the scripts read the time from a key.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio import Redis

from dialpad_ivr.pacing.limiter import CompanyLimiter
from dialpad_ivr.pacing.redis import RedisLimiter
from dialpad_ivr.pacing.window import Limits, MemoryWindow
from dialpad_ivr.settings import Settings
from dialpad_ivr.telemetry.metrics import Metrics
from support.windows import Clock, MakeLimiter, use_fake_redis_time


# What the script of Redis alone does is in test_redis.py.
@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.long)])
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
async def limiter(
    store: str, clock: Clock, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MakeLimiter]:
    """Makes a limiter with these settings, of a company without recent calls."""
    numbers = itertools.count()
    async with AsyncExitStack() as stack:
        if store == "redis":
            server = request.getfixturevalue("redis_server")
            client = await stack.enter_async_context(Redis.from_url(server.url, decode_responses=True))
            use_fake_redis_time(monkeypatch)

        def make(sleep: Any = clock.sleep, **limits: Any) -> CompanyLimiter:
            settings = Settings(
                **{"patch_limit": 200, "patch_window_seconds": 10, "max_inline_wait_seconds": 60, **limits}
            )
            if store == "memory":
                return CompanyLimiter(settings, clock, sleep, MemoryWindow(Limits.of(settings), clock))
            window = RedisLimiter(client, settings, Metrics(), clock).window(f"company {next(numbers)}")
            window._hold = 0.0  # the hold of a new window has its own tests
            return CompanyLimiter(settings, clock, sleep, window)

        yield make
