"""Rows of a check that differ only while an override is on."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from dialpad_ivr.contract.outputs import SelectedIvr
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.provisioning.drift import CheckedRow
from dialpad_ivr.provisioning.overridden import with_overrides
from dialpad_ivr.provisioning.overrides import WORKFLOW
from dialpad_ivr.provisioning.plan import PlannedChange
from dialpad_ivr.provisioning.times import milliseconds, utc_text
from dialpad_ivr.settings import Settings
from support.runs import SLOT
from support.stub import StubEngine

NOON = datetime(2026, 12, 24, 12, 0, tzinfo=timezone.utc)
BEFORE, OUTER, INNER, OTHER = "101", "102", "103", "104"


def override(
    name: str, selects: str, restores: str, hours: int, made: str = "updated", **change: str
) -> dict[str, Any]:
    """The states of an override that is on, of its run and of the run's chunk."""
    changes = [{**SLOT, "ivr_id": selects, **change, "note": {"line": 2, "previous": [{"id": restores, "name": None}]}}]
    children = [
        {
            "taskType": "SUB_WORKFLOW",
            "referenceTaskName": task,
            "status": "COMPLETED",
            "subWorkflowId": f"{name}-{task}",
        }
        for task in ("apply", "chunk")
    ]
    end = milliseconds(NOON + timedelta(hours=hours))
    result = {"row": 0, "outcome": made, "message": "", "attempts": 1}
    return {
        name: [
            {
                "workflowId": name,
                "workflowName": WORKFLOW,
                "status": "RUNNING",
                "startTime": 0,
                "input": {"changes": changes},
                "variables": {"phase": "active", "from_ms": 0, "until_ms": end},
                "tasks": children[:1],
            }
        ],
        f"{name}-apply": [
            {
                "workflowId": f"{name}-apply",
                "workflowName": "provision_custom_ivrs",
                "status": "COMPLETED",
                "input": {"changes": changes},
                "tasks": children[1:],
            }
        ],
        f"{name}-chunk": [
            {
                "workflowId": f"{name}-chunk",
                "status": "COMPLETED",
                "input": {"first": 0},
                "variables": {"results": [result]},
                "tasks": [],
            }
        ],
    }


def checked(wanted: str, *selected: str, **more: Any) -> CheckedRow:
    previous = tuple(SelectedIvr(id=each) for each in selected)
    row = PlannedChange.model_validate(
        {**SLOT, "line": 2, "ivr_id": wanted, "action": "change", "previous": previous, **more}
    )
    return CheckedRow("differs", row)


@pytest.fixture
def engine(stub_engine: StubEngine) -> EngineApi:
    stub_engine.definitions = {(WORKFLOW, "1"): {}}
    stub_engine.runs = {**override("outer", OUTER, BEFORE, 10), **override("inner", INNER, OUTER, 5)}
    return EngineApi(Settings(server_url=f"{stub_engine.stub.url}/api"))


@pytest.mark.parametrize(
    ("row", "state", "by"),
    [
        (checked(BEFORE, OUTER), "in_sync", "outer"),
        (checked(BEFORE, INNER), "in_sync", "outer"),  # one that is nested restores the other's
        (checked(OTHER, OUTER), "differs", "outer"),
        (checked(BEFORE, OTHER), "differs", None),  # a person's change
        (checked(BEFORE, OUTER, BEFORE), "in_sync", "outer"),
        (checked(BEFORE, OUTER, OTHER), "differs", "outer"),
        (checked(BEFORE, OUTER, target_id="7"), "differs", None),
        (checked(BEFORE, OUTER, credential="other"), "differs", None),
        (CheckedRow("unreadable", checked(BEFORE, OUTER).row), "unreadable", None),
    ],
)
def test_a_row_is_in_sync_if_what_will_be_restored_is_what_the_file_wants(
    engine: EngineApi, row: CheckedRow, state: str, by: str | None
) -> None:
    (found,) = with_overrides([row], engine, utc_text)
    assert found.state == state
    assert (f"verridden until 2026-12-24 22:00:00 UTC by {by}" in found.row.note) == (by is not None)
    assert ("restores" in found.row.note) == (state == "differs" and by is not None)


@pytest.mark.parametrize("made", ["conflict", "unchanged", "not_found"])
def test_what_an_override_did_not_change_it_does_not_restore(
    engine: EngineApi, stub_engine: StubEngine, made: str
) -> None:
    stub_engine.runs = override("outer", OUTER, BEFORE, 10, made)
    assert with_overrides([checked(BEFORE, OUTER)], engine, utc_text) == [checked(BEFORE, OUTER)]


def test_an_override_of_one_direction_does_not_explain_the_other(engine: EngineApi, stub_engine: StubEngine) -> None:
    stub_engine.runs = override("outer", OUTER, BEFORE, 10, select_option="inbound")
    rows = [checked(BEFORE, OUTER, select_option="outbound"), checked(BEFORE, OUTER, select_option="inbound")]
    assert [each.state for each in with_overrides(rows, engine, utc_text)] == ["differs", "in_sync"]


def test_where_nothing_was_compared_no_engine_is_asked(engine: EngineApi, stub_engine: StubEngine) -> None:
    row = CheckedRow("missing_ivr", checked(OUTER, OUTER).row)
    assert with_overrides([row], engine, utc_text) == [row]
    assert stub_engine.stub.received == []


def test_a_row_that_is_in_sync_by_an_override_alone_says_what_will_be_restored(engine: EngineApi) -> None:
    row = CheckedRow("in_sync", checked(OUTER, OUTER).row)
    (noted,) = with_overrides([row], engine, utc_text)
    assert noted.state == "in_sync"
    assert "by outer, which restores" in noted.row.note
