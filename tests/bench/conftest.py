"""Benchmarks use the engine tests' engine, double and worker."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest
from rich.console import Console
from rich.table import Table

from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.provisioning.workflow import WORKFLOW
from dialpad_ivr.testing.double import DoubleControl
from support.command import Command
from support.engine import EngineRest, until
from support.fixtures import StartWorker
from support.provisioning import UNPACED, change

# Dialpad's limits; as strict in a sixth of the time, and the settings of a worker for it.
DIALPAD = {"patch": {"calls": 1200, "window_seconds": 60}, "company": {"calls": 20, "window_seconds": 1}}
STRICT = {"patch": {"calls": 200, "window_seconds": 10}, "company": {"calls": 20, "window_seconds": 1}}
PACED = {"DIALPAD_IVR_PATCH_LIMIT": "200", "DIALPAD_IVR_PATCH_WINDOW_SECONDS": "10"}
# How a double answers that is as strict as Dialpad, and as quick.
AS_DIALPAD: dict[str, Any] = {"enforce": True, **DIALPAD, "latency": 0.05, "answer_jitter": 0.005}
PERMITTED = 20.0  # calls a second, by either limit
WARM_UP = 1000

# Benchmarks that take many minutes run only when they are asked for.
large = pytest.mark.skipif(not os.environ.get("BENCH_LARGE"), reason="takes many minutes: make bench BENCH_LARGE=1")

ARTIFACTS = Path(__file__).parents[2] / "artifacts"


def abba(first: str, second: str) -> tuple[str, str, str, str]:
    """An order in which the machine's slow changes weigh on both sides the same."""
    return first, second, second, first


def utilisation(calls: int, seconds: float) -> float:
    """The share of the permitted rate that calls used which arrived in so many seconds."""
    return (calls - 1) / seconds / PERMITTED


@pytest.fixture(scope="session", autouse=True)
def _double_first(_double: DoubleControl) -> None:
    """Dialpad shares no machine with the engine: a call is not late because the double waits for a processor."""
    os.nice(5)  # whatever is started from now on


@pytest.fixture
def warm_engine(engine: EngineRest, double: DoubleControl, start_worker: StartWorker) -> None:
    """One that has run for a while: at first it compiles its code, and takes both processors for it."""
    double.set_state(synthetic=WARM_UP)
    with start_worker(**UNPACED):
        engine.ended([engine.start(WORKFLOW, {"changes": [change(number) for number in range(WARM_UP)]})], timeout=120)
    double.reset()


def start_many(engine: EngineRest, count: int, domain: str | None = None, workflow: str = TASK_TYPE) -> list[str]:
    """Start a one-task workflow for each of the double's synthetic targets."""
    return [engine.start(workflow, change(number), domain=domain) for number in range(count)]


def all_ended(engine: EngineRest, double: DoubleControl, ids: list[str], timeout: float) -> list[dict[str, Any]]:
    """The workflows, read once all changes are made: to look at each meanwhile would keep the engine from its work."""
    until(lambda: double.summary()["applied"] >= len(ids), timeout, "all changes")
    return engine.ended(ids, timeout=60)


def measured(summary: dict[str, Any], ended: list[dict[str, Any]]) -> dict[str, Any]:
    """What both sides tell of a run: the double's sums, and the workflows that ended."""
    return {
        "completed": sum(w["status"] == "COMPLETED" for w in ended),
        "failed": sum(w["status"] != "COMPLETED" for w in ended),
        "answers of 429": summary["by_status"].get("429", 0),
        "retries": sum(task["retryCount"] for w in ended for task in w["tasks"]),
        "most in 1 s": summary["worst"]["company"]["all"],
        "most in the PATCH window": summary["worst"]["patch"]["all"],
        "seconds": summary["seconds"],
    }


class Measured(NamedTuple):
    """A command that was run: how long it took in seconds, its peak memory in MiB, and what it printed."""

    seconds: float
    memory: float
    out: str


def run_measured(command: Command, *arguments: str | Path, **environ: str) -> Measured:
    """Run a command that reports little on its standard error."""
    began = time.monotonic()
    process = command.popen(*arguments, **environ)
    assert process.stdout is not None
    assert process.stderr is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.stderr.read()
    return Measured(time.monotonic() - began, usage.ru_maxrss / 1024, out)


class Record(Protocol):
    """Keeps what a benchmark found."""

    def __call__(self, bench: str, case: str, figures: dict[str, Any], raw: Any = None) -> None:
        """Keep a row; `raw` goes into the JSON only."""


@pytest.fixture(scope="session")
def record() -> Iterator[Record]:
    """Keep rows; at the end all are printed as one table, and written to artifacts/bench.json."""
    rows: list[dict[str, Any]] = []

    def keep(bench: str, case: str, figures: dict[str, Any], raw: Any = None) -> None:
        rows.append({"bench": bench, "case": case, **figures, **({} if raw is None else {"raw": raw})})

    yield keep
    ARTIFACTS.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "cores": os.cpu_count()}
    (ARTIFACTS / "bench.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
    table = Table("bench", "case", *_COLUMNS, "more")
    for row in rows:
        more = (f"{name} {_shown(value)}" for name, value in row.items() if name not in _APART)
        table.add_row(row["bench"], row["case"], *(_shown(row.get(name, "")) for name in _COLUMNS), ", ".join(more))
    Console(width=200).print(table)


# Those that most benchmarks have.
_COLUMNS = ("completed", "failed", "answers of 429", "seconds", "utilisation")
_APART = {"bench", "case", "raw", *_COLUMNS}


def _shown(value: Any) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
