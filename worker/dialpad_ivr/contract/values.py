"""The contract of the tasks: their inputs, outputs and outcomes, and the limits that Dialpad documents.

This module is the single source of the JSON schemas and of the task definitions. It imports nothing of the engine, of
HTTP or of pacing. Facts come from Dialpad's reference page of the PATCH ("the reference page") and from its published
OpenAPI document.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

TASK_TYPE: Final = "set_custom_ivr"
LIST_TASK_TYPE: Final = "list_custom_ivrs"
TARGETS_TASK_TYPE: Final = "list_targets"

# The documented call, and the documented list of a target's IVRs that confirms it.
PATCH_PATH: Final = "/api/v2/customivrs/{target_type}/{target_id}/{ivr_type}"
LIST_PATH: Final = "/api/v2/customivrs"
API_URLS: Final = ("https://dialpad.com", "https://sandbox.dialpad.com")

# Reference page: "Rate limit: 1200 per minute".
# Dialpad's rate-limit page: 20 requests a second for a company, all calls together.
PATCH_LIMIT: Final = 1200
PATCH_WINDOW_SECONDS: Final = 60.0
COMPANY_LIMIT: Final = 20
COMPANY_WINDOW_SECONDS: Final = 1.0

INT64_MAX: Final = 2**63 - 1
# From here on, a number that passed through JavaScript (the engine's UI, for one) may have lost digits: 2^53 itself is
# what it makes of 2^53 + 1.
EXACT_IN_JAVASCRIPT: Final = 2**53
BODY_LIMIT: Final = 16 * 1024  # bytes of a response's body kept in the output
LIST_LIMIT: Final = 50  # field errors, and warnings, kept in the output
LISTED_LIMIT: Final = 500  # IVRs, or targets, kept in the output of a list
EXPECTED_LIMIT: Final = 10  # ids in if_selected
NAME_LIMIT: Final = 200  # characters of an IVR's or a target's name

TargetType = Literal[
    "callcenter",
    "callrouter",
    "channel",
    "coachinggroup",
    "coachingteam",
    "department",
    "office",
    "room",
    "staffgroup",
    "unknown",
    "user",
]

IvrType = Literal[
    "ASK_FIRST_OPERATOR_NOT_AVAILABLE",
    "AUTO_RECORDING",
    "CALLAI_AUTO_RECORDING",
    "CG_AUTO_RECORDING",
    "CLOSED",
    "CLOSED_DEPARTMENT_INTRO",
    "CLOSED_MENU",
    "CLOSED_MENU_OPTION",
    "CSAT_INTRO",
    "CSAT_OUTRO",
    "CSAT_PREAMBLE",
    "CSAT_QUESTION",
    "DEPARTMENT_INTRO",
    "GREETING",
    "HOLD_AGENT_READY",
    "HOLD_APPREC",
    "HOLD_CALLBACK_ACCEPT",
    "HOLD_CALLBACK_ACCEPTED",
    "HOLD_CALLBACK_CONFIRM",
    "HOLD_CALLBACK_CONFIRM_NUMBER",
    "HOLD_CALLBACK_DIFFERENT_NUMBER",
    "HOLD_CALLBACK_DIRECT",
    "HOLD_CALLBACK_FULFILLED",
    "HOLD_CALLBACK_INVALID_NUMBER",
    "HOLD_CALLBACK_KEYPAD",
    "HOLD_CALLBACK_REJECT",
    "HOLD_CALLBACK_REJECTED",
    "HOLD_CALLBACK_REQUEST",
    "HOLD_CALLBACK_REQUESTED",
    "HOLD_CALLBACK_SAME_NUMBER",
    "HOLD_CALLBACK_TRY_AGAIN",
    "HOLD_CALLBACK_UNDIALABLE",
    "HOLD_ESCAPE_VM_EIGHT",
    "HOLD_ESCAPE_VM_FIVE",
    "HOLD_ESCAPE_VM_FOUR",
    "HOLD_ESCAPE_VM_NINE",
    "HOLD_ESCAPE_VM_ONE",
    "HOLD_ESCAPE_VM_POUND",
    "HOLD_ESCAPE_VM_SEVEN",
    "HOLD_ESCAPE_VM_SIX",
    "HOLD_ESCAPE_VM_STAR",
    "HOLD_ESCAPE_VM_TEN",
    "HOLD_ESCAPE_VM_THREE",
    "HOLD_ESCAPE_VM_TWO",
    "HOLD_ESCAPE_VM_ZERO",
    "HOLD_INTERRUPT",
    "HOLD_INTRO",
    "HOLD_MUSIC",
    "HOLD_POSITION_EIGHT",
    "HOLD_POSITION_FIVE",
    "HOLD_POSITION_FOUR",
    "HOLD_POSITION_MORE",
    "HOLD_POSITION_NINE",
    "HOLD_POSITION_ONE",
    "HOLD_POSITION_SEVEN",
    "HOLD_POSITION_SIX",
    "HOLD_POSITION_TEN",
    "HOLD_POSITION_THREE",
    "HOLD_POSITION_TWO",
    "HOLD_POSITION_ZERO",
    "HOLD_WAIT",
    "MENU",
    "MENU_OPTION",
    "NEXT_TARGET",
    "VM_DROP_MESSAGE",
    "VM_UNAVAILABLE",
    "VM_UNAVAILABLE_CLOSED",
]

SelectOption = Literal["inbound", "outbound"]
Mode = Literal["apply", "plan", "validate"]

TARGET_TYPES: Final[tuple[str, ...]] = get_args(TargetType)
IVR_TYPES: Final[tuple[str, ...]] = get_args(IvrType)
SELECT_OPTIONS: Final[tuple[str, ...]] = get_args(SelectOption)
MODES: Final[tuple[str, ...]] = get_args(Mode)

# Reference page: select_option is "For call center auto call recording only".
SELECT_OPTION_APPLIES_TO: Final = ("callcenter", "AUTO_RECORDING")
# From Dialpad's page of IVR types. No matrix is documented, so a mismatch is a warning, never an error.
USUAL_TARGET_OF: Final = {
    "VM_DROP_MESSAGE": "user",
    "CG_AUTO_RECORDING": "coachinggroup",
    "AUTO_RECORDING": "callcenter",
}
