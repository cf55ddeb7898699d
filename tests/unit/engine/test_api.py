"""The engine's REST client: a Ctrl-C during a call is never lost, and each kind of call has its time limit."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

import httpx
import pytest
from conductor.client.http.api_client import ApiClient

from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.settings import Settings


@pytest.fixture(autouse=True)
def _default_handler(monkeypatch: pytest.MonkeyPatch) -> Any:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_that_the_sdk_swallows_is_raised_after_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def call_api(*_: Any, **__: Any) -> Any:
        with contextlib.suppress(KeyboardInterrupt):  # as its bare `except:` does
            os.kill(os.getpid(), signal.SIGINT)
        return "3.32.3", 200, {}

    monkeypatch.setattr(ApiClient, "call_api", call_api)
    with pytest.raises(KeyboardInterrupt):
        EngineApi(Settings()).version()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_ends_a_call_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def call_api(*_: Any, **__: Any) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the call went on")

    monkeypatch.setattr(ApiClient, "call_api", call_api)
    with pytest.raises(KeyboardInterrupt):
        EngineApi(Settings()).version()


def test_a_call_leaves_the_handler_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ApiClient, "call_api", lambda *_, **__: ("3.32.3", 200, {}))
    assert EngineApi(Settings()).version() == "3.32.3"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_engine_has_time_to_wait_for_the_locks_of_what_is_terminated(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []

    def handle_request(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        limits.append(request.extensions["timeout"]["read"])
        return httpx.Response(200, text="")

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle_request)
    for api in (EngineApi(Settings()), EngineApi(Settings(), patience_seconds=2)):
        api.version()
        api.pause("a run")
        api.terminate("a run", "stopped")
    assert limits == [10, 30, 150, 2, 2, 2]
