"""The contract of the tasks: their inputs, outputs and outcomes, and the limits that Dialpad documents.

This module is the single source of the JSON schemas and of the task definitions. It imports nothing of the engine, of
HTTP or of pacing. Facts come from Dialpad's reference page of the PATCH ("the reference page") and from its published
OpenAPI document.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

TASK_TYPE: Final = "set_custom_ivr"
LIST_TASK_TYPE: Final = "list_custom_ivrs"

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
LISTED_LIMIT: Final = 500  # IVRs kept in the output of list_custom_ivrs
EXPECTED_LIMIT: Final = 10  # ids in if_selected
NAME_LIMIT: Final = 200  # characters of an IVR's name

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

OkOutcome = Literal["updated", "unchanged", "planned", "valid", "listed"]
TerminalOutcome = Literal["invalid_input", "unauthorized", "forbidden", "not_found", "conflict", "rejected"]
RetriedOutcome = Literal["rate_limited", "unavailable", "unconfirmed"]
Outcome = Literal[OkOutcome, TerminalOutcome, RetriedOutcome]

OK_OUTCOMES: Final[tuple[str, ...]] = get_args(OkOutcome)
TERMINAL_OUTCOMES: Final[tuple[str, ...]] = get_args(TerminalOutcome)
RETRIED_OUTCOMES: Final[tuple[str, ...]] = get_args(RetriedOutcome)
OUTCOMES: Final[tuple[str, ...]] = (*OK_OUTCOMES, *TERMINAL_OUTCOMES, *RETRIED_OUTCOMES)

OUTCOME_MEANINGS: Final[dict[str, str]] = {
    "updated": "Dialpad answered 200 and shows the IVR selected, or shows nothing to the contrary.",
    "unchanged": "Plan mode, or with if_selected: the IVR alone is selected already; nothing was sent.",
    "planned": "Plan mode: the change would be made; nothing was written.",
    "valid": "Validate mode: the input is valid; nothing was sent.",
    "listed": "list_custom_ivrs: the target's IVRs were read, and the one of that name was found if one was asked for.",
    "invalid_input": "The input breaks the schema; nothing was sent. Every violation is in error.field_errors.",
    "unauthorized": "No key was found for the credential profile, or Dialpad answered 401.",
    "forbidden": "Dialpad answered 403: the key is valid but may not do this.",
    "not_found": "Dialpad answered 404: no such target, IVR or slot; or list_custom_ivrs found no IVR of that name.",
    "conflict": "Dialpad answered 409; or another IVR is selected than if_selected says, and nothing was sent; or "
    "list_custom_ivrs found several IVRs of that name.",
    "rejected": "Dialpad refused the request otherwise (another 4xx, or a redirect).",
    "rate_limited": "The waiting budget ran out before Dialpad's rate limit let the request through.",
    "unavailable": "Dialpad could not be reached, did not answer in time, or answered 5xx or 408.",
    "unconfirmed": "The request was sent, but nothing shows that the change was made.",
}


def _int64_pattern() -> str:
    r"""A regular expression for 1 to 2^63-1 in decimal digits, without leading zeros.

    `(?![\s\S])` is the end of the text in ECMA and in Python alike, where `$` lets a final line break through.
    """
    digits = str(INT64_MAX)
    same_length = [
        f"{digits[:i]}[{'1' if i == 0 else '0'}-{int(d) - 1}][0-9]{{{len(digits) - i - 1}}}"
        for i, d in enumerate(digits)
        if int(d) > 0
    ]
    return f"^(?:[1-9][0-9]{{0,{len(digits) - 2}}}|{'|'.join(same_length)}|{digits})(?![\\s\\S])"


_DIGITS: Final = re.compile(_int64_pattern())
_PROFILE_PATTERN: Final = "^[a-z0-9][a-z0-9_]{0,31}(?![\\s\\S])"
_PROFILE: Final = re.compile(_PROFILE_PATTERN)


def _digits(value: Any) -> str:
    """An int64 id as a string of digits. A float without a fraction is an integer in JSON Schema, so here too."""
    if isinstance(value, str) and _DIGITS.search(value):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= INT64_MAX:
        return str(value)
    raise ValueError(f"not a whole number from 1 to {INT64_MAX}")


def _profile(value: Any) -> Any:
    if isinstance(value, str) and not _PROFILE.search(value):
        raise ValueError("not the name of a credential profile")
    return value


def _blank_is(default: str | None) -> BeforeValidator:
    """Null and "" count as absent.

    The engine turns an unset `${workflow.input.x}` into null, and its UI an empty field into "".
    """
    return BeforeValidator(lambda value: default if value is None or value == "" else value)


ID_SCHEMA: Final = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": INT64_MAX},
        {"type": "string", "pattern": _int64_pattern()},
    ]
}
Id = Annotated[str, BeforeValidator(_digits), WithJsonSchema(ID_SCHEMA)]

_EXPECTED_SCHEMA: Final = WithJsonSchema(
    {"anyOf": [{"type": "array", "items": ID_SCHEMA, "maxItems": EXPECTED_LIMIT}, {"enum": ["", None]}]}
)


def _expected(value: Any) -> Any:
    if isinstance(value, list) and len(value) > EXPECTED_LIMIT:
        raise ValueError(f"more than {EXPECTED_LIMIT} ids")
    return tuple(value) if isinstance(value, list) else value


def _name(value: Any) -> Any:
    if isinstance(value, str) and len(value) > NAME_LIMIT:
        raise ValueError(f"longer than {NAME_LIMIT} characters")
    return value.strip() or None if isinstance(value, str) else value


def _choice(values: tuple[str, ...], default: str | None = None) -> WithJsonSchema:
    return WithJsonSchema({"enum": [*values, "", None], "default": default})


CredentialName = Annotated[
    str,
    BeforeValidator(_profile),
    _blank_is("default"),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": _PROFILE_PATTERN}, {"enum": ["", None]}], "default": "default"}
    ),
    Field(
        description="The name of a credential profile of the worker. Never a key.",
        examples=["default"],
    ),
]
# Added by the engine to a dynamic fork's inputs; ignored.
ForkIndex = Annotated[Any, WithJsonSchema({}), Field(alias="__index", exclude=True, description="Ignored.")]


class _TargetInput(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    target_type: TargetType = Field(description="Path: the target's type.", examples=["callcenter"])
    target_id: Id = Field(
        description="Path: the target's id (int64). Write it as a string of digits where JavaScript may handle it.",
        examples=["5502522061422592"],
    )


class SetCustomIvrInput(_TargetInput):
    """Input of `set_custom_ivr`: the path and the body of the documented PATCH, and three fields of this plugin."""

    model_config = ConfigDict(title="Input of set_custom_ivr")

    ivr_type: IvrType = Field(
        description="Path: the slot to fill, e.g. GREETING (voicemail greeting in open hours), CLOSED (in closed "
        "hours), MENU (menu script), HOLD_MUSIC, AUTO_RECORDING (recording prompt of a call center).",
        examples=["HOLD_MUSIC"],
    )
    ivr_id: Id = Field(
        description="Body: the id of the target's existing IVR that the slot shall use (int64).",
        examples=["5127493019721728"],
    )
    select_option: Annotated[SelectOption | None, _blank_is(None), _choice(SELECT_OPTIONS)] = Field(
        default=None,
        description="Body: for call center auto call recording only: set it for inbound or outbound calls. "
        "Absent: both; it is then not sent.",
        examples=["inbound"],
    )
    if_selected: Annotated[tuple[Id, ...] | None, BeforeValidator(_expected), _blank_is(None), _EXPECTED_SCHEMA] = (
        Field(
            default=None,
            description="Make the change only if exactly these IVRs (ids) are selected in the slot now, as the "
            "target's list shows it; [] if none is. Absent: whatever is selected.",
            examples=[["5127493019721729"]],
        )
    )
    credential: CredentialName = "default"
    mode: Annotated[Mode, _blank_is("apply"), _choice(MODES, "apply")] = Field(
        default="apply",
        description="apply: make the change. plan: read what is selected now, never write. "
        "validate: no network at all.",
        examples=["plan"],
    )
    fork_index: ForkIndex = None


class ListCustomIvrsInput(_TargetInput):
    """Input of `list_custom_ivrs`: the query of the documented GET, and what to look for in its answer."""

    model_config = ConfigDict(title="Input of list_custom_ivrs")

    ivr_type: Annotated[IvrType | None, _blank_is(None), _choice(IVR_TYPES)] = Field(
        default=None, description="Only the IVRs of this slot.", examples=["HOLD_MUSIC"]
    )
    name: Annotated[
        str | None,
        BeforeValidator(_name),
        WithJsonSchema({"type": ["string", "null"], "maxLength": NAME_LIMIT}),
    ] = Field(
        default=None,
        description="Find the one IVR of this name: written the same, or else the same but for upper and lower case.",
        examples=["New hold music"],
    )
    credential: CredentialName = "default"
    fork_index: ForkIndex = None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SelectedIvr(_Part):
    """An IVR as Dialpad names it."""

    id: str = Field(description="A string of digits.")
    name: str | None = None


class IvrState(_Part):
    """The slot that the task is about."""

    ivr_type: str | None = None
    selected: SelectedIvr | None = Field(default=None, description="What is selected now, as far as it is known.")
    previous: SelectedIvr | None = Field(default=None, description="What was selected before, where it was read.")


def _exact(value: Any) -> Any:
    """A JSON value with integers that JavaScript would change as strings of digits."""
    match value:
        case dict():
            return {key: _exact(item) for key, item in value.items()}
        case list():
            return [_exact(item) for item in value]
        case int() if abs(value) >= EXACT_IN_JAVASCRIPT:
            return str(value)
        case _:
            return value


class PreparedRequest(_Part):
    """What was sent, or would be. Never holds a credential."""

    method: str
    url: str
    # The output is read in the engine's UI, which would show another id than the one that was sent.
    body: Annotated[dict[str, Any] | None, PlainSerializer(_exact, dict[str, Any] | None)] = Field(
        default=None, description="JSON. An id of 2^53 or more, sent as an integer, is a string of digits here."
    )


class ResponseSummary(_Part):
    """What came back."""

    status_code: int
    elapsed_ms: float
    headers: dict[str, str] = Field(default_factory=dict, description="Those worth reading, names in lower case.")
    body: Annotated[Any, PlainSerializer(_exact, Any)] = Field(default=None, description="Parsed JSON, else text.")
    body_truncated: bool = Field(default=False, description=f"The body was longer than {BODY_LIMIT} bytes and was cut.")


class FieldError(_Part):
    """One violation of the input schema."""

    path: str = Field(description="The field, e.g. target_id; $ for the input itself.")
    rule: str = Field(description="The schema keyword broken, e.g. required, enum, additionalProperties.")
    message: str
    hint: str


class TaskError(_Part):
    """Why the outcome is not ok."""

    code: str = Field(description="Finer than the outcome, e.g. http_404, read_timeout, invalid_input.")
    message: str
    example: dict[str, Any] | None = Field(default=None, description="Of an invalid input: a valid one to start from.")
    field_errors: list[FieldError] = Field(default_factory=list)
    retry_after_seconds: float | None = Field(default=None, description="The pause that Dialpad asked for.")


class TaskOutput(_Part):
    """What both tasks return: the same shape for every outcome, so that a definition can refer to any field."""

    outcome: Outcome | None = Field(description="What happened; null only while the task waits for its turn.")
    ok: bool = Field(description=f"True for {', '.join(OK_OUTCOMES)}.")
    # The engine's UI shows the output in this order: what went wrong comes before what was sent.
    error: TaskError | None = None
    warnings: list[str] = Field(
        default_factory=list, description="What is allowed but probably not meant, or what an answer leaves open."
    )
    ivr: IvrState = Field(default_factory=IvrState)
    request: PreparedRequest | None = None
    response: ResponseSummary | None = None
    attempts: int = Field(
        default=0, description="How often the task's own call was sent, over all retries: PATCHes, or pages read."
    )
    waited_ms: int = Field(default=0, description="Milliseconds spent waiting for permits and pauses.")


class SetCustomIvrOutput(TaskOutput):
    """Output of `set_custom_ivr`."""

    model_config = ConfigDict(title="Output of set_custom_ivr")


class FoundIvr(_Part):
    """An IVR of a target."""

    id: str = Field(description="A string of digits.")
    name: str | None = None
    ivr_type: str | None = Field(default=None, description="The slot that it is for.")
    selected: bool | None = Field(default=None, description="Whether it is selected; null where Dialpad does not say.")


class ListCustomIvrsOutput(TaskOutput):
    """Output of `list_custom_ivrs`."""

    model_config = ConfigDict(title="Output of list_custom_ivrs")

    found: FoundIvr | None = Field(default=None, description="The one IVR of the name asked for.")
    ivrs: list[FoundIvr] = Field(
        default_factory=list, description=f"The target's IVRs, or those of ivr_type; at most {LISTED_LIMIT}."
    )


TaskInput = SetCustomIvrInput | ListCustomIvrsInput
INPUTS: Final[dict[str, type[TaskInput]]] = {TASK_TYPE: SetCustomIvrInput, LIST_TASK_TYPE: ListCustomIvrsInput}
OUTPUTS: Final[dict[str, type[TaskOutput]]] = {TASK_TYPE: SetCustomIvrOutput, LIST_TASK_TYPE: ListCustomIvrsOutput}

ENDPOINTS: Final[dict[str, tuple[str, str]]] = {TASK_TYPE: ("PATCH", PATCH_PATH), LIST_TASK_TYPE: ("GET", LIST_PATH)}
"""Each task's documented call: method and path."""


@cache
def input_schema(task_type: str = TASK_TYPE) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a task's input. Made once: do not change it."""
    return _compact(INPUTS[task_type].model_json_schema(by_alias=True))


@cache
def input_fields(task_type: str = TASK_TYPE) -> dict[str, dict[str, Any]]:
    """The fields of a task's input that a person fills in, each with its JSON schema. Made once: do not change it."""
    return {name: rule for name, rule in input_schema(task_type)["properties"].items() if not name.startswith("__")}


def choices(rule: dict[str, Any]) -> list[str]:
    """The documented values of a field, without those that stand for none; empty where any are possible."""
    return [choice for choice in rule.get("enum", ()) if choice]


@cache
def output_schema(task_type: str = TASK_TYPE) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a task's output. Made once: do not change it."""
    return _compact(OUTPUTS[task_type].model_json_schema(mode="serialization"))


def _compact(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the titles that pydantic derives from names: the engine copies the schema into every polled task."""

    def strip(node: Any, *, top: bool = False) -> Any:
        if isinstance(node, dict):
            return {
                k: ({n: strip(s) for n, s in v.items()} if k in ("properties", "$defs") else strip(v))
                for k, v in node.items()
                if top or k != "title"
            }
        return [strip(item) for item in node] if isinstance(node, list) else node

    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **strip(schema, top=True)}
