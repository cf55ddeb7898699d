"""Results that do not reach the engine: no change is lost, and none is made twice."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.testing.double import DoubleControl
from support.definitions import set_ivr, task
from support.engine import EngineRest, until
from support.fixtures import StartWorker, put_quick_definitions
from support.provisioning import change, ivr, old_ivr, selected, target
from support.proxy import Fault, FaultyEngine
from support.redis import running_redis
from support.worker import WorkerProcess

_BRANCHES = 60  # so many that the engine takes a while to schedule them
UPDATES = "/tasks(/update-v2)?$"


@pytest.fixture
def short_lease(engine: EngineRest) -> Iterator[None]:
    """Tasks of workflows that start in this test have a lease of five seconds."""
    definition = engine.task_definition("set_custom_ivr")
    engine.put_task_definition({**definition, "responseTimeoutSeconds": 5})
    yield
    put_quick_definitions(engine)


def patches(double: DoubleControl) -> list[dict[str, Any]]:
    return [line for line in double.ledger() if line["method"] == "PATCH"]


def logged(worker: WorkerProcess, event: str) -> bool:
    return f'"event": "{event}"' in worker.log


def timed_out(engine: EngineRest, workflow_id: str) -> bool:
    return bool(engine.workflow(workflow_id)["tasks"][0]["status"] == "TIMED_OUT")


def output_of_retry(engine: EngineRest, workflow_id: str) -> dict[str, Any]:
    """The output of the retry that completed a workflow."""
    (workflow,) = engine.ended([workflow_id])
    assert [task["status"] for task in workflow["tasks"]] == ["TIMED_OUT", "COMPLETED"]
    output: dict[str, Any] = workflow["tasks"][1]["outputData"]
    return output


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("kind", ["refuse", "reset"])
def test_change_is_not_repeated_when_its_result_comes_too_late(
    engine: EngineRest, proxy: FaultyEngine, double: DoubleControl, start_worker: StartWorker, kind: Any
) -> None:
    double.set_state(synthetic=1)
    proxy.add(Fault(kind, UPDATES))
    with start_worker(CONDUCTOR_SERVER_URL=proxy.url, DIALPAD_IVR_DOMAIN="late") as worker:
        started = engine.start("set_custom_ivr", change(0), domain="late")
        until(lambda: timed_out(engine, started), 40, "the end of the lease")
        assert "dialpad_ivr_undelivered_results 1.0" in worker.get("/metrics").text
        # Meanwhile somebody selects the other IVR: a repeated PATCH would undo that.
        double.set_state(synthetic=1)
        proxy.clear()
        output = output_of_retry(engine, started)
        until(lambda: "dialpad_ivr_undelivered_results 0.0" in worker.get("/metrics").text, what="the first result")
        metrics = worker.get("/metrics").text
        assert worker.stop() == 0
    assert output["outcome"] == "updated"
    assert len(output["warnings"]) == 1
    assert len(patches(double)) == 1
    assert selected(double, range(1)) == [old_ivr(0)]
    assert "dialpad_ivr_update_failures_total 0.0" in metrics
    events = [event["event"] for event in worker.events]
    assert events.count("result_not_accepted") == 1
    assert {"result_accepted", "duplicate_delivery_answered"} <= set(events)


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("where", ["folder", "redis"])
def test_undelivered_result_of_a_killed_worker_is_answered_by_another(
    engine: EngineRest,
    proxy: FaultyEngine,
    double: DoubleControl,
    start_worker: StartWorker,
    tmp_path: Path,
    where: str,
) -> None:
    double.set_state(synthetic=1)
    proxy.add(Fault("refuse", UPDATES))
    with running_redis(tmp_path) as redis:
        places = {"folder": ("STATE_DIR", str(tmp_path / "state")), "redis": ("REDIS_URL", redis.url)}
        name, value = places[where]
        settings = {f"DIALPAD_IVR_{name}": value, "DIALPAD_IVR_DOMAIN": "known"}
        with start_worker(CONDUCTOR_SERVER_URL=proxy.url, **settings) as worker:
            started = engine.start("set_custom_ivr", change(0), domain="known")
            until(lambda: logged(worker, "result_not_accepted"), what="the first failure")
            worker.stop(signal.SIGKILL)
        with start_worker(**settings) as other:
            output = output_of_retry(engine, started)
            assert other.stop() == 0
    assert (output["outcome"], output["ivr"]["selected"]["id"]) == ("updated", ivr(0))
    assert logged(other, "duplicate_delivery_answered")
    assert len(output["warnings"]) == 1
    assert len(patches(double)) == 1


@pytest.mark.usefixtures("short_lease")
def test_change_without_a_stored_result_is_repeated(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=1)
    double.configure(latency=20)
    with start_worker(DIALPAD_IVR_DOMAIN="unknown") as worker:
        started = engine.start("set_custom_ivr", change(0), domain="unknown")
        double.wait_for_arrivals(1)
        worker.stop(signal.SIGKILL)
    double.configure(latency=0)
    with start_worker(DIALPAD_IVR_DOMAIN="unknown") as other:
        assert output_of_retry(engine, started)["warnings"] == []
        assert other.stop() == 0
    assert selected(double, range(1)) == [ivr(0)]
    assert len(patches(double)) == 2


@pytest.mark.usefixtures("short_lease")
def test_task_whose_lease_expires_in_the_worker_is_left_to_the_retry(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=2)
    # The second permit is 2.9 s away: too late, after half of the lease.
    slow = {"DIALPAD_IVR_COMPANY_LIMIT": "1", "DIALPAD_IVR_COMPANY_WINDOW_SECONDS": "2.9"}
    with start_worker(DIALPAD_IVR_DOMAIN="slow", **slow) as worker:
        ended = engine.ended([engine.start("set_custom_ivr", change(n), domain="slow") for n in range(2)])
        assert worker.stop() == 0
    codes = [task["outputData"]["error"]["code"] for w in ended for task in w["tasks"] if task["status"] == "FAILED"]
    assert codes == ["expired"]
    assert {w["status"] for w in ended} == {"COMPLETED"}
    assert len(patches(double)) == 2


def test_tasks_that_a_terminated_workflow_has_left_in_a_queue_are_not_run(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=_BRANCHES)
    engine.put_workflow_definition(_fork_after_a_gate())
    terminated = next(filter(partial(_waiting, engine), (_terminated_in_an_evaluation(engine) for _ in range(10))))
    with start_worker(DIALPAD_IVR_DOMAIN="left") as worker:
        until(lambda: logged(worker, "task_of_ended_workflow"), what="a task that was left")
        until(lambda: not _waiting(engine, terminated), what="the engine to cancel all of them")
        assert worker.stop() == 0
    assert {task["status"] for task in _changes(engine, terminated)} == {"CANCELED"}
    assert patches(double) == []


def _fork_after_a_gate() -> dict[str, Any]:
    changes = [set_ivr(f"change{number}", inputParameters=change(number)) for number in range(_BRANCHES)]
    return {
        "name": "fork_after_a_gate",
        "version": 1,
        "schemaVersion": 2,
        "ownerEmail": "dialpad-ivr@example.com",
        "timeoutSeconds": 0,
        "tasks": [
            task("gate", "WAIT"),
            task("fork", "FORK_JOIN", forkTasks=[[each] for each in changes]),
            task("join", "JOIN", joinOn=[each["taskReferenceName"] for each in changes]),
        ],
    }


def _terminated_in_an_evaluation(engine: EngineRest) -> str:
    """A workflow that was terminated while the engine scheduled its forked tasks."""
    started = engine.start("fork_after_a_gate", {}, domain="left.bulk")
    gate = until(lambda: engine.workflow(started)["tasks"])[0]["taskId"]
    with ThreadPoolExecutor() as pool:
        opened = pool.submit(engine.update_task, started, gate, "COMPLETED")  # returns after the evaluation
        until(lambda: engine.task(gate)["status"] == "COMPLETED")
        engine.terminate(started)
        opened.result()
    return started


def _changes(engine: EngineRest, workflow_id: str) -> list[dict[str, Any]]:
    return [task for task in engine.workflow(workflow_id)["tasks"] if task["taskType"] == "set_custom_ivr"]


def _waiting(engine: EngineRest, workflow_id: str) -> bool:
    return any(task["status"] == "SCHEDULED" for task in _changes(engine, workflow_id))


def test_engine_accepts_a_result_that_it_already_has(
    engine: EngineRest, proxy: FaultyEngine, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=1)
    proxy.add(Fault("lose", UPDATES, times=3))
    with start_worker(CONDUCTOR_SERVER_URL=proxy.url, DIALPAD_IVR_DOMAIN="lost") as worker:
        (ended,) = engine.ended([engine.start("set_custom_ivr", change(0), domain="lost")])
        until(lambda: logged(worker, "result_accepted"), what="the fourth update")
        assert worker.stop() == 0
    assert proxy.taken["lose"] == 3
    assert [task["status"] for task in ended["tasks"]] == ["COMPLETED"]
    assert len(patches(double)) == 1


def test_worker_falls_back_to_the_first_version_of_the_update(
    engine: EngineRest, proxy: FaultyEngine, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=3)
    proxy.add(Fault("refuse", "/tasks/update-v2$", status=404))
    with start_worker(CONDUCTOR_SERVER_URL=proxy.url, DIALPAD_IVR_DOMAIN="first", DIALPAD_IVR_CONCURRENCY="1"):
        ended = engine.ended([engine.start("set_custom_ivr", change(n), domain="first") for n in range(3)])
    assert {w["status"] for w in ended} == {"COMPLETED"}
    assert proxy.taken["refuse"] == 1


def test_permanently_rejected_result_is_logged_and_does_not_block_the_next_task(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=2)
    double.add_faults({"fault": "slow", "seconds": 3, "match": {"target_id": target(0)}})
    with start_worker(DIALPAD_IVR_DOMAIN="gone", DIALPAD_IVR_CONCURRENCY="1") as worker:
        gone = engine.start("set_custom_ivr", change(0), domain="gone")
        double.wait_for_arrivals(1)
        engine.terminate(gone)
        engine.remove(gone)
        (other,) = engine.ended([engine.start("set_custom_ivr", change(1), domain="gone")])
        metrics = worker.get("/metrics").text
        assert worker.stop() == 0
    assert other["status"] == "COMPLETED"
    assert "dialpad_ivr_update_failures_total 1.0" in metrics
    (lost,) = (event for event in worker.events if event["event"] == "result_lost")
    assert (lost["workflow_id"], lost["cause"]) == (gone, "HTTP 404")


def test_update_is_retried_when_the_engine_hangs(
    engine: EngineRest, proxy: FaultyEngine, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=1)
    proxy.add(Fault("hang", UPDATES, times=1, seconds=25))
    with start_worker(CONDUCTOR_SERVER_URL=proxy.url, DIALPAD_IVR_DOMAIN="hung") as worker:
        (ended,) = engine.ended([engine.start("set_custom_ivr", change(0), domain="hung")])
        assert worker.stop() == 0
    assert [task["status"] for task in ended["tasks"]] == ["COMPLETED"]
    assert len(patches(double)) == 1


def test_drain_without_the_engine_reports_the_tasks_in_flight(
    engine: EngineRest, proxy: FaultyEngine, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=1)
    proxy.add(Fault("reset", UPDATES))
    settings = {"CONDUCTOR_SERVER_URL": proxy.url, "DIALPAD_IVR_DOMAIN": "away", "DIALPAD_IVR_GRACE_SECONDS": "1"}
    with start_worker(**settings) as worker:
        engine.start("set_custom_ivr", change(0), domain="away")
        until(lambda: logged(worker, "result_not_accepted"), what="the first failure")
        assert worker.stop(timeout=10) == 1
    assert (worker.events[-1]["event"], worker.events[-1]["tasks_in_flight"]) == ("worker_stopped_early", 1)


def test_unwritable_state_dir_is_reported_at_start(start_worker: StartWorker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with start_worker(ready=False, DIALPAD_IVR_STATE_DIR=str(tmp_path / "file" / "state")) as worker:
        assert worker.process.wait(20) == 2
        assert "state_dir" in worker.log
