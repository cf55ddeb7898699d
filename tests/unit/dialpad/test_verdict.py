"""From a response to an outcome, row by row."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from dialpad_ivr.contract.inputs import SetCustomIvrInput
from dialpad_ivr.contract.outcomes import OK_OUTCOMES, OUTCOMES, RETRIED_OUTCOMES, TERMINAL_OUTCOMES
from dialpad_ivr.dialpad.client import NoAnswerError, NotSentError, Response
from dialpad_ivr.dialpad.verdict import (
    OUTCOME_TABLE,
    engine_status,
    is_rate_limit,
    no_answer_verdict,
    patch_verdict,
    retry_after,
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
