"""The command `test-request`: what it shows and sends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dialpad_ivr.testing.double import DoubleControl
from support.invoke import Invoke

CHANGE = {
    "target_type": "callcenter",
    "target_id": "5502522061422592",
    "ivr_type": "HOLD_MUSIC",
    "ivr_id": "5127493019721728",
}


@pytest.fixture
def dialpad(double: DoubleControl, monkeypatch: pytest.MonkeyPatch) -> DoubleControl:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", double.url)
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    return double


def test_test_request_shows_the_request_and_sends_nothing(invoke: Invoke, dialpad: DoubleControl) -> None:
    flags = [part for name, value in CHANGE.items() for part in (f"--{name.replace('_', '-')}", value)]
    output = invoke("test-request", *flags, "--json").json
    assert (output["outcome"], output["request"]["method"]) == ("valid", "PATCH")
    assert "$DIALPAD_API_KEY" in output["curl"]
    assert "--send" in invoke("test-request", *flags).out
    assert dialpad.ledger() == []


def test_sent_test_request_only_reads_by_default(invoke: Invoke, dialpad: DoubleControl) -> None:
    assert invoke("test-request", "--input", json.dumps(CHANGE), "--send", "--json").json["outcome"] == "planned"
    assert [arrival["method"] for arrival in dialpad.ledger()] == ["GET"]


@pytest.mark.parametrize("mode", ["apply", "", None])
def test_test_request_changes_nothing_without_confirmation(invoke: Invoke, dialpad: DoubleControl, mode: Any) -> None:
    assert "--yes" in invoke("test-request", "--input", json.dumps({**CHANGE, "mode": mode}), "--send", code=2).err
    assert dialpad.ledger() == []


def test_confirmed_test_request_makes_the_change(invoke: Invoke, dialpad: DoubleControl) -> None:
    output = invoke("test-request", "--input", json.dumps(CHANGE), "--send", "--mode", "apply", "--yes", "--json").json
    assert output["outcome"] == "updated"
    assert (
        dialpad.selected(CHANGE["target_type"], CHANGE["target_id"], CHANGE["ivr_type"])["inbound"] == CHANGE["ivr_id"]
    )


def test_invalid_test_request_exits_1_with_every_field_error(invoke: Invoke, dialpad: DoubleControl) -> None:
    errors = invoke("test-request", "--target-type", "CallCenter", "--json", code=1).json["error"]["field_errors"]
    assert {error["path"] for error in errors} == {"target_type", "target_id", "ivr_type", "ivr_id"}


def test_answer_is_the_last_line(invoke: Invoke, dialpad: DoubleControl) -> None:
    lines = invoke("test-request", "--input", json.dumps(CHANGE), "--send").out.splitlines()
    assert lines[-1] == "planned: Winter hold music -> Summer hold music"
    assert lines.index("Selected now: Winter hold music (5127493019721729)") < len(lines) - 10
