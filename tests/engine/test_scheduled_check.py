"""A check that the engine's own scheduler starts: it finds a drift, is approved, repairs it, and outlives a restart."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.local.engine import LocalEngine, free_port, running_engine
from dialpad_ivr.testing.double import DoubleControl, started_double
from support.browser import not_at_hand
from support.command import Command
from support.engine import EngineRest, until
from support.fixtures import put_quick_definitions
from support.postgres import engine_on_database, postgres_folder, running_postgres
from support.provisioning import UNPACED
from support.worker import CREDENTIALS, KEYS, running_worker

SELECTIONS = """\
target_type,target,office,ivr_type,ivr
callcenter,Support,Head office,HOLD_MUSIC,Summer hold music
callcenter,Hot*,,HOLD_MUSIC,Summer hold music
"""
SUPPORT = ("callcenter", "5502522061422592", "HOLD_MUSIC")
SUMMER = "5127493019721728"
EVERY_FIVE_SECONDS = "*/5 * * * * *"


class RestartedEngine:
    """An engine that starts again on the same data."""

    def __init__(self, database: str, folder: Path, stack: ExitStack) -> None:
        self._port, self._folder = free_port(), folder
        self._url = stack.enter_context(running_postgres()) if database == "postgres" else None

    def start(self) -> AbstractContextManager[LocalEngine]:
        if self._url is None:
            return running_engine(self._port, self._folder)
        return engine_on_database(self._url, self._port, self._folder)


@contextlib.contextmanager
def surroundings(local: LocalEngine, double: DoubleControl, log: Path) -> Iterator[Command]:
    """A worker on the engine, and the command."""
    with closing(EngineRest(local.url)) as rest, Command(rest, double) as command:
        put_quick_definitions(rest)
        with running_worker(local.url, double.url, log, **CREDENTIALS, **UNPACED):
            yield command


def listed(command: Command) -> dict[str, Any]:
    (schedule,) = command.json("schedules", "list")["schedules"]
    found: dict[str, Any] = schedule
    return found


def repaired(command: Command, double: DoubleControl, *, after: str = "") -> dict[str, Any]:
    """Approve the repair of a check that began after that time, and wait for a check that finds all in sync."""

    def drifted() -> dict[str, Any] | None:
        schedule = listed(command)
        last = schedule["last_run"]
        new = last and last["started_at"] > after and "different" in last["message"]
        return schedule if new and schedule["waiting_for_approval"] else None

    schedule: dict[str, Any] = until(drifted, 120, "a check that found the drift, and asks to repair it")
    assert double.selected(*SUPPORT)["inbound"] != SUMMER
    command("approve", schedule["waiting_for_approval"][0])
    until(lambda: double.selected(*SUPPORT)["inbound"] == SUMMER, 60, "the repair")

    def in_sync() -> dict[str, Any] | None:
        last: dict[str, Any] = listed(command)["last_run"]
        return last if last["message"] == "3 of 3 in sync" else None

    last: dict[str, Any] = until(in_sync, 60, "a check that found all in sync")
    return last


@pytest.mark.long
@pytest.mark.timeout(600)  # on a busy machine, an engine takes minutes to start
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_schedule_fires_finds_a_drift_repairs_it_once_approved_and_fires_after_a_restart(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database == "postgres" and postgres_folder() is None:
        not_at_hand("PostgreSQL is not installed.", "apt-get install --no-install-recommends postgresql")
    # By default the scheduler waits for 15 s after a start.
    monkeypatch.setenv("JDK_JAVA_OPTIONS", "-Dconductor.scheduler.initialDelayMs=1000")
    file = tmp_path / "selections.csv"
    file.write_text(SELECTIONS)
    with ExitStack() as stack:
        double = stack.enter_context(started_double(KEYS, enforce=False))
        engine = RestartedEngine(database, tmp_path, stack)
        with engine.start() as local, surroundings(local, double, tmp_path / "first.log") as command:
            options = ("--every", EVERY_FIVE_SECONDS, "--zone", "Europe/Berlin", "--repair", "ask")
            assert "Scheduled as selections: 3 rows" in command("check", file, *options)
            last = repaired(command, double)
        double.reset()  # somebody changes it back, while the engine is down
        with engine.start() as local, surroundings(local, double, tmp_path / "second.log") as command:
            assert repaired(command, double, after=last["started_at"])["started_at"] > last["started_at"]
            command("schedules", "remove", "selections")
            assert command.json("schedules", "list") == {"schedules": []}
