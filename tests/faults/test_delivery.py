"""Results whose way to the engine is barred: no change is lost, and none is made twice."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.double import DoubleControl
from support.engine import EngineRest, until
from support.fixtures import StartWorker, put_quick_definitions
from support.provisioning import change, ivr, old_ivr, selected, target
from support.proxy import Fault, FaultyEngine
from support.redis import running_redis

UPDATES = "/tasks(/update-v2)?$"


@pytest.fixture
def impatient(engine: EngineRest) -> Iterator[None]:
    """Workflows that start in this test have tasks that the engine takes back after five seconds."""
    definition = engine.task_definition("set_custom_ivr")
    engine.put_task_definition({**definition, "responseTimeoutSeconds": 5})
    yield
    put_quick_definitions(engine)


def patches(double: DoubleControl) -> list[dict[str, Any]]:
    return [line for line in double.ledger() if line["method"] == "PATCH"]


def timed_out(engine: EngineRest, workflow_id: str) -> bool:
    return engine.workflow(workflow_id)["tasks"][0]["status"] == "TIMED_OUT"


def ended_well(engine: EngineRest, workflow_id: str) -> dict[str, Any]:
    """The output of the retry that ended a workflow."""
    (workflow,) = engine.ended([workflow_id])
    assert [task["status"] for task in workflow["tasks"]] == ["TIMED_OUT", "COMPLETED"]
    output: dict[str, Any] = workflow["tasks"][1]["outputData"]
    return output


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["refuse", "reset"])
def test_a_change_whose_result_comes_too_late_is_not_made_again(
    engine: EngineRest, proxy: FaultyEngine, double: DoubleControl, start_worker: StartWorker, kind: Any
) -> None:
    double.set_state(synthetic=1)
    proxy.add(Fault(kind, UPDATES))
    with start_worker(CONDUCTOR_SERVER_URL=proxy.url, DIALPAD_IVR_DOMAIN="late") as worker:
        started = engine.start("set_custom_ivr", change(0), domain="late")
        until(lambda: timed_out(engine, started), 40, "the engine to take the task back")
        assert "dialpad_ivr_undelivered_results 1.0" in worker.get("/metrics").text
        # Meanwhile somebody selects another one: to send ours again would undo that.
        double.set_state(synthetic=1)
        proxy.clear()
        output = ended_well(engine, started)
        until(lambda: "dialpad_ivr_undelivered_results 0.0" in worker.get("/metrics").text, what="the first result")
        metrics = worker.get("/metrics").text
        assert worker.stop() == 0
    assert output["outcome"] == "updated"
    assert len(patches(double)) == 1
    assert selected(double, range(1)) == [old_ivr(0)]
    assert "dialpad_ivr_update_failures_total 0.0" in metrics
    events = [event["event"] for event in worker.events]
    assert events.count("result_not_accepted") == 1
    assert {"result_accepted", "duplicate_delivery_answered"} <= set(events)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("where", ["folder", "redis"])
def test_what_one_worker_did_another_knows(
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
        kept = {f"DIALPAD_IVR_{name}": value, "DIALPAD_IVR_DOMAIN": "known"}
        with start_worker(CONDUCTOR_SERVER_URL=proxy.url, **kept) as worker:
            started = engine.start("set_custom_ivr", change(0), domain="known")
            until(lambda: "result_not_accepted" in worker.log, what="the first failure")
            worker.stop(signal.SIGKILL)
        with start_worker(**kept) as other:
            output = ended_well(engine, started)
            assert other.stop() == 0
    assert (output["outcome"], output["ivr"]["selected"]["id"]) == ("updated", ivr(0))
    assert "duplicate_delivery_answered" in {event["event"] for event in other.events}
    assert len(patches(double)) == 1


@pytest.mark.usefixtures("impatient")
def test_a_change_that_nobody_knows_of_is_made_again(
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
        assert ended_well(engine, started)["warnings"] == []
        assert other.stop() == 0
    assert selected(double, range(1)) == [ivr(0)]
    assert len(patches(double)) == 2


@pytest.mark.usefixtures("impatient")
def test_a_task_that_a_worker_had_for_too_long_is_left_to_the_one_that_gets_it_next(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=2)
    # The second permit is 2.9 s away: when it comes, the engine is about to take the task back.
    slow = {"DIALPAD_IVR_COMPANY_LIMIT": "1", "DIALPAD_IVR_COMPANY_WINDOW_SECONDS": "2.9"}
    with start_worker(DIALPAD_IVR_DOMAIN="slow", **slow) as worker:
        ended = engine.ended([engine.start("set_custom_ivr", change(n), domain="slow") for n in range(2)])
        assert worker.stop() == 0
    codes = [task["outputData"]["error"]["code"] for w in ended for task in w["tasks"] if task["status"] == "FAILED"]
    assert codes == ["expired"]
    assert {w["status"] for w in ended} == {"COMPLETED"}
    assert len(patches(double)) == 2


def test_a_result_that_the_engine_has_already_may_come_again(
    engine: EngineRest, proxy: FaultyEngine, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=1)
    proxy.add(Fault("lose", UPDATES, times=3))
    with start_worker(CONDUCTOR_SERVER_URL=proxy.url, DIALPAD_IVR_DOMAIN="lost") as worker:
        (ended,) = engine.ended([engine.start("set_custom_ivr", change(0), domain="lost")])
        until(lambda: "result_accepted" in worker.log, what="the answer to the fourth")
        assert worker.stop() == 0
    assert proxy.taken["lose"] == 3
    assert [task["status"] for task in ended["tasks"]] == ["COMPLETED"]
    assert len(patches(double)) == 1


def test_an_engine_without_the_second_version_of_the_update_will_do(
    engine: EngineRest, proxy: FaultyEngine, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=3)
    proxy.add(Fault("refuse", "/tasks/update-v2$", status=404))
    with start_worker(CONDUCTOR_SERVER_URL=proxy.url, DIALPAD_IVR_DOMAIN="first", DIALPAD_IVR_CONCURRENCY="1"):
        ended = engine.ended([engine.start("set_custom_ivr", change(n), domain="first") for n in range(3)])
    assert {w["status"] for w in ended} == {"COMPLETED"}
    assert proxy.taken["refuse"] == 1


def test_a_result_that_is_refused_for_good_is_told_and_holds_nobody_up(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=2)
    double.add_faults({"fault": "slow", "seconds": 1, "match": {"target_id": target(0)}})
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
    (told,) = (event for event in worker.events if event["event"] == "result_lost")
    assert (told["workflow_id"], told["cause"]) == (gone, "HTTP 404")


def test_an_engine_that_says_nothing_is_asked_again(
    engine: EngineRest, proxy: FaultyEngine, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=1)
    proxy.add(Fault("hang", UPDATES, times=1, seconds=25))
    with start_worker(CONDUCTOR_SERVER_URL=proxy.url, DIALPAD_IVR_DOMAIN="hung") as worker:
        (ended,) = engine.ended([engine.start("set_custom_ivr", change(0), domain="hung")])
        assert worker.stop() == 0
    assert [task["status"] for task in ended["tasks"]] == ["COMPLETED"]
    assert len(patches(double)) == 1


def test_a_drain_with_the_engine_away_says_what_is_left(
    engine: EngineRest, proxy: FaultyEngine, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=1)
    proxy.add(Fault("reset", UPDATES))
    settings = {"CONDUCTOR_SERVER_URL": proxy.url, "DIALPAD_IVR_DOMAIN": "away", "DIALPAD_IVR_GRACE_SECONDS": "1"}
    with start_worker(**settings) as worker:
        engine.start("set_custom_ivr", change(0), domain="away")
        until(lambda: "result_not_accepted" in worker.log, what="the first failure")
        assert worker.stop(timeout=10) == 1
    assert worker.events[-1]["tasks_in_flight"] == 1


def test_a_folder_that_cannot_be_written_to_is_told_at_the_start(start_worker: StartWorker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with start_worker(ready=False, DIALPAD_IVR_STATE_DIR=str(tmp_path / "file" / "kept")) as worker:
        assert worker.process.wait(20) == 2
        assert "state_dir" in worker.log
