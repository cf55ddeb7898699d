"""All faults at once. `make test-all` runs the short form, `make soak` the long one."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from support.storm import run_storm, summary
from support.storm_rules import STEPS, violations

ARTIFACTS = Path(__file__).parents[2] / "artifacts"

TASKS = int(os.environ.get("SOAK_TASKS", "600"))
SEED = int(os.environ.get("SOAK_SEED", "5"))
LONGEST_SECONDS = float(os.environ.get("SOAK_SECONDS", "200"))


@pytest.mark.timeout(LONGEST_SECONDS + 600)
def test_no_violation_in_a_storm_of_faults(tmp_path: Path) -> None:
    run = run_storm(tmp_path, chains=TASKS // STEPS, workers=3, seed=SEED, longest_seconds=LONGEST_SECONDS)
    figures, found = summary(run), violations(run)
    ARTIFACTS.mkdir(exist_ok=True)
    report = {"seed": SEED, **figures, "violations": [asdict(violation) for violation in found], "script": run.events}
    (ARTIFACTS / "storm.json").write_text(json.dumps(report, indent=2) + "\n")
    Console().print(figures)
    assert found == []
    assert run.ledger
    assert len(run.overridden) >= 2
