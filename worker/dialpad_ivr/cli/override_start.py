"""The command `override start`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.text import Text

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
from dialpad_ivr.cli.plan import invalid, plan_of, valid_changes
from dialpad_ivr.engine.api import EngineApi, EngineError, JsonObject, current_user
from dialpad_ivr.provisioning import override_control, overrides
from dialpad_ivr.provisioning.override_text import window_text
from dialpad_ivr.provisioning.plan import Plan
from dialpad_ivr.provisioning.planned_ahead import (
    TOO_LARGE,
    PlannedOverride,
    all_fitted,
    apart,
    fitted,
    planned_overrides,
    unrestorable,
)
from dialpad_ivr.provisioning.times import Problem, Window, read_window
from dialpad_ivr.provisioning.zone import local_zone
from dialpad_ivr.telemetry import logs

Zone = Annotated[
    str | None,
    typer.Option("--zone", help="The time zone of local times, e.g. Europe/Berlin; this machine's by default."),
]

Notify = Annotated[
    str | None,
    typer.Option("--notify", help="Tell people what was done, by this connection of the engine.", metavar="NAME"),
]

Nested = Annotated[
    bool, typer.Option("--nested", help="Begin within another override of the same slots, and end before it does.")
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
    nested: Nested = False,
    max_failures: Annotated[
        str | None, typer.Option(help="Stop after N failures, or P% of the changes.", metavar="N|P%")
    ] = None,
    notify: Notify = None,
    yes: Yes = False,
    as_json: JsonFlag = False,
) -> None:
    """Select other custom IVRs for a while: apply the changes at --from, and restore what was selected at --until.

    The rows of a file of changes may each have a window of their own: the columns `from`, `until` and `zone`. Rows of
    one window become one override. Without a zone, a row is in that of its target's office, where Dialpad shows it.

    Everything is checked before anything is started: the times, that every row can be restored, and that no other
    override has one of the slots at that time. What a person changes meanwhile is left alone and reported as
    `conflict`. The workflow needs no terminal: it waits, applies and restores by itself.

    Examples:
    - `dialpad-ivr override start snow.csv --for 12h --reason "snow"`
    - `dialpad-ivr override start xmas.csv --from "2026-12-24 18:00" --until "2026-12-27 08:00" --zone Europe/Berlin
      --reason "Christmas"`
    - `dialpad-ivr override start holidays.csv --reason "holidays"`
    """
    settings = settings_or_fail()
    logs.configure("warning", settings.log_format)
    check_max_failures(max_failures)
    by_row = False
    if file.name.endswith(PLAN_SUFFIX):
        made = applicable_plan(file, settings)
    else:
        changes = valid_changes(file, as_json=as_json, windows=True)
        by_row = any(change.window for change in changes)
        if by_row and (begin or until or lasts):
            fail(
                f"{file}: its rows have windows of their own (from, until), so --from, --until and --for do not go "
                "with it.\nLeave these options out, or remove the columns.",
                EXIT_USAGE,
            )
        made = plan_of(file, settings, as_json=as_json, changes=changes)
    check_plan(made, partial=None)
    engine, zone = EngineApi(settings), zone or local_zone()
    started: list[str] = []
    planned: list[PlannedOverride] = []
    problems = override_control.notify_problems(notify)
    problems += reason_problems(reason)
    try:
        if by_row:
            if problems:
                refuse(problems, as_json=as_json)
            planned = _planned_by_row(engine, made, zone, nested=nested, as_json=as_json)
        else:
            if override_control.is_too_large(made):
                fail(TOO_LARGE, EXIT_USAGE)
            problems += [Problem(f"line {line}", f"line {line}: {text}") for line, text in unrestorable(made)]
            window = read_options(begin, until, lasts, zone, len(made.changes), problems, as_json=as_json)
            planned = [fitted_or_fail(engine, PlannedOverride(window, made), nested=nested)]
        for each in planned:
            if by_row and not each.plan.changes:
                notice(f"{window_text(each.window)}: left out. {each.nothing_to_change}")
        if not any(each.plan.changes for each in planned):
            if by_row:
                typer.echo("[]" if as_json else "Nothing to change.")
            else:
                show_nothing(planned[0], as_json=as_json)
            return
        planned = [each for each in planned if each.plan.changes]
        for each in planned:
            if by_row and not as_json:
                out.print(Text(window_text(each.window), style="bold"), soft_wrap=True)
            if not as_json:
                render.show_plan(out, each.plan)
            for note in each.window.notes:
                notice(note)
        slots = plural(sum(len(each.plan.changes) for each in planned), "slot")
        what = plural(len(planned), "override") if by_row else window_text(planned[0].window)
        confirm(f"{what}: change {slots}?", yes=yes)
        for each in planned:
            workflow_id = override_control.start_override(
                engine,
                each.plan,
                each.window,
                reason=reason,
                requested_by=current_user(),
                approval=approval,
                max_failures=max_failures,
                domain=settings.domain,
                inside=each.inside,
                notify=notify,
            )
            started.append(workflow_id)
            if not as_json:
                render_override.show_started(out, workflow_id, each.window, approval=approval)
    except EngineError as exc:
        _show_stopped(started, planned, by_row=by_row, as_json=as_json)
        again = " See whether it was started with: dialpad-ivr override list" if exc.perhaps_done else ""
        engine_failed(exc, again or (" Register it with: dialpad-ivr register" if exc.status == 404 else ""))
    except KeyboardInterrupt:
        _show_stopped(started, planned, by_row=by_row, as_json=as_json)
        fail("Interrupted. See whether it was started with: dialpad-ivr override list", EXIT_INTERRUPTED)
    if as_json:
        found = _started_json(started, planned)
        typer.echo(json.dumps(found if by_row else found[0], indent=2))


def _started_json(started: Sequence[str], planned: Sequence[PlannedOverride]) -> list[JsonObject]:
    pairs = zip(started, planned, strict=False)  # a start may have failed
    return [{"workflow_id": workflow_id, **render_override.window_json(each.window)} for workflow_id, each in pairs]


def _show_stopped(started: Sequence[str], planned: Sequence[PlannedOverride], *, by_row: bool, as_json: bool) -> None:
    if by_row and planned:
        if as_json:
            typer.echo(json.dumps(_started_json(started, planned), indent=2))
        render_override.show_stopped(err, started, planned)


def show_nothing(planned: PlannedOverride, *, as_json: bool) -> None:
    """Why nothing was started."""
    why = planned.nothing_to_change
    typer.echo(json.dumps({"outcome": "success", "workflow_id": None, "message": why}) if as_json else why)


def fitted_or_fail(engine: EngineApi, planned: PlannedOverride, *, nested: bool) -> PlannedOverride:
    """The override, nested if it is to be. Ends the command if it meets one that it must not."""
    running = overrides.running_overrides(engine)
    planned, met = fitted(planned, running, datetime.now(timezone.utc), nested=nested)
    if met:
        for overlap in met:
            render_override.show_overlap(err, overlap, planned.window.zone)
        fail(
            f"Two overrides cannot have a slot at the same time. Nothing was started. {apart(nested=nested)}",
            EXIT_FAILED,
        )
    return planned


def _planned_by_row(engine: EngineApi, made: Plan, zone: str, *, nested: bool, as_json: bool) -> list[PlannedOverride]:
    """The overrides of a file with windows. Ends the command with all that is wrong with any of them."""
    now = datetime.now(timezone.utc)
    planned, violations = planned_overrides(made, zone, now)
    try:
        running = overrides.running_overrides(engine)
    except EngineError:
        if not violations:
            raise
        running = []
    planned, met = all_fitted(planned, running, now, nested=nested)
    violations += met
    if violations:
        invalid(sorted(violations, key=lambda violation: violation.line), as_json=as_json, nothing="")
    return planned


def reason_problems(reason: str) -> list[Problem]:
    """What is wrong with the reason of an override."""
    return [] if reason.strip() else [Problem("--reason", "--reason is empty. Say why, for the record.")]


def read_options(
    begin: str | None,
    until: str | None,
    lasts: str | None,
    zone: str,
    rows: int | None,
    others: Sequence[Problem] = (),
    *,
    as_json: bool,
) -> Window:
    """The window of the options, see `read_window`. Ends the command with all that is wrong with it, and the others."""
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
