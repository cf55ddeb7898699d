"""Outages of Dialpad at its own limits: no workflow fails, few calls go into it, and all is done soon after its end.

And what looks like one: a target that always fails, among many that do not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import pytest

from bench.conftest import AS_DIALPAD, PERMITTED, Record, abba, large, measured, start_many
from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest
from support.fixtures import StartWorker, put_quick_definitions
from support.provisioning import target

CALLS_AT_MOST = 60
DONE_WITHIN = 30
DOWN = {"fault": "status", "status": 503, "times": None}
FLAPPING, UP_SECONDS, DOWN_SECONDS = 600, 10, 20
AMONG = 500  # one poison target


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("minutes", "count"), [(4, 200), pytest.param(20, 500, marks=large)])
def test_an_outage_costs_no_change_and_few_calls(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, record: Record, minutes: int, count: int
) -> None:
    double.set_state(synthetic=count)
    double.configure(**AS_DIALPAD)
    double.add_faults(DOWN)
    with start_worker():
        ids = start_many(engine, count)
        time.sleep(minutes * 60)  # the outage that is measured
        double.clear_faults()
        over = time.monotonic()
        ended = engine.ended(ids, timeout=DONE_WITHIN + count / PERMITTED + 60)
    summary = double.summary()
    row = {
        **measured(summary, ended),
        "calls into it": summary["by_status"]["503"],
        "sent twice": summary["applied"] - count,
        "done after s": max(call["monotonic"] for call in double.ledger()) - over,
    }
    record("outage", f"{minutes} minutes, {count} queued", row)
    assert row["completed"] == count
    assert row["calls into it"] <= CALLS_AT_MOST * minutes / 4
    assert row["sent twice"] == 0
    assert row["done after s"] <= DONE_WITHIN + count / PERMITTED


@pytest.fixture
def _shipped_retries(engine: EngineRest) -> Iterator[None]:
    """The last change of a bench is alone, which opens no circuit: it is to outlast an outage by its retries."""
    engine.put_shipped()
    yield
    put_quick_definitions(engine)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("_shipped_retries")
def test_a_flapping_dialpad_makes_progress_whenever_it_is_up(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, record: Record
) -> None:
    double.set_state(synthetic=FLAPPING)
    double.configure(**AS_DIALPAD)
    progress: list[int] = []  # the changes made in each time that it is up
    ids = start_many(engine, FLAPPING)
    with start_worker():
        while (known := double.summary()["applied"]) < FLAPPING:
            time.sleep(UP_SECONDS)  # as Dialpad is up, and then down
            double.add_faults(DOWN)
            progress.append(double.summary()["applied"] - known)
            time.sleep(DOWN_SECONDS)
            double.clear_faults()
        ended = engine.ended(ids)
    summary = double.summary()
    row = {
        **measured(summary, ended),
        "calls into it": summary["by_status"]["503"],
        "sent twice": summary["applied"] - FLAPPING,
        "changes while it is up": progress,
    }
    record("outage", f"up {UP_SECONDS} s, down {DOWN_SECONDS} s", row)
    assert row["completed"] == FLAPPING
    assert row["sent twice"] == 0
    assert all(progress)


@pytest.mark.timeout(600)
def test_a_poison_target_fails_alone_and_slows_nobody(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, record: Record
) -> None:
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    failed: dict[str, list[int]] = {"with": [], "without": []}
    for case in abba("without", "with"):
        double.reset()
        double.set_state(synthetic=AMONG)
        double.configure(**AS_DIALPAD)
        if case == "with":
            double.add_faults({"fault": "status", "status": 500, "times": None, "match": {"target_id": target(77)}})
        ids = start_many(engine, AMONG)
        with start_worker():
            ended = engine.ended(ids)
        made = [call["monotonic"] for call in double.ledger() if call["status"] == 200]
        seconds[case].append(max(made) - min(made))
        failed[case].append(sum(each["status"] != "COMPLETED" for each in ended))
    ratio = statistics.mean(seconds["with"]) / statistics.mean(seconds["without"])
    record("outage", f"a poison target among {AMONG}", {"failed": failed, "with it / without": ratio}, raw=seconds)
    assert failed == {"with": [1, 1], "without": [0, 0]}
    assert ratio <= 1.02
