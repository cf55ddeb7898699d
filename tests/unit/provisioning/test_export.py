"""Exporting what the double has selected, and planning and checking that again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialpad_ivr.contract.inputs import ListTargetsInput
from dialpad_ivr.contract.targets import LISTED_TYPES
from dialpad_ivr.provisioning.changes import read_changes
from dialpad_ivr.provisioning.export import Export, read_export
from dialpad_ivr.provisioning.reader import open_reader
from dialpad_ivr.provisioning.snapshot import read_selections
from dialpad_ivr.provisioning.targets import resolve_targets
from dialpad_ivr.provisioning.writing import WRITERS, csv_text
from dialpad_ivr.testing.double import DoubleControl
from support.changes import unpaced

CENTER = "5502522061422592"
ALL = tuple(ListTargetsInput(target_type=each) for each in LISTED_TYPES)  # type: ignore[arg-type] # one of them
ReadExport = Callable[..., Coroutine[Any, Any, Export]]


@pytest.fixture
def exported(double: DoubleControl) -> ReadExport:
    async def of(*wanted: ListTargetsInput, ivr_types: tuple[str, ...] = ()) -> Export:
        async with open_reader(unpaced(double)) as reader:
            return await read_export(wanted or ALL, ivr_types, reader, lambda *_: None)

    return of


def target(number: int, name: str, *selected: Any, office: str | None = None, **more: Any) -> dict[str, Any]:
    """A call center with a slot for each of `selected`: MENU, CLOSED, ...; each has the IVRs 10 and 11."""
    ivrs = [{"id": "10", "name": "Old"}, {"id": "11", "name": "New"}]
    types = ("MENU", "CLOSED", "GREETING", "HOLD_MUSIC")
    slots = [
        {"ivr_type": ivr_type, "ivrs": ivrs, "selected": each} for ivr_type, each in zip(types, selected, strict=False)
    ]
    found = {"target_type": "callcenter", "target_id": str(number), "name": name, "office_id": office, "slots": slots}
    return {**found, **more}


def office(number: int, name: str) -> dict[str, Any]:
    return target(number, name, target_type="office", office=str(number))


async def test_each_selection_is_a_row_of_names_and_each_target_is_read_once(
    exported: ReadExport, double: DoubleControl
) -> None:
    found = await exported(ListTargetsInput(target_type="callcenter", office="Head office"))
    assert [(row["target"], row["office"], row["ivr_type"], row["ivr"]) for row in found.rows] == [
        ("An id that JavaScript cannot hold", "Head office", "HOLD_MUSIC", "Also above 2^53"),
        ("Support", "Head office", "AUTO_RECORDING", "Recorded for training"),
        ("Support", "Head office", "CLOSED", "We are closed"),
        ("Support", "Head office", "GREETING", "Welcome"),
        ("Support", "Head office", "HOLD_MUSIC", "Winter hold music"),
    ]
    assert {row["target_id"] + row["ivr_id"] for row in found.rows} == {""}
    assert [arrival["path"] for arrival in double.ledger()].count("/api/v2/customivrs") == found.targets == 2


async def test_only_the_slots_and_the_names_that_are_wanted_are_exported(exported: ReadExport) -> None:
    wanted = ListTargetsInput(target_type="callcenter", name="*o*", credential="default")
    found = await exported(wanted, ivr_types=("HOLD_MUSIC", "CLOSED"))
    assert [(row["target"], row["ivr_type"]) for row in found.rows] == [
        ("Hotline", "HOLD_MUSIC"),
        ("An id that JavaScript cannot hold", "HOLD_MUSIC"),
        ("Support", "CLOSED"),
        ("Support", "HOLD_MUSIC"),
        ("Hotline", "HOLD_MUSIC"),
    ]


async def test_what_no_change_can_set_is_left_out_and_counted(exported: ReadExport, double: DoubleControl) -> None:
    double.set_state(
        target(1, "One", "10", None, {"inbound": "10", "outbound": "11"}, {"inbound": None, "outbound": "10"})
    )
    found = await exported()
    assert [row["ivr_type"] for row in found.rows] == ["HOLD_MUSIC", "MENU"]
    assert found.left_out == {"nothing_selected": 1, "directions_differ": 1}


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (("Support", "support"), ("", "")),  # written differently
        (("Support", "Support"), ("1", "2")),
        (("Sup*", "Sup"), ("1", "")),
        (("", "Support"), ("1", "")),
        (("a;=1+1", "b"), ("1", "")),  # a spreadsheet would compute it
    ],
)
async def test_an_id_is_exported_only_where_the_name_would_not_do(
    exported: ReadExport, double: DoubleControl, names: tuple[str, str], ids: tuple[str, str]
) -> None:
    double.set_state(*(target(number, name, "10") for number, name in enumerate(names, start=1)))
    found = await exported()
    assert sorted(row["target_id"] for row in found.rows) == sorted(ids)


async def test_homonyms_are_told_apart_by_their_office_and_offices_of_one_name_by_their_id(
    exported: ReadExport, double: DoubleControl
) -> None:
    double.set_state(
        office(7, "Twin"),
        office(8, "Twin"),
        office(9, "Berlin"),
        *(target(number, "Support", "10", office=str(number)) for number in (7, 8, 9)),
    )
    rows = (await exported(ListTargetsInput(target_type="callcenter"))).rows
    assert [(row["office"], row["target_id"]) for row in rows] == [("Berlin", ""), ("7", ""), ("8", "")]


async def test_what_cannot_be_read_is_counted_and_the_rest_is_exported(
    exported: ReadExport, double: DoubleControl
) -> None:
    double.add_faults(
        {"fault": "status", "status": 403, "times": None, "match": {"path": "/api/v2/users"}},
        {"fault": "status", "status": 404, "times": 1, "match": {"path": "/api/v2/customivrs"}},
    )
    found = await exported()
    assert sum(found.unread.values()) == 2
    assert any("GET /api/v2/users" in reason for reason in found.unread)
    assert {row["target_type"] for row in found.rows} <= {"callcenter", "department", "office"}
    assert found.rows


async def test_a_key_that_may_not_list_offices_exports_ids_where_offices_told_targets_apart(
    exported: ReadExport, double: DoubleControl
) -> None:
    double.add_faults({"fault": "status", "status": 403, "times": None, "match": {"path": "/api/v2/offices"}})
    found = await exported(ListTargetsInput(target_type="department"))
    assert [(row.get("office"), row["target"], bool(row["target_id"])) for row in found.rows] == [
        (None, "Sales", True)
    ] * 3
    assert "GET /api/v2/offices" in next(iter(found.unread))


def test_a_name_that_a_spreadsheet_would_compute_has_an_apostrophe() -> None:
    names = ["=1+1", "+49", "-x", "@x", "'=x", "\uff1d1", "x=1", "'x"]
    rows = [{"target_type": "callcenter", "target": name, "ivr_type": "MENU", "ivr": "x"} for name in names]
    cells = [row["target"] for row in csv.DictReader(io.StringIO(csv_text(rows), newline=""))]
    assert cells == ["'=1+1", "'+49", "'-x", "'@x", "''=x", "'\uff1d1", "x=1", "'x"]


NAMES = st.one_of(
    st.sampled_from(
        ["Support", "support", "Sup*", "*", "=1+1", "+49 30", "-", "@all", "'=x", '="7"', "null", "~", "7", "true"]
    ),
    st.sampled_from(
        ['He said "no", and', "two\nlines", "two\rlines", "\u202eevil", "\U0001f600", "a;=1+1", "\x1b[2J", "# x"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
)
SELECTED = st.sampled_from([None, "10", "11", "12", {"inbound": "10", "outbound": "11"}])


@st.composite
def companies(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Offices, and targets in them and in none, of names that may be the same."""
    offices = [office(number, draw(NAMES)) for number in range(1, draw(st.integers(1, 3)) + 1)]
    targets = []
    for number in range(10, draw(st.integers(11, 15))):
        ivrs = [{"id": str(ivr), "name": draw(NAMES)} for ivr in (10, 11, 12)]
        slots = [{"ivr_type": each, "ivrs": ivrs, "selected": draw(SELECTED)} for each in ("MENU", "CLOSED")]
        of = draw(st.sampled_from([None, *(each["target_id"] for each in offices)]))
        kind = draw(
            st.sampled_from(["callcenter", "department", "user", "channel", "room", "coachingteam", "callrouter"])
        )
        targets.append(target(number, draw(NAMES), office=of, target_type=kind, slots=slots))
    return [*offices, *targets]


async def check_round_trip(company: list[dict[str, Any]], double: DoubleControl, folder: Path) -> None:
    double.set_state(*company)
    selected = [slot["selected"] for each in company for slot in each["slots"]]
    async with open_reader(unpaced(double)) as reader:
        found = await read_export(ALL, (), reader, lambda *_: None)
        assert not found.unread
        assert len(found.rows) == sum(isinstance(each, str) for each in selected)
        for suffix in (".csv", ".json", ".yaml") if found.rows else ():
            file = folder / f"export{suffix}"
            file.write_bytes(WRITERS[suffix](found.rows).encode())
            changes = read_changes(file)
            assert not changes.violations, (suffix, changes.violations)
            resolved = await resolve_targets(changes.changes, reader, lambda *_: None)
            assert not resolved.violations, (suffix, resolved.violations, file.read_text())
            planned = await read_selections(resolved.changes, reader, lambda *_: None)
            assert [row.action for row in planned] == ["unchanged"] * len(found.rows)


FIXTURES = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)


@settings(suppress_health_check=FIXTURES, deadline=None, max_examples=4)
@given(company=companies())
async def test_planning_a_fresh_export_changes_nothing(
    double: DoubleControl, tmp_path: Path, company: list[dict[str, Any]]
) -> None:
    await check_round_trip(company, double, tmp_path)


@pytest.mark.long
@settings(suppress_health_check=FIXTURES, deadline=None, max_examples=60)
@given(company=companies())
async def test_planning_a_fresh_export_of_many_companies_changes_nothing(
    double: DoubleControl, tmp_path: Path, company: list[dict[str, Any]]
) -> None:
    await check_round_trip(company, double, tmp_path)


async def test_an_export_with_another_profile_names_it(double: DoubleControl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIALPAD_API_KEY_EMEA", double.key)
    wanted = ListTargetsInput(target_type="user", credential="emea")
    async with open_reader(unpaced(double)) as reader:
        found = await read_export([wanted], (), reader, lambda *_: None)
    assert json.loads(WRITERS[".json"](found.rows))[0]["credential"] == "emea"
    assert csv_text(found.rows).splitlines()[0].endswith(",ivr,credential")
