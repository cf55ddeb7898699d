"""Benchmarks use the engine tests' engine, double and worker."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from support.engine import EngineRest
from support.provisioning import change

# As strict as Dialpad, in a sixth of the time; and what a worker is told of it.
STRICT = {"patch": {"calls": 200, "window_seconds": 10}, "company": {"calls": 20, "window_seconds": 1}}
PACED = {"DIALPAD_IVR_PATCH_LIMIT": "200", "DIALPAD_IVR_PATCH_WINDOW_SECONDS": "10"}
PERMITTED = 20.0  # calls a second, by either limit

ARTIFACTS = Path(__file__).parents[2] / "artifacts"


def start_many(engine: EngineRest, count: int, domain: str) -> list[str]:
    """Start a one-task workflow for each of the double's synthetic targets."""
    return [engine.start("set_custom_ivr", change(number), domain=domain) for number in range(count)]


def measured(summary: dict[str, Any], ended: list[dict[str, Any]]) -> dict[str, Any]:
    """What both sides tell of a run: the double's sums, and the workflows that ended."""
    return {
        "completed": Counter(w["status"] for w in ended)["COMPLETED"],
        "answers of 429": summary["by_status"].get("429", 0),
        "retries": sum(task["retryCount"] for w in ended for task in w["tasks"]),
        "most in 1 s": summary["worst"]["company"]["all"],
        "most in 10 s": summary["worst"]["patch"]["all"],
        "seconds": summary["seconds"],
    }


@pytest.fixture(scope="session")
def record() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Keep a row; at the end all rows are printed as a table, and written to artifacts/bench.json."""
    rows: list[dict[str, Any]] = []
    yield rows.append
    ARTIFACTS.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "cores": os.cpu_count()}
    (ARTIFACTS / "bench.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*columns)
    for row in rows:
        values = (row.get(name, "") for name in columns)
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in values))
    Console(width=200).print(table)
