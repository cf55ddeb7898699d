"""Any interleaving of deliveries, faults and deaths: no success without the change, and no change sent twice.

The poller, the handler, the task and the store of undelivered results are the real ones, in virtual time; the engine
and Dialpad are models that remember what was done to them.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import tempfile
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal
from urllib.parse import parse_qs

import httpx
import pytest
from conductor.client.http.async_rest import ApiException
from conductor.client.http.models import Task, TaskResult, WorkflowTask
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.credentials import Credentials
from dialpad_ivr.dialpad.client import DialpadClient
from dialpad_ivr.pacing.limiter import Limiter
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.tools import Tools
from dialpad_ivr.telemetry.metrics import Metrics
from dialpad_ivr.worker.handler import make_handler
from dialpad_ivr.worker.mapping import Polled
from dialpad_ivr.worker.poller import Poller
from dialpad_ivr.worker.undelivered import UndeliveredResults
from support.virtual import VirtualLoop, explore
from support.windows import Clock

OLD, OURS, THEIRS = "1", "2", "3"
RETRIES = 3
SETTINGS = Settings(concurrency=4, company_limit=100_000, patch_limit=1_000_000, poll_interval_seconds=1)

DialpadState = Literal["up", "answers get lost", "changes get no answer", "not reached", "fails"]
EngineState = Literal["up", "down", "refuses results", "answers get lost"]


class VirtualTime:
    """The clock of the machine that runs, in place of the module `time`."""

    clock: Clock

    def monotonic(self) -> float:
        return self.clock.now

    perf_counter = monotonic


VIRTUAL_TIME = VirtualTime()


@pytest.fixture(autouse=True)
def _virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("dialpad.client", "tasks.caller", "worker.poller"):
        monkeypatch.setattr(f"dialpad_ivr.{module}.time", VIRTUAL_TIME)


class Dialpad:
    """What each target has selected, and how often it was asked to change that."""

    def __init__(self) -> None:
        self.state: DialpadState = "up"
        self.selected: dict[str, str] = {}
        self.patches: Counter[str] = Counter()
        self.made: Counter[str] = Counter()
        self.changed: set[str] = set()  # targets that a PATCH gave another IVR

    async def respond(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.3)
        if self.state == "not reached":
            raise httpx.ConnectError("refused")
        *_, target, _ivr_type = request.url.path.split("/")
        if request.method == "GET":
            (target,) = parse_qs(request.url.query.decode())["target_id"]
        else:
            self.patches[target] += 1
            if self.state != "fails":
                self.made[target] += 1
                wanted = str(json.loads(request.content)["ivr_id"])
                if self.selected[target] != wanted:
                    self.changed.add(target)
                self.selected[target] = wanted
        await asyncio.sleep(0.3)
        if self.state == "answers get lost" or (self.state == "changes get no answer" and request.method == "PATCH"):
            raise httpx.ReadTimeout("no answer")
        if self.state == "fails":
            return _response(503, {"error": {"message": "down"}})
        ivrs = [{"id": ivr, "name": ivr, "selected": self.selected[target] == ivr} for ivr in (OLD, OURS, THEIRS)]
        slot = {"ivr_type": "HOLD_MUSIC", "ivrs": ivrs}
        return _response(200, slot if request.method == "PATCH" else {"items": [slot]})


def _response(status: int, body: Any) -> httpx.Response:
    content = httpx.Response(200, json=body).content
    return httpx.Response(status, headers={"content-type": "application/json"}, stream=httpx.ByteStream(content))


@dataclass
class Attempt:
    """An attempt of a task, as an engine keeps it."""

    task_id: str
    payload: dict[str, Any]
    retry_count: int = 0
    retried: str | None = None
    domain: str | None = None
    status: str = "SCHEDULED"
    polls: int = 0
    worker: str = ""
    output: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        return str(self.payload["target_id"])

    def task(self) -> Task:
        return Task(
            task_id=self.task_id,
            workflow_instance_id=f"w{self.target}",
            status=self.status,
            domain=self.domain,
            input_data=self.payload,
            output_data=dict(self.output),
            retry_count=self.retry_count,
            retried_task_id=self.retried,
            poll_count=self.polls,
            scheduled_time=1,
            response_timeout_seconds=150,
            workflow_task=WorkflowTask(name=TASK_TYPE, task_reference_name="t", retry_count=RETRIES),
        )


class Engine:
    """As much of an engine as a poller uses: it queues, notes results, and retries."""

    def __init__(self) -> None:
        self.state: EngineState = "up"
        self.attempts: dict[str, Attempt] = {}
        self.queue: deque[str] = deque()
        self.ended: dict[str, Attempt] = {}  # by target
        self.api_client = SimpleNamespace(
            call_api=self._read, configuration=SimpleNamespace(authentication_settings=None)
        )
        self._ids = itertools.count()

    def start(self, payload: dict[str, Any], **more: Any) -> None:
        task_id = f"t{next(self._ids)}"
        self.attempts[task_id] = Attempt(task_id, payload, **more)
        self.queue.append(task_id)

    def fail(self, attempt: Attempt, status: str) -> None:
        attempt.status = status
        if attempt.retry_count < RETRIES:
            retry = attempt.retry_count + 1
            self.start(attempt.payload, retry_count=retry, retried=attempt.task_id, domain=attempt.domain)
        else:
            self.ended[attempt.target] = attempt

    def in_progress(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts.values() if attempt.status == "IN_PROGRESS"]

    async def batch_poll(self, count: int, workerid: str, **_: Any) -> list[Task]:
        self._refuse_if_down()
        polled: list[Task] = []
        while self.queue and len(polled) < count:
            attempt = self.attempts[self.queue.popleft()]
            if attempt.status in ("SCHEDULED", "IN_PROGRESS"):
                attempt.status, attempt.polls, attempt.worker = "IN_PROGRESS", attempt.polls + 1, workerid
                polled.append(attempt.task())
        return polled

    async def update_task_v2(self, body: TaskResult) -> None:
        self._refuse_if_down()
        if self.state == "refuses results":
            raise ApiException(status=503, reason="busy")
        attempt = self.attempts[body.task_id]
        if attempt.status in ("SCHEDULED", "IN_PROGRESS"):
            self._note(attempt, body)
        if self.state == "answers get lost":
            raise ApiException(status=0, reason="connection reset")

    def _note(self, attempt: Attempt, result: TaskResult) -> None:
        attempt.output = result.output_data
        if result.status == "FAILED":
            self.fail(attempt, "FAILED")
        elif result.status == "IN_PROGRESS":
            attempt.status = "SCHEDULED"
            asyncio.get_running_loop().call_later(result.callback_after_seconds, self._enqueue, attempt)
        else:
            attempt.status = result.status
            self.ended[attempt.target] = attempt

    def _enqueue(self, attempt: Attempt) -> None:
        self.queue.append(attempt.task_id)

    async def _read(self, _path: str, _method: str, params: dict[str, str], **_: Any) -> Task | dict[str, str]:
        self._refuse_if_down()
        if "workflowId" in params:
            return {"status": "RUNNING"}
        return self.attempts[params["taskId"]].task()

    def _refuse_if_down(self) -> None:
        if self.state == "down":
            raise ApiException(status=0, reason="connection refused")


class DeliveryMachine(RuleBasedStateMachine):
    """One worker, which may be killed and started again, and its tasks: each changes a target of its own."""

    poller_type = Poller

    def __init__(self) -> None:
        super().__init__()
        self.clock = VIRTUAL_TIME.clock = Clock()
        self.loop = VirtualLoop(self.clock)
        self.folder = Path(tempfile.mkdtemp())
        self.engine, self.dialpad = Engine(), Dialpad()
        self.client = self.loop.run_until_complete(
            DialpadClient(SETTINGS, httpx.MockTransport(self.dialpad.respond)).__aenter__()
        )
        self.runs: Counter[str] = Counter()
        self.running: Counter[str] = Counter()  # by attempt
        self.workers = itertools.count()
        self.kept: dict[str, int] = {}  # how often a target had been patched when the store got its result
        self.numbers = itertools.count(1)
        self._start_worker()

    def _start_worker(self) -> None:
        metrics = Metrics()
        credentials = Credentials(environ={"DIALPAD_API_KEY": "a-key"})
        tools = Tools(SETTINGS, self.client, credentials, Limiter(SETTINGS, clock=self.clock), metrics)
        store = UndeliveredResults(self.folder)
        self.identity = f"worker {next(self.workers)}"
        handle = make_handler(TASK_TYPE, tools, self.engine, store, self.identity)

        async def counted(polled: Polled) -> TaskResult:
            self.runs[polled.task.input_data["target_id"]] += 1
            self.running[polled.task.task_id] += 1
            try:
                return self.alter(await handle(polled))
            finally:
                self.running[polled.task.task_id] -= 1

        async def keep(task: Task, result: TaskResult) -> None:
            await self.keep(store, task, result)
            if result.output_data.get("outcome") == "updated":
                target = task.input_data["target_id"]
                self.kept.setdefault(target, self.dialpad.patches[target])

        self.poller = self.poller_type(TASK_TYPE, counted, keep, self.engine, self.identity, SETTINGS, metrics)
        self.worker = self.loop.create_task(self.poller.run())

    async def keep(self, store: UndeliveredResults, task: Task, result: TaskResult) -> None:
        await store.store(task, result)

    def alter(self, result: TaskResult) -> TaskResult:
        return result

    def _let(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @rule(guarded=st.booleans())
    def start_task(self, *, guarded: bool, domain: str | None = None) -> None:
        target = str(next(self.numbers))
        self.dialpad.selected[target] = OLD
        payload = {"target_type": "callcenter", "target_id": target, "ivr_type": "HOLD_MUSIC", "ivr_id": OURS}
        self.engine.start(payload | ({"if_selected": [OLD]} if guarded else {}), domain=domain)
        self._let(0.5)

    @rule(seconds=st.floats(0.1, 90))
    def time_passes(self, seconds: float) -> None:
        self._let(seconds)

    @rule(state=st.sampled_from(["up", "up", "answers get lost", "not reached", "fails"]))
    def dialpad_becomes(self, state: DialpadState) -> None:
        self.dialpad.state = state

    @rule(state=st.sampled_from(["up", "up", "down", "refuses results", "answers get lost"]))
    def engine_becomes(self, state: EngineState) -> None:
        self.engine.state = state

    def _reported_or_lost(self) -> list[Attempt]:
        """What may time out: the response timeout is longer than any run."""
        return [attempt for attempt in self.engine.in_progress() if not self.running[attempt.task_id]]

    def _held(self) -> list[Attempt]:
        """What this worker has: the engine dispatches a task twice within milliseconds, and not much later."""
        return [attempt for attempt in self.engine.in_progress() if attempt.worker == self.identity]

    @precondition(lambda self: self._reported_or_lost())
    @rule(number=st.integers(0, 20))
    def response_timeout(self, number: int) -> None:
        attempts = self._reported_or_lost()
        self.engine.fail(attempts[number % len(attempts)], "TIMED_OUT")

    @precondition(lambda self: self._held())
    @rule(number=st.integers(0, 20))
    def dispatch_again(self, number: int) -> None:
        attempts = self._held()
        self.engine.queue.append(attempts[number % len(attempts)].task_id)
        self._let(0.01)

    @precondition(lambda self: self.dialpad.selected)
    @rule(number=st.integers(0, 20), ivr=st.sampled_from([OURS, THEIRS]))
    def colleague_selects(self, number: int, ivr: str) -> None:
        targets = list(self.dialpad.selected)
        target = targets[number % len(targets)]
        self.dialpad.selected[target] = ivr
        # Of a worker that was killed nobody knows whether it made the change: as it is found selected, it counts.
        self.dialpad.made[target] += ivr == OURS

    @rule()
    def kill_worker(self) -> None:
        self.worker.cancel()
        self.loop.run_until_complete(asyncio.wait([self.worker]))
        self.engine.queue = deque(i for i in self.engine.queue if self.engine.attempts[i].status == "SCHEDULED")
        self._start_worker()

    @invariant()
    def no_success_without_the_change(self) -> None:
        for attempt in self.engine.ended.values():
            if attempt.output.get("outcome") == "updated":
                assert self.dialpad.made[attempt.target] > 0
            if attempt.status == "COMPLETED":
                assert attempt.output["outcome"] in ("updated", "unchanged")

    @invariant()
    def what_was_changed_is_not_reported_as_unchanged(self) -> None:
        """An override restores what it has changed, and only that."""
        for attempt in self.engine.ended.values():
            assert attempt.output.get("outcome") != "unchanged" or attempt.target not in self.dialpad.changed

    @invariant()
    def a_delivery_sends_one_patch_at_most(self) -> None:
        for target, patches in self.dialpad.patches.items():
            assert patches <= self.runs[target]

    @invariant()
    def an_attempt_runs_once_at_a_time(self) -> None:
        assert max(self.running.values(), default=0) <= 1

    @invariant()
    def what_was_made_and_kept_is_not_sent_again(self) -> None:
        for target, patches in self.kept.items():
            assert self.dialpad.patches[target] == patches

    def teardown(self) -> None:
        try:
            self.engine.state = self.dialpad.state = "up"
            for _ in range(RETRIES + 2):
                self._let(300)
                assert self.poller.in_flight == 0, "a result is not reported, although the engine is up"
                for attempt in self.engine.in_progress():
                    assert attempt.worker != self.identity, "a result was not reported, although the worker lives"
                    self.engine.fail(attempt, "TIMED_OUT")
            assert len(self.engine.ended) == len(self.dialpad.selected)
            self.no_success_without_the_change()
            self.what_was_changed_is_not_reported_as_unchanged()
            self.a_delivery_sends_one_patch_at_most()
            self.what_was_made_and_kept_is_not_sent_again()
        finally:
            self.worker.cancel()
            self.loop.run_until_complete(asyncio.wait([self.worker]))
            self.loop.run_until_complete(self.client.__aexit__(None, None, None))
            self.loop.close()
            shutil.rmtree(self.folder)


@pytest.mark.parametrize("runs", [10, pytest.param(2000, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
def test_no_interleaving_breaks_a_rule(runs: int) -> None:
    explore(DeliveryMachine, runs)


class ResultNotKept(DeliveryMachine):
    async def keep(self, store: UndeliveredResults, task: Task, result: TaskResult) -> None:
        pass


class ResultDropped(DeliveryMachine):
    class poller_type(Poller):  # noqa: N801
        async def _send_until_accepted(self, *_: Any) -> None:
            return None


class RunTwice(DeliveryMachine):
    class poller_type(Poller):  # noqa: N801
        async def _run_once(self, polled: Polled) -> TaskResult:
            return await self._handle(polled)


class FailureReportedAsSuccess(DeliveryMachine):
    def alter(self, result: TaskResult) -> TaskResult:
        if result.status == "FAILED":
            result.status, result.output_data["outcome"] = "COMPLETED", "updated"
        return result


@pytest.mark.long
@pytest.mark.parametrize("faulty", [ResultNotKept, ResultDropped, RunTwice, FailureReportedAsSuccess])
def test_a_planted_fault_is_found(faulty: type[DeliveryMachine]) -> None:
    with pytest.raises(AssertionError):
        explore(faulty, 1000, shrink=False)


def test_a_change_that_was_made_after_a_deferral_and_never_reported_is_not_taken_for_somebody_elses() -> None:
    machine = DeliveryMachine()
    machine.dialpad_becomes("fails")
    machine.start_task(guarded=True, domain="bulk")  # deferred: it could not be read what is selected
    machine.time_passes(1)
    machine.engine_becomes("refuses results")
    machine.dialpad_becomes("changes get no answer")
    machine.time_passes(10)
    machine.response_timeout(0)
    machine.engine_becomes("up")
    machine.dialpad_becomes("up")
    machine.teardown()
    assert machine.dialpad.changed == set(machine.engine.ended)
