"""The worker as a process: pacing through the engine, pauses, drain, health, logs, and where keys are not."""

from __future__ import annotations

import signal
import sqlite3
import sys
from typing import Any

import pytest

from dialpad_ivr.local.engine import LocalEngine
from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest, until
from support.fixtures import StartWorker
from support.provisioning import change, target
from support.worker import KEYS


def patches(double: DoubleControl) -> list[dict[str, Any]]:
    return [line for line in double.ledger() if line["method"] == "PATCH"]


# As strict as Dialpad, in less time.
STRICT = {"patch": {"calls": 40, "window_seconds": 4}, "company": {"calls": 20, "window_seconds": 1}}
PACED = {"DIALPAD_IVR_PATCH_LIMIT": "40", "DIALPAD_IVR_PATCH_WINDOW_SECONDS": "4"}


@pytest.mark.parametrize("jitter", [0.0, pytest.param(0.05, marks=pytest.mark.long)])
def test_a_strict_dialpad_has_no_reason_to_say_429(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, jitter: float
) -> None:
    double.set_state(synthetic=120)
    double.configure(enforce=True, **STRICT, latency=0.05, arrival_jitter=jitter)
    ids = [engine.start("set_custom_ivr", change(number), domain="strict") for number in range(120)]
    with start_worker(DIALPAD_IVR_DOMAIN="strict", **PACED) as worker:
        ended = engine.ended(ids)
        assert worker.stop() == 0
    double.configure(**{name: {"calls": 1000, "window_seconds": 1} for name in STRICT})
    assert {w["status"] for w in ended} == {"COMPLETED"}
    assert {task["retryCount"] for w in ended for task in w["tasks"]} == {0}
    refused = [line for line in patches(double) if line["status"] == 429]
    assert len(refused) <= (3 if jitter else 0)


@pytest.mark.parametrize("form", [3, pytest.param("http_date", marks=pytest.mark.long)])
def test_a_429_costs_no_retry_and_everybody_of_that_company_waits(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, form: Any
) -> None:
    double.set_state(synthetic=10)
    rule = {"fault": "rate_limited", "retry_after": form, **({"seconds": 3.5} if form == "http_date" else {})}
    double.add_faults({**rule, "match": {"target_id": target(0)}})
    with start_worker(DIALPAD_IVR_DOMAIN="pause") as worker:
        first = engine.start("set_custom_ivr", change(0), domain="pause")
        until(lambda: [line for line in patches(double) if line["status"] == 429], what="the 429")
        others = [engine.start("set_custom_ivr", change(n), domain="pause") for n in range(1, 6)]
        elsewhere = engine.start("set_custom_ivr", change(6, credential="limited"), domain="pause")
        refused, *later = engine.ended([first, *others])
        (unconcerned,) = engine.ended([elsewhere])
        assert worker.stop() == 0
    lines = patches(double)
    moment = next(line["monotonic"] for line in lines if line["status"] == 429)
    by_target = {line["target_id"]: line["monotonic"] - moment for line in lines if line["status"] == 200}
    other_company = by_target.pop(target(6))
    assert other_company < 2.5
    assert unconcerned["status"] == "COMPLETED"
    # An HTTP date has whole seconds, so 3.5 is 3 or 4; the engine's callbacks have, too.
    assert 2.9 <= by_target.pop(target(0)) <= 5.5
    # The others come back one after another behind it.
    assert all(2.9 <= delay <= 7.5 for delay in by_target.values()), by_target
    for workflow in (refused, *later):
        (task,) = workflow["tasks"]
        assert (task["status"], task["retryCount"]) == ("COMPLETED", 0)
    assert refused["tasks"][0]["outputData"]["attempts"] == 2
    assert refused["tasks"][0]["outputData"]["waited_ms"] >= 3000
    assert refused["tasks"][0]["pollCount"] == 2
    assert engine.task_log(refused["tasks"][0]["taskId"])[0].startswith("waiting: ")


def test_sigterm_with_20_calls_in_flight_loses_and_repeats_nothing(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=60)
    double.configure(latency=4)
    # More than it can run at once, so that each result it reports could bring the next task along; and all of them
    # before it starts, so that one poll brings the 20.
    ids = [engine.start("set_custom_ivr", change(number), domain="drain") for number in range(60)]
    unpaced = {"DIALPAD_IVR_COMPANY_LIMIT": "1000", "DIALPAD_IVR_PATCH_LIMIT": "10000"}
    with start_worker(DIALPAD_IVR_DOMAIN="drain", DIALPAD_IVR_CONCURRENCY="20", **unpaced) as worker:
        double.wait_for_arrivals(20)
        assert double.summary()["in_flight"] == 20
        assert worker.stop(signal.SIGTERM) == 0
        started = [line["target_id"] for line in patches(double)]
        assert len(started) == len(set(started)) == 20
        by_status: dict[str, list[str]] = {}
        for workflow_id in ids:
            workflow = engine.workflow(workflow_id)
            by_status.setdefault(workflow["status"], []).append(workflow["input"]["target_id"])
        assert sorted(by_status["COMPLETED"]) == sorted(started)
        assert len(by_status["RUNNING"]) == 40
        assert worker.events[-1]["event"] == "worker_stopped"
    double.configure(latency=0)
    with start_worker(DIALPAD_IVR_DOMAIN="drain", **unpaced) as successor:
        assert {w["status"] for w in engine.ended(ids)} == {"COMPLETED"}
        assert successor.stop() == 0
    assert len(patches(double)) == 60


def test_a_second_signal_ends_at_once(engine: EngineRest, double: DoubleControl, start_worker: StartWorker) -> None:
    double.set_state(synthetic=1)
    double.configure(latency=20)
    with start_worker(DIALPAD_IVR_DOMAIN="second") as worker:
        engine.start("set_custom_ivr", change(0), domain="second")
        double.wait_for_arrivals(1)
        worker.process.send_signal(signal.SIGINT)
        until(lambda: worker.get("/readyz").status_code == 503, what="the drain")
        assert worker.get("/readyz").text == "draining\n"
        assert worker.stop(signal.SIGINT, timeout=5) == 130


def by_name(number: int) -> dict[str, Any]:
    """The same change for `set_custom_ivr_by_name`."""
    return {**{k: v for k, v in change(number).items() if k != "ivr_id"}, "ivr_name": "New hold music"}


def test_the_grace_time_ends_a_drain_of_both_tasks(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=2)
    double.configure(latency=20)
    with start_worker(DIALPAD_IVR_DOMAIN="grace", DIALPAD_IVR_GRACE_SECONDS="0.5") as worker:
        engine.start("set_custom_ivr", change(0), domain="grace")
        engine.start("set_custom_ivr_by_name", by_name(1), domain="grace")
        double.wait_for_arrivals(2)
        assert worker.stop(timeout=10) == 1
        assert worker.events[-1]["tasks_in_flight"] == 2


def test_both_tasks_run_beside_each_other_and_are_drained(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=2)
    double.configure(latency=2)
    # One of each: neither takes the other's slot, or its connection.
    with start_worker(DIALPAD_IVR_DOMAIN="both", DIALPAD_IVR_CONCURRENCY="1") as worker:
        changed = engine.start("set_custom_ivr", change(0), domain="both")
        engine.start("set_custom_ivr_by_name", by_name(1), domain="both")
        assert double.wait_for_arrivals(2)["in_flight"] == 2
        assert worker.stop() == 0
    done = {event["task"]: event["outcome"] for event in worker.events if event["event"] == "task_done"}
    assert done == {"set_custom_ivr": "updated", "list_custom_ivrs": "listed"}
    assert engine.workflow(changed)["status"] == "COMPLETED"
    assert {line["method"] for line in double.ledger()} == {"PATCH", "GET"}


def test_a_worker_that_is_stopped_while_it_starts_takes_no_work(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    # As a container's first process, for which SIGTERM does nothing by itself.
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])"
    )
    command = (sys.executable, "-c", ignoring, sys.executable, "-X", "importtime", "-m", "dialpad_ivr", "worker")
    with start_worker(command, ready=False) as worker:
        until(lambda: "conductor" in worker.log, what="the imports")
        assert worker.stop(timeout=10) == 143
        assert "worker_started" not in worker.log


def test_an_idle_worker_stops_quickly(start_worker: StartWorker) -> None:
    with start_worker(DIALPAD_IVR_DOMAIN="idle") as worker:
        assert worker.stop(timeout=3) == 0


def test_health_metrics_and_logs_show_outcomes_and_no_key(
    engine: EngineRest, local_engine: LocalEngine, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=5)
    double.add_faults({"fault": "echo_authorization", "match": {"target_id": target(1)}})
    inputs = [change(0), change(1), change(2, credential="vault"), {**change(3), "ivr_type": "NOPE"}]
    with start_worker(DIALPAD_IVR_DOMAIN="seen", DIALPAD_IVR_LOG_LEVEL="debug") as worker:
        ids = [engine.start("set_custom_ivr_branching", payload, domain="seen") for payload in inputs]
        ended = engine.ended(ids)
        assert worker.get("/healthz").text == "alive\n"
        assert worker.get("/readyz").text == "ready\n"
        metrics = worker.get("/metrics").text
        assert worker.stop() == 0
    for line in (
        'dialpad_ivr_tasks_total{outcome="updated",task="set_custom_ivr"} 2.0',
        'dialpad_ivr_tasks_total{outcome="invalid_input",task="set_custom_ivr"} 1.0',
        'dialpad_ivr_calls_total{method="PATCH",status="200"} 2.0',
        'dialpad_ivr_calls_total{method="PATCH",status="400"} 1.0',
        'dialpad_ivr_call_seconds_count{method="PATCH"} 3.0',
        "dialpad_ivr_permit_wait_seconds_count 3.0",
        "dialpad_ivr_calls_in_flight 0.0",
        "dialpad_ivr_pauses_total 0.0",
        "dialpad_ivr_update_failures_total 0.0",
    ):
        assert line in metrics, line
    done = {event["workflow_id"]: event for event in worker.events if event["event"] == "task_done"}
    assert {done[i]["outcome"] for i in ids} == {"updated", "rejected", "invalid_input"}
    assert all(done[w["workflowId"]]["task_id"] for w in ended)
    # Neither logs, nor metrics, nor outputs, nor the engine's database hold a key.
    database = b"".join(path.read_bytes() for path in local_engine.log.parent.glob("conductor.db*"))
    for key in KEYS:
        assert key not in worker.log
        assert key not in metrics
        assert key not in str(ended)
        assert key.encode() not in database
        assert key not in local_engine.log.read_text()


def test_the_engines_database_can_be_searched(local_engine: LocalEngine, engine: EngineRest) -> None:
    """The search above means nothing if the database held its texts in another form."""
    engine.start("set_custom_ivr", {"ivr_type": "a-marker-to-be-found"}, domain="nobody")
    database = local_engine.log.parent / "conductor.db"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        connection.execute("select 1")
    found = b"".join(path.read_bytes() for path in local_engine.log.parent.glob("conductor.db*"))
    assert b"a-marker-to-be-found" in found


def test_a_worker_outlasts_an_engine_that_is_not_there(double: DoubleControl, start_worker: StartWorker) -> None:
    nowhere = "http://127.0.0.1:9/api"
    with start_worker(ready=False, CONDUCTOR_SERVER_URL=nowhere) as worker:
        until(lambda: worker.log.count("poll_failed") >= 3, what="the warnings")
        assert worker.get("/healthz").status_code == 200
        assert worker.get("/readyz").status_code == 503
        (line,) = (
            m for m in worker.get("/metrics").text.splitlines() if m.startswith("dialpad_ivr_poll_failures_total")
        )
        assert float(line.split()[1]) < 10
        assert worker.stop(timeout=5) == 0
        assert "Traceback" not in worker.log


def test_a_taken_health_port_is_reported(start_worker: StartWorker) -> None:
    with start_worker(DIALPAD_IVR_DOMAIN="port") as worker:
        port = worker.health_url.rpartition(":")[2]
        with start_worker(ready=False, DIALPAD_IVR_HEALTH_PORT=port) as second:
            assert second.process.wait(20) == 2
            assert "DIALPAD_IVR_HEALTH_PORT" in second.log


@pytest.mark.parametrize("size", [10, 3000])
def test_a_body_that_comes_back_goes_whole_or_cut_through_the_engine(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, size: int
) -> None:
    double.set_state(synthetic=1)
    # Escaped by hand: half a surrogate pair is no text, but may well be written in JSON.
    text = r"\ud83d\ude00 \u0000 \u001b \u2028 \\ \" \ud83d end " * size
    double.add_faults({"fault": "status", "status": 422, "body": f'{{"error": {{"message": "{text}"}}}}'})
    with start_worker(DIALPAD_IVR_DOMAIN="bodies") as worker:
        (ended,) = engine.ended([engine.start("set_custom_ivr", change(0), domain="bodies")])
        assert worker.stop() == 0
    response = ended["tasks"][0]["outputData"]["response"]
    assert response["body_truncated"] == (size > 100)
    assert ended["tasks"][0]["status"] == "FAILED_WITH_TERMINAL_ERROR"
