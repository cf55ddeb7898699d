"""From a response to an outcome, row by row."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from dialpad_ivr.contract.inputs import SetCustomIvrInput
from dialpad_ivr.contract.outcomes import OK_OUTCOMES, OUTCOMES, RETRIED_OUTCOMES, TERMINAL_OUTCOMES
from dialpad_ivr.dialpad.client import NoAnswerError, NotSentError, Response
from dialpad_ivr.dialpad.parsing import ListedIvr, Page, Slot, read_slot
from dialpad_ivr.dialpad.verdict import (
    OUTCOME_TABLE,
    Verdict,
    already_selected,
    engine_status,
    error_verdict,
    http_date,
    is_outage,
    is_rate_limit,
    no_answer_verdict,
    page_or_verdict,
    patch_verdict,
    precondition_verdict,
    retry_after,
    shows_outage,
)

PARAMS = SetCustomIvrInput(target_type="callcenter", target_id="5", ivr_type="HOLD_MUSIC", ivr_id="7")
INBOUND = PARAMS.model_copy(update={"select_option": "inbound", "ivr_type": "AUTO_RECORDING"})


def answer(status: int = 200, body: Any = None, headers: dict[str, str] | None = None) -> Response:
    parsed = body if isinstance(body, dict | list) else None
    return Response(status, headers or {}, body, parsed, body_truncated=False, elapsed_ms=1, headers_at=1)


def slot(*ivrs: tuple[Any, Any], ivr_type: Any = "HOLD_MUSIC") -> dict[str, Any]:
    return {"ivr_type": ivr_type, "ivrs": [{"id": i, "name": f"n{i}", "selected": s} for i, s in ivrs]}


@pytest.mark.parametrize(
    ("body", "outcome", "warns"),
    [
        (slot(("7", True), ("8", False)), "updated", False),
        (slot((7, True)), "updated", False),
        (slot(("7", True), ("8", True)), "updated", True),
        (slot(("7", False), ("8", True)), "unconfirmed", False),
        (slot(("8", True)), "unconfirmed", False),
        (slot(("7", False)), "unconfirmed", False),
        (slot(("7", None)), "updated", True),
        (slot(), "updated", True),
        ({}, "updated", True),
        ({"ivrs": None, "ivr_type": None}, "updated", True),
        (slot(("7", True), ivr_type="MENU"), "unconfirmed", False),
        (slot(("8", False), ("9", False)), "unconfirmed", False),
        ({"error": {"message": "Permission denied"}}, "unconfirmed", False),
        ({"errors": [{"message": "no"}], "ivrs": [{"id": "7", "selected": True}]}, "unconfirmed", False),
        ({"ivrs": [None, 5, {"id": True, "selected": True}, {"id": "x"}, {"selected": True}]}, "updated", True),
        ("<html>login</html>", "unconfirmed", False),
        ([], "unconfirmed", False),
        (None, "unconfirmed", False),
    ],
)
def test_a_200_has_its_outcome_by_its_body(body: Any, outcome: str, warns: bool) -> None:
    verdict = patch_verdict(answer(200, body), PARAMS)
    assert verdict.outcome == outcome
    assert bool(verdict.warnings) == warns
    assert bool(verdict.code) == (outcome != "updated")


def test_with_select_option_another_ivr_shown_is_a_warning() -> None:
    shown = slot(("7", False), ("8", True), ivr_type="AUTO_RECORDING")
    verdict = patch_verdict(answer(200, shown), INBOUND)
    assert verdict.outcome == "updated"
    assert "cannot tell inbound from outbound" in verdict.warnings[0]


def test_select_option_excuses_nothing_else() -> None:
    nothing = slot(("7", False), ivr_type="AUTO_RECORDING")
    assert patch_verdict(answer(200, nothing), INBOUND).outcome == "unconfirmed"
    elsewhere = PARAMS.model_copy(update={"select_option": "inbound"})
    assert patch_verdict(answer(200, slot(("7", False), ("8", True))), elsewhere).outcome == "unconfirmed"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (201, "unconfirmed"),
        (202, "unconfirmed"),
        (204, "unconfirmed"),
        (301, "rejected"),
        (302, "rejected"),
        (307, "rejected"),
        (400, "rejected"),
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not_found"),
        (405, "rejected"),
        (408, "unavailable"),
        (409, "conflict"),
        (410, "not_found"),
        (413, "rejected"),
        (415, "rejected"),
        (418, "rejected"),
        (422, "rejected"),
        (425, "unavailable"),
        (429, None),
        (500, "unavailable"),
        (502, "unavailable"),
        (503, "unavailable"),
        (504, "unavailable"),
        (599, "unavailable"),
    ],
)
def test_every_status_has_its_outcome(status: int, outcome: str | None) -> None:
    verdict = patch_verdict(answer(status, {"error": {"message": "quota  used"}}), PARAMS)
    assert verdict.outcome == outcome
    assert verdict.message
    if outcome not in (None, "unconfirmed"):
        assert "quota used" in verdict.message
        assert verdict.code == f"http_{status}"


@pytest.mark.parametrize(
    "body", [{"error": {"message": "m"}}, {"errors": [{"message": "m"}]}, {"message": "m"}, {"error": "m"}, "m"]
)
def test_error_message_is_read_from_every_shape_seen_in_the_wild(body: Any) -> None:
    assert "(m)" in patch_verdict(answer(400, body), PARAMS).message


def test_an_error_that_says_rate_limit_exceeded_is_one_whatever_its_status() -> None:
    assert is_rate_limit(answer(403, {"error": {"code": "rate_limit_exceeded"}}))
    assert not is_rate_limit(answer(403, {"error": {"code": "nope"}}))
    assert is_rate_limit(answer(200, {"error": {"code": "rate_limit_exceeded"}}))
    assert not is_rate_limit(answer(200, {"note": "rate_limit_exceeded"}))


def test_no_answer_may_have_changed_something_and_an_unsent_request_may_not() -> None:
    assert no_answer_verdict(NoAnswerError("read_timeout", "x")).may_have_changed
    assert not no_answer_verdict(NotSentError("connect_failed", "x")).may_have_changed
    assert no_answer_verdict(NotSentError("connect_failed", "x")).outcome == "unavailable"


def test_each_outcome_has_its_engine_status() -> None:
    statuses = {outcome: engine_status(outcome) for outcome in OUTCOMES}
    assert {statuses[o] for o in OK_OUTCOMES} == {"COMPLETED"}
    assert {statuses[o] for o in TERMINAL_OUTCOMES} == {"FAILED_WITH_TERMINAL_ERROR"}
    assert {statuses[o] for o in RETRIED_OUTCOMES} == {"FAILED"}
    assert engine_status(None) == "IN_PROGRESS"


def test_the_outcome_table_covers_what_happens_to_a_sent_task() -> None:
    listed = {outcome for row in OUTCOME_TABLE for outcome in row.outcomes}
    assert listed - {None} == set(OUTCOMES) - {"invalid_input", "planned", "valid"}
    assert None in listed


NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3),
        ({"retry-after": " 2.5 "}, 2.5),
        ({"retry-after": "-1"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:03 GMT"}, 3),
        ({"retry-after": "Mon, 23 Nov 2026 11:00:00 GMT"}, 0),
    ],
)
def test_retry_after_in_both_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


def test_a_date_counts_from_the_servers_own_clock() -> None:
    headers = {"date": "Mon, 23 Nov 2020 12:00:00 GMT", "retry-after": "Mon, 23 Nov 2020 12:00:04 GMT"}
    assert retry_after(headers) == 4
    # Without a readable one it counts from this machine's.
    assert retry_after({"retry-after": "Mon, 23 Nov 2020 12:00:04 GMT"}) == 0
    assert retry_after({"retry-after": "Mon, 23 Nov 2020 12:00:04 GMT", "date": "today"}) == 0


def test_a_date_without_a_zone_is_in_utc() -> None:
    assert http_date("Mon, 23 Nov 2026 12:00:00 -0000") == NOW
    assert http_date("Mon, 23 Nov 2026 14:00:00 +0200") == NOW


@pytest.mark.parametrize("text", ["", "soon", "Mon, 99 Nov 2026 12:00:00 GMT", "3"])
def test_what_is_no_date_is_none(text: str) -> None:
    assert http_date(text) is None


@pytest.mark.parametrize(
    ("status", "outage"),
    [(200, False), (407, False), (408, True), (409, False), (429, False), (499, False), (500, True)],
)
def test_a_timeout_or_a_server_error_shows_an_outage(status: int, outage: bool) -> None:
    assert is_outage(answer(status)) == outage


@pytest.mark.parametrize(
    ("code", "outage"),
    [("connect_failed", True), ("read_timeout", True), ("pool_timeout", False), ("untrusted_certificate", False)],
)
def test_no_answer_shows_an_outage_unless_the_cause_is_on_this_side(code: str, outage: bool) -> None:
    assert shows_outage(NotSentError(code, "x")) == outage


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (
            429,
            None,
            Verdict(None, "http_429", "Dialpad's rate limit was reached."),
        ),
        (
            401,
            {"message": "bad"},
            Verdict(
                "unauthorized",
                "http_401",
                "Dialpad answered 401 (bad). Dialpad does not accept the key of credential profile 'acme': renew or "
                "replace it.",
            ),
        ),
        (
            403,
            None,
            Verdict(
                "forbidden",
                "http_403",
                "Dialpad answered 403. The key of credential profile 'acme' may not do this: it needs company admin "
                "rights.",
            ),
        ),
        (
            302,
            None,
            Verdict(
                "rejected",
                "http_302",
                "Dialpad answered 302. A redirect, which is not followed: check DIALPAD_IVR_API_URL and the network.",
            ),
        ),
        (
            400,
            "no",
            Verdict(
                "rejected",
                "http_400",
                "Dialpad answered 400 (no). Dialpad rejects this request: fix it before sending it again.",
            ),
        ),
        (
            500,
            None,
            Verdict(
                "unavailable",
                "http_500",
                "Dialpad answered 500. Dialpad failed to handle the request.",
                may_have_changed=True,
            ),
        ),
        (
            408,
            None,
            Verdict(
                "unavailable",
                "http_408",
                "Dialpad answered 408. Dialpad gave up waiting for the request.",
                may_have_changed=True,
            ),
        ),
        (
            199,
            None,
            Verdict(
                "rejected",
                "http_199",
                "Dialpad answered 199. Dialpad rejects this request: fix it before sending it again.",
            ),
        ),
        (
            300,
            None,
            Verdict(
                "rejected",
                "http_300",
                "Dialpad answered 300. A redirect, which is not followed: check DIALPAD_IVR_API_URL and the network.",
            ),
        ),
        (200, {"error": "e"}, None),
        (299, None, None),
    ],
)
def test_an_error_is_told_with_what_dialpad_said_and_what_to_do(
    status: int, body: Any, verdict: Verdict | None
) -> None:
    assert error_verdict(answer(status, body), "acme") == verdict


UNSTATED = "Dialpad answered 200, but does not show what is selected now."


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (
            200,
            [],
            Verdict(
                "unconfirmed",
                "unreadable_answer",
                "Dialpad answered 200, a body that cannot be read: the change may or may not have been made.",
                may_have_changed=True,
            ),
        ),
        (
            202,
            slot(("7", True)),
            Verdict(
                "unconfirmed",
                "unreadable_answer",
                "Dialpad answered 202, which is not documented: the change may or may not have been made.",
                may_have_changed=True,
            ),
        ),
        (
            200,
            {"error": {"message": "no"}},
            Verdict(
                "unconfirmed", "error_in_answer", "Dialpad answered 200, but with an error (no).", may_have_changed=True
            ),
        ),
        (
            200,
            {"errors": [5]},
            Verdict(
                "unconfirmed", "error_in_answer", "Dialpad answered 200, but with an error.", may_have_changed=True
            ),
        ),
        (
            200,
            slot(("7", True), ivr_type="MENU"),
            Verdict(
                "unconfirmed",
                "another_slot",
                "Dialpad answered 200, but of MENU instead of HOLD_MUSIC.",
                may_have_changed=True,
            ),
        ),
        (
            200,
            slot(("8", True), ("7", True), ("9", True)),
            Verdict(
                "updated",
                selected=ListedIvr("7", "n7", True),
                warnings=("Dialpad also shows IVR 8 selected, perhaps for the other direction.",),
            ),
        ),
        (200, slot(("7", True), ("8", False)), Verdict("updated", selected=ListedIvr("7", "n7", True))),
        (200, slot(("7", None), ("8", False)), Verdict("updated", warnings=(UNSTATED,))),
        (200, slot(("8", None), ("9", False)), Verdict("updated", warnings=(UNSTATED,))),
        (
            200,
            slot(("7", False), ("8", None)),
            Verdict(
                "unconfirmed",
                "another_selected",
                "Dialpad answered 200, but shows no IVR selected instead of 7.",
            ),
        ),
        (
            200,
            slot(("7", None), ("8", True)),
            Verdict(
                "unconfirmed",
                "another_selected",
                "Dialpad answered 200, but shows IVR 8 selected instead of 7.",
                selected=ListedIvr("8", "n8", True),
            ),
        ),
    ],
)
def test_the_verdict_on_a_change_says_what_the_response_shows(status: int, body: Any, verdict: Verdict) -> None:
    assert patch_verdict(answer(status, body), PARAMS) == verdict


def test_an_error_of_a_change_names_its_credential_profile() -> None:
    params = PARAMS.model_copy(update={"credential": "acme"})
    assert patch_verdict(answer(401), params) == error_verdict(answer(401), "acme")
    assert page_or_verdict(answer(401), "acme", read_slot, "x") == error_verdict(answer(401), "acme")


def test_with_select_option_the_warning_names_the_ivr_that_is_shown() -> None:
    assert patch_verdict(answer(200, slot(("8", True), ivr_type="AUTO_RECORDING")), INBOUND) == Verdict(
        "updated",
        warnings=("Dialpad answered 200 and shows IVR 8 selected; it cannot tell inbound from outbound.",),
        selected=ListedIvr("8", "n8", True),
    )
    both = INBOUND.model_copy(update={"select_option": None})
    assert patch_verdict(answer(200, slot(("8", True), ivr_type="AUTO_RECORDING")), both).outcome == "unconfirmed"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"items": [{"ivr_type": "MENU"}], "cursor": "c"}, Page((Slot("MENU", ()),), "c")),
        (200, {}, Page((), None)),
        (
            200,
            [],
            Verdict("unavailable", "unreadable_answer", "Dialpad's list of the target's IVRs cannot be read."),
        ),
        (
            206,
            {"items": []},
            Verdict("unavailable", "unreadable_answer", "Dialpad's list of the target's IVRs cannot be read."),
        ),
        (
            200,
            {"error": {"message": "no"}},
            Verdict(
                "unavailable",
                "error_in_answer",
                "Dialpad answered 200, but with an error in place of the target's IVRs (no).",
            ),
        ),
        (
            200,
            {"errors": [5], "items": []},
            Verdict(
                "unavailable",
                "error_in_answer",
                "Dialpad answered 200, but with an error in place of the target's IVRs.",
            ),
        ),
    ],
)
def test_only_a_list_without_an_error_is_one(status: int, body: Any, expected: Page[Slot] | Verdict) -> None:
    assert page_or_verdict(answer(status, body), "acme", read_slot, "the target's IVRs") == expected


def shown(*ivrs: tuple[str, bool | None]) -> Slot:
    return Slot("HOLD_MUSIC", tuple(ListedIvr(ivr_id, f"n{ivr_id}", selected) for ivr_id, selected in ivrs))


def moved(now: str, expected: str, selected: ListedIvr | None) -> Verdict:
    message = f"The selection moved: {now} is selected, not {expected}. No request was sent."
    return Verdict("conflict", "moved", f"{message} Plan again before you change it.", selected=selected)


UNKNOWN = Verdict(
    "conflict",
    "selection_unknown",
    "Dialpad's list does not show what is selected, so if_selected cannot be checked. No request was sent.",
)


@pytest.mark.parametrize(
    ("expected", "slot_shown", "verdict"),
    [
        (None, shown(("8", True)), None),
        (("8",), shown(("8", True), ("7", False)), None),
        ((), shown(("8", False)), None),
        (("8", "9"), shown(("7", True), ("8", True)), None),
        (("8",), shown(("7", True), ("8", True)), None),
        (("8",), shown(("7", True)), Verdict("unchanged", selected=ListedIvr("7", "n7", True))),
        (("8",), shown(("8", None)), UNKNOWN),
        (("9", "10"), shown(("8", True)), moved("n8 (8)", "10, 9", ListedIvr("8", "n8", True))),
        (("8",), shown(("8", False)), moved("nothing", "8", None)),
        ((), shown(("8", True), ("9", True)), moved("n8 (8), n9 (9)", "nothing", ListedIvr("8", "n8", True))),
        (("8", "9"), shown(("8", True)), moved("n8 (8)", "8, 9", ListedIvr("8", "n8", True))),
        (("8",), shown(("7", True), ("9", True)), moved("n7 (7), n9 (9)", "8", ListedIvr("7", "n7", True))),
        (
            (),
            Slot("HOLD_MUSIC", (ListedIvr("8", None, True),)),
            moved("IVR (8)", "nothing", ListedIvr("8", None, True)),
        ),
    ],
)
def test_a_guarded_change_is_sent_only_where_the_selection_is_the_expected_one(
    expected: tuple[str, ...] | None, slot_shown: Slot, verdict: Verdict | None
) -> None:
    params = PARAMS.model_copy(update={"if_selected": expected})
    assert precondition_verdict(slot_shown, params) == verdict


def test_a_selection_for_one_direction_is_not_the_requested_one() -> None:
    assert already_selected(shown(("7", True), ("8", False)), PARAMS)
    assert not already_selected(shown(("7", True), ("8", True)), PARAMS)
    assert not already_selected(shown(("7", True)), INBOUND)


def test_a_call_without_an_answer_is_told_with_its_cause() -> None:
    assert no_answer_verdict(NoAnswerError("read_timeout", "no answer in 10 s")) == Verdict(
        "unavailable", "read_timeout", "No answer came from Dialpad: no answer in 10 s", may_have_changed=True
    )
    assert no_answer_verdict(NotSentError("connect_failed", "refused")) == Verdict(
        "unavailable", "connect_failed", "Dialpad could not be reached: refused"
    )


@pytest.mark.parametrize(("status", "limited"), [(399, False), (400, True), (429, True)])
def test_only_an_error_can_be_a_rate_limit(status: int, limited: bool) -> None:
    assert is_rate_limit(answer(status, "rate_limit_exceeded")) == limited
