"""What unit tests share: settings that need no environment, and a task that talks to a function instead of a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from dialpad_ivr.credentials import Credentials
from dialpad_ivr.dialpad import DialpadClient
from dialpad_ivr.metrics import Metrics
from dialpad_ivr.pacing import Pacer
from dialpad_ivr.settings import Settings
from dialpad_ivr.task import Call, Result, Tools, set_custom_ivr

KEY = "MARKED-KEY-7f3a9c"
VALID = {
    "target_type": "callcenter",
    "target_id": "5502522061422592",
    "ivr_type": "HOLD_MUSIC",
    "ivr_id": "5127493019721728",
}

Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def settings() -> Settings:
    return Settings(api_url="https://sandbox.dialpad.com")


@pytest.fixture
def key() -> SecretStr:
    return SecretStr(KEY)


class Bench:
    """Runs the task against a function, and keeps the requests that left."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.sent: list[httpx.Request] = []
        self.handler: Handler = lambda _: httpx.Response(500)
        self.environ = {"DIALPAD_API_KEY": KEY}

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        return self.handler(request)

    async def run(self, raw: Any = None, **call: Any) -> Result:
        async with DialpadClient(self.settings, httpx.MockTransport(self._handle)) as client:
            tools = Tools(
                self.settings, client, Credentials(environ=self.environ), Pacer(self.settings), Metrics()
            )
            return await set_custom_ivr(Call(VALID if raw is None else raw, **call), tools)


@pytest.fixture
async def bench(settings: Settings) -> AsyncIterator[Bench]:
    yield Bench(settings)
