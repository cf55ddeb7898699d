"""Timed overrides whose engine is down at the time, or whose key was rotated, or refused, meanwhile."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.local.engine import free_port, running_engine
from dialpad_ivr.provisioning.times import from_milliseconds, iso_text
from dialpad_ivr.testing.double import DoubleControl
from support.command import Command
from support.engine import EngineRest, until
from support.fixtures import StartWorker, put_quick_definitions
from support.overrides import as_before, noted, overridden, phase, wait_until_active
from support.provisioning import UNPACED, old_ivr
from support.worker import CREDENTIALS, WorkerProcess, running_worker

WORKFLOW = "override_custom_ivrs"
ROWS = 4
OLD_KEY, NEW_KEY = "key-of-main", "key-of-odd"


# ---- an engine that is down at the time


def utc(at: int) -> str:
    return iso_text(from_milliseconds(at * 1000))


def waits(engine: EngineRest, workflow_id: str) -> bool:
    tasks = engine.workflow(workflow_id)["tasks"]
    return any((task["taskType"], task["status"]) == ("WAIT", "IN_PROGRESS") for task in tasks)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_engine_that_was_down_restores_late_applies_late_or_leaves_alone_what_was_missed(
    double: DoubleControl, tmp_path: Path, record_property: Any
) -> None:
    port, data = free_port(), tmp_path / "engine"
    double.set_state(synthetic=3 * ROWS)
    active, missed, late = ([noted(number) for number in range(first, first + ROWS)] for first in (0, ROWS, 2 * ROWS))

    @contextlib.contextmanager
    def engine() -> Iterator[EngineRest]:
        with (
            running_engine(port, data) as local,
            contextlib.closing(EngineRest(local.url)) as rest,
            running_worker(rest.url, double.url, tmp_path / "worker.log", **CREDENTIALS, **UNPACED),
        ):
            yield rest

    with engine() as rest, Command(rest, double) as command:
        put_quick_definitions(rest)
        started = time.time()
        to_restore = rest.start(WORKFLOW, {"changes": active})
        until(lambda: phase(rest, to_restore) == "active", 60, "the first one to be active")
        # As long as it takes to start the others and to stop the engine, even on a busy machine.
        begins = math.ceil(time.time() + 8 + 1.5 * (time.time() - started))
        ends = begins + 2
        window = {"from": utc(begins), "until": utc(ends)}
        to_miss = rest.start(WORKFLOW, {"changes": missed, **window})
        to_begin = rest.start(WORKFLOW, {"changes": late, "from": window["from"]})
        command("override", "extend", to_restore, "--until", window["from"])
        for workflow_id in (to_restore, to_miss, to_begin):
            until(partial(waits, rest, workflow_id), 30, "the override to wait")
        assert rest.workflow(to_restore)["variables"]["until_ms"] == begins * 1000
        assert overridden(double, 3 * ROWS) == ROWS
    assert time.time() < begins, "the engine was stopped too late"
    sent = double.summary()["arrivals"]
    until(lambda: time.time() > ends, 60, "the end to go by")
    down_until = time.time()
    with engine() as rest, Command(rest, double) as command:
        back = time.time()
        ended = dict(zip((to_restore, to_miss), rest.ended((to_restore, to_miss)), strict=True))
        restored = command.json("override", "report", to_restore)
        until(lambda: phase(rest, to_begin) == "active", 60, "the late one to be active")
        begun = command.json("override", "report", to_begin)
        nothing = command.json("override", "report", to_miss)
    took = next(line["wall"] for line in double.ledger()[sent:]) - back
    record_property("seconds from the engine's return to the first call", f"{took:.1f}")
    assert took < 30
    # What was on is restored, and the report says how late that was.
    assert ended[to_restore]["output"]["outcome"] == "success"
    assert restored["restored"] == {"updated": ROWS}
    assert restored["restoring_late_seconds"] > down_until - begins
    # What was over before it could begin has changed nothing.
    assert (ended[to_miss]["status"], ended[to_miss]["output"]["outcome"]) == ("FAILED", "missed")
    assert (nothing["state"], nothing["made"], nothing["left"]) == ("missed", {"pending": ROWS}, 0)
    assert not [line for line in double.ledger() if line["target_id"] in {row["target_id"] for row in missed}]
    # What had begun meanwhile is applied, late.
    assert begun["made"] == {"updated": ROWS}
    assert begun["started_late_seconds"] > down_until - begins
    assert overridden(double, 3 * ROWS) == ROWS
    assert as_before(double, 2 * ROWS)


# ---- a key that is rotated, or refused


class KeyFile:
    """A worker's credentials file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.holds(OLD_KEY)

    def holds(self, key: str) -> None:
        """Replace it in one step, as its how-to page says."""
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({"default": {"api_key": key, "company": "acme"}}))
        new.replace(self.path)


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture
def worker(start_worker: StartWorker, keys: KeyFile) -> Iterator[WorkerProcess]:
    """A worker whose key is in a file only."""
    with start_worker(DIALPAD_API_KEY="", DIALPAD_IVR_CREDENTIALS_FILE=str(keys.path), **UNPACED) as running:
        yield running


def active_override(engine: EngineRest, double: DoubleControl) -> str:
    started = engine.start(WORKFLOW, {"changes": [noted(number) for number in range(ROWS)]})
    wait_until_active(engine, started)
    assert overridden(double, ROWS) == ROWS
    return started


def test_override_is_restored_with_the_key_that_replaced_its_own(
    command: Command, engine: EngineRest, targets: DoubleControl, worker: WorkerProcess, keys: KeyFile
) -> None:
    started = active_override(engine, targets)
    keys.holds(NEW_KEY)
    targets.configure(revoked=[OLD_KEY])
    command("override", "end", started, "--yes")
    (ended,) = engine.ended([started])
    assert (ended["output"]["outcome"], ended["output"]["restored_rows"]) == ("success", ROWS)
    assert as_before(targets, ROWS)
    assert "401" not in targets.summary()["by_status"]


def test_rows_that_a_revoked_key_could_not_restore_are_reported_and_restored_once_the_key_is_replaced(
    command: Command, engine: EngineRest, targets: DoubleControl, worker: WorkerProcess, keys: KeyFile
) -> None:
    started = active_override(engine, targets)
    targets.configure(revoked=[OLD_KEY])
    command("override", "end", started, "--yes")
    (ended,) = engine.ended([started])
    assert (ended["status"], ended["output"]["outcome"]) == ("FAILED", "not_restored")
    assert (ended["output"]["restored_rows"], ended["output"]["left_rows"]) == (0, ROWS)
    report = command.json("override", "report", started, code=1)
    assert report["restored"] == {"unauthorized": ROWS}
    assert report["left"] == ROWS
    assert all(row["left"] and "401" in row["restored_message"] for row in report["rows"])
    assert [row["previous"] for row in report["rows"]] == [old_ivr(number) for number in range(ROWS)]
    assert overridden(targets, ROWS) == ROWS
    (listed,) = [each for each in command.json("override", "list") if each["workflow_id"] == started]
    assert listed["state"] == "not_restored"
    repair = f"dialpad-ivr override end {started}"
    assert repair in command("override", "report", started, code=1)
    keys.holds(NEW_KEY)
    command(*repair.split()[1:], "--yes")
    (restoring,) = engine.correlated("override_custom_ivrs_restore", started)
    engine.ended([restoring["workflowId"]])
    assert as_before(targets, ROWS)
    assert command.json("override", "report", started)["restored"] == {"updated": ROWS}
    assert "restored since" in command("override", "report", started)
    assert started not in [each["workflow_id"] for each in command.json("override", "list")]
    assert "has left nothing to restore" in command("override", "end", started, "--yes", code=1)
