"""What our worker costs over a bare SDK worker that does the same PATCH for the same task: both run, in turns."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.conftest import Record, abba, start_many
from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest
from support.fixtures import StartWorker
from support.peers import PEER_TASK, cpu_seconds, memory_mb, put_peer_definitions, running_peer
from support.provisioning import UNPACED, change

ABBA = abba("ours", "bare")


@pytest.fixture
def pids(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, tmp_path: Path
) -> Iterator[dict[str, int]]:
    """Both workers, running; each takes our task from the domain of its name."""
    put_peer_definitions(engine)
    with (
        start_worker(DIALPAD_IVR_DOMAIN="ours", **UNPACED) as ours,
        running_peer("bare", TASK_TYPE, "bare", engine, double, tmp_path / "bare.log") as bare,
    ):
        yield {"ours": ours.process.pid, "bare": bare.pid}


def run_one(engine: EngineRest, domain: str, number: int) -> dict[str, Any]:
    """Run one task to its end; returns it."""
    (ended,) = engine.ended([engine.start(TASK_TYPE, change(number), domain=domain)])
    assert ended["status"] == "COMPLETED", ended
    task: dict[str, Any] = ended["tasks"][0]
    return task


@pytest.mark.timeout(900)
def test_the_time_from_scheduled_to_sent_is_that_of_a_bare_worker(
    engine: EngineRest, double: DoubleControl, pids: dict[str, int], record: Record
) -> None:
    warm_up, measured = [*ABBA] * 2, [*ABBA] * 100
    double.set_state(synthetic=len(warm_up + measured))
    scheduled: list[float] = []
    think = random.Random(5)
    for number, domain in enumerate(warm_up + measured):
        time.sleep(think.uniform(0, 0.15))  # tasks must not come in step with the workers' polls
        scheduled.append(run_one(engine, domain, number)["scheduledTime"])
    arrivals = [arrival["wall"] * 1000 for arrival in double.ledger()]
    assert len(arrivals) == len(scheduled)
    waits = [arrived - since for arrived, since in zip(arrivals, scheduled, strict=True)][len(warm_up) :]
    figures = {}
    for domain in pids:
        values = [wait for wait, whose in zip(waits, measured, strict=True) if whose == domain]
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        figures[domain] = {"median ms": cuts[49], "p90 ms": cuts[89], "p99 ms": cuts[98]}
        record("scheduled to PATCH", domain, figures[domain], raw=values)
    assert figures["ours"]["median ms"] <= figures["bare"]["median ms"] + 10
    assert figures["ours"]["p99 ms"] <= figures["bare"]["p99 ms"] + 25


@pytest.mark.timeout(900)
def test_unpaced_it_is_as_quick_as_a_bare_worker_for_little_more_processor_time(
    engine: EngineRest, double: DoubleControl, pids: dict[str, int], record: Record
) -> None:
    block, rounds = 400, 2
    raw = {"engine by raw REST": TASK_TYPE, "the same, task without schemas": PEER_TASK}
    order = ["ours", "bare", *raw, *reversed(raw), "bare", "ours"] * rounds
    rates: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
    double.set_state(synthetic=block)
    for domain in pids:
        for number in range(24):  # connections made, code warm
            run_one(engine, domain, number)
    before = {domain: memory_mb(pid) for domain, pid in pids.items()}
    for name in order:
        if name in raw:
            rates[name].append(asyncio.run(raw_rest(engine, raw[name], block)))
            continue
        double.reset()
        double.set_state(synthetic=block)
        with contextlib.ExitStack() as suspended:
            for pid in pids.values():
                os.kill(pid, signal.SIGSTOP)
                suspended.callback(os.kill, pid, signal.SIGCONT)
            ids = start_many(engine, block, name)
            used = cpu_seconds(pids[name])
            os.kill(pids[name], signal.SIGCONT)
            double.wait_for_arrivals(block, timeout=120)
            engine.ended(ids[-48:])  # twice as many as run at once
            cpu[name].append((cpu_seconds(pids[name]) - used) * 1000 / block)
        assert {workflow["status"] for workflow in engine.ended(ids)} == {"COMPLETED"}
        rates[name].append((block - 1) / double.summary()["seconds"])
    for name, values in rates.items():
        row = {"tasks/s": statistics.median(values)}
        if name in pids:
            after = {"MB before": before[name], "MB after": memory_mb(pids[name])}
            row |= {"CPU ms a task": statistics.median(cpu[name]), **after}
        record("unpaced", name, row, raw={"tasks/s": values, "CPU ms a task": cpu.get(name)})
    quick = statistics.median(rates["ours"]) / statistics.median(rates["bare"])
    costly = statistics.median(cpu["ours"]) / statistics.median(cpu["bare"])
    large = memory_mb(pids["ours"]) / memory_mb(pids["bare"])
    record("unpaced", "ours / bare", {"tasks/s": quick, "CPU ms a task": costly, "MB after": large})
    assert quick >= 0.95
    assert costly <= 1.3
    assert large <= 1.4


async def raw_rest(engine: EngineRest, task_type: str, count: int) -> float:
    """Have so many tasks polled and completed with nothing in between, 24 at a time; returns the rate a second."""
    ids = start_many(engine, count, "raw", task_type)
    async with httpx.AsyncClient(base_url=f"{engine.url}/api", timeout=30, trust_env=False) as http:

        async def work(task: dict[str, Any] | None) -> int:
            """Complete a task, and each next one that the engine's answer brings along."""
            done = 0
            while task is not None:
                ids = {name: task[name] for name in ("taskId", "workflowInstanceId")}
                update = {**ids, "workerId": "raw", "status": "COMPLETED", "outputData": {"outcome": "updated"}}
                answer = (await http.post("/tasks/update-v2", json=update)).raise_for_status()
                task = answer.json() if answer.content else None
                done += 1
            return done

        began = time.monotonic()
        done = 0
        while done < count:
            query: dict[str, str | int] = {"count": 24, "timeout": 100, "domain": "raw", "workerid": "raw"}
            polled = (await http.get(f"/tasks/poll/batch/{task_type}", params=query)).raise_for_status().json()
            done += sum(await asyncio.gather(*map(work, polled)))
        rate = count / (time.monotonic() - began)
    engine.ended(ids)
    return rate
