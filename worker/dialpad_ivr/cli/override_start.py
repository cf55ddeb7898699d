"""The command `override start`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from dialpad_ivr.cli import render, render_override
from dialpad_ivr.cli.apply import applicable_plan, check_max_failures, check_plan
from dialpad_ivr.cli.common import (
    PLAN_SUFFIX,
    confirm,
    engine_failed,
    err,
    fail,
    notice,
    out,
    plural,
    print_error,
    settings_or_fail,
)
from dialpad_ivr.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from dialpad_ivr.cli.options import JsonFlag, Yes
from dialpad_ivr.cli.plan import plan_of
from dialpad_ivr.engine.api import EngineApi, EngineError, current_user
from dialpad_ivr.provisioning import override_control, overrides
from dialpad_ivr.provisioning.override_text import window_text
from dialpad_ivr.provisioning.overrides import Override
from dialpad_ivr.provisioning.plan import Plan
from dialpad_ivr.provisioning.report import why_unrestorable
from dialpad_ivr.provisioning.times import Problem, Window, read_window
from dialpad_ivr.provisioning.zone import local_zone
from dialpad_ivr.telemetry import logs

Zone = Annotated[
    str | None,
    typer.Option("--zone", help="The time zone of local times, e.g. Europe/Berlin; this machine's by default."),
]


def start(
    file: Annotated[
        Path,
        typer.Argument(help="A plan file, or a file of changes, which is planned first.", metavar="PLAN_OR_CHANGES"),
    ],
    reason: Annotated[str, typer.Option(help="Why, for the record and the list.")],
    begin: Annotated[
        str | None, typer.Option("--from", help='When it begins: now, or a time such as "2026-12-24 18:00".')
    ] = None,
    until: Annotated[str | None, typer.Option(help="When it ends, as --from; until `override end` by default.")] = None,
    lasts: Annotated[str | None, typer.Option("--for", help="How long it lasts, e.g. 12h or 2d12h.")] = None,
    zone: Zone = None,
    approval: Annotated[
        bool, typer.Option("--approval", help="Wait for `dialpad-ivr approve` before the first change.")
    ] = False,
    nested: Annotated[
        bool, typer.Option("--nested", help="Begin within another override of the same slots, and end before it does.")
    ] = False,
    max_failures: Annotated[
        str | None, typer.Option(help="Stop after N failures, or P% of the changes.", metavar="N|P%")
    ] = None,
    yes: Yes = False,
    as_json: JsonFlag = False,
) -> None:
    """Select other custom IVRs for a while: apply the changes at --from, and restore what was selected at --until.

    Everything is checked before anything is started: the times, that every row can be restored, and that no other
    override has one of the slots at that time. What a person changes meanwhile is left alone and reported as
    `conflict`. The workflow needs no terminal: it waits, applies and restores by itself.

    Examples:
    - `dialpad-ivr override start snow.csv --for 12h --reason "snow"`
    - `dialpad-ivr override start xmas.csv --from "2026-12-24 18:00" --until "2026-12-27 08:00" --zone Europe/Berlin
      --reason "Christmas"`
    """
    settings = settings_or_fail()
    logs.configure("warning", settings.log_format)
    check_max_failures(max_failures)
    if file.name.endswith(PLAN_SUFFIX):
        made = applicable_plan(file, settings)
    else:
        made = plan_of(file, settings, as_json=as_json)
    check_plan(made, partial=None)
    if override_control.is_too_large(made):
        fail("The changes and their names are more than the engine takes at once. Split the file.", EXIT_USAGE)
    problems = _unrestorable(made)
    window = read_options(begin, until, lasts, zone or local_zone(), len(made.changes), problems, as_json=as_json)
    engine = EngineApi(settings)
    try:
        outer = _outer(engine, made, window, nested=nested)
        if outer:
            made = override_control.nested_plan(made, outer)
        if not made.changes:
            typer.echo(json.dumps({"outcome": "success", "workflow_id": None}) if as_json else "Nothing to change.")
            return
        if not as_json:
            render.show_plan(out, made)
        for note in window.notes:
            notice(note)
        confirm(f"{window_text(window)}: change {plural(len(made.changes), 'slot')}?", yes=yes)
        workflow_id = override_control.start_override(
            engine,
            made,
            window,
            reason=reason,
            requested_by=current_user(),
            approval=approval,
            max_failures=max_failures,
            domain=settings.domain,
            inside=outer.workflow_id if outer else None,
        )
    except EngineError as exc:
        again = " See whether it was started with: dialpad-ivr override list" if exc.perhaps_done else ""
        engine_failed(exc, again or (" Register it with: dialpad-ivr register" if exc.status == 404 else ""))
    except KeyboardInterrupt:
        fail("Interrupted. See whether it was started with: dialpad-ivr override list", EXIT_INTERRUPTED)
    if as_json:
        typer.echo(json.dumps({"workflow_id": workflow_id, **render_override.window_json(window)}, indent=2))
        return
    render_override.show_started(out, workflow_id, window, approval=approval)


def _unrestorable(made: Plan) -> list[Problem]:
    """The rows that could not be restored."""
    return [
        Problem(
            f"line {row.line}",
            f"line {row.line}: {row.target_type} {row.target_name or row.target_id} {row.ivr_type} could not be "
            f"restored: {reason}. Take it out, or change it for good with `dialpad-ivr apply`.",
        )
        for row in made.changes
        if (reason := why_unrestorable(row.previous))
    ]


def _outer(engine: EngineApi, made: Plan, window: Window, *, nested: bool) -> Override | None:
    """The override that this one is nested in, if it is. Ends the command if it meets one that it must not."""
    begins = window.start or datetime.now(timezone.utc)
    changes = [row.model_dump() for row in made.rows]  # what is selected already may be so by another override
    found = overrides.overlaps(changes, begins, window.end, overrides.running_overrides(engine))
    if not found:
        return None
    outer = overrides.outer_of(found, begins, window.end) if nested else None
    if outer is None:
        for overlap in found:
            render_override.show_overlap(err, overlap, window.zone)
        how = (
            "A nested one must begin after the other has, and end before it does."
            if nested
            else "Choose other times, end the other first, or nest this one in it with --nested."
        )
        fail(f"Two overrides cannot have a slot at the same time. Nothing was started. {how}", EXIT_FAILED)
    return outer


def read_options(
    begin: str | None,
    until: str | None,
    lasts: str | None,
    zone: str,
    rows: int,
    others: Sequence[Problem] = (),
    *,
    as_json: bool,
) -> Window:
    """The window of the options. Ends the command with all that is wrong with it, and the other problems."""
    now = datetime.now(timezone.utc)
    window = read_window(start=begin, until=until, lasts=lasts, zone=zone, rows=rows, now=now)
    problems = (*(() if isinstance(window, Window) else window), *others)
    if problems or not isinstance(window, Window):
        refuse(problems, as_json=as_json)
    return window


def refuse(problems: Sequence[Problem], *, as_json: bool) -> NoReturn:
    """End the command with all that is wrong."""
    if as_json:
        found = [{"option": each.option, "message": each.message} for each in problems]
        typer.echo(json.dumps({"violations": found}, indent=2))
    for problem in problems:
        print_error(problem.message)
    fail("Nothing was done.", EXIT_USAGE)
