"""Answers the calls that read targets: the company's and an office's lists, one target, and the target of a number.

As people report of Dialpad, `office_id` in the query of call centers and departments has no effect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from dialpad_ivr.contract.values import TARGET_TYPES
from dialpad_ivr.local.double.request import FakeRead, cursor_to
from dialpad_ivr.local.double.response import FakeResponse, json_response
from dialpad_ivr.local.double.state import FakeNotFoundError, FakeState, FakeTarget

_STATUSES: Final = {"callcenter": "call_center", "callrouter": "call_router"}
_IGNORES_OFFICE: Final = ("callcenter", "department")


def answer(read: FakeRead, state: FakeState, page_size: int) -> FakeResponse:
    """The response to a valid read.

    Raises:
        FakeNotFoundError: There is no such office, target or number.
    """
    if read.route.target_type is None:
        return json_response(_number(read.segments["number"], state))
    if read.route.query is None:
        return json_response(_shown(_find(state, read.route.target_type, read.segments["id"])))
    targets = state.of_type(read.route.target_type)
    if "office_id" in read.segments:
        office_id = _find(state, "office", read.segments["office_id"]).target_id
        targets = [target for target in targets if target.office_id == office_id]
    targets = [target for target in targets if _passes(target, read.query)]
    end = read.first + page_size
    return json_response(
        {
            "cursor": cursor_to(end) if end < len(targets) else "",
            "items": [_shown(target) for target in targets[read.first : end]],
        }
    )


def _find(state: FakeState, target_type: str, target_id: str) -> FakeTarget:
    for target in state.of_type(target_type):
        if target.target_id == target_id:
            return target
    raise FakeNotFoundError("There is no such target.")


def _number(number: str, state: FakeState) -> dict[str, Any]:
    """The details of a number, which counts by its digits."""
    everything = (target for target_type in TARGET_TYPES for target in state.of_type(target_type))
    target = next((target for target in everything if _has_number(target, number)), None)
    if target is None:
        raise FakeNotFoundError("There is no such number.")
    return {
        "number": number,
        "office_id": target.office_id,
        "status": _STATUSES.get(target.target_type, target.target_type),
        "target_id": target.target_id,
        "target_type": target.target_type,
        "type": "local",
    }


def _passes(target: FakeTarget, query: Mapping[str, str]) -> bool:
    checks: dict[str, Callable[[str], bool]] = {
        "email": lambda email: email.casefold() in (each.casefold() for each in target.emails),
        "number": lambda number: _has_number(target, number),
        "name_search": lambda part: part in target.name,
        "office_id": lambda office: target.target_type in _IGNORES_OFFICE or target.office_id == office,
        "state": lambda state: target.target_type == "channel" or state in ("active", "all"),
        "company_admin": lambda admin: admin == "false",
    }
    return all(checks[name](value) for name, value in query.items() if name in checks)


def _has_number(target: FakeTarget, number: str) -> bool:
    return re.sub(r"\D", "", number) in (re.sub(r"\D", "", each) for each in target.numbers)


def _shown(target: FakeTarget) -> dict[str, Any]:
    """A target as Dialpad shows it in part: ids are strings of digits."""
    own: dict[str, Any]
    match target.target_type:
        case "channel":
            return {"id": target.target_id, "name": target.name}
        case "user":
            first_name, _, last_name = target.name.partition(" ")
            own = {
                "display_name": target.name,
                "emails": target.emails,
                "first_name": first_name,
                "last_name": last_name,
            }
        case "callrouter":
            own = {"name": target.name, "enabled": True}
        case "callcenter" | "department":
            own = {"name": target.name, "hours_on": False}  # the documented default
        case _:
            own = {"name": target.name}
    state = {} if target.target_type == "callrouter" else {"state": "active"}
    return {
        "id": target.target_id,
        **own,
        "office_id": target.office_id,
        "phone_numbers": target.numbers,
        **state,
        **target.settings,
    }
