"""Changes that were made, but whose result the engine has not taken: kept, so that they are not made twice.

An engine that is away for longer than a task's response timeout times the task out when it is back, and hands out
another in its place. Whoever gets that one finds here what came of the first, and answers with it. To send the PATCH
again would change nothing by itself, but would undo what somebody else has selected meanwhile.

Only changes that were made are kept (`updated`): all else is better asked again. They are kept in memory, in a folder
if the settings name one (it outlives the worker), and in the fleet's Redis if there is one (another worker may get the
task). They are written when the engine has failed to take a result for the first time: on a good day, never.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from dialpad_ivr.contract.outputs import SetCustomIvrOutput
from dialpad_ivr.pacing.limiter import PermitDeferredError
from dialpad_ivr.redis_client import open_redis, redis_errors
from dialpad_ivr.settings import Settings, SettingsError
from dialpad_ivr.telemetry.logs import get_logger

_ASK_AGAIN_SECONDS: Final = 1.0
KEPT_SECONDS: Final = 900
"""For how long a change that was made answers for the same one, asked for again."""


def delivery_id(task_id: str, scheduled_time: int | None, raw_input: Any) -> str:
    """What names one delivery of a task with one input.

    Args:
        task_id: The engine's id. A task that a person runs again in its place keeps it.
        scheduled_time: When it was scheduled; a task that is run again is scheduled anew.
        raw_input: Its input: a retry may come with another one.
    """
    text = json.dumps([task_id, scheduled_time, raw_input], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@asynccontextmanager
async def undelivered_results(settings: Settings) -> AsyncIterator[UndeliveredResults]:
    """Where the settings say that changes are kept.

    Raises:
        SettingsError: The folder cannot be used, or the client of Redis is not installed.
    """
    folder = settings.state_dir
    if folder is not None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as exc:
            raise SettingsError(f"state_dir: cannot write to {folder}: {exc.strerror}") from None
    if settings.redis_url is None:
        yield UndeliveredResults(folder)
        return
    async with open_redis(settings.redis_url) as redis:
        yield UndeliveredResults(folder, redis)


class UndeliveredResults:
    """The changes that are kept, each as the output of its task.

    Args:
        folder: Where they outlive this process.
        redis: Where other workers find them.
        clock: Seconds since 1970.
    """

    def __init__(self, folder: Path | None = None, redis: Any = None, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._redis = redis
        self._clock = clock
        self._memory: dict[str, tuple[float, str]] = {}

    async def keep(self, delivery: str, output: dict[str, Any]) -> None:
        """Keep what came of a delivery. Where that fails it is told, and the other places have it."""
        text = json.dumps(output)
        self._memory = {name: (at, kept) for name, (at, kept) in self._memory.items() if self._fresh(at)}
        self._memory[delivery] = self._clock(), text
        if self._folder is not None:
            try:
                self._write(self._folder, delivery, text)
            except OSError as exc:
                get_logger().warning("cannot keep a change over a restart", folder=str(self._folder), cause=str(exc))
        if self._redis is not None:
            try:
                await self._redis.set(_key(delivery), text, ex=KEPT_SECONDS)
            except redis_errors() as exc:
                get_logger().warning("cannot keep a change for other workers", cause=type(exc).__name__)

    async def find(self, delivery: str) -> dict[str, Any] | None:
        """What came of a delivery, if it is known.

        Raises:
            PermitDeferredError: Redis, which may know, does not answer. Without it nothing may be sent anyway.
        """
        for text in (self._remembered(delivery), self._written(delivery)):
            if text:
                return _read(text)
        if self._redis is None:
            return None
        try:
            return _read(await self._redis.get(_key(delivery)))
        except redis_errors():
            raise PermitDeferredError(_ASK_AGAIN_SECONDS, why="the fleet's Redis does not answer") from None

    def _remembered(self, delivery: str) -> str | None:
        at, text = self._memory.get(delivery, (0.0, None))
        return text if self._fresh(at) else None

    def _written(self, delivery: str) -> str | None:
        if self._folder is None:
            return None
        path = self._folder / f"{delivery}.json"
        try:
            return path.read_text("utf-8") if self._fresh(path.stat().st_mtime) else None
        except (OSError, UnicodeDecodeError):
            return None

    def _fresh(self, at: float) -> bool:
        # What comes from the future was written before the clock was set back: nobody knows how old it is.
        return 0 <= self._clock() - at < KEPT_SECONDS

    def _write(self, folder: Path, delivery: str, text: str) -> None:
        for path in folder.glob("*.json"):
            if not self._fresh(path.stat().st_mtime):
                path.unlink(missing_ok=True)
        # In one step: whoever reads it while the process is killed finds all of it or nothing.
        part = folder / f"{delivery}.{os.getpid()}.part"
        with open(
            part, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW, 0o600)
        ) as file:
            file.write(text)
        part.replace(folder / f"{delivery}.json")


def _read(text: str | None) -> dict[str, Any] | None:
    """The output that a text holds, as far as it is one: who can write to the folder or to Redis can write anything."""
    try:
        return SetCustomIvrOutput.model_validate_json(text or "").model_dump(mode="json")
    except ValidationError:
        return None


def _key(delivery: str) -> str:
    return f"dialpad-ivr:kept:{delivery}"
