"""Outages of Dialpad, in virtual time: a worker's handler between an engine and a Dialpad that are functions of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from conductor.client.http.models import Task, TaskDef
from structlog.testing import capture_logs

from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.credentials import Credentials
from dialpad_ivr.dialpad.client import DialpadClient
from dialpad_ivr.engine.definitions import task_definition
from dialpad_ivr.pacing.limiter import Limiter
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.tools import Tools
from dialpad_ivr.telemetry.metrics import Metrics
from dialpad_ivr.worker import ended
from dialpad_ivr.worker import handler as handler_module
from dialpad_ivr.worker.handler import make_handler
from dialpad_ivr.worker.mapping import Polled
from dialpad_ivr.worker.undelivered import UndeliveredResults
from support.bench import KEY, VALID
from support.virtual import VirtualLoop
from support.windows import Clock

DEFINITION = task_definition()
Respond = Callable[[float, str], httpx.Response | None]
"""Dialpad at a time, for a target; `None` is as always."""

COUNTERS = ("circuits_opened", "probes")
CALL_SECONDS = 0.1
ENGINE_SECONDS = 0.5  # after a callback or a retry's delay, until the engine delivers the task


class Simulation:
    """Tasks, each of a target of its own, that a worker of 24 slots runs until each has ended.

    Attributes:
        called: When Dialpad was called, and for which target.
        ended: When each task ended as COMPLETED, by target.
        failures: The attempts reported as failed, by target.
        lost: The outputs of the last attempts that failed, by target.
    """

    def __init__(self, settings: Settings, respond: Respond, domain: str | None = None) -> None:
        self.clock = Clock()
        self.started = self.clock.now
        self.called: list[tuple[float, str]] = []
        self.ended: dict[str, float] = {}
        self.failures: Counter[str] = Counter()
        self.lost: dict[str, dict[str, Any]] = {}
        self.metrics = Metrics()
        self._settings = settings
        self._respond = respond
        self._domain = domain

    def run(self, count: int) -> None:
        loop = VirtualLoop(self.clock)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: self.clock.now)  # what responses and leases are measured by
            try:
                loop.run_until_complete(self._run(count))
            finally:
                loop.close()

    async def _run(self, count: int) -> None:
        async with DialpadClient(self._settings, httpx.MockTransport(self._dialpad)) as client:
            limiter = Limiter(self._settings, clock=self.clock)
            tools = Tools(self._settings, client, Credentials(environ={"DIALPAD_API_KEY": KEY}), limiter, self.metrics)
            handle = make_handler(TASK_TYPE, tools, None, UndeliveredResults(), "w")
            slots = asyncio.Semaphore(self._settings.concurrency)
            await asyncio.gather(*(self._task(handle, slots, str(number + 1)) for number in range(count)))

    async def _task(self, handle: Any, slots: asyncio.Semaphore, target: str) -> None:
        """One task, until it has ended: the engine delivers it again after each callback and each failure."""
        seconds, retries, polls, output = 0.0, 0, 0, None
        while True:
            await asyncio.sleep(seconds + ENGINE_SECONDS)
            polls += 1
            task = Task(
                task_id="t",
                workflow_instance_id="w",
                response_timeout_seconds=150,
                input_data={**VALID, "target_id": target},
                retry_count=retries,
                poll_count=polls,
                output_data=output,
            )
            task.task_definition = TaskDef(
                retry_count=DEFINITION["retryCount"],
                retry_delay_seconds=DEFINITION["retryDelaySeconds"],
                retry_logic=DEFINITION["retryLogic"],
            )
            task.domain = self._domain
            async with slots:
                result = await handle(Polled(task, time.monotonic()))
            output = result.output_data
            if result.status == "COMPLETED":
                self.ended[target] = self.clock.now - self.started
                return
            if result.status == "IN_PROGRESS":
                seconds = result.callback_after_seconds
                continue
            self.failures[target] += 1
            assert result.status == ("FAILED_WITH_TERMINAL_ERROR" if self._domain else "FAILED")
            if self._domain or retries == DEFINITION["retryCount"]:
                self.lost[target] = output
                return
            # The worker reads the previous attempt's output: here it comes along.
            seconds = min(DEFINITION["retryDelaySeconds"] * 2**retries, DEFINITION["maxRetryDelaySeconds"])
            retries += 1

    async def _dialpad(self, request: httpx.Request) -> httpx.Response:
        target = request.url.path.split("/")[-2]
        self.called.append((self.clock.now - self.started, target))
        response = self._respond(self.clock.now - self.started, target)
        if response is None:
            ivrs = [{"id": VALID["ivr_id"], "name": "New", "selected": True}]
            response = httpx.Response(200, json={"ivr_type": VALID["ivr_type"], "ivrs": ivrs})
        await asyncio.sleep(CALL_SECONDS)
        return httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(response.content))


@pytest.fixture(autouse=True)
def _engine_that_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: Any) -> None:
        return None

    monkeypatch.setattr(handler_module, "previous_attempt", unknown)
    monkeypatch.setattr(ended, "workflow_status", unknown)


def busy() -> httpx.Response:
    return httpx.Response(503, headers={"retry-after": "5"})


def broken() -> httpx.Response:
    return httpx.Response(500)


def unreachable() -> httpx.Response:
    raise httpx.ConnectError("refused")


def silent() -> httpx.Response:
    raise httpx.ReadTimeout("no answer")


LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("fault", "minutes", "count", "most_calls"),
    [
        (busy, 4, 60, 60),
        pytest.param(busy, 4, 200, 60, marks=LONG),
        pytest.param(silent, 4, 200, 60, marks=LONG),
        pytest.param(broken, 4, 200, 60, marks=LONG),
        pytest.param(unreachable, 4, 200, 60, marks=LONG),
        pytest.param(broken, 20, 500, 100, marks=LONG),
    ],
)
def test_an_outage_parks_tasks_and_fails_none(
    settings: Settings, fault: Callable[[], httpx.Response], minutes: int, count: int, most_calls: int
) -> None:
    over = 60.0 * minutes
    simulation = Simulation(settings, lambda now, _: fault() if now < over else None)
    with capture_logs() as logs:
        simulation.run(count)
    assert len(simulation.ended) == count
    assert not simulation.lost
    # Without a Retry-After the first one may be a fault of its own target: it spends a retry.
    assert simulation.failures.total() <= (0 if fault is busy else 1)
    during = [moment for moment, _ in simulation.called if moment < over]
    assert len(during) <= most_calls
    assert max(simulation.ended.values()) <= over + 30 + count / 20
    events = Counter(entry["event"] for entry in logs)
    assert (events["circuit_opened"], events["circuit_closed"]) == (1, 1)
    assert events["circuit_probe"] <= len(during)
    counted = {name: simulation.metrics.registry.get_sample_value(f"dialpad_ivr_{name}_total") for name in COUNTERS}
    assert counted == {"circuits_opened": 1, "probes": events["circuit_probe"]}


@LONG
@pytest.mark.parametrize("fault", [busy, broken])
def test_a_flapping_dialpad_makes_progress_whenever_it_works(
    settings: Settings, fault: Callable[[], httpx.Response]
) -> None:
    simulation = Simulation(settings, lambda now, _: fault() if now % 30 >= 10 else None)
    simulation.run(400)
    assert len(simulation.ended) == 400
    assert not simulation.lost
    done = Counter(int(moment // 30) for moment in simulation.ended.values())
    assert set(done) == set(range(max(done) + 1))


@pytest.mark.parametrize("domain", [None, "bulk"])
def test_one_poison_target_fails_alone(settings: Settings, domain: str | None) -> None:
    simulation = Simulation(settings, lambda _, target: broken() if target == "77" else None, domain)
    with capture_logs() as logs:
        simulation.run(500)
    assert set(simulation.lost) == {"77"}
    # A task of bulk work is deferred for its retries.
    assert simulation.failures == {"77": 1 if domain else DEFINITION["retryCount"] + 1}
    assert simulation.lost["77"]["failed_attempts"] == (DEFINITION["retryCount"] if domain else 0)
    assert simulation.lost["77"]["attempts"] == DEFINITION["retryCount"] + 1
    assert simulation.lost["77"]["outcome"] == "unavailable"
    assert simulation.lost["77"]["error"]["code"] == "http_500"
    assert len(simulation.ended) == 499
    assert not any(entry["event"] == "circuit_opened" for entry in logs)


@LONG
def test_poison_targets_that_open_it_do_not_keep_it_open(settings: Settings) -> None:
    poison = {str(number) for number in range(1, 11)}
    simulation = Simulation(settings, lambda _, target: broken() if target in poison else None)
    simulation.run(200)
    assert len(simulation.ended) == 190
    assert set(simulation.lost) == poison


@LONG
def test_the_outage_budget_ends_the_wait_as_unavailable(settings: Settings) -> None:
    settings = settings.model_copy(update={"outage_budget_seconds": 600})
    simulation = Simulation(settings, lambda *_: unreachable())
    simulation.run(30)
    assert len(simulation.lost) == 30
    for output in simulation.lost.values():
        assert output["outcome"] == "unavailable"
        assert 600 <= output["outage_ms"] / 1000 < 700
