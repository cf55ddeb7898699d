"""`run_worker` in an event loop of somebody else, against an engine's endpoints and a Dialpad over HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from opentelemetry import trace

from dialpad_ivr import Settings, run_worker
from dialpad_ivr.contract.schema import INPUTS
from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.http_server import PortError, serving
from dialpad_ivr.local.engine import free_port
from dialpad_ivr.telemetry.logs import SDK_LOGGERS
from dialpad_ivr.telemetry.metrics import OverrideFigures
from dialpad_ivr.telemetry.tracing import Tracing
from dialpad_ivr.worker import run
from dialpad_ivr.worker.process import run_process
from support.bench import VALID
from support.fake_engine import FakeEngine, running_fake_engine, task
from support.wire import Wire, response, wired

SECONDS = 20.0  # for which a test waits for an event; all come within milliseconds
UPDATED = b'{"ivr_type": "HOLD_MUSIC", "ivrs": [{"id": "%s", "selected": true}]}' % VALID["ivr_id"].encode()


async def until(condition: Callable[[], Any]) -> None:
    with anyio.fail_after(SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


class Place:
    """An engine with one task, and a Dialpad that answers once it is `released`."""

    def __init__(self, engine: FakeEngine, dialpad: Wire, released: asyncio.Event) -> None:
        engine.types[TASK_TYPE] = deque([task(taskType=TASK_TYPE, inputData=VALID)])
        self.engine = engine
        self.dialpad = dialpad
        self.released = released

    def settings(self, **changes: Any) -> Settings:
        values = {"server_url": self.engine.url, "api_url": self.dialpad.url, "allow_loopback": True, "health_port": 0}
        return Settings.model_validate({**values, **changes})

    @property
    def outcomes(self) -> list[str]:
        return [result["outputData"]["outcome"] for result in self.engine.results]

    async def call_in_flight(self) -> None:
        await until(lambda: self.dialpad.heads)


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    released = asyncio.Event()

    async def answer() -> AsyncIterator[bytes]:
        await released.wait()
        yield response(UPDATED)

    # In a task of its own: a fixture's two halves may run in different ones, which its task group does not allow.
    started: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def serve() -> None:
        async with running_fake_engine() as engine, wired(answer) as dialpad:
            started.set_result(Place(engine, dialpad, released))
            await over.wait()

    server = asyncio.create_task(serve())
    yield await started
    over.set()
    await server


async def test_an_event_drains_the_worker(place: Place) -> None:
    stop = asyncio.Event()
    worker = asyncio.create_task(run_worker(place.settings(), stop))
    await place.call_in_flight()
    stop.set()
    polls = len(place.engine.called("poll"))
    place.released.set()
    assert await worker is True
    assert place.outcomes == ["updated"]
    assert len(place.engine.called("poll")) <= polls + len(INPUTS)  # of each task type, one that was under way


async def test_a_cancellation_drains_the_worker_and_is_then_raised(place: Place) -> None:
    worker = asyncio.create_task(run_worker(place.settings()))
    await place.call_in_flight()
    worker.cancel()
    await asyncio.sleep(0)
    place.released.set()
    with pytest.raises(asyncio.CancelledError):
        await worker
    assert place.outcomes == ["updated"]


async def test_a_cancelled_scope_of_anyio_drains_the_worker_too(place: Place) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(run_worker, place.settings())
        await place.call_in_flight()
        group.cancel_scope.cancel()
        place.released.set()
    assert place.outcomes == ["updated"]


async def test_a_second_cancellation_ends_the_worker_at_once(place: Place) -> None:
    port = free_port()
    worker = asyncio.create_task(run_worker(place.settings(grace_seconds=3600, health_port=port)))
    await place.call_in_flight()
    worker.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not worker.done()
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(worker, SECONDS)
    assert place.outcomes == []
    socket.create_server(("127.0.0.1", port)).close()


async def test_a_used_up_grace_time_is_reported(place: Place) -> None:
    stop = asyncio.Event()
    worker = asyncio.create_task(run_worker(place.settings(grace_seconds=0.05), stop))
    await place.call_in_flight()
    stop.set()
    assert await worker is False
    assert place.outcomes == []


async def test_a_signal_while_the_process_starts_drains_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_warn_of_short_timeouts", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setitem(sys.modules, "sniffio", None)  # as the process does, but undone after the test
    tracing, figures = Tracing(trace.get_tracer_provider()), OverrideFigures({}, {})
    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # without a handler it would end the tests
    try:
        assert await asyncio.wait_for(run_process(place.settings(), tracing, lambda: figures), SECONDS) == 0
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        signal.signal(signal.SIGTERM, before)


async def test_signals_and_other_libraries_stay_the_callers(place: Place) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    stop = asyncio.Event()
    worker = asyncio.create_task(run_worker(place.settings(), stop))
    await place.call_in_flight()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert not any(map(asyncio.get_running_loop().remove_signal_handler, (signal.SIGTERM, signal.SIGINT)))
    assert sys.modules.get("sniffio", "not imported") is not None
    place.released.set()
    stop.set()
    assert await worker


async def test_the_sdks_lines_which_hold_secrets_are_dropped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = logging.getLogger(SDK_LOGGERS)
    monkeypatch.setattr(sdk, "level", logging.DEBUG)
    stop = asyncio.Event()
    stop.set()
    assert await run_worker(place.settings(), stop)
    assert not sdk.isEnabledFor(logging.CRITICAL)


async def test_a_taken_health_port_is_an_error(place: Place) -> None:
    async with serving(lambda *_: asyncio.sleep(0), "127.0.0.1", 0) as port:
        with pytest.raises(PortError, match=str(port)):
            await run_worker(place.settings(health_port=port))
