"""The Redis client that a fleet of workers shares limits and undelivered results through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from pydantic import SecretStr

from dialpad_ivr.settings import SettingsError

# Redis normally responds in a millisecond, and a task waits for it.
_TIMEOUT_SECONDS: Final = 1.0


@asynccontextmanager
async def open_redis(url: SecretStr) -> AsyncIterator[Any]:
    """A client of the fleet's Redis, with a short timeout and no retries: callers try again later.

    Raises:
        SettingsError: The Redis client is not installed.
    """
    try:
        from redis.asyncio import Redis  # noqa: PLC0415  # an optional extra
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
    except ImportError:
        raise SettingsError(
            "DIALPAD_IVR_REDIS_URL: the Redis client is not installed; pip install 'dialpad-ivr[fleet]'"
        ) from None
    async with Redis.from_url(
        url.get_secret_value(),
        socket_timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    ) as redis:
        yield redis


def redis_errors() -> tuple[type[Exception], ...]:
    """The exceptions of a Redis that does not respond, or responds with an error."""
    from redis.exceptions import RedisError  # noqa: PLC0415  # an optional extra, there once `open_redis` was entered

    return (RedisError, OSError)
