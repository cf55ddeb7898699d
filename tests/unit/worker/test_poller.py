"""The poller through the real SDK, against an engine's task endpoints over HTTP; more in `tests/faults`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from typing import Any

import anyio
import pytest
from conductor.client.http.api.async_task_resource_api import AsyncTaskResourceApi
from conductor.client.http.models import Task, TaskResult
from starlette.responses import JSONResponse, PlainTextResponse, Response
from structlog.testing import capture_logs

from dialpad_ivr.settings import Settings
from dialpad_ivr.telemetry.metrics import Metrics
from dialpad_ivr.worker import poller as poller_module
from dialpad_ivr.worker.engine_client import open_engine_client
from dialpad_ivr.worker.mapping import Polled
from dialpad_ivr.worker.poller import Poller
from support.fake_engine import FakeEngine, running_fake_engine, task
from support.virtual import VirtualLoop
from support.windows import Clock

SECONDS = 20.0  # for which a test waits for an event; all come within milliseconds


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller_module, "_backoff_seconds", lambda _: 0.02)


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    # In a task of its own: a fixture's two halves may run in different ones, which its task group does not allow.
    started: asyncio.Future[FakeEngine] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def serve() -> None:
        async with running_fake_engine() as fake:
            started.set_result(fake)
            await over.wait()

    server = asyncio.create_task(serve())
    yield await started
    over.set()
    await server


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something that another task of the event loop brings about."""
    with anyio.fail_after(SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


class Handled:
    """What a poller's `handle` and `on_undelivered` were called with. A run ends when it is `released`."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.undelivered: list[str] = []
        self.status = "COMPLETED"
        self.released = asyncio.Event()
        self.released.set()
        self.running = self.most_running = 0

    async def handle(self, polled: Polled) -> TaskResult:
        self.runs.append(polled.task.task_id)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await self.released.wait()
        self.running -= 1
        return TaskResult(
            task_id=polled.task.task_id, workflow_instance_id="w", status=self.status, output_data={"outcome": "x"}
        )

    async def on_undelivered(self, polled: Task, _: TaskResult) -> None:
        self.undelivered.append(polled.task_id)


Start = Callable[..., Awaitable[tuple[Poller, asyncio.Task[None], Handled, Metrics]]]


@pytest.fixture
async def start(engine: FakeEngine) -> AsyncIterator[Start]:
    """Start a poller; it drains when the test ends."""
    async with contextlib.AsyncExitStack() as stack:

        async def begin(concurrency: int = 2, *, released: bool = True, **settings: Any) -> Any:
            handled, metrics = Handled(), Metrics()
            if not released:
                handled.released.clear()
            bulk_domains = settings.pop("bulk_domains", ())
            config = Settings(server_url=engine.url, concurrency=concurrency, poll_interval_seconds=0.01, **settings)
            client: AsyncTaskResourceApi = await stack.enter_async_context(open_engine_client(config))
            poller = Poller("t", handled.handle, handled.on_undelivered, client, "me", config, metrics, bulk_domains)
            running = asyncio.create_task(poller.run())

            async def end() -> None:
                handled.released.set()
                poller.drain()
                if not running.cancelled():
                    await asyncio.wait_for(running, SECONDS)

            stack.push_async_callback(end)
            return poller, running, handled, metrics

        yield begin


async def test_polled_tasks_run_and_their_results_are_reported(engine: FakeEngine, start: Start) -> None:
    engine.queue.extend([task("1"), task("2")])
    await start(domain="d")
    await until(lambda: len(engine.results) == 2)
    assert {(result["taskId"], result["status"]) for result in engine.results} == {
        ("1", "COMPLETED"),
        ("2", "COMPLETED"),
    }
    idle, busy = engine.called("poll")[:2]
    assert (idle["workerid"], idle["domain"]) == ("me", "d")
    # With slots free and nothing in them, the engine holds a poll, and would until it has as many as are wanted.
    assert (idle["count"], idle["timeout"]) == ("1", "500")
    assert (busy["count"], busy["timeout"]) == ("1", "100")


async def test_bulk_work_is_polled_after_the_own_queue_and_keeps_no_slot_from_it(
    engine: FakeEngine, start: Start
) -> None:
    engine.domains = {"bulk": deque(task(f"bulk {number}") for number in range(3)), "bulk.a": deque([task("a")])}
    engine.queue.append(task("own"))
    poller, _, handled, _ = await start(1, released=False, bulk_domains=["bulk", "bulk.a"])
    await until(lambda: len(handled.runs) == 3)
    polls = [(query.get("domain"), query["timeout"]) for query in engine.called("poll")]
    assert polls == [(None, "500"), ("bulk", "0"), ("bulk.a", "0")]  # all are full now
    assert handled.runs == ["own", "bulk 0", "a"]
    assert poller.in_flight == 3
    handled.released.set()
    await until(lambda: len(engine.results) == 5)


async def test_own_work_runs_while_bulk_work_waits_for_a_slot(engine: FakeEngine, start: Start) -> None:
    engine.domains = {"bulk": deque(task(f"bulk {number}") for number in range(3))}
    _, _, handled, _ = await start(1, released=False, bulk_domains=["bulk"])
    await until(lambda: handled.runs == ["bulk 0"])
    engine.queue.append(task("own"))
    await until(lambda: handled.runs == ["bulk 0", "own"])


class EmptyQueues:
    """A client of an engine without tasks, which holds an empty poll for as long as it is told."""

    def __init__(self) -> None:
        self.polls: list[tuple[str | None, float]] = []

    async def batch_poll(self, *, timeout: int, domain: str | None = None, **_: Any) -> list[Task]:
        self.polls.append((domain, asyncio.get_running_loop().time()))
        await asyncio.sleep(0.002 + timeout / 1000)
        return []


@pytest.mark.parametrize("count", [1, 20])
def test_empty_queues_cost_few_polls(count: int) -> None:
    client: Any = EmptyQueues()
    domains = [f"bulk.{number}" for number in range(count)]

    async def poll_for_a_minute() -> None:
        handled = Handled()
        poller = Poller("t", handled.handle, handled.on_undelivered, client, "me", Settings(), Metrics(), domains)
        running = asyncio.create_task(poller.run())
        await asyncio.sleep(60)
        poller.drain()
        await running

    with contextlib.closing(VirtualLoop(Clock())) as loop:
        loop.run_until_complete(poll_for_a_minute())
    began = client.polls[0][1]
    polls = [(domain, at) for domain, at in client.polls if at > began + 10]  # the pauses have grown
    own = [at for domain, at in polls if domain is None]
    for name in domains:
        bulk = [at for domain, at in polls if domain == name]
        # `follow` reports one that is not polled for 4 s.
        assert max(later - earlier for earlier, later in pairwise(bulk)) < 3.5
    assert len(polls) < 50 * 10
    # A held poll is answered as soon as a task comes: what counts is the pause between two.
    assert max(later - earlier for earlier, later in pairwise(own)) < 0.5 + 0.1


async def test_an_update_brings_the_next_task_without_a_poll(engine: FakeEngine, start: Start) -> None:
    engine.queue.append(task("1"))
    engine.next_tasks.append(task("2"))
    _, _, handled, _ = await start()
    await until(lambda: len(engine.results) == 2)
    assert handled.runs == ["1", "2"]


async def test_no_more_tasks_run_at_once_than_the_concurrency_allows(engine: FakeEngine, start: Start) -> None:
    engine.queue.extend(task(str(number)) for number in range(12))
    _, _, handled, _ = await start(3, released=False)
    await until(lambda: len(handled.runs) == 3)
    polls = len(engine.called("poll"))
    handled.released.set()
    await until(lambda: len(engine.results) == 12)
    assert handled.most_running == 3
    assert polls == 2  # for the first, and then for two: at capacity it does not poll


async def test_many_tasks_of_the_own_queue_come_by_several_polls_and_bulk_work_by_one(
    engine: FakeEngine, start: Start
) -> None:
    engine.queue.extend(task(str(number)) for number in range(20))
    engine.domains = {"bulk": deque(task(f"bulk {number}") for number in range(20))}
    _, _, handled, _ = await start(20, released=False, bulk_domains=["bulk"])
    await until(lambda: len(handled.runs) == 40)
    counts = [(poll.get("domain"), poll["count"]) for poll in engine.called("poll")]
    assert [count for domain, count in counts if domain is None] == ["1", "8", "8", "3"]
    assert [count for domain, count in counts if domain == "bulk"] == ["20"]


async def test_a_duplicate_delivery_runs_once_and_is_reported_twice(engine: FakeEngine, start: Start) -> None:
    engine.queue.extend([task("1"), task("1")])
    with capture_logs() as logs:
        _, _, handled, _ = await start(released=False)
        await until(lambda: any(entry["event"] == "duplicate_delivery" for entry in logs))
        handled.released.set()
        await until(lambda: len(engine.results) == 2)
        engine.queue.append(task("1"))  # and once more, after it was reported
        await until(lambda: len(engine.results) == 3)
    assert handled.runs == ["1"]
    assert {result["status"] for result in engine.results} == {"COMPLETED"}


async def test_a_rescheduled_task_runs_again(engine: FakeEngine, start: Start) -> None:
    engine.queue.extend([task("1"), task("1", scheduledTime=8), task("2")])
    _, _, handled, _ = await start(1)
    await until(lambda: len(engine.results) == 3)
    assert handled.runs == ["1", "1", "2"]


async def test_a_deferred_task_runs_again_when_it_comes_back(engine: FakeEngine, start: Start) -> None:
    _, _, handled, _ = await start()
    handled.status = "IN_PROGRESS"
    engine.queue.append(task("1"))
    await until(lambda: len(engine.results) == 1)
    engine.queue.append(task("1"))
    await until(lambda: len(engine.results) == 2)
    assert handled.runs == ["1", "1"]


@pytest.mark.long
async def test_only_a_few_runs_are_remembered(engine: FakeEngine, start: Start) -> None:
    poller, _, _, _ = await start()
    engine.queue.extend(task(str(number)) for number in range(40))
    await until(lambda: len(engine.results) == 40)
    assert len(poller._runs) <= 4


@pytest.mark.parametrize(
    "response", [Response(status_code=503), PlainTextResponse("<html>"), JSONResponse({"a": 1}), PlainTextResponse("7")]
)
async def test_a_failed_poll_is_logged_counted_and_tried_again(
    engine: FakeEngine, start: Start, response: Response
) -> None:
    engine.failures["poll"] = deque([response] * 5)
    engine.queue.append(task("1"))
    with capture_logs() as logs:
        poller, _, handled, metrics = await start()
        await until(lambda: handled.runs)
    assert [e["failures"] for e in logs if e["event"] == "poll_failed"] == [1, 2, 4]
    assert [e["failures"] for e in logs if e["event"] == "poll_recovered"] == [5]
    assert metrics.registry.get_sample_value("dialpad_ivr_poll_failures_total") == 5
    assert poller.unready is None


async def test_an_engine_that_wants_a_token_is_asked_for_one_however_often_that_failed(
    engine: FakeEngine, start: Start
) -> None:
    engine.token = "token"
    engine.failures["token"] = deque([Response(status_code=500)] * 12)
    engine.queue.append(task("1"))
    _, _, handled, _ = await start(auth_key="k", auth_secret="s")
    await until(lambda: handled.runs)
    assert len(engine.called("token")) == 13


async def test_a_result_is_sent_until_it_is_accepted(engine: FakeEngine, start: Start) -> None:
    engine.failures["update-v2"] = deque([Response(status_code=503)] * 3)
    engine.queue.append(task("1"))
    with capture_logs() as logs:
        _, _, handled, metrics = await start()
        await until(lambda: any(entry["event"] == "result_accepted" for entry in logs))
    assert [result["status"] for result in engine.results] == ["COMPLETED"] * 4
    assert handled.undelivered == ["1"]
    assert handled.runs == ["1"]
    assert [e["cause"] for e in logs if e["event"] == "result_not_accepted"] == ["HTTP 503"]
    assert metrics.registry.get_sample_value("dialpad_ivr_undelivered_results") == 0
    assert metrics.registry.get_sample_value("dialpad_ivr_update_failures_total") == 0


async def test_a_result_that_is_rejected_for_good_is_given_up_and_counted(engine: FakeEngine, start: Start) -> None:
    engine.failures["update-v2"] = deque([Response(status_code=400)])
    engine.queue.append(task("1"))
    with capture_logs() as logs:
        _, _, _, metrics = await start()
        await until(lambda: any(entry["event"] == "result_lost" for entry in logs))
    assert len(engine.results) == 1
    assert metrics.registry.get_sample_value("dialpad_ivr_update_failures_total") == 1


async def test_an_engine_without_the_newer_update_gets_the_older_one(engine: FakeEngine, start: Start) -> None:
    engine.failures["update-v2"] = deque([Response(status_code=404)])
    engine.queue.extend([task("1"), task("2")])
    await start(1)
    await until(lambda: len(engine.called("update")) == 2)
    assert len(engine.called("update-v2")) == 1


async def test_a_drained_poller_reports_what_is_in_flight_and_polls_no_more(engine: FakeEngine, start: Start) -> None:
    engine.queue.append(task("1"))
    poller, running, handled, _ = await start(released=False)
    await until(lambda: handled.runs)
    poller.drain()
    assert (poller.unready, poller.in_flight, running.done()) == ("draining", 1, False)
    handled.released.set()
    await asyncio.wait_for(running, SECONDS)
    assert engine.results[0]["status"] == "COMPLETED"
    assert [name for name, _ in engine.calls if name.startswith("update")] == ["update"]  # which brings no task along
    assert poller.in_flight == 0


async def test_a_task_that_comes_along_while_draining_is_deferred(engine: FakeEngine, start: Start) -> None:
    engine.queue.append(task("1"))
    poller, running, handled, _ = await start(released=False)
    await until(lambda: handled.runs)
    engine.hold.clear()
    engine.next_tasks.append(task("2", outputData={"attempts": 1}))
    handled.released.set()
    await until(lambda: engine.called("update-v2"))
    poller.drain()
    engine.hold.set()
    await asyncio.wait_for(running, SECONDS)
    assert handled.runs == ["1"]
    (result,) = engine.called("update")
    assert (result["taskId"], result["status"], result["outputData"]) == ("2", "IN_PROGRESS", {"attempts": 1})


async def test_a_drain_ends_the_backoff(engine: FakeEngine, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller_module, "_backoff_seconds", lambda _: 3600.0)
    engine.failures["poll"] = deque([Response(status_code=503)] * 9)
    poller, running, _, _ = await start()
    await until(lambda: poller.unready == "the engine does not answer polls")
    poller.drain()
    await asyncio.wait_for(running, SECONDS)


async def test_a_wall_clock_that_is_set_back_does_not_stop_the_polls(
    engine: FakeEngine, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start()
    await until(lambda: len(engine.called("poll")) > 2)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    polls = len(engine.called("poll"))
    await until(lambda: len(engine.called("poll")) > polls + 2)


async def test_a_cancelled_poller_cancels_what_is_in_flight(engine: FakeEngine, start: Start) -> None:
    engine.queue.append(task("1"))
    poller, running, handled, _ = await start(released=False)
    await until(lambda: handled.runs)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await until(lambda: poller.in_flight == 0)
    assert engine.results == []


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0.5), (2, 1), (5, 8), (7, 30), (100_000, 30)])
def test_the_backoff_doubles_up_to_half_a_minute(
    failures: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert poller_module._backoff_seconds(failures) == seconds
