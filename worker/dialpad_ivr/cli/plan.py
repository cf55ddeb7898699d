"""The command `plan`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.text import Text

from dialpad_ivr.cli import render
from dialpad_ivr.cli.common import (
    PLAN_SUFFIX,
    err,
    fail,
    notice,
    out,
    plural,
    settings_or_fail,
    shell_command,
)
from dialpad_ivr.cli.exit_codes import EXIT_FAILED, EXIT_USAGE
from dialpad_ivr.cli.options import JsonFlag
from dialpad_ivr.cli.reading import read_dialpad
from dialpad_ivr.cli.render_override import note_overridden
from dialpad_ivr.provisioning.changes import Change, ChangesError, Violation, group_violations, read_changes
from dialpad_ivr.provisioning.plan import Plan, PlannedChange, make_plan, write_plan
from dialpad_ivr.provisioning.snapshot import Snapshot, read_snapshot
from dialpad_ivr.provisioning.windows import window_violations
from dialpad_ivr.settings import Settings
from dialpad_ivr.telemetry import logs

_WITH_NOTE: Final = {"line", "target_type", "target_id", "ivr_type", "select_option", "action", "note"}


def plan(
    file: Annotated[Path, typer.Argument(help="The file of changes: CSV, TSV, JSON or YAML.", metavar="FILE")],
    to: Annotated[
        Path | None, typer.Option("--out", help="The plan file to write; FILE.plan.json by default.", metavar="PLAN")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Only validate the file; read nothing from Dialpad, write no plan.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Validate a file of changes, read the current selections, and show what would change. Changes nothing.

    A row has target_type, a target, ivr_type and an IVR, and optionally select_option and credential. The target is
    target_id, or is looked up: by target (its name; `*` stands for any text, and the row for all that match), number or
    email, and by office, which tells targets of one name apart. The IVR is ivr_id, or ivr (its name). Every validation
    error is reported with its line. The exit code is 1 when a row cannot be applied. A change that callers cannot hear
    now, as Dialpad's settings are, has a note.

    A file with names: the line `target_type,target,office,ivr_type,ivr`, and below it
    `callcenter,Support*,Berlin,HOLD_MUSIC,Winter hold music`.

    Examples:
    - `dialpad-ivr plan changes.csv --offline`
    - `dialpad-ivr plan changes.csv --out monday.plan.json`
    """
    settings = settings_or_fail()
    logs.configure("warning", settings.log_format)
    changes = valid_changes(file, as_json=as_json)
    if offline:
        valid = f"{plural(len(changes), 'change')}, all valid. Nothing was read from Dialpad; no plan was written."
        typer.echo(json.dumps({"changes": len(changes), "violations": []}) if as_json else valid)
        return
    snapshot = _snapshot(changes, settings, as_json=as_json)
    made = _planned(snapshot, file, settings)
    to = to or file.with_name(f"{file.stem}{PLAN_SUFFIX}")
    try:
        write_plan(made, to)
    except OSError as exc:
        fail(f"{to} cannot be written: {exc.strerror}", EXIT_USAGE)
    if as_json:
        notes = [row.model_dump(include=_WITH_NOTE) for row in made.rows if row.note]
        summary = {"plan": str(to), "hash": made.hash, "actions": dict(made.counts)}
        typer.echo(json.dumps({**summary, "notes": notes, "warnings": snapshot.warnings}, indent=2))
    else:
        render.show_plan(out, made)
        for warning in snapshot.warnings:
            out.print(Text(warning, style="yellow"))
        note_overridden(out, [row.model_dump() for row in made.rows], settings)
        what = f"the other {plural(len(made.changes), 'change')}" if made.blocked else "it"
        command = shell_command("apply", to, *(["--partial"] if made.blocked else []))
        how = f" Apply {what} with: {command}" if made.changes else ""
        out.print(Text(f"Written to {to}.{how}"), soft_wrap=True)
    if made.blocked:
        raise typer.Exit(EXIT_FAILED)


def plan_of(file: Path, settings: Settings, *, as_json: bool, changes: Sequence[Change] | None = None) -> Plan:
    """The plan of a file of changes, made now. Ends the command if the file is invalid or nothing could be read.

    Args:
        file: The file.
        settings: What is read with.
        as_json: Whether what is wrong is printed as JSON.
        changes: What is in the file, if it was read.
    """
    found = valid_changes(file, as_json=as_json) if changes is None else changes
    snapshot = _snapshot(found, settings, as_json=as_json)
    for warning in snapshot.warnings:
        notice(warning)
    return _planned(snapshot, file, settings)


def _snapshot(changes: Sequence[Change], settings: Settings, *, as_json: bool) -> Snapshot:
    """What was read for the changes. Ends the command if it has violations, or nothing could be read."""
    snapshot = read_dialpad(
        settings,
        lambda reader, progress: read_snapshot(changes, reader, progress),
        interrupted="Nothing was changed; no plan was written.",
    )
    if snapshot.violations:
        invalid(snapshot.violations, as_json=as_json, nothing="")
    planned = list(snapshot.rows)
    if planned and all(row.action == "unreadable" for row in planned):
        _nothing_read(planned, settings, as_json=as_json)
    return snapshot


def _planned(snapshot: Snapshot, file: Path, settings: Settings) -> Plan:
    return make_plan(list(snapshot.rows), settings.api_url, file.name)


def valid_changes(file: Path, *, as_json: bool, windows: bool = False) -> Sequence[Change]:
    """The changes in a file. Ends the command if they are invalid.

    Args:
        file: The file.
        as_json: Whether what is wrong is printed as JSON.
        windows: Whether the rows may say when their changes are made, and when they end.
    """
    if file.name.endswith(PLAN_SUFFIX):
        fail(f"{file} is a plan, not a file of changes.\nApply it with: {shell_command('apply', file)}", EXIT_USAGE)
    try:
        changes = read_changes(file)
    except ChangesError as exc:
        fail(str(exc), EXIT_USAGE)
    if changes.has_windows and not windows:
        fail_for_windows(file)
    violations = [*changes.violations, *window_violations(changes.windows, datetime.now(timezone.utc))]
    if violations:
        invalid(sorted(violations, key=lambda violation: violation.line), as_json=as_json)
    return changes.changes


def fail_for_windows(file: Path) -> NoReturn:
    """End the command: the rows of the file say when their changes are made, which it would not keep to."""
    how = shell_command("override", "start", file, "--reason", "REASON")
    fail(
        f"{file}: its rows have windows (from, until, zone), which only `override start` keeps to.\n"
        f"Start them with: {how}. To change them for good, remove these columns.",
        EXIT_USAGE,
    )


def invalid(violations: Sequence[Violation], *, as_json: bool, nothing: str = "read from Dialpad or ") -> NoReturn:
    """Show violations, and end the command."""
    if as_json:
        groups = group_violations(violations)
        found = [{**asdict(group.violation), "lines": group.lines} for group in groups]
        typer.echo(json.dumps({"violations": found}, indent=2))
    else:
        render.show_violations(out, violations, nothing=nothing)
    raise typer.Exit(EXIT_FAILED)


def _nothing_read(planned: list[PlannedChange], settings: Settings, *, as_json: bool) -> None:
    """End the command: Dialpad does not answer, or accepts no key."""
    reasons = list(dict.fromkeys(row.note for row in planned))
    if as_json:
        typer.echo(json.dumps({"plan": None, "actions": {"unreadable": len(planned)}, "reasons": reasons}, indent=2))
    for reason in reasons[:3]:
        err.print(Text(reason, style="red"), soft_wrap=True)
    fail(
        f"No target could be read from {settings.api_url}; no plan was written. Plan again once that is solved.",
        EXIT_FAILED,
    )
