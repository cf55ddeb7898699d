"""A task's input schema as the fields of a form, and what is filled in as a task's input."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

from dialpad_ivr.contract import LIST_PATH, LIST_TASK_TYPE, PATCH_PATH, TASK_TYPE, input_schema
from dialpad_ivr.validation import example_input

_FEW = 4  # choices of a drop-down list; more are typed, and suggested

ENDPOINTS: Final[dict[str, tuple[str, str]]] = {TASK_TYPE: ("PATCH", PATCH_PATH), LIST_TASK_TYPE: ("GET", LIST_PATH)}
"""Each task's documented call: method and path."""


@dataclass(frozen=True)
class Field:
    """A field of a task's input.

    Attributes:
        place: Where its value goes: `path`, `query` or `body` of the call, or `plugin`: it is this plugin's own.
        choices: The documented values; empty where any are possible.
        initial: What the form holds at first.
    """

    name: str
    place: Literal["path", "query", "body", "plugin"]
    required: bool
    meaning: str
    choices: tuple[str, ...]
    initial: str
    holds_ids: bool

    @property
    def drop_down(self) -> bool:
        """Whether its choices fit into a drop-down list."""
        return 0 < len(self.choices) <= _FEW


@cache
def fields(task_type: str) -> tuple[Field, ...]:
    """The fields of a task's form. At first it holds the schema's example, which plans."""
    schema, example = input_schema(task_type), example_input(task_type)
    return tuple(
        Field(
            name=name,
            place=_place(task_type, name, rule["description"]),
            required=name in schema["required"],
            meaning=_without_place(rule["description"]),
            choices=tuple(choice for choice in rule.get("enum", ()) if choice),
            initial=example.get(name, ""),
            holds_ids="array" in [option.get("type") for option in rule.get("anyOf", ())],
        )
        for name, rule in schema["properties"].items()
        if not name.startswith("__")
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
    texts = {field: filled[field.name].strip() for field in fields(task_type)}
    return {
        field.name: re.findall(r"[^\s,\[\]\"']+", text) if field.holds_ids else text
        for field, text in texts.items()
        if text
    }


def _place(task_type: str, name: str, description: str) -> Literal["path", "query", "body", "plugin"]:
    if f"{{{name}}}" in ENDPOINTS[task_type][1]:
        return "path"
    if description.startswith("Path: "):
        return "query"  # both tasks describe a target alike; the list has it in its query
    return "body" if description.startswith("Body: ") else "plugin"


def _without_place(description: str) -> str:
    place, told, text = description.partition(": ")
    return text[0].upper() + text[1:] if told and place in ("Path", "Body") else description
