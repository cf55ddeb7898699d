"""The commands on overrides: `override list`, `show`, `report`, `end`, `extend` and `cancel`."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.text import Text

from dialpad_ivr.cli import render_override
from dialpad_ivr.cli.common import (
    confirm,
    engine_failed,
    err,
    fail,
    notice,
    out,
    settings_or_fail,
    shell_command,
)
from dialpad_ivr.cli.exit_codes import EXIT_FAILED, EXIT_USAGE
from dialpad_ivr.cli.options import JsonFlag, Yes
from dialpad_ivr.cli.override_start import Zone, read_options, refuse
from dialpad_ivr.engine.api import EngineApi, EngineError, current_user
from dialpad_ivr.provisioning import override_control, overrides
from dialpad_ivr.provisioning.override_page import report_page
from dialpad_ivr.provisioning.override_report import OverrideRun
from dialpad_ivr.provisioning.overrides import Override
from dialpad_ivr.provisioning.plan import write_atomically
from dialpad_ivr.provisioning.times import Problem, Window, read_zone, zone_text
from dialpad_ivr.provisioning.zone import local_zone

OverrideId = Annotated[str, typer.Argument(help="The id that `override start` printed.", metavar="ID")]
Reason = Annotated[str, typer.Option(help="The reason, stored with the override.")]


def list_(zone: Zone = None, as_json: JsonFlag = False) -> None:
    """List the overrides that are planned or active, and those that could not restore: times, slots, who, why.

    Examples:
    - `dialpad-ivr override list`
    - `dialpad-ivr override list --zone Europe/Berlin --json`
    """
    shown_in = _shown_zone(zone)
    engine = EngineApi(settings_or_fail())
    try:
        left_behind = [each for each in overrides.left_behind(engine) if OverrideRun(engine, each).overridden]
        found = [*left_behind, *overrides.running_overrides(engine)]
    except EngineError as exc:
        engine_failed(exc)
    if as_json:
        typer.echo(json.dumps([render_override.override_json(each) for each in found], indent=2))
    else:
        render_override.show_list(out, found, shown_in)


def show(workflow_id: OverrideId, zone: Zone = None, as_json: JsonFlag = False) -> None:
    """Show an override: its state, its times, who started it and why, and its slots.

    Examples:
    - `dialpad-ivr override show 5f0c...`
    """
    shown_in = _shown_zone(zone)
    engine = EngineApi(settings_or_fail())
    try:
        found = overrides.read_override(engine, workflow_id)
        run = OverrideRun(engine, found) if found.notify or found.left_behind else None
    except EngineError as exc:
        engine_failed(exc)
    if as_json:
        told = [each.summary for each in run.notifications] if run else []
        shown = {**render_override.override_json(found), "notifications": told}
        typer.echo(json.dumps(shown | ({"message": run.message} if run else {}), indent=2))
    else:
        render_override.show_override(out, found, run, shown_in)
        if run:
            render_override.show_not_told(out, run, shown_in)


def report(
    workflow_id: OverrideId,
    base: Annotated[
        Path | None,
        typer.Option("--report", help="Base name of the reports: BASE.report.json, .csv, .html.", metavar="BASE"),
    ] = None,
    zone: Zone = None,
    as_json: JsonFlag = False,
) -> None:
    """Report both halves of an override row by row: what was made, and what was restored.

    The exit code is 1 if a change was not made, or if an override that has ended left a slot not restored. A slot that
    a person has set since counts as settled. BASE.report.html can be printed.

    Examples:
    - `dialpad-ivr override report 5f0c...`
    - `dialpad-ivr override report 5f0c... --report christmas`
    """
    shown_in = _shown_zone(zone)
    engine = EngineApi(settings_or_fail())
    try:
        run = OverrideRun(engine, overrides.read_override(engine, workflow_id))
    except EngineError as exc:
        engine_failed(exc)
    document = run.json()
    if as_json:
        typer.echo(document, nl=False)
    else:
        render_override.show_report(out, run, shown_in)
        render_override.show_not_told(out, run, shown_in)
    if base:
        try:
            write_atomically(Path(f"{base}.report.json"), document)
            write_atomically(Path(f"{base}.report.csv"), run.csv())
            page = report_page(run, shown_in, datetime.now(timezone.utc))
            write_atomically(Path(f"{base}.report.html"), page)
        except OSError as exc:
            fail(f"The report cannot be written: {exc}", EXIT_USAGE)
        if not as_json:
            out.print(Text(f"Report: {base}.report.json, {base}.report.csv, {base}.report.html"), soft_wrap=True)
    if run.left or run.not_made:
        raise typer.Exit(EXIT_FAILED)


def end(workflow_id: OverrideId, reason: Reason = "", yes: Yes = False, as_json: JsonFlag = False) -> None:
    """Restore now what an active override has changed; also what one that has ended could not restore.

    Examples:
    - `dialpad-ivr override end 5f0c... --reason "the snow has melted"`
    """
    confirm(f"Restore now what {workflow_id} has changed?", yes=yes)
    found = _ended(override_control.end_override, workflow_id, reason)
    _done("Restoring", found, as_json=as_json, state="restoring")


def extend(
    workflow_id: OverrideId,
    until: Annotated[str | None, typer.Option(help='The new end: a time such as "2026-12-27 08:00".')] = None,
    lasts: Annotated[str | None, typer.Option("--for", help="Or how much longer from now, e.g. 2h.")] = None,
    zone: Zone = None,
    reason: Reason = "",
    as_json: JsonFlag = False,
) -> None:
    """Let an override end later, or earlier, than planned.

    Examples:
    - `dialpad-ivr override extend 5f0c... --until "2026-12-28 08:00" --zone Europe/Berlin`
    - `dialpad-ivr override extend 5f0c... --for 2h`
    """
    engine = EngineApi(settings_or_fail())
    try:
        found = overrides.read_override(engine, workflow_id)
        missing = () if until or lasts else (Problem("--until", "Give the new end with --until, or with --for."),)
        window = read_options(None, until, lasts, zone or found.zone, None, missing, as_json=as_json)
        _check_extension(engine, found, window, as_json=as_json)
        for note in window.notes:
            notice(note)
        override_control.extend_override(engine, found.workflow_id, window.end, by=current_user(), reason=reason)
    except EngineError as exc:
        engine_failed(exc)
    if as_json:
        typer.echo(json.dumps({"workflow_id": found.workflow_id, **render_override.window_json(window)}, indent=2))
    elif window.end:
        out.print(Text(f"{found.workflow_id} now ends {zone_text(window.end, window.zone)}."), soft_wrap=True)


def _check_extension(engine: EngineApi, found: Override, window: Window, *, as_json: bool) -> None:
    """End the command if the override cannot end then, or would meet another one."""
    if problem := override_control.end_problem(found, window.end):
        refuse((Problem("--until", problem),), as_json=as_json)
    met = override_control.overlaps_if_extended(engine, found, window.end)
    for overlap in met:
        render_override.show_overlap(err, overlap, window.zone)
    if met:
        fail("Two overrides cannot have a slot at the same time. The end was not changed.", EXIT_FAILED)


def cancel(workflow_id: OverrideId, reason: Reason = "", yes: Yes = False, as_json: JsonFlag = False) -> None:
    """Cancel an override before it begins.

    Examples:
    - `dialpad-ivr override cancel 5f0c... --reason "the storm has turned"`
    """
    confirm(f"Cancel {workflow_id}?", yes=yes)
    found = _ended(override_control.cancel_override, workflow_id, reason)
    _done("Canceled; nothing was changed", found, as_json=as_json, state="cancelled")


def _ended(control: Callable[..., Override], workflow_id: str, reason: str) -> Override:
    """The override that was ended or canceled. Ends the command if it cannot be."""
    engine = EngineApi(settings_or_fail())
    try:
        return control(engine, workflow_id, by=current_user(), reason=reason)
    except EngineError as exc:
        engine_failed(exc)


def _done(what: str, found: Override, *, as_json: bool, state: str) -> None:
    if as_json:
        typer.echo(json.dumps({"workflow_id": found.workflow_id, "state": state}))
        return
    how = shell_command("override", "report", found.workflow_id)
    out.print(Text(f"{what}. Both halves row by row: {how}"), soft_wrap=True)


def _shown_zone(name: str | None) -> ZoneInfo:
    zone = read_zone(name or local_zone())
    if isinstance(zone, Problem):
        fail(zone.message, EXIT_USAGE)
    return zone
