"""The calls of one delivery: credential, permit, send, record; and the result that their verdict comes to."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable

import anyio

from dialpad_ivr.contract.outputs import TaskError
from dialpad_ivr.contract.schema import TaskInput
from dialpad_ivr.credentials import Credential, CredentialError
from dialpad_ivr.dialpad.calls import Request
from dialpad_ivr.dialpad.client import CallError, NoAnswerError, Response
from dialpad_ivr.dialpad.parsing import Slot, read_slot
from dialpad_ivr.dialpad.verdict import (
    Verdict,
    is_outage,
    is_rate_limit,
    retry_after,
    shows_outage,
)
from dialpad_ivr.pacing.circuit import Failure
from dialpad_ivr.pacing.limiter import CircuitOpenError, CompanyLimiter, Permit, PermitDeferredError
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.paging import ListCall, Listing, read_pages
from dialpad_ivr.tasks.result import Draft, Result
from dialpad_ivr.tasks.tools import Tools
from dialpad_ivr.telemetry.logs import get_logger

# The longest wait in a queue that companies may share: what has to wait longer is deferred, so that whoever is behind
# it is reached. Bulk work has a queue for each company.
_LOOK_AHEAD_SECONDS = 1.0
_PAGES = 50  # of a target's IVRs; a page holds whole slots, of which 67 types are documented


class LeaseExpiredError(Exception):
    """The engine is about to deliver the task again: a change must not be sent any more."""


class Caller:
    """Makes the calls of one delivery, and records them in its draft."""

    def __init__(
        self, delivery: Delivery, tools: Tools, params: TaskInput, credential: Credential, draft: Draft
    ) -> None:
        self.retry_after_seconds: float | None = None  # what a 429 requested
        self.pause_seconds = 0.0  # what is left of the pause that it caused
        self._delivery = delivery
        self._tools = tools
        self.profile = params.credential
        # What a failure may be of alone: where several have failed, it is an outage.
        self._target = f"{params.target_type} {getattr(params, 'target_id', 'list')}"
        self._credential = credential
        self._draft = draft
        shared = not delivery.bulk and len(tools.credentials.profiles(delivery.runtime_metadata)) > 1
        self._max_wait = _LOOK_AHEAD_SECONDS if shared else None

    async def send(self, request: Request) -> Response:
        """Wait for a permit, send, and record what came of it.

        Raises:
            CircuitOpenError: Dialpad does not work, as this call showed or others did.
            PermitDeferredError: The permit is further away than a worker waits.
            LeaseExpiredError: It is too late for a change.
            CallError: No usable response.
        """
        write = request.method != "GET"
        limiter = self._tools.limiter.company(self._credential.company)
        permit = await limiter.permit(write=write, bulk=self._delivery.bulk, max_wait_seconds=self._max_wait)
        self._max_wait = None  # to hand back a delivery that has made a call would waste that call
        if write and time.monotonic() >= self._delivery.send_deadline:
            raise LeaseExpiredError
        self._draft.waited_ms += permit.waited_seconds * 1000
        resent = self._draft.attempts if write else 0
        own = request.method == self._draft.request.method
        self._draft.attempts += own
        if own:
            self._draft.request, self._draft.response = request, None
        if permit.outage is not None:
            self._tools.metrics.probed()
            get_logger().info("circuit_probe", company=self._credential.company_label, cause=permit.outage.cause)
        try:
            with (
                self._tools.metrics.calling(request.method, permit.waited_seconds) as counted,
                self._tools.tracing.call(request, waited_seconds=permit.waited_seconds, resent=resent) as traced,
            ):
                response = await self._tools.client.send(request, self._credential.key, permit.sent)
                counted(response.status_code)
                traced(response.status_code)
        except CallError as exc:
            self._draft.perhaps_sent |= write and isinstance(exc, NoAnswerError)
            if shows_outage(exc):
                await self._failed(limiter, permit, exc.code)
            raise
        if own:
            self._draft.response = response
        if is_rate_limit(response):
            self.retry_after_seconds = retry_after(response.headers)
            self.pause_seconds = await limiter.throttled(self.retry_after_seconds)
            self._tools.metrics.paused()
        else:
            limiter.not_throttled()
            if is_outage(response):
                await self._failed(limiter, permit, f"http_{response.status_code}", retry_after(response.headers))
            else:
                await limiter.succeeded(permit)
                if permit.outage is not None:
                    seconds = round(permit.outage.age_seconds, 1)
                    get_logger().info("circuit_closed", company=self._credential.company_label, seconds=seconds)
        if response.status_code < 300:  # refusals come quicker: they say nothing of how long the way is
            await permit.answered(response.headers_at)
        return response

    async def _failed(
        self, limiter: CompanyLimiter, permit: Permit, cause: str, retry_after_seconds: float | None = None
    ) -> None:
        """Record a failure that may be an outage's.

        Raises:
            CircuitOpenError: It is one.
        """
        failure = Failure(cause, self._target, self._delivery.retried, retry_after_seconds or 0.0)
        await limiter.failed(permit, failure)

    async def list_slots(
        self, target_type: str, target_id: str, *, only: str | None = None, resend_lost: bool = False
    ) -> Listing[Slot]:
        """Read a target's slots.

        Args:
            target_type: The target's type.
            target_id: The target's id.
            only: The one slot that is wanted: where the server can filter, it lists no other; else no page is read
                after it was found.
            resend_lost: As of `read_pages`.

        Raises:
            CircuitOpenError: Dialpad does not work.
            PermitDeferredError: The permit is further away than a worker waits.
        """
        client = self._tools.client
        until = anyio.current_time() + self.list_seconds

        async def read(ivr_type: str | None) -> Listing[Slot]:
            call = ListCall(
                "the target's IVRs",
                lambda cursor: client.prepare_list_custom_ivrs(
                    target_type, target_id, ivr_type=ivr_type, cursor=cursor
                ),
                read_slot,
                _PAGES,
                is_last=lambda slot: only is not None and slot.ivr_type == only,
            )
            return await read_pages(self, call, until - anyio.current_time(), resend_lost=resend_lost)

        filtered = only if client.filters_slots else None
        listing = await read(filtered)
        if filtered is None or listing.response is None or listing.response.status_code != 400:
            return listing
        whole = await read(None)
        if whole.refusal is None:  # else it was something else that was refused
            client.filters_slots = False
        return whole

    @property
    def list_seconds(self) -> float:
        """How long all pages of a list may take together."""
        return self._tools.settings.max_inline_wait_seconds + self._tools.settings.deadline_seconds


async def run(
    delivery: Delivery, tools: Tools, params: TaskInput, draft: Draft, judge: Callable[[Caller], Awaitable[Verdict]]
) -> Result:
    """Find the credential, make the calls, and turn their verdict into the result.

    Args:
        delivery: The delivery.
        tools: What to work with.
        params: The valid input.
        draft: The output so far.
        judge: Makes the task's calls; returns the verdict on them.
    """
    tools.tracing.record_input(params)
    try:
        credential = tools.credentials.find(params.credential, delivery.runtime_metadata)
    except CredentialError as exc:
        return Result(draft.output("unauthorized", TaskError(code="no_credential", message=str(exc))))
    caller = Caller(delivery, tools, params, credential, draft)
    try:
        verdict = await judge(caller)
    except LeaseExpiredError:
        message = "The task's lease expired before the request could be sent (was the worker suspended?). "
        error = TaskError(code="expired", message=f"{message}No request was sent.")
        return Result(draft.output("unavailable", error))
    except CircuitOpenError as exc:
        limiter = tools.limiter.company(credential.company)
        tools.metrics.circuit(credential.company_label, lambda: limiter.circuit_open, opened=exc.outage.opened)
        if exc.outage.opened:
            get_logger().warning("circuit_opened", company=credential.company_label, cause=exc.outage.cause)
        return _park(delivery, draft, tools, exc)
    except PermitDeferredError as exc:
        error = TaskError(code="paced", message=f"Waiting for a permit: {exc.why}.")
        # Waiting in our own queue is no failure: only the pause that Dialpad ordered counts against the budget.
        return _defer(draft, tools, exc.seconds, error, charged_seconds=exc.pause_seconds)
    reason = TaskError(code=verdict.code, message=verdict.message) if verdict.code else None
    if verdict.outcome is None and reason is not None:
        reason = reason.model_copy(update={"retry_after_seconds": caller.retry_after_seconds})
        return _defer(draft, tools, caller.pause_seconds, reason)
    return Result(draft.output(verdict.outcome, reason))


def _defer(
    draft: Draft, tools: Tools, seconds: float, error: TaskError, charged_seconds: float | None = None
) -> Result:
    """Defer the task to the engine until it is worth trying again, or end it when its waiting budget is used up."""
    budget = tools.settings.waiting_budget_seconds
    charged = seconds if charged_seconds is None else charged_seconds
    if charged and draft.waited_ms / 1000 + charged > budget:
        message = f"{error.message} The waiting budget of {budget:g} s is used up."
        return Result(draft.output("rate_limited", error.model_copy(update={"message": message})))
    callback = _callback(seconds, tools)
    draft.waited_ms += callback * 1000 if charged_seconds is None else charged * 1000
    return Result(draft.output(None, error), callback)


def _park(delivery: Delivery, draft: Draft, tools: Tools, exc: CircuitOpenError) -> Result:
    """Defer the task until Dialpad works again, or end it when its outage budget is used up."""
    if draft.outage_ms / 1000 < tools.settings.outage_budget_seconds:
        callback = _callback(exc.seconds, tools)
        draft.outage_ms += callback * 1000
        return Result(draft.output(None, TaskError(code="outage", message=f"{exc.why}: waiting for it.")), callback)
    waited = f"The task waited {draft.outage_ms / 1000:.0f} s for it: its outage budget is used up."
    message = f"{exc.why}, for {exc.outage.age_seconds:.0f} s now. {waited}"
    if not draft.perhaps_sent:
        return Result(draft.output("unavailable", TaskError(code="outage", message=message)))
    # Before the last attempt it is not said what became of the change: the next one sets it again.
    error = TaskError(code="outage", message=f"{message} The change may have been made: an answer to it never came.")
    return Result(draft.output("unconfirmed" if delivery.last_attempt else "unavailable", error))


def _callback(seconds: float, tools: Tools) -> int:
    # A shared window may name any time, if somebody corrupted it: nothing is further away than the longest pause.
    return max(1, math.ceil(min(seconds, tools.settings.longest_pause_seconds)))
