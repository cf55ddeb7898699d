"""Notes on what callers cannot hear now, from the settings that the double's company has."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.testing.double import DoubleControl
from support.changes import ReadRows, planned

CENTER, HEAD_OFFICE = "5502522061422592", "5502522061422602"
ALWAYS_OPEN = "Callers cannot hear CLOSED now: the target is always open (hours_on is false)."
CLOSED = {"ivr_type": "CLOSED", "ivr": "Closed for the holidays"}
BY_ID = {"target": None, "target_id": CENTER}


def settings_read(double: DoubleControl) -> list[str]:
    """The paths of the single targets that were read."""
    return [arrival["path"] for arrival in double.ledger() if arrival["path"].rsplit("/", 1)[1].isdecimal()]


def company(*targets: dict[str, Any]) -> list[dict[str, Any]]:
    """Call centers with a CLOSED and an AUTO_RECORDING, each with the IVRs "old", which is selected, and "new"."""
    return [
        {
            "target_type": "callcenter",
            "target_id": str(number),
            "name": f"Center {number}",
            "slots": [
                {
                    "ivr_type": ivr_type,
                    "ivrs": [{"id": "1", "name": "old"}, {"id": "2", "name": "new"}],
                    "selected": "1",
                }
                for ivr_type in ("AUTO_RECORDING", "CLOSED")
            ],
            **target,
        }
        for number, target in enumerate(targets, start=1)
    ]


async def test_a_target_found_by_name_is_noted_without_another_call(read_rows: ReadRows, double: DoubleControl) -> None:
    snapshot = await read_rows(CLOSED, {})
    assert [row.note for row in planned(snapshot)] == [ALWAYS_OPEN, ""]
    assert {row.action for row in snapshot.rows} == {"change"}
    assert (settings_read(double), snapshot.warnings) == ([], ())


async def test_a_target_found_by_number_is_read_once(read_rows: ReadRows, double: DoubleControl) -> None:
    (row,) = planned(await read_rows({**CLOSED, "target": None, "number": "+14155551000"}))
    assert row.note == ALWAYS_OPEN
    assert settings_read(double) == [f"/api/v2/callcenters/{CENTER}"]


async def test_a_target_given_by_its_id_is_read_once_whatever_its_rows(
    read_rows: ReadRows, double: DoubleControl
) -> None:
    double.set_state(
        *company({"settings": {"advanced_settings": {"auto_call_recording": {"call_recording_inbound": False}}}})
    )
    recording = {"target": None, "target_id": "1", "ivr_type": "AUTO_RECORDING", "ivr": "new"}
    rows = planned(
        await read_rows(
            {**recording, "ivr_type": "CLOSED"},
            {**recording, "select_option": "inbound"},
            {**recording, "select_option": "outbound"},
        )
    )
    assert [row.note for row in rows] == [
        ALWAYS_OPEN,
        "Callers cannot hear AUTO_RECORDING now: the target records no inbound calls automatically.",
        "",
    ]
    assert settings_read(double) == ["/api/v2/callcenters/1"]


@pytest.mark.parametrize(
    "row",
    [
        {},  # a slot that plays in any hours
        {**CLOSED, "ivr": "We are closed"},  # nothing to change
        {**CLOSED, "ivr": "No such IVR"},
        {"target_type": "office", "target_id": HEAD_OFFICE, "ivr_type": "CLOSED", "ivr": "Office closed, new"},
        {
            "target_type": "user",
            "target_id": "5502522061422603",
            "ivr_type": "VM_DROP_MESSAGE",
            "ivr": "Sorry I missed you",
        },
    ],
)
async def test_no_target_is_read_whose_settings_do_not_matter(
    read_rows: ReadRows, double: DoubleControl, row: dict[str, str]
) -> None:
    snapshot = await read_rows({**BY_ID, **row})
    assert (len(planned(snapshot)), snapshot.warnings) == (1, ())
    assert {arrival["path"] for arrival in double.ledger()} == {"/api/v2/customivrs"}


@pytest.mark.parametrize(
    "settings",
    [{"hours_on": True}, {"hours_on": None}, {"hours_on": "false"}, {"availability_status": "holiday_closed"}],
)
async def test_a_target_that_closes_or_does_not_say_has_no_note(
    read_rows: ReadRows, double: DoubleControl, settings: dict[str, Any]
) -> None:
    double.set_state(*company({"settings": settings}))
    (row,) = planned(await read_rows({"target": None, "target_id": "1", "ivr_type": "CLOSED", "ivr": "new"}))
    assert (row.action, row.note) == ("change", "")


async def test_a_menu_is_noted_where_no_call_leads_to_one(read_rows: ReadRows, double: DoubleControl) -> None:
    menu = {"target_type": "office", "target": "Head office", "ivr_type": "MENU", "ivr": "Main menu, new"}
    assert [row.note for row in planned(await read_rows(menu))] == [""]
    (office,) = [target for target in double.state() if target["target_id"] == HEAD_OFFICE]
    double.set_state({**office, "settings": {**office["settings"], "first_action": "operators"}})
    assert [row.note for row in planned(await read_rows(menu))] == [""]  # it is met when no operator takes the call
    routing = {each: {"action": "voicemail", "try_dial_operators": True} for each in ("open", "closed")}
    double.set_state({**office, "settings": {"first_action": "operators", "routing_options": routing}})
    (row,) = planned(await read_rows(menu))
    assert row.note.startswith("Callers cannot hear MENU now: no call leads to a menu in open hours (")


async def test_what_cannot_be_read_is_said_once_and_keeps_no_row_from_its_plan(
    read_rows: ReadRows, double: DoubleControl
) -> None:
    double.set_state(*company({}, {}, {}, {}))
    for number, status in ((1, 403), (2, 404), (3, 500)):
        path = f"/api/v2/callcenters/{number}"
        double.add_faults({"fault": "status", "status": status, "times": None, "match": {"path": path}})
    row = {"target": None, "ivr_type": "CLOSED", "ivr": "new"}
    snapshot = await read_rows(*({**row, "target_id": str(number)} for number in range(1, 5)))
    assert [row.action for row in planned(snapshot)] == ["change"] * 4
    assert [row.note for row in snapshot.rows] == ["", "", "", ALWAYS_OPEN]
    (warning,) = snapshot.warnings
    assert "is not known for 3 of 4 targets: their settings could not be read." in warning
    assert warning.count("GET /api/v2/callcenters/{id}: Dialpad answered ") == 1


async def test_a_note_comes_after_what_was_noted_already(read_rows: ReadRows, double: DoubleControl) -> None:
    (target,) = company({})
    slot = {"ivr_type": "CLOSED", "ivrs": [{"id": "2", "name": "new"}], "selected": None}
    double.set_state({**target, "slots": [slot]})
    (row,) = planned(await read_rows({"target": "Center 1", "ivr_type": "CLOSED", "ivr": "new"}))
    assert row.note.startswith("Cannot be rolled back: ")
    assert row.note.endswith(f" {ALWAYS_OPEN}")
