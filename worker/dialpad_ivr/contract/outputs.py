"""The outputs of the tasks: one envelope for every outcome, so that a definition can refer to any field."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from dialpad_ivr.contract.outcomes import OK_OUTCOMES, Outcome
from dialpad_ivr.contract.values import BODY_LIMIT, EXACT_IN_JAVASCRIPT, LISTED_LIMIT


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
    previous_ids: list[str] | None = Field(
        default=None,
        description="The ids of all that were selected before, for a later if_selected: two, where inbound and "
        "outbound differ. Null where that was not read, or Dialpad does not say.",
    )
    listed: bool | None = Field(
        default=None, description="Whether the target lists ivr_id for this slot. Null where that was not read."
    )


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
    rule: str = Field(description="The schema keyword broken, e.g. enum.")
    message: str
    hint: str
    suggestion: str | None = Field(default=None, description="The allowed value probably meant.")
    # Last: in the engine's UI 67 values would push the rest out of sight.
    allowed: list[str] = Field(default_factory=list, description="Documented values, or known keys.")


class TaskError(_Part):
    """Why the outcome is not ok."""

    code: str = Field(description="Finer than the outcome, e.g. http_404, read_timeout, invalid_input.")
    message: str
    example: dict[str, Any] | None = Field(default=None, description="Of an invalid input: a valid one to start from.")
    field_errors: list[FieldError] = Field(default_factory=list)
    retry_after_seconds: float | None = Field(default=None, description="The pause that Dialpad requested.")


class TaskOutput(_Part):
    """What every task returns: the same shape for every outcome, so that a definition can refer to any field."""

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
    failed_attempts: int = Field(
        default=0, description="Of bulk work: how often the task failed and was deferred for its retry."
    )
    waited_ms: int = Field(default=0, description="Milliseconds spent waiting for permits and pauses.")
    outage_ms: int = Field(default=0, description="Milliseconds spent waiting for Dialpad to work again.")
    perhaps_sent: bool = Field(
        default=False, description="Whether a change was sent, or may have been, whose answer never came."
    )


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

    found: FoundIvr | None = Field(default=None, description="The one IVR of the requested name.")
    ivrs: list[FoundIvr] = Field(
        default_factory=list, description=f"The target's IVRs, or those of ivr_type; at most {LISTED_LIMIT}."
    )


class FoundOffice(_Part):
    """An office."""

    id: str = Field(description="A string of digits.")
    name: str | None = Field(default=None, description="Where the list of offices was read: not for a single target.")


class FoundTarget(_Part):
    """A target."""

    id: str = Field(description="A string of digits.")
    name: str | None = None
    office: FoundOffice | None = Field(default=None, description="The office that it belongs to.")


class ListTargetsOutput(TaskOutput):
    """Output of `list_targets`."""

    model_config = ConfigDict(title="Output of list_targets")

    found: FoundTarget | None = Field(default=None, description="The one target that was looked for.")
    targets: list[FoundTarget] = Field(
        default_factory=list, description=f"The targets that match; at most {LISTED_LIMIT}."
    )
