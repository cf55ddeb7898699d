"""The mock of a task for each of its outcomes."""

from __future__ import annotations

import functools
from typing import Any

import jsonschema
import pytest

from dialpad_ivr.contract.outcomes import OUTCOMES
from dialpad_ivr.contract.schema import OUTPUTS, output_schema
from dialpad_ivr.dialpad.verdict import engine_status
from dialpad_ivr.testing import outcome_mock, outcomes_of
from support.outcomes import ROWS

CASES = [(task_type, outcome) for task_type in OUTPUTS for outcome in outcomes_of(task_type)]


@functools.cache
def validator(task_type: str) -> Any:
    return jsonschema.Draft202012Validator(output_schema(task_type))


@pytest.mark.parametrize(("task_type", "outcome"), CASES)
def test_a_mock_is_what_the_worker_reports_and_valid_against_the_output_schema(task_type: str, outcome: str) -> None:
    mock = outcome_mock(outcome, task_type)
    assert mock["status"] == engine_status(outcome)
    validator(task_type).validate(mock["output"])
    assert mock["output"]["outcome"] == outcome
    assert mock["output"]["ok"] == (mock["output"]["error"] is None) == (mock["status"] == "COMPLETED")


def test_every_outcome_belongs_to_a_task() -> None:
    assert {outcome for _, outcome in CASES} == set(OUTCOMES)
    assert {row.outcome for row in ROWS} <= set(outcomes_of("set_custom_ivr"))


def test_without_a_task_the_mock_is_of_the_one_that_has_the_outcome() -> None:
    assert "ivrs" in outcome_mock("listed")["output"]
    assert "ivrs" not in outcome_mock("not_found")["output"]


def test_an_invalid_input_names_the_fields_and_shows_no_request() -> None:
    output = outcome_mock("invalid_input")["output"]
    assert [error["path"] for error in output["error"]["field_errors"]] == [
        "target_type",
        "target_id",
        "ivr_type",
        "ivr_id",
    ]
    assert output["request"] is output["response"] is None


def test_fields_of_the_output_can_be_changed() -> None:
    assert outcome_mock("updated", warnings=["as it were"])["output"]["warnings"] == ["as it were"]


@pytest.mark.parametrize(
    ("arguments", "changes", "message"),
    [
        (("gone",), {}, "has no outcome 'gone'. Use one of updated, "),
        (("listed", "set_custom_ivr"), {}, "set_custom_ivr has no outcome 'listed'"),
        (("updated", "set_ivr"), {}, "no task 'set_ivr'. Use one of set_custom_ivr, list_custom_ivrs"),
        (("updated",), {"warning": "no such field"}, "warning"),
    ],
)
def test_what_cannot_be_mocked_is_rejected(arguments: tuple[str, ...], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        outcome_mock(*arguments, **changes)
