"""A task's output as a list of what a later task can refer to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from dialpad_ivr.contract import output_schema

_WORDS: Final = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
}


@cache
def output_fields(task_type: str) -> tuple[tuple[str, str, str], ...]:
    """Each field's path, as in `${set_ivr.output.error.code}`, its type, and what it means."""
    schema = output_schema(task_type)
    return tuple(_fields(schema["properties"], schema["$defs"], ""))


def _fields(properties: Mapping[str, Any], parts: Mapping[str, Any], before: str) -> Iterator[tuple[str, str, str]]:
    for name, rule in properties.items():
        (option,) = (option for option in rule.get("anyOf", [rule]) if option.get("type") != "null")
        listed = option.get("type") == "array"
        part = parts.get((option["items"] if listed else option).get("$ref", "").rpartition("/")[2])
        path = f"{before}{name}{'[0]' if listed else ''}"
        kind = _WORDS.get((part or (option["items"] if listed else option)).get("type"), "any JSON")
        yield path, kind, rule.get("description") or (part or {}).get("description", "")
        if part:
            yield from _fields(part["properties"], parts, f"{path}.")
