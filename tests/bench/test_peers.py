"""Our worker and what people use today on the same tasks, against a double as strict as Dialpad."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from bench.conftest import DIALPAD, STRICT, Record, large, measured, start_many, utilisation
from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest
from support.fixtures import StartWorker
from support.peers import PEER_TASK, put_peer_definitions, running_peer

NONE = {"calls": 1_000_000, "window_seconds": 1}
REGIMES = {
    "200 per 10 s and 20/s": STRICT,
    "1200/min only": {"patch": DIALPAD["patch"], "company": NONE},
    "1200/min and 20/s": DIALPAD,
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("worker", "count", "regime", "least"),
    [
        *((worker, 600, "200 per 10 s and 20/s", 0.96) for worker in ("naive", "aiolimited", "ours")),
        ("ours", 2000, "1200/min only", 0.98),
        ("ours", 2000, "1200/min and 20/s", 0.96),
        *(
            pytest.param(worker, 2000, regime, 0.0, marks=large)
            for worker in ("naive", "aiolimited")
            for regime in ("1200/min only", "1200/min and 20/s")
        ),
    ],
)
def test_the_limits_lose_our_worker_nothing(
    engine: EngineRest,
    double: DoubleControl,
    start_worker: StartWorker,
    record: Record,
    tmp_path: Path,
    worker: str,
    count: int,
    regime: str,
    least: float,
) -> None:
    put_peer_definitions(engine)
    limits = REGIMES[regime]
    double.set_state(synthetic=count)
    double.configure(enforce=True, **limits, latency=0.05, answer_jitter=0.005)
    domain = f"{worker} {count} {regime}"
    task_type = TASK_TYPE if worker == "ours" else PEER_TASK
    ids = start_many(engine, count, domain, task_type)
    with contextlib.ExitStack() as running:
        if worker == "ours":
            running.enter_context(start_worker(DIALPAD_IVR_DOMAIN=domain, **limit_settings(limits)))
        else:
            pairs = [(limit["calls"], limit["window_seconds"]) for limit in limits.values() if limit != NONE]
            log = tmp_path / f"{worker}.log"
            running.enter_context(running_peer(worker, PEER_TASK, domain, engine, double, log, pairs))
        ended = engine.ended(ids, timeout=300)
    row = measured(double.summary(), ended)
    changed = [arrival["monotonic"] for arrival in double.ledger() if arrival["status"] == 200]
    row["utilisation"] = utilisation(len(changed), max(changed) - min(changed))
    record(f"{count} tasks at {regime}", worker, row)
    # A worker that paces nothing must not get away with it: else the double is not strict.
    assert worker != "naive" or row["answers of 429"] > 0
    if worker == "ours":
        assert row["completed"] == count
        assert row["answers of 429"] == 0
        assert row["utilisation"] >= least


def limit_settings(limits: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The limits as settings of our worker."""
    return {
        f"DIALPAD_IVR_{name.upper()}_{setting}": str(limit[field])
        for name, limit in limits.items()
        for setting, field in (("LIMIT", "calls"), ("WINDOW_SECONDS", "window_seconds"))
    }
