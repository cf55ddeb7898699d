"""Search over tasks, fields, values, outcomes and output fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from dialpad_ivr.console.forms import fields
from dialpad_ivr.contract.outcomes import OUTCOME_MEANINGS
from dialpad_ivr.contract.schema import ENDPOINTS, INPUTS, input_schema, output_schema

_MOST = 30  # results shown


@dataclass(frozen=True)
class SearchResult:
    """A search result.

    Attributes:
        kind: Such as `field` or `outcome`.
        title: Its name.
        description: One line about it.
        href: Link to it.
    """

    kind: str
    title: str
    description: str
    href: str


@cache
def _entries() -> tuple[SearchResult, ...]:
    entries: dict[tuple[str, str, str], SearchResult] = {}
    for entry in _all():  # what both tasks share links to the first task's page
        entries.setdefault((entry.kind, entry.title, entry.description), entry)
    return tuple(entries.values())


def _all() -> Iterator[SearchResult]:
    for task_type in INPUTS:
        method, path = ENDPOINTS[task_type]
        yield SearchResult(
            "task", task_type, f"{method} {path}. {input_schema(task_type)['description']}", f"/tasks/{task_type}"
        )
    for task_type in INPUTS:
        page = f"/tasks/{task_type}"
        for field in fields(task_type):
            yield SearchResult("field", field.name, f"of {task_type}: {field.meaning}", f"{page}#field-{field.name}")
            for choice in field.choices:
                place = "values" if field.suggested else "field"
                yield SearchResult("value", choice, f"of {field.name}", f"{page}#{place}-{field.name}")
        for name, rule in output_schema(task_type)["properties"].items():
            yield SearchResult("output", name, rule.get("description", ""), f"{page}#output")
    for outcome, meaning in OUTCOME_MEANINGS.items():
        yield SearchResult("outcome", outcome, meaning, f"/tasks/{next(iter(INPUTS))}#outcomes")


def search(text: str) -> list[SearchResult]:
    """Entries whose title or description contains every word; title matches come first."""
    words = text.lower().replace("-", "_").split()

    def rank(entry: SearchResult) -> int:
        title = entry.title.lower()
        if all(word in title for word in words):
            return 0 if title.startswith(words[0]) else 1
        return 2 if all(word in f"{title} {entry.description.lower()}" for word in words) else 3

    ranked = sorted(((rank(entry), entry) for entry in _entries()), key=lambda pair: pair[0]) if words else []
    return [entry for number, entry in ranked if number < 3][:_MOST]
