"""Rows that name their target or IVR: which columns go together, and what reaches the plan from each format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialpad_ivr.contract.values import NAME_LIMIT
from dialpad_ivr.provisioning.changes import Change
from support.changes import only, where

ROW = {"target_type": "callcenter", "target": "Support", "ivr_type": "HOLD_MUSIC", "ivr": "Winter hold music"}
HOSTILE = 'He said "no", \u202eevil\u202c; \U0001f600\r\n=1+1\t{[<b>'


def as_csv(row: Mapping[str, Any], dialect: str = "excel") -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(row), dialect=dialect)
    writer.writeheader()
    writer.writerow(row)
    return text.getvalue()


def written(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A row in every format."""
    return [
        (as_csv(row), ".csv"),
        (as_csv(row, "excel-tab"), ".tsv"),
        (json.dumps([row]), ".json"),
        (json.dumps({"changes": [row]}, ensure_ascii=False), ".json"),
        (yaml.safe_dump([dict(row)], allow_unicode=True), ".yaml"),
    ]


@pytest.fixture
def change(read: Any) -> Any:
    def of(row: Mapping[str, Any]) -> Change:
        every = [read(text, suffix).changes for text, suffix in written(row)]
        (found,) = {replace(change, line=1) for (change,) in every}  # the same from each format
        assert isinstance(found, Change)
        return found

    return of


def test_a_row_of_names_needs_no_id(change: Any) -> None:
    named = change({**ROW, "office": "Berlin", "select_option": "inbound"})
    assert (named.target_id, named.ivr_id, named.ivr) == (None, None, "Winter hold music")
    assert (named.wanted.name, named.wanted.office, named.select_option) == ("Support", "Berlin", "inbound")


def test_ids_beside_names_are_kept(change: Any) -> None:
    both = change({**ROW, "target_id": "7", "ivr_id": "9"})
    assert (both.target_id, both.ivr_id, both.wanted.name, both.ivr) == ("7", "9", "Support", "Winter hold music")


def test_rows_with_ids_only_look_for_nothing(change: Any) -> None:
    row = {**ROW, "target": "", "ivr": "", "target_id": "7", "ivr_id": "9", "office": "", "email": "", "number": ""}
    assert change(row) == Change(1, "callcenter", "7", "HOLD_MUSIC", "9")


@pytest.mark.parametrize("office", [5502522061422610, "5502522061422610"])
def test_an_office_is_an_id_as_a_number_or_as_text(read: Any, office: Any) -> None:
    (change,) = read(json.dumps([{**ROW, "office": office, "ivr_id": 9}]), ".json").changes
    assert (change.wanted.office, change.ivr_id) == ("5502522061422610", "9")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(name=st.just(HOSTILE) | st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=NAME_LIMIT))
def test_names_round_trip_through_every_format(read: Any, name: str) -> None:
    name = name.strip()
    if not name or name.startswith(("'", '="')):
        return
    for text, suffix in written({**ROW, "target": name, "ivr": name, "office": name}):
        (change,) = read(text, suffix).changes
        assert (change.wanted.name, change.wanted.office, change.ivr) == (name, name, name)


@pytest.mark.parametrize(
    ("cell", "name"),
    [("'=SUM(A1)", "=SUM(A1)"), ("''=x", "'=x"), ("'+4930", "+4930"), ("'t Hooft", "'t Hooft"), ('="007"', "007")],
)
def test_what_keeps_a_spreadsheet_from_computing_is_not_part_of_a_name(read: Any, cell: str, name: str) -> None:
    (change,) = read(as_csv({**ROW, "target": cell}), ".csv").changes
    assert change.wanted.name == name


@pytest.mark.parametrize(
    ("changed", "path", "said"),
    [
        ({"target": ""}, "target", "The row names no target."),
        ({"ivr": " "}, "ivr", "The row names no IVR."),
        ({"target": "", "office": "Berlin"}, "target", "office alone names no target."),
        ({"target": "x" * 10_000}, "target", "target is"),
        ({"ivr": "x" * 10_000}, "ivr", "ivr is"),
        ({"target": "", "email": "robin@example.com"}, "email", "email finds users, not call centers."),
        ({"target": "", "number": "support"}, "number", 'number is "support": not a phone number.'),
        ({"target_type": "staffgroup"}, "target_type", "Dialpad documents no list of these."),
        ({"target_type": "channel", "office": "Berlin"}, "office", "channels belong to no office."),
        ({"target_id": "x7"}, "target_id", 'target_id is "x7"'),
        ({"ivr_type": "nope"}, "ivr_type", "not one of the documented values"),
    ],
)
def test_a_row_that_names_no_target_or_ivr_is_one_violation(
    read: Any, changed: dict[str, str], path: str, said: str
) -> None:
    for text, suffix in written({**ROW, **changed}):
        violation = only(read(text, suffix))
        assert violation.path == path
        assert said in violation.message
        assert len(violation.message) < 200


def test_every_violation_of_a_row_is_reported_at_once(read: Any) -> None:
    row = {"target_type": "callcenter", "target": "", "ivr_type": "x", "ivr": "", "credential": "X"}
    for text, suffix in written(row):
        assert {path for _, path in where(read(text, suffix))} == {"target", "ivr_type", "ivr", "credential"}


def test_a_misspelt_column_leaves_a_row_of_names_without_a_target(read: Any) -> None:
    row = {("targets" if name == "target" else name): value for name, value in ROW.items()}
    unknown, missing = read(json.dumps([row]), ".json").violations
    assert (unknown.path, unknown.suggestion) == ("targets", "target")
    assert (missing.path, missing.message) == ("target", "The row names no target.")
    assert where(read(as_csv(row))) == [(1, "targets")]


def test_a_missing_column_is_reported_once_with_what_can_stand_in_its_place(read: Any) -> None:
    changes = read("target_type,ivr_type\ncallcenter,HOLD_MUSIC\ncallcenter,MENU\n")
    assert where(changes) == [(1, "target_id"), (1, "ivr_id")]
    assert [violation.hint for violation in changes.violations] == [
        "Add a column named target_id, or target with names.",
        "Add a column named ivr_id, or ivr with names.",
    ]


def test_a_non_text_name_is_a_violation(read: Any) -> None:
    changes = read(json.dumps([{**ROW, "target": 7, "ivr": ["x"]}]), ".json")
    assert where(changes) == [(1, "target"), (1, "ivr")]


def test_rows_of_one_target_by_its_id_conflict_whatever_names_the_ivr(read: Any) -> None:
    by_id = {"target_type": "callcenter", "target_id": "7", "ivr_type": "HOLD_MUSIC"}
    changes = read(json.dumps([{**by_id, "ivr": "Winter"}, {**by_id, "ivr_id": "9"}]), ".json")
    assert only(changes).message == 'ivr_id is 9, but line 1 sets HOLD_MUSIC of callcenter 7 to "Winter".'
