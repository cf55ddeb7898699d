"""Files whose rows have windows of their own: what is read, in which zone, and which overrides they become."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialpad_ivr.contract.outputs import SelectedIvr
from dialpad_ivr.provisioning.changes import Changes, read_changes
from dialpad_ivr.provisioning.overrides import Override
from dialpad_ivr.provisioning.plan import PlannedChange, make_plan
from dialpad_ivr.provisioning.planned_ahead import PlannedOverride, later_plan, planned_overrides
from dialpad_ivr.provisioning.times import iso_text, zone_text
from dialpad_ivr.provisioning.windows import RowWindow, window_violations
from dialpad_ivr.testing.double import DoubleControl
from support.changes import ROW, ReadRows, planned
from support.local_times import CHANGES_OF_CLOCKS, LOCAL_TIMES, instants

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=timezone.utc)
XMAS = {"from": "2027-12-24 18:00", "until": "2027-12-27 08:00"}
NEW_YEAR = {"from": "2027-12-31 12:00", "until": "2028-01-02 08:00"}
BERLIN = "Europe/Berlin"


def found_in(changes: Changes) -> list[tuple[int, str]]:
    assert not changes.violations
    return [(each.line, each.path) for each in window_violations(changes.windows, NOW)]


def row(line: int, window: Mapping[str, str | None], **more: Any) -> PlannedChange:
    values = {**ROW, "line": line, "action": "change", "previous": (SelectedIvr(id="7"),), **more}
    texts = RowWindow(*(window.get(name) for name in ("from", "until", "zone")))
    return PlannedChange.model_validate({**values, "window": texts})


def of_rows(*rows: PlannedChange, zone: str = BERLIN) -> tuple[list[PlannedOverride], list[tuple[int, str, str]]]:
    found, violations = planned_overrides(make_plan([*rows], "https://dialpad.com", "holidays.csv"), zone, NOW)
    return found, [(each.line, each.path, each.message) for each in violations]


# ---- the columns


VALUES = {"target_type": "user", "target_id": "7", "ivr_type": "MENU", "ivr_id": "8", **XMAS, "zone": "Asia/Tokyo"}


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".csv", f"{','.join(VALUES)}\n{','.join(VALUES.values())}"),
        (".tsv", "\t".join(VALUES).title() + "\n" + "\t".join(VALUES.values())),
        (".json", json.dumps({"changes": [VALUES]})),
        (".yaml", "- " + "\n  ".join(f"{name}: {value}" for name, value in VALUES.items())),
    ],
)
def test_each_format_has_the_columns(read: Any, suffix: str, text: str) -> None:
    changes = read(text, suffix)
    assert found_in(changes) == []
    assert changes.changes[0].window == RowWindow(XMAS["from"], XMAS["until"], "Asia/Tokyo")


def test_empty_columns_are_no_windows(read: Any) -> None:
    changes = read("target_type,target_id,ivr_type,ivr_id,from,until,zone\ncallcenter,7,MENU,8,,,")
    assert not changes.has_windows
    assert changes.changes[0].window is None


def test_a_row_may_set_a_slot_once_in_each_window(read: Any) -> None:
    rows = [{**ROW, **XMAS}, {**ROW, **NEW_YEAR}, {**ROW, **XMAS}]
    (violation,) = read(json.dumps(rows, indent=0), ".json").violations
    assert "already sets HOLD_MUSIC" in violation.message


def test_everything_wrong_with_any_window_is_told_at_once_also_of_rows_that_are_wrong_otherwise(read: Any) -> None:
    header = "target_type,target_id,ivr_type,ivr_id,from,until,zone\n"
    rows = [
        "callcenter,1,MENU,8,2027-12-24 18:00,,",
        "callcenter,2,MENU,8,,2027-12-24 18:00,Europe/Berln",
        "callcenter,3,MENUE,8,soon,2025-12-24 18:00Z,",
        "callcenter,4,MENU,8,2027-03-28 02:30,2027-03-28 02:15,Europe/Berlin",
        "callcenter,5,MENU,8,,,",
        "callcenter,6,MENU,8,2027-12-27 18:00,2027-12-24 18:00,UTC",
    ]
    changes = read(header + "\n".join(rows))
    assert [(each.line, each.path) for each in changes.violations] == [(4, "ivr_type")]
    found = [(each.line, each.path) for each in window_violations(changes.windows, NOW)]
    assert found == [
        (2, "until"), (3, "from"), (3, "zone"), (4, "from"), (4, "until"), (5, "from"), (5, "until"),
        (6, "from"), (6, "until"), (7, "until"),
    ]  # fmt: skip


@pytest.mark.parametrize("value", [5, True, ["2027-12-24 18:00"], {"at": "noon"}, 1.5, "x" * 10_000, "\x1b[31m"])
def test_what_is_no_time_is_refused_whatever_it_is(read: Any, value: Any) -> None:
    changes = read(json.dumps([{**ROW, **XMAS, "from": value}]), ".json")
    (violation,) = window_violations(changes.windows, NOW)
    assert violation.path == "from"
    assert "is no time" in violation.message
    assert len(violation.message) < 300
    assert "\x1b" not in violation.message


# ---- the zones of offices


async def test_without_a_zone_a_row_is_in_that_of_its_targets_office(read_rows: ReadRows) -> None:
    snapshot = await read_rows(
        {"target": "Hotline", "office": "Berlin", **XMAS},
        {"target": "Hotline", "office": "Lisbon", **XMAS},
        {**XMAS},
        {"target_type": "office", "target": "Lisbon", "ivr_type": "MENU", "ivr_id": 1, "ivr": None, **XMAS},
        {"target": None, "target_id": "5502522061422611", **NEW_YEAR},
        {"target": "Support", "zone": "Asia/Tokyo", **NEW_YEAR},
    )
    zones = {each.line: each.window.zone for each in planned(snapshot) if each.window}
    assert zones == {1: BERLIN, 2: "Europe/Lisbon", 3: "US/Pacific", 4: "Europe/Lisbon", 5: BERLIN, 6: "Asia/Tokyo"}
    assert snapshot.warnings == ()


async def test_the_targets_of_a_wildcard_are_each_in_their_own_zone(read_rows: ReadRows) -> None:
    rows = planned(await read_rows({"target": "Hot*", **XMAS}))
    found, violations = of_rows(*rows)
    assert violations == []
    done = [(each.window.zone.key, iso_text(each.window.start or NOW)) for each in found]
    assert done == [(BERLIN, "2027-12-24T17:00:00Z"), ("Europe/Lisbon", "2027-12-24T18:00:00Z")]


@pytest.mark.parametrize(
    ("timezone_shown", "said"),
    [
        (None, "does not show that of callcenter"),
        ("Berlin time", '"Berlin time", which Dialpad shows, is no time zone'),
    ],
)
async def test_where_the_offices_zone_is_not_known_that_is_said_and_another_one_is_taken(
    read_rows: ReadRows, double: DoubleControl, timezone_shown: str | None, said: str
) -> None:
    state = double.state()
    for target in state:
        if target["target_type"] == "office":
            target["settings"] = {"timezone": timezone_shown} if timezone_shown else {}
    double.set_state(*state)
    snapshot = await read_rows(XMAS)
    assert said in snapshot.warnings[0]
    ((override,), _) = of_rows(*planned(snapshot), zone="Asia/Tokyo")
    assert override.window.zone.key == "Asia/Tokyo"


async def test_a_file_without_windows_reads_no_office(read_rows: ReadRows, double: DoubleControl) -> None:
    await read_rows({"target": None, "target_id": ROW["target_id"]})
    assert {line["path"] for line in double.ledger()} == {"/api/v2/customivrs"}


# ---- the overrides


def test_rows_of_one_window_become_one_override_however_it_is_written() -> None:
    offset = {"from": "2027-12-24T17:00Z", "until": "2027-12-27T08:00+01:00", "zone": BERLIN}
    rows = [
        row(2, XMAS),
        row(3, offset, target_id="8"),
        row(4, NEW_YEAR),
        row(5, {**XMAS, "zone": "UTC"}, target_id="9"),
    ]
    found, violations = of_rows(*rows)
    assert violations == []
    lines = [sorted(each.line for each in override.plan.rows) for override in found]
    assert lines == [[2, 3], [5], [4]]


def test_a_window_must_be_as_long_as_all_of_its_changes_take() -> None:
    short = {"from": "2027-12-24 18:00:00", "until": "2027-12-24 18:00:12"}
    rows = [row(number, short, target_id=str(number)) for number in range(2, 132)]
    found, violations = of_rows(*rows)
    assert found == []
    assert len(violations) == 130
    assert "130 changes take 13 s" in violations[0][2]
    assert of_rows(*rows[:120])[1] == []


@pytest.mark.parametrize(
    ("begins", "options", "meets"),
    [
        ("2027-12-27 08:00", {}, True),
        ("2027-12-27 08:01", {}, True),
        ("2027-12-27 08:01:01", {}, False),
        ("2027-12-26 08:00", {"select_option": "inbound"}, True),
        ("2027-12-26 08:00", {"target_id": "7"}, False),
        ("2027-12-26 08:00", {"credential": "other"}, False),
    ],
)
def test_two_rows_of_a_file_must_not_have_a_slot_at_the_same_time(
    begins: str, options: dict[str, str], meets: bool
) -> None:
    _, violations = of_rows(row(2, XMAS), row(3, {"from": begins, "until": "2028-01-02 08:00"}, **options))
    assert [(line, path) for line, path, _ in violations] == ([(3, "from")] if meets else [])
    assert all(
        "Line 2 has" in message and "HOLD_MUSIC until 2027-12-27 08:00 +01:00" in message for *_, message in violations
    )


def test_inbound_and_outbound_of_a_slot_do_not_meet_and_a_long_row_meets_all_that_come_within() -> None:
    rows = [row(2, XMAS, select_option="inbound"), row(3, XMAS, select_option="outbound")]
    assert of_rows(*rows)[1] == []
    within = {"from": "2027-12-26 00:00", "until": "2027-12-26 06:00"}
    later = {"from": "2027-12-26 12:00", "until": "2027-12-26 18:00"}
    assert [line for line, *_ in of_rows(*rows, row(4, within), row(5, later))[1]] == [4, 5]


def test_what_a_running_override_has_selected_now_is_a_change_once_that_is_over() -> None:
    change = {**ROW, "note": {"previous": [{"id": "7", "name": "Winter"}]}}
    on = Override(
        workflow_id="on", status="RUNNING", state="active", start=NOW, end=NOW + timedelta(hours=1), changes=(change,),
        reason="", requested_by="", zone="UTC", domain=None, inside=None, guard=None, output={}, ended_at=None,
    )  # fmt: skip
    plan = make_plan([row(2, XMAS, action="unchanged", previous=())], "https://dialpad.com", "holidays.csv")
    (later,) = later_plan(plan, [on]).rows
    assert (later.action, [each.id for each in later.previous]) == ("change", ["7"])
    assert later_plan(plan, [replace(on, state="planned")]).rows == plan.rows


# ---- what is shown is what is done

# With what they last, all are within the five years that are taken.
_WINDOWS = st.lists(
    st.tuples(LOCAL_TIMES | CHANGES_OF_CLOCKS, st.integers(1, 180 * 24 * 60), st.timezone_keys(), st.booleans()),
    min_size=1,
    max_size=4,
)


@given(rows=_WINDOWS, fallback=st.timezone_keys())
def test_for_any_windows_zones_and_changes_of_clocks_what_is_shown_of_each_row_is_what_is_done_in_utc(
    rows: list[tuple[datetime, int, str, bool]], fallback: str
) -> None:
    typed = {
        line: (begins, begins + timedelta(minutes=lasts), key if own else fallback)
        for line, (begins, lasts, key, own) in enumerate(rows, start=2)
    }
    given_rows = [
        row(
            line,
            {
                "from": f"{begins:%Y-%m-%d %H:%M:%S}",
                "until": f"{ends:%Y-%m-%dT%H:%M:%S}",
                "zone": rows[line - 2][2] if rows[line - 2][3] else None,
            },
            target_id=str(line),
        )
        for line, (begins, ends, _) in typed.items()
    ]
    found, violations = of_rows(*given_rows, zone=fallback)
    planned_lines = {each.line: override for override in found for each in override.plan.rows}
    for line, (begins, ends, key) in typed.items():
        told = {path for number, path, _ in violations if number == line}
        zone = ZoneInfo(key)
        possible = {"from": instants(begins, zone), "until": instants(ends, zone)}
        assert (line in planned_lines) == (not told)
        # What does not exist is refused; and what is set back may put the end before the beginning.
        if all(possible.values()):
            assert bool(told) == (possible["until"][0] <= possible["from"][0]), told
        else:
            assert told >= {name for name, at in possible.items() if not at}
        if told:
            continue
        window = planned_lines[line].window
        assert (window.start, window.end) == (possible["from"][0], possible["until"][0])
        assert window.zone.key == key
        for name, at in (("from", window.start), ("until", window.end)):
            assert at is not None
            shown = zone_text(at, window.zone)
            assert datetime.fromisoformat(f"{shown[:-7]}{shown[-6:]}".replace(" ", "T")) == at
            local = begins if name == "from" else ends
            assert shown.startswith(f"{local:%Y-%m-%d %H:%M}")
            twice = [note for note in window.notes if f"{local:%Y-%m-%d %H:%M} exists twice" in note]
            assert bool(twice) == (len(possible[name]) > 1)


def test_a_file_on_disk_is_read_as_its_rows_are(tmp_path: Any) -> None:
    file = tmp_path / "holidays.csv"
    header = "target_type,target_id,ivr_type,ivr_id,from,until\n"
    file.write_text(header + "callcenter,7,MENU,8,2027-10-31 02:30,2027-11-01 08:00")
    (change,) = read_changes(file).changes
    assert change.window is not None
    found = planned_overrides(
        make_plan([PlannedChange.of(change, "change", previous=(SelectedIvr(id="7"),))], "", ""), BERLIN, NOW
    )[0]
    assert "exists twice" in found[0].window.notes[0]
    assert iso_text(found[0].window.start or NOW) == "2027-10-31T00:30:00Z"
