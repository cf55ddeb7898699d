"""The task against a function in place of a network."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx

from dialpad_ivr.credentials import Credentials
from dialpad_ivr.dialpad.client import DialpadClient
from dialpad_ivr.pacing.limiter import Limiter
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.result import Result
from dialpad_ivr.tasks.set_custom_ivr import set_custom_ivr
from dialpad_ivr.tasks.tools import Tools
from dialpad_ivr.telemetry.metrics import Metrics

KEY = "MARKED-KEY-7f3a9c"
VALID = {
    "target_type": "callcenter",
    "target_id": "5502522061422592",
    "ivr_type": "HOLD_MUSIC",
    "ivr_id": "5127493019721728",
}

Handler = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]
Task = Callable[[Delivery, Tools], Awaitable[Result]]


def streamed(response: httpx.Response) -> httpx.Response:
    """The response as it would come from a network: not read yet."""
    if not response.is_stream_consumed and not response.is_closed:
        return response
    return httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(response.content))


class Bench:
    """Runs the task, and keeps the requests that left. Pacing and credentials live as long as the bench."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.sent: list[httpx.Request] = []
        self.handler: Handler = lambda _: httpx.Response(500)
        self.environ = {"DIALPAD_API_KEY": KEY}
        self._pacer = Limiter(settings)

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        answer = self.handler(request)
        return streamed(answer if isinstance(answer, httpx.Response) else await answer)

    @contextlib.asynccontextmanager
    async def tools(self) -> AsyncIterator[Tools]:
        """What the task works with, for several deliveries to one worker."""
        async with DialpadClient(self.settings, httpx.MockTransport(self._handle)) as client:
            yield Tools(self.settings, client, Credentials(environ=self.environ), self._pacer, Metrics())

    async def run(self, raw: Any = None, task: Task = set_custom_ivr, **call: Any) -> Result:
        async with self.tools() as tools:
            return await task(Delivery(VALID if raw is None else raw, **call), tools)
