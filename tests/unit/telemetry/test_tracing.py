"""Traces: the spans, what they hold and what not, and their cost for a worker without a collector."""

from __future__ import annotations

import logging
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from conductor.client.http.models import Task, TaskResult
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from dialpad_ivr.contract.values import LIST_PATH, LIST_TASK_TYPE, PATCH_PATH, TASK_TYPE
from dialpad_ivr.credentials import Credentials
from dialpad_ivr.dialpad.calls import Calls, Request
from dialpad_ivr.dialpad.client import DialpadClient
from dialpad_ivr.pacing.limiter import Limiter
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks import set_custom_ivr as set_task
from dialpad_ivr.tasks.tools import Tools
from dialpad_ivr.telemetry import tracing
from dialpad_ivr.telemetry.metrics import Metrics
from dialpad_ivr.telemetry.tracing import Tracing
from dialpad_ivr.testing.double import DoubleControl
from dialpad_ivr.worker.engine_client import open_engine_client
from dialpad_ivr.worker.handler import make_handler
from dialpad_ivr.worker.mapping import Polled
from dialpad_ivr.worker.undelivered import UndeliveredResults
from support.bench import VALID, Handler, streamed
from support.canary import leaks, marked_key
from support.collector import running_collector
from support.docs import ROOT
from support.provisioning import change, target
from support.worker import KEYS

KEY = next(iter(KEYS))  # that of the double


class Traced:
    """Polled tasks, run as the worker runs them, and the spans that came of it."""

    def __init__(self, settings: Settings, key: str = KEY, handler: Handler | None = None) -> None:
        self.settings = settings
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(provider)
        self._pacer = Limiter(settings)
        self._key = key
        self._handler = handler

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        assert self._handler is not None
        answer = self._handler(request)
        assert isinstance(answer, httpx.Response)
        return streamed(answer)

    async def run(self, raw: Any, task_type: str = TASK_TYPE, **polled: Any) -> TaskResult:
        task = Task(task_id="t-1", workflow_instance_id="w-1", reference_task_name="set_ivr", input_data=raw)
        task.retry_count, task.poll_count = 0, 1
        for name, value in polled.items():
            setattr(task, name, value)
        transport = httpx.MockTransport(self._handle) if self._handler else None
        async with DialpadClient(self.settings, transport) as client:
            credentials = Credentials(environ={"DIALPAD_API_KEY": self._key})
            tools = Tools(self.settings, client, credentials, self._pacer, Metrics(), self.tracing)
            async with open_engine_client(self.settings) as engine:
                handle = make_handler(task_type, tools, engine, UndeliveredResults(None), "worker-1")
                report = await handle(Polled(task, time.monotonic()))
        return report

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Those that ended, the first one first; a task's is behind its calls'."""
        return self.exporter.get_finished_spans()


@pytest.fixture
def traced(double: DoubleControl) -> Traced:
    double.set_state(synthetic=5)
    return Traced(Settings(api_url=double.url, allow_loopback=True))


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_task_and_its_call_are_spans_by_the_conventions(traced: Traced, double: DoubleControl) -> None:
    report = await traced.run(change(0), retry_count=2, poll_count=3)
    assert report.output_data["outcome"] == "updated"
    call, task = traced.spans
    assert (task.name, task.kind, task.parent) == ("process set_custom_ivr", SpanKind.CONSUMER, None)
    attributes = attributes_of(task)
    assert attributes.pop("messaging.client.id") == report.worker_id
    assert attributes == {
        "messaging.system": "conductor",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": "set_custom_ivr",
        "messaging.message.id": "t-1",
        "messaging.message.conversation_id": "w-1",
        "dialpad_ivr.task.reference": "set_ivr",
        "dialpad_ivr.task.retry_count": 2,
        "dialpad_ivr.task.poll_count": 3,
        **{f"dialpad_ivr.{name}": change(0)[name] for name in ("target_type", "target_id", "ivr_type", "ivr_id")},
        "dialpad_ivr.mode": "apply",
        "dialpad_ivr.outcome": "updated",
        "dialpad_ivr.attempts": 1,
        "dialpad_ivr.waited_ms": report.output_data["waited_ms"],
    }
    assert (call.name, call.kind) == (f"PATCH {PATCH_PATH}", SpanKind.CLIENT)
    assert call.parent is not None
    assert task.context is not None
    assert (call.parent.trace_id, call.parent.span_id) == (task.context.trace_id, task.context.span_id)
    url = httpx.URL(double.url)
    assert attributes_of(call) == {
        "http.request.method": "PATCH",
        "http.response.status_code": 200,
        "server.address": url.host,
        "server.port": url.port,
        "url.full": report.output_data["request"]["url"],
        "url.template": PATCH_PATH,
        "dialpad_ivr.permit.waited_seconds": pytest.approx(0, abs=0.5),
    }
    assert task.status.status_code is call.status.status_code is StatusCode.UNSET


async def test_each_page_of_a_list_is_a_call_and_its_cursor_is_redacted() -> None:
    pages = iter([{"items": [], "cursor": "what Dialpad wrote"}, {"items": []}])
    traced = Traced(Settings(), handler=lambda _: httpx.Response(200, json=next(pages)))
    await traced.run({"target_type": "user", "target_id": "7"}, LIST_TASK_TYPE)
    first, second, task = traced.spans
    assert task.name == "process list_custom_ivrs"
    assert first.name == second.name == f"GET {LIST_PATH}"
    start = f"https://dialpad.com{LIST_PATH}?target_type=user&target_id=7"
    assert [attributes_of(span)["url.full"] for span in (first, second)] == [start, f"{start}&cursor=REDACTED"]
    assert attributes_of(first)["server.port"] == 443
    assert not any("http.request.resend_count" in attributes_of(span) for span in traced.spans)


CALLS = Calls("https://dialpad.com")


@pytest.mark.parametrize(
    ("request_", "shown"),
    [
        (CALLS.prepare_get_number("+14155551002"), "/api/v2/numbers/REDACTED"),
        (CALLS.prepare_list_users(email="a@example.com"), "/api/v2/users?email=REDACTED"),
        (CALLS.prepare_list_users(number="+14155551002"), "/api/v2/users?number=REDACTED"),
        (CALLS.prepare_list_call_centers(name_search="Robin"), "/api/v2/callcenters?name_search=REDACTED"),
        (CALLS.prepare_list_rooms(office_id="7"), "/api/v2/rooms?office_id=7"),
        (CALLS.prepare_list_office_call_centers("7"), "/api/v2/offices/7/callcenters"),
    ],
)
def test_a_span_shows_ids_but_no_name_address_or_number(request_: Request, shown: str) -> None:
    traced = Traced(Settings())
    with traced.tracing.call(request_, waited_seconds=0, resent=0):
        pass
    (call,) = traced.spans
    assert attributes_of(call)["url.full"] == f"https://dialpad.com{shown}"


async def test_an_error_response_is_an_error_of_both_spans(traced: Traced) -> None:
    await traced.run(change(99))
    call, task = traced.spans
    assert (attributes_of(call)["http.response.status_code"], attributes_of(call)["error.type"]) == (404, "404")
    assert (attributes_of(task)["dialpad_ivr.outcome"], attributes_of(task)["error.type"]) == ("not_found", "http_404")
    assert call.status.status_code is task.status.status_code is StatusCode.ERROR
    assert call.status.description is task.status.description is None


async def test_a_call_without_an_answer_says_why_and_has_no_status(free_port: int) -> None:
    traced = Traced(Settings(api_url=f"http://127.0.0.1:{free_port}", allow_loopback=True))
    await traced.run(VALID, retry_count=1, output_data={"attempts": 1})
    call, task = traced.spans
    assert attributes_of(call)["error.type"] == attributes_of(task)["error.type"] == "connect_failed"
    assert "http.response.status_code" not in attributes_of(call)
    assert attributes_of(task)["dialpad_ivr.outcome"] == "unavailable"
    assert call.status.status_code is StatusCode.ERROR
    assert not call.events


async def test_a_429_defers_the_task_and_the_next_call_counts_as_resent(traced: Traced, double: DoubleControl) -> None:
    double.add_faults({"fault": "rate_limited", "retry_after": 2, "times": 1})
    waiting = await traced.run(change(0))
    assert waiting.status == "IN_PROGRESS"
    refused, first = traced.spans
    assert (attributes_of(refused)["error.type"], refused.status.status_code) == ("429", StatusCode.ERROR)
    assert (attributes_of(first)["dialpad_ivr.outcome"], first.status.status_code) == ("waiting", StatusCode.UNSET)
    (event,) = first.events
    assert event.name == "dialpad_ivr.deferred"
    assert dict(event.attributes or {}) == {"code": "http_429", "seconds": waiting.callback_after_seconds}
    await traced.run(change(0), poll_count=2, output_data=waiting.output_data)
    again, second = traced.spans[2:]
    assert "http.request.resend_count" not in attributes_of(refused)
    assert attributes_of(again)["http.request.resend_count"] == 1
    assert attributes_of(again)["dialpad_ivr.permit.waited_seconds"] > 0  # for the end of the pause
    assert attributes_of(second)["dialpad_ivr.outcome"] == "updated"
    assert attributes_of(second)["messaging.message.id"] == attributes_of(first)["messaging.message.id"]


async def test_a_deferred_permit_is_an_event_and_no_call(double: DoubleControl) -> None:
    double.set_state(synthetic=2)
    paced = {"company_limit": 1, "company_window_seconds": 60, "max_inline_wait_seconds": 0}
    traced = Traced(Settings(api_url=double.url, allow_loopback=True, **paced))  # type: ignore[arg-type]
    await traced.run(change(0))
    await traced.run(change(1))
    _, _, held = traced.spans
    assert held.kind is SpanKind.CONSUMER
    assert attributes_of(held)["dialpad_ivr.target_id"] == target(1)
    (event,) = held.events
    assert dict(event.attributes or {})["code"] == "paced"
    assert held.status.status_code is StatusCode.UNSET


async def test_without_a_provider_a_task_runs_and_no_trace_id_is_logged() -> None:
    with Tracing().task("t", Task(task_id="1"), "c") as record:
        assert "trace_id" not in structlog.contextvars.get_contextvars()
        record({"outcome": "updated", "ok": True}, None)


async def test_an_invalid_input_is_an_error_and_not_recorded(traced: Traced) -> None:
    pasted = marked_key("pasted")
    await traced.run({"target_type": pasted, "target_id": pasted, pasted: pasted, "credential": pasted})
    (task,) = traced.spans
    assert attributes_of(task)["error.type"] == "invalid_input"
    assert not any(name in attributes_of(task) for name in ("dialpad_ivr.target_type", "dialpad_ivr.target_id"))
    assert leaks({"pasted": pasted}, {"spans": task.to_json().encode()}) == []


async def test_a_bug_is_an_error_without_its_message(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(*_: Any) -> None:
        raise RuntimeError("values")

    monkeypatch.setattr(set_task, "patch_verdict", buggy)
    await traced.run(change(0))
    _, task = traced.spans
    assert attributes_of(task)["error.type"] == "internal_error"
    assert "values" not in task.to_json()


async def test_no_span_holds_the_key_whatever_dialpad_answers_and_wherever_somebody_put_it() -> None:
    key = marked_key("spans")
    echo = {"x": key, "error": {"message": f"Bearer {key}"}, "cursor": key}
    headers = {"retry-after": "1", "location": f"https://x/?apikey={key}", "x-request-id": key}

    def lost(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError(f"lost {key}", request=request)

    def answering(status: int) -> Callable[[httpx.Request], httpx.Response]:
        return lambda _: httpx.Response(status, json=echo, headers=headers)

    seen: set[str] = set()
    for answer in (lost, *map(answering, (200, 302, 400, 401, 403, 404, 409, 429, 500))):
        traced = Traced(Settings(max_inline_wait_seconds=60), key, answer)
        for raw in (VALID, {**VALID, "mode": "plan"}, {**VALID, "ivr_type": key}, {**VALID, "credential": key}, key):
            await traced.run(raw, retry_count=1)
        await traced.run({"target_type": "user", "target_id": "7", "name": key}, LIST_TASK_TYPE)
        seen |= {attributes_of(span).get("dialpad_ivr.outcome", "") for span in traced.spans}
        places = {f"{span.name} {number}": span.to_json().encode() for number, span in enumerate(traced.spans)}
        assert leaks({"key": key}, places) == []
    assert seen >= {"unauthorized", "invalid_input", "rejected", "waiting", "unavailable", "not_found"}
    assert leaks({"key": key}, {"spans": f"Bearer {key}".encode()})  # the search finds what is there


def test_the_docs_name_every_attribute() -> None:
    source = Path(tracing.__file__).read_text("utf-8")
    attributes = set(re.findall(r'"((?:messaging|http|server|url|dialpad_ivr|error)\.[a-z_.]+[a-z])"', source))
    attributes |= {f"dialpad_ivr.{name}" for name in (*tracing._INPUT_ATTRIBUTES, "attempts", "waited_ms")}
    page = (ROOT / "docs/how-to/observe.md").read_text("utf-8")
    assert len(attributes) > 20
    assert {name for name in attributes if f"`{name}`" not in page} == set()


# What the environment asks for


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    import os

    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("variables", "exporters"),
    [
        ({}, []),
        ({"OTEL_SERVICE_NAME": "x"}, []),
        ({"OTEL_TRACES_EXPORTER": "none", **ENDPOINT}, []),
        ({"OTEL_SDK_DISABLED": "true", **ENDPOINT}, []),
        (ENDPOINT, ["otlp_proto_http"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, ["otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ["otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ["otlp_proto_grpc"]),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, ["console", "otlp_proto_http"]),
    ],
)
def test_traces_are_off_unless_opentelemetrys_own_variables_ask_for_them(
    environ: pytest.MonkeyPatch, variables: dict[str, str], exporters: list[str]
) -> None:
    for name, value in variables.items():
        environ.setenv(name, value)
    assert tracing._exporters() == exporters
    if not exporters:
        assert tracing._provider() is None


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_TRACES_EXPORTER": "no-such"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "1", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "9", **ENDPOINT},
    ],
)
def test_unusable_variables_disable_traces_and_not_the_worker(
    environ: pytest.MonkeyPatch, variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in variables.items():
        environ.setenv(name, value)
    assert tracing._provider() is None
    said = capsys.readouterr()
    assert "tracing_unavailable" in said.out + said.err


WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("opentelemetry.sdk"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from dialpad_ivr.telemetry.tracing import tracing
with tracing():
    pass
"""


def test_a_worker_without_the_extra_says_how_to_get_it_and_works(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("OTEL_TRACES_EXPORTER", "otlp")
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'dialpad-ivr[otel]'" in done.stdout + done.stderr


def test_a_worker_without_traces_does_not_import_the_sdk() -> None:
    code = (
        "import sys; from dialpad_ivr.cli import worker\n"
        "from dialpad_ivr.telemetry import tracing\nwith tracing.tracing(): pass\n"
        "print(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env={"PATH": ""}
    )
    assert done.stdout == "False\n"


@pytest.fixture
def loggers() -> Iterator[None]:
    """Their levels are the process's."""
    kept = {name: logging.getLogger(name).level for name in ("opentelemetry.exporter", "opentelemetry.util")}
    yield
    for name, level in kept.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("loggers")
def test_the_last_spans_are_sent_before_the_end_and_name_their_service(environ: pytest.MonkeyPatch) -> None:
    with running_collector() as collector:
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        environ.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        with tracing.tracing() as traces, traces.task("t", Task(task_id="1"), "c"):
            pass
        assert [span.name for span in collector.spans] == ["process t"]
        (resource,) = collector.resources
        assert resource["service.name"] == "dialpad-ivr"
        assert resource["deployment.environment.name"] == "test"
        environ.setenv("OTEL_SERVICE_NAME", "ours")
        with tracing.tracing() as traces, traces.task("t", Task(task_id="2"), "c"):
            pass
        assert collector.resources[-1]["service.name"] == "ours"


@pytest.mark.usefixtures("loggers")
@pytest.mark.parametrize("silent", [False, pytest.param(True, marks=pytest.mark.long)], ids=["away", "silent"])
def test_an_unavailable_or_silent_collector_blocks_nothing(
    environ: pytest.MonkeyPatch, free_port: int, silent: bool
) -> None:
    environ.setattr(tracing, "_FLUSH_SECONDS", 0.3)
    environ.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    environ.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2")
    environ.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
    environ.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
    listening = socket.create_server(("127.0.0.1", 0))
    with listening:
        port = listening.getsockname()[1] if silent else free_port
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        with tracing.tracing() as traces:
            started = time.monotonic()
            for number in range(200):  # more than are kept
                with traces.task("t", Task(task_id=str(number)), "c"):
                    pass
            assert time.monotonic() - started < 2
            ending = time.monotonic()
        assert 0.25 < time.monotonic() - ending < 2
    # The exporter draws from `random` between its attempts, and other tests' examples are drawn from there too.
    for thread in threading.enumerate():
        if thread.name in ("last spans", "OtelBatchSpanRecordProcessor"):
            thread.join(20)
            assert not thread.is_alive()
