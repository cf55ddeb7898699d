"""Terminal output of what tasks and workflows return. As in `render`, text from outside is wrapped in `Text`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from dialpad_ivr.cli.common import plural
from dialpad_ivr.cli.render import outcome_text, show_error
from dialpad_ivr.contract.outcomes import OUTCOME_MEANINGS
from dialpad_ivr.contract.outputs import FoundTarget, ListCustomIvrsOutput, ListTargetsOutput, TaskOutput
from dialpad_ivr.contract.validation import short
from dialpad_ivr.dialpad.parsing import ivr_name

_LINES_SHOWN = 40  # of JSON
_DEEPEST_INDENT = 20


def show_output(console: Console, output: TaskOutput, curl: str | None = None) -> None:
    """What a task returned: outcome, selection, errors, request, curl command, response, and the targets found."""
    if output.outcome:
        meaning = Text(OUTCOME_MEANINGS[output.outcome], style="dim")
        console.print(Text.assemble("Outcome: ", outcome_text(output.outcome), "  ", meaning))
    before, now = output.ivr.previous, output.ivr.selected
    for label, ivr in (("Selected before", before if before != now else None), ("Selected now", now)):
        if ivr:
            console.print(Text(f"{label}: {ivr.name or 'IVR'} ({ivr.id})"))
    for error in output.error.field_errors if output.error else ():
        show_error(console, "" if error.message.startswith(error.path) else error.path, error)
    for warning in output.warnings:
        console.print(Text("Warning: ", style="yellow"), Text(warning), sep="")
    if output.request:
        prepared: list[RenderableType] = [Text(f"{output.request.method} {output.request.url}", style="bold")]
        prepared.append(Text("Authorization: Bearer (not shown)", style="dim"))
        if output.request.body is not None:
            prepared.append(_json(output.request.body))
        console.print(Panel(Group(*prepared), title="Request", title_align="left"))
    if curl:
        console.print(Text("The same with curl:", style="dim"))
        console.print(Text(curl), soft_wrap=True)
        console.print()
    if output.response:
        response = output.response
        parts: list[RenderableType] = [
            Text(f"{response.status_code}  in {response.elapsed_ms:g} ms", style="bold"),
            *(Text(f"{name}: {value}", style="dim") for name, value in response.headers.items()),
            Text(response.body) if isinstance(response.body, str) else _json(response.body),
        ]
        if response.body_truncated:
            parts.append(Text("(truncated)", style="dim"))
        console.print(Panel(Group(*parts), title="Response", title_align="left"))
    if isinstance(output, ListTargetsOutput) and output.targets:  # last: it is what was asked for
        console.print(_targets(output.targets))


def _targets(targets: Sequence[FoundTarget]) -> Table:
    table = Table("target", "id", "office", show_edge=False, pad_edge=False)
    for target in targets[:_LINES_SHOWN]:
        office = "" if target.office is None else target.office.name or target.office.id
        table.add_row(Text(short(target.name or "")), Text(target.id), Text(short(office)))
    if len(targets) > _LINES_SHOWN:
        table.caption = f"... and {len(targets) - _LINES_SHOWN} more; --json shows all"
    return table


def answer(output: TaskOutput) -> Text:
    """What came of a task in one line, e.g. "planned: Winter hold music -> Summer hold music"."""
    before, now = output.ivr.previous, output.ivr.selected
    if output.error and output.error.field_errors:
        text = f"{plural(len(output.error.field_errors), 'validation error')}; nothing was sent"
    elif output.error:
        text = output.error.message
    elif output.outcome == "listed":
        what, listed = ("target", "targets") if isinstance(output, ListTargetsOutput) else ("IVR", "ivrs")
        found = getattr(output, "found", None)
        text = f"{found.name or what} ({found.id})" if found else plural(len(getattr(output, listed, ())), what)
    elif output.outcome in ("planned", "updated"):
        names = [before.name or before.id] if before else []
        text = " -> ".join([*names, _requested_ivr(output)])
    else:
        text = (now.name or now.id) if now else ""
    return Text.assemble(outcome_text(output.outcome), f": {text}" if text else "")


def _requested_ivr(output: TaskOutput) -> str:
    """The name of the IVR in the request if the output has it, else its id."""
    ivr_id = str(((output.request and output.request.body) or {}).get("ivr_id"))
    now = output.ivr.selected
    shown = ivr_name(output.response.body if output.response else None, ivr_id)
    return shown or (now and now.id == ivr_id and now.name) or ivr_id


def show_workflow(console: Console, workflow: dict[str, Any], tasks: Sequence[tuple[int, dict[str, Any]]]) -> None:
    """What came of a workflow: its tasks with their outcomes, its output, and last the answer.

    Args:
        console: Where to print.
        workflow: The workflow.
        tasks: Its first tasks and those of its sub-workflows, each with its depth.
    """
    table = Table("task", "type", "status", "outcome", "attempts", show_edge=False, pad_edge=False)
    for depth, task in tasks:
        outputs = task.get("outputData") or {}
        table.add_row(
            Text(f"{'  ' * depth}{task['referenceTaskName']}"),
            Text(task["taskType"]),
            Text(task["status"]),
            outcome_text(outputs["outcome"]) if "outcome" in outputs else Text(""),
            Text(str(outputs.get("attempts", ""))),
        )
    console.print(table)
    output = {name: value for name, value in (workflow.get("output") or {}).items() if value is not None}
    of_ours = _task_output(output)
    if of_ours:
        show_output(console, of_ours)
        output = {name: value for name, value in output.items() if name not in type(of_ours).model_fields}
    if output:
        console.print(_json(output))
    reason = workflow.get("reasonForIncompletion")
    ended = Text(f"Workflow {workflow['workflowId']}: {workflow['status']}")
    console.print(ended.append(f" {reason}", style="red") if reason else ended)
    last_attempts = [task for _, task in tasks if not task.get("retried")]
    outputs = [of_ours] if of_ours else [_task_output(task.get("outputData") or {}) for task in last_attempts]
    match list(filter(None, outputs)):
        case [only]:
            console.print(answer(only), soft_wrap=True)


def _task_output(values: dict[str, Any]) -> TaskOutput | None:
    """The output of a task of ours in what a task or a workflow returned; `None` if there is none.

    Those of the lists have all fields that an output can have.
    """
    model = ListTargetsOutput if "targets" in values else ListCustomIvrsOutput
    known = {name: values[name] for name in model.model_fields if values.get(name) is not None}
    try:
        return model.model_validate(known)
    except ValidationError:
        return None


def _json(value: Any) -> RenderableType:
    """JSON, indented, but with each of the innermost objects and lists in a line; long JSON is shown in part."""
    lines = _json_lines(value).splitlines()
    shown = "\n".join(lines[:_LINES_SHOWN])
    syntax = Syntax(shown, "json", background_color="default", word_wrap=True)
    more = len(lines) - _LINES_SHOWN
    return Group(syntax, Text(f"... and {more} more lines; --json shows all", style="dim")) if more > 0 else syntax


def _json_lines(value: Any, indent: str = "") -> str:
    inner = f"{indent}  "
    match value:
        case _ if len(indent) > _DEEPEST_INDENT:
            return json.dumps(value, ensure_ascii=False)
        case dict() if value and (not indent or any(isinstance(item, dict | list) for item in value.values())):
            items = [f"{inner}{json.dumps(key)}: {_json_lines(item, inner)}" for key, item in value.items()]
            return "{\n" + ",\n".join(items) + f"\n{indent}}}"
        case list() if any(isinstance(item, dict | list) for item in value):
            return "[\n" + ",\n".join(f"{inner}{_json_lines(item, inner)}" for item in value) + f"\n{indent}]"
        case _:
            return json.dumps(value, ensure_ascii=False)
