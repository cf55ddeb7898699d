"""What is read from Dialpad's responses, however far they are from the documented shape."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.contract.values import NAME_LIMIT
from dialpad_ivr.dialpad.parsing import ListedIvr, Page, Slot, ivr_name, read_error, read_page, read_slot

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
    assert read_page(body) is None


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
    page = read_page({"items": [{"ivr_type": "A"}, None, {"ivr_type": "B"}], "cursor": "next"})
    assert page == Page((Slot("A", ()), Slot("B", ())), "next")


@pytest.mark.parametrize("cursor", [None, "", 7, ["next"]])
def test_a_page_without_a_readable_cursor_is_the_last_one(cursor: Any) -> None:
    assert read_page({"items": None, "cursor": cursor}) == Page((), None)


def test_a_cursor_that_a_url_cannot_hold_makes_the_page_unreadable() -> None:
    assert read_page({"cursor": "c" * CURSOR_LIMIT}) == Page((), "c" * CURSOR_LIMIT)
    assert read_page({"cursor": "c" * (CURSOR_LIMIT + 1)}) is None


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
