"""The result of a delivery, and the draft that a task fills in on its way there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from dialpad_ivr.contract.outcomes import OK_OUTCOMES, Outcome
from dialpad_ivr.contract.outputs import (
    FieldError,
    FoundIvr,
    IvrState,
    PreparedRequest,
    ResponseSummary,
    SelectedIvr,
    TaskError,
    TaskOutput,
)
from dialpad_ivr.contract.schema import OUTPUTS
from dialpad_ivr.contract.validation import alternatives, example_input
from dialpad_ivr.contract.values import LIST_LIMIT
from dialpad_ivr.dialpad.calls import Request
from dialpad_ivr.dialpad.client import Response
from dialpad_ivr.dialpad.parsing import ListedIvr
from dialpad_ivr.dialpad.verdict import EngineStatus, engine_status
from dialpad_ivr.tasks.delivery import Delivery

_LISTED = 5  # allowed values of a field in an error's message; its field error has them all
_REASON_LIMIT = 500  # characters: the engine cuts a longer reasonForIncompletion


@dataclass(frozen=True)
class Result:
    """What is reported to the engine.

    Attributes:
        output: The task's output.
        callback_seconds: For a deferred task: when it is delivered again.
        exhausted: Whether the engine is not to retry a failure, though it has counted none: the task was deferred for
            its retries.
    """

    output: TaskOutput
    callback_seconds: int | None = None
    exhausted: bool = False

    @property
    def status(self) -> EngineStatus:
        """The task's status."""
        status = engine_status(self.output.outcome)
        return "FAILED_WITH_TERMINAL_ERROR" if self.exhausted and status == "FAILED" else status

    @property
    def reason(self) -> str | None:
        """Why the task failed or waits, in a line."""
        error = self.output.error
        return None if error is None else f"{self.output.outcome or 'waiting'}: {error.message}"[:_REASON_LIMIT]


@dataclass
class Draft:
    """The output of a delivery with a valid input, filled in as the task goes on.

    Attributes:
        task_type: The task's type, which decides the model of the output.
        request: The task's own call, prepared; of a list, the page that was read last.
        ivr_type: The slot.
        attempts: How often that call was sent, over all deliveries.
        failed_attempts: Previous attempts that failed and were deferred.
        waited_ms: Milliseconds waited, over all deliveries.
        outage_ms: Milliseconds waited for Dialpad to work again, over all deliveries.
        perhaps_sent: Whether the change was sent, or may have been, and its answer never came.
        warnings: What is allowed but probably not meant, or what a response leaves open.
        response: The response that the output shows.
        selected: What is selected in the slot now.
        previous: What was selected before.
        previous_ids: The ids of all that were selected before, if Dialpad says so.
        listed: Whether the target lists the IVR for the slot, where that was read.
        own_fields: The fields that this task's output has of its own.
    """

    task_type: str
    request: Request
    ivr_type: str | None
    attempts: int
    waited_ms: float
    warnings: list[str]
    failed_attempts: int = 0
    outage_ms: float = 0
    perhaps_sent: bool = False
    response: Response | None = None
    selected: ListedIvr | FoundIvr | None = None
    previous: ListedIvr | None = None
    previous_ids: list[str] | None = None
    listed: bool | None = None
    own_fields: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, delivery: Delivery, task_type: str, request: Request, ivr_type: str | None, warnings: list[str]
    ) -> Draft:
        """The output as it is when a delivery begins: with what earlier ones have counted."""
        return cls(
            task_type,
            request,
            ivr_type,
            attempts=delivery.attempts,
            failed_attempts=delivery.failed_attempts,
            waited_ms=delivery.waited_ms,
            outage_ms=delivery.outage_ms,
            warnings=warnings,
        )

    def output(self, outcome: Outcome | None, error: TaskError | None = None) -> TaskOutput:
        """The output as far as it is known."""
        response = self.response
        return OUTPUTS[self.task_type](
            outcome=outcome,
            ok=outcome in OK_OUTCOMES,
            ivr=IvrState(
                ivr_type=self.ivr_type,
                selected=_named(self.selected),
                previous=_named(self.previous),
                previous_ids=self.previous_ids,
                listed=self.listed,
            ),
            request=PreparedRequest(method=self.request.method, url=self.request.url, body=self.request.body),
            response=None
            if response is None
            else ResponseSummary(
                status_code=response.status_code,
                elapsed_ms=round(response.elapsed_ms, 1),
                headers=dict(response.headers),
                body=response.body,
                body_truncated=response.body_truncated,
            ),
            error=error,
            warnings=self.warnings[:LIST_LIMIT],
            attempts=self.attempts,
            failed_attempts=self.failed_attempts,
            waited_ms=round(self.waited_ms),
            outage_ms=round(self.outage_ms),
            perhaps_sent=self.perhaps_sent and outcome not in OK_OUTCOMES,
            **self.own_fields,
        )


def invalid_input(delivery: Delivery, field_errors: list[FieldError], task_type: str) -> Result:
    """The result of an input that breaks the schema. Nothing was sent."""
    count = len(field_errors)
    summary = " ".join(
        f"{error.message} {alternatives(error.suggestion, error.allowed, _LISTED)}".rstrip() for error in field_errors
    )
    message = f"{count} violation{'s' if count > 1 else ''} of the input schema; nothing was sent. {summary}"
    ivr_type = delivery.payload.get("ivr_type") if isinstance(delivery.payload, dict) else None
    return Result(
        OUTPUTS[task_type](
            outcome="invalid_input",
            ok=False,
            ivr=IvrState(ivr_type=ivr_type[:64] if isinstance(ivr_type, str) else None),
            error=TaskError(
                code="invalid_input", message=message, example=example_input(task_type), field_errors=field_errors
            ),
            attempts=delivery.attempts,
            waited_ms=delivery.waited_ms,
            outage_ms=delivery.outage_ms,
        )
    )


def with_retry_deferred(result: Result, delivery: Delivery) -> Result:
    """A failure of bulk work as a deferral, as long as a retry follows it; the last one is not for the engine to retry.

    The engine stores a failure first and schedules its retry then. A JOIN that looks in between takes the failure for
    the end of its branch, and the workflow goes on without the retry's result.
    """
    if not delivery.bulk or result.status != "FAILED":
        return result
    if delivery.last_attempt:
        return replace(result, exhausted=True)
    update = {"outcome": None, "failed_attempts": delivery.failed_attempts + 1}
    return Result(result.output.model_copy(update=update), delivery.retry_seconds)


def _named(ivr: ListedIvr | FoundIvr | None) -> SelectedIvr | None:
    return None if ivr is None else SelectedIvr(id=ivr.id, name=ivr.name)
