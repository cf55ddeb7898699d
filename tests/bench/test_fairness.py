"""Two companies in one queue: how long the tasks of one wait behind many of the other."""

from __future__ import annotations

import statistics
import time

import pytest

from bench.conftest import Record
from dialpad_ivr.contract.values import TASK_TYPE
from support.double import DoubleControl
from support.engine import EngineRest
from support.fixtures import StartWorker
from support.provisioning import change, target

MANY, FEW = 1500, 20
WORST_SECONDS = 30


@pytest.mark.timeout(400)
def test_a_company_is_reached_behind_the_long_queue_of_another(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, record: Record
) -> None:
    double.set_state(synthetic=MANY + FEW)
    strict = {"patch": {"calls": 1200, "window_seconds": 60}, "company": {"calls": 20, "window_seconds": 1}}
    double.configure(enforce=True, **strict, latency=0.05, arrival_jitter=0.0, answer_jitter=0.005)
    ids = [engine.start(TASK_TYPE, change(number)) for number in range(MANY)]
    started = {}
    with start_worker():
        double.wait_for_arrivals(20, timeout=60)
        for number in range(MANY, MANY + FEW):
            started[target(number)] = time.monotonic()
            ids.append(engine.start(TASK_TYPE, change(number, credential="limited")))
        ended = engine.ended(ids, timeout=200)
    ledger = {entry["path"].split("/")[-2]: entry["monotonic"] for entry in double.ledger()}
    waited = [ledger[name] - moment for name, moment in started.items()]
    many = sorted(moment for name, moment in ledger.items() if name not in started)
    row = {
        "completed": sum(workflow["status"] == "COMPLETED" for workflow in ended),
        "answers of 429": double.summary()["by_status"].get("429", 0),
        "utilisation": (len(many) - 1) / (many[-1] - many[0]) / 20,
        "median wait": statistics.median(waited),
        "worst wait": max(waited),
        "polls a task": sum(task["pollCount"] for w in ended for task in w["tasks"]) / len(ids),
    }
    record("one queue", f"{FEW} of a company behind {MANY} of another", row)
    assert row["completed"] == len(ids)
    assert row["answers of 429"] == 0
    assert row["worst wait"] < WORST_SECONDS
