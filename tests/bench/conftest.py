"""Benchmarks use the engine tests' engine, double and worker."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

pytest_plugins = ["engine.conftest"]

ARTIFACTS = Path(__file__).parents[2] / "artifacts"


@pytest.fixture(scope="session")
def record() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Keep a row; at the end all rows are printed as a table, and written to artifacts/bench.json."""
    rows: list[dict[str, Any]] = []
    yield rows.append
    ARTIFACTS.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "cores": os.cpu_count()}
    (ARTIFACTS / "bench.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
    table = Table(*(rows[0] if rows else ()))
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)
