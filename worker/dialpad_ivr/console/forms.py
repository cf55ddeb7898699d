"""A task's input schema as the fields of a form, and what is filled in as a task's input."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from dialpad_ivr.contract.inputs import Place
from dialpad_ivr.contract.schema import choices, input_fields, input_schema
from dialpad_ivr.contract.validation import example_input

_FEW = 4  # choices of a drop-down list; more are typed, and suggested


@dataclass(frozen=True)
class Field:
    """A field of a task's input.

    Attributes:
        place: Where its value goes: `path`, `query` or `body` of the call, or `plugin`: it is this plugin's own.
        choices: The documented values; empty where any are possible.
        initial: What the form holds at first.
    """

    name: str
    place: Place
    required: bool
    meaning: str
    choices: tuple[str, ...]
    initial: str
    holds_ids: bool

    @property
    def drop_down(self) -> bool:
        """Whether its choices fit into a drop-down list."""
        return 0 < len(self.choices) <= _FEW

    @property
    def suggested(self) -> bool:
        """Whether they are too many for one: then one is typed, and the reference lists them."""
        return len(self.choices) > _FEW


@cache
def fields(task_type: str) -> tuple[Field, ...]:
    """The fields of a task's form. At first it holds the schema's example, which plans."""
    required, example = input_schema(task_type)["required"], example_input(task_type)
    return tuple(
        Field(
            name=name,
            place=rule["x-in"],
            required=name in required,
            meaning=rule["description"],
            choices=tuple(choices(rule)),
            initial=example.get(name, ""),
            holds_ids="array" in [option.get("type") for option in rule.get("anyOf", ())],
        )
        for name, rule in input_fields(task_type).items()
    )


def filled_in(task_type: str, form: Mapping[str, str]) -> dict[str, str]:
    """What the form's fields hold: at first an example. Without a mode it plans.

    Args:
        task_type: The task.
        form: Names and values as a browser sends them; of none at all the form is as at first.
    """
    return {
        field.name: form.get(field.name, "") or (field.initial if not form or field.name == "mode" else "")
        for field in fields(task_type)
    }


def task_input(task_type: str, filled: Mapping[str, str]) -> dict[str, Any]:
    """What the fields hold, as a task's input. One that is empty is left out."""
    return {
        field.name: re.findall(r"[^\s,\[\]\"']+", text) if field.holds_ids else text
        for field in fields(task_type)
        if (text := filled[field.name].strip())
    }


def form_values(payload: Mapping[str, Any]) -> dict[str, str]:
    """A task's input as a form's fields: the inverse of `task_input`."""
    return {
        name: (", ".join(map(str, value)) or "[]") if isinstance(value, list) else str(value)
        for name, value in payload.items()
        if value is not None
    }
