"""Workers as processes that share one company's limit over a real Redis. `make bench` has the same at size."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest, until
from support.fixtures import StartWorker
from support.provisioning import change
from support.redis import running_redis

STRICT = {"patch": {"calls": 40, "window_seconds": 2}, "company": {"calls": 20, "window_seconds": 1}}
# The company's window is longer than the double's by what the calls of a busy machine are late.
PACED = {
    "DIALPAD_IVR_PATCH_LIMIT": "40",
    "DIALPAD_IVR_PATCH_WINDOW_SECONDS": "2.2",
    "DIALPAD_IVR_COMPANY_WINDOW_SECONDS": "1.1",
}


@pytest.mark.long
@pytest.mark.parametrize("trouble", ["none", "redis restarted", "redis gone for a while"])
def test_two_workers_keep_one_limit_and_lose_nothing(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, tmp_path: Path, trouble: str
) -> None:
    count = 120
    double.set_state(synthetic=count)
    double.configure(enforce=True, **STRICT, latency=0.05)
    domain = f"fleet-{trouble.replace(' ', '-')}"
    ids = [engine.start("set_custom_ivr", change(number), domain=domain) for number in range(count)]
    with running_redis(tmp_path) as redis, contextlib.ExitStack() as stack:
        fleet = {**PACED, "DIALPAD_IVR_DOMAIN": domain, "DIALPAD_IVR_REDIS_URL": redis.url}
        workers = [stack.enter_context(start_worker(**fleet)) for _ in range(2)]
        double.wait_for_arrivals(count // 3)
        if trouble != "none":
            redis.kill()
        if trouble == "redis gone for a while":
            # New requests are rejected; those admitted before have arrived by then.
            until(lambda: all("redis_unavailable" in worker.log for worker in workers), what="both to notice")
            seen = double.summary()["arrivals"]
            assert all("dialpad_ivr_redis_up 0.0" in worker.get("/metrics").text for worker in workers)
            assert all(worker.get("/readyz").status_code == 200 for worker in workers)
            assert double.summary()["arrivals"] <= seen + 2, "unpaced calls"
        if trouble != "none":
            redis.start()
        ended = engine.ended(ids, timeout=90)
        assert all(worker.stop() == 0 for worker in workers)
        assert all("task_done" in worker.log for worker in workers), "one worker did it all"
    summary = double.summary()
    assert {workflow["status"] for workflow in ended} == {"COMPLETED"}
    assert summary["by_status"] == {"200": count}
    assert summary["worst"]["company"]["all"] <= 20
    assert summary["worst"]["patch"]["all"] <= 40


def test_a_429_of_one_worker_pauses_the_other(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, tmp_path: Path
) -> None:
    double.set_state(synthetic=40)
    with running_redis(tmp_path) as redis, contextlib.ExitStack() as stack:
        fleet = {"DIALPAD_IVR_DOMAIN": "paused", "DIALPAD_IVR_REDIS_URL": redis.url}
        workers = [stack.enter_context(start_worker(**fleet)) for _ in range(2)]
        engine.ended([engine.start("set_custom_ivr", change(number), domain="paused") for number in range(4)])
        double.add_faults({"fault": "rate_limited", "retry_after": 4, "times": 1})
        ids = [engine.start("set_custom_ivr", change(number), domain="paused") for number in range(4, 40)]
        ended = engine.ended(ids, timeout=60)
        assert all(worker.stop() == 0 for worker in workers)
    assert {workflow["status"] for workflow in ended} == {"COMPLETED"}
    arrivals = double.ledger()
    (refused,) = (arrival for arrival in arrivals if arrival["status"] == 429)
    # Calls that were on their way already when the pause was ordered are no breach of it.
    after = [arrival["monotonic"] - refused["monotonic"] for arrival in arrivals if arrival["seq"] > refused["seq"]]
    assert [late for late in after if 0.5 < late < 3.9] == []
