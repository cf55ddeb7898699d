"""Export and check at size: 500 call centers at Dialpad's own rate, and 5,000 unthrottled, in how much memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.conftest import AS_DIALPAD, Record, run_measured
from dialpad_ivr.testing.double import DoubleControl
from support.command import Command
from support.provisioning import UNPACED


@pytest.mark.timeout(300)
def test_five_hundred_call_centers_are_exported_at_the_rate_that_dialpad_permits(
    command: Command, double: DoubleControl, record: Record, tmp_path: Path
) -> None:
    count = 500
    double.set_state(company=count)
    double.configure(**AS_DIALPAD)
    known = double.summary()["arrivals"]
    memory = run_measured(command, "export", "callcenter", "--out", tmp_path / "export.csv").memory
    arrivals = [arrival["monotonic"] for arrival in double.ledger()][known:]
    seconds, ideal = max(arrivals) - min(arrivals), len(arrivals) / 20
    refused = double.summary()["by_status"].get("429", 0)
    figures: dict[str, Any] = {"calls": len(arrivals), "answers of 429": refused, "seconds": seconds}
    record("export", f"{count} at 20/s", {**figures, "utilisation": ideal / seconds, "MB": memory})
    assert len((tmp_path / "export.csv").read_text().splitlines()) == 2 * count + 1
    assert len(arrivals) <= count + 10  # a call for each target, and the pages of two lists
    assert refused == 0
    assert seconds <= 1.1 * ideal


@pytest.mark.timeout(900)
def test_five_thousand_call_centers_are_exported_and_checked_in_bounded_memory(
    command: Command, double: DoubleControl, record: Record, tmp_path: Path
) -> None:
    file = tmp_path / "export.csv"
    peaks = {}
    for count in (500, 5000):
        double.set_state(company=count)
        took, peaks[count], _ = run_measured(
            command, "export", "callcenter", "--ivr-type", "HOLD_MUSIC", "--out", file, **UNPACED
        )
        record("export", f"{count} unthrottled", {"completed": count, "seconds": took, "MB": peaks[count]})
        assert len(file.read_text().splitlines()) == count + 1
    known = double.summary()["arrivals"]
    took, memory, _ = run_measured(command, "check", file, "--report", tmp_path / "report", **UNPACED)
    calls = double.summary()["arrivals"] - known
    record("check", f"{count} rows unthrottled", {"completed": count, "seconds": took, "calls": calls, "MB": memory})
    assert calls <= count + 60
    assert memory < 200
    assert peaks[5000] < peaks[500] + 60
