"""The inputs of the tasks: path, query and body of the documented calls, and the fields of this plugin."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from dialpad_ivr.contract.targets import LISTED_TYPES, ListedType
from dialpad_ivr.contract.values import (
    EXPECTED_LIMIT,
    INT64_MAX,
    IVR_TYPES,
    MODES,
    NAME_LIMIT,
    SELECT_OPTIONS,
    IvrType,
    Mode,
    SelectOption,
    TargetType,
)


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


PROFILE: Final = re.compile(_PROFILE_PATTERN)
"""What the name of a credential profile looks like."""


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
    if isinstance(value, str) and not PROFILE.search(value):
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


SHORT_ID_SCHEMA: Final = {
    "type": ["integer", "string"],
    "minimum": 1,
    "maximum": INT64_MAX,
    "pattern": f"^[1-9][0-9]{{0,{len(str(INT64_MAX)) - 1}}}$",
}
"""What to tell of an id where space is short: it accepts a little more than `ID_SCHEMA`."""


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


_Name = Annotated[
    str | None, BeforeValidator(_name), WithJsonSchema({"type": ["string", "null"], "maxLength": NAME_LIMIT})
]


def _office(value: Any) -> Any:
    """An office's id or name, as a text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _digits(value)
    return _name(value)


def _written_as(pattern: str) -> BeforeValidator:
    """A text must match; null and "" pass."""
    regex = re.compile(pattern)

    def check(value: Any) -> Any:
        if isinstance(value, str) and value and not regex.search(value):
            raise ValueError("not written as it must be")
        return value

    return BeforeValidator(check)


def _text_schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "string", "pattern": pattern}, {"enum": ["", None]}]})


# As people write them: Dialpad's are E.164, and what separates the digits is left out.
_NUMBER_PATTERN: Final = r"^\+?[0-9][0-9 ().-]{1,38}(?![\s\S])"
# Enough to tell an address from a name: which addresses there are only Dialpad knows.
_EMAIL_PATTERN: Final = r"^[!-?A-~]{1,64}@[!-?A-~]{1,189}(?![\s\S])"


def _choice(values: tuple[str, ...], default: str | None = None) -> WithJsonSchema:
    return WithJsonSchema({"enum": [*values, "", None], "default": default})


# Where a field's value goes: like OpenAPI's `in`, with body, and with plugin for the fields of this plugin.
Place = Literal["path", "query", "body", "plugin"]
_PATH, _QUERY, _BODY, _PLUGIN = ({"x-in": place} for place in get_args(Place))


CredentialName = Annotated[
    str,
    BeforeValidator(_profile),
    _blank_is("default"),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": _PROFILE_PATTERN}, {"enum": ["", None]}], "default": "default"}
    ),
    Field(
        description="The credential profile: the name of one of the worker's API keys. Never a key.",
        examples=["default"],
        json_schema_extra=_PLUGIN,
    ),
]


# Added by the engine to a dynamic fork's inputs; ignored.
ForkIndex = Annotated[Any, WithJsonSchema({}), Field(alias="__index", exclude=True, description="Ignored.")]


_TargetType = Annotated[
    TargetType,
    Field(
        description="What the target is: a call center, an office, a user, ... whose callers hear the IVR.",
        examples=["callcenter"],
    ),
]
_TargetId = Annotated[
    Id,
    Field(
        description="The target's id: digits only.",
        examples=["5502522061422592"],
    ),
]


class SetCustomIvrInput(BaseModel):
    """Input of `set_custom_ivr`: the path and the body of the documented PATCH, and three fields of this plugin."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, title="Input of set_custom_ivr")

    target_type: _TargetType = Field(json_schema_extra=_PATH)
    target_id: _TargetId = Field(json_schema_extra=_PATH)
    ivr_type: IvrType = Field(
        description="The slot: where the target plays an IVR, e.g. GREETING (voicemail greeting in open hours), CLOSED "
        "(in closed hours), MENU (menu script), HOLD_MUSIC, AUTO_RECORDING (recording prompt of a call center).",
        examples=["HOLD_MUSIC"],
        json_schema_extra=_PATH,
    )
    ivr_id: Id = Field(
        description="The id of the IVR that the slot shall use: digits only. list_custom_ivrs shows the target's.",
        examples=["5127493019721728"],
        json_schema_extra=_BODY,
    )
    select_option: Annotated[SelectOption | None, _blank_is(None), _choice(SELECT_OPTIONS)] = Field(
        default=None,
        description="For call center auto call recording only: inbound or outbound calls. "
        "Absent: both; it is then not sent.",
        examples=["inbound"],
        json_schema_extra=_BODY,
    )
    if_selected: Annotated[tuple[Id, ...] | None, BeforeValidator(_expected), _blank_is(None), _EXPECTED_SCHEMA] = (
        Field(
            default=None,
            description="Make the change only if exactly these IVRs (ids) are selected in the slot now; [] for "
            "none. Absent: whatever is selected.",
            examples=[["5127493019721729"]],
            json_schema_extra=_PLUGIN,
        )
    )
    credential: CredentialName = "default"
    mode: Annotated[Mode, _blank_is("apply"), _choice(MODES, "apply")] = Field(
        default="apply",
        description="apply: make the change. plan: read what is selected now, never write. "
        "validate: no network at all.",
        examples=["plan"],
        json_schema_extra=_PLUGIN,
    )
    fork_index: ForkIndex = None


class ListCustomIvrsInput(BaseModel):
    """Input of `list_custom_ivrs`: the query of the documented GET, and what to look for in its answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, title="Input of list_custom_ivrs")

    target_type: _TargetType = Field(json_schema_extra=_QUERY)
    target_id: _TargetId = Field(json_schema_extra=_QUERY)
    ivr_type: Annotated[IvrType | None, _blank_is(None), _choice(IVR_TYPES)] = Field(
        default=None, description="Only the IVRs of this slot.", examples=["HOLD_MUSIC"], json_schema_extra=_PLUGIN
    )
    name: _Name = Field(
        default=None,
        description="Find the one IVR of this name: written the same, or else the same but for upper and lower case.",
        examples=["New hold music"],
        json_schema_extra=_PLUGIN,
    )
    credential: CredentialName = "default"
    fork_index: ForkIndex = None


class ListTargetsInput(BaseModel):
    """Input of `list_targets`: what targets to look for. Which calls that takes depends on it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, title="Input of list_targets")

    target_type: Annotated[ListedType, WithJsonSchema({"enum": [*LISTED_TYPES]})] = Field(
        description="What to look for. Dialpad documents no list of coaching groups and staff groups: use their ids.",
        examples=["callcenter"],
        json_schema_extra=_PLUGIN,
    )
    office: Annotated[
        str | None,
        BeforeValidator(_office),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "integer", "minimum": 1, "maximum": INT64_MAX},
                    {"type": ["string", "null"], "maxLength": NAME_LIMIT},
                ]
            }
        ),
    ] = Field(
        default=None,
        description="Only the targets of this office: its id, or its name.",
        examples=["Head office"],
        json_schema_extra=_PLUGIN,
    )
    name: _Name = Field(
        default=None,
        description="Find the one target of this name: written the same, or else the same but for upper and lower "
        "case. With * for any text: all that match.",
        examples=["Support"],
        json_schema_extra=_PLUGIN,
    )
    number: Annotated[str | None, _written_as(_NUMBER_PATTERN), _blank_is(None), _text_schema(_NUMBER_PATTERN)] = Field(
        default=None,
        description="Find the one target that has this phone number.",
        examples=["+14155551000"],
        json_schema_extra=_PLUGIN,
    )
    email: Annotated[str | None, _written_as(_EMAIL_PATTERN), _blank_is(None), _text_schema(_EMAIL_PATTERN)] = Field(
        default=None,
        description="Find the one user who has this email address.",
        examples=["robin@example.com"],
        json_schema_extra=_PLUGIN,
    )
    credential: CredentialName = "default"
    fork_index: ForkIndex = None
