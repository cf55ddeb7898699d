"""The console without a browser: with a Dialpad double, and with a stub of the engine or none."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import ASGIApp

from dialpad_ivr.console import lists
from dialpad_ivr.console.app import console_app
from dialpad_ivr.credentials import KEY_NAME
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.local.engine import free_port
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.tools import open_tools
from dialpad_ivr.testing.double import DoubleControl


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is waited for: a busy machine is no slow list."""
    monkeypatch.setattr(lists, "_WAIT_SECONDS", 60.0)


@pytest.fixture
def nowhere(double: DoubleControl, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with the double, and an engine that does not answer."""
    monkeypatch.setenv(KEY_NAME, double.key)
    return Settings(api_url=double.url, allow_loopback=True, server_url=f"http://127.0.0.1:{free_port()}")


@pytest.fixture
async def app(nowhere: Settings) -> AsyncIterator[ASGIApp]:
    """The console with no engine."""
    async with open_tools(nowhere) as opened:
        yield console_app(opened, EngineApi(nowhere))


@pytest.fixture
async def client(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the console with no engine."""
    async with _client(app) as client:
        yield client


@pytest.fixture
async def on_engine(nowhere: Settings, api: EngineApi) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the console on the stub engine."""
    async with open_tools(nowhere) as opened, _client(console_app(opened, api)) as client:
        yield client


def _client(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", follow_redirects=True)
