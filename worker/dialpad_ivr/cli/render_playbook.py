"""Terminal output of the commands `playbook ...`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dialpad_ivr.cli import render
from dialpad_ivr.cli.common import plural
from dialpad_ivr.contract.validation import short
from dialpad_ivr.engine.api import JsonObject
from dialpad_ivr.provisioning.changes import group_violations
from dialpad_ivr.provisioning.playbooks import Playbook
from dialpad_ivr.provisioning.rehearsals import Rehearsal

_COLUMNS = ("target_type", "target", "office", "number", "email", "target_id", "ivr_type", "ivr", "ivr_id")
_MORE_COLUMNS = ("select_option", "credential")


def playbook_json(playbook: Playbook) -> JsonObject:
    """A playbook, with the workflow that it is on the engine."""
    return {**asdict(playbook), "rows": [*playbook.rows], "workflow": playbook.workflow}


def show_list(console: Console, found: Sequence[Playbook]) -> None:
    """The playbooks, one a row."""
    if not found:
        console.print("There is no playbook. Save one with: dialpad-ivr playbook save NAME FILE --for 12h")
        return
    table = Table("name", "for", "approval", "rows", "selects", show_edge=False, pad_edge=False)
    for each in found:
        values = (each.name, each.lasts, "yes" if each.approval else "no", str(len(each.rows)), each.summary)
        table.add_row(*map(Text, values))
    console.print(table)


def show_playbook(console: Console, playbook: Playbook) -> None:
    """A playbook with its rows, as the file has them."""
    lines = [
        ("Playbook", f"{playbook.name}, version {playbook.version}"),
        ("Workflow", playbook.workflow),
        ("For", f"{playbook.lasts}, unless it is started with another end"),
        ("Zone", playbook.zone),
        ("Approval", "waits for a person" if playbook.approval else "none"),
        ("Stops", f"after {playbook.max_failures} failures" if playbook.max_failures else ""),
        ("Domain", playbook.domain or ""),
        ("Notify", playbook.notify or ""),
        ("From", playbook.source),
    ]
    for name, value in lines:
        if value:
            console.print(Text(f"{name:<9}", style="bold"), Text(short(value)), sep="", soft_wrap=True)
    used = [name for name in (*_COLUMNS, *_MORE_COLUMNS) if any(row.get(name) for row in playbook.rows)]
    table = Table(*used, show_edge=False, pad_edge=False)
    for row in playbook.rows[: render.ROWS_SHOWN]:
        table.add_row(*(Text(short(str(row.get(name) or ""))) for name in used))
    console.print(table)
    if len(playbook.rows) > render.ROWS_SHOWN:
        more = len(playbook.rows) - render.ROWS_SHOWN
        console.print(Text(f"... and {more} more; --json has all of them.", style="dim"))


def rehearsal_json(rehearsal: Rehearsal) -> JsonObject:
    """What starting a playbook would do."""
    groups = group_violations(rehearsal.violations)
    return {
        "ok": rehearsal.ok,
        "actions": dict(rehearsal.plan.counts),
        "violations": [{**asdict(group.violation), "lines": group.lines} for group in groups],
        "unrestorable": [{**row.model_dump(), "reason": reason} for row, reason in rehearsal.unrestorable],
        "rows": [row.model_dump() for row in rehearsal.plan.rows],
        "warnings": [*rehearsal.warnings],
    }


def show_rehearsal(console: Console, rehearsal: Rehearsal) -> None:
    """What starting a playbook would do, and what is in the way."""
    if rehearsal.violations:
        render.show_violations(console, rehearsal.violations, nothing="")
    if rehearsal.plan.rows:
        render.show_plan(console, rehearsal.plan)
    for row, reason in rehearsal.unrestorable[: render.ROWS_SHOWN]:
        text = f"line {row.line}: {row.slot_text} could not be restored: {reason}."
        console.print(Text(text, style="red"), soft_wrap=True)
    if len(rehearsal.unrestorable) > render.ROWS_SHOWN:
        count = plural(len(rehearsal.unrestorable), "slot")
        console.print(Text(f"{count} in all could not be restored; --json has all of them.", style="red"))
    for warning in rehearsal.warnings:
        console.print(Text(warning, style="yellow"), soft_wrap=True)
