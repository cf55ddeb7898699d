"""From a response, or none, to an outcome and a status for the engine: `OUTCOME_TABLE` is the whole mapping."""

from __future__ import annotations

import email.utils
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final, Literal, NamedTuple

from dialpad_ivr.contract.inputs import SetCustomIvrInput
from dialpad_ivr.contract.outcomes import RETRIED_OUTCOMES, TERMINAL_OUTCOMES, Outcome
from dialpad_ivr.contract.values import SELECT_OPTION_APPLIES_TO
from dialpad_ivr.dialpad.client import CallError, NoAnswerError, Response
from dialpad_ivr.dialpad.parsing import Item, ListedIvr, Page, Slot, read_error, read_page, read_slot

EngineStatus = Literal["COMPLETED", "FAILED", "FAILED_WITH_TERMINAL_ERROR", "IN_PROGRESS"]


class OutcomeRow(NamedTuple):
    """A row of the outcome table: what happened, the outcomes that it may have, and a note."""

    what_happened: str
    outcomes: tuple[Outcome | None, ...]
    note: str = ""


# `None` is a deferral. FAILED is retried by the task definition; setting the same selection twice is harmless.
OUTCOME_TABLE: Final = (
    OutcomeRow("200, and the IVR is shown as selected", ("updated",)),
    OutcomeRow("200, and nothing contradicts the change", ("updated",), "with a warning"),
    OutcomeRow("200 with an error in it, or of another slot", ("unconfirmed",)),
    OutcomeRow("200, and another IVR, or none, is shown as selected", ("unconfirmed",)),
    OutcomeRow("the same with `select_option`", ("updated",), "with a warning: it cannot tell inbound from outbound"),
    OutcomeRow("200 that is not JSON, or any other 2xx", ("unconfirmed",)),
    OutcomeRow("`if_selected`, and our IVR alone is selected", ("unchanged",), "no request is sent"),
    OutcomeRow("the same, and a previous attempt sent the PATCH, or may have", ("updated",), "with a warning"),
    OutcomeRow("`if_selected`, and the selection is another one or unknown", ("conflict",), "no request is sent"),
    OutcomeRow("401, or no key for the profile", ("unauthorized",)),
    OutcomeRow("403", ("forbidden",)),
    OutcomeRow("404, 410", ("not_found",)),
    OutcomeRow("409", ("conflict",)),
    OutcomeRow("429, or a body that says `rate_limit_exceeded`", (None,), "delivered again after a callback time"),
    OutcomeRow("the same, and the waiting budget is used up", ("rate_limited",)),
    OutcomeRow("408, 425, 5xx", ("unavailable",)),
    OutcomeRow("any other status, including redirects", ("rejected",)),
    OutcomeRow("the request was not sent", ("unavailable",)),
    OutcomeRow("the same, since the proxy refuses, or does not lead to Dialpad", ("unavailable",), "never an outage"),
    OutcomeRow("the request was sent, and no response came", ("unavailable",)),
    OutcomeRow("the same on the last attempt", ("updated", "unavailable", "unconfirmed"), "by the selection read then"),
    OutcomeRow("one of these in an outage ([retries](../explanation/retries.md#outages))", (None,), "delivered again"),
    OutcomeRow("the same, and the outage budget is used up", ("unavailable", "unconfirmed"), "by `perhaps_sent`"),
    OutcomeRow("the list was read (`list_custom_ivrs`, `list_targets`)", ("listed",)),
    OutcomeRow("no IVR, or no target, has the name, or no target the number or address", ("not_found",)),
    OutcomeRow("several have it, or several offices have the name of `office`", ("conflict",)),
    OutcomeRow("the list holds an error, is not JSON, is no 200, or does not end", ("unavailable",), "of any task"),
)


@dataclass(frozen=True)
class Verdict:
    """The result of a call.

    Attributes:
        outcome: `None` for a rate limit: the task is deferred.
        code: The error's code; empty when the outcome is ok.
        message: What happened and what to do next; empty when the outcome is ok.
        warnings: What an ok outcome leaves uncertain.
        selected: The IVR that the response shows as selected.
        may_have_changed: Whether the change may have been made although the outcome is not ok.
    """

    outcome: Outcome | None
    code: str = ""
    message: str = ""
    warnings: tuple[str, ...] = ()
    selected: ListedIvr | None = None
    may_have_changed: bool = False


def engine_status(outcome: str | None) -> EngineStatus:
    """The task status of an outcome; of `None`, a deferral."""
    if outcome is None:
        return "IN_PROGRESS"
    if outcome in TERMINAL_OUTCOMES:
        return "FAILED_WITH_TERMINAL_ERROR"
    return "FAILED" if outcome in RETRIED_OUTCOMES else "COMPLETED"


# The causes of a call without a response that lie on this side: this process's own connections, and what a proxy
# decides.
_NOT_DIALPADS: Final = ("pool_timeout", "proxy_unauthorized", "proxy_refused", "untrusted_certificate")

_BY_STATUS: Final[Mapping[int, tuple[Outcome, str]]] = {
    401: ("unauthorized", "Dialpad does not accept the key of credential profile {profile!r}: renew or replace it."),
    403: ("forbidden", "The key of credential profile {profile!r} may not do this: it needs company admin rights."),
    404: ("not_found", "Dialpad knows no such target or IVR: check target_type, target_id, ivr_type and ivr_id."),
    410: ("not_found", "The target or the IVR is gone: check target_id and ivr_id."),
    409: ("conflict", "The change conflicts with the target's current state: look at the target in Dialpad."),
    408: ("unavailable", "Dialpad gave up waiting for the request."),
    425: ("unavailable", "Dialpad asks to try again later."),
}


def error_verdict(response: Response, profile: str) -> Verdict | None:
    """The verdict on a response that is not a success; `None` for a 2xx.

    Args:
        response: The response to any call.
        profile: The credential profile's name, for the message.
    """
    status = response.status_code
    if is_rate_limit(response):
        return Verdict(None, f"http_{status}", "Dialpad's rate limit was reached.")
    if 200 <= status < 300:
        return None
    if status in _BY_STATUS:
        outcome, advice = _BY_STATUS[status]
    elif status >= 500:
        outcome, advice = "unavailable", "Dialpad failed to handle the request."
    elif 300 <= status < 400:
        outcome, advice = "rejected", "A redirect, which is not followed: check DIALPAD_IVR_API_URL and the network."
    else:
        outcome, advice = "rejected", "Dialpad rejects this request: fix it before sending it again."
    said = read_error(response.body)
    message = f"Dialpad answered {status}{f' ({said})' if said else ''}. {advice.format(profile=profile)}"
    return Verdict(outcome, f"http_{status}", message, may_have_changed=outcome == "unavailable")


def patch_verdict(response: Response, params: SetCustomIvrInput) -> Verdict:
    """The verdict on the response to the PATCH."""
    error = error_verdict(response, params.credential)
    if error is not None:
        return error
    slot = read_slot(response.json)
    if response.status_code != 200 or slot is None:
        what = "a body that cannot be read" if response.status_code == 200 else "which is not documented"
        message = f"Dialpad answered {response.status_code}, {what}: the change may or may not have been made."
        return Verdict("unconfirmed", "unreadable_answer", message, may_have_changed=True)
    if response.json.get("error") or response.json.get("errors"):
        said = read_error(response.json)
        message = f"Dialpad answered 200, but with an error{f' ({said})' if said else ''}."
        return Verdict("unconfirmed", "error_in_answer", message, may_have_changed=True)
    expected, actual = slot.find(params.ivr_id), slot.selected()
    if slot.ivr_type not in (None, params.ivr_type):
        message = f"Dialpad answered 200, but of {slot.ivr_type} instead of {params.ivr_type}."
        return Verdict("unconfirmed", "another_slot", message, may_have_changed=True)
    if expected is not None and expected.selected:
        others = [ivr.id for ivr in slot.ivrs if ivr.selected and ivr.id != expected.id]
        warnings = (f"Dialpad also shows IVR {others[0]} selected, perhaps for the other direction.",) if others else ()
        return Verdict("updated", selected=expected, warnings=warnings)
    unstated = not slot.ivrs or any(ivr.selected is None for ivr in slot.ivrs)
    if actual is None and unstated and (expected is None or expected.selected is None):
        return Verdict("updated", warnings=("Dialpad answered 200, but does not show what is selected now.",))
    name = f"IVR {actual.id}" if actual else "no IVR"
    two_directions = (params.target_type, params.ivr_type) == SELECT_OPTION_APPLIES_TO
    if params.select_option is not None and actual and two_directions:
        warning = f"Dialpad answered 200 and shows {name} selected; it cannot tell inbound from outbound."
        return Verdict("updated", warnings=(warning,), selected=actual)
    message = f"Dialpad answered 200, but shows {name} selected instead of {params.ivr_id}."
    return Verdict("unconfirmed", "another_selected", message, selected=actual)


def page_or_verdict(
    response: Response, profile: str, read_item: Callable[[Any], Item | None], what: str
) -> Page[Item] | Verdict:
    """The page in the response to a list, or the verdict on a response without one.

    A 200 with an error in it must not pass for an empty list: a guarded change would rely on it.

    Args:
        response: The response to the GET.
        profile: The credential profile's name, for the message.
        read_item: Reads an item.
        what: What is listed, for the message.
    """
    error = error_verdict(response, profile)
    if error is not None:
        return error
    page = read_page(response.json, read_item)
    if response.status_code != 200 or page is None:
        return Verdict("unavailable", "unreadable_answer", f"Dialpad's list of {what} cannot be read.")
    if response.json.get("error") or response.json.get("errors"):
        said = read_error(response.json)
        message = f"Dialpad answered 200, but with an error in place of {what}{f' ({said})' if said else ''}."
        return Verdict("unavailable", "error_in_answer", message)
    return page


def already_selected(slot: Slot, params: SetCustomIvrInput) -> bool:
    """Whether the slot already has the requested selection.

    The IVR must be the only selected one: beside another one it is selected for one direction only, and without
    `select_option` the request sets both. With `select_option` a list is not enough: it does not show directions.
    """
    return params.select_option is None and slot.all_selected() == {params.ivr_id}


def precondition_verdict(slot: Slot, params: SetCustomIvrInput) -> Verdict | None:
    """The verdict on the slot as read before the PATCH; `None` if the PATCH may be sent.

    It may if the selection matches `if_selected`, or if it consists of the requested IVR and expected ones: a previous
    attempt succeeded for one direction.
    """
    if params.if_selected is None:
        return None
    expected, selected = set(params.if_selected), slot.all_selected()
    if already_selected(slot, params):
        return Verdict("unchanged", selected=slot.selected())
    if slot.selection_unknown():
        message = (
            "Dialpad's list does not show what is selected, so if_selected cannot be checked. No request was sent."
        )
        return Verdict("conflict", "selection_unknown", message)
    if selected == expected or (params.ivr_id in selected and selected - {params.ivr_id} <= expected):
        return None
    now = ", ".join(f"{ivr.name or 'IVR'} ({ivr.id})" for ivr in slot.ivrs if ivr.selected) or "nothing"
    message = (
        f"The selection moved: {now} is selected, not {', '.join(sorted(expected)) or 'nothing'}. No request was sent."
    )
    return Verdict("conflict", "moved", f"{message} Plan again before you change it.", selected=slot.selected())


def no_answer_verdict(error: CallError) -> Verdict:
    """The verdict on a call without a usable response."""
    sent = isinstance(error, NoAnswerError)
    what = "No answer came from Dialpad" if sent else "Dialpad could not be reached"
    return Verdict("unavailable", error.code, f"{what}: {error}", may_have_changed=sent)


def is_rate_limit(response: Response) -> bool:
    """Whether a response asks for a pause: a 429, or an error of any status that says so (seen in the wild)."""
    failed = response.status_code >= 400 or (isinstance(response.json, dict) and bool(response.json.get("error")))
    return response.status_code == 429 or (failed and "rate_limit_exceeded" in str(response.body))


def is_outage(response: Response) -> bool:
    """Whether a response shows that Dialpad does not work, if not for what was requested alone: a 408 or a 5xx."""
    return response.status_code == 408 or response.status_code >= 500


def shows_outage(error: CallError) -> bool:
    """Whether a call without a response may show that Dialpad does not work.

    A proxy that cannot be reached, or reports that it cannot reach Dialpad, shows it as a broken network does.
    """
    return error.code not in _NOT_DIALPADS


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The seconds of a `Retry-After` header, in either of its forms (RFC 9110, section 10.2.3).

    Args:
        headers: With names in lower case.
        now: The time to count from; by default the response's own `Date`, so that only the server's clock counts.

    Returns:
        Seconds from now, at least 0; `None` without a readable header.
    """
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        until, sent = http_date(value), http_date(headers.get("date", ""))
        if until is None:
            return None
        seconds = (until - (now or sent or datetime.now(timezone.utc))).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def http_date(text: str) -> datetime | None:
    """Parse an HTTP date; `None` if it is invalid."""
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
