"""Each way through the workflows of overrides, with mocks in place of what they wait for and start."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.engine.definitions import shipped
from dialpad_ivr.settings import Settings
from dialpad_ivr.testing import KitEngine, Mock, run_definition
from dialpad_ivr.testing.run import Mocks
from support.engine import EngineRest
from support.overrides import from_now, noted

DEFINITIONS = {definition.name: definition.body for definition in shipped() if definition.kind == "workflow"}
CHANGES = [noted(0), noted(1)]


def half(outcome: str, ok_rows: int, *not_made: int) -> Mock:
    """What a provisioning run of both changes ends with."""
    output = {"outcome": outcome, "ok_rows": ok_rows, "counts": {"updated": ok_rows}, "not_made": [*not_made]}
    return Mock(status="COMPLETED" if outcome == "success" else "FAILED", output=output)


def said(**output: Any) -> Mock:
    return Mock(status="COMPLETED", output=output)


MADE, NO_RESULT = half("success", 2), Mock(status="FAILED", output={})
END = said(action="end", by="ann", reason="melted")


@pytest.fixture
def kit(engine: EngineRest) -> KitEngine:
    return KitEngine(EngineApi(Settings(server_url=f"{engine.url}/api")), own=True)


@pytest.mark.parametrize(
    ("more", "mocks", "outcome", "left"),
    [
        ({}, {"apply": MADE, "restore": MADE}, "success", 0),
        ({}, {"apply": half("partial", 1, 1), "restore": half("success", 1)}, "partial", 0),
        ({}, {"apply": MADE, "restore": half("partial", 1)}, "not_restored", 1),
        ({}, {"apply": MADE, "restore": NO_RESULT}, "not_restored", 2),
        ({}, {"apply": half("failed", 0, 0, 1)}, "failed", 0),
        ({}, {"apply": said(outcome="success", ok_rows=2, counts={"unchanged": 2}, not_made=[0, 1])}, "unchanged", 0),
        ({}, {"apply": NO_RESULT, "restore": MADE}, "partial", 0),
        ({}, {"before_wait": said(action="cancel")}, "cancelled", 0),
        ({"approval": True}, {"approval": said(approved=True), "apply": MADE, "restore": MADE}, "success", 0),
        ({"approval": True}, {"approval": said(approved=False)}, "not_approved", 0),
        ({"approval": True}, {"approval": said(action="cancel")}, "cancelled", 0),
        ({"approval": True}, {"approval": said()}, "not_approved", 0),
        ({"until": "1s", "from": "soon"}, {}, "invalid_input", 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_override_ends_with_the_outcome_of_both_halves(
    kit: KitEngine, more: dict[str, Any], mocks: dict[str, Mock], outcome: str, left: int
) -> None:
    ended: Mocks = {"during_wait": END, **mocks}
    run = run_definition(DEFINITIONS["override_custom_ivrs"], {"changes": CHANGES, **more}, ended, kit)
    assert (run.output["outcome"], run.output["left_rows"]) == (outcome, left)
    assert run.output["ok"] == (outcome in ("success", "unchanged", "cancelled"))
    assert run.status == ("COMPLETED" if run.output["ok"] else "FAILED")


def test_one_that_is_extended_waits_again_and_one_that_is_over_does_not_begin(kit: KitEngine) -> None:
    later = said(action="extend", until_ms=4_000_000_000_000)
    mocks: Mocks = {"during_wait": later, "during_again_wait": [later, END], "apply": MADE, "restore": MADE}
    run = run_definition(DEFINITIONS["override_custom_ivrs"], {"changes": CHANGES, "until": "1h"}, mocks, kit)
    assert (run.output["outcome"], run.output["until_ms"]) == ("success", 4_000_000_000_000)
    assert [step for step in run.path if step.startswith("during_again_wait")] == [
        "during_again_wait__1",
        "during_again_wait__2",
    ]
    over = {"before_wait": said(action="extend", until_ms=1)}
    missed = run_definition(DEFINITIONS["override_custom_ivrs"], {"changes": CHANGES, "until": "1h"}, over, kit)
    assert missed.output["outcome"] == "missed"


def test_what_is_selected_is_read_again_only_before_a_later_beginning(kit: KitEngine) -> None:
    read = Mock(status="COMPLETED", output={"outcome": "success", "previous": {"0": "42"}})
    mocks = {"early_wait": said(), "before_wait": said(action="cancel"), "read": read}
    once = {"early_again_wait": said(action="cancel")}
    definition = DEFINITIONS["override_custom_ivrs"]
    later = run_definition(definition, {"changes": CHANGES, "from": from_now(3600)}, {**mocks, **once}, kit)
    assert "early_again_wait__1" in later.path  # the first one ended before its time
    soon = run_definition(definition, {"changes": CHANGES, "from": from_now(5)}, mocks, kit)
    assert "early_wait" not in soon.path


@pytest.mark.parametrize(
    ("phase", "rows"), [(None, 0), ("planned", 0), ("applying", 1), ("active", 1), ("restoring", 1), ("ended", 0)]
)
def test_what_an_override_left_is_restored_unless_nothing_was_changed(
    kit: KitEngine, phase: str | None, rows: int
) -> None:
    inputs = {"changes": CHANGES, "phase": phase, "not_made": [1]}
    run = run_definition(DEFINITIONS["override_custom_ivrs_restore"], inputs, {"restore": half("success", rows)}, kit)
    assert (run.status, run.output["overridden_rows"], run.output["left_rows"]) == ("COMPLETED", rows, 0)
    assert ("restore" in run.path, "settle_wait" in run.path) == (rows > 0, phase == "applying")


@pytest.mark.parametrize(
    ("override", "restores"),
    [
        (said(outcome="success"), False),
        (said(outcome="unchanged"), False),
        (said(outcome="cancelled"), False),
        (half("not_restored", 1), False),
        (Mock(status="FAILED", output={"phase": "active"}), True),
    ],
    ids=["success", "unchanged", "cancelled", "not_restored", "broken_off"],
)
def test_a_guard_restores_only_after_an_override_that_did_not_end_by_itself(
    kit: KitEngine, override: Mock, restores: bool
) -> None:
    mocks = {"override": override, "restore": said(message="2 of 2 restored")}
    run = run_definition(DEFINITIONS["override_custom_ivrs_guard"], {"changes": CHANGES}, mocks, kit)
    assert ("restore" in run.path) == restores


@pytest.mark.parametrize(
    ("name", "mocks", "told"),
    [
        ("override_custom_ivrs", {"apply": MADE, "during_wait": END, "restore": MADE}, ["made", "restored"]),
        ("override_custom_ivrs", {"apply": half("failed", 0, 0, 1), "during_wait": END}, ["made"]),
        ("override_custom_ivrs", {"before_wait": said(action="cancel")}, []),
        ("override_custom_ivrs_restore", {"restore": MADE}, ["restored"]),
    ],
    ids=["both halves", "nothing made", "cancelled", "broken off"],
)
def test_people_are_told_what_was_made_and_restored_only_where_it_was_asked_for(
    kit: KitEngine, name: str, mocks: dict[str, Mock], told: list[str]
) -> None:
    inputs = {"changes": CHANGES, "phase": "active"}
    notified = {"notify_made": said(workflowId="1"), "notify_restored": Mock(status="FAILED", output={})}
    run = run_definition(DEFINITIONS[name], {**inputs, "notify": "ops_chat"}, {**mocks, **notified}, kit)
    assert [step for step in run.path if step.startswith("notify_")] == [f"notify_{each}" for each in told]
    assert run.status == run_definition(DEFINITIONS[name], inputs, mocks, kit).status


@pytest.mark.parametrize(
    ("more", "event", "text"),
    [
        ({}, "started", "\nAs of 2000-02-28 12:34 UTC: 2 of 2 changes made, until 2000-02-29 12:34 UTC."),
        ({"counts": {"updated": 1, "unchanged": 1}}, "started", "1 of 2 changes made, 1 was selected already and is"),
        ({"counts": {"unchanged": 2}}, "unchanged", "nothing will be restored. Requested by"),
        ({"ok_rows": 1}, "partly_started", "1 of 2 changes made,"),
        ({"ok_rows": 1, "counts": {"unchanged": 1}}, "not_started", "0 of 2 changes made, 1 was"),
        ({"ok_rows": None}, "partly_started", "not known"),
        ({"ok_rows": 0, "at_ms": None}, "not_started", "\n0 of 2 changes made,"),
        ({"half": "restored", "left_rows": 0, "message": "2 of 2 restored"}, "restored", "UTC: 2 of 2 restored."),
        ({"half": "restored", "left_rows": 1, "message": "1 of 2 restored"}, "not_restored", "UTC: 1 of 2 restored."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_event_is_told_by_its_name(kit: KitEngine, more: dict[str, Any], event: str, text: str) -> None:
    times = {"until_ms": 951_827_696_000, "at_ms": 951_741_296_000}
    inputs = {"notify": "a-b_1", "half": "made", "rows": 2, "ok_rows": 2, **times, **more}
    posted = said(response={"statusCode": 200})
    run = run_definition(DEFINITIONS["override_custom_ivrs_notify"], inputs, {"post": posted}, kit)
    assert run.output == {"sent": True, "event": event, "message": "Sent: 200."}
    composed = next(step for step in run.steps if step.reference == "compose").output["result"]
    assert composed["uri"].endswith("/a-b_1")
    assert (composed["body"]["until"], composed["body"]["from"]) == ("2000-02-29T12:34:56Z", None)
    assert text in composed["body"]["text"]
