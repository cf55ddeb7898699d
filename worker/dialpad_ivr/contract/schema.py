"""The JSON schemas of the tasks, made from their models. The task definitions are generated from these."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from dialpad_ivr.contract.inputs import (
    ID_SCHEMA,
    SHORT_ID_SCHEMA,
    ListCustomIvrsInput,
    ListTargetsInput,
    SetCustomIvrInput,
)
from dialpad_ivr.contract.outputs import ListCustomIvrsOutput, ListTargetsOutput, SetCustomIvrOutput, TaskOutput
from dialpad_ivr.contract.targets import LIST_PATHS
from dialpad_ivr.contract.values import LIST_PATH, LIST_TASK_TYPE, PATCH_PATH, TARGETS_TASK_TYPE, TASK_TYPE

TaskInput = SetCustomIvrInput | ListCustomIvrsInput | ListTargetsInput


_TEXTS: Final = ("title", "description", "examples", "x-in")

INPUTS: Final[dict[str, type[TaskInput]]] = {
    TASK_TYPE: SetCustomIvrInput,
    LIST_TASK_TYPE: ListCustomIvrsInput,
    TARGETS_TASK_TYPE: ListTargetsInput,
}


OUTPUTS: Final[dict[str, type[TaskOutput]]] = {
    TASK_TYPE: SetCustomIvrOutput,
    LIST_TASK_TYPE: ListCustomIvrsOutput,
    TARGETS_TASK_TYPE: ListTargetsOutput,
}


ENDPOINTS: Final[dict[str, tuple[str, str]]] = {
    TASK_TYPE: ("PATCH", PATCH_PATH),
    LIST_TASK_TYPE: ("GET", LIST_PATH),
    TARGETS_TASK_TYPE: ("GET", LIST_PATHS["callcenter"]),
}
"""Each task's documented call: method and path; of `list_targets`, which has many, that of its example."""


@cache
def input_schema(task_type: str = TASK_TYPE) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a task's input. Made once: do not change it."""
    return _compact(INPUTS[task_type].model_json_schema(by_alias=True))


@cache
def registered_schema(task_type: str = TASK_TYPE) -> dict[str, Any]:
    """The schema of a task's input as its definition carries it: every value that is allowed, without the texts.

    The engine copies it twice into every task. It accepts all that `input_schema`, by which the worker validates,
    accepts; of an id too long for an int64 it knows only the number of digits. Made once: do not change it.
    """

    def lean(node: Any) -> Any:
        if isinstance(node, list):
            return [lean(item) for item in node]
        if not isinstance(node, dict):
            return node
        if node.get("anyOf") == ID_SCHEMA["anyOf"]:
            return SHORT_ID_SCHEMA
        return {key: lean(value) for key, value in node.items() if key not in _TEXTS}

    schema = input_schema(task_type)
    fields = {name: lean(rule) for name, rule in schema["properties"].items()}
    return {**{key: value for key, value in schema.items() if key not in _TEXTS}, "properties": fields}


@cache
def input_fields(task_type: str = TASK_TYPE) -> dict[str, dict[str, Any]]:
    """The fields of a task's input that a person fills in, each with its JSON schema. Made once: do not change it."""
    return {name: rule for name, rule in input_schema(task_type)["properties"].items() if not name.startswith("__")}


def choices(rule: dict[str, Any]) -> list[str]:
    """The documented values of a field, without those that stand for none; empty where any are possible."""
    return [choice for choice in rule.get("enum", ()) if choice]


@cache
def output_schema(task_type: str = TASK_TYPE) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a task's output. Made once: do not change it."""
    return _compact(OUTPUTS[task_type].model_json_schema(mode="serialization"))


def unwrapped(rule: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """What a field of the output holds where it is not null, and whether it may be null."""
    options = rule.get("anyOf", [rule])
    (option,) = (option for option in options if option.get("type") != "null")
    return option, len(options) > 1


def type_words(rule: dict[str, Any]) -> str:
    """A JSON schema's type for people."""
    words = {"string": "text", "integer": "whole number", "boolean": "true or false", None: "any JSON"}
    return words.get(rule.get("type"), str(rule.get("type")))


def _compact(schema: dict[str, Any]) -> dict[str, Any]:
    """Without what pydantic derives (titles, null defaults): the engine copies the schema into every polled task."""

    def strip(node: Any, *, top: bool = False) -> Any:
        if isinstance(node, dict):
            return {
                k: ({n: strip(s) for n, s in v.items()} if k in ("properties", "$defs") else strip(v))
                for k, v in node.items()
                if top or (k != "title" and (k, v) != ("default", None))
            }
        return [strip(item) for item in node] if isinstance(node, list) else node

    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **strip(schema, top=True)}
