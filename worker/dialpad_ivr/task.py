"""The task: validate -> credential -> permit -> call -> outcome -> result.

Nothing here knows of the engine's SDK: `dialpad_ivr.worker` turns a polled task into a `Call`, and a `Result` into the
update it sends back. The command's test request runs this same code without an engine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dialpad_ivr.answers import ListedIvr, Slot, read_page
from dialpad_ivr.contract import (
    LIST_LIMIT,
    OK_OUTCOMES,
    FieldError,
    IvrState,
    Outcome,
    PreparedRequest,
    ResponseSummary,
    SelectedIvr,
    SetCustomIvrInput,
    SetCustomIvrOutput,
    TaskError,
)
from dialpad_ivr.credentials import Credential, CredentialError, Credentials
from dialpad_ivr.dialpad import Answer, CallError, DialpadClient, Request
from dialpad_ivr.metrics import Metrics
from dialpad_ivr.outcome import (
    EngineStatus,
    Verdict,
    engine_status,
    is_rate_limit,
    judge_failure,
    judge_patch,
    judge_refusal,
    retry_after,
)
from dialpad_ivr.pacing import NotYetError, Pacer
from dialpad_ivr.settings import Settings
from dialpad_ivr.validation import check_input, input_warnings

_PAGES = 50  # of a target's IVRs that are read at most
_REASON_LIMIT = 500  # characters: the engine cuts a longer reasonForIncompletion


@dataclass(frozen=True)
class Call:
    """One delivery of the task.

    Attributes:
        raw_input: The task's input as it came.
        runtime_metadata: The engine's secrets by name.
        attempts: PATCHes sent in earlier deliveries of this task.
        waited_ms: Milliseconds waited in earlier deliveries.
        last_attempt: Whether no retry follows a failure.
    """

    raw_input: Any
    runtime_metadata: Mapping[str, object] = field(default_factory=dict, repr=False)
    attempts: int = 0
    waited_ms: int = 0
    last_attempt: bool = True


@dataclass(frozen=True)
class Result:
    """What the engine is told.

    Attributes:
        output: The task's output.
        callback_seconds: For a task that waits: when it is delivered again.
    """

    output: SetCustomIvrOutput
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
    """What the task works with; one for a process."""

    settings: Settings
    client: DialpadClient
    credentials: Credentials
    pacer: Pacer
    metrics: Metrics


async def set_custom_ivr(call: Call, tools: Tools) -> Result:
    """Run the task once.

    Returns:
        The result, for every input and every fault: only a bug, and a cancellation, raise.
    """
    parsed = check_input(call.raw_input)
    if isinstance(parsed, list):
        return Result(_invalid(call, parsed))
    run = _Run(call, tools, parsed)
    if parsed.mode == "validate":
        return run.end("valid")
    try:
        credential = tools.credentials.find(parsed.credential, call.runtime_metadata)
    except CredentialError as exc:
        return run.end("unauthorized", TaskError(code="no_credential", message=str(exc)))
    try:
        return await (run.plan(credential) if parsed.mode == "plan" else run.apply(credential))
    except NotYetError as exc:
        error = TaskError(code="paced", message=f"Waiting for a permit: {exc.why}.")
        return run.wait(exc.seconds, error, charged_seconds=exc.pause_seconds)


def _invalid(call: Call, field_errors: list[FieldError]) -> SetCustomIvrOutput:
    count = len(field_errors)
    summary = " ".join(error.message for error in field_errors)
    message = f"{count} violation{'s' if count > 1 else ''} of the input schema; nothing was sent. {summary}"
    ivr_type = call.raw_input.get("ivr_type") if isinstance(call.raw_input, dict) else None
    return SetCustomIvrOutput(
        outcome="invalid_input",
        ok=False,
        ivr=IvrState(ivr_type=ivr_type[:64] if isinstance(ivr_type, str) else None),
        error=TaskError(code="invalid_input", message=message, field_errors=field_errors),
        attempts=call.attempts,
        waited_ms=call.waited_ms,
    )


class _Run:
    """One run of the task with a valid input: gathers what the output tells."""

    def __init__(self, call: Call, tools: Tools, asked: SetCustomIvrInput) -> None:
        self._call = call
        self._tools = tools
        self._asked = asked
        self._attempts = call.attempts
        self._waited_ms = float(call.waited_ms)
        self._request = tools.client.prepare_set_custom_ivr(
            asked.target_type, asked.target_id, asked.ivr_type, asked.ivr_id, asked.select_option
        )
        self._answer: Answer | None = None
        self._asked_pause: float | None = None
        self._pause_seconds = 0.0
        self._selected: ListedIvr | None = None
        self._previous: ListedIvr | None = None
        self._warnings = input_warnings(call.raw_input, asked)

    async def apply(self, credential: Credential) -> Result:
        """Make the change; where its fate stays open and no retry follows, read what is selected now."""
        try:
            self._answer = await self._send(self._request, credential)
            verdict = judge_patch(self._answer, self._asked)
        except CallError as exc:
            verdict = judge_failure(exc)
        self._selected = verdict.selected
        self._warnings += verdict.warnings
        if verdict.may_have_changed and self._call.last_attempt:
            verdict = await self._settle(verdict, credential)
        return self._conclude(verdict)

    async def plan(self, credential: Credential) -> Result:
        """Read what is selected now; never write."""
        found, verdict, answer = await self._read_slot(credential)
        self._answer = answer
        if verdict is not None:
            return self._conclude(verdict)
        ours = found.find(self._asked.ivr_id) if found else None
        self._previous = found.selected() if found else None
        if ours is None:
            self._warnings.append(
                f"The target lists no IVR {self._asked.ivr_id} for {self._asked.ivr_type}: Dialpad may well refuse it."
            )
        if ours is not None and ours.selected:
            self._selected = ours
            if self._asked.select_option is None:
                return self.end("unchanged")
            self._warnings.append("The IVR is selected, but the list cannot tell inbound from outbound.")
        self._selected = self._previous
        return self.end("planned")

    async def _settle(self, verdict: Verdict, credential: Credential) -> Verdict:
        """Let the current selection decide what became of a PATCH whose answer never came."""
        try:
            found, refusal, _ = await self._read_slot(credential)
        except NotYetError:
            found, refusal = None, verdict
        if refusal is not None or found is None:
            # Where Dialpad itself said that it failed, that stands; where it said nothing, nothing is known.
            unknown = self._answer is None or self._answer.status_code < 300
            message = f"{verdict.message} What is selected now could not be read either."
            return Verdict("unconfirmed" if unknown else verdict.outcome, verdict.code, message)
        ours, self._selected = found.find(self._asked.ivr_id), found.selected()
        if ours is None or not ours.selected:
            return Verdict("unavailable", verdict.code, f"{verdict.message} The change is not there.")
        self._selected = ours
        if self._asked.select_option is not None:
            message = f"{verdict.message} The IVR is selected, but the list cannot tell inbound from outbound."
            return Verdict("unconfirmed", verdict.code, message)
        self._warnings.append(f"{verdict.message} Read afterwards: the IVR is selected.")
        return Verdict("updated")

    async def _read_slot(self, credential: Credential) -> tuple[Slot | None, Verdict | None, Answer | None]:
        """The slot as it is now (`None`: the target has none), or the verdict on a list that could not be read."""
        asked, cursor, answer = self._asked, None, None
        for _ in range(_PAGES):
            request = self._tools.client.prepare_list_custom_ivrs(asked.target_type, asked.target_id, cursor)
            try:
                answer = await self._send(request, credential)
            except CallError as exc:
                return None, judge_failure(exc), answer
            refusal = judge_refusal(answer, asked.credential)
            page = read_page(answer.json)
            if refusal is None and page is None:
                message = "Dialpad's list of the target's IVRs cannot be read."
                refusal = Verdict("unavailable", "unreadable_answer", message)
            if refusal is not None or page is None:
                return None, refusal, answer
            for slot in page.slots:
                if slot.ivr_type == asked.ivr_type:
                    return slot, None, answer
            cursor = page.cursor
            if cursor is None:
                break
        return None, None, answer

    async def _send(self, request: Request, credential: Credential) -> Answer:
        """Wait for a permit and send."""
        lane = self._tools.pacer.lane(credential.company)
        write = request.method != "GET"
        permit = await lane.permit(write=write)
        self._waited_ms += permit.waited_seconds * 1000
        self._attempts += write
        with self._tools.metrics.calling(request.method, permit.waited_seconds) as called:
            answer = await self._tools.client.send(request, credential.key)
            called(answer.status_code)
        if is_rate_limit(answer):
            self._asked_pause = retry_after(answer.headers)
            self._pause_seconds = await lane.refused(self._asked_pause)
            self._tools.metrics.paused()
        else:
            lane.accepted()
        if answer.status_code < 300:  # refusals come quicker: they say nothing of how long the way is
            await permit.answered(answer.headers_at)
        return answer

    def wait(self, seconds: float, error: TaskError, charged_seconds: float | None = None) -> Result:
        """Hand the task back to the engine until it is worth trying again, or end it when it has waited long enough.

        What the budget is charged is what Dialpad ordered: to stand in the queue of our own pacing is no failure.
        """
        budget = self._tools.settings.waiting_budget_seconds
        charged = seconds if charged_seconds is None else charged_seconds
        if charged and self._waited_ms / 1000 + charged > budget:
            message = f"{error.message} The waiting budget of {budget:g} s is used up."
            return self.end("rate_limited", error.model_copy(update={"message": message}))
        callback = max(1, math.ceil(seconds))
        self._waited_ms += callback * 1000 if charged_seconds is None else charged * 1000
        return Result(self._output(None, error), callback)

    def _conclude(self, verdict: Verdict) -> Result:
        error = TaskError(code=verdict.code, message=verdict.message) if verdict.code else None
        if verdict.outcome is None and error is not None:
            told = error.model_copy(update={"retry_after_seconds": self._asked_pause})
            return self.wait(self._pause_seconds, told)
        return self.end(verdict.outcome, error)

    def end(self, outcome: Outcome | None, error: TaskError | None = None) -> Result:
        """The final result."""
        return Result(self._output(outcome, error))

    def _output(self, outcome: Outcome | None, error: TaskError | None) -> SetCustomIvrOutput:
        answer = self._answer
        return SetCustomIvrOutput(
            outcome=outcome,
            ok=outcome in OK_OUTCOMES,
            ivr=IvrState(
                ivr_type=self._asked.ivr_type, selected=_named(self._selected), previous=_named(self._previous)
            ),
            request=PreparedRequest(method=self._request.method, url=self._request.url, body=self._request.body),
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
            warnings=self._warnings[:LIST_LIMIT],
            attempts=self._attempts,
            waited_ms=round(self._waited_ms),
        )


def _named(ivr: ListedIvr | None) -> SelectedIvr | None:
    return None if ivr is None else SelectedIvr(id=ivr.id, name=ivr.name)
