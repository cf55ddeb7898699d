"""Timed overrides: how late they begin and how long each half takes at Dialpad's own rate, and one of 5,000 rows."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from bench.conftest import AS_DIALPAD, PERMITTED, Record, run_measured
from dialpad_ivr.testing.double import DoubleControl
from support.command import Command
from support.engine import EngineRest
from support.fixtures import StartWorker
from support.overrides import as_before, from_now, noted, overridden, wait_until_active
from support.peers import memory_mb
from support.provisioning import UNPACED, change, write_csv
from support.worker import running_console

CALLS = 2  # of each row in each half: what is selected is read first


@pytest.mark.timeout(400)
@pytest.mark.parametrize("count", [200, 500])
def test_each_half_begins_in_time_and_goes_at_the_rate_that_dialpad_permits(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, record: Record, count: int
) -> None:
    ideal = count * CALLS / PERMITTED
    delay, lasts = 10.0, 1.3 * ideal
    double.set_state(synthetic=count)
    double.configure(**AS_DIALPAD)
    known = double.summary()["arrivals"]
    with start_worker():
        begins = time.time() + delay
        window = {"from": from_now(delay), "until": from_now(delay + lasts)}
        started = engine.start(
            "override_custom_ivrs", {"changes": [noted(number) for number in range(count)], **window}
        )
        (ended,) = engine.ended([started], timeout=300)
    calls = double.ledger()[known:]
    made, restored = calls[: count * CALLS], calls[count * CALLS :]
    took = [max(half) - min(half) for half in ([call["monotonic"] for call in half] for half in (made, restored))]
    late = [made[0]["wall"] - begins, restored[0]["wall"] - begins - lasts]
    refused = double.summary()["by_status"].get("429", 0)
    record(
        "overrides",
        f"{count} rows at 20/s",
        {
            "restored": ended["output"]["restored_rows"],
            "answers of 429": refused,
            "begins late s": late[0],
            "ends late s": late[1],
            "made / ideal": took[0] / ideal,
            "restored / ideal": took[1] / ideal,
        },
    )
    assert ended["output"]["outcome"] == "success"
    assert as_before(double, count)
    assert refused == 0
    assert min(late) >= 0
    assert max(late) <= 5
    assert max(took) <= 1.1 * ideal


@pytest.mark.timeout(3600)
def test_five_thousand_rows_are_started_shown_and_restored_in_bounded_time_and_memory(
    command: Command,
    engine: EngineRest,
    double: DoubleControl,
    start_worker: StartWorker,
    record: Record,
    tmp_path: Path,
) -> None:
    count = 5000
    double.set_state(synthetic=count)
    changes = write_csv(tmp_path / "changes.csv", [change(number) for number in range(count)])
    run_measured(command, "plan", changes, **UNPACED)
    plan = tmp_path / "changes.plan.json"

    def measured(verb: str, *arguments: str | Path) -> str:
        """Run a command on overrides; returns what it printed."""
        seconds, memory, out = run_measured(command, "override", verb, *arguments, **UNPACED)
        record("overrides", f"{count} rows, {verb}", {"seconds": seconds, "MB": memory, "KB printed": len(out) / 1000})
        assert seconds < 30
        assert memory < 320  # the engine shows an override with all of its tasks: 12 MB of JSON
        return out

    def all_sent(since: float) -> float:
        double.wait_for_arrivals(double.summary()["arrivals"] + count * CALLS, timeout=1200)
        return time.monotonic() - since

    with start_worker(**UNPACED) as worker:
        began = time.monotonic()
        printed = measured("start", plan, "--reason", "snow", "--zone", "UTC", "--yes", "--json")
        started = json.loads(printed)["workflow_id"]
        made = all_sent(began)
        wait_until_active(engine, started, 120)
        assert overridden(double, count) == count
        for verb in ("list", "show", "report"):
            measured(verb, *([] if verb == "list" else [started]))
        shown = _read_pages(engine, double, tmp_path, started, record)
        assert max(shown.values()) < 300_000
        began = time.monotonic()
        measured("end", started, "--yes")
        restored = all_sent(began)
        (ended,) = engine.ended([started], timeout=300)
        memory = memory_mb(worker.process.pid, peak=True)
    measured("report", started, "--report", tmp_path / "snow")
    record("overrides", f"{count} rows, unpaced", {"made s": made, "restored s": restored, "worker MB": memory})
    assert (ended["output"]["outcome"], ended["output"]["restored_rows"]) == ("success", count)
    assert as_before(double, count)
    assert len((tmp_path / "snow.report.csv").read_text().splitlines()) == count + 1


def _read_pages(
    engine: EngineRest, double: DoubleControl, folder: Path, workflow_id: str, record: Record
) -> dict[str, int]:
    """Read the console's pages of an override; returns the size of those that a person looks at, in bytes."""
    page, sizes = f"/overrides/{quote(workflow_id, safe='')}", {}
    with (
        running_console(engine.url, double.url, folder / "console.log") as url,
        httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        for path in ("/overrides", page, f"{page}?page=50", f"{page}/report", f"{page}/report.csv"):
            began = time.monotonic()
            answer = client.get(path).raise_for_status()
            seconds, name = time.monotonic() - began, path.replace(workflow_id, "ID")
            record("overrides", f"page {name}", {"seconds": seconds, "KB": len(answer.content) / 1000})
            assert seconds < 15
            if "/report" not in path:
                sizes[path] = len(answer.content)
    return sizes
