"""The fields of a task's form, and a task's input from them."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.console.forms import fields, filled_in, task_input
from dialpad_ivr.contract.schema import INPUTS, input_schema
from dialpad_ivr.contract.validation import check_input, example_input
from dialpad_ivr.contract.values import LIST_TASK_TYPE, TASK_TYPE


def payload_of(task_type: str, **form: str) -> dict[str, Any]:
    return task_input(task_type, filled_in(task_type, form))


@pytest.mark.parametrize("task_type", INPUTS)
def test_form_has_every_schema_field_and_starts_with_the_example(task_type: str) -> None:
    names = [name for name in input_schema(task_type)["properties"] if not name.startswith("__")]
    assert [field.name for field in fields(task_type)] == names
    payload = task_input(task_type, filled_in(task_type, {}))
    assert payload == example_input(task_type)
    assert not isinstance(check_input(payload, INPUTS[task_type]), list)


def test_fields_have_the_place_of_their_value() -> None:
    assert {field.name: field.place for field in fields(TASK_TYPE)} == {
        "target_type": "path",
        "target_id": "path",
        "ivr_type": "path",
        "ivr_id": "body",
        "select_option": "body",
        "if_selected": "plugin",
        "credential": "plugin",
        "mode": "plugin",
    }
    assert [field.place for field in fields(LIST_TASK_TYPE)] == ["query", "query", "plugin", "plugin", "plugin"]


@pytest.mark.parametrize(
    ("text", "ids"),
    [("", None), (" ", None), ("[]", []), ("7", ["7"]), ("7, 8", ["7", "8"]), ('["7","8"]', ["7", "8"]), ("x", ["x"])],
)
def test_id_lists_are_parsed_leniently(text: str, ids: list[str] | None) -> None:
    assert payload_of(TASK_TYPE, if_selected=text).get("if_selected") == ids


def test_mode_defaults_to_plan() -> None:
    assert payload_of(TASK_TYPE, target_id="7") == {"target_id": "7", "mode": "plan"}
    assert payload_of(TASK_TYPE, mode="") == {"mode": "plan"}
    assert payload_of(LIST_TASK_TYPE, target_id="7") == {"target_id": "7"}
