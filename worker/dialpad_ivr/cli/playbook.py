"""The commands on playbooks: `playbook save`, `list`, `show`, `rehearse`, `start` and `delete`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.text import Text

from dialpad_ivr.cli import render, render_override, render_playbook
from dialpad_ivr.cli.common import (
    confirm,
    engine_failed,
    err,
    fail,
    notice,
    out,
    plural,
    print_error,
    settings_or_fail,
    shell_command,
)
from dialpad_ivr.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED
from dialpad_ivr.cli.options import JsonFlag, Yes
from dialpad_ivr.cli.override_start import (
    Nested,
    Notify,
    Zone,
    fitted_or_fail,
    read_options,
    reason_problems,
    refuse,
    show_nothing,
)
from dialpad_ivr.cli.plan import valid_changes
from dialpad_ivr.cli.reading import read_dialpad
from dialpad_ivr.engine.api import EngineApi, EngineError, current_user
from dialpad_ivr.provisioning import playbooks, rehearsals
from dialpad_ivr.provisioning.override_control import is_too_large
from dialpad_ivr.provisioning.override_text import window_text
from dialpad_ivr.provisioning.planned_ahead import TOO_LARGE, PlannedOverride
from dialpad_ivr.provisioning.playbooks import Playbook, PlaybookError
from dialpad_ivr.provisioning.rehearsals import Rehearsal
from dialpad_ivr.provisioning.zone import local_zone
from dialpad_ivr.settings import Settings
from dialpad_ivr.telemetry import logs

Name = Annotated[str, typer.Argument(help="The playbook's name.", metavar="NAME")]


def save(
    name: Annotated[str, typer.Argument(help="Its name, such as snow-day.", metavar="NAME")],
    file: Annotated[Path, typer.Argument(help="The file of changes: CSV, TSV, JSON or YAML.", metavar="FILE")],
    lasts: Annotated[
        str | None,
        typer.Option("--for", help="How long it lasts unless somebody says otherwise, e.g. 12h or 2d12h. Required."),
    ] = None,
    zone: Zone = None,
    approval: Annotated[
        bool, typer.Option("--approval", help="Wait for `dialpad-ivr approve` before the first change.")
    ] = False,
    max_failures: Annotated[
        str | None, typer.Option(help="Stop after N failures, or P% of the changes.", metavar="N|P%")
    ] = None,
    notify: Notify = None,
    as_json: JsonFlag = False,
) -> None:
    """Save a file of changes as a playbook: a prepared override that anybody can start, from the engine's UI too.

    It becomes a workflow of its own, whose only inputs are `until` and `reason`. Its names and wildcards are looked up
    each time it is started, so that what is new by then is in it. Saved again, it is replaced.

    Examples:
    - `dialpad-ivr playbook save snow-day snow.csv --for 12h`
    - `dialpad-ivr playbook save outage outage.csv --for 4h --approval --zone Europe/Berlin`
    """
    settings = settings_or_fail()
    options = {
        "zone": zone or local_zone(),
        "approval": approval,
        "max_failures": max_failures,
        "notify": notify,
        "domain": settings.domain,
        "source": file.name,
    }
    made = playbooks.make(name, (), lasts=lasts, **options)
    said = made if isinstance(made, tuple) and not as_json else ()
    for problem in said:  # before those of the file, which end the command
        print_error(problem.message)
    made = playbooks.make(name, valid_changes(file, as_json=as_json), lasts=lasts, **options)
    if isinstance(made, tuple):
        refuse([problem for problem in made if problem not in said], as_json=as_json)
    try:
        saved = playbooks.save(EngineApi(settings), made)
    except (EngineError, PlaybookError) as exc:
        _failed(exc)
    if as_json:
        typer.echo(json.dumps(render_playbook.playbook_json(saved), indent=2))
        return
    lines = (
        f"Saved {saved.name}, version {saved.version}: {plural(len(saved.rows), 'row')}, for {saved.lasts}.",
        f'In the engine\'s UI it is under "Run workflow": {saved.workflow}',
        f"See what it would do: {shell_command('playbook', 'rehearse', saved.name)}",
    )
    out.print(Text("\n".join(lines)), soft_wrap=True)


def list_(as_json: JsonFlag = False) -> None:
    """List the playbooks: how long each lasts, whether it waits for approval, and what it selects.

    Examples:
    - `dialpad-ivr playbook list`
    """
    try:
        found = playbooks.list_playbooks(EngineApi(settings_or_fail()))
    except EngineError as exc:
        engine_failed(exc)
    if as_json:
        typer.echo(json.dumps([render_playbook.playbook_json(each) for each in found], indent=2))
    else:
        render_playbook.show_list(out, found)


def show(name: Name, as_json: JsonFlag = False) -> None:
    """Show a playbook with its rows.

    Examples:
    - `dialpad-ivr playbook show snow-day`
    """
    found = _read(EngineApi(settings_or_fail()), name)
    if as_json:
        typer.echo(json.dumps(render_playbook.playbook_json(found), indent=2))
    else:
        render_playbook.show_playbook(out, found)


def rehearse(name: Name, as_json: JsonFlag = False) -> None:
    """Look up all names of a playbook now, and show what starting it would do. Changes nothing.

    The exit code is 1 if it could not be started: a target or an IVR is missing or ambiguous, could not be read, or
    could not be restored, or another override has one of the slots.

    Examples:
    - `dialpad-ivr playbook rehearse snow-day`
    """
    settings = settings_or_fail()
    logs.configure("warning", settings.log_format)
    engine = EngineApi(settings)
    found = _read(engine, name)
    rehearsal = _rehearsed(settings, found)
    window = read_options(None, None, found.lasts, found.zone, 0, as_json=as_json)
    try:
        others = rehearsals.others(engine, rehearsal.plan, window.end)
    except EngineError as exc:
        engine_failed(exc)
    ok = rehearsal.ok and not others
    if as_json:
        met = [overlap.other.workflow_id for overlap in others]
        typer.echo(json.dumps({**render_playbook.rehearsal_json(rehearsal), "ok": ok, "overrides": met}, indent=2))
    else:
        render_playbook.show_rehearsal(out, rehearsal)
        for overlap in others:
            render_override.show_overlap(out, overlap, window.zone)
        if not rehearsal.ok:
            text = "It cannot be started now. Correct the file and save it again."
        elif others:
            text = "It cannot be started now. End the other override first, or nest this one in it with --nested."
        elif rehearsal.plan.changes:
            text = f"Start it with: {shell_command('playbook', 'start', name, '--reason', 'REASON')}"
        else:
            text = "There is nothing to start: all of it is selected already."
        out.print(Text(f"Nothing was changed. {text}", style="" if ok else "red"), soft_wrap=True)
    if not ok:
        raise typer.Exit(EXIT_FAILED)


def start(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why, for the record and the list.")],
    until: Annotated[str | None, typer.Option(help='When it ends: a time such as "2026-12-27 08:00".')] = None,
    lasts: Annotated[str | None, typer.Option("--for", help="How long it lasts; as saved by default.")] = None,
    zone: Annotated[
        str | None, typer.Option("--zone", help="The time zone of --until; the playbook's by default.")
    ] = None,
    nested: Nested = False,
    yes: Yes = False,
    as_json: JsonFlag = False,
) -> None:
    """Start a playbook: select other custom IVRs now, and restore what was selected by itself.

    All names are looked up first, and nothing is started if a row could not be restored, or if another override has one
    of the slots and this one is not nested in it.

    Examples:
    - `dialpad-ivr playbook start snow-day --reason "snow"`
    - `dialpad-ivr playbook start snow-day --until "2026-12-27 08:00" --zone Europe/Berlin --reason "more snow"`
    """
    settings = settings_or_fail()
    logs.configure("warning", settings.log_format)
    engine = EngineApi(settings)
    found = _read(engine, name)
    lasts = found.lasts if until is None and lasts is None else lasts
    rows = len(found.rows)  # at least; what is wrong with the times is told before anything is read
    read_options(None, until, lasts, zone or found.zone, rows, reason_problems(reason), as_json=as_json)
    rehearsal = _rehearsed(settings, found)
    if not rehearsal.ok:
        _not_ok(rehearsal, as_json=as_json)
    window = read_options(None, until, lasts, zone or found.zone, len(rehearsal.plan.changes), as_json=as_json)
    try:
        planned = fitted_or_fail(engine, PlannedOverride(window, rehearsal.plan), nested=nested)
        if is_too_large(planned.plan):
            fail(TOO_LARGE, EXIT_FAILED)
        if not planned.plan.changes:
            show_nothing(planned, as_json=as_json)
            return
        if not as_json:
            render.show_plan(out, planned.plan)
        for note in window.notes:
            notice(note)
        slots = plural(len(planned.plan.changes), "slot")
        confirm(f"{window_text(window)}: change {slots}?", yes=yes)
        workflow_id = rehearsals.start(
            engine,
            found,
            planned.plan,
            window,
            reason=reason,
            requested_by=current_user(),
            inside=planned.inside,
        )
    except EngineError as exc:
        again = " See whether it was started with: dialpad-ivr override list" if exc.perhaps_done else ""
        engine_failed(exc, again)
    except KeyboardInterrupt:
        fail("Interrupted. See whether it was started with: dialpad-ivr override list", EXIT_INTERRUPTED)
    if as_json:
        typer.echo(json.dumps({"workflow_id": workflow_id, **render_override.window_json(window)}, indent=2))
    else:
        render_override.show_started(out, workflow_id, window, approval=found.approval)


def delete(name: Name, yes: Yes = False) -> None:
    """Delete a playbook. An override that it has started goes on, and ends by itself.

    Examples:
    - `dialpad-ivr playbook delete snow-day`
    """
    engine = EngineApi(settings_or_fail())
    found = _read(engine, name)
    confirm(f"Delete {found.name}?", yes=yes)
    try:
        playbooks.delete(engine, found)
    except EngineError as exc:
        engine_failed(exc)
    out.print(Text(f"Deleted {found.name}."))


def _read(engine: EngineApi, name: str) -> Playbook:
    """The playbook of that name. Ends the command if there is none."""
    try:
        return playbooks.read(engine, name)
    except (EngineError, PlaybookError) as exc:
        _failed(exc)


def _failed(exc: EngineError | PlaybookError) -> NoReturn:
    if isinstance(exc, EngineError):
        engine_failed(exc)
    fail(str(exc), EXIT_FAILED)


def _rehearsed(settings: Settings, playbook: Playbook) -> Rehearsal:
    try:
        return read_dialpad(
            settings,
            lambda reader, progress: rehearsals.rehearse(playbook, reader, settings.api_url, progress),
            interrupted="Nothing was changed.",
        )
    except PlaybookError as exc:
        _failed(exc)


def _not_ok(rehearsal: Rehearsal, *, as_json: bool) -> NoReturn:
    """End the command with all that is in the way."""
    if as_json:
        typer.echo(json.dumps(render_playbook.rehearsal_json(rehearsal), indent=2))
    render_playbook.show_rehearsal(err, rehearsal)
    fail("Nothing was started. Correct the file and save it again.", EXIT_FAILED)
