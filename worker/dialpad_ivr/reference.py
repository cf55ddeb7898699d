"""The pages of `docs/reference/`, made from the code: each says what the code says, and nothing is written twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

import typer
from prometheus_client.metrics import MetricWrapperBase
from pydantic import AliasChoices
from pydantic_core import PydanticUndefined
from typer.cli import get_docs_for_click
from typer.main import get_command

from dialpad_ivr import outcome as outcome_module
from dialpad_ivr.contract import (
    ID_SCHEMA,
    INPUTS,
    INT64_MAX,
    OUTCOME_MEANINGS,
    OUTPUTS,
    choices,
    input_fields,
    input_schema,
    output_schema,
)
from dialpad_ivr.definitions import shipped
from dialpad_ivr.metrics import Metrics
from dialpad_ivr.outcome import engine_status
from dialpad_ivr.settings import Settings
from dialpad_ivr.validation import example_input

_MADE = "<!-- Made by `dialpad-ivr schema --write`: edit what it is made from, not this page. -->\n"
_FEW = 4  # choices that a cell holds; more have a section of their own


def reference_pages(app: typer.Typer, exit_codes: dict[int, str]) -> dict[str, str]:
    """Every page: its name in `docs/reference/`, and its text in Markdown.

    Args:
        app: The command.
        exit_codes: What each of its exit codes means.
    """
    return {
        "input.md": _page("Input", _input()),
        "output.md": _page("Output", _output()),
        "outcomes.md": _page("Outcomes", _outcomes()),
        "workflows.md": _page("Workflows", _workflows()),
        "settings.md": _page("Settings", _settings()),
        "metrics.md": _page("Metrics", _metrics()),
        "commands.md": _page("Commands", _commands(app, exit_codes)),
    }


def _page(title: str, parts: Iterable[str]) -> str:
    return "\n\n".join([f"# {title}", _MADE, *parts]).replace("\n\n\n", "\n\n").rstrip() + "\n"


def _table(head: str, rows: Iterable[Iterable[str]]) -> str:
    columns = head.split(", ")
    # A bar ends a cell, also within code.
    lines = ([str(cell).replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in ([*columns], ["---"] * len(columns), *lines))


def _json(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=2)}\n```"


def _input() -> Iterator[str]:
    yield (
        f"An id is a whole number from 1 to {INT64_MAX} (2^63-1), as a number or as a string of digits. Prefer the "
        "string: JavaScript, the engine's UI included, changes the last digits of numbers above 2^53. Unknown keys are "
        'errors. Where a field is not required, null and `""` count as absent. The same as a JSON schema: '
        "`dialpad-ivr schema`."
    )
    listed: dict[str, list[str]] = {}
    for task_type in INPUTS:
        schema = input_schema(task_type)
        rows = []
        for name, rule in input_fields(task_type).items():
            required = "yes" if name in schema["required"] else "no"
            default = f"`{rule['default']}`" if rule.get("default") else ""
            rows.append([f"`{name}`", _input_type(name, rule), required, default, rule["description"]])
            given = choices(rule)
            if len(given) > _FEW:
                listed[name] = given
        yield f"## `{task_type}`"
        yield _table("field, type, required, default, meaning", rows)
        yield _json(example_input(task_type))
    for name, given in listed.items():
        yield f"## Values of `{name}`"
        yield ", ".join(f"`{choice}`" for choice in given)


def _input_type(name: str, rule: dict[str, Any]) -> str:
    given = choices(rule)
    if len(given) > _FEW:
        return f"[one of {len(given)}](#values-of-{name})"
    if given:
        return ", ".join(f"`{choice}`" for choice in given)
    if rule.get("anyOf") == ID_SCHEMA["anyOf"]:
        return "id"
    parts = rule.get("anyOf", [rule])
    lists = [part for part in parts if part.get("type") == "array"]
    return f"list of ids, at most {lists[0]['maxItems']}" if lists else "text"


def _output() -> Iterator[str]:
    yield (
        "The same shape for every outcome, so that a definition can refer to any field. The same as a JSON schema: "
        "`dialpad-ivr schema output`."
    )
    parts: dict[str, Any] = {}
    seen: set[str] = set()
    for task_type in OUTPUTS:
        schema = output_schema(task_type)
        parts |= schema["$defs"]
        yield f"## `{task_type}`" if not seen else f"## `{task_type}`, besides these"
        yield _fields({name: rule for name, rule in schema["properties"].items() if name not in seen}, schema["$defs"])
        seen |= set(schema["properties"])
    for name, part in parts.items():
        yield f"## {name}"
        yield part["description"]
        yield _fields(part["properties"], parts)


def _fields(properties: dict[str, Any], parts: dict[str, Any]) -> str:
    rows = []
    for name, rule in properties.items():
        kind, nullable, part = _output_type(rule)
        meaning = rule.get("description") or (parts[part]["description"] if part else "")
        rows.append([f"`{name}`", f"{kind} or null" if nullable else kind, meaning])
    return _table("field, type, meaning", rows)


def _output_type(rule: dict[str, Any]) -> tuple[str, bool, str]:
    """The type for people, whether it may be null, and the part of the output that it is."""
    option, nullable = unwrapped(rule)
    if "$ref" in option:
        part = option["$ref"].rsplit("/", 1)[-1]
        return f"[{part}](#{part.lower()})", nullable, part
    if "enum" in option:
        return "[outcome](outcomes.md)", nullable, ""
    if option.get("type") == "array":
        kind, _, part = _output_type(option["items"])
        return f"list of {kind}", nullable, part
    return type_words(option), nullable, ""


def unwrapped(rule: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """What a field of the output holds where it is not null, and whether it may be null."""
    options = rule.get("anyOf", [rule])
    (option,) = (option for option in options if option.get("type") != "null")
    return option, len(options) > 1


def type_words(rule: dict[str, Any]) -> str:
    """A JSON schema's type for people."""
    words = {"string": "text", "integer": "whole number", "boolean": "true or false", None: "any JSON"}
    return words.get(rule.get("type"), str(rule.get("type")))


def _outcomes() -> Iterator[str]:
    yield (
        "What a task's `outcome` says, and what the engine is told. `FAILED` is retried by the task definition; "
        "`FAILED_WITH_TERMINAL_ERROR` is not, since another try cannot help. On a task marked "
        '`"optional": true` a failure shows as `COMPLETED_WITH_ERRORS` once no retry is left, and the workflow goes on.'
    )
    rows = ([f"`{name}`", meaning, f"`{engine_status(name)}`"] for name, meaning in OUTCOME_MEANINGS.items())
    yield _table("outcome, meaning, the engine is told", rows)
    yield "## From what happened to the outcome"
    table = re.search(r"^    what happened.*?(?=^\S)", outcome_module.__doc__ or "", re.MULTILINE | re.DOTALL)
    if table:  # none under python -OO
        yield "```text\n" + re.sub(r"^ {4}", "", table[0].rstrip(), flags=re.MULTILINE) + "\n```"


def _workflows() -> Iterator[str]:
    yield (
        "The definitions in `workflows/`, which `dialpad-ivr register` puts on the engine. Each runs as it lies: "
        "`dialpad-ivr run NAME --input JSON`."
    )
    for definition in shipped():
        if definition.kind == "workflow":
            body = definition.body
            yield f"## `{definition.name}`"
            yield body["description"].split(" Example input:")[0]
            yield f"Input: {', '.join(f'`{name}`' for name in body['inputParameters'])}. For example:"
            yield _json(body["metadata"]["exampleInput"])
            yield f"Output: {', '.join(f'`{name}`' for name in body['outputParameters'])}."


def _settings() -> Iterator[str]:
    yield (
        "Environment variables, checked before anything starts. API keys are "
        "[no settings](../how-to/rotate-a-key.md#where-a-key-is-looked-for)."
    )
    rows = []
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        if alias is None:
            variable = f"DIALPAD_IVR_{name.upper()}"
        else:
            variable = str(alias.choices[0] if isinstance(alias, AliasChoices) else alias)
        default = "" if field.default in (None, PydanticUndefined) else f"`{field.default}`".lower()
        choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
        meaning = (field.description or "") + (f" One of: {', '.join(choices)}." if choices else "")
        rows.append([f"`{variable}`", default, meaning])
    yield _table("variable, default, meaning", rows)


def _metrics() -> Iterator[str]:
    yield (
        "The worker's health port (`DIALPAD_IVR_HEALTH_PORT`) serves them at `/metrics`, for Prometheus. Labels hold "
        "outcomes, methods and statuses: never a key, an id or a name. On Linux those of the process itself are there "
        "too, by the names that all exporters use: `process_resident_memory_bytes`, `process_cpu_seconds_total`, "
        "`process_open_fds`, `process_max_fds`, `process_start_time_seconds`, `process_virtual_memory_bytes`."
    )
    rows = []
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            rows.append([f"`{name}`", family.type, labels, family.documentation])
    yield _table("name, type, labels, meaning", rows)


def _commands(app: typer.Typer, exit_codes: dict[int, str]) -> Iterator[str]:
    yield "What `--help` says of each. Settings are [environment variables](settings.md)."
    yield "## Exit codes"
    yield _table("code, meaning", ([str(code), meaning] for code, meaning in exit_codes.items()))
    command = get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="dialpad-ivr")
    # What every command has, and what `dialpad-ivr` alone has, need no repeating.
    text = re.sub(r"^\* `(?:-h, )?--(?:help|install-completion|show-completion)`.*\n", "", text, flags=re.MULTILINE)
    text = text.replace("**Options**:\n\n\n", "")
    # A list needs an empty line before it.
    text = re.sub(r"^(Examples?:)\n-", r"\1\n\n-", text, flags=re.MULTILINE)
    # A usage is a pattern, not a command to be run.
    text = re.sub(r"^```console\n\$ ", "```text\n", text, flags=re.MULTILINE)
    yield from text.split("\n\n## ", 1)[1].join(["## ", ""]).split("\n\n\n")
