"""What a slot needs so that callers hear it, as far as Dialpad documents it.

Its page of IVR types says in which hours a slot plays, and its OpenAPI document what the settings of a call center, a
department and an office mean. Nothing is said of hold queues, surveys and other types of targets, so neither is here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

ALWAYS_OPEN_TYPES: Final = ("callcenter", "department")
"""The types that have `hours_on`. An office has hours for each day, and no documented way to be always open."""

ROUTED_TYPES: Final = (*ALWAYS_OPEN_TYPES, "office")
"""The types that say where calls lead."""

FIRST_ACTIONS: Final = ("menu", "operators")
ROUTING_ACTIONS: Final = (
    "bridge_target",
    "company_directory",
    "department",
    "directory",
    "disabled",
    "extension",
    "menu",
    "message",
    "operator",
    "person",
    "scripted_ivr",
    "voicemail",
)


@dataclass(frozen=True)
class CallHandling:
    """The settings of a target that decide what its callers hear; `None` where they are not known.

    Attributes:
        hours_on: Whether it has opening hours; without them it always takes calls.
        closed_now: Whether it is closed at present, for whatever reason.
        first_action: What a call meets first; one of `FIRST_ACTIONS`.
        no_operators_action: What it meets when no operator takes it; one of `ROUTING_ACTIONS`, as are the next two.
        open_action: The same, in open hours.
        closed_action: The same, in closed hours.
        records_inbound: Whether inbound calls are recorded automatically.
        records_outbound: Whether outbound calls are.
    """

    hours_on: bool | None = None
    closed_now: bool | None = None
    first_action: str | None = None
    no_operators_action: str | None = None
    open_action: str | None = None
    closed_action: str | None = None
    records_inbound: bool | None = None
    records_outbound: bool | None = None


def may_be_silent(target_type: str, ivr_type: str) -> bool:
    """Whether it depends on the target's settings if callers hear a slot."""
    return any(target_type in need.target_types for need in _NEEDS.get(ivr_type, ()))


def why_silent(target_type: str, ivr_type: str, select_option: str | None, handling: CallHandling) -> str:
    """Why callers cannot hear a slot with these settings, as a sentence; empty if they can, or if that is not known."""
    for need in _NEEDS.get(ivr_type, ()):
        reason = need.reason(handling, select_option) if target_type in need.target_types else ""
        if reason:
            return f"Callers cannot hear {ivr_type} now: {reason}."
    return ""


class _Need(NamedTuple):
    """A condition on the settings of some types of targets, and what is said where it is not met."""

    target_types: tuple[str, ...]
    reason: Callable[[CallHandling, str | None], str]


def _closed_hours(handling: CallHandling, _: str | None) -> str:
    """CallCenterProto and DepartmentProto: hours_on false "means the call center will always take calls (24/7)"."""
    if handling.hours_on is False and not handling.closed_now:
        return "the target is always open (hours_on is false)"
    return ""


def _menu_in(hours: str, action_of: Callable[[CallHandling], str | None]) -> Callable[[CallHandling, str | None], str]:
    """A menu is met first, or when no operator takes the call."""

    def reason(handling: CallHandling, _: str | None) -> str:
        action = action_of(handling)
        if handling.first_action is None or action is None:
            return ""
        if "menu" in (handling.first_action, handling.no_operators_action, action):
            return ""
        settings = f"first_action is {handling.first_action}, routing_options.{hours} {action}"
        return f"no call leads to a menu in {hours} hours ({settings})"

    return reason


def _recording(handling: CallHandling, select_option: str | None) -> str:
    """AutoCallRecording: which calls "get automatically recorded"; the slot is the prompt of that."""
    recorded = {"inbound": handling.records_inbound, "outbound": handling.records_outbound}
    prompted = [select_option] if select_option in recorded else list(recorded)
    if any(recorded[direction] is not False for direction in prompted):
        return ""
    return f"the target records no {' or '.join(prompted)} calls automatically"


_IN_CLOSED_HOURS: Final = _Need(ALWAYS_OPEN_TYPES, _closed_hours)
_OPEN_MENU: Final = _Need(ROUTED_TYPES, _menu_in("open", lambda handling: handling.open_action))
_CLOSED_MENU: Final = _Need(ROUTED_TYPES, _menu_in("closed", lambda handling: handling.closed_action))

_NEEDS: Final[dict[str, tuple[_Need, ...]]] = {
    "AUTO_RECORDING": (_Need(("callcenter",), _recording),),
    "CLOSED": (_IN_CLOSED_HOURS,),
    "CLOSED_DEPARTMENT_INTRO": (_IN_CLOSED_HOURS,),
    "CLOSED_MENU": (_IN_CLOSED_HOURS, _CLOSED_MENU),
    "CLOSED_MENU_OPTION": (_IN_CLOSED_HOURS, _CLOSED_MENU),
    "MENU": (_OPEN_MENU,),
    "MENU_OPTION": (_OPEN_MENU,),
    "VM_UNAVAILABLE_CLOSED": (_IN_CLOSED_HOURS,),
}
