"""Parse Dialpad's responses. Every field may be null, missing or of another type than documented: nothing here raises.

106 of the 117 examples in Dialpad's OpenAPI document violate their own schema (int64 values as strings), so a response
is never validated, only read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dialpad_ivr.contract.values import NAME_LIMIT

_MESSAGE_LIMIT = 300  # characters of an error message
_DIGITS_LIMIT = 19  # of an int64
_CURSOR_LIMIT = 4000  # characters; a URL has at most 65,536, and one character may take twelve of them
_TYPE_LIMIT = 64  # of a slot's type, which the output repeats for each IVR; the longest documented has 34


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
class Page:
    """A page of a target's slots, and the cursor of the next one."""

    slots: tuple[Slot, ...]
    cursor: str | None


def read_slot(body: Any) -> Slot | None:
    """The slot in the response to the PATCH; `None` if that is not a JSON object."""
    if not isinstance(body, dict):
        return None
    ivr_type, listed = body.get("ivr_type"), body.get("ivrs")
    ivrs = (_read_ivr(entry) for entry in listed) if isinstance(listed, list) else ()
    short_type = ivr_type[:_TYPE_LIMIT] if isinstance(ivr_type, str) else None
    return Slot(short_type, tuple(ivr for ivr in ivrs if ivr is not None))


def read_page(body: Any) -> Page | None:
    """The page in the response to the GET; `None` if that is not a JSON object or its cursor is too long to send."""
    if not isinstance(body, dict):
        return None
    items, cursor = body.get("items"), body.get("cursor")
    if isinstance(cursor, str) and len(cursor) > _CURSOR_LIMIT:
        return None
    slots = (read_slot(item) for item in items) if isinstance(items, list) else ()
    return Page(
        tuple(slot for slot in slots if slot is not None), cursor if isinstance(cursor, str) and cursor else None
    )


def ivr_name(body: Any, ivr_id: str) -> str | None:
    """The name of an IVR, if the body of a response to the GET or the PATCH shows it."""
    page, slot = read_page(body), read_slot(body)
    slots = (*(page.slots if page else ()), *([slot] if slot else []))
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
    if not isinstance(entry, dict):
        return None
    ivr_id, name, selected = entry.get("id"), entry.get("name"), entry.get("selected")
    digits = str(ivr_id) if isinstance(ivr_id, int | str) and not isinstance(ivr_id, bool) else ""
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _DIGITS_LIMIT):
        return None
    return ListedIvr(
        id=str(int(digits)),
        name=name[:NAME_LIMIT] if isinstance(name, str) else None,
        selected=selected if isinstance(selected, bool) else None,
    )
