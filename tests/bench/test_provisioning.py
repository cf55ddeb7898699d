"""Provisioning at size: a thousand rows unthrottled, the same interrupted, and five hundred at Dialpad's own rate."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bench.conftest import AS_DIALPAD, Record
from dialpad_ivr.testing.double import DoubleControl
from support.command import Command
from support.fixtures import StartWorker
from support.peers import memory_mb
from support.provisioning import UNPACED, change, interrupted_run, ivr, planned, selected


@pytest.mark.timeout(500)
def test_a_thousand_rows_are_planned_applied_and_rolled_back(
    command: Command, double: DoubleControl, start_worker: StartWorker, record: Record, tmp_path: Path
) -> None:
    count = 1000
    double.set_state(synthetic=count)
    before = selected(double, range(count))
    took = {}
    with start_worker(**UNPACED) as worker:
        began = time.monotonic()
        plan = planned(command, tmp_path, [change(number) for number in range(count)])
        took["plan"], began = time.monotonic() - began, time.monotonic()
        report = command.json("apply", plan, "--yes")
        took["apply"], began = time.monotonic() - began, time.monotonic()
        assert selected(double, range(count)) == [ivr(number) for number in range(count)]
        (undo,) = tmp_path.glob("changes.*.rollback.plan.json")
        undone = command.json("apply", undo, "--yes")
        took["rollback"] = time.monotonic() - began
        memory = memory_mb(worker.process.pid, peak=True)
    record("provisioning", f"{count} rows", {**{f"{name} s": took[name] for name in took}, "worker MB": memory})
    assert report["counts"] == undone["counts"] == {"updated": count}
    assert selected(double, range(count)) == before
    assert took["apply"] < 60
    assert memory < 150


@pytest.mark.timeout(500)
def test_a_thousand_rows_interrupted_half_way_are_all_right_in_the_end(record: Record, tmp_path: Path) -> None:
    count = 1000
    began = time.monotonic()
    report, right, sums, recovered = interrupted_run(count, tmp_path)
    record(
        "provisioning",
        f"{count} rows, all killed half-way",
        {
            "right": sum(right),
            "reported ok": sum(row["ok"] for row in report["rows"]),
            "sent twice": sums["applied"] - count,
            "recovered s": recovered,
            "seconds": time.monotonic() - began,
        },
    )
    assert all(right)
    assert report["outcome"] == "success"
    assert recovered < 20
    assert sum(report["counts"].values()) == count


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("flags", "calls"), [(["--overwrite"], 1), ([], 2)], ids=["overwrite", "checked"])
def test_five_hundred_rows_go_at_the_rate_that_dialpad_permits(
    command: Command,
    double: DoubleControl,
    start_worker: StartWorker,
    record: Record,
    tmp_path: Path,
    flags: list[str],
    calls: int,
) -> None:
    count = 500
    double.set_state(synthetic=count)
    plan = planned(command, tmp_path, [change(number) for number in range(count)])
    ideal = count * calls / 20
    double.configure(**AS_DIALPAD)
    known = double.summary()["arrivals"]
    with start_worker():
        report = command.json("apply", plan, "--yes", *flags)
    arrivals = [arrival["monotonic"] for arrival in double.ledger()][known:]
    seconds = max(arrivals) - min(arrivals)
    refused = double.summary()["by_status"].get("429", 0)
    record(
        "provisioning",
        f"{count} rows at 20/s, {calls} call(s) each",
        {
            "completed": report["counts"].get("updated"),
            "answers of 429": refused,
            "seconds": seconds,
            "utilisation": ideal / seconds,
        },
    )
    assert report["counts"] == {"updated": count}
    assert refused == 0
    assert seconds <= 1.1 * ideal
