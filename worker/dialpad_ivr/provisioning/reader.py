"""Runs reading tasks on this machine, as the engine and a worker would: paced, concurrently, with waits and retries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from dialpad_ivr.contract.outputs import TaskOutput
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.result import Result
from dialpad_ivr.tasks.tools import Tools, open_tools

_ATTEMPTS: Final = 3
_RETRY_SECONDS: Final = 1.0  # doubled for each further attempt
_OUTAGE_SECONDS: Final = 30  # which a person waits for Dialpad to work again


class Reader:
    """Runs reading tasks, and gives up where no other will succeed: without a key, and while nothing answers."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self._concurrency = tools.settings.concurrency
        self._semaphore = asyncio.Semaphore(self._concurrency)
        self._unauthorized: dict[str, TaskOutput] = {}  # by credential; not tried again
        self._no_answer: list[TaskOutput] = []  # of the latest tasks in a row; after some, no more are tried

    async def run(self, credential: str, payload: Any, task: Callable[[Delivery], Awaitable[Result]]) -> TaskOutput:
        """Run a task to its end.

        Args:
            credential: The name of its credential profile.
            payload: Its input.
            task: What runs it once.

        Returns:
            Its output, or that of an earlier task which shows that this one would fail, too.
        """
        async with self._semaphore:
            if credential in self._unauthorized:
                return self._unauthorized[credential]
            if len(self._no_answer) >= self._concurrency:
                return self._no_answer[-1]
            output = await _run(payload, task)
            if output.outcome == "unauthorized":
                self._unauthorized[credential] = output
            if output.outcome != "unavailable":
                self._no_answer.clear()
            else:
                self._no_answer.append(output)
            return output


@asynccontextmanager
async def open_reader(settings: Settings) -> AsyncIterator[Reader]:
    """A reader; its client and its limiter are closed when the context ends.

    Args:
        settings: The API's URL, the rate limits, and the credentials file.

    Raises:
        SettingsError: A Redis URL is set, but the Redis client is not installed.
    """
    async with open_tools(settings.model_copy(update={"outage_budget_seconds": _OUTAGE_SECONDS})) as tools:
        yield Reader(tools)


async def _run(payload: Any, task: Callable[[Delivery], Awaitable[Result]]) -> TaskOutput:
    """Run a task with the waits and retries that the engine would do."""
    failures = attempts = waited_ms = outage_ms = 0
    while True:
        call = Delivery(
            payload,
            attempts=attempts,
            waited_ms=waited_ms,
            outage_ms=outage_ms,
            retried=True,  # it gives up by itself when nothing answers; for a circuit each target is one of many
            last_attempt=failures == _ATTEMPTS - 1,
        )
        result = await task(call)
        attempts, waited_ms, outage_ms = result.output.attempts, result.output.waited_ms, result.output.outage_ms
        if result.callback_seconds is not None:
            await asyncio.sleep(result.callback_seconds)
        elif result.status == "FAILED" and not call.last_attempt:
            failures += 1
            await asyncio.sleep(_RETRY_SECONDS * 2 ** (failures - 1))
        else:
            return result.output
