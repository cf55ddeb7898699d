"""What is wrong with a value that is no id, and how to fix it. Spreadsheets, above all, damage ids."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any, Final

from dialpad_ivr.contract.targets import LISTED_TYPES
from dialpad_ivr.contract.values import INT64_MAX, LIST_TASK_TYPE, TARGET_TYPES

_QUOTES: Final = "'`\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}"
_SEPARATORS: Final = "., '_\N{RIGHT SINGLE QUOTATION MARK}\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"
_AS_TEXT: Final = "In a spreadsheet, format the column as text first."

_TOO_LARGE: Final = f"too large: the largest id is {INT64_MAX}"
LOST_DIGITS: Final = f"Look the id up again: its last digits are lost. {_AS_TEXT}"

_DAMAGE: Final = tuple(
    (re.compile(pattern), problem, fix)
    for pattern, problem, fix in (
        ("[+-]?[0-9]+([.,][0-9]*)?[eE][+-]?[0-9]+", "scientific notation, which loses digits", LOST_DIGITS),
        (
            f"[0-9]{{1,3}}([{_SEPARATORS}][0-9]{{3}})+",
            "a number with thousands separators",
            f"Write the digits only. {_AS_TEXT}",
        ),
        (
            "[0-9]+[.,][0-9]*",
            "a number with decimals",
            f"Write the digits only; compare them with Dialpad, as some may be lost. {_AS_TEXT}",
        ),
        (f"[{_QUOTES}][0-9]+", "an id with a leading apostrophe", "Delete the apostrophe."),
        (r"\s*[0-9]+\s*", "an id with blanks around it", "Delete the blanks."),
    )
)
# Two letters in a row, and nothing that an address or a path has.
_NAME: Final = re.compile(r"(?=.*[^\W\d_]{2})[\w .,&()+'\u2019-]+")
_ID: Final = re.compile("[1-9][0-9]{0,18}")


def id_problem(name: str, value: Any, payload: Mapping[str, Any]) -> tuple[str, str | None]:
    """What is wrong with a value that is no id.

    Args:
        name: The field's name.
        value: Any JSON value that the schema rejects.
        payload: The input that holds it.

    Returns:
        The problem, and how to fix it; `None` where the field's usual hint says so.
    """
    match value:
        case None | "" | {}:
            return "an id is needed", None
        case bool() | dict() | list():
            return "not a number or a string of digits", None
        case float() if not value.is_integer():
            return "not a whole number", None
        case int() | float():
            return _TOO_LARGE if value > INT64_MAX else "ids start at 1", None
        case _:
            return _text_problem(name, str(value), payload)


def _text_problem(name: str, text: str, payload: Mapping[str, Any]) -> tuple[str, str | None]:
    if text.isascii() and text.isdigit():
        if not text.strip("0"):
            return "ids start at 1", None
        return "leading zeros are not allowed" if text.startswith("0") else _TOO_LARGE, None
    for pattern, problem, fix in _DAMAGE:
        if pattern.fullmatch(text):
            return problem, fix
    if is_name(text):
        fix = _find_target(text, payload) if name == "target_id" else _find_ivr(payload)
        return "a name, where an id is needed", fix
    return "a string must hold digits only", None


def is_name(text: str) -> bool:
    """Whether a text that is no id looks like a name."""
    return bool(_NAME.fullmatch(text))


def _find_target(text: str, payload: Mapping[str, Any]) -> str:
    """The command that finds a target by its name."""
    target_type = payload.get("target_type")
    words = ("dialpad-ivr", "targets", *([str(target_type)] if target_type in LISTED_TYPES else []), "--name", text)
    return f"Find its id with: {shlex.join(words)}"


def _find_ivr(payload: Mapping[str, Any]) -> str:
    """The command that lists the target's IVRs; what is wrong with the target itself is not repeated in it."""
    target_type, target_id = payload.get("target_type"), payload.get("target_id")
    target = {
        "target_type": target_type if target_type in TARGET_TYPES else "callcenter",
        "target_id": str(target_id) if _ID.fullmatch(str(target_id)) else "TARGET_ID",
    }
    return f"Find the id with: dialpad-ivr run {LIST_TASK_TYPE}_test_request --input '{json.dumps(target)}'"
