"""Looking up what the rows of a file name, in the double's company of several offices with homonyms."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.provisioning.changes import MAX_ROWS
from dialpad_ivr.provisioning.plan import make_plan, read_plan, write_plan
from dialpad_ivr.testing.double import DoubleControl
from support.changes import ReadRows, planned

CENTER, BERLIN_HOTLINE, LISBON_HOTLINE = "5502522061422592", "5502522061422611", "5502522061422631"


def lists(double: DoubleControl) -> Counter[str]:
    """How often each path was read."""
    return Counter(arrival["path"] for arrival in double.ledger())


@pytest.mark.parametrize(
    ("row", "target_id", "office"),
    [
        ({}, CENTER, None),
        ({"target": "Hotline", "office": "Lisbon"}, LISBON_HOTLINE, "Lisbon"),
        ({"target": "hotline", "office": 5502522061422630}, LISBON_HOTLINE, "Lisbon"),
        ({"target": "Hotline", "target_id": BERLIN_HOTLINE}, BERLIN_HOTLINE, "Berlin"),
        ({"target": "*", "office": "Berlin", "target_id": BERLIN_HOTLINE}, BERLIN_HOTLINE, "Berlin"),
        ({"target": None, "number": "+1 (415) 555-1000"}, CENTER, None),
        ({"target": None, "office": "Head office", "target_id": CENTER}, CENTER, "Head office"),
    ],
)
async def test_a_row_gets_the_id_and_the_name_of_its_target(
    read_rows: ReadRows, row: dict[str, Any], target_id: str, office: str | None
) -> None:
    (found,) = planned(await read_rows(row))
    assert (found.target_id, found.office_name) == (target_id, office)
    assert found.target_name in ("Support", "Hotline")
    assert (found.action, found.ivr_name, len(found.ivr_id)) == ("change", "Summer hold music", 16)


@pytest.mark.parametrize("user", [{"email": "Robin@Example.com"}, {"number": "+14155551002"}, {"target": "robin"}])
async def test_a_user_is_found_by_address_number_or_name(read_rows: ReadRows, user: dict[str, str]) -> None:
    row = {"target_type": "user", "target": None, "ivr_type": "VM_DROP_MESSAGE", "ivr": "Sorry I missed you", **user}
    (found,) = planned(await read_rows(row))
    assert (found.target_id, found.target_name, found.action) == ("5502522061422603", "Robin", "change")


async def test_a_file_of_ids_makes_no_call_that_it_did_not_make_before(
    read_rows: ReadRows, double: DoubleControl
) -> None:
    row = {"target": None, "target_id": int(CENTER), "ivr": None, "ivr_id": 5127493019721728}
    (found,) = planned(await read_rows(row))
    assert (found.action, found.target_name) == ("change", None)
    assert lists(double) == {"/api/v2/customivrs": 1}


async def test_a_wildcard_is_each_of_its_targets_with_the_line_of_the_file(read_rows: ReadRows) -> None:
    rows = planned(await read_rows({"target": "Support"}, {"target": "Hot*"}))
    assert [(row.line, row.target_id, row.office_name) for row in rows] == [
        (1, CENTER, None),
        (2, BERLIN_HOTLINE, "Berlin"),
        (2, LISBON_HOTLINE, "Lisbon"),
    ]
    assert {row.action for row in rows} == {"change"}


async def test_each_list_is_read_once_for_all_rows(read_rows: ReadRows, double: DoubleControl) -> None:
    double.configure(page_size=100)
    double.set_state(company=60)
    names = [f"{topic} {number}" for topic in ("Support", "Sales") for number in (2, 3)]
    rows = [{"target": name, "office": office} for name in names for office in ("Berlin", "Lisbon")]
    assert len(planned(await read_rows(*rows, {"target": "support", "office": "Hamburg"}))) == 9
    read_once = lists(double)
    assert (read_once.pop("/api/v2/customivrs"), read_once) == (9, {"/api/v2/callcenters": 1, "/api/v2/offices": 1})


async def test_every_name_that_means_nothing_or_too_much_is_reported_at_once(
    read_rows: ReadRows, double: DoubleControl
) -> None:
    snapshot = await read_rows(
        {"target": "Hotline"},
        {"target": "Suport"},
        {"target": "Nothing*"},
        {"office": "Berln"},
        {"target": None, "number": "+49301234567"},
        {"target": None, "number": "+14155551001"},
        {"target_id": "7"},
        {"target_type": "user", "target": None, "email": "nobody@example.com", "ivr_type": "VM_DROP_MESSAGE"},
        {},
    )
    assert snapshot.rows == ()
    found = [(violation.line, violation.path) for violation in snapshot.violations]
    assert found == [
        (1, "target"),
        (2, "target"),
        (3, "target"),
        (4, "office"),
        (5, "number"),
        (6, "number"),
        (7, "target_id"),
        (8, "email"),
    ]
    text = [f"{violation.message} {violation.hint}" for violation in snapshot.violations]
    for part in (
        f"{BERLIN_HOTLINE} (office Berlin)",
        f"{LISBON_HOTLINE} (office Lisbon)",
        "Give office, or use an id.",
    ):
        assert part in text[0]
    assert 'Did you mean "Support' in text[1]
    assert 'There are no call centers called "Nothing*".' in text[2]
    assert 'Did you mean "Berlin"?' in text[3]
    assert "belongs to office" in text[5]
    assert f'target_id is 7, but "Support" is {CENTER} (office ' in text[6]
    assert "/api/v2/customivrs" not in lists(double)


async def test_two_offices_of_one_name_are_a_violation(read_rows: ReadRows, double: DoubleControl) -> None:
    offices = [{"target_type": "office", "target_id": number, "name": "Twin", "office_id": number} for number in "89"]
    double.set_state(*offices)
    (violation,) = (await read_rows({"office": "Twin"})).violations
    assert (violation.path, "8, 9" in violation.message) == ("office", True)


@pytest.mark.parametrize("second", [{"target": "Supp*"}, {"target_id": CENTER}, {"target": None, "target_id": CENTER}])
async def test_rows_that_turn_out_to_set_one_slot_are_refused_with_both_lines(
    read_rows: ReadRows, second: dict[str, str]
) -> None:
    snapshot = await read_rows({}, second)
    (violation,) = snapshot.violations
    assert (violation.line, snapshot.rows) == (2, ())
    assert violation.message.startswith("Line 1 already sets HOLD_MUSIC of callcenter 5502522061422592")


async def test_a_wildcard_beyond_the_most_changes_is_a_violation(
    read_rows: ReadRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dialpad_ivr.provisioning.targets.MAX_ROWS", 3)
    (violation,) = (await read_rows({"target": "*"})).violations
    assert (violation.line, "more than 3 changes" in violation.message, MAX_ROWS) == (1, True, 10_000)


async def test_a_list_that_breaks_half_way_is_not_taken_for_no_such_target(
    read_rows: ReadRows, double: DoubleControl
) -> None:
    double.add_faults(
        {"fault": "status", "status": 500, "skip": 1, "times": None, "match": {"path": "/api/v2/callcenters"}}
    )
    by_id = {"target": None, "target_id": CENTER}
    rows = planned(await read_rows({"target": "Hotline*"}, {"target": "No such name"}, by_id))
    assert [(row.line, row.action) for row in rows] == [(1, "unreadable"), (2, "unreadable"), (3, "change")]
    assert lists(double)["/api/v2/callcenters"] > 3
    assert rows[0].target_name == "Hotline*"
    assert rows[0].target_id == ""
    assert "GET /api/v2/callcenters: " in rows[0].note


async def test_a_key_that_may_not_list_users_plans_the_rest(
    read_rows: ReadRows, double: DoubleControl, tmp_path: Path
) -> None:
    double.add_faults({"fault": "status", "status": 403, "times": None, "match": {"path": "/api/v2/users"}})
    user = {"target_type": "user", "target": "Robin", "ivr_type": "VM_DROP_MESSAGE", "ivr": "Sorry I missed you"}
    rows = planned(await read_rows(user, {}))
    assert [(row.line, row.action) for row in rows] == [(1, "unreadable"), (2, "change")]
    assert "GET /api/v2/users: " in rows[0].note
    plan = make_plan(rows, double.url, "changes.json")
    write_plan(plan, tmp_path / "p.plan.json")
    assert [row.line for row in read_plan(tmp_path / "p.plan.json").changes] == [2]


async def test_a_key_that_may_not_list_offices_still_shows_which_ids_share_a_name(
    read_rows: ReadRows, double: DoubleControl
) -> None:
    double.add_faults({"fault": "status", "status": 403, "times": None, "match": {"path": "/api/v2/offices"}})
    (violation,) = (await read_rows({"target": "Hotline"})).violations
    assert BERLIN_HOTLINE in violation.message
    assert LISBON_HOTLINE in violation.message


async def test_each_credential_reads_its_own_lists(read_rows: ReadRows, double: DoubleControl) -> None:
    double.configure(page_size=100)
    rows = planned(await read_rows({}, {"target": "Support Berlin", "credential": "other"}))
    assert [row.credential for row in rows] == ["default", "other"]
    assert lists(double)["/api/v2/callcenters"] == 2


async def test_a_target_without_a_key_is_unreadable(read_rows: ReadRows) -> None:
    (row,) = planned(await read_rows({"credential": "none"}))
    assert (row.action, "DIALPAD_API_KEY_NONE" in row.note) == ("unreadable", True)


@pytest.mark.parametrize(
    ("row", "action", "note"),
    [
        ({"ivr": "summer HOLD music"}, "change", ""),
        ({"ivr": "Winter*"}, "unchanged", ""),
        ({"ivr": "Somer hold music"}, "missing_ivr", 'Did you mean "Summer hold music"'),
        (
            {"ivr": "*hold music"},
            "ambiguous_ivr",
            "5127493019721728 (HOLD_MUSIC), 5127493019721729 (HOLD_MUSIC). Use an id.",
        ),
        ({"ivr_id": "5127493019721728"}, "change", ""),
        (
            {"ivr_id": "5127493019721729"},
            "missing_ivr",
            'IVR 5127493019721729 is called "Winter hold music", not "Summer',
        ),
        ({"ivr_id": "7"}, "missing_ivr", "Check ivr_id and ivr_type"),
        ({"ivr_type": "MENU"}, "missing_ivr", "has no IVR for this slot. Check ivr and ivr_type, or create"),
        ({"ivr_type": "GREETING"}, "missing_ivr", 'has no IVR called "Summer hold music"'),
    ],
)
async def test_an_ivr_is_found_by_its_name_in_the_list_that_shows_the_selection(
    read_rows: ReadRows, double: DoubleControl, row: dict[str, str], action: str, note: str
) -> None:
    (found,) = planned(await read_rows({"target": None, "target_id": CENTER, **row}))
    assert found.action == action
    assert note in found.note
    assert lists(double) == {"/api/v2/customivrs": 1}
