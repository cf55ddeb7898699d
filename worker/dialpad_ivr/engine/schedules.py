"""The engine's own scheduler: it starts a workflow again and again, by a cron expression in a time zone.

The scheduler stores what it cannot read, and then never fires. So an expression is read by the engine's own parser
before it is stored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, Final
from urllib.parse import quote

from dialpad_ivr.engine.api import EngineApi, EngineError, JsonObject

__all__ = [
    "Schedule",
    "ScheduleError",
    "check_name",
    "next_run",
    "put_schedule",
    "remove_schedule",
    "schedules",
]

# The engine takes what is before a colon for an organization, and what begins with a brace for JSON.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_FIELDS: Final = 6
_CALENDAR: Final = timedelta(days=146_097)  # 400 years, after which dates fall on the same days of the week again


class ScheduleError(Exception):
    """A schedule cannot be set up. The message says why, and in a second line what to do."""


@dataclass(frozen=True)
class Schedule:
    """A schedule.

    Attributes:
        name: Its name; the scheduler has one namespace for those of all workflows.
        workflow: The workflow that it starts.
        cron: Seconds, minutes, hours, days, months and weekdays; or a macro, such as `@daily`.
        zone: The name of a time zone.
        inputs: The workflow's input.
        description: For people.
        paused: Whether it does not fire.
        set_up_at: When it was created or changed last, in milliseconds since 1970; 0 before that.
    """

    name: str
    workflow: str
    cron: str
    zone: str
    inputs: JsonObject
    description: str = ""
    paused: bool = False
    set_up_at: int = 0


def schedules(engine: EngineApi) -> list[Schedule]:
    """All schedules, by name.

    Raises:
        EngineError: The engine does not answer, or has no scheduler.
    """
    found: list[JsonObject] = _call(engine, "GET", "/schedules")
    return sorted(map(_schedule, found), key=lambda schedule: schedule.name)


def put_schedule(engine: EngineApi, schedule: Schedule, version: int) -> None:
    """Create a schedule, or replace the one of its name. Check it first: the engine stores whatever it gets.

    Args:
        engine: The engine.
        schedule: The schedule. Its name becomes the correlation id of the workflows that it starts.
        version: The workflow's version.

    Raises:
        EngineError: The engine does not answer, or has no scheduler.
    """
    start = {
        "name": schedule.workflow,
        "version": version,
        "correlationId": schedule.name,
        "input": schedule.inputs,
    }
    body = {
        "name": schedule.name,
        "cronExpression": schedule.cron,
        "zoneId": schedule.zone,
        "description": schedule.description,
        "paused": schedule.paused,
        "startWorkflowRequest": start,
    }
    _call(engine, "POST", "/schedules", body=body)


def remove_schedule(engine: EngineApi, name: str) -> None:
    """Remove a schedule; what it has started goes on.

    Raises:
        EngineError: The engine does not answer, or has no scheduler.
    """
    _call(engine, "DELETE", f"/schedules/{quote(name, safe='')}")


def check_name(name: str) -> None:
    """Check the name of a schedule.

    Raises:
        ScheduleError: The scheduler would not find it again.
    """
    if not _NAME.fullmatch(name):
        raise ScheduleError(
            f"{name[:100]!r} cannot be the name of a schedule.\n"
            "Use up to 100 letters, digits, dots, hyphens and underscores: --name support-berlin"
        )


def next_run(engine: EngineApi, cron: str, place: tzinfo, now: datetime | None = None) -> datetime:
    """When a schedule fires next, in its time zone.

    The engine's preview knows UTC only. So it is asked for the clock on the wall there, 400 years ahead: its preview
    begins in the future or now, and in UTC no hour is left out.

    Args:
        engine: The engine, whose parser reads the expression.
        cron: The expression.
        place: The time zone.
        now: The time to count from.

    Raises:
        ScheduleError: It is no expression of the scheduler's, or never fires.
        EngineError: The engine does not answer, or has no scheduler.
    """
    count = len(cron.split())
    if count != _FIELDS and not cron.startswith("@"):
        has = f"has {count} field{'' if count == 1 else 's'}"
        hint = f'Seconds come first: "0 {cron}"' if count == _FIELDS - 1 else 'Every day at six is "0 0 6 * * *".'
        raise ScheduleError(f"{cron[:100]!r} {has}, and the scheduler's cron has {_FIELDS}.\n{hint}")
    wall = (now or datetime.now(timezone.utc)).astimezone(place).replace(tzinfo=timezone.utc)
    query = [("cronExpression", cron), ("scheduleStartTime", _milliseconds(wall + _CALENDAR)), ("limit", 1)]
    try:
        found: list[int] = _call(engine, "GET", "/nextFewSchedules", query)
    except EngineError as exc:
        if exc.status not in (400, 500):
            raise
        raise ScheduleError(
            f"The engine cannot read the cron expression {cron[:100]!r}.\n"
            "It has seconds, minutes, hours, days, months and weekdays: weekdays at six are "
            '"0 0 6 * * MON-FRI".'
        ) from None
    if not found:
        raise ScheduleError(f"{cron!r} never fires: there is no such date.\nCorrect its days and months.")
    then = datetime.fromtimestamp(found[0] / 1000, timezone.utc) - _CALENDAR
    return then.replace(tzinfo=place).astimezone(timezone.utc).astimezone(place)  # an hour that is left out is moved


def _schedule(found: JsonObject) -> Schedule:
    start: JsonObject = found.get("startWorkflowRequest") or {}
    return Schedule(
        name=str(found["name"]),
        workflow=str(start.get("name")),
        cron=str(found.get("cronExpression")),
        zone=str(found.get("zoneId") or "UTC"),
        inputs=start.get("input") or {},
        description=str(found.get("description") or ""),
        paused=bool(found.get("paused")),
        set_up_at=int(found.get("updatedTime") or found.get("createTime") or 0),
    )


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _call(
    engine: EngineApi, method: str, path: str, query: list[tuple[str, Any]] | None = None, body: Any = None
) -> Any:
    try:
        return engine.scheduler(method, path, query, body)
    except EngineError as exc:
        if exc.status != 404:
            raise
        raise EngineError(
            f"The Conductor server at {engine.url} has no scheduler.\n"
            "Set conductor.scheduler.enabled=true in its properties, as deploy/conductor.properties does.",
            404,
        ) from None
