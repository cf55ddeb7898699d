"""The engine's scheduler: it stores whatever it gets, so a schedule is checked before."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.engine.schedules import Schedule, ScheduleError, check_name, next_run, put_schedule, schedules
from dialpad_ivr.provisioning.scheduled_check import zone
from support.stub import StubEngine

AT_SIX = "0 0 6 * * *"


def test_a_schedule_is_read_as_it_was_stored(api: EngineApi) -> None:
    stored = Schedule("morning", "check_custom_ivrs", AT_SIX, "Europe/Berlin", {"changes": [1]}, "Checks a.csv.")
    put_schedule(api, stored, 1)
    assert schedules(api) == [stored]


def test_a_schedules_runs_have_its_name_as_their_correlation_id(api: EngineApi, stub_engine: StubEngine) -> None:
    put_schedule(api, Schedule("morning", "check_custom_ivrs", AT_SIX, "UTC", {}), 3)
    assert stub_engine.schedules is not None
    start = stub_engine.schedules["morning"]["startWorkflowRequest"]
    assert (start["name"], start["version"], start["correlationId"]) == ("check_custom_ivrs", 3, "morning")


@pytest.mark.parametrize(
    ("name", "now", "then"),
    [
        ("UTC", "2026-11-29T05:59:59+00:00", "2026-11-29T06:00:00+00:00"),
        ("Europe/Berlin", "2026-11-29T05:30:00+00:00", "2026-11-30T06:00:00+01:00"),
        ("America/Los_Angeles", "2026-11-29T05:30:00+00:00", "2026-11-29T06:00:00-08:00"),
        ("Europe/Berlin", "2026-03-28T12:00:00+00:00", "2026-03-29T06:00:00+02:00"),  # the clocks change in between
        ("UTC", "2028-02-28T12:00:00+00:00", "2028-02-29T06:00:00+00:00"),
    ],
)
def test_the_next_run_is_by_the_clock_of_the_zone(api: EngineApi, name: str, now: str, then: str) -> None:
    assert next_run(api, AT_SIX, zone(name), datetime.fromisoformat(now)).isoformat() == then


def test_the_preview_is_asked_from_a_time_in_the_future_for_the_same_day_of_the_week(
    api: EngineApi, stub_engine: StubEngine
) -> None:
    now = datetime(2026, 11, 29, 5, 30, tzinfo=timezone.utc)
    next_run(api, AT_SIX, zone("America/Los_Angeles"), now)
    start = datetime.fromtimestamp(int(stub_engine.stub.received[-1].query["scheduleStartTime"]) / 1000, timezone.utc)
    assert start == datetime(2426, 11, 28, 21, 30, tzinfo=timezone.utc)
    assert start.weekday() == datetime(2026, 11, 28).weekday()


@pytest.mark.parametrize(
    ("cron", "said", "hint"),
    [
        ("0 6 * * *", "has 5 fields", '"0 0 6 * * *"'),
        ("0 0 6 * * * 2027", "has 7 fields", "0 0 6 * * *"),
        ("", "has 0 fields", "0 0 6 * * *"),
        ("0 0 25 * * *", "cannot read", "MON-FRI"),
        ("0 0 6 31 2 *", "never fires", "days and months"),
    ],
)
def test_a_cron_expression_that_would_not_fire_is_an_error_of_two_lines(
    api: EngineApi, cron: str, said: str, hint: str
) -> None:
    with pytest.raises(ScheduleError) as caught:
        next_run(api, cron, timezone.utc)
    problem, what_to_do = str(caught.value).splitlines()
    assert said in problem
    assert hint in what_to_do


def test_an_outage_is_no_invalid_cron_expression(api: EngineApi, stub_engine: StubEngine) -> None:
    stub_engine.outage = [503]
    with pytest.raises(EngineError) as caught:
        next_run(api, AT_SIX, timezone.utc)
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("europe/berln", "Europe/Berlin"),
        ("Mars/Olympus Mons", "Europe/Berlin"),
        ("../zone", "such as"),
        ("", "such as"),
    ],
)
def test_a_zone_that_there_is_not_gets_a_suggestion(name: str, hint: str) -> None:
    with pytest.raises(ScheduleError, match="no time zone") as caught:
        zone(name)
    assert hint in str(caught.value).splitlines()[1]


@pytest.mark.parametrize("name", ["", "acme:morning", '{"name": 1}', "a'b", "a/b", "-a", "x" * 101, "a\n"])
def test_a_name_that_the_scheduler_would_not_find_again_is_rejected(name: str) -> None:
    with pytest.raises(ScheduleError, match="cannot be the name"):
        check_name(name)


def test_an_engine_without_the_scheduler_says_how_to_turn_it_on(api: EngineApi, stub_engine: StubEngine) -> None:
    stub_engine.schedules = None
    for call in (lambda: schedules(api), lambda: next_run(api, AT_SIX, timezone.utc)):
        with pytest.raises(EngineError, match=r"conductor\.scheduler\.enabled=true") as caught:
            call()
        assert len(str(caught.value).splitlines()) == 2
