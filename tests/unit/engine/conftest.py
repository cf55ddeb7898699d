"""A stub of the engine, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.settings import Settings
from support.stub import StubEngine, running_stub_engine


@pytest.fixture
def stub_engine() -> Iterator[StubEngine]:
    with running_stub_engine() as engine:
        yield engine


@pytest.fixture
def api(stub_engine: StubEngine) -> EngineApi:
    return EngineApi(Settings(server_url=stub_engine.stub.url))
