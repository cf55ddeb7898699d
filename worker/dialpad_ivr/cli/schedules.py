"""Scheduled checks: what `check --every` sets up, and the commands `schedules list` and `schedules remove`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from dialpad_ivr.cli import render
from dialpad_ivr.cli.common import engine_failed, fail, out, plural, settings_or_fail, shell_command
from dialpad_ivr.cli.exit_codes import EXIT_FAILED, EXIT_USAGE
from dialpad_ivr.cli.options import JsonFlag
from dialpad_ivr.engine import schedules
from dialpad_ivr.engine.api import EngineApi, EngineError, JsonObject
from dialpad_ivr.engine.schedules import Schedule, ScheduleError
from dialpad_ivr.provisioning import scheduled_check
from dialpad_ivr.provisioning.drift import CheckedRow
from dialpad_ivr.provisioning.scheduled_check import CheckRun, WaitingRepair
from dialpad_ivr.settings import Settings

_LINES_SHOWN = 10


class Repair(str, Enum):
    """What a scheduled check does about the rows that differ."""

    NEVER = "never"
    ASK = "ask"


Every = Annotated[
    str | None,
    typer.Option(
        "--every",
        help="Schedule the check, too: a cron expression of six fields, seconds first.",
        metavar="CRON",
        rich_help_panel="Schedule",
    ),
]
Zone = Annotated[
    str | None,
    typer.Option(
        "--zone", help="The time zone of --every; UTC by default.", metavar="ZONE", rich_help_panel="Schedule"
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        help="The schedule's name, by default the file's; one of that name is replaced.",
        metavar="NAME",
        rich_help_panel="Schedule",
    ),
]
RepairOption = Annotated[
    Repair | None,
    typer.Option(
        "--repair",
        help="ask: a check that finds rows that differ waits for `approve`, and then repairs them.",
        show_choices=True,
        rich_help_panel="Schedule",
    ),
]


@dataclass(frozen=True)
class PreparedSchedule:
    """A schedule that the engine would take, but for the rows to check.

    Attributes:
        next_run: When it fires next.
        replaces: Whether there is one of its name.
    """

    schedule: Schedule
    settings: Settings
    engine: EngineApi
    next_run: datetime
    repair: Repair
    replaces: bool


def prepared_schedule(
    file: Path, settings: Settings, *, every: str | None, zone: str | None, name: str | None, repair: Repair | None
) -> PreparedSchedule | None:
    """What `--every` asks for, checked before Dialpad is read. Ends the command if it is invalid.

    Returns:
        The schedule without its rows; `None` without `--every`.
    """
    if every is None:
        given = {"--zone": zone, "--name": name, "--repair": repair}
        alone = next((option for option, value in given.items() if value is not None), None)
        if alone:
            fail(f'{alone} is for a schedule.\nAdd when to check: --every "0 0 6 * * *"', EXIT_USAGE)
        return None
    engine = EngineApi(settings)
    name = name or re.sub(r"[^A-Za-z0-9_.-]+", "-", file.stem).lstrip("_.-")
    try:
        schedules.check_name(name)
        place = scheduled_check.zone(zone or "UTC")
        existing = next((each for each in schedules.schedules(engine) if each.name == name), None)
        next_run = schedules.next_run(engine, every, place)
        definition = engine.workflow_definition(scheduled_check.WORKFLOW, scheduled_check.VERSION)
    except ScheduleError as exc:
        fail(str(exc), EXIT_USAGE)
    except EngineError as exc:
        engine_failed(exc)
    if definition is None:
        fail(
            f"The engine has no workflow {scheduled_check.WORKFLOW} of version {scheduled_check.VERSION}.\n"
            "Register it with: dialpad-ivr register",
            EXIT_FAILED,
        )
    if existing is not None and existing.workflow != scheduled_check.WORKFLOW:
        fail(
            f"The schedule {name} is there already, and starts the workflow {existing.workflow}.\n"
            "Choose another name with --name.",
            EXIT_USAGE,
        )
    empty = Schedule(name, scheduled_check.WORKFLOW, every, zone or "UTC", {}, f"Checks {file.name}.")
    return PreparedSchedule(empty, settings, engine, next_run, repair or Repair.NEVER, existing is not None)


def schedule_check(
    prepared: PreparedSchedule, checked: Sequence[CheckedRow], report: JsonObject, *, as_json: bool
) -> None:
    """Set up the schedule for the rows that were checked. Ends the command if that cannot be.

    Args:
        prepared: The schedule without its rows.
        checked: The rows.
        report: What was found, which is printed with the schedule as JSON.
        as_json: Whether to print JSON.
    """
    unknown = sorted({row.line for row in scheduled_check.without_ids(checked)})
    if unknown:
        listed = ", ".join(map(str, unknown[:_LINES_SHOWN])) + (", ..." if len(unknown) > _LINES_SHOWN else "")
        fail(
            f"Nothing was scheduled: it is not known what to check for {plural(len(unknown), 'line')} ({listed}).\n"
            "Correct the file, or what could not be read, and run the command again.",
            EXIT_FAILED,
        )
    if len(checked) > scheduled_check.MAX_ROWS:
        fail(
            f"Nothing was scheduled: {len(checked):,} rows, and one check takes {scheduled_check.MAX_ROWS:,}.\n"
            "Split the file.",
            EXIT_USAGE,
        )
    inputs = scheduled_check.workflow_input(checked, prepared.repair.value, prepared.settings.domain)
    schedule = replace(prepared.schedule, inputs=inputs)
    try:
        schedules.put_schedule(prepared.engine, schedule, scheduled_check.VERSION)
    except EngineError as exc:
        how = shell_command("schedules", "list")
        engine_failed(exc, f"\nIt may be scheduled all the same. See whether it is: {how}" if exc.perhaps_done else "")
    if as_json:
        typer.echo(json.dumps({**report, "schedule": _as_json(schedule, prepared.next_run)}, indent=2))
        return
    done = "Replaced the schedule" if prepared.replaces else "Scheduled as"
    lines = (
        f"{done} {schedule.name}: {plural(len(checked), 'row')}, next on {_shown(prepared.next_run)}.",
        "It has the ids that the file means now. Run this again when the file or the company changes.",
        f"See what it finds: {shell_command('schedules', 'list')}",
    )
    out.print(Text("\n".join(lines)), soft_wrap=True)


def schedules_list(as_json: JsonFlag = False) -> None:
    """List the scheduled checks: when each runs next, what its last run found, and which repairs wait for approval.

    Examples:
    - `dialpad-ivr schedules list`
    - `dialpad-ivr schedules list --json`
    """
    engine = EngineApi(settings_or_fail())
    listed: list[tuple[Schedule, datetime | None, CheckRun | None, list[WaitingRepair]]] = []
    try:
        for schedule in _checks(engine):
            next_run = None
            with suppress(ScheduleError):  # set up elsewhere, with what this machine or the engine cannot read
                if not schedule.paused:
                    next_run = schedules.next_run(engine, schedule.cron, scheduled_check.zone(schedule.zone))
            last = scheduled_check.last_run(engine, schedule)
            listed.append((schedule, next_run, last, scheduled_check.waiting_repairs(engine, schedule.name)))
    except EngineError as exc:
        engine_failed(exc)
    if as_json:
        document = [
            {
                **_as_json(schedule, next_run),
                "paused": schedule.paused,
                "last_run": last and _run_json(last),
                "waiting_for_approval": [each.workflow_id for each in waiting],
            }
            for schedule, next_run, last, waiting in listed
        ]
        typer.echo(json.dumps({"schedules": document}, indent=2))
        return
    if not listed:
        typer.echo('No check is scheduled. Schedule one with: dialpad-ivr check FILE --every "0 0 6 * * *"')
        return
    for schedule, next_run, last, waiting in listed:
        out.print(Text(schedule.name, style="bold"), Text(f": {_described(schedule)}"), sep="", soft_wrap=True)
        then = "paused" if schedule.paused else _shown(next_run) if next_run else "unknown"
        out.print(Text(f"    next check: {then}"))
        out.print(Text(f"    last check: {_outcome(last, next_run)}"), soft_wrap=True)
        if last is not None:
            render.show_check_run(out, last)
        _show_waiting(waiting)


def _show_waiting(waiting: Sequence[WaitingRepair]) -> None:
    for each in waiting:
        what = f"{plural(each.rows, 'row')} since {_shown(each.started_at.astimezone())}"
        how = shell_command("approve", each.workflow_id)
        out.print(Text(f"    waits for approval, {what}: {how}", style="yellow"), soft_wrap=True)


def schedules_remove(
    name: Annotated[str, typer.Argument(help="The schedule's name.", metavar="NAME")],
) -> None:
    """Remove a scheduled check. What it has started goes on, and what of it waits for approval is shown.

    Examples:
    - `dialpad-ivr schedules remove selections`
    """
    engine = EngineApi(settings_or_fail())
    try:
        names = [schedule.name for schedule in _checks(engine)]
        if name not in names:
            there = f"There are {', '.join(names)}." if names else "None is."
            fail(f"No check is scheduled as {name}.\n{there}", EXIT_FAILED)
        schedules.remove_schedule(engine, name)
        waiting = scheduled_check.waiting_repairs(engine, name)
    except EngineError as exc:
        engine_failed(exc)
    out.print(Text(f"Removed {name}."))
    _show_waiting(waiting)


def _checks(engine: EngineApi) -> list[Schedule]:
    return [each for each in schedules.schedules(engine) if each.workflow == scheduled_check.WORKFLOW]


def _rows(schedule: Schedule) -> int:
    changes = schedule.inputs.get("changes")
    return len(changes) if isinstance(changes, list) else 0


def _described(schedule: Schedule) -> str:
    repair = ", asks to repair" if schedule.inputs.get("repair") == Repair.ASK.value else ""
    return f'{plural(_rows(schedule), "row")}, "{schedule.cron}" in {schedule.zone}{repair}'


def _shown(moment: datetime) -> str:
    return f"{moment:%a %d %b %Y, %H:%M:%S %Z}"


def _outcome(last: CheckRun | None, next_run: datetime | None) -> str:
    if last is None:
        return "none yet"
    started_at = last.started_at.astimezone(next_run.tzinfo) if next_run else last.started_at
    return f"{_shown(started_at)}: {last.message or last.status}"


def _run_json(run: CheckRun) -> dict[str, Any]:
    found = run.result.model_dump() if run.result else None
    return {**vars(run), "started_at": run.started_at.isoformat(), "result": found}


def _as_json(schedule: Schedule, next_run: datetime | None) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "every": schedule.cron,
        "zone": schedule.zone,
        "rows": _rows(schedule),
        "repair": schedule.inputs.get("repair") or "never",
        "next_run": next_run and next_run.isoformat(),
    }
