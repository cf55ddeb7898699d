"""The state of each row of a file, compared with what the double has selected."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.provisioning.changes import read_changes
from dialpad_ivr.provisioning.drift import CheckedRow, check_rows, counts, drift_csv, drift_report
from dialpad_ivr.provisioning.reader import open_reader
from dialpad_ivr.testing.double import DoubleControl
from support.changes import snapshot_of, unpaced

CENTER = "5502522061422592"
ROW = {"target_type": "callcenter", "target": "Support", "ivr_type": "HOLD_MUSIC", "ivr": "Winter hold music"}
Check = Callable[..., Coroutine[Any, Any, list[CheckedRow]]]


@pytest.fixture
def check(double: DoubleControl, tmp_path: Path) -> Check:
    async def of(*rows: dict[str, Any]) -> list[CheckedRow]:
        file = tmp_path / "changes.json"
        file.write_text("[" + ",\n".join(json.dumps({**ROW, **row}) for row in rows) + "]")
        changes = read_changes(file)
        assert not changes.violations
        async with open_reader(unpaced(double)) as reader:
            return await check_rows(changes.changes, reader, lambda *_: None)

    return of


async def test_each_row_has_its_state_and_a_name_that_means_nothing_does_not_end_the_check(check: Check) -> None:
    checked = await check(
        {"target": "*upport"},
        {"target": "Hot*", "ivr": "Summer hold music"},
        {"target": "Suport"},
        {"target": "Hotline", "ivr_type": "CLOSED"},
        {"target": "Support", "ivr_type": "GREETING"},
        {"target": "Support", "ivr_type": "CLOSED", "ivr": "*losed*"},
        {"target": None, "target_id": 7},
        {"target": None, "target_id": CENTER, "ivr": "Summer hold music"},
        {"target": "Support Berlin", "office": "Lisbon"},
        {"target": None, "target_id": CENTER, "credential": "none", "ivr_type": "AUTO_RECORDING"},
    )
    found = [(each.row.line, each.state) for each in checked]
    assert found == [
        (1, "in_sync"),
        (2, "differs"),
        (2, "differs"),
        (3, "missing_target"),
        (4, "ambiguous_target"),
        (5, "missing_ivr"),
        (6, "ambiguous_ivr"),
        (7, "missing_target"),
        (8, "conflict"),
        (9, "missing_target"),
        (10, "unreadable"),
    ]
    assert counts(checked)["differs"] == 2
    assert 'Did you mean "Support' in checked[3].row.note
    assert (checked[3].row.target_name, checked[3].row.target_id) == ("Suport", "")
    assert "but line 1 sets HOLD_MUSIC of callcenter" in checked[8].row.note


async def test_all_rows_of_a_target_take_one_call(check: Check, double: DoubleControl) -> None:
    slots = ("HOLD_MUSIC", "GREETING", "CLOSED", "AUTO_RECORDING")
    checked = await check(*({"target": None, "target_id": CENTER, "ivr_type": slot} for slot in slots))
    assert [each.state for each in checked] == ["in_sync", "missing_ivr", "missing_ivr", "missing_ivr"]
    assert [arrival["path"] for arrival in double.ledger()] == ["/api/v2/customivrs"]


@pytest.mark.parametrize(
    ("selected", "state"),
    [
        ("10", "in_sync"),
        ({"inbound": "10", "outbound": None}, "in_sync"),
        ("11", "differs"),
        (None, "differs"),
        ({"inbound": "11", "outbound": "10"}, "unreadable"),  # the list shows both, and not which is which
    ],
)
async def test_a_row_for_one_direction_is_compared_as_far_as_the_list_shows(
    check: Check, double: DoubleControl, selected: Any, state: str
) -> None:
    ivrs = [{"id": "10", "name": "Ten"}, {"id": "11", "name": "Eleven"}]
    slot = {"ivr_type": "AUTO_RECORDING", "ivrs": ivrs, "selected": selected}
    double.set_state({"target_type": "callcenter", "target_id": "1", "name": "Support", "slots": [slot]})
    (found,) = await check({"ivr_type": "AUTO_RECORDING", "ivr": "Ten", "select_option": "inbound"})
    assert found.state == state


async def test_a_list_that_breaks_half_way_is_not_taken_for_a_missing_target(
    check: Check, double: DoubleControl
) -> None:
    double.configure(page_size=2)
    double.add_faults(
        {"fault": "status", "status": 500, "skip": 1, "times": None, "match": {"path": "/api/v2/callcenters"}}
    )
    checked = await check({"target": "No such name"}, {"target": None, "target_id": CENTER})
    assert [each.state for each in checked] == ["unreadable", "in_sync"]


async def test_the_report_has_each_row_with_what_is_wanted_and_selected(check: Check, double: DoubleControl) -> None:
    checked = await check({"ivr": "Summer hold music"}, {"target": "=1+1"})
    report = drift_report(checked, double.url, "changes.json")
    assert (report["in_sync"], report["counts"]) == (False, {"differs": 1, "missing_target": 1})
    assert report["rows"][0]["selected"] == [{"id": "5127493019721729", "name": "Winter hold music"}]
    assert (report["rows"][0]["ivr_id"], report["rows"][0]["target_id"]) == ("5127493019721728", CENTER)
    rows = list(csv.DictReader(io.StringIO(drift_csv(checked))))
    assert [(row["state"], row["target"]) for row in rows] == [("differs", "Support"), ("missing_target", "'=1+1")]
    assert rows[0]["selected"] == "Winter hold music (5127493019721729)"


@pytest.mark.long
async def test_ten_thousand_names_that_mean_nothing_do_not_take_minutes(double: DoubleControl, tmp_path: Path) -> None:
    double.configure(page_size=1000)
    double.set_state(synthetic=5000)
    file = tmp_path / "changes.json"
    file.write_text(json.dumps([{**ROW, "target": f"Call centre {number}"} for number in range(10_000)]))
    changes = read_changes(file).changes
    began = time.process_time()
    violations = (await snapshot_of(changes, unpaced(double))).violations
    assert time.process_time() - began < 10
    assert len(violations) == 10_000
    assert "Did you mean" in violations[0].hint
