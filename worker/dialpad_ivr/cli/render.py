"""Terminal output. Text from outside is wrapped in `Text`, so that it is never parsed as markup."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dialpad_ivr.cli.common import plural
from dialpad_ivr.contract.outcomes import OK_OUTCOMES
from dialpad_ivr.contract.outputs import FieldError, SelectedIvr
from dialpad_ivr.contract.validation import advice, short
from dialpad_ivr.engine.definitions import Comparison
from dialpad_ivr.provisioning.changes import Violation, group_violations
from dialpad_ivr.provisioning.drift import CheckedRow, State, counts
from dialpad_ivr.provisioning.listing import Target
from dialpad_ivr.provisioning.plan import Plan, PlannedChange, target_text
from dialpad_ivr.provisioning.run import ChangeResult, ProvisioningRun
from dialpad_ivr.provisioning.scheduled_check import CheckedIvr, CheckRun

ROWS_SHOWN = 50  # on a terminal; files have all
_DIFFERENCES_SHOWN = 5  # of each scheduled check
_UNREAD = {"unreadable": "not read", "unknown_target": "unknown target"}
_NOT_COMPARED: dict[State, str] = {
    "missing_target": "missing target",
    "ambiguous_target": "several targets of that name",
    "conflict": "an earlier row sets the same slot",
    "unreadable": "not compared",
}
# What a check counts, by the rows' state.
_CHECKED: dict[State, str] = {
    "in_sync": "in sync",
    "differs": "different",
    "missing_target": "with a missing target",
    "ambiguous_target": "with an ambiguous target name",
    "missing_ivr": "with a missing IVR",
    "ambiguous_ivr": "with an ambiguous IVR name",
    "conflict": "for the slot of an earlier row",
    "unreadable": "not compared",
}


# What a plan counts, by the rows' action.
_COUNTED = {
    "change": "to change",
    "unchanged": "unchanged",
    "missing_ivr": "with a missing IVR",
    "ambiguous_ivr": "with an ambiguous IVR name",
    "unknown_target": "with an unknown target",
    "unreadable": "not read",
}
# Outcomes of a row that no task had, as people read them.
_LABELS = {"not_sent": "not sent"}


def outcome_label(outcome: str | None) -> str:
    """An outcome as people read it; `None` is pending."""
    return "pending" if outcome is None else _LABELS.get(outcome, outcome)


def outcome_text(outcome: str | None) -> Text:
    """An outcome, coloured."""
    colour = "green" if outcome in OK_OUTCOMES else "yellow" if outcome in (None, "not_sent") else "red"
    return Text(outcome_label(outcome), style=f"bold {colour}")


def show_comparison(console: Console, comparison: Comparison) -> None:
    """A definition's state and diff."""
    console.print(Text(f"{comparison.local.label}: ", style="bold"), Text(comparison.state), sep="")
    for line in comparison.diff:
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "dim")
        console.print(Text(f"    {line}", style=style), soft_wrap=True)


def show_violations(
    console: Console, violations: Sequence[Violation], *, nothing: str = "read from Dialpad or "
) -> None:
    """All validation errors of a file of changes, and that nothing was done.

    Args:
        console: Where to show them.
        violations: The errors.
        nothing: What was not done, apart from a change.
    """
    for violation, lines in group_violations(violations):
        # Most messages begin with the field.
        named = violation.path == "$" or violation.path in violation.message
        show_error(console, _lines_text(lines) if named else f"{_lines_text(lines)} {violation.path}", violation)
    count = plural(len(violations), "validation error")
    console.print(Text(f"{count}. Nothing was {nothing}changed.", style="red"))


def show_error(console: Console, place: str, error: Violation | FieldError) -> None:
    """A validation error: where it is, unless that is empty, what is wrong, and what to do."""
    console.print(Text(f"{place}: " if place else "", style="bold"), Text(error.message), sep="")
    todo = advice(error.hint, error.suggestion, error.allowed)
    if not todo:
        return
    if ": dialpad-ivr " in todo:  # to be copied as it is
        console.print(Text(f"    {todo}", style="dim"), soft_wrap=True)
    else:
        console.print(Padding(Text(todo, style="dim"), (0, 0, 0, 4)))


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
    if len(shown) > ROWS_SHOWN:
        # What cannot be applied comes first, and then what has a note.
        shown.sort(key=lambda row: (row.action == "change", not row.note))
    for row in shown[:ROWS_SHOWN]:
        _show_row(console, row, _UNREAD.get(row.action), changes=row.action == "change")
    if len(shown) > ROWS_SHOWN:
        console.print(Text(f"... and {len(shown) - ROWS_SHOWN} more; the plan file has all of them.", style="dim"))
    counts = [f"{plan.counts[action]} {counted}" for action, counted in _COUNTED.items() if plan.counts[action]]
    console.print(Text(f"Plan: {', '.join(counts) or 'nothing to change'}.", style="bold"))


def show_check(console: Console, checked: Sequence[CheckedRow]) -> None:
    """What a check found: each row that is not in sync, as a plan shows it, and the number of rows by state."""
    shown = [each for each in checked if each.state != "in_sync"]
    if len(shown) > ROWS_SHOWN:
        shown.sort(key=lambda each: each.state == "differs")  # what a plan would not repair comes first
    for each in shown[:ROWS_SHOWN]:
        _show_row(console, each.row, _NOT_COMPARED.get(each.state), changes=each.state == "differs")
    if len(shown) > ROWS_SHOWN:
        console.print(
            Text(f"... and {len(shown) - ROWS_SHOWN} more; --report and --json have all of them.", style="dim")
        )
    overridden = Counter(each.row.note for each in checked if each.state == "in_sync" and each.row.note)
    for note, count in overridden.most_common():
        console.print(Text(f"{plural(count, 'slot')} in sync, {note}", style="yellow"), soft_wrap=True)
    counted = [f"{count} {_CHECKED[state]}" for state, count in counts(checked).items()]
    style = "bold" if shown else "bold green"
    console.print(Text(f"Check: {', '.join(counted)}.", style=style), soft_wrap=True)


def _show_row(console: Console, row: PlannedChange, why_not: str | None, *, changes: bool) -> None:
    """What is selected and what is wanted, or `why_not` nothing was compared; and the row's note."""
    sign, style = ("~", "yellow") if changes else ("!", "red")
    change = why_not or _change_text(row.previous, row.ivr_id, row.ivr_name)
    console.print(Text(f"{sign} {row.slot_text}", style=style), Text(f"  (line {row.line})", style="dim"), sep="")
    console.print(Padding(Text(change), (0, 0, 0, 4)))
    if row.note:
        console.print(Padding(Text(row.note, style="dim" if changes else "red"), (0, 0, 0, 4)))


def show_check_run(console: Console, run: CheckRun) -> None:
    """The rows that a scheduled check found not to be in sync."""
    result = run.result
    if result is None or result.in_sync:
        return
    for row in result.differences[:_DIFFERENCES_SHOWN]:
        target = target_text(row.target_id or "", row.target_name, row.office_name)
        change = _change_text(row.selected, row.wanted.id or "", row.wanted.name)
        what = change if row.state == "differs" else row.message or row.state
        slot = f"{row.target_type} {target} {row.ivr_type} {row.select_option or ''}".rstrip()
        console.print(Text(f"        line {row.line}: {slot}: {what}", style="yellow"), soft_wrap=True)
    more = sum(result.counts.values()) - result.counts.get("in_sync", 0) - _DIFFERENCES_SHOWN
    if more > 0:
        console.print(Text(f"        ... and {more} more.", style="yellow"))
    text = f"        All of them: the page Checks of `dialpad-ivr console`, or the output of workflow {run.workflow_id}"
    console.print(Text(text, style="dim"), soft_wrap=True)


def show_targets(console: Console, targets: Sequence[Target]) -> None:
    """Targets as a table."""
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("type", "id"):
        table.add_column(heading, no_wrap=True)  # to be copied
    for heading in ("name", "office"):
        table.add_column(heading, overflow="fold")
    for target_type, found in targets:
        office = found.office.name or found.office.id if found.office else ""
        table.add_row(*map(Text, (target_type, found.id, short(found.name or ""), short(office))))
    console.print(table)


def show_run(console: Console, run: ProvisioningRun, rows: Sequence[dict[str, Any]]) -> None:
    """The state of a provisioning run: the number of rows by outcome, the failed rows, and the summary."""
    table = Table("outcome", "rows", show_edge=False, pad_edge=False)
    for outcome, count in Counter(row["outcome"] for row in rows).most_common():
        table.add_row(outcome_text(outcome), Text(str(count)))
    console.print(table)
    failed = [row for row in rows if row["outcome"] not in (None, "not_sent") and not row["ok"]]
    if failed:
        table = Table("line", "target", "IVR type", "outcome", "reason", show_edge=False, pad_edge=False)
        for row in failed[:ROWS_SHOWN]:
            table.add_row(
                Text(str(row["line"] or "")),
                Text(f"{row['target_type']} {row['target_id']}"),
                Text(f"{row['ivr_type']} {row['select_option'] or ''}".rstrip()),
                outcome_text(row["outcome"]),
                Text(row["message"]),
            )
        console.print(table)
        if len(failed) > ROWS_SHOWN:
            console.print(Text(f"... and {len(failed) - ROWS_SHOWN} more; the report has all of them.", style="dim"))
    if run.waits_for_approval:
        _show_waiting_changes(console, run)
    console.print(Text(f"Workflow {run.workflow_id}: {run.status}. {run.summary}", style="bold"), soft_wrap=True)
    if run.reason and (run.ended_early or not run.rows):
        console.print(Text(run.reason, style="dim"), soft_wrap=True)


def _show_waiting_changes(console: Console, run: ProvisioningRun) -> None:
    """What a person is asked to approve."""
    for row in run.rows[:ROWS_SHOWN]:
        change = row.change
        target = target_text(str(change.get("target_id")), row.target_name, row.office_name)
        slot = f"{change.get('target_type')} {target} {change.get('ivr_type')} {change.get('select_option') or ''}"
        what = _change_text(row.previous or (), str(change.get("ivr_id")), row.ivr_name, before="unknown")
        console.print(Text(f"~ {slot.rstrip()}", style="yellow"), Text(f"  (line {row.line})", style="dim"), sep="")
        console.print(Padding(Text(what), (0, 0, 0, 4)))
    if len(run.rows) > ROWS_SHOWN:
        console.print(Text(f"... and {len(run.rows) - ROWS_SHOWN} more; --json has all of them.", style="dim"))


def show_unrestorable(console: Console, rows: Sequence[tuple[ChangeResult, str]]) -> None:
    """The rows that a rollback cannot restore."""
    for row, reason in rows[:ROWS_SHOWN]:
        slot = f"{row.change.get('target_type')} {row.change.get('target_id')} {row.change.get('ivr_type')}"
        console.print(Text(f"Cannot be restored: {slot}: ", style="yellow"), Text(reason), sep="")
    if len(rows) > ROWS_SHOWN:
        console.print(Text(f"... and {len(rows) - ROWS_SHOWN} more that cannot be restored.", style="yellow"))


def _change_text(
    selected: Sequence[SelectedIvr | CheckedIvr], ivr_id: str, name: str | None, *, before: str = "nothing"
) -> str:
    """What is selected, or what stands for that where there is none, and what is to be."""
    return f"{', '.join(_ivr_text(ivr.id or '', ivr.name) for ivr in selected) or before} -> {_ivr_text(ivr_id, name)}"


def _ivr_text(number: str, name: str | None) -> str:
    if not number:
        return short(name or "")
    return f"{short(name)} ({number})" if name else number
