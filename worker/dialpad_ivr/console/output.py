"""A task's output schema as a flat list of the paths that later tasks can refer to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from dialpad_ivr.contract.schema import output_schema, type_words, unwrapped


@cache
def output_fields(task_type: str) -> tuple[tuple[str, str, str], ...]:
    """Each field's path, as in `${set_ivr.output.error.code}`, its type, and its meaning."""
    schema = output_schema(task_type)
    return tuple(_fields(schema["properties"], schema["$defs"], ""))


def _fields(properties: Mapping[str, Any], parts: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, rule in properties.items():
        option, _ = unwrapped(rule)
        listed = option.get("type") == "array"
        item = option["items"] if listed else option
        part = parts.get(item.get("$ref", "").rpartition("/")[2])
        path = f"{prefix}{name}{'[0]' if listed else ''}"
        yield path, type_words(part or item), rule.get("description") or (part or {}).get("description", "")
        if part:
            yield from _fields(part["properties"], parts, f"{path}.")
