"""What unit tests share: settings that need no environment, and a task that talks to a function, not a network."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from dialpad_ivr.settings import Settings
from support.bench import KEY, Bench


@pytest.fixture
def settings() -> Settings:
    return Settings(api_url="https://sandbox.dialpad.com")


@pytest.fixture
def key() -> SecretStr:
    return SecretStr(KEY)


@pytest.fixture
async def bench(settings: Settings) -> Bench:
    return Bench(settings)
