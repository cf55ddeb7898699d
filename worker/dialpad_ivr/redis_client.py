"""The Redis client that a fleet of workers shares limits and undelivered results through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from pydantic import SecretStr

from dialpad_ivr.settings import SettingsError

# Redis answers in a millisecond; one that takes this long is as good as gone, and a task in a slot waits for it.
_ANSWER_SECONDS: Final = 1.0


@asynccontextmanager
async def open_redis(url: SecretStr) -> AsyncIterator[Any]:
    """A client of the fleet's Redis. It neither waits long nor tries again: what it is asked for can be done later.

    Raises:
        SettingsError: It is not installed.
    """
    try:
        from redis.asyncio import Redis  # noqa: PLC0415  # an optional extra
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
    except ImportError:
        raise SettingsError("redis_url: its client is missing; pip install 'dialpad-ivr[fleet]'") from None
    async with Redis.from_url(
        url.get_secret_value(),
        socket_timeout=_ANSWER_SECONDS,
        socket_connect_timeout=_ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    ) as redis:
        yield redis


def redis_errors() -> tuple[type[Exception], ...]:
    """What a client of Redis raises when Redis does not answer, or cannot."""
    from redis.exceptions import RedisError  # noqa: PLC0415  # an optional extra, there once `open_redis` was entered

    return (RedisError, OSError)
