"""More workers and longer queues: what a fleet over Redis makes of them, in processor time and memory."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from bench.conftest import Record, large, start_many
from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest
from support.fixtures import StartWorker
from support.peers import cpu_seconds, memory_mb
from support.provisioning import UNPACED
from support.redis import running_redis


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("workers", "count"),
    [
        (1, 100),
        (1, 1000),
        (2, 1000),
        (4, 1000),
        *(pytest.param(workers, 10_000, marks=large) for workers in (1, 2, 4)),
        pytest.param(1, 20_000, marks=large),
    ],
)
def test_a_long_queue_costs_no_more_a_task_and_no_memory(
    engine: EngineRest,
    double: DoubleControl,
    start_worker: StartWorker,
    record: Record,
    tmp_path: Path,
    workers: int,
    count: int,
) -> None:
    double.set_state(synthetic=count)
    domain = f"scaling-{workers}-{count}"
    ids = start_many(engine, count, domain)
    with running_redis(tmp_path) as redis, contextlib.ExitStack() as stack:
        # With a new Redis nothing leaves for one and a half windows: a short one, then.
        unpaced = {**UNPACED, "DIALPAD_IVR_PATCH_WINDOW_SECONDS": "1"}
        fleet = {**unpaced, "DIALPAD_IVR_DOMAIN": domain, "DIALPAD_IVR_REDIS_URL": redis.url}
        pids = [stack.enter_context(start_worker(**fleet)).process.pid for _ in range(workers)]
        double.wait_for_arrivals(count // 2, timeout=600)  # warm: all connections made, all code run
        warm, used = [memory_mb(pid) for pid in pids], sum(map(cpu_seconds, pids))
        known = double.summary()["arrivals"]
        summary = double.wait_for_arrivals(count, timeout=1200)
        cpu = (sum(map(cpu_seconds, pids)) - used) * 1000 / (count - known)
        ended = engine.ended(ids, timeout=120)
        growth = max(memory_mb(pid) - before for pid, before in zip(pids, warm, strict=True))
        peak = max(memory_mb(pid, peak=True) for pid in pids)
    row = {
        "completed": sum(workflow["status"] == "COMPLETED" for workflow in ended),
        "seconds": summary["seconds"],
        "tasks/s": (count - 1) / summary["seconds"],
        "CPU ms a task": cpu,
        "MB peak": peak,
        "MB growth": growth,
    }
    record("over Redis, unpaced", f"{workers} worker(s), {count} queued", row)
    assert row["completed"] == count
    assert growth < 5
    assert peak < 95  # with the Redis client in it
