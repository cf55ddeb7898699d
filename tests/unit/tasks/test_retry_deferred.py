"""A failure of bulk work: a deferral as long as a retry follows it."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.contract.outputs import SetCustomIvrOutput, TaskError
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.result import Result, with_retry_deferred
from support.bench import VALID


def result(outcome: Any) -> Result:
    error = TaskError(code="http_503", message="Dialpad answered 503.")
    return Result(SetCustomIvrOutput(outcome=outcome, ok=outcome == "updated", error=error, attempts=3))


def delivery(**more: Any) -> Delivery:
    return Delivery(VALID, failed_attempts=2, retry_seconds=9, **{"bulk": True, "last_attempt": False, **more})


def test_it_waits_as_the_same_task_and_says_why() -> None:
    deferred = with_retry_deferred(result("unavailable"), delivery())
    assert (deferred.status, deferred.callback_seconds) == ("IN_PROGRESS", 9)
    assert deferred.reason == "waiting: Dialpad answered 503."
    assert (deferred.output.outcome, deferred.output.failed_attempts, deferred.output.attempts) == (None, 3, 3)


def test_the_last_one_is_not_retried_by_the_engine_which_has_counted_none() -> None:
    last = with_retry_deferred(result("unavailable"), delivery(last_attempt=True))
    assert (last.status, last.output.outcome, last.callback_seconds) == (
        "FAILED_WITH_TERMINAL_ERROR",
        "unavailable",
        None,
    )


@pytest.mark.parametrize(
    ("outcome", "more"),
    [
        ("updated", {}),
        ("not_found", {}),
        (None, {}),
        ("unavailable", {"bulk": False}),
        ("unavailable", {"bulk": False, "last_attempt": True}),
    ],
)
def test_every_other_result_is_as_it_was(outcome: Any, more: dict[str, Any]) -> None:
    assert with_retry_deferred(result(outcome), delivery(**more)) == result(outcome)
