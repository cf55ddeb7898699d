"""What the schema in our task definition costs the engine, which copies it into every task: with and without it."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from bench.conftest import Record, abba, start_many
from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.engine.definitions import task_definition
from support.engine import EngineRest

TASKS = 400
BATCH = 20
ABBA = abba("with", "without")


def drain(engine: EngineRest, domain: str) -> float:
    """Poll and complete what a domain's queue holds, by raw REST; returns the tasks a second."""
    started, done = time.perf_counter(), 0
    with httpx.Client(base_url=f"{engine.url}/api", timeout=30, trust_env=False) as http, ThreadPoolExecutor(4) as pool:

        def complete(task: dict[str, Any]) -> None:
            ids = {"taskId": task["taskId"], "workflowInstanceId": task["workflowInstanceId"]}
            http.post("/tasks", json={**ids, "status": "COMPLETED", "outputData": {"ok": True}}).raise_for_status()

        while done < TASKS:
            params: dict[str, str | int] = {"domain": domain, "count": BATCH, "timeout": 100}
            tasks = http.get(f"/tasks/poll/batch/{TASK_TYPE}", params=params).raise_for_status().json()
            list(pool.map(complete, tasks))
            done += len(tasks)
    return done / (time.perf_counter() - started)


@pytest.mark.timeout(900)
def test_poll_and_complete_with_our_schema_and_without(engine: EngineRest, record: Record) -> None:
    ours = task_definition()
    definitions = {"with": ours, "without": {k: v for k, v in ours.items() if k != "inputSchema"}}
    rates: dict[str, list[float]] = {case: [] for case in definitions}
    for number, case in enumerate((*ABBA, *ABBA, *ABBA)):
        engine.put_task_definition(definitions[case])
        start_many(engine, TASKS, domain=f"{case}-{number}")
        rates[case].append(drain(engine, f"{case}-{number}"))
    engine.put_task_definition(ours)
    medians = {case: statistics.median(values[2:]) for case, values in rates.items()}  # the first pair warms it up
    for case, rate in medians.items():
        record("definitions", case, {"tasks a second": rate, "of without": rate / medians["without"]}, raw=rates[case])
