"""The window of an override: what is shown is what is done, in UTC, and every mistake is told at once."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialpad_ivr.provisioning.times import (
    Problem,
    Window,
    from_milliseconds,
    iso_text,
    milliseconds,
    read_duration,
    read_window,
    read_zone,
    shortest,
    zone_text,
)
from support.local_times import CHANGES_OF_CLOCKS, LOCAL_TIMES, instants

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=timezone.utc)


def window(**options: Any) -> Window | tuple[Problem, ...]:
    given_options = {"start": None, "until": None, "lasts": None, "zone": "Europe/Berlin", "rows": 1, "now": NOW}
    return read_window(**{**given_options, **options})


def valid(**options: Any) -> Window:
    found = window(**options)
    assert isinstance(found, Window), found
    return found


def problems(**options: Any) -> list[tuple[str, str]]:
    found = window(**options)
    assert isinstance(found, tuple)
    return [(problem.option, problem.message) for problem in found]


# ---- what is shown is what is done


@given(begins=LOCAL_TIMES | CHANGES_OF_CLOCKS, lasts=st.integers(1, 400 * 24 * 60), key=st.timezone_keys())
def test_for_any_window_zone_and_change_of_clocks_what_is_shown_is_what_is_done_in_utc(
    begins: datetime, lasts: int, key: str
) -> None:
    ends = begins + timedelta(minutes=lasts)
    found = window(start=f"{begins:%Y-%m-%d %H:%M:%S}", until=f"{ends:%Y-%m-%dT%H:%M:%S}", zone=key)
    zone = ZoneInfo(key)
    for typed, option in ((begins, "--from"), (ends, "--until")):
        possible = instants(typed, zone)
        if isinstance(found, tuple):
            told = any(problem.option == option and "does not exist" in problem.message for problem in found)
            assert told == (not possible)
            continue
        done = found.start if option == "--from" else found.end
        assert done is not None
        assert done == possible[0]
        assert any("exists twice" in note and f"{typed:%Y-%m-%d %H:%M}" in note for note in found.notes) == (
            len(possible) > 1
        )
        shown = zone_text(done, zone)
        assert datetime.fromisoformat(f"{shown[:-7]}{shown[-6:]}".replace(" ", "T")) == done
        assert shown.startswith(f"{typed:%Y-%m-%d %H:%M}")
        assert from_milliseconds(milliseconds(done)) == done
    if isinstance(found, tuple) and not any("does not exist" in problem.message for problem in found):
        # Clocks set back may put the end before the beginning, in a zone's own time.
        assert {problem.option for problem in found} == {"--until"}


@pytest.mark.parametrize(
    ("text", "zone", "done"),
    [
        ("2026-12-24 18:00", "Europe/Berlin", "2026-12-24T17:00:00Z"),
        ("2027-07-01T18:00:30", "America/New_York", "2027-07-01T22:00:30Z"),
        ("2026-12-24 18:00Z", "Europe/Berlin", "2026-12-24T18:00:00Z"),
        ("2026-12-24T18:00+05:30", "Europe/Berlin", "2026-12-24T12:30:00Z"),
        ("2027-10-31 02:30", "Europe/Berlin", "2027-10-31T00:30:00Z"),
    ],
)
def test_a_time_is_local_in_the_zone_unless_it_has_an_offset(text: str, zone: str, done: str) -> None:
    found = valid(start=text, until="2028-01-01 00:00", zone=zone)
    assert found.start is not None
    assert iso_text(found.start) == done


def test_of_a_local_time_that_exists_twice_the_first_is_taken_and_said() -> None:
    (note,) = valid(start="2027-10-31 02:30", lasts="1h").notes
    assert "exists twice" in note
    assert "Taken: 2027-10-31 02:30 +02:00" in note
    assert "02:30+01:00" in note


def test_a_local_time_that_does_not_exist_is_refused_with_those_around_it() -> None:
    ((option, message),) = problems(until="2027-03-28 02:30")
    assert option == "--until"
    assert "does not exist in Europe/Berlin" in message
    assert "2027-03-28 01:30 +01:00 or 2027-03-28 03:30 +02:00" in message


@pytest.mark.parametrize(("start", "begins"), [(None, None), ("now", None), ("2026-12-24 18:00", 24)])
def test_an_end_may_be_open_and_a_beginning_now(start: str | None, begins: int | None) -> None:
    found = valid(start=start)
    assert (found.start.day if found.start else None, found.end) == (begins, None)


@pytest.mark.parametrize(
    ("text", "hours"),
    [("12h", 12), ("90m", 1.5), ("2d12h", 60), ("1D 6H", 30), ("45s", 0.0125), ("", None), ("0h", None), ("12", None)],
)
def test_a_duration_is_days_hours_minutes_and_seconds(text: str, hours: float | None) -> None:
    assert read_duration(text) == (None if hours is None else timedelta(hours=hours))


def test_a_duration_counts_from_the_beginning_across_a_change_of_clocks() -> None:
    found = valid(start="2027-03-27 18:00", lasts="12h")
    assert found.end is not None
    assert zone_text(found.end, found.zone) == "2027-03-28 07:00 +02:00"


# ---- mistakes


def test_every_mistake_is_told_at_once() -> None:
    found = problems(start="tomorrow", until="2026-13-01 00:00", lasts="2 weeks", zone="Europe/Berln")
    assert [option for option, _ in found] == ["--zone", "--from", "--until", "--for", "--for"]
    assert "Europe/Berlin?" in found[0][1]


def test_both_in_the_past_is_told_for_both() -> None:
    found = problems(start="2025-12-24 18:00", until="2025-12-27 08:00")
    assert [option for option, _ in found] == ["--from", "--until"]
    assert all("2026-11-29 12:00:00 UTC" in message for _, message in found)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": "2026-12-27 08:00", "until": "2026-12-24 18:00"}, "after --from"),
        ({"until": "2062-12-24 18:00"}, "five years"),
        ({"lasts": "40s", "rows": 500}, "500 changes take 50 s at 20 calls a second"),
        ({"lasts": "9s"}, "would last 9 s, but the engine needs up to 10 s to begin it"),
        ({"lasts": "9s", "rows": 200}, "200 changes take 20 s at 20 calls a second, but the override would last 9 s"),
        ({"start": "2026-11-29 12:59:30", "until": "2026-11-29 13:00:05"}, "would last 5 s"),
        ({"zone": "berlin"}, "is no time zone"),
        ({"zone": "../../etc/passwd"}, "is no time zone"),
        ({"start": "2026-12-24"}, "is no time"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(options: dict[str, Any], said: str) -> None:
    ((_, message),) = problems(**options)
    assert said in message


def test_a_window_as_long_as_its_changes_take_is_taken() -> None:
    assert valid(lasts="50s", rows=500).end == NOW + shortest(500)
    assert valid(lasts="10s").end == NOW + shortest(1)


def test_an_end_may_be_read_whatever_the_length() -> None:
    assert valid(lasts="1s", rows=None).end == NOW + timedelta(seconds=1)


def test_a_zone_may_be_written_in_any_case_but_is_not_guessed() -> None:
    found = read_zone("europe/berlin")
    assert isinstance(found, Problem)
    assert "Did you mean Europe/Berlin?" in found.message
