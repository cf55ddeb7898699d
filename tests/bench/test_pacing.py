"""600 one-task workflows against a double as strict as Dialpad, in a sixth of the time: the rate that is used."""

from __future__ import annotations

import pytest

from bench.conftest import PACED, PERMITTED, STRICT, Record, measured, start_many
from support.double import DoubleControl
from support.engine import EngineRest
from support.fixtures import StartWorker

COUNT = 600


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
        ended = engine.ended(ids, timeout=120)
        assert worker.stop() == 0
    summary = double.summary()
    utilisation = (summary["arrivals"] - 1) / summary["seconds"] / PERMITTED
    row = measured(summary, ended)
    case = f"jitter of arrivals {jitter} s, of answers {answer_jitter} s"
    record("600 tasks", case, {**row, "utilisation": utilisation})
    assert {w["status"] for w in ended} == {"COMPLETED"}
    assert {task["retryCount"] for w in ended for task in w["tasks"]} == {0}
    assert row["answers of 429"] <= refusals
    assert utilisation >= least
