"""Companies in one queue: how long the tasks of one wait behind many of another, and what it costs the engine."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import pytest

from bench.conftest import AS_DIALPAD, Record, all_ended, measured, start_many, utilisation
from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.credentials import KEY_NAME
from dialpad_ivr.testing.double import DoubleControl, started_double
from support.engine import EngineRest
from support.fixtures import StartWorker
from support.provisioning import change, target
from support.worker import CREDENTIALS, running_worker

MANY, FEW = 1500, 20
WORST_SECONDS = 15
ALONE = 1000
COMPANIES, EACH = 20, 60


def polls_a_task(ended: list[dict[str, Any]]) -> float:
    polls: list[int] = [task["pollCount"] for workflow in ended for task in workflow["tasks"]]
    return sum(polls) / len(ended)


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("warm_engine")
def test_a_company_is_reached_behind_the_long_queue_of_another(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, record: Record
) -> None:
    double.set_state(synthetic=MANY + FEW)
    double.configure(**AS_DIALPAD)
    ids = [engine.start(TASK_TYPE, change(number)) for number in range(MANY)]
    started = {}
    with start_worker():
        double.wait_for_arrivals(20, timeout=60)
        for number in range(MANY, MANY + FEW):
            started[target(number)] = time.monotonic()
            ids.append(engine.start(TASK_TYPE, change(number, credential="limited")))
        ended = all_ended(engine, double, ids, timeout=200)
    ledger = {entry["path"].split("/")[-2]: entry["monotonic"] for entry in double.ledger()}
    waited = [ledger[name] - moment for name, moment in started.items()]
    many = sorted(moment for name, moment in ledger.items() if name not in started)
    row = {
        **measured(double.summary(), ended),
        "utilisation": utilisation(len(many), many[-1] - many[0]),
        "median wait": statistics.median(waited),
        "worst wait": max(waited),
        "polls a task": polls_a_task(ended),
    }
    record("one queue", f"{FEW} of a company behind {MANY} of another", row)
    assert row["completed"] == len(ids)
    assert row["answers of 429"] == 0
    assert row["worst wait"] < WORST_SECONDS


@pytest.mark.timeout(300)
def test_a_single_company_costs_the_engine_few_updates(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, record: Record
) -> None:
    definition = engine.task_definition(TASK_TYPE)
    engine.put_task_definition(
        {**definition, "runtimeMetadata": [KEY_NAME]}
    )  # else the engine knows of another profile
    double.set_state(synthetic=ALONE)
    double.configure(**AS_DIALPAD)
    ids = start_many(engine, ALONE)
    with start_worker(**{name: "" for name in CREDENTIALS if name != "DIALPAD_API_KEY"}):
        ended = all_ended(engine, double, ids, timeout=150)
    engine.put_task_definition(definition)
    summary = double.summary()
    row = {
        **measured(summary, ended),
        "utilisation": utilisation(ALONE, summary["seconds"]),
        "polls a task": polls_a_task(ended),
    }
    record("one queue", f"{ALONE} of one company", row)
    assert row["completed"] == ALONE
    assert row["answers of 429"] == 0
    assert row["polls a task"] <= 1.3


@pytest.mark.timeout(300)
def test_many_companies_share_a_queue_at_the_rate_of_the_engine(
    engine: EngineRest, record: Record, tmp_path: Path
) -> None:
    names = [f"c{number}" for number in range(COMPANIES)]
    keys: dict[str, Any] = {f"DIALPAD_API_KEY_{name.upper()}": f"key-of-{name}" for name in names}
    with started_double({f"key-of-{name}": name for name in names}) as double:
        double.set_state(synthetic=COMPANIES * EACH)
        double.configure(**AS_DIALPAD)
        ids = [
            engine.start(TASK_TYPE, change(number, credential=names[number % COMPANIES]))
            for number in range(COMPANIES * EACH)
        ]
        with running_worker(engine.url, double.url, tmp_path / "worker.log", **keys):
            ended = all_ended(engine, double, ids, timeout=120)
        summary = double.summary()
    row = {**measured(summary, ended), "polls a task": polls_a_task(ended)}
    record("one queue", f"{EACH} of each of {COMPANIES} companies", row)
    assert row["completed"] == COMPANIES * EACH
    assert row["answers of 429"] == 0
    assert row["polls a task"] <= 1.3
