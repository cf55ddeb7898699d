"""Names that nobody expects, and what goes wrong between a file and its targets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from dialpad_ivr.provisioning.changes import Changes
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.local_run import run_locally
from dialpad_ivr.testing.double import DoubleControl
from support.changes import NAMED, ReadRows, only, planned, snapshot_of

CENTER, HEAD_OFFICE = "5502522061422592", "5502522061422602"
NAMES = [
    'a "b", c',
    "two\nlines",
    "tab\there; and more",
    "\U0001f600 \u202eevil\u202c",
    "\x1b[31mred\x07",
    "=HYPERLINK(1)",
    "-1",
    "[red]x[/red] # not a comment",
    "null",
    "0012",
    "x" * 200,
]


def delimited(delimiter: str) -> Callable[[list[dict[str, str]]], str]:
    def text(rows: list[dict[str, str]]) -> str:
        file = io.StringIO()
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue()

    return text


def target(number: int, name: str, **values: Any) -> dict[str, Any]:
    """A call center whose slot has an IVR of its own name, and another one that is selected."""
    ivrs = [{"id": str(1000 + 2 * number), "name": name}, {"id": str(1001 + 2 * number), "name": "another"}]
    slot = {"ivr_type": "HOLD_MUSIC", "ivrs": ivrs, "selected": ivrs[1]["id"]}
    return {"target_type": "callcenter", "target_id": str(number), "name": name, "slots": [slot], **values}


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        (".csv", delimited(",")),
        (".csv", delimited(";")),
        (".tsv", delimited("\t")),
        (".json", json.dumps),
        (".yaml", yaml.safe_dump),
    ],
    ids=["commas", "semicolons", "tabs", "json", "yaml"],
)
async def test_any_name_is_found_whatever_the_format_of_the_file(
    read: Any, company: Settings, double: DoubleControl, suffix: str, write: Callable[[list[dict[str, str]]], str]
) -> None:
    double.set_state(*(target(number, name) for number, name in enumerate(NAMES, start=1)))
    changes: Changes = read(write([{**NAMED, "target": name, "ivr": name} for name in NAMES]), suffix)
    assert not changes.violations
    rows = planned(await snapshot_of(changes.changes, company))
    assert [(row.target_id, row.target_name, row.ivr_id, row.ivr_name, row.action) for row in rows] == [
        (str(number), name, str(1000 + 2 * number), name, "change") for number, name in enumerate(NAMES, start=1)
    ]


@pytest.mark.parametrize("column", ["target", "office", "ivr"])
def test_a_name_of_ten_thousand_characters_is_refused_in_few_words(read: Any, column: str) -> None:
    violation = only(read(json.dumps([{**NAMED, column: "\u202e\n" * 5000}]), ".json"))
    assert violation.path == column
    assert "at most 200 characters" in violation.hint
    assert len(violation.message) + len(violation.hint) < 300
    assert violation.message.isprintable()


async def test_a_name_that_dialpad_cuts_is_found_by_its_beginning(read_rows: ReadRows, double: DoubleControl) -> None:
    double.set_state(target(7, "x" * 10_000))
    (row,) = planned(await read_rows({"target": "xxx*", "ivr": "xxx*"}))
    assert (row.target_id, row.ivr_id, len(row.target_name or "")) == ("7", "1014", 200)


async def test_what_is_renamed_or_removed_after_the_plan_is_changed_or_not_found(
    read_rows: ReadRows, company: Settings, double: DoubleControl
) -> None:
    double.set_state(*(target(number, f"Center {number}") for number in (1, 2, 3)))
    rows = planned(await read_rows({"target": "Center*", "ivr": "Center*"}))
    # The name of the first is given to another, which the plan does not mean.
    double.set_state(target(1, "Renamed"), target(3, "Center 3"), target(4, "Center 1"))
    results = [
        await run_locally(
            {
                **row.model_dump(include={"target_type", "target_id", "ivr_type", "ivr_id"}),
                "if_selected": [ivr.id for ivr in row.previous],
            },
            company,
            send=True,
        )
        for row in rows
    ]
    assert [result.output.outcome for result in results] == ["updated", "not_found", "updated"]
    selected = {each["target_id"]: each["slots"][0]["selected"]["inbound"] for each in double.state()}
    assert selected == {"1": "1002", "3": "1006", "4": "1009"}


async def test_a_list_of_ivrs_that_breaks_half_way_is_not_taken_for_a_missing_ivr(
    read_rows: ReadRows, double: DoubleControl
) -> None:
    double.add_faults(
        {"fault": "status", "status": 500, "skip": 1, "times": None, "match": {"path": "/api/v2/customivrs"}}
    )
    rows = planned(await read_rows({"ivr": "No such IVR"}, {"ivr_type": "GREETING", "ivr": "Holiday greeting"}))
    assert [row.action for row in rows] == ["unreadable", "unreadable"]
    assert all("Dialpad answered 500" in row.note for row in rows)


def page(*items: dict[str, Any], cursor: str | None = None) -> dict[str, Any]:
    body = {"items": list(items), "cursor": cursor}
    return {"fault": "status", "status": 200, "times": None, "body": body, "match": {"path": "/api/v2/callcenters"}}


async def test_a_cursor_that_repeats_is_not_taken_for_no_such_target(
    read_rows: ReadRows, double: DoubleControl
) -> None:
    double.add_faults(page({"id": "1", "name": "Another"}, cursor="again"))
    (row,) = planned(await read_rows({}))
    assert (row.action, row.target_id) == ("unreadable", "")
    assert "leads back to a page that was read before" in row.note


@pytest.mark.parametrize("as_listed", [int, str])
async def test_ids_may_be_numbers_or_text_in_lists_and_in_files(
    read_rows: ReadRows, double: DoubleControl, as_listed: Callable[[str], Any]
) -> None:
    double.add_faults(page({"id": as_listed(CENTER), "name": "Support", "office_id": as_listed(HEAD_OFFICE)}))
    for office, target_id in ((HEAD_OFFICE, CENTER), (int(HEAD_OFFICE), int(CENTER))):
        (row,) = planned(await read_rows({"office": office, "target_id": target_id}))
        assert (row.target_id, row.office_name, row.action) == (CENTER, "Head office", "change")


@pytest.mark.long
async def test_ten_thousand_users_are_read_once_and_searched_for_each_row(
    read_rows: ReadRows, double: DoubleControl
) -> None:
    double.configure(page_size=100)
    ivrs = [{"id": "8", "name": "new"}, {"id": "9", "name": "old"}]
    slots = [{"ivr_type": "VM_DROP_MESSAGE", "ivrs": ivrs, "selected": "9"}]
    double.set_state(
        *(
            {"target_type": "user", "target_id": str(number), "name": f"User {number}", "slots": slots}
            for number in range(1, 10_001)
        )
    )
    row = {"target_type": "user", "ivr_type": "VM_DROP_MESSAGE", "ivr": "new"}
    rows = planned(await read_rows(*({**row, "target": f"User {number}"} for number in range(9_951, 10_001))))
    assert [int(row.target_id) for row in rows] == list(range(9_951, 10_001))
    assert sum(arrival["path"] == "/api/v2/users" for arrival in double.ledger()) == 100
