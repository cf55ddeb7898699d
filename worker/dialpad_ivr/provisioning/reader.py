"""Runs reading tasks on this machine, as the engine and a worker would: paced, concurrently, with waits and retries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from dialpad_ivr.contract.outputs import ListCustomIvrsOutput, TaskOutput
from dialpad_ivr.credentials import CredentialError
from dialpad_ivr.provisioning.kept import KeptReads
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.list_custom_ivrs import list_custom_ivrs
from dialpad_ivr.tasks.result import Result
from dialpad_ivr.tasks.tools import Tools, open_tools

_ATTEMPTS: Final = 3
_RETRY_SECONDS: Final = 1.0  # doubled for each further attempt
_OUTAGE_SECONDS: Final = 30  # which a person waits for Dialpad to work again


class Reader:
    """Runs reading tasks, and gives up where no other will succeed: without a key, and while nothing answers."""

    def __init__(self, tools: Tools, kept: KeptReads | None = None) -> None:
        self.tools = tools
        self._kept = kept
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

    async def list_ivrs(
        self, target_type: str, target_id: str, credential: str, ivr_type: str | None = None
    ) -> TaskOutput:
        """A target's IVRs, or those of a slot, without the request and the response: of thousands, they take memory.

        Returns:
            A `ListCustomIvrsOutput`, or the error of reading them.
        """
        payload = {"target_type": target_type, "target_id": target_id, "credential": credential, "ivr_type": ivr_type}
        kept = self._kept
        try:
            company = self.tools.credentials.find(credential).company if kept else ""
        except CredentialError:
            kept = None  # the task says so
        ivrs = kept.find(company, payload) if kept else None
        if ivrs is not None:
            return ListCustomIvrsOutput(outcome="listed", ok=True, ivrs=ivrs)
        output = await self.run(credential, payload, lambda call: list_custom_ivrs(call, self.tools))
        if kept and isinstance(output, ListCustomIvrsOutput) and output.ok:
            kept.keep(company, payload, output.ivrs)
        return output.model_copy(update={"request": None, "response": None})


@asynccontextmanager
async def open_reader(settings: Settings, kept: KeptReads | None = None) -> AsyncIterator[Reader]:
    """A reader; its client and its limiter are closed when the context ends.

    Args:
        settings: The API's URL, the rate limits, and the credentials file.
        kept: Where the IVRs of targets are kept, and those that an interrupted command has read.

    Raises:
        SettingsError: A Redis URL is set, but the Redis client is not installed.
    """
    async with open_tools(settings.model_copy(update={"outage_budget_seconds": _OUTAGE_SECONDS})) as tools:
        yield Reader(tools, kept)


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
