"""Terminal output. Text from outside is wrapped in `Text`, so that it is never parsed as markup."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from dialpad_ivr.cli.doctor import Check
from dialpad_ivr.contract.outcomes import OK_OUTCOMES, OUTCOME_MEANINGS
from dialpad_ivr.contract.outputs import ListCustomIvrsOutput, TaskOutput
from dialpad_ivr.contract.validation import advice
from dialpad_ivr.dialpad.parsing import read_page, read_slot
from dialpad_ivr.engine.definitions import Comparison
from dialpad_ivr.local.demo import ScenarioResult
from dialpad_ivr.provisioning.changes import Violation, group_violations
from dialpad_ivr.provisioning.plan import Plan
from dialpad_ivr.provisioning.workflow import ChangeResult, ProvisioningRun

_ROWS_SHOWN = 50  # on a terminal; files have all
_LINES_SHOWN = 40  # of JSON
_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


def outcome_text(outcome: str | None) -> Text:
    """An outcome, coloured."""
    colour = "green" if outcome in OK_OUTCOMES else "yellow" if outcome is None else "red"
    return Text(outcome or "waiting", style=f"bold {colour}")


def show_output(console: Console, output: TaskOutput, curl: str | None = None) -> None:
    """What a task returned: the outcome, the selection, the errors, the request, the curl command, the response."""
    if output.outcome:
        meaning = Text(OUTCOME_MEANINGS[output.outcome], style="dim")
        console.print(Text.assemble("Outcome: ", outcome_text(output.outcome), "  ", meaning))
    before, now = output.ivr.previous, output.ivr.selected
    if before and before != now:
        console.print(Text(f"Selected before: {_ivr_text(before.id, before.name)}"))
    if now:
        console.print(Text(f"Selected now: {_ivr_text(now.id, now.name)}"))
    for error in output.error.field_errors if output.error else ():
        label = "" if error.message.startswith(error.path) else f"{error.path}: "
        console.print(Text(label, style="bold"), Text(error.message), sep="")
        todo = advice(error.hint, error.suggestion, error.allowed)
        console.print(Padding(Text(todo, style="dim"), (0, 0, 0, 4)))
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


def answer(output: TaskOutput) -> Text:
    """What came of a task in one line, e.g. "planned: Winter hold music -> Summer hold music"."""
    before, now = output.ivr.previous, output.ivr.selected
    if output.error and output.error.field_errors:
        count = len(output.error.field_errors)
        text = f"{count} validation error{'' if count == 1 else 's'}; nothing was sent"
    elif output.error:
        text = output.error.message
    elif output.outcome == "listed":
        found = getattr(output, "found", None)
        text = _ivr_text(found.id, found.name) if found else f"{len(getattr(output, 'ivrs', ()))} IVRs"
    elif output.outcome in ("planned", "updated"):
        names = [before.name or before.id] if before else []
        text = " -> ".join([*names, _requested_ivr(output)])
    else:
        text = (now.name or now.id) if now else ""
    return Text.assemble(outcome_text(output.outcome), f": {text}" if text else "")


def _requested_ivr(output: TaskOutput) -> str:
    """The name of the IVR in the request if the response has it, else its id."""
    ivr_id = str(((output.request and output.request.body) or {}).get("ivr_id"))
    body = output.response.body if output.response else None
    page, slot = read_page(body), read_slot(body)
    ivrs = (each.find(ivr_id) for each in (*(page.slots if page else ()), *([slot] if slot else [])))
    return next((ivr.name for ivr in ivrs if ivr and ivr.name), ivr_id)


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    """The results of `doctor`, each with its fix."""
    for check in checks:
        console.print(
            Text(f"{check.result:<8}", style=_COLOURS[check.result]), Text(f"{check.name}: {check.detail}"), sep=""
        )
        if check.hint and check.result != "ok":
            console.print(Text(f"         -> {check.hint}", style="dim"))


def show_comparison(console: Console, comparison: Comparison) -> None:
    """A definition's state and diff."""
    console.print(Text(f"{comparison.local.label}: ", style="bold"), Text(comparison.state), sep="")
    for line in comparison.diff:
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "dim")
        console.print(Text(f"    {line}", style=style), soft_wrap=True)


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
        output = {name: value for name, value in output.items() if name not in ListCustomIvrsOutput.model_fields}
    if output:
        console.print(_json(output))
    reason = workflow.get("reasonForIncompletion")
    ended = Text(f"Workflow {workflow['workflowId']}: {workflow['status']}")
    console.print(ended.append(f" {reason}", style="red") if reason else ended)
    outputs = [of_ours] if of_ours else [_task_output(task.get("outputData") or {}) for _, task in tasks]
    match list(filter(None, outputs)):
        case [only]:
            console.print(answer(only), soft_wrap=True)


def show_results(console: Console, results: Sequence[ScenarioResult]) -> None:
    """The results of the demo's scenarios."""
    table = Table("scenario", box=None, pad_edge=False)
    for heading in ("responses", "branch taken", "workflow", "retries", "time", ""):
        table.add_column(heading, no_wrap=True)
    for result in results:
        table.add_row(
            Text(result.scenario.title),
            Text(", ".join(str(status) for status in result.responses) or "none"),
            outcome_text(result.branch),
            Text(result.status),
            Text(str(result.retries)),
            Text(f"{result.seconds:.1f} s"),
            Text("ok", style="green") if not result.mismatches else Text("WRONG", style="bold red"),
        )
    console.print(table)
    for result in results:
        for mismatch in result.mismatches:
            console.print(Text(f"{result.scenario.title}: {mismatch} (workflow {result.workflow_id})", style="red"))


def show_violations(console: Console, violations: Sequence[Violation]) -> None:
    """All validation errors of a file of changes."""
    for violation, lines in group_violations(violations):
        where = "" if violation.path == "$" else f" {violation.path}"
        console.print(Text(f"{_lines_text(lines)}{where}: ", style="bold"), Text(violation.message), sep="")
        todo = advice(violation.hint, violation.suggestion, violation.allowed)
        console.print(Padding(Text(todo, style="dim"), (0, 0, 0, 4)))
    count = f"{len(violations)} validation error{'' if len(violations) == 1 else 's'}"
    console.print(Text(f"{count}. Nothing was read from Dialpad or changed.", style="red"))


def _lines_text(lines: Sequence[int]) -> str:
    """Ascending numbers of lines, e.g. "line 7" or "lines 2, 5-90"."""
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], line]
        else:
            runs.append([line])
    return f"line{'s' if len(lines) > 1 else ''} {', '.join('-'.join(map(str, run)) for run in runs)}"


def show_plan(console: Console, plan: Plan) -> None:
    """The changes of a plan, as Terraform shows them."""
    shown = [row for row in plan.rows if row.action != "unchanged"]
    for row in shown[:_ROWS_SHOWN]:
        sign, style = ("~", "yellow") if row.action == "change" else ("!", "red")
        slot = f"{row.target_type} {row.target_id} {row.ivr_type} {row.select_option or ''}".rstrip()
        before = ", ".join(_ivr_text(ivr.id, ivr.name) for ivr in row.previous) or "nothing"
        console.print(Text(f"{sign} {slot}", style=style), Text(f"  (line {row.line})", style="dim"), sep="")
        console.print(Text(f"    {before} -> {_ivr_text(row.ivr_id, row.ivr_name)}"))
        if row.note:
            console.print(Padding(Text(row.note, style="dim" if row.action == "change" else "red"), (0, 0, 0, 4)))
    if len(shown) > _ROWS_SHOWN:
        console.print(Text(f"... and {len(shown) - _ROWS_SHOWN} more; the plan file has all of them.", style="dim"))
    labels = {"change": "to change", "unchanged": "unchanged", "missing_ivr": "missing IVR", "unreadable": "unreadable"}
    counts = [f"{plan.counts[action]} {text}" for action, text in labels.items() if plan.counts[action]]
    console.print(Text(f"Plan: {', '.join(counts) or 'nothing to change'}.", style="bold"))


def show_run(console: Console, run: ProvisioningRun, rows: Sequence[dict[str, Any]]) -> None:
    """The result of a provisioning run: the number of rows by outcome, and the failed rows."""
    table = Table("outcome", "rows", show_edge=False, pad_edge=False)
    for outcome, count in Counter(row["outcome"] for row in rows).most_common():
        table.add_row(outcome_text(outcome), Text(str(count)))
    console.print(table)
    failed = [row for row in rows if row["outcome"] and not row["ok"]]
    if failed:
        table = Table("line", "target", "slot", "outcome", "reason", show_edge=False, pad_edge=False)
        for row in failed[:_ROWS_SHOWN]:
            table.add_row(
                Text(str(row["line"] or "")),
                Text(f"{row['target_type']} {row['target_id']}"),
                Text(f"{row['ivr_type']} {row['select_option'] or ''}".rstrip()),
                outcome_text(row["outcome"]),
                Text(row["message"]),
            )
        console.print(table)
        if len(failed) > _ROWS_SHOWN:
            console.print(Text(f"... and {len(failed) - _ROWS_SHOWN} more; the report has all of them.", style="dim"))
    message = run.output.get("message") or run.reason
    console.print(Text(f"Workflow {run.workflow_id}: {run.status}. ", style="bold"), Text(message), sep="")


def show_unrestorable(console: Console, rows: Sequence[tuple[ChangeResult, str]]) -> None:
    """The rows that a rollback cannot restore."""
    for row, reason in rows[:_ROWS_SHOWN]:
        slot = f"{row.change.get('target_type')} {row.change.get('target_id')} {row.change.get('ivr_type')}"
        console.print(Text(f"Cannot be restored: {slot}: ", style="yellow"), Text(reason), sep="")
    if len(rows) > _ROWS_SHOWN:
        console.print(Text(f"... and {len(rows) - _ROWS_SHOWN} more that cannot be restored.", style="yellow"))


def _ivr_text(number: str, name: str | None) -> str:
    return f"{name} ({number})" if name else number


def _task_output(values: dict[str, Any]) -> ListCustomIvrsOutput | None:
    """The output of a task of ours in what a task or a workflow returned; `None` if there is none.

    That of `list_custom_ivrs` has all fields that an output can have.
    """
    known = {name: values[name] for name in ListCustomIvrsOutput.model_fields if values.get(name) is not None}
    try:
        return ListCustomIvrsOutput.model_validate(known)
    except ValidationError:
        return None


def _json(value: Any) -> RenderableType:
    """JSON, indented, but with the innermost objects and lists in a line each; long JSON is shown in part."""
    lines = _json_lines(value).splitlines()
    shown = "\n".join(lines[:_LINES_SHOWN])
    syntax = Syntax(shown, "json", background_color="default", word_wrap=True)
    more = len(lines) - _LINES_SHOWN
    return Group(syntax, Text(f"... and {more} more lines; --json shows all", style="dim")) if more > 0 else syntax


def _json_lines(value: Any, indent: str = "") -> str:
    inner = f"{indent}  "
    match value:
        case dict() if any(isinstance(item, dict | list) for item in value.values()):
            items = [f"{inner}{json.dumps(key)}: {_json_lines(item, inner)}" for key, item in value.items()]
            return "{\n" + ",\n".join(items) + f"\n{indent}}}"
        case list() if any(isinstance(item, dict | list) for item in value):
            return "[\n" + ",\n".join(f"{inner}{_json_lines(item, inner)}" for item in value) + f"\n{indent}]"
        case _:
            return json.dumps(value, ensure_ascii=False)
