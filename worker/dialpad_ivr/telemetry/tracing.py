"""Spans through the OpenTelemetry API; its SDK is imported only where an `OTEL_` variable asks for traces.

    process set_custom_ivr                                            CONSUMER   one delivery of a task
    +-- PATCH /api/v2/customivrs/{target_type}/{target_id}/{ivr_type}   CLIENT   one call to Dialpad

Names and attributes follow OpenTelemetry's conventions for messaging (the engine's queue) and for HTTP; the others are
`dialpad_ivr.*`. The engine propagates no trace context, so a delivery starts a trace of its own; those of one workflow
share `messaging.message.conversation_id`.

A span holds names, numbers and the ids of a valid input: an id opens nothing without a key. It holds no header, body,
message or invalid input: people paste keys where they do not belong.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

import structlog
from opentelemetry import trace

from dialpad_ivr import __version__
from dialpad_ivr.contract.targets import NUMBER_PATH
from dialpad_ivr.dialpad.calls import Request
from dialpad_ivr.dialpad.client import CallError
from dialpad_ivr.telemetry.logs import get_logger
from dialpad_ivr.telemetry.metrics import WAITING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

# For the last spans, when the worker stops: all tasks are reported by then, so it takes none of their time.
_FLUSH_SECONDS: Final = 3.0
_EXPORTERS: Final = "opentelemetry_traces_exporter"
_SHOWN_PARAMETERS: Final = ("target_type", "target_id", "ivr_type", "office_id")  # ids and documented values
_INPUT_ATTRIBUTES: Final = ("target_type", "target_id", "ivr_type", "ivr_id", "mode")


class Tracing:
    """A span for each delivery of a task and each call.

    Args:
        provider: Where spans go; by default nowhere.
    """

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        provider = provider or trace.NoOpTracerProvider()
        self._tracer = provider.get_tracer("dialpad_ivr", __version__, "https://opentelemetry.io/schemas/1.37.0")

    @contextmanager
    def task(
        self, task_type: str, task: Any, client_id: str
    ) -> Iterator[Callable[[Mapping[str, Any], int | None], None]]:
        """The span of one delivery of a task.

        Args:
            task_type: The task's type.
            task: The task as it was polled.
            client_id: The worker's name.

        Yields:
            A function that records the task's output, and the callback seconds if it is deferred.
        """
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
        with self._span(f"process {task_type}", trace.SpanKind.CONSUMER, attributes) as span:

            def record(output: Mapping[str, Any], callback_seconds: int | None) -> None:
                code = (output.get("error") or {}).get("code")
                if output.get("outcome") is None:
                    span.set_attribute("dialpad_ivr.outcome", WAITING)
                    span.add_event("dialpad_ivr.deferred", _known({"code": code, "seconds": callback_seconds}))
                    return
                span.set_attribute("dialpad_ivr.outcome", output["outcome"])
                counts = {f"dialpad_ivr.{name}": output.get(name) for name in ("attempts", "waited_ms")}
                span.set_attributes(_known(counts))
                if not output.get("ok"):
                    _set_error(span, code or output["outcome"])

            yield record

    def record_input(self, valid_input: object) -> None:
        """Record a valid input in the span of its task."""
        values = {f"dialpad_ivr.{name}": getattr(valid_input, name, None) for name in _INPUT_ATTRIBUTES}
        trace.get_current_span().set_attributes(_known(values))

    @contextmanager
    def call(self, request: Request, *, waited_seconds: float, resent: int) -> Iterator[Callable[[int], None]]:
        """The span of one call to Dialpad.

        Args:
            request: The request.
            waited_seconds: How long its permit was waited for.
            resent: How often it was sent before.

        Yields:
            A function that records the response's status code.
        """
        url = urlsplit(request.url)
        attributes = {
            "http.request.method": request.method,
            "http.request.resend_count": resent or None,
            "server.address": url.hostname,
            "server.port": url.port or (443 if url.scheme == "https" else 80),
            "url.full": _without_names(url, request.template),
            "url.template": request.template,
            "dialpad_ivr.permit.waited_seconds": round(waited_seconds, 3),
        }
        with self._span(f"{request.method} {request.template}", trace.SpanKind.CLIENT, attributes) as span:

            def record(status_code: int) -> None:
                span.set_attribute("http.response.status_code", status_code)
                if status_code >= 400:
                    _set_error(span, str(status_code))

            yield record

    @contextmanager
    def _span(self, name: str, kind: trace.SpanKind, attributes: dict[str, Any]) -> Iterator[trace.Span]:
        """A span that is the current one, in logs too. Of an exception it records the name or code only."""
        with self._tracer.start_as_current_span(
            name, kind=kind, attributes=_known(attributes), record_exception=False, set_status_on_exception=False
        ) as span:
            if not span.is_recording():
                yield span
                return
            context = span.get_span_context()
            ids = {
                "trace_id": trace.format_trace_id(context.trace_id),
                "span_id": trace.format_span_id(context.span_id),
            }
            with structlog.contextvars.bound_contextvars(**ids):
                try:
                    yield span
                except BaseException as exc:
                    _set_error(span, exc.code if isinstance(exc, CallError) else type(exc).__name__)
                    raise


def _set_error(span: trace.Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(trace.StatusCode.ERROR)


def _known(values: dict[str, Any]) -> dict[str, Any]:
    """The attributes that have a value."""
    return {name: value for name, value in values.items() if value is not None}


def _without_names(url: SplitResult, template: str) -> str:
    """A URL without what people or Dialpad may have written into it: a name, an address, a phone number, a cursor."""
    path = f"{url.path.rpartition('/')[0]}/REDACTED" if template == NUMBER_PATH else url.path
    given = parse_qsl(url.query, keep_blank_values=True)
    query = urlencode([(name, value if name in _SHOWN_PARAMETERS else "REDACTED") for name, value in given])
    return url._replace(path=path, query=query).geturl()


@contextmanager
def tracing() -> Iterator[Tracing]:
    """Tracing as the environment configures it; exports the last spans at the end, for a few seconds at most.

    A thread of its own exports spans, and drops them if they are not accepted: no task waits for a collector.
    """
    provider = _provider()
    try:
        yield Tracing(provider)
    finally:
        if provider is not None:
            flushing = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
            flushing.start()
            flushing.join(_FLUSH_SECONDS)
            if flushing.is_alive():
                get_logger().warning("tracing_flush_timeout", seconds=_FLUSH_SECONDS)


def _provider() -> TracerProvider | None:
    """A provider as OpenTelemetry's own variables configure it; `None` if they ask for no traces, or are unusable.

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
        log.warning("tracing_unavailable", exporters=names, hint="pip install 'dialpad-ivr[otel]'")
        return None
    # Warnings are the exporter's retries, and headers that it cannot read.
    for name in ("opentelemetry.exporter", "opentelemetry.util"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        defaults = Resource.create({"service.name": "dialpad-ivr", "service.version": __version__})
        provider = TracerProvider(resource=defaults.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        for name in names:
            (found,) = entry_points(group=_EXPORTERS, name=name)
            provider.add_span_processor(BatchSpanProcessor(found.load()()))
    except Exception as exc:  # noqa: BLE001  # whatever is wrong with them: it is no reason not to work
        installed = sorted(entry_points(group=_EXPORTERS).names)
        cause = type(exc).__name__
        hint = "check the OTEL_ variables"
        log.warning("tracing_unavailable", exporters=names, installed=installed, cause=cause, hint=hint)
        return None
    log.info("tracing_started", exporters=names)
    return provider


def _exporters() -> list[str]:
    """The names of the configured exporters, as packages register them.

    OpenTelemetry's default is to export to a collector on this machine; here nothing is exported unless configured.
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
