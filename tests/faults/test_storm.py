"""Everything goes wrong at once. The short form is part of `make test-all`; `make soak` runs the long one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from support.storm import STEPS, blow, summary, violations

ARTIFACTS = Path(__file__).parents[2] / "artifacts"

TASKS = int(os.environ.get("SOAK_TASKS", "600"))
SEED = int(os.environ.get("SOAK_SEED", "5"))
LONGEST_SECONDS = float(os.environ.get("SOAK_SECONDS", "200"))


@pytest.mark.timeout(LONGEST_SECONDS + 600)
def test_no_promise_is_broken_in_a_storm(tmp_path: Path) -> None:
    run = blow(tmp_path, chains=TASKS // STEPS, workers=3, seed=SEED, longest_seconds=LONGEST_SECONDS)
    found = summary(run)
    ARTIFACTS.mkdir(exist_ok=True)
    report = {"seed": SEED, **found, "violations": violations(run), "script": run.events}
    (ARTIFACTS / "storm.json").write_text(json.dumps(report, indent=2) + "\n")
    Console().print(found)
    assert violations(run) == []
    assert run.ledger
