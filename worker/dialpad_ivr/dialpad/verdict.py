"""From an answer, or from none, to an outcome and what the engine is told.

This is the table:

    what happened                                      outcome        the engine is told
    -------------------------------------------------  -------------  --------------------------
    200, the IVR is shown selected                     updated        COMPLETED
    200, nothing is shown to the contrary              updated        COMPLETED, with a warning
    200 with an error in it, or of another slot        unconfirmed    FAILED
    200, another IVR, or none, is shown selected       unconfirmed    FAILED
        with select_option: the answer cannot tell     updated        COMPLETED, with a warning
        inbound from outbound
    200 that is not JSON, or any other 2xx             unconfirmed    FAILED
    if_selected, and our IVR alone is selected         unchanged      COMPLETED; nothing is sent
        an earlier attempt had sent the PATCH          updated        COMPLETED, with a warning
    if_selected, and the selection is another one,     conflict       FAILED_WITH_TERMINAL_ERROR; nothing is sent
        or the list does not tell what is selected
    401, or no key for the profile                     unauthorized   FAILED_WITH_TERMINAL_ERROR
    403                                                forbidden      FAILED_WITH_TERMINAL_ERROR
    404, 410                                           not_found      FAILED_WITH_TERMINAL_ERROR
    409                                                conflict       FAILED_WITH_TERMINAL_ERROR
    429, or a body that says rate_limit_exceeded       (waits)        IN_PROGRESS, with a callback
        when the waiting budget has run out            rate_limited   FAILED
    408, 425, 5xx                                      unavailable    FAILED
    any other status, a redirect included              rejected       FAILED_WITH_TERMINAL_ERROR
    the request never left                             unavailable    FAILED
    it was sent, and no answer came                    unavailable    FAILED
        on the last attempt, by the selection read     updated, unavailable or unconfirmed
    the list was read (list_custom_ivrs)               listed         COMPLETED
        no IVR has the name                            not_found      FAILED_WITH_TERMINAL_ERROR
        several have it                                conflict       FAILED_WITH_TERMINAL_ERROR
    the list holds an error, is not JSON, no 200,      unavailable    FAILED
        or does not end (of either task)

FAILED is retried by the task definition. Setting the same selection twice is harmless, so a retry is safe.
"""

from __future__ import annotations

import email.utils
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final, Literal

from dialpad_ivr.contract.inputs import SetCustomIvrInput
from dialpad_ivr.contract.outcomes import RETRIED_OUTCOMES, TERMINAL_OUTCOMES, Outcome
from dialpad_ivr.contract.values import SELECT_OPTION_APPLIES_TO
from dialpad_ivr.dialpad.client import CallError, NoAnswerError, Response
from dialpad_ivr.dialpad.parsing import ListedIvr, Page, Slot, read_error, read_page, read_slot

EngineStatus = Literal["COMPLETED", "FAILED", "FAILED_WITH_TERMINAL_ERROR", "IN_PROGRESS"]


@dataclass(frozen=True)
class Verdict:
    """What a call came to.

    Attributes:
        outcome: `None` for a rate limit: the task waits and tries again.
        code: The error's code; empty when the outcome is ok.
        message: What happened and what to do next; empty when the outcome is ok.
        warnings: What an ok outcome leaves open.
        selected: What the answer shows selected.
        may_have_changed: Whether the change may have been made although the outcome is not ok.
    """

    outcome: Outcome | None
    code: str = ""
    message: str = ""
    warnings: tuple[str, ...] = ()
    selected: ListedIvr | None = None
    may_have_changed: bool = False


def engine_status(outcome: str | None) -> EngineStatus:
    """What the engine is told of an outcome; of none yet, that the task goes on."""
    if outcome is None:
        return "IN_PROGRESS"
    if outcome in TERMINAL_OUTCOMES:
        return "FAILED_WITH_TERMINAL_ERROR"
    return "FAILED" if outcome in RETRIED_OUTCOMES else "COMPLETED"


_BY_STATUS: Final[Mapping[int, tuple[Outcome, str]]] = {
    401: ("unauthorized", "Dialpad does not accept the key of credential profile {profile!r}: renew or replace it."),
    403: ("forbidden", "The key of credential profile {profile!r} may not do this: it needs company admin rights."),
    404: ("not_found", "Dialpad knows no such target or IVR: check target_type, target_id, ivr_type and ivr_id."),
    410: ("not_found", "The target or the IVR is gone: check target_id and ivr_id."),
    409: ("conflict", "The change conflicts with the target's current state: look at the target in Dialpad."),
    408: ("unavailable", "Dialpad gave up waiting for the request."),
    425: ("unavailable", "Dialpad asks to try again later."),
}


def error_verdict(answer: Response, profile: str) -> Verdict | None:
    """The verdict on an answer that is not a success; `None` for a 2xx.

    Args:
        answer: The answer to any call.
        profile: The credential profile's name, for the message.
    """
    status = answer.status_code
    if is_rate_limit(answer):
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
        outcome, advice = "rejected", "Dialpad refuses this request: mend it before it is sent again."
    said = read_error(answer.body)
    message = f"Dialpad answered {status}{f' ({said})' if said else ''}. {advice.format(profile=profile)}"
    return Verdict(outcome, f"http_{status}", message, may_have_changed=outcome == "unavailable")


def patch_verdict(answer: Response, asked: SetCustomIvrInput) -> Verdict:
    """The verdict on the PATCH's answer."""
    refusal = error_verdict(answer, asked.credential)
    if refusal is not None:
        return refusal
    slot = read_slot(answer.json)
    if answer.status_code != 200 or slot is None:
        what = "a body that cannot be read" if answer.status_code == 200 else "which is not documented"
        message = f"Dialpad answered {answer.status_code}, {what}: the change may or may not have been made."
        return Verdict("unconfirmed", "unreadable_answer", message, may_have_changed=True)
    if answer.json.get("error") or answer.json.get("errors"):
        said = read_error(answer.json)
        message = f"Dialpad answered 200, but with an error{f' ({said})' if said else ''}."
        return Verdict("unconfirmed", "error_in_answer", message, may_have_changed=True)
    ours, shown = slot.find(asked.ivr_id), slot.selected()
    if slot.ivr_type not in (None, asked.ivr_type):
        message = f"Dialpad answered 200, but of {slot.ivr_type} instead of {asked.ivr_type}."
        return Verdict("unconfirmed", "another_slot", message, may_have_changed=True)
    if ours is not None and ours.selected:
        others = [ivr.id for ivr in slot.ivrs if ivr.selected and ivr.id != ours.id]
        warnings = (f"Dialpad also shows IVR {others[0]} selected, perhaps for the other direction.",) if others else ()
        return Verdict("updated", selected=ours, warnings=warnings)
    silent = not slot.ivrs or any(ivr.selected is None for ivr in slot.ivrs)
    if shown is None and silent and (ours is None or ours.selected is None):
        return Verdict("updated", warnings=("Dialpad answered 200, but does not show what is selected now.",))
    name = f"IVR {shown.id}" if shown else "no IVR"
    if asked.select_option is not None and shown and (asked.target_type, asked.ivr_type) == SELECT_OPTION_APPLIES_TO:
        warning = f"Dialpad answered 200 and shows {name} selected; it cannot tell inbound from outbound."
        return Verdict("updated", warnings=(warning,), selected=shown)
    message = f"Dialpad answered 200, but shows {name} selected instead of {asked.ivr_id}."
    return Verdict("unconfirmed", "another_selected", message, selected=shown)


def page_or_verdict(answer: Response, profile: str) -> Page | Verdict:
    """The page of a target's IVRs that an answer holds, or the verdict on one that holds none.

    A 200 with an error in it must not pass for a target without IVRs: a guarded change would be sent on its word.

    Args:
        answer: The answer to the GET.
        profile: The credential profile's name, for the message.
    """
    refusal = error_verdict(answer, profile)
    if refusal is not None:
        return refusal
    page = read_page(answer.json)
    if answer.status_code != 200 or page is None:
        return Verdict("unavailable", "unreadable_answer", "Dialpad's list of the target's IVRs cannot be read.")
    if answer.json.get("error") or answer.json.get("errors"):
        said = read_error(answer.json)
        message = f"Dialpad answered 200, but with an error in place of the IVRs{f' ({said})' if said else ''}."
        return Verdict("unavailable", "error_in_answer", message)
    return page


def already_selected(found: Slot, asked: SetCustomIvrInput) -> bool:
    """Whether a slot has what was asked for already.

    Our IVR must be the only one selected: beside another one it is so for one direction only, and without
    `select_option` both would be set. With it a list cannot tell, since it does not tell inbound from outbound.
    """
    return asked.select_option is None and found.all_selected() == {asked.ivr_id}


def precondition_verdict(found: Slot, asked: SetCustomIvrInput) -> Verdict | None:
    """The verdict on a slot as it was read before the PATCH; `None` if the PATCH may be sent.

    It may when the selection is the one of `if_selected`, or when ours is among it and the rest is what was expected:
    an earlier attempt got through for one direction.
    """
    if asked.if_selected is None:
        return None
    expected, selected = set(asked.if_selected), found.all_selected()
    if already_selected(found, asked):
        return Verdict("unchanged", selected=found.selected())
    if found.selection_unknown():
        message = (
            "Dialpad's list does not tell what is selected, so if_selected cannot be checked. Nothing was sent now."
        )
        return Verdict("conflict", "selection_unknown", message)
    if selected == expected or (asked.ivr_id in selected and selected - {asked.ivr_id} <= expected):
        return None
    now = ", ".join(f"{ivr.name or 'IVR'} ({ivr.id})" for ivr in found.ivrs if ivr.selected) or "nothing"
    message = (
        f"The selection moved: {now} is selected, not {', '.join(sorted(expected)) or 'nothing'}. Nothing was sent now."
    )
    return Verdict("conflict", "moved", f"{message} Plan again before you change it.", selected=found.selected())


def no_answer_verdict(error: CallError) -> Verdict:
    """The verdict on a call without an answer."""
    sent = isinstance(error, NoAnswerError)
    what = "No answer came from Dialpad" if sent else "Dialpad could not be reached"
    return Verdict("unavailable", error.code, f"{what}: {error}", may_have_changed=sent)


def is_rate_limit(answer: Response) -> bool:
    """Whether an answer orders a pause: a 429, or an error that says so whatever its status (seen in the wild)."""
    failed = answer.status_code >= 400 or (isinstance(answer.json, dict) and bool(answer.json.get("error")))
    return answer.status_code == 429 or (failed and "rate_limit_exceeded" in str(answer.body))


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The seconds that a `Retry-After` header asks for, in either of its forms (RFC 9110, section 10.2.3).

    Args:
        headers: With names in lower case.
        now: The time to count from; the answer's own `Date` if it has one, so that no clock but the server's counts.

    Returns:
        Seconds from now, at least 0; `None` without the header or with one that cannot be read.
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
    """An HTTP date, `None` if it is none."""
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
