"""Results the engine has not accepted yet. They are stored so that a redelivered task is answered, not re-executed.

An engine that is away for longer than a task's response timeout times the task out when it is back, and dispatches a
retry. Whoever polls that finds here the result of the first, and answers with it. To send the PATCH again would change
nothing by itself, but would undo what somebody else has selected meanwhile.

Only changes that were made are stored (`updated`): everything else is better run again. They are stored in memory, in
the state directory if the settings name one (it outlives the worker), and in the fleet's Redis if there is one (another
worker may get the task). They are written once the engine has failed to accept a result: on a good day, never.
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

from conductor.client.http.models import Task, TaskResult
from pydantic import ValidationError

from dialpad_ivr.contract.outputs import SetCustomIvrOutput
from dialpad_ivr.contract.values import LIST_LIMIT
from dialpad_ivr.pacing.limiter import PermitDeferredError
from dialpad_ivr.redis_client import open_redis, redis_errors
from dialpad_ivr.settings import Settings, SettingsError
from dialpad_ivr.telemetry.logs import get_logger

_RETRY_SECONDS: Final = 1.0
STORED_SECONDS: Final = 900
"""For how long a stored result answers for a redelivered task."""


@asynccontextmanager
async def undelivered_results(settings: Settings) -> AsyncIterator[UndeliveredResults]:
    """The store that the settings describe.

    Raises:
        SettingsError: The state directory cannot be used, or the client of Redis is not installed.
    """
    folder = settings.state_dir
    if folder is not None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as exc:
            raise SettingsError(f"DIALPAD_IVR_STATE_DIR: cannot write to {folder}: {exc.strerror}") from None
    if settings.redis_url is None:
        yield UndeliveredResults(folder)
        return
    async with open_redis(settings.redis_url) as redis:
        yield UndeliveredResults(folder, redis)


class UndeliveredResults:
    """Outputs of tasks whose change was made, each under the digest of its delivery.

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

    async def store(self, task: Task, result: TaskResult) -> None:
        """Store a result that the engine did not accept, if it is that of a change that was made.

        Where a place cannot be written that is logged, and the other places have it.
        """
        if result.output_data.get("outcome") != "updated":
            return
        delivery, text = _delivery_id(task, task.input_data), json.dumps(result.output_data)
        self._memory = {name: entry for name, entry in self._memory.items() if self._is_fresh(entry[0])}
        self._memory[delivery] = self._clock(), text
        if self._folder is not None:
            try:
                self._write(self._folder, delivery, text)
            except OSError as exc:
                get_logger().warning("undelivered_not_stored", folder=str(self._folder), cause=str(exc))
        if self._redis is not None:
            try:
                await self._redis.set(_redis_key(delivery), text, ex=STORED_SECONDS)
            except redis_errors() as exc:
                get_logger().warning("undelivered_not_stored", folder=None, cause=type(exc).__name__)

    async def answer(self, task: Task, previous: Task | None) -> dict[str, Any] | None:
        """The output of the previous attempt, if that made the change and its result reached the engine too late.

        Args:
            task: The retry.
            previous: The attempt that it replaces, if it is known.

        Raises:
            PermitDeferredError: Redis, which may know, does not respond. Without it nothing may be sent anyway.
        """
        if previous is None:
            return None
        output = None
        if previous.status == "TIMED_OUT":
            output = await self._find(_delivery_id(previous, task.input_data))
        elif previous.status == "COMPLETED" and previous.input_data == task.input_data:
            # The result came when the engine had given up on it, but had not noted so: it has it, and wants another.
            output = previous.output_data
        if not output or output.get("outcome") != "updated":
            return None
        get_logger().info("duplicate_delivery_answered")
        note = (
            "The previous attempt already made this change, but its result reached the engine too late. "
            "No request was sent."
        )
        return {**output, "warnings": [*output.get("warnings", ()), note][:LIST_LIMIT]}

    async def _find(self, delivery: str) -> dict[str, Any] | None:
        for text in (self._remembered(delivery), self._read(delivery)):
            if text:
                return _parse(text)
        if self._redis is None:
            return None
        try:
            return _parse(await self._redis.get(_redis_key(delivery)))
        except redis_errors():
            raise PermitDeferredError(_RETRY_SECONDS, why="the fleet's Redis does not respond") from None

    def _remembered(self, delivery: str) -> str | None:
        stored_at, text = self._memory.get(delivery, (0.0, None))
        return text if self._is_fresh(stored_at) else None

    def _read(self, delivery: str) -> str | None:
        if self._folder is None:
            return None
        path = self._folder / f"{delivery}.json"
        try:
            return path.read_text("utf-8") if self._is_fresh(path.stat().st_mtime) else None
        except (OSError, UnicodeDecodeError):
            return None

    def _is_fresh(self, stored_at: float) -> bool:
        # What comes from the future was written before the clock was set back: nobody knows how old it is.
        return 0 <= self._clock() - stored_at < STORED_SECONDS

    def _write(self, folder: Path, delivery: str, text: str) -> None:
        for path in folder.glob("*.json"):
            if not self._is_fresh(path.stat().st_mtime):
                path.unlink(missing_ok=True)
        # Atomically: whoever reads it while the process is killed finds all of it or nothing.
        part = folder / f"{delivery}.{os.getpid()}.part"
        with open(
            part, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW, 0o600)
        ) as file:
            file.write(text)
        part.replace(folder / f"{delivery}.json")


def _delivery_id(task: Task, payload: Any) -> str:
    """The digest of one delivery.

    A task that a person runs again keeps its id, but is scheduled again; a retry may come with another input.
    """
    text = json.dumps([task.task_id, task.scheduled_time, payload], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _parse(text: str | None) -> dict[str, Any] | None:
    """The output that a text holds, if it is one: who can write to the folder or to Redis can write anything."""
    try:
        return SetCustomIvrOutput.model_validate_json(text or "").model_dump(mode="json")
    except ValidationError:
        return None


def _redis_key(delivery: str) -> str:
    return f"dialpad-ivr:undelivered:{delivery}"
