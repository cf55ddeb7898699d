"""Which slots callers cannot hear, compared with what Dialpad's OpenAPI document says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dialpad_ivr.contract import playback
from dialpad_ivr.contract.playback import CallHandling, may_be_silent, why_silent
from dialpad_ivr.contract.values import IVR_TYPES, TARGET_TYPES

OPENAPI = json.loads((Path(__file__).parents[2] / "data" / "dialpad-targets.openapi.json").read_text())
SCHEMAS = OPENAPI["components"]["schemas"]
CLOSED_TYPES = [each for each in IVR_TYPES if "CLOSED" in each]
MENU_TYPES = ["MENU", "MENU_OPTION"]

# Everything can be heard, and nothing can.
AUDIBLE = CallHandling(
    hours_on=True,
    first_action="menu",
    open_action="menu",
    closed_action="menu",
    records_inbound=True,
    records_outbound=True,
)
SILENT = CallHandling(
    hours_on=False,
    closed_now=False,
    first_action="operators",
    no_operators_action="voicemail",
    open_action="voicemail",
    closed_action="voicemail",
    records_inbound=False,
    records_outbound=False,
)


def silent(target_type: str, handling: CallHandling, option: str | None = None) -> set[str]:
    return {ivr_type for ivr_type in IVR_TYPES if why_silent(target_type, ivr_type, option, handling)}


@pytest.mark.parametrize(
    ("target_type", "ivr_types"),
    [
        ("callcenter", {*CLOSED_TYPES, *MENU_TYPES, "AUTO_RECORDING"}),
        ("department", {*CLOSED_TYPES, *MENU_TYPES}),
        ("office", {"CLOSED_MENU", "CLOSED_MENU_OPTION", *MENU_TYPES}),  # it has no hours_on
        *((target_type, set()) for target_type in TARGET_TYPES if target_type not in playback.ROUTED_TYPES),
    ],
)
def test_a_slot_is_silent_only_where_the_settings_of_its_target_say_so(target_type: str, ivr_types: set[str]) -> None:
    assert silent(target_type, SILENT) == ivr_types
    assert {ivr_type for ivr_type in IVR_TYPES if may_be_silent(target_type, ivr_type)} == ivr_types
    assert silent(target_type, AUDIBLE) == set()
    assert silent(target_type, CallHandling()) == set()


@pytest.mark.parametrize(
    ("ivr_type", "change", "is_silent"),
    [
        ("CLOSED", {"closed_now": True}, False),  # a holiday, for one
        ("CLOSED", {"hours_on": None}, False),
        ("MENU", {"first_action": "menu"}, False),
        ("MENU", {"open_action": "menu"}, False),
        ("MENU", {"no_operators_action": "menu"}, False),
        ("MENU", {"closed_action": "menu"}, True),
        ("MENU", {"open_action": None}, False),
        ("MENU", {"first_action": None}, False),
        ("MENU", {"no_operators_action": None}, True),
        ("CLOSED_MENU", {"hours_on": True}, True),
        ("CLOSED_MENU", {"hours_on": True, "closed_action": "menu"}, False),
        ("AUTO_RECORDING", {"records_inbound": None}, False),
        ("AUTO_RECORDING", {"records_outbound": True}, False),
    ],
)
def test_one_way_to_be_heard_or_one_unknown_setting_is_enough(
    ivr_type: str, change: dict[str, bool | str | None], is_silent: bool
) -> None:
    assert bool(why_silent("callcenter", ivr_type, None, replace(SILENT, **change))) is is_silent  # type: ignore[arg-type]


def test_a_prompt_for_one_direction_needs_the_recording_of_that_direction() -> None:
    inbound = replace(SILENT, records_inbound=True)
    assert why_silent("callcenter", "AUTO_RECORDING", "inbound", inbound) == ""
    assert "records no outbound calls" in why_silent("callcenter", "AUTO_RECORDING", "outbound", inbound)
    assert "no inbound or outbound calls" in why_silent("callcenter", "AUTO_RECORDING", None, SILENT)


def test_what_is_said_names_the_slot_and_the_setting() -> None:
    assert why_silent("callcenter", "CLOSED", None, SILENT) == (
        "Callers cannot hear CLOSED now: the target is always open (hours_on is false)."
    )
    assert why_silent("office", "CLOSED_MENU", None, SILENT) == (
        "Callers cannot hear CLOSED_MENU now: no call leads to a menu in closed hours "
        "(first_action is operators, routing_options.closed voicemail)."
    )


def test_the_values_and_the_types_of_the_settings_are_the_documented_ones() -> None:
    names = {
        "callcenter": "group.CallCenterProto",
        "department": "group.DepartmentProto",
        "office": "office.OfficeProto",
    }
    properties = {target_type: SCHEMAS[f"schemas.{name}"]["properties"] for target_type, name in names.items()}
    assert tuple(properties) == playback.ROUTED_TYPES
    assert tuple(each for each in properties if "hours_on" in properties[each]) == playback.ALWAYS_OPEN_TYPES
    for shown in properties.values():
        assert tuple(shown["first_action"]["enum"]) == playback.FIRST_ACTIONS
        assert tuple(shown["no_operators_action"]["enum"]) == playback.ROUTING_ACTIONS
    routing = SCHEMAS["schemas.group.RoutingOptionsInner"]["properties"]["action"]["enum"]
    assert tuple(routing) == playback.ROUTING_ACTIONS


def test_the_docs_name_the_slots_that_callers_may_not_hear() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "changes.md").read_text()
    section = page.partition("## What callers hear\n")[2].partition("\n## ")[0]
    documented = {name for name in re.findall(r"`([A-Z_]+)`", section) if name in IVR_TYPES}
    depending = (ivr_type for ivr_type in IVR_TYPES if any(may_be_silent(each, ivr_type) for each in TARGET_TYPES))
    assert documented == set(depending)
