"""The window of an override: times as people write them in a zone, and in UTC. Pure: the clock is passed in."""

from __future__ import annotations

import contextlib
import difflib
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from dialpad_ivr.contract.validation import short

CALLS_PER_SECOND: Final = 20
"""What Dialpad allows a company over all calls."""
_CALLS_PER_ROW: Final = 2  # a read of what is selected, and the PATCH
_SHORTEST: Final = timedelta(seconds=10)  # measured: the engine begins up to 4 s late, with 200 changes up to 9 s

_DURATION: Final = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?", re.IGNORECASE)
_LATEST: Final = timedelta(days=5 * 366)
_TYPING_TIME: Final = timedelta(minutes=1)  # a beginning that has just gone by is one that was meant as now


@dataclass(frozen=True)
class Problem:
    """What is wrong with a time.

    Attributes:
        option: The option, the column, or the line of the file, that it is about, e.g. `--until`.
        message: What is wrong, and what to do next.
    """

    option: str
    message: str


@dataclass(frozen=True)
class Window:
    """When an override begins and ends.

    Attributes:
        start: In UTC; `None` begins at once.
        end: In UTC; `None` lasts until somebody ends it.
        zone: The zone in which both are shown.
        notes: Which of two readings of a local time was taken.
    """

    start: datetime | None
    end: datetime | None
    zone: ZoneInfo
    notes: tuple[str, ...] = ()


def read_window(
    *,
    start: str | None,
    until: str | None,
    lasts: str | None,
    zone: str | None,
    rows: int | None,
    now: datetime,
    prefix: str = "--",
) -> Window | tuple[Problem, ...]:
    """The window that these options, or columns of a file, describe, or all that is wrong with them.

    Args:
        start: `--from`: `None` or "now", a local time such as "2026-12-24 18:00", or a time with its offset.
        until: `--until`: `None` for an open end, or a time as in `start`.
        lasts: `--for`: how long it lasts, e.g. "12h"; instead of `until`.
        zone: `--zone`: the IANA zone of local times; `None` while it is not known: there is no window then.
        rows: The changes to be made within the window; `None` if only its end is read, whatever its length.
        now: The time now, in UTC.
        prefix: What the names of the options begin with; those of columns with nothing.
    """
    found_zone = None if zone is None else read_zone(zone)
    problems = [replace(found_zone, option=f"{prefix}zone")] if isinstance(found_zone, Problem) else []
    # Even without a zone, what is written wrong is reported.
    known_zone = None if isinstance(found_zone, Problem) else found_zone
    notes: list[str] = []

    def read(option: str, text: str) -> datetime | None:
        found = read_time(option, text, known_zone or timezone.utc)
        if isinstance(found, Problem):
            problems.append(found)
            return None
        notes.extend(found.notes)
        return found.at if known_zone or _has_offset(text) else None

    at_once = start is None or start.strip().lower() == "now"
    begin = now if at_once else read(f"{prefix}from", start or "")
    end = None if until is None else read(f"{prefix}until", until)
    if lasts is not None:
        length = read_duration(lasts)
        if length is None:
            problems.append(Problem("--for", f'--for: "{lasts}" is no duration. Write it as 12h, 90m, 2d12h or 45s.'))
        elif begin is not None:
            end = begin + length
        if until is not None:
            problems.append(Problem("--for", "--for and --until say the same. Leave one out."))
    problems += _check(begin, end, rows, now, prefix)
    if problems or known_zone is None:
        return tuple(problems)
    return Window(None if at_once else begin, end, known_zone, tuple(notes))


def _check(start: datetime | None, end: datetime | None, rows: int | None, now: datetime, prefix: str) -> list[Problem]:
    """What is wrong with these, as far as they are known."""
    problems: list[Problem] = []
    begins, ends = f"{prefix}from", f"{prefix}until"
    if start is not None and start < now - _TYPING_TIME:
        problems.append(Problem(begins, f'{begins} is in the past: it is {utc_text(now)}. To begin at once: "now".'))
    if end is not None and end <= now:
        problems.append(Problem(ends, f"{ends} is in the past: it is {utc_text(now)}."))
    for option, at in ((begins, start), (ends, end)):
        if at is not None and at > now + _LATEST:
            problems.append(Problem(option, f"{option} is more than five years ahead. Check the year."))
    if start is None or end is None:
        return problems
    if end <= now:
        return problems
    if end <= start:
        problems.append(Problem(ends, f"{ends} must be after {begins}."))
    elif rows is not None and (problem := too_short(end - max(start, now), rows)):
        problems.append(Problem(ends, problem))
    return problems


def too_short(length: timedelta, rows: int) -> str | None:
    """Why an override of that many changes cannot last so long; `None` if it can.

    An override that is over before the engine has begun it changes nothing, and ends as `missed`.
    """
    needed = shortest(rows)
    if length >= needed:
        return None
    lasts, least = (f"{round(each.total_seconds(), 1):g} s" for each in (length, needed))
    if needed == _SHORTEST:
        return f"The override would last {lasts}, but the engine needs up to {least} to begin it. Let it last longer."
    return (
        f"{rows} changes take {least} at {CALLS_PER_SECOND} calls a second, but the override would last {lasts}. "
        "Let it last longer, or split the file."
    )


def shortest(rows: int) -> timedelta:
    """How long an override of that many changes must last: what they take at Dialpad's limit, and 10 s at least."""
    return max(_SHORTEST, timedelta(seconds=-(-rows * _CALLS_PER_ROW // CALLS_PER_SECOND)))


def read_zone(name: str) -> ZoneInfo | Problem:
    """The zone of this IANA name."""
    # A name that is a folder, or no path at all, raises what opening it raises.
    with contextlib.suppress(ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo(name)
    similar = similar_zone(name)
    hint = f"Did you mean {similar}?" if similar else "It is a name such as Europe/Berlin or America/New_York."
    return Problem("--zone", f'"{short(name)}" is no time zone. {hint}')


def similar_zone(name: str) -> str | None:
    """The zone whose name is nearest to a wrong one, if any is near."""
    zones = {zone.casefold(): zone for zone in available_timezones()}
    near = difflib.get_close_matches(name.casefold(), sorted(zones), n=1)
    return zones[near[0]] if near else None


@dataclass(frozen=True)
class _Read:
    at: datetime  # in UTC
    notes: tuple[str, ...] = ()


def read_time(option: str, text: str, zone: tzinfo) -> _Read | Problem:
    """A time as people write it: local in the zone, or with its offset from UTC.

    A local time that exists twice, when clocks are set back, is taken as the first of both, with a note.
    """
    given = " ".join(text.split())
    try:
        at = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", given))
    except ValueError:
        at = None
    if at is None or not re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", given):
        return Problem(option, f'{option}: "{short(text)}" is no time. Write it as "2026-12-24 18:00".')
    at = at.replace(microsecond=0)
    if at.tzinfo is not None:
        return _Read(at.astimezone(timezone.utc))
    first, second = (at.replace(tzinfo=zone, fold=fold).astimezone(timezone.utc) for fold in (0, 1))
    if first.astimezone(zone).replace(tzinfo=None) != at:
        gap = f"{zone_text(second, zone)} or {zone_text(first, zone)}"
        return Problem(
            option, f"{option}: {at:%Y-%m-%d %H:%M} does not exist in {zone}: clocks are set forward. Take {gap}."
        )
    if first == second:
        return _Read(first)
    note = (
        f"{at:%Y-%m-%d %H:%M} exists twice in {zone}, since clocks are set back. Taken: {zone_text(first, zone)}; "
        f"the other is {second.astimezone(zone).isoformat(timespec='minutes')}."
    )
    return _Read(first, (note,))


def _has_offset(text: str) -> bool:
    return bool(re.search(r"([zZ]|[+-]\d\d:?\d\d)$", text.strip()))


def read_duration(text: str) -> timedelta | None:
    """A duration such as "12h", "90m" or "2d12h"; `None` if it is none."""
    found = _DURATION.fullmatch("".join(text.split()))
    if found is None or not any(found.groups()):
        return None
    days, hours, minutes, seconds = (int(group or 0) for group in found.groups())
    length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    return length or None


def iso_text(at: datetime) -> str:
    """A time for the workflow: ISO 8601, in UTC."""
    return at.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def milliseconds(at: datetime) -> int:
    """A time as the engine has it: milliseconds since 1970."""
    return round(at.timestamp() * 1000)


def from_milliseconds(value: float) -> datetime:
    """A time of the engine, in UTC."""
    return datetime.fromtimestamp(value / 1000, timezone.utc)


def utc_text(at: datetime) -> str:
    """A time in UTC, for people."""
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def zone_text(at: datetime, zone: tzinfo) -> str:
    """A time in a zone, for people; with its offset, so that it says one time only: 2026-12-24 18:00 +01:00."""
    local = at.astimezone(zone)
    clock = f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"
    return f"{local:%Y-%m-%d} {clock} {local.isoformat()[-6:]}"
