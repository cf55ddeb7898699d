"""Terminal output of the commands `override ...`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Final
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dialpad_ivr.cli.common import plural, shell_command
from dialpad_ivr.cli.render import outcome_label, outcome_text
from dialpad_ivr.contract.validation import short
from dialpad_ivr.engine.api import EngineApi, EngineError, JsonObject
from dialpad_ivr.provisioning.drift import CheckedRow
from dialpad_ivr.provisioning.overridden import with_overrides
from dialpad_ivr.provisioning.override_report import OverrideRun
from dialpad_ivr.provisioning.override_text import (
    OPEN_END,
    decision_texts,
    history_texts,
    not_told_text,
    row_texts,
    run_text,
    slots_text,
    state_text,
    window_text,
)
from dialpad_ivr.provisioning.overrides import Overlap, Override, note_of, overlaps, running_overrides
from dialpad_ivr.provisioning.plan import slot_text, target_text
from dialpad_ivr.provisioning.planned_ahead import PlannedOverride
from dialpad_ivr.provisioning.times import Window, iso_text, utc_text, zone_text
from dialpad_ivr.settings import Settings

_PATIENCE_SECONDS: Final = 2.0
_SLOTS_SHOWN: Final = 20  # on a terminal; --json has all


def window_json(window: Window) -> JsonObject:
    """A window in UTC."""
    return {
        "from": iso_text(window.start) if window.start else "now",
        "until": iso_text(window.end) if window.end else None,
        "zone": window.zone.key,
        "notes": [*window.notes],
    }


def override_json(override: Override) -> JsonObject:
    """An override, with its times in UTC."""
    return {
        **override.summary,
        "overdue": override.overdue,
        "inside": override.inside,
        "message": override.output.get("message"),
        "not_made": override.not_made,
        "slots": [{key: value for key, value in change.items() if key != "note"} for change in override.changes],
    }


def show_list(console: Console, found: Sequence[Override], zone: ZoneInfo) -> None:
    """The overrides: three short lines each on a terminal, which is too narrow for a table; one line in a pipe."""
    if not found:
        console.print("No override is planned or active.")
        return
    for each in found:
        end = f"until {zone_text(each.end, zone)}" if each.end else OPEN_END
        window, slots = f"from {zone_text(each.start, zone)} {end}", slots_text(each)
        by, reason = short(each.requested_by), short(each.reason)
        if console.is_terminal:
            text = f"{each.workflow_id} {state_text(each)}\n  {window}\n  {slots}; by {by}: {reason}"
        else:
            text = " | ".join((each.workflow_id, state_text(each), window, slots, by, reason))
        console.print(Text(text), soft_wrap=True)
    if any(each.left_behind for each in found):
        how = "Restore what one that has ended has left with: dialpad-ivr override end ID"
        console.print(Text(how, style="yellow"), soft_wrap=True)


def show_override(console: Console, override: Override, run: OverrideRun | None, zone: ZoneInfo) -> None:
    """An override with its slots, and what came of it since where both halves are given."""
    end = zone_text(override.end, zone) if override.end else OPEN_END
    lines = [
        ("Override", override.workflow_id),
        ("State", run_text(run) if run else state_text(override)),
        ("From", f"{zone_text(override.start, zone)} ({iso_text(override.start)})"),
        ("Until", f"{end} ({iso_text(override.end)})" if override.end else end),
        ("By", override.requested_by),
        ("Reason", override.reason),
        *(decision_texts(each, zone) for each in override.decisions),
        ("Ended", zone_text(override.ended_at, zone) if override.ended_at else ""),
        ("Within", override.inside or ""),
        ("Notify", override.notify or ""),
        ("Result", str((run.message if run else override.output.get("message")) or "")),
    ]
    _show_facts(console, lines)
    table = Table("target", "slot", "selected meanwhile", "restored then", show_edge=False, pad_edge=False)
    for change in override.changes[:_SLOTS_SHOWN]:
        table.add_row(*map(Text, _change_texts(change)))
    console.print(table)
    if len(override.changes) > _SLOTS_SHOWN:
        console.print(
            Text(f"... and {len(override.changes) - _SLOTS_SHOWN} more; --json has all of them.", style="dim")
        )


def _show_facts(console: Console, facts: Sequence[tuple[str, str]]) -> None:
    """What is known of these, each on a line of its own."""
    for name, value in facts:
        if value:
            console.print(Text(f"{name:<15}", style="bold"), Text(value), sep="", soft_wrap=True)


def _change_texts(change: JsonObject) -> tuple[str, str, str, str]:
    note = note_of(change)
    before = (note.get("previous") or [{}])[0]
    office = f", {short(str(note['office_name']))}" if note.get("office_name") else ""
    return (
        f"{change.get('target_type')} {short(str(note.get('target_name') or change.get('target_id')))}{office}",
        f"{change.get('ivr_type')} {change.get('select_option') or ''}".rstrip(),
        _ivr_text(change.get("ivr_id"), note.get("ivr_name")),
        _ivr_text(before.get("id"), before.get("name")),
    )


def _ivr_text(number: Any, name: Any) -> str:
    return f"{short(str(name))} ({number})" if name else str(number)


def show_overlap(console: Console, overlap: Overlap, zone: ZoneInfo) -> None:
    """An override that is in the way."""
    console.print(Text(overlap.text(zone), style="red"), soft_wrap=True)


def show_started(console: Console, workflow_id: str, window: Window, *, approval: bool) -> None:
    """What was started, and how to go on."""
    lines = [f"Started {workflow_id}: {window_text(window)}"]
    if approval:
        lines.append(f"Waiting for approval: {shell_command('approve', workflow_id)}")
    word = "cancel" if window.start or approval else "end"
    lines.append(f"To {word} it: {shell_command('override', word, workflow_id)}")
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def show_stopped(console: Console, started: Sequence[str], planned: Sequence[PlannedOverride]) -> None:
    """Which overrides of a file were started before one could not be: they stay."""
    lines = [f"{len(started)} of {plural(len(planned), 'override')} started{', and stay:' if started else '.'}"]
    for workflow_id, each in zip(started, planned, strict=False):
        word = "cancel" if each.window.start else "end"
        how = shell_command("override", word, workflow_id)
        lines.append(f"{window_text(each.window)}: {word} it with: {how}")
    for line in lines:
        console.print(Text(line, style="red"), soft_wrap=True)


def show_not_told(console: Console, run: OverrideRun, zone: ZoneInfo) -> None:
    """What people were not told, and what to do."""
    for each in run.not_told:
        console.print(Text(not_told_text(each, zone), style="red"), soft_wrap=True)


def show_report(console: Console, run: OverrideRun, zone: ZoneInfo) -> None:
    """Both halves: when they began, rows by outcome, and the rows that were not made or not restored."""
    _show_facts(console, history_texts(run, zone))
    table = Table("half", "outcome", "rows", show_edge=False, pad_edge=False)
    for half, counts in (("made", run.made), ("restored", run.restored)):
        for outcome, count in counts.most_common():
            table.add_row(half, outcome_text(None if outcome == "pending" else outcome), Text(str(count)))
    console.print(table)
    _show_worst(console, run)
    state = run_text(run)
    console.print(
        Text(f"Override {run.override.workflow_id}: {state}. {run.message or ''}".rstrip(), style="bold"),
        soft_wrap=True,
    )
    if run.overridden:
        how = shell_command("override", "end", run.override.workflow_id)
        console.print(Text(f"To restore what is left, once the reason is fixed: {how}"), soft_wrap=True)


def _show_worst(console: Console, run: OverrideRun) -> None:
    """The rows that were not made or not restored, each with its reason."""
    override = run.override
    worst = [row for row in run.worst_first if row.not_made or row.settled or (row.left and override.ended)]
    for row in worst[:_SLOTS_SHOWN]:
        target = target_text(row.target_id, row.target_name, row.office_name)
        slot = slot_text(row.target_type, target, row.ivr_type, row.select_option)
        restored = f"; restored: {outcome_label(row.restored)}" if row.restored or row.left else ""
        console.print(Text(f"{f'line {row.line}: ' if row.line else ''}{slot}", style="bold"), soft_wrap=True)
        lines = (
            f"selected before: {_ivr_text(row.previous, row.previous_name) or 'unknown'}",
            f"made: {outcome_label(row.made)}{restored}",
            *row_texts(row, override),
        )
        for line in lines:
            console.print(Text(f"  {line}"), soft_wrap=True)
    if len(worst) > _SLOTS_SHOWN:
        console.print(Text(f"... and {len(worst) - _SLOTS_SHOWN} more; the report has all of them.", style="dim"))


def considering_overrides(checked: list[CheckedRow], settings: Settings) -> list[CheckedRow]:
    """The rows of a check, in sync where they differ only while an override is on. As they were without an engine."""
    with contextlib.suppress(EngineError):
        return with_overrides(checked, EngineApi(settings, _PATIENCE_SECONDS), utc_text)
    return checked


def note_overridden(console: Console, changes: Sequence[JsonObject], settings: Settings) -> None:
    """Say in which of these slots an override has its IVRs now: what is changed in them stays, and is not restored.

    Nothing is said where no engine answers: the plan of a file needs none.
    """
    now = datetime.now(timezone.utc)
    with contextlib.suppress(EngineError):
        on = [each for each in running_overrides(EngineApi(settings, _PATIENCE_SECONDS)) if each.on]
        for overlap in overlaps(changes, now, now + timedelta(seconds=1), on):
            count, other = plural(len(overlap.slots), "slot"), overlap.other
            until = f"until {utc_text(other.end)}" if other.end else OPEN_END
            text = f"{count} overridden {until} by {other.workflow_id} ({short(other.reason)}). A change now will stay."
            console.print(Text(text, style="yellow"), soft_wrap=True)
