"""A run as it is read from the engine: outcomes, progress, and what is claimed of a run that was ended early."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.provisioning.run import STOP_WORKER, ProvisioningRun
from dialpad_ivr.settings import Settings
from support.runs import CHUNK, ID, change_task, run_states, running_states, terminated_states
from support.stub import StubEngine

MADE = {"status": "COMPLETED", "pollCount": 1, "outputData": {"outcome": "updated", "attempts": 1}}
HELD_BY_A_WORKER = {"status": "CANCELED", "pollCount": 1}
CANCELED = {"status": "CANCELED"}
HELD_BACK = {"status": "CANCELED", "pollCount": 1, "workerId": STOP_WORKER}


def read(stub_engine: StubEngine, states: dict[str, list[dict[str, Any]]]) -> ProvisioningRun:
    stub_engine.runs = states
    run = ProvisioningRun(EngineApi(Settings(server_url=f"{stub_engine.stub.url}/api")), ID)
    run.refresh()
    return run


def outcomes(stub_engine: StubEngine, *tasks: dict[str, Any]) -> list[str | None]:
    return [row.outcome for row in read(stub_engine, terminated_states(*tasks)).rows]


def test_a_row_that_a_worker_had_is_unknown_and_one_that_was_held_back_is_not_sent(stub_engine: StubEngine) -> None:
    assert outcomes(stub_engine, MADE, HELD_BY_A_WORKER, HELD_BACK) == ["updated", "unknown", "not_sent"]


def test_a_row_without_a_note_of_a_poll_is_unknown_if_workers_took_others(stub_engine: StubEngine) -> None:
    assert outcomes(stub_engine, MADE, CANCELED) == ["updated", "unknown"]
    assert outcomes(stub_engine, HELD_BY_A_WORKER, CANCELED) == ["unknown", "unknown"]


def test_a_row_after_those_that_were_held_back_is_not_sent(stub_engine: StubEngine) -> None:
    assert outcomes(stub_engine, HELD_BACK, CANCELED) == ["not_sent", "not_sent"]


def test_rows_of_a_run_that_no_worker_touched_are_not_sent(stub_engine: StubEngine) -> None:
    assert outcomes(stub_engine, CANCELED, CANCELED) == ["not_sent", "not_sent"]


def test_a_row_far_beyond_the_last_one_that_was_taken_is_not_sent(stub_engine: StubEngine) -> None:
    assert outcomes(stub_engine, MADE, *[CANCELED] * 501)[-2:] == ["unknown", "not_sent"]


def test_rows_of_each_task_domain_are_counted_from_the_last_one_that_was_taken_there(stub_engine: StubEngine) -> None:
    first, second = {**CANCELED, "domain": "bulk"}, {**CANCELED, "domain": "bulk.acme"}
    found = outcomes(stub_engine, {**MADE, "domain": "bulk"}, *[first] * 501, *[second] * 501)
    assert found == ["updated", *["unknown"] * 500, "not_sent", *["unknown"] * 500, "not_sent"]


@pytest.mark.parametrize(
    "task",
    [
        {**HELD_BACK, "pollCount": 2},  # a worker was killed, or it was handed out twice
        {**HELD_BACK, "pollCount": 2, "outputData": {"attempts": 1}},  # sent before, and throttled
        {"status": "IN_PROGRESS", "pollCount": 1},  # polled while it was canceled
    ],
)
def test_a_row_that_may_have_been_sent_is_unknown_although_it_was_held_back(
    stub_engine: StubEngine, task: dict[str, Any]
) -> None:
    assert outcomes(stub_engine, task) == ["unknown"]


def test_a_row_that_waited_unsent_and_was_held_back_is_not_sent(stub_engine: StubEngine) -> None:
    waited = {**HELD_BACK, "pollCount": 3, "outputData": {"attempts": 0}}
    assert outcomes(stub_engine, waited) == ["not_sent"]


@pytest.mark.parametrize(
    ("attempt", "outcome"),
    [
        ({"status": "FAILED", "outputData": {"outcome": "unavailable"}}, "unavailable"),
        ({"status": "TIMED_OUT"}, "unknown"),
    ],
)
@pytest.mark.parametrize("retry", [CANCELED, HELD_BACK])
def test_an_attempt_counts_if_its_retry_was_never_sent(
    stub_engine: StubEngine, attempt: dict[str, Any], outcome: str, retry: dict[str, Any]
) -> None:
    states = terminated_states(CANCELED)
    first = change_task(0, pollCount=1, retried=True, **attempt)
    states[CHUNK][0]["tasks"] = [first, change_task(0, **retry)]
    assert [row.outcome for row in read(stub_engine, states).rows] == [outcome]


def test_a_failed_attempt_that_is_being_retried_is_pending(stub_engine: StubEngine) -> None:
    failed = {"status": "FAILED", "pollCount": 1, "retried": True, "outputData": {"outcome": "unavailable"}}
    run = read(stub_engine, running_states(failed))
    assert [row.outcome for row in run.rows] == [None]


def test_changes_at_work_are_counted_apart_from_those_that_wait(stub_engine: StubEngine) -> None:
    at_work = {"status": "IN_PROGRESS", "pollCount": 1}
    held_back = {**HELD_BACK, "status": "IN_PROGRESS"}
    run = read(stub_engine, running_states(MADE, at_work, at_work, held_back, {"status": "SCHEDULED"}))
    assert (run.in_flight, run.done, run.ended_early) == (2, 1, False)


@pytest.mark.parametrize(
    ("tasks", "summary"),
    [
        ([MADE] * 3, "3 of 3 changes done."),
        ([MADE], "1 of 1 change done."),
        (
            [MADE, {"status": "FAILED", "pollCount": 1, "outputData": {"outcome": "not_found"}}],
            "1 of 2 changes done, 1 failed.",
        ),
        ([HELD_BY_A_WORKER] * 24 + [HELD_BACK] * 16, "Ended early: 24 unknown, 16 not sent."),
        ([MADE, HELD_BACK], "Ended early: 1 of 2 changes done, 1 not sent."),
        ([CANCELED], "Ended early: 1 not sent."),
    ],
)
def test_summary_of_a_run_that_has_ended(stub_engine: StubEngine, tasks: list[dict[str, Any]], summary: str) -> None:
    run = read(stub_engine, terminated_states(*tasks))
    assert run.summary == summary
    assert run.ended_early == summary.startswith("Ended early")
    assert (run.done == len(run.rows)) == (run.counts == {"updated": len(tasks)})


def test_summary_of_a_run_that_goes_on(stub_engine: StubEngine) -> None:
    assert read(stub_engine, run_states("RUNNING")).summary == "0 of 1 change done."
