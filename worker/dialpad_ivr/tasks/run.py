"""What both tasks share: a call of one, its tools, and a run that sends, waits and concludes.

A task is validate -> credential -> permit -> call -> outcome -> result. Nothing here knows of the engine's SDK.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import anyio

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
from dialpad_ivr.contract.schema import OUTPUTS, TaskInput
from dialpad_ivr.contract.validation import alternatives, example_input
from dialpad_ivr.contract.values import LIST_LIMIT
from dialpad_ivr.credentials import Credential, CredentialError, Credentials
from dialpad_ivr.dialpad.client import CallError, DialpadClient, NoAnswerError, Request, Response
from dialpad_ivr.dialpad.parsing import ListedIvr, Slot
from dialpad_ivr.dialpad.verdict import (
    EngineStatus,
    Verdict,
    engine_status,
    is_rate_limit,
    judge_failure,
    judge_page,
    retry_after,
)
from dialpad_ivr.pacing.limiter import Limiter, NotYetError
from dialpad_ivr.settings import Settings
from dialpad_ivr.telemetry.metrics import Metrics
from dialpad_ivr.telemetry.tracing import Tracing

_PAGES = 50  # of a target's IVRs; a page holds whole slots, of which 67 types are documented
_LISTED = 5  # allowed values of a field in an error's message; its field error has them all
_REASON_LIMIT = 500  # characters: the engine cuts a longer reasonForIncompletion


@dataclass(frozen=True)
class Delivery:
    """One delivery of a task.

    Attributes:
        raw_input: The task's input as it came.
        runtime_metadata: The engine's secrets by name.
        attempts: Calls sent in earlier deliveries of this task.
        waited_ms: Milliseconds waited in earlier deliveries.
        last_attempt: Whether no retry follows a failure.
        expires_at: From when on nothing is sent any more, on the monotonic clock: soon after, the engine takes the task
            back and hands it out again. A change that were sent then might overtake the one that replaces it.
    """

    raw_input: Any
    runtime_metadata: Mapping[str, object] = field(default_factory=dict, repr=False)
    attempts: int = 0
    waited_ms: int = 0
    last_attempt: bool = True
    expires_at: float = math.inf


@dataclass(frozen=True)
class Result:
    """What the engine is told.

    Attributes:
        output: The task's output.
        callback_seconds: For a task that waits: when it is delivered again.
    """

    output: TaskOutput
    callback_seconds: int | None = None

    @property
    def status(self) -> EngineStatus:
        """The task's status."""
        return engine_status(self.output.outcome)

    @property
    def reason(self) -> str | None:
        """Why the task failed, in a line."""
        error = self.output.error
        return None if error is None else f"{self.output.outcome or 'waiting'}: {error.message}"[:_REASON_LIMIT]


@dataclass(frozen=True)
class Tools:
    """What a task works with; one for a process."""

    settings: Settings
    client: DialpadClient
    credentials: Credentials
    pacer: Limiter
    metrics: Metrics
    tracing: Tracing = field(default_factory=Tracing)


class _ExpiredError(Exception):
    """The call's time is over."""


def invalid(call: Delivery, field_errors: list[FieldError], task_type: str) -> Result:
    """The result of an input that breaks the schema."""
    count = len(field_errors)
    summary = " ".join(
        f"{error.message} {alternatives(error.suggestion, error.allowed, _LISTED)}".rstrip() for error in field_errors
    )
    message = f"{count} violation{'s' if count > 1 else ''} of the input schema; nothing was sent. {summary}"
    ivr_type = call.raw_input.get("ivr_type") if isinstance(call.raw_input, dict) else None
    return Result(
        OUTPUTS[task_type](
            outcome="invalid_input",
            ok=False,
            ivr=IvrState(ivr_type=ivr_type[:64] if isinstance(ivr_type, str) else None),
            error=TaskError(
                code="invalid_input", message=message, example=example_input(task_type), field_errors=field_errors
            ),
            attempts=call.attempts,
            waited_ms=call.waited_ms,
        )
    )


class Run:
    """One run of a task with a valid input: gathers what the output tells.

    Args:
        call: The delivery.
        tools: What to work with.
        asked: The input.
        request: The task's own call, prepared.
    """

    output: ClassVar[type[TaskOutput]]

    def __init__(self, call: Delivery, tools: Tools, asked: TaskInput, request: Request) -> None:
        self.call = call
        self.tools = tools
        self.request = request
        self.answer: Response | None = None
        self.attempts = call.attempts
        self.warnings: list[str] = []
        self._profile = asked.credential
        self._waited_ms = float(call.waited_ms)
        self._asked_pause: float | None = None
        self._pause_seconds = 0.0
        tools.tracing.asked(asked)

    async def with_credential(self, work: Callable[[Credential], Awaitable[Result]]) -> Result:
        """Find the key and work with it; a permit that is far away hands the task back."""
        try:
            credential = self.tools.credentials.find(self._profile, self.call.runtime_metadata)
        except CredentialError as exc:
            return self.end("unauthorized", TaskError(code="no_credential", message=str(exc)))
        try:
            return await work(credential)
        except _ExpiredError:
            message = "This worker had the task for too long (was it paused?): nothing was sent now."
            return self.end("unavailable", TaskError(code="expired", message=message))
        except NotYetError as exc:
            error = TaskError(code="paced", message=f"Waiting for a permit: {exc.why}.")
            return self._wait(exc.seconds, error, charged_seconds=exc.pause_seconds)

    async def send(self, request: Request, credential: Credential) -> Response:
        """Wait for a permit and send.

        Raises:
            NotYetError: The permit is far away.
            CallError: No answer came.
        """
        lane = self.tools.pacer.lane(credential.company)
        permit = await lane.permit(write=request.method != "GET")
        if request.method != "GET" and time.monotonic() >= self.call.expires_at:
            raise _ExpiredError
        self._waited_ms += permit.waited_seconds * 1000
        resent = self.attempts if request.method != "GET" else 0
        self.attempts += request.method == self.request.method
        with (
            self.tools.metrics.calling(request.method, permit.waited_seconds) as counted,
            self.tools.tracing.call(request, waited_seconds=permit.waited_seconds, resent=resent) as traced,
        ):
            answer = await self.tools.client.send(request, credential.key)
            counted(answer.status_code)
            traced(answer.status_code)
        if is_rate_limit(answer):
            self._asked_pause = retry_after(answer.headers)
            self._pause_seconds = await lane.refused(self._asked_pause)
            self.tools.metrics.paused()
        else:
            lane.accepted()
        if answer.status_code < 300:  # refusals come quicker: they say nothing of how long the way is
            await permit.answered(answer.headers_at)
        return answer

    async def read_slots(
        self, target_type: str, target_id: str, credential: Credential, *, only: str | None = None
    ) -> tuple[list[Slot], Verdict | None, Response | None]:
        """A target's slots as they are now.

        Args:
            target_type: The target's type.
            target_id: The target's id.
            credential: The key.
            only: The one slot that is wanted: no page is read after it was found.

        Returns:
            The slots, the verdict on a list that could not be read, and the last answer.

        Raises:
            NotYetError: The permit is far away.
        """
        slots: list[Slot] = []
        answer: Response | None = None
        cursor: str | None = None
        settings = self.tools.settings
        seconds = settings.longest_hold_seconds + settings.deadline_seconds
        try:
            with anyio.fail_after(seconds):  # all pages together: the engine waits for a result
                for _ in range(_PAGES):
                    request = self.tools.client.prepare_list_custom_ivrs(target_type, target_id, cursor)
                    answer = await self.send(request, credential)
                    page = judge_page(answer, self._profile)
                    if isinstance(page, Verdict):
                        return slots, page, answer
                    slots += page.slots
                    cursor = page.cursor
                    if cursor is None or (only and any(slot.ivr_type == only for slot in page.slots)):
                        return slots, None, answer
        except CallError as exc:
            return slots, judge_failure(exc), answer
        except TimeoutError:
            return slots, judge_failure(NoAnswerError("deadline", f"The list took more than {seconds:g} s.")), answer
        # What is missing may be on a page that was not read: nothing is concluded from what is not there.
        message = f"Dialpad's list of the target's IVRs has not ended after {_PAGES} pages."
        return slots, Verdict("unavailable", "endless_list", message), answer

    def conclude(self, verdict: Verdict) -> Result:
        """The result that a verdict comes to; a rate limit hands the task back."""
        error = TaskError(code=verdict.code, message=verdict.message) if verdict.code else None
        if verdict.outcome is None and error is not None:
            told = error.model_copy(update={"retry_after_seconds": self._asked_pause})
            return self._wait(self._pause_seconds, told)
        return self.end(verdict.outcome, error)

    def end(self, outcome: Outcome | None, error: TaskError | None = None) -> Result:
        """The final result."""
        return Result(self._output(outcome, error))

    def details(self) -> dict[str, Any]:
        """What this task's output has of its own."""
        raise NotImplementedError

    def _wait(self, seconds: float, error: TaskError, charged_seconds: float | None = None) -> Result:
        """Hand the task back to the engine until it is worth trying again, or end it when it has waited long enough.

        What the budget is charged is what Dialpad ordered: to stand in the queue of our own pacing is no failure.
        """
        budget = self.tools.settings.waiting_budget_seconds
        charged = seconds if charged_seconds is None else charged_seconds
        if charged and self._waited_ms / 1000 + charged > budget:
            message = f"{error.message} The waiting budget of {budget:g} s is used up."
            return self.end("rate_limited", error.model_copy(update={"message": message}))
        # A shared log may name any time, if somebody spoilt it: nothing is further away than the longest pause.
        callback = max(1, math.ceil(min(seconds, self.tools.settings.longest_pause_seconds)))
        self._waited_ms += callback * 1000 if charged_seconds is None else charged * 1000
        return Result(self._output(None, error), callback)

    def _output(self, outcome: Outcome | None, error: TaskError | None) -> TaskOutput:
        answer = self.answer
        return self.output(
            outcome=outcome,
            ok=outcome in OK_OUTCOMES,
            request=PreparedRequest(method=self.request.method, url=self.request.url, body=self.request.body),
            response=None
            if answer is None
            else ResponseSummary(
                status_code=answer.status_code,
                elapsed_ms=round(answer.elapsed_ms, 1),
                headers=dict(answer.headers),
                body=answer.body,
                body_truncated=answer.body_truncated,
            ),
            error=error,
            warnings=self.warnings[:LIST_LIMIT],
            attempts=self.attempts,
            waited_ms=round(self._waited_ms),
            **self.details(),
        )


def named(ivr: ListedIvr | FoundIvr | None) -> SelectedIvr | None:
    """An IVR as the output names it."""
    return None if ivr is None else SelectedIvr(id=ivr.id, name=ivr.name)
