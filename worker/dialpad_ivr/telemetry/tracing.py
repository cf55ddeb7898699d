"""Spans for OpenTelemetry, where one of its own variables asks for them; else nothing, not even an import.

    process set_custom_ivr                                            CONSUMER   one delivery of a task
    +-- PATCH /api/v2/customivrs/{target_type}/{target_id}/{ivr_type}   CLIENT   one call to Dialpad

Names and attributes follow OpenTelemetry's conventions, for messaging (the engine's queue) and for HTTP; what they have
no name for is `dialpad_ivr.*`. The engine hands no trace context on, so a delivery begins a trace of its own; those of
one workflow share `messaging.message.conversation_id`.

A span holds names, numbers and ids of what a valid input names: an id opens nothing without a key. It holds no header,
no body, no message and no input that is invalid: people paste keys where they do not belong.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import structlog

from dialpad_ivr import __version__
from dialpad_ivr.dialpad.client import CallError, Request
from dialpad_ivr.telemetry.logs import get_logger
from dialpad_ivr.telemetry.metrics import WAITING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, SpanKind

# For the last spans, when the worker stops: by then all tasks are reported, so it takes nothing of their time.
_FLUSH_SECONDS: Final = 3.0
_EXPORTERS: Final = "opentelemetry_traces_exporter"
_ASKED: Final = ("target_type", "target_id", "ivr_type", "ivr_id", "mode")


class Tracing:
    """No spans. What is done where no exporter is configured; `Spans` makes them."""

    @contextmanager
    def task(
        self, task_type: str, task: Any, client_id: str
    ) -> Iterator[Callable[[Mapping[str, Any], int | None], None]]:
        """The span of one delivery of a task; the function it yields takes what the engine is told.

        Args:
            task_type: The task's type.
            task: The task as it was polled.
            client_id: The worker's name.

        Yields:
            A function of the task's output, and the seconds until it is delivered again, if it waits.
        """
        yield lambda output, callback_seconds: None

    def record_input(self, valid_input: object) -> None:
        """Tell of a valid input, in the span of its task."""

    @contextmanager
    def call(self, request: Request, *, waited_seconds: float, resent: int) -> Iterator[Callable[[int], None]]:
        """The span of one call to Dialpad; the function it yields takes the answer's status.

        Args:
            request: What is sent.
            waited_seconds: How long its permit was waited for.
            resent: How often it was sent before.
        """
        yield lambda status_code: None


class Spans(Tracing):
    """A span for each delivery of a task and each call.

    Args:
        provider: Where spans go.
    """

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace  # noqa: PLC0415  # an optional extra

        self._api = trace
        self._tracer = provider.get_tracer("dialpad_ivr", __version__, "https://opentelemetry.io/schemas/1.37.0")

    @contextmanager
    def task(
        self, task_type: str, task: Any, client_id: str
    ) -> Iterator[Callable[[Mapping[str, Any], int | None], None]]:
        """See `Tracing.task`."""
        attributes = {
            "messaging.system": "conductor",
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
            "messaging.destination.name": task_type,
            "messaging.message.id": task.task_id,
            "messaging.message.conversation_id": task.workflow_instance_id,
            "messaging.client.id": client_id,
            "dialpad_ivr.task.reference": task.reference_task_name,
            "dialpad_ivr.task.retry_count": task.retry_count,
            "dialpad_ivr.task.poll_count": task.poll_count,
        }
        with self._span(f"process {task_type}", self._api.SpanKind.CONSUMER, attributes) as span:

            def told(output: Mapping[str, Any], callback_seconds: int | None) -> None:
                code = (output.get("error") or {}).get("code")
                if output.get("outcome") is None:
                    span.set_attribute("dialpad_ivr.outcome", WAITING)
                    span.add_event("dialpad_ivr.handed_back", _given({"code": code, "seconds": callback_seconds}))
                    return
                span.set_attribute("dialpad_ivr.outcome", output["outcome"])
                span.set_attributes(
                    _given({name: output.get(name) for name in ("attempts", "waited_ms")}, "dialpad_ivr.")
                )
                if not output.get("ok"):
                    self._failed(span, code or output["outcome"])

            yield told

    def record_input(self, valid_input: object) -> None:
        """See `Tracing.asked`."""
        given = {name: getattr(valid_input, name, None) for name in _ASKED}
        self._api.get_current_span().set_attributes(_given(given, "dialpad_ivr."))

    @contextmanager
    def call(self, request: Request, *, waited_seconds: float, resent: int) -> Iterator[Callable[[int], None]]:
        """See `Tracing.call`."""
        url = urlsplit(request.url)
        path, cursor, _ = request.url.partition("&cursor=")
        attributes = {
            "http.request.method": request.method,
            "http.request.resend_count": resent or None,
            "server.address": url.hostname,
            "server.port": url.port or (443 if url.scheme == "https" else 80),
            # What Dialpad wrote into a cursor is not ours to hand on.
            "url.full": f"{path}{cursor and cursor + 'REDACTED'}",
            "url.template": request.template,
            "dialpad_ivr.permit.waited_seconds": round(waited_seconds, 3),
        }
        with self._span(f"{request.method} {request.template}", self._api.SpanKind.CLIENT, attributes) as span:

            def answered(status_code: int) -> None:
                span.set_attribute("http.response.status_code", status_code)
                if status_code >= 400:
                    self._failed(span, str(status_code))

            yield answered

    @contextmanager
    def _span(self, name: str, kind: SpanKind, attributes: dict[str, Any]) -> Iterator[Span]:
        """A span that is the current one, in logs too; an exception leaves its name in it, and no more."""
        with self._tracer.start_as_current_span(
            name, kind=kind, attributes=_given(attributes), record_exception=False, set_status_on_exception=False
        ) as span:
            context = span.get_span_context()
            ids = {
                "trace_id": self._api.format_trace_id(context.trace_id),
                "span_id": self._api.format_span_id(context.span_id),
            }
            with structlog.contextvars.bound_contextvars(**ids):
                try:
                    yield span
                except BaseException as exc:
                    self._failed(span, exc.code if isinstance(exc, CallError) else type(exc).__name__)
                    raise

    def _failed(self, span: Span, kind: str) -> None:
        span.set_attribute("error.type", kind)
        span.set_status(self._api.StatusCode.ERROR)


@contextmanager
def tracing() -> Iterator[Tracing]:
    """What the environment asks for; sends the last spans when the context ends, for a few seconds at most.

    Spans are sent by a thread of their own, which drops them when nobody takes them: no task waits for a collector.
    """
    provider = _provider()
    if provider is None:
        yield Tracing()
        return
    try:
        yield Spans(provider)
    finally:
        flushing = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        flushing.start()
        flushing.join(_FLUSH_SECONDS)
        if flushing.is_alive():
            get_logger().warning("the last spans were not taken in time", after_seconds=_FLUSH_SECONDS)


def _provider() -> TracerProvider | None:
    """As OpenTelemetry's own variables describe it; `None` where they ask for none, or cannot be followed.

    A worker without traces is better than none: these variables are often set for a whole cluster.
    """
    names = _exporters()
    if not names:
        return None
    log = get_logger()
    try:
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415  # an optional extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        log.warning("no traces: their client is missing", exporters=names, hint="pip install 'dialpad-ivr[otel]'")
        return None
    # Below that are its retries, and headers that it cannot read.
    for name in ("opentelemetry.exporter", "opentelemetry.util"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        ours = Resource.create({"service.name": "dialpad-ivr", "service.version": __version__})
        provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        for name in names:
            (found,) = entry_points(group=_EXPORTERS, name=name)
            provider.add_span_processor(BatchSpanProcessor(found.load()()))
    except Exception as exc:  # noqa: BLE001  # whatever is wrong with them: it is no reason not to work
        installed = sorted(entry_points(group=_EXPORTERS).names)
        cause = type(exc).__name__
        log.warning("no traces: check the OTEL_ variables", exporters=names, installed=installed, cause=cause)
        return None
    log.info("traces are exported", exporters=names)
    return provider


def _exporters() -> list[str]:
    """The names of the exporters that are asked for, as packages register them.

    OpenTelemetry's default is to export to a collector on this machine; ours is not to, unless something says so.
    """
    environ = {name: value.strip() for name, value in os.environ.items() if name.startswith("OTEL_")}
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return []
    endpoint = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    named = environ.get("OTEL_TRACES_EXPORTER") or ("otlp" if endpoint else "none")
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    otlp = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    names = [name.strip() for name in named.split(",")]
    return [otlp if name == "otlp" else name for name in names if name not in ("", "none")]


def _given(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Without what is not known; an id of 64 bits may be a text."""
    return {f"{prefix}{name}": value for name, value in values.items() if value is not None}
