"""One-task workflows against a double as strict as Dialpad: the rate that is used."""

from __future__ import annotations

import time

import pytest

from bench.conftest import DIALPAD, PACED, PERMITTED, STRICT, Record, all_ended, measured, start_many, utilisation
from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest
from support.fixtures import StartWorker

COUNT = 600
# Of responses, in seconds: as long as each of ten spells of the one and of the other lasts.
FAST, SLOW = (0.05, 8.0), (4.0, 6.0)
SLOW_COUNT = int(10 * (FAST[1] + SLOW[1]) * PERMITTED)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("jitter", "answer_jitter", "least", "refusals"),
    [(0.0, 0.005, 0.97, 0), (0.004, 0.0, 0.97, 0), (0.05, 0.0, 0.92, 3), (0.0, 0.05, 0.92, 3)],
)
def test_600_tasks_use_the_permitted_rate_and_draw_no_429(
    engine: EngineRest,
    double: DoubleControl,
    start_worker: StartWorker,
    record: Record,
    jitter: float,
    answer_jitter: float,
    least: float,
    refusals: int,
) -> None:
    double.set_state(synthetic=COUNT)
    double.configure(enforce=True, **STRICT, latency=0.05, arrival_jitter=jitter, answer_jitter=answer_jitter)
    domain = f"bench-{jitter}-{answer_jitter}"
    ids = start_many(engine, COUNT, domain)
    with start_worker(DIALPAD_IVR_DOMAIN=domain, **PACED) as worker:
        ended = all_ended(engine, double, ids, timeout=120)
        assert worker.stop() == 0
    summary = double.summary()
    used = utilisation(summary["arrivals"], summary["seconds"])
    row = measured(summary, ended)
    case = f"jitter of arrivals {jitter} s, of answers {answer_jitter} s"
    record("600 tasks", case, {**row, "utilisation": used})
    assert {w["status"] for w in ended} == {"COMPLETED"}
    assert {task["retryCount"] for w in ended for task in w["tasks"]} == {0}
    assert row["answers of 429"] <= refusals
    assert used >= least


@pytest.mark.timeout(500)
def test_responses_that_slow_down_and_speed_up_draw_no_429_and_cost_no_rate(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, record: Record
) -> None:
    double.set_state(synthetic=SLOW_COUNT)
    double.configure(enforce=True, **DIALPAD, latency=FAST[0], answer_jitter=0.005)
    # Bulk work, which waits in the worker: what is measured is the pacing, not what a look ahead costs the machine.
    ids = start_many(engine, SLOW_COUNT, "slow.bulk")
    # As many slots as calls are under way when each takes 4 s, and no longer wait than in those slots.
    slots = {"DIALPAD_IVR_CONCURRENCY": "120", "DIALPAD_IVR_MAX_INLINE_WAIT_SECONDS": "10"}
    with start_worker(DIALPAD_IVR_DOMAIN="slow", **slots):
        for latency, seconds in (FAST, SLOW) * 10:
            double.configure(latency=latency)
            time.sleep(seconds)
        double.configure(latency=FAST[0])
        ended = all_ended(engine, double, ids, timeout=120)
    summary = double.summary()
    used = utilisation(summary["arrivals"], summary["seconds"])
    row = measured(summary, ended)
    record("pacing", "responses of 0.05 s and 4 s in turn", {**row, "utilisation": used})
    assert row["completed"] == SLOW_COUNT
    assert (row["answers of 429"], row["retries"]) == (0, 0)
    assert used >= 0.97
