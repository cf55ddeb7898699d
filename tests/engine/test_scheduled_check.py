"""A check that the engine's own scheduler starts: it finds a drift, is approved, repairs it, and outlives a restart."""

from __future__ import annotations

import contextlib
import time
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
EVERY_TEN_SECONDS = "*/10 * * * * *"


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
def surroundings(local: LocalEngine, double: DoubleControl, log: Path) -> Iterator[tuple[Command, EngineRest]]:
    """A worker on the engine, and the command."""
    with closing(EngineRest(local.url)) as rest, Command(rest, double) as command:
        put_quick_definitions(rest)
        with running_worker(local.url, double.url, log, **CREDENTIALS, **UNPACED):
            yield command, rest


def of_checks(rest: EngineRest, name: str, since: float) -> list[dict[str, Any]]:
    """The workflows of that name that checks were, or started, since then."""
    return [run for run in rest.correlated(name, "selections") if run["startTime"] > since * 1000]


def repaired_by_a_check(since: float, command: Command, rest: EngineRest, double: DoubleControl) -> None:
    """Approve the repair of a check that the scheduler started since then."""

    def to_approve() -> str | None:
        listed = command.json("schedules", "list")["schedules"][0]["waiting_for_approval"]
        repairs = (run["workflowId"] for run in of_checks(rest, "provision_custom_ivrs", since))
        return next((workflow_id for workflow_id in repairs if workflow_id in listed), None)

    workflow_id: str = until(to_approve, 120, "a check that found the drift, and asks to repair it")
    (listed,) = command.json("schedules", "list")["schedules"]
    assert listed["last_run"]["started_at"] is not None
    shown = command("status", workflow_id, "--no-follow")
    assert "~ callcenter Support, Head office (5502522061422592) HOLD_MUSIC  (line 2)" in shown
    assert rest.workflow(workflow_id)["input"]["plan"]["source"] == "check selections"
    assert double.selected(*SUPPORT)["inbound"] != SUMMER
    command("approve", workflow_id, "--yes")
    (ended,) = rest.ended([workflow_id])
    assert ended["output"]["counts"] == {"updated": 3}
    assert double.selected(*SUPPORT)["inbound"] == SUMMER


@pytest.mark.long
@pytest.mark.timeout(600)  # on a busy machine, an engine takes minutes to start
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_schedule_fires_finds_a_drift_repairs_it_once_approved_and_fires_after_a_restart(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database == "postgres" and postgres_folder() is None:
        not_at_hand("PostgreSQL is not installed.", "apt-get install --no-install-recommends postgresql")
    # By default the scheduler waits for 15 s after a start.
    monkeypatch.setenv("JDK_JAVA_OPTIONS", "-Dconductor.scheduler.initialDelayMs=1000", prepend=" ")
    file = tmp_path / "selections.csv"
    file.write_text(SELECTIONS)
    with ExitStack() as stack:
        double = stack.enter_context(started_double(KEYS, enforce=False))
        engine = RestartedEngine(database, tmp_path, stack)
        with engine.start() as local, surroundings(local, double, tmp_path / "first.log") as (command, rest):
            options = ("--every", EVERY_TEN_SECONDS, "--zone", "Europe/Berlin", "--repair", "ask")
            assert "Scheduled as selections: 3 rows" in command("check", file, *options)
            repaired_by_a_check(0, command, rest, double)
        double.reset()  # somebody changes it back, while the engine is down
        restarted = time.time()
        with engine.start() as local, surroundings(local, double, tmp_path / "second.log") as (command, rest):
            repaired_by_a_check(restarted, command, rest, double)

            def in_sync() -> bool:
                checks = of_checks(rest, "check_custom_ivrs", restarted)
                return any(run.get("output", {}).get("in_sync") for run in checks)

            until(in_sync, 240, "a check that found all in sync")  # on Postgres, the engine is a minute or two late
            command("schedules", "remove", "selections")
            assert command.json("schedules", "list") == {"schedules": []}
