"""Traces of a worker as it runs in production, as a collector gets them."""

from __future__ import annotations

import json
import socket
import time

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from dialpad_ivr.testing.double import DoubleControl
from support.canary import leaks
from support.collector import running_collector, values
from support.docs import ROOT, blocks
from support.engine import EngineRest
from support.fixtures import StartWorker
from support.provisioning import change
from support.worker import VAULT_KEY


def test_a_collector_gets_spans_of_tasks_and_calls_that_the_logs_name(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=3)
    double.add_faults({"fault": "status", "status": 503, "times": 1})
    inputs = [change(0, credential="vault"), change(99), {}]
    # Nothing is sent before the end: so what comes was sent by the drain.
    late = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}
    with (
        running_collector() as collector,
        start_worker(DIALPAD_IVR_DOMAIN="traced", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **late) as worker,
    ):
        ended = [
            *engine.ended([engine.start("set_custom_ivr", inputs[0], domain="traced")]),
            *engine.ended([engine.start("set_custom_ivr", payload, domain="traced") for payload in inputs[1:]]),
        ]
        assert collector.spans == []
        assert worker.stop() == 0
    tasks = {
        values(s.attributes)["messaging.message.id"]: s for s in collector.spans if s.kind == Span.SPAN_KIND_CONSUMER
    }
    calls = [span for span in collector.spans if span.kind == Span.SPAN_KIND_CLIENT]
    run = [task for workflow in ended for task in workflow["tasks"]]
    assert set(tasks) == {task["taskId"] for task in run}
    for task in run:
        attributes = values(tasks[task["taskId"]].attributes)
        assert attributes["messaging.message.conversation_id"] == task["workflowInstanceId"]
        assert attributes["dialpad_ivr.task.retry_count"] == task["retryCount"]
        assert attributes["dialpad_ivr.outcome"] == task["outputData"]["outcome"]
        assert (tasks[task["taskId"]].status.code == 2) is (task["status"] != "COMPLETED")
    parents = {span.span_id: task_id for task_id, span in tasks.items()}
    statuses = [values(span.attributes)["http.response.status_code"] for span in calls]
    assert sorted(statuses) == [200, 404, 503]
    assert {parents[span.parent_span_id] for span in calls} == {
        task["taskId"] for task in run if task["outputData"]["attempts"]
    }
    (again,) = [span for span in calls if values(span.attributes).get("http.request.resend_count")]
    assert values(again.attributes)["http.response.status_code"] == 200
    lines = [line for line in worker.events if line["event"] == "task_done"]
    assert len(lines) == len(run) == 4
    (shown,) = (block for block in blocks(ROOT / "docs/how-to/observe.md") if block.kind == "json")
    for line in lines:
        assert set(line) == set(json.loads(shown.text))
        span = tasks[line["task_id"]]
        assert (line["trace_id"], line["span_id"]) == (span.trace_id.hex(), span.span_id.hex())
    assert leaks({"the engine's": VAULT_KEY}, {"spans": b"\n".join(collector.raw), "log": worker.log.encode()}) == []


@pytest.mark.long
def test_a_collector_that_never_answers_neither_holds_up_tasks_nor_the_end(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=20)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        start_worker(
            DIALPAD_IVR_DOMAIN="untraced",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}",
            OTEL_BSP_SCHEDULE_DELAY="50",
        ) as worker,
    ):
        ended = engine.ended([engine.start("set_custom_ivr", change(n), domain="untraced") for n in range(20)])
        silent.settimeout(5)
        silent.accept()[0].close()  # it was tried
        started = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - started < 8
    assert {workflow["status"] for workflow in ended} == {"COMPLETED"}
    assert "Traceback" not in worker.log
