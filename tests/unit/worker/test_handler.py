"""A polled task, handled: run, answered from an undelivered result, deferred, or failed by a bug."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from conductor.client.http.models import Task, TaskDef, TaskResult, WorkflowTask
from structlog.testing import capture_logs

from dialpad_ivr.contract.outputs import SetCustomIvrOutput, TaskError
from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.credentials import Credentials
from dialpad_ivr.dialpad.client import DialpadClient
from dialpad_ivr.engine.definitions import task_definition
from dialpad_ivr.pacing.limiter import Limiter, PermitDeferredError
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.registry import TASKS
from dialpad_ivr.tasks.result import Result
from dialpad_ivr.tasks.tools import Tools
from dialpad_ivr.telemetry.metrics import Metrics
from dialpad_ivr.worker import ended, run
from dialpad_ivr.worker import handler as handler_module
from dialpad_ivr.worker.handler import make_handler
from dialpad_ivr.worker.mapping import Polled, completed, deferred, to_delivery, to_task_result
from dialpad_ivr.worker.undelivered import UndeliveredResults
from support.bench import KEY, VALID

UPDATED = SetCustomIvrOutput(outcome="updated", ok=True).model_dump(mode="json")


def task(**fields: Any) -> Task:
    return Task(**{"task_id": "t", "workflow_instance_id": "w", "input_data": VALID, **fields})


class Handled:
    """A handler whose Dialpad is a function, and whose engine knows one previous attempt."""

    def __init__(self, client: DialpadClient, settings: Settings, previous: Task | None) -> None:
        self.metrics = Metrics()
        self.undelivered = UndeliveredResults()
        credentials = Credentials(environ={"DIALPAD_API_KEY": KEY})
        tools = Tools(settings, client, credentials, Limiter(settings), self.metrics)
        self.handle = make_handler(TASK_TYPE, tools, previous, self.undelivered, "worker-1")

    async def __call__(self, one: Task) -> TaskResult:
        return await self.handle(Polled(one, time.monotonic()))


@pytest.fixture
def sent() -> list[httpx.Request]:
    return []


@pytest.fixture
async def client(settings: Settings, sent: list[httpx.Request]) -> AsyncIterator[DialpadClient]:
    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        ivrs = [{"id": VALID["ivr_id"], "name": "New", "selected": True}]
        body = {"ivr_type": VALID["ivr_type"], "ivrs": ivrs}
        return httpx.Response(200, stream=httpx.ByteStream(httpx.Response(200, json=body).content))

    async with DialpadClient(settings, httpx.MockTransport(respond)) as dialpad:
        yield dialpad


@pytest.fixture(autouse=True)
def _known_previous(monkeypatch: pytest.MonkeyPatch) -> None:
    async def known(previous: Task | None, one: Task) -> Task | None:
        return previous if one.retried_task_id else None

    monkeypatch.setattr(handler_module, "previous_attempt", known)


async def test_a_task_is_run_counted_logged_and_reported(
    client: DialpadClient, settings: Settings, sent: list[httpx.Request]
) -> None:
    handled = Handled(client, settings, None)
    with capture_logs() as logs:
        result = await handled(task())
    assert (result.task_id, result.workflow_instance_id, result.worker_id) == ("t", "w", "worker-1")
    assert (result.status, result.output_data["outcome"]) == ("COMPLETED", "updated")
    assert len(sent) == 1
    (entry,) = logs
    assert (entry["event"], entry["outcome"], entry["status_code"], entry["attempts"]) == (
        "task_done",
        "updated",
        200,
        1,
    )
    labels = {"task": TASK_TYPE, "outcome": "updated"}
    assert handled.metrics.registry.get_sample_value("dialpad_ivr_tasks_total", labels) == 1


async def test_a_retry_is_answered_from_an_undelivered_result_and_nothing_is_sent(
    client: DialpadClient, settings: Settings, sent: list[httpx.Request]
) -> None:
    previous = task(task_id="first", status="TIMED_OUT")
    handled = Handled(client, settings, previous)
    await handled.undelivered.store(
        previous, TaskResult(task_id="first", workflow_instance_id="w", output_data=UPDATED)
    )
    result = await handled(task(retried_task_id="first"))
    assert (result.status, result.output_data["outcome"]) == ("COMPLETED", "updated")
    assert sent == []


@pytest.mark.parametrize(("domain", "calls"), [("bulk", 0), (None, 1)])
async def test_a_task_of_bulk_work_whose_workflow_has_ended_is_given_back_and_nothing_is_sent(
    client: DialpadClient,
    settings: Settings,
    sent: list[httpx.Request],
    monkeypatch: pytest.MonkeyPatch,
    domain: str | None,
    calls: int,
) -> None:
    async def terminated(*_: Any) -> str:
        return "TERMINATED"

    async def evaluated(*_: Any) -> None:
        pass

    monkeypatch.setattr(ended, "workflow_status", terminated)
    monkeypatch.setattr(ended, "evaluate", evaluated)
    with capture_logs() as logs:
        result = await Handled(client, settings, None)(task(domain=domain))
    assert len(sent) == calls
    assert result.status == ("COMPLETED" if calls else "IN_PROGRESS")
    assert [entry["event"] for entry in logs] == ["task_done" if calls else "task_of_ended_workflow"]


async def test_a_deferred_task_is_not_taken_for_a_retry(
    client: DialpadClient, settings: Settings, sent: list[httpx.Request]
) -> None:
    previous = task(task_id="first", status="COMPLETED", output_data=UPDATED)
    result = await Handled(client, settings, previous)(task(retried_task_id="first", output_data={"attempts": 0}))
    assert result.output_data["outcome"] == "updated"
    assert len(sent) == 1


async def test_a_redis_that_does_not_respond_defers_a_retry(
    client: DialpadClient, settings: Settings, sent: list[httpx.Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: Any) -> None:
        raise PermitDeferredError(1, why="Redis")

    handled = Handled(client, settings, task(task_id="first", status="TIMED_OUT"))
    monkeypatch.setattr(handled.undelivered, "answer", unknown)
    result = await handled(task(retried_task_id="first"))
    assert (result.status, result.callback_after_seconds) == ("IN_PROGRESS", 1)
    assert sent == []


async def test_a_bug_fails_the_task_without_values_and_is_logged(
    client: DialpadClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def buggy(*_: Any) -> Result:
        raise RuntimeError(KEY)

    monkeypatch.setitem(TASKS, TASK_TYPE, buggy)
    with capture_logs() as logs:
        result = await Handled(client, settings, None)(task())
    assert (result.status, result.output_data["error"]["code"]) == ("FAILED", "internal_error")
    assert KEY not in str(result.to_dict())
    assert [entry["event"] for entry in logs] == ["task_bug", "task_done"]


# Mapping


def test_a_delivery_carries_what_previous_deliveries_spent(settings: Settings) -> None:
    deferral = task(output_data={"attempts": 2, "waited_ms": 700})
    assert (
        to_delivery(Polled(deferral, 0), None, settings).attempts,
        to_delivery(Polled(deferral, 0), None, settings).waited_ms,
    ) == (2, 700)
    retry, previous = task(output_data={}), task(output_data={"attempts": 1, "waited_ms": "odd"})
    delivery = to_delivery(Polled(retry, 0), previous, settings)
    assert (delivery.attempts, delivery.waited_ms) == (1, 0)


def test_a_delivery_carries_an_outage_and_a_change_without_an_answer(settings: Settings) -> None:
    output = {"attempts": 1, "outage_ms": 90_000, "perhaps_sent": True}
    for one, previous in ((task(output_data=output), None), (task(retry_count=1), task(output_data=output))):
        delivery = to_delivery(Polled(one, 0), previous, settings)
        assert (delivery.outage_ms, delivery.perhaps_sent, delivery.retried) == (90_000, True, previous is not None)
    assert not to_delivery(Polled(task(output_data={"perhaps_sent": "yes"}), 0), None, settings).perhaps_sent


def test_a_first_delivery_that_was_deferred_has_certainly_not_sent_the_change(settings: Settings) -> None:
    output = deferred(task(retry_count=0, poll_count=1), "w").output_data
    again = Polled(task(retry_count=0, poll_count=2, output_data=output), time.monotonic())
    assert not to_delivery(again, None, settings).perhaps_sent
    assert deferred(task(retry_count=1, poll_count=1), "w").output_data == {}


@pytest.mark.parametrize(
    ("fields", "previous", "perhaps_sent"),
    [
        ({"retry_count": 0, "poll_count": 1}, None, False),
        ({"retry_count": 0, "poll_count": 2, "output_data": {"attempts": 0}}, None, False),  # deferred
        ({"retry_count": 1, "poll_count": 1}, {"output_data": {"attempts": 0}}, False),  # failed before it was sent
        ({"retry_count": 1, "poll_count": 1}, {"output_data": {}}, True),  # the worker was killed
        # Deferred, then delivered again, and the worker was killed.
        ({"retry_count": 1, "poll_count": 1}, {"output_data": {"attempts": 0}, "status": "TIMED_OUT"}, True),
        ({"retry_count": 1, "poll_count": 1}, None, True),
        ({"retry_count": 0, "poll_count": 2}, None, True),  # dispatched twice
    ],
)
def test_an_earlier_delivery_without_a_result_may_have_sent_the_change(
    settings: Settings, fields: dict[str, Any], previous: dict[str, Any] | None, *, perhaps_sent: bool
) -> None:
    delivery = to_delivery(Polled(task(**fields), 0), task(**previous) if previous else None, settings)
    assert delivery.perhaps_sent is perhaps_sent


@pytest.mark.parametrize(
    ("logic", "seconds", "failed", "delay"),
    [
        ("FIXED", 2, 0, 2),
        ("FIXED", 90, 3, 90),
        ("EXPONENTIAL_BACKOFF", 2, 0, 2),
        ("EXPONENTIAL_BACKOFF", 2, 3, 16),
        ("EXPONENTIAL_BACKOFF", 2, 5, 60),
        ("EXPONENTIAL_BACKOFF", 2, 5000, 60),
    ],
)
def test_a_retry_is_deferred_for_as_long_as_the_engine_would_wait(
    settings: Settings, logic: str, seconds: int, failed: int, delay: int
) -> None:
    one = task(output_data={"failed_attempts": failed}, retry_count=0)
    one.task_definition = TaskDef(retry_count=6, retry_delay_seconds=seconds, retry_logic=logic)
    delivery = to_delivery(Polled(one, 0), None, settings)
    assert delay <= delivery.retry_seconds <= delay + 2
    assert (delivery.failed_attempts, delivery.retried, delivery.last_attempt) == (failed, failed > 0, failed >= 6)


@pytest.mark.parametrize("seconds", [None, 0])
def test_no_retry_is_deferred_for_less_than_a_second(settings: Settings, seconds: int | None) -> None:
    """The engine would deliver it at once."""
    one = task()
    one.task_definition = TaskDef(retry_count=6, retry_delay_seconds=seconds)
    assert all(1 <= to_delivery(Polled(one, 0), None, settings).retry_seconds <= 2 for _ in range(20))


@pytest.mark.parametrize(
    ("own", "defined", "retry_count", "last"),
    [(None, 3, 2, False), (None, 3, 3, True), (0, 3, 0, True), (5, 3, 3, False), (None, None, None, True)],
)
def test_the_last_attempt_is_the_one_that_no_retry_follows(
    settings: Settings, own: int | None, defined: int | None, retry_count: int | None, *, last: bool
) -> None:
    one = task(retry_count=retry_count)
    one.workflow_task = WorkflowTask("set_custom_ivr", "set_ivr", retry_count=own)
    one.task_definition = TaskDef(retry_count=defined) if defined is not None else None
    assert to_delivery(Polled(one, 0), None, settings).last_attempt is last


@pytest.mark.parametrize(
    ("domain", "bulk"),
    [(None, False), ("night", False), ("bulky", False), ("bulk", True), ("bulk.emea", True), ("night.bulk.emea", True)],
)
def test_a_task_of_a_bulk_domain_is_bulk_work(settings: Settings, domain: str | None, *, bulk: bool) -> None:
    assert to_delivery(Polled(task(domain=domain), 0), None, settings).bulk is bulk


@pytest.mark.parametrize(("lease", "deadline"), [(150, 230.0), (30, 115.0), (0, math.inf), (None, math.inf)])
def test_the_send_deadline_leaves_a_call_the_time_it_needs(
    settings: Settings, lease: int | None, deadline: float
) -> None:
    delivery = to_delivery(Polled(task(response_timeout_seconds=lease), 100), None, settings)
    assert delivery.send_deadline == deadline


def test_a_missing_input_is_an_empty_one_and_any_other_is_passed_on(settings: Settings) -> None:
    assert to_delivery(Polled(task(input_data=None), 0), None, settings).payload == {}
    assert to_delivery(Polled(task(input_data=[7]), 0), None, settings).payload == [7]


def test_a_failure_has_a_reason_and_a_line_in_the_task_log_and_a_success_none() -> None:
    error = TaskError(code="http_404", message="No such target.")
    failed = to_task_result(task(), "me", Result(SetCustomIvrOutput(outcome="not_found", ok=False, error=error)))
    assert failed.status == "FAILED_WITH_TERMINAL_ERROR"
    assert failed.reason_for_incompletion == failed.logs[0].log == "not_found: No such target."
    done = to_task_result(task(), "me", Result(SetCustomIvrOutput(outcome="updated", ok=True)))
    assert (done.status, done.reason_for_incompletion, done.logs) == ("COMPLETED", None, None)


def test_a_waiting_task_has_a_log_line_and_no_reason() -> None:
    error = TaskError(code="paced", message="Waiting.")
    waiting = to_task_result(task(), "me", Result(SetCustomIvrOutput(outcome=None, ok=False, error=error), 4))
    assert (waiting.status, waiting.callback_after_seconds) == ("IN_PROGRESS", 4)
    assert (waiting.reason_for_incompletion, waiting.logs[0].log) == (None, "waiting: Waiting.")


def test_a_task_that_is_not_started_is_returned_untouched() -> None:
    back = deferred(task(output_data={"attempts": 1}), "me")
    assert (back.status, back.output_data, back.callback_after_seconds) == ("IN_PROGRESS", {"attempts": 1}, 1)
    assert completed(task(), "me", UPDATED).output_data == UPDATED


# Process


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        ({}, []),
        ({"deadline_seconds": 60}, ["responseTimeoutSeconds"]),
        ({"waiting_budget_seconds": 3600}, ["timeoutSeconds"]),
        ({"outage_budget_seconds": 6400}, ["timeoutSeconds"]),
        ({"deadline_seconds": 600, "waiting_budget_seconds": 7200}, ["responseTimeoutSeconds", "timeoutSeconds"]),
    ],
)
def test_settings_that_outlast_the_task_definitions_timeouts_are_warned_of(
    changed: dict[str, Any], fields: list[str]
) -> None:
    with capture_logs() as logs:
        run._warn_of_short_timeouts(Settings(**changed))
    assert [entry["field"] for entry in logs] == fields
    assert {entry["event"] for entry in logs} <= {"timeouts_too_short"}
    for entry in logs:
        assert entry["shipped"] == task_definition()[entry["field"]]
        assert entry["needed"] > entry["shipped"]
