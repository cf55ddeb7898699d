"""Outages of Dialpad at its own limits: no workflow fails, few calls go into it, and all is done soon after its end."""

from __future__ import annotations

import time

import pytest

from bench.conftest import DIALPAD, PERMITTED, Record, large, measured, start_many
from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest
from support.fixtures import StartWorker

CALLS_AT_MOST = 60
DONE_WITHIN = 30


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("minutes", "count"), [(4, 200), pytest.param(20, 500, marks=large)])
def test_an_outage_costs_no_change_and_few_calls(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, record: Record, minutes: int, count: int
) -> None:
    double.set_state(synthetic=count)
    double.configure(enforce=True, **DIALPAD, latency=0.05, answer_jitter=0.005)
    double.add_faults({"fault": "status", "status": 503, "times": None})
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
