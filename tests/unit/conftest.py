"""What unit tests share: settings that need no environment, a task that talks to a function, and a stub engine."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.settings import Settings
from support.bench import KEY, Bench
from support.certificates import make_certificate
from support.stub import StubEngine, running_stub_engine


@pytest.fixture(scope="session", autouse=True)
def _load_certificates_once() -> Iterator[None]:
    """Reading the list of certificates takes 30 ms, and each of a thousand HTTP clients would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Self-signed certificates with their keys, by the address or name that they are for."""
    folder = tmp_path_factory.mktemp("certificates")
    names = {"127.0.0.1": "IP", "dialpad.com": "DNS"}
    return {name: make_certificate(folder, name, kind) for name, kind in names.items()}


@pytest.fixture
def settings() -> Settings:
    return Settings(api_url="https://sandbox.dialpad.com")


@pytest.fixture
def key() -> SecretStr:
    return SecretStr(KEY)


@pytest.fixture
async def bench(settings: Settings) -> Bench:
    return Bench(settings)


@pytest.fixture
def stub_engine() -> Iterator[StubEngine]:
    with running_stub_engine() as engine:
        yield engine


@pytest.fixture
def api(stub_engine: StubEngine) -> EngineApi:
    return EngineApi(Settings(server_url=stub_engine.stub.url))


@pytest.fixture(autouse=True)
def _no_wait_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stub of the engine shows a workflow as running at once."""
    monkeypatch.setattr("dialpad_ivr.provisioning.override_control._SEEN_WITHIN_SECONDS", 0.0)
