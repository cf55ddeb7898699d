"""Every row of the outcome table on the real engine: task status, retries, output, and the branch taken.

All rows run at once, each on a target of its own and in a company of its own, which may pause.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dialpad_ivr.contract.outcomes import OK_OUTCOMES, OUTCOMES
from dialpad_ivr.contract.schema import output_schema
from dialpad_ivr.testing.double import started_double
from support.engine import EngineRest
from support.outcomes import QUICK, ROWS, Case, prepared, profiles
from support.worker import CREDENTIALS, KEYS, running_worker

COMPLETED = "COMPLETED"
# What FAILED and FAILED_WITH_TERMINAL_ERROR become on an optional task. The engine may write the reported status
# over it when the result is reported again because its acknowledgement was late.
TOLERATED = ("COMPLETED_WITH_ERRORS", "FAILED", "FAILED_WITH_TERMINAL_ERROR")


@pytest.fixture(scope="module")
def endings(engine: EngineRest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """The workflow of every row, ended."""
    with started_double(KEYS, enforce=False) as double:
        inputs = prepared(double)
        log = tmp_path_factory.mktemp("outcomes") / "worker.log"
        own = profiles(CREDENTIALS["DIALPAD_API_KEY"])
        with running_worker(engine.url, double.url, log, **CREDENTIALS, **own, **QUICK) as worker:
            ids = [engine.start("set_custom_ivr_branching", payload) for payload in inputs]
            ended = engine.ended(ids, timeout=90)
            assert worker.stop() == 0
        for key in (*KEYS, "no-such-key"):
            assert key not in log.read_text()
        yield {row.name: workflow for row, workflow in zip(ROWS, ended, strict=True)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row(row: Case, endings: dict[str, dict[str, Any]]) -> None:
    workflow = endings[row.name]
    tries = [task for task in workflow["tasks"] if task["referenceTaskName"] == "set_ivr"]
    task, output = tries[-1], tries[-1]["outputData"]
    ok = row.outcome in OK_OUTCOMES
    Draft202012Validator(output_schema()).validate(output)
    assert output["outcome"] == row.outcome, output
    assert output["ok"] == ok
    assert task["status"] in ((COMPLETED,) if ok else TOLERATED)
    assert task["retryCount"] == len(tries) - 1 == row.retries
    assert output["attempts"] == row.attempts
    assert (output["response"] or {}).get("status_code") == row.status_code
    assert (output["error"] or {}).get("code", "") == row.code
    assert len(output["warnings"]) == row.warnings, output["warnings"]
    assert row.check(output), output
    assert workflow["output"]["branch"] == row.outcome
    assert workflow["status"] == (COMPLETED if ok else "FAILED")
    if not ok:
        assert workflow["reasonForIncompletion"].startswith(f"{row.outcome}: ")
    assert not any(key in str(workflow) for key in (*KEYS, "no-such-key"))


def test_the_rows_cover_every_outcome() -> None:
    assert {row.outcome for row in ROWS} == set(OUTCOMES) - {"listed"}  # which is the other task's
