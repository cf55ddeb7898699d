"""Overrides of the double's synthetic targets, and an engine and a worker that fail in each half."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from dialpad_ivr.local.engine import free_port, running_engine
from dialpad_ivr.testing.double import DoubleControl, started_double
from support.command import Command
from support.engine import EngineRest, until
from support.provisioning import UNPACED, change, ivr, old_ivr, planned, selected, target
from support.worker import CREDENTIALS, KEYS, running_worker

BY_A_PERSON = "7900000000000000"


def from_now(seconds: float) -> str:
    """A time, as the workflow takes it."""
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def noted(number: int, **more: Any) -> dict[str, Any]:
    """A change that can be restored: its note says what is selected before."""
    return change(number, note={"line": number + 2, "previous": [{"id": old_ivr(number), "name": None}]}, **more)


def overridden(double: DoubleControl, count: int) -> int:
    """How many of the first targets have the override's IVR."""
    return sum(now == ivr(number) for number, now in enumerate(selected(double, range(count))))


def as_before(double: DoubleControl, count: int) -> bool:
    """Whether the first targets have what they had at first."""
    return selected(double, range(count)) == [old_ivr(number) for number in range(count)]


def change_by_a_person(double: DoubleControl, number: int) -> None:
    """In Dialpad's own settings: a third IVR, which is neither the override's nor the one from before."""
    state = double.state()
    (slot,) = next(found["slots"] for found in state if found["target_id"] == target(number))
    slot["ivrs"].append({**slot["ivrs"][0], "id": BY_A_PERSON, "name": "By a person"})
    slot["selected"] = {"inbound": BY_A_PERSON, "outbound": BY_A_PERSON}
    double.set_state(*state)


def override_of(engine: EngineRest, guard: str) -> str:
    """The id of the override that a guard has started."""

    def child() -> str | None:
        return next((task.get("subWorkflowId") for task in engine.workflow(guard)["tasks"]), None)

    found: str = until(child, 30, "the guard to start its override")
    return found


def phase(engine: EngineRest, workflow_id: str) -> str | None:
    found: str | None = engine.workflow(workflow_id)["variables"].get("phase")
    return found


def wait_until_active(engine: EngineRest, workflow_id: str, timeout: float = 30) -> None:
    until(lambda: phase(engine, workflow_id) == "active", timeout, "the override to be active")


def broken_override(count: int, folder: Path) -> dict[str, Any]:
    """An override whose worker is killed with -9, and whose engine is restarted, in each half and in between.

    Returns:
        The report, and whether each target has what it had before.
    """
    port, data = free_port(), folder / "engine"

    @contextlib.contextmanager
    def engine() -> Iterator[EngineRest]:
        with running_engine(port, data) as local, contextlib.closing(EngineRest(local.url)) as rest:
            yield rest

    def killed_half_way(rest: EngineRest, double: DoubleControl, log: str) -> None:
        with running_worker(rest.url, double.url, folder / log, **CREDENTIALS, **UNPACED) as worker:
            double.wait_for_arrivals(double.summary()["arrivals"] + count, timeout=120)  # a read and a PATCH each
            worker.stop(signal.SIGKILL)

    with started_double(KEYS, enforce=False) as double:
        double.set_state(synthetic=count)
        with engine() as rest, Command(rest, double) as command:
            rest.put_shipped(responseTimeoutSeconds=10)
            plan = planned(command, folder, [change(number) for number in range(count)])
            started = command.json("override", "start", plan, "--reason", "faults", "--yes")["workflow_id"]
            killed_half_way(rest, double, "first.log")
        with engine() as rest:
            with running_worker(rest.url, double.url, folder / "second.log", **CREDENTIALS, **UNPACED):
                wait_until_active(rest, started, 240)
            assert overridden(double, count) == count
        with engine() as rest, Command(rest, double) as command:
            command("override", "end", started, "--yes")
            killed_half_way(rest, double, "third.log")
        with engine() as rest, Command(rest, double) as command:
            with running_worker(rest.url, double.url, folder / "fourth.log", **CREDENTIALS, **UNPACED):
                rest.ended([started], timeout=240)
            report: dict[str, Any] = command.json("override", "report", started)
        return {**report, "as_before": as_before(double, count)}
