"""1,000 tasks, four workers, one Redis, one company, against a double as strict as Dialpad in a sixth of the time."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import pytest

from bench.conftest import PACED, STRICT, Record, all_ended, measured, start_many, utilisation
from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest
from support.fixtures import StartWorker
from support.redis import running_redis

COUNT = 1000


@pytest.mark.timeout(400)
@pytest.mark.parametrize("trouble", ["none", "a worker killed", "redis restarted"])
def test_a_fleet_uses_the_permitted_rate_and_draws_no_429(
    engine: EngineRest,
    double: DoubleControl,
    start_worker: StartWorker,
    record: Record,
    tmp_path: Path,
    trouble: str,
) -> None:
    definition = engine.task_definition(TASK_TYPE)
    # What a killed worker had in hand is delivered again after this.
    engine.put_task_definition({**definition, "responseTimeoutSeconds": 10})
    double.set_state(synthetic=COUNT)
    double.configure(enforce=True, **STRICT, latency=0.05, arrival_jitter=0.0, answer_jitter=0.005)
    domain = f"fleet-{trouble.replace(' ', '-')}"
    ids = start_many(engine, COUNT, domain)
    with running_redis(tmp_path) as redis, contextlib.ExitStack() as stack:
        fleet = {**PACED, "DIALPAD_IVR_DOMAIN": domain, "DIALPAD_IVR_REDIS_URL": redis.url}
        workers = [stack.enter_context(start_worker(**fleet)) for _ in range(4)]
        double.wait_for_arrivals(COUNT // 2, timeout=120)
        if trouble == "a worker killed":
            workers[0].stop(signal.SIGKILL)
        elif trouble == "redis restarted":
            redis.kill()
            redis.start()
        ended = all_ended(engine, double, ids, timeout=200)
        assert all(worker.stop() == 0 for worker in workers[1:])
    engine.put_task_definition(definition)
    summary = double.summary()
    # Killed, the last ones come only after the response timeout: the rate is that of the first 950.
    arrivals = sorted(entry["monotonic"] for entry in double.ledger() if entry["status"] == 200)[:950]
    used = utilisation(len(arrivals), arrivals[-1] - arrivals[0])
    row = measured(summary, ended)
    record("fleet of 4", trouble, {**row, "utilisation": used})
    assert {w["status"] for w in ended} == {"COMPLETED"}
    assert row["answers of 429"] == 0
    assert summary["worst"]["patch"]["all"] <= 200
    assert used >= (0.95 if trouble != "redis restarted" else 0.85)
