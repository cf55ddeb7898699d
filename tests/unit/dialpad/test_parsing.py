"""What is read from Dialpad's responses, however far they are from the documented shape."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.contract.playback import CallHandling
from dialpad_ivr.contract.values import NAME_LIMIT
from dialpad_ivr.dialpad.parsing import (
    ListedIvr,
    ListedTarget,
    NumberOwner,
    Page,
    Slot,
    ivr_name,
    read_error,
    read_number,
    read_page,
    read_slot,
    read_target,
)

CURSOR_LIMIT, TYPE_LIMIT, MESSAGE_LIMIT = 4000, 64, 300


def listed(ivr_id: str, *, selected: bool | None = None, name: str | None = None) -> ListedIvr:
    return ListedIvr(ivr_id, name, selected)


def read_ivrs(*entries: Any) -> tuple[ListedIvr, ...]:
    slot = read_slot({"ivrs": list(entries)})
    assert slot is not None
    return slot.ivrs


def test_a_slot_as_documented() -> None:
    body = {
        "ivr_type": "MENU",
        "ivrs": [
            {"id": "1003", "name": "Morning", "selected": True, "date_added": "1356998400000"},
            {"id": "1004", "name": "Evening", "selected": False},
        ],
    }
    assert read_slot(body) == Slot("MENU", (ListedIvr("1003", "Morning", True), ListedIvr("1004", "Evening", False)))


@pytest.mark.parametrize("body", [None, "text", 7, [], [{"ivr_type": "MENU"}]])
def test_what_is_no_object_is_neither_slot_nor_page(body: Any) -> None:
    assert read_slot(body) is None
    assert read_page(body, read_slot) is None


@pytest.mark.parametrize("listed_as", [None, {}, "7", 7])
def test_a_slot_without_a_list_is_empty(listed_as: Any) -> None:
    assert read_slot({"ivr_type": 5, "ivrs": listed_as}) == Slot(None, ())


@pytest.mark.parametrize(
    ("ivr_id", "read"),
    [
        ("7", "7"),
        (7, "7"),
        ("007", "7"),
        ("9" * 19, "9" * 19),
        ("9" * 20, None),
        (True, None),
        (7.0, None),
        (-7, None),
        ("", None),
        ("x", None),
        ("\u0667", None),
        ("7\u00b2", None),
        (None, None),
    ],
)
def test_an_id_is_digits_as_a_number_or_a_string(ivr_id: Any, read: str | None) -> None:
    # What has no id is left out, and what follows is read.
    assert [ivr.id for ivr in read_ivrs({"id": ivr_id}, {"id": "1"})] == [*([read] if read else []), "1"]


def test_an_ivr_that_is_no_object_is_left_out() -> None:
    assert read_ivrs(None, 7, "7", [7], {"id": "1"}) == (listed("1"),)


@pytest.mark.parametrize(("selected", "read"), [(True, True), (False, False), (None, None), ("true", None), (1, None)])
def test_only_a_boolean_says_whether_an_ivr_is_selected(selected: Any, read: bool | None) -> None:
    assert read_ivrs({"id": "1", "selected": selected}) == (listed("1", selected=read),)


def test_names_and_types_are_cut_to_what_the_output_holds() -> None:
    assert read_ivrs({"id": "1", "name": "n" * 1000}) == (listed("1", name="n" * NAME_LIMIT),)
    assert read_ivrs({"id": "1", "name": 5}) == (listed("1"),)
    assert read_slot({"ivr_type": "T" * 1000}) == Slot("T" * TYPE_LIMIT, ())


def test_the_selection_of_a_slot() -> None:
    one, two, off, unknown = (
        listed("1", selected=True),
        listed("2", selected=True),
        listed("3", selected=False),
        listed("4"),
    )
    slot = Slot("MENU", (off, one, two))
    assert slot.find("2") == two
    assert slot.find("9") is None
    assert slot.selected() == one
    assert slot.all_selected() == {"1", "2"}
    assert Slot("MENU", (off,)).selected() is None
    # It is known as soon as one IVR is selected, and where each says that it is not.
    assert [Slot("MENU", ivrs).selection_unknown() for ivrs in ((off, unknown), (one, unknown), (off,), ())] == [
        True,
        False,
        False,
        False,
    ]


def test_a_page_holds_its_slots_and_the_next_cursor() -> None:
    page = read_page({"items": [{"ivr_type": "A"}, None, {"ivr_type": "B"}], "cursor": "next"}, read_slot)
    assert page == Page((Slot("A", ()), Slot("B", ())), "next")


@pytest.mark.parametrize("cursor", [None, "", 7, ["next"]])
def test_a_page_without_a_readable_cursor_is_the_last_one(cursor: Any) -> None:
    assert read_page({"items": None, "cursor": cursor}, read_slot) == Page((), None)


def test_a_cursor_that_a_url_cannot_hold_makes_the_page_unreadable() -> None:
    assert read_page({"cursor": "c" * CURSOR_LIMIT}, read_slot) == Page((), "c" * CURSOR_LIMIT)
    assert read_page({"cursor": "c" * (CURSOR_LIMIT + 1)}, read_slot) is None


@pytest.mark.parametrize("items", [{}, "text", 7, True])
def test_items_that_are_no_list_make_the_page_unreadable(items: Any) -> None:
    assert read_page({"items": items}, read_slot) is None


def test_a_target_as_documented() -> None:
    body = {
        "id": "1001",
        "name": "Seaside",
        "office_id": 124,
        "phone_numbers": ["+14155551002", None],
        "emails": ["a@example.com"],
        "state": "active",
        "timezone": "US/Pacific",
    }
    assert read_target(body) == ListedTarget(
        "1001", "Seaside", "124", ("+14155551002",), ("a@example.com",), "US/Pacific"
    )


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"display_name": "Robin Doe", "first_name": "R"}, "Robin Doe"),
        ({"name": " ", "display_name": "Robin Doe"}, "Robin Doe"),
        ({"display_name": None, "first_name": "Robin", "last_name": "Doe"}, "Robin Doe"),
        ({"first_name": "Robin", "last_name": None}, "Robin"),
        ({"name": ["x"], "first_name": 5}, None),
        ({"name": "n" * 10_000}, "n" * NAME_LIMIT),
        ({}, None),
    ],
)
def test_the_name_of_a_target_is_the_first_that_it_has(fields: dict[str, Any], name: str | None) -> None:
    assert read_target({"id": 1, **fields}) == ListedTarget("1", name, None)


@pytest.mark.parametrize(
    "body", [None, "text", [], {}, {"id": None}, {"id": "x"}, {"id": True}, {"id": 1, "state": "deleted"}]
)
def test_a_target_without_an_id_or_deleted_is_none(body: Any) -> None:
    assert read_target(body) is None


@pytest.mark.parametrize(
    ("timezone", "read"), [(None, None), ("", None), (5, None), (["UTC"], None), ("z" * 10_000, "z" * NAME_LIMIT)]
)
def test_the_time_zone_of_a_target_is_a_text_of_limited_length_or_none(timezone: Any, read: str | None) -> None:
    assert read_target({"id": 1, "timezone": timezone}) == ListedTarget("1", None, None, timezone=read)


def test_numbers_of_a_target_are_cut_and_odd_lists_are_none() -> None:
    assert read_target({"id": 1, "phone_numbers": "+1", "emails": {"a": 1}}) == ListedTarget("1", None, None)
    read = read_target({"id": 1, "phone_numbers": ["5" * 10_000] * 1000})
    assert read is not None
    assert (len(read.numbers), len(read.numbers[0])) == (100, NAME_LIMIT)


def test_a_number_belongs_to_a_target_or_to_none() -> None:
    assert read_number({"target_type": "office", "target_id": "5"}) == NumberOwner("office", "5")
    assert read_number({"status": "available"}) == NumberOwner(None, None)
    assert read_number({"target_type": "X" * 1000, "target_id": "x"}) == NumberOwner("X" * TYPE_LIMIT, None)
    assert read_number([]) is None


def test_the_name_of_an_ivr_is_found_in_either_response() -> None:
    patched = {"ivrs": [{"id": "1"}, {"id": "2", "name": "two"}]}
    assert ivr_name(patched, "2") == "two"
    assert ivr_name(patched, "1") is None
    assert ivr_name(patched, "3") is None
    # In another slot of the list the same IVR may have no name.
    assert ivr_name({"items": [{"ivrs": [{"id": "2"}]}, patched]}, "2") == "two"
    assert ivr_name("text", "2") is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("Bad  Gateway\n", "Bad Gateway"),
        ("  <!doctype html><p>login</p>", None),
        ("a < b", "a < b"),
        ("   ", None),
        ({"error": "e", "errors": ["x"], "message": "m"}, "e"),
        ({"error": {"message": " "}, "errors": [{"code": 1}, {"message": "second"}], "message": "m"}, "second"),
        ({"error": {"code": 5}, "errors": {"message": "no list"}, "message": "m"}, "m"),
        ({"error": 5}, None),
        ({}, None),
        (["m"], None),
        (None, None),
        ("m" * 1000, "m" * MESSAGE_LIMIT),
    ],
)
def test_the_message_of_an_error_is_the_first_that_says_something(body: Any, message: str | None) -> None:
    assert read_error(body) == message


def handling(**entry: Any) -> CallHandling:
    target = read_target({"id": "7", **entry})
    assert target is not None
    return target.handling


def test_how_calls_are_handled_is_read_as_documented() -> None:
    assert handling(
        hours_on=False,
        availability_status="open",
        first_action="operators",
        no_operators_action="voicemail",
        routing_options={"open": {"action": "menu"}, "closed": {"action": "message"}},
        advanced_settings={"auto_call_recording": {"call_recording_inbound": True, "call_recording_outbound": False}},
    ) == CallHandling(
        hours_on=False,
        closed_now=False,
        first_action="operators",
        no_operators_action="voicemail",
        open_action="menu",
        closed_action="message",
        records_inbound=True,
        records_outbound=False,
    )
    assert [handling(availability_status=f"{holiday}closed").closed_now for holiday in ("", "holiday_")] == [True, True]


@pytest.mark.parametrize(
    "value", [None, "false", "new_action", "\x1b[31m", 0, 7, [], {}, [{}], {"open": None, "closed": []}]
)
def test_a_setting_of_no_documented_value_is_not_known(value: Any) -> None:
    names = ("hours_on", "first_action", "no_operators_action", "routing_options", "advanced_settings")
    nested = {
        "routing_options": {"open": {"action": value}, "closed": {"action": value}},
        "advanced_settings": {
            "auto_call_recording": {"call_recording_inbound": value, "call_recording_outbound": value}
        },
    }
    assert handling(**dict.fromkeys(names, value)) == handling(**nested) == CallHandling()


def test_targets_of_which_nothing_is_known_share_one_object() -> None:
    assert handling() is handling(hours_on="unknown")
