"""What unit tests share: settings that need no environment, and a task that talks to a function, not a network."""

from __future__ import annotations

import httpcore
import pytest
from pydantic import SecretStr

from dialpad_ivr.settings import Settings
from support.bench import KEY, Bench


@pytest.fixture(autouse=True)
def _no_connection_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's client retries a refused connection three times, over 1.5 s: here without the pauses."""
    monkeypatch.setattr(httpcore.SyncBackend, "sleep", lambda *_: None)


@pytest.fixture
def settings() -> Settings:
    return Settings(api_url="https://sandbox.dialpad.com")


@pytest.fixture
def key() -> SecretStr:
    return SecretStr(KEY)


@pytest.fixture
async def bench(settings: Settings) -> Bench:
    return Bench(settings)
