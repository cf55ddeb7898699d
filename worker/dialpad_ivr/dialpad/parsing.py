"""Parse Dialpad's responses. Every field may be null, missing or of another type than documented: nothing here raises.

106 of the 117 examples in Dialpad's OpenAPI document violate their own schema (int64 values as strings), so a response
is never validated, only read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dialpad_ivr.contract.playback import FIRST_ACTIONS, ROUTING_ACTIONS, CallHandling
from dialpad_ivr.contract.values import NAME_LIMIT

_MESSAGE_LIMIT = 300  # characters of an error message
_DIGITS_LIMIT = 19  # of an int64
_CURSOR_LIMIT = 4000  # characters; a URL has at most 65,536, and one character may take twelve of them
_TEXTS_LIMIT = 100  # phone numbers or addresses of a target
_TYPE_LIMIT = 64  # of a slot's type, which the output repeats for each IVR; the longest documented has 34
_CLOSED = ("closed", "holiday_closed")  # of availability_status
_UNKNOWN_HANDLING = CallHandling()  # of most targets: one object for all of them

Item = TypeVar("Item")


@dataclass(frozen=True)
class ListedIvr:
    """An IVR of a slot: its id as a string of digits, and whether it is selected (`None`: unknown)."""

    id: str
    name: str | None
    selected: bool | None


@dataclass(frozen=True)
class Slot:
    """A slot of a target, and the IVRs that it can use."""

    ivr_type: str | None
    ivrs: tuple[ListedIvr, ...]

    def find(self, ivr_id: str) -> ListedIvr | None:
        """The IVR of that id."""
        return next((ivr for ivr in self.ivrs if ivr.id == ivr_id), None)

    def selected(self) -> ListedIvr | None:
        """The IVR that is selected; the first, should several be (inbound and outbound, for one)."""
        return next((ivr for ivr in self.ivrs if ivr.selected), None)

    def all_selected(self) -> set[str]:
        """The ids of all that are selected."""
        return {ivr.id for ivr in self.ivrs if ivr.selected}

    def selection_unknown(self) -> bool:
        """Whether the response does not show what is selected."""
        return not self.all_selected() and any(ivr.selected is None for ivr in self.ivrs)


@dataclass(frozen=True)
class ListedTarget:
    """A target as a list shows it.

    Attributes:
        office_id: Of an office, its own.
        numbers: Its phone numbers.
        emails: A user's addresses.
        timezone: Its own, as it is shown; perhaps no IANA name.
        handling: What is shown of how it handles calls.
    """

    id: str
    name: str | None
    office_id: str | None
    numbers: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    timezone: str | None = None
    handling: CallHandling = _UNKNOWN_HANDLING


@dataclass(frozen=True)
class NumberOwner:
    """What a phone number belongs to."""

    target_type: str | None
    target_id: str | None


@dataclass(frozen=True)
class Page(Generic[Item]):
    """A page of a list, and the cursor of the next one."""

    items: tuple[Item, ...]
    cursor: str | None


def read_slot(body: Any) -> Slot | None:
    """The slot in the response to the PATCH; `None` if that is not a JSON object."""
    if not isinstance(body, dict):
        return None
    ivr_type, listed = body.get("ivr_type"), body.get("ivrs")
    ivrs = (_read_ivr(entry) for entry in listed) if isinstance(listed, list) else ()
    short_type = ivr_type[:_TYPE_LIMIT] if isinstance(ivr_type, str) else None
    return Slot(short_type, tuple(ivr for ivr in ivrs if ivr is not None))


def read_page(body: Any, read_item: Callable[[Any], Item | None]) -> Page[Item] | None:
    """The page in the response to a list.

    Args:
        body: The response.
        read_item: Reads an item; one that it cannot read is left out.

    Returns:
        `None` if it is not a JSON object with a list, or if its cursor is too long to send. Null stands for an empty
        list.
    """
    if not isinstance(body, dict):
        return None
    listed, cursor = body.get("items"), body.get("cursor")
    if not isinstance(listed, list | None) or (isinstance(cursor, str) and len(cursor) > _CURSOR_LIMIT):
        return None
    items = (read_item(entry) for entry in listed or ())
    return Page(
        tuple(item for item in items if item is not None), cursor if isinstance(cursor, str) and cursor else None
    )


def read_target(entry: Any) -> ListedTarget | None:
    """The target in an item of a list, or in the response to a GET of one; `None` without an id, or if it is deleted.

    A user has a `display_name`, everything else a `name`.
    """
    target_id = _id(entry.get("id")) if isinstance(entry, dict) else None
    if target_id is None or entry.get("state") == "deleted":
        return None
    given = (entry.get(name) for name in ("name", "display_name"))
    first_and_last = " ".join(part for name in ("first_name", "last_name") if isinstance(part := entry.get(name), str))
    names = (text for text in (*given, first_and_last) if isinstance(text, str) and text.strip())
    return ListedTarget(
        id=target_id,
        name=next((text[:NAME_LIMIT] for text in names), None),
        office_id=_id(entry.get("office_id")),
        numbers=_texts(entry.get("phone_numbers")),
        emails=_texts(entry.get("emails")),
        timezone=timezone[:NAME_LIMIT] if isinstance(timezone := entry.get("timezone"), str) and timezone else None,
        handling=_read_handling(entry),
    )


def read_number(body: Any) -> NumberOwner | None:
    """What a number belongs to, in the response to the GET of a number; `None` if that is not a JSON object."""
    if not isinstance(body, dict):
        return None
    target_type = body.get("target_type")
    return NumberOwner(target_type[:_TYPE_LIMIT] if isinstance(target_type, str) else None, _id(body.get("target_id")))


def ivr_name(body: Any, ivr_id: str) -> str | None:
    """The name of an IVR, if the body of a response to the GET or the PATCH shows it."""
    page, slot = read_page(body, read_slot), read_slot(body)
    slots = (*(page.items if page else ()), *([slot] if slot else []))
    return next((ivr.name for each in slots if (ivr := each.find(ivr_id)) and ivr.name), None)


def read_error(body: Any) -> str | None:
    """The message of an error response, in any of the shapes seen in the wild; the beginning of a plain text."""
    candidates: list[Any] = []
    if isinstance(body, dict):
        errors = body.get("errors")
        candidates = [body.get("error"), *(errors if isinstance(errors, list) else []), body]
    elif isinstance(body, str) and not body.lstrip().startswith("<"):  # an HTML page has no one-line message
        candidates = [body]
    for candidate in candidates:
        text = candidate.get("message") if isinstance(candidate, dict) else candidate
        if isinstance(text, str) and text.strip():
            return " ".join(text.split())[:_MESSAGE_LIMIT]
    return None


def _read_ivr(entry: Any) -> ListedIvr | None:
    ivr_id = _id(entry.get("id")) if isinstance(entry, dict) else None
    if ivr_id is None:
        return None
    name, selected = entry.get("name"), entry.get("selected")
    return ListedIvr(
        id=ivr_id,
        name=name[:NAME_LIMIT] if isinstance(name, str) else None,
        selected=selected if isinstance(selected, bool) else None,
    )


def _read_handling(entry: dict[str, Any]) -> CallHandling:
    """How a call center, a department or an office handles calls."""
    routing, advanced = _object(entry.get("routing_options")), _object(entry.get("advanced_settings"))
    recording, availability = _object(advanced.get("auto_call_recording")), entry.get("availability_status")
    handling = CallHandling(
        hours_on=_boolean(entry.get("hours_on")),
        closed_now=availability in _CLOSED if isinstance(availability, str) else None,
        first_action=_one_of(FIRST_ACTIONS, entry.get("first_action")),
        no_operators_action=_one_of(ROUTING_ACTIONS, entry.get("no_operators_action")),
        open_action=_one_of(ROUTING_ACTIONS, _object(routing.get("open")).get("action")),
        closed_action=_one_of(ROUTING_ACTIONS, _object(routing.get("closed")).get("action")),
        records_inbound=_boolean(recording.get("call_recording_inbound")),
        records_outbound=_boolean(recording.get("call_recording_outbound")),
    )
    return _UNKNOWN_HANDLING if handling == _UNKNOWN_HANDLING else handling


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _one_of(values: tuple[str, ...], value: Any) -> str | None:
    return value if isinstance(value, str) and value in values else None


def _id(value: Any) -> str | None:
    """An int64, which may come as a number or as a string, as a string of digits."""
    digits = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _DIGITS_LIMIT):
        return None
    return str(int(digits))


def _texts(listed: Any) -> tuple[str, ...]:
    texts = (text for text in listed if isinstance(text, str)) if isinstance(listed, list) else ()
    return tuple(text[:NAME_LIMIT] for text in texts)[:_TEXTS_LIMIT]
