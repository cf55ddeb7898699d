"""Plan files, reports and rollback plans."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.contract.outputs import SelectedIvr
from dialpad_ivr.provisioning.plan import Plan, PlanError, PlannedChange, make_plan, read_plan, write_plan
from dialpad_ivr.provisioning.report import report_csv, report_json, report_rows, rollback_plan
from dialpad_ivr.provisioning.workflow import ChangeResult, ProvisioningRun

API = "https://dialpad.com"


def planned(number: int = 1, action: str = "change", **more: Any) -> PlannedChange:
    row: dict[str, Any] = {
        "line": number + 1,
        "target_type": "callcenter",
        "target_id": str(number),
        "ivr_type": "HOLD_MUSIC",
        "ivr_id": "7",
        "action": action,
        "previous": [{"id": "5", "name": "Old"}],
    }
    return PlannedChange.model_validate({**row, **more})


def test_plan_file_round_trip(tmp_path: Path) -> None:
    plan = make_plan([planned(2), planned(1)], API, "changes.csv")
    write_plan(plan, tmp_path / "p.plan.json")
    assert read_plan(tmp_path / "p.plan.json") == plan
    assert [path.name for path in tmp_path.iterdir()] == ["p.plan.json"]


def test_plan_rows_are_sorted_by_slot_with_numeric_ids() -> None:
    rows = [planned(10), planned(9), planned(9, ivr_type="CLOSED"), planned(1, target_type="user")]
    slots = [(row.target_type, row.target_id, row.ivr_type) for row in make_plan(rows, API, "f").rows]
    assert slots == [
        ("callcenter", "9", "CLOSED"),
        ("callcenter", "9", "HOLD_MUSIC"),
        ("callcenter", "10", "HOLD_MUSIC"),
        ("user", "1", "HOLD_MUSIC"),
    ]


@pytest.mark.parametrize(
    ("field", "value"), [("ivr_id", "8"), ("action", "unchanged"), ("previous", []), ("line", 99), ("note", "x")]
)
def test_modified_plan_is_an_error(tmp_path: Path, field: str, value: Any) -> None:
    path = tmp_path / "p.plan.json"
    write_plan(make_plan([planned()], API, "changes.csv"), path)
    content = json.loads(path.read_text())
    content["rows"][0][field] = value
    path.write_text(json.dumps(content))
    with pytest.raises(PlanError, match="its hash does not match"):
        read_plan(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not a plan: it is empty."),
        ("[]", "is not a plan: it is JSON of another kind."),
        ('{"tasks": []}', "is not a plan: it is JSON of another kind."),
        ("\x00", "is not a plan: it is not JSON."),
        ("[" * 100_000, "is not a plan: it is not JSON."),
        ('{"made": {}, "rows": [{"target_type": "user"}]}', "is not a plan: it seems to be a report."),
        ('[{"target_type": "user"}]', "is not a plan: it seems to be a file of changes."),
        ('{"format": "dialpad-ivr plan 2"}', "was modified, or is damaged: its field made_by is missing or wrong."),
        ('{"format": "dialpad-ivr plan 2", "rows": [', "was modified, or is damaged: it is not complete."),
    ],
    ids=["empty", "list", "workflow", "binary", "deep", "report", "changes", "edited", "cut"],
)
def test_file_that_is_not_a_plan_is_an_error_that_says_what_it_seems_to_be(
    tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "p.plan.json"
    path.write_text(content)
    with pytest.raises(PlanError, match=re.escape(said)):
        read_plan(path)


def test_a_plan_of_an_older_version_says_so_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "p.plan.json"
    write_plan(make_plan([planned()], API, "changes.csv"), path)
    path.write_text(path.read_text().replace("dialpad-ivr plan 2", "dialpad-ivr plan 1"))
    with pytest.raises(PlanError) as caught:
        read_plan(path)
    wrong, todo = str(caught.value).splitlines()
    assert wrong.endswith("is of another version of this command: dialpad-ivr plan 1, not dialpad-ivr plan 2.")
    assert todo == "Make a new plan with: dialpad-ivr plan FILE"


def test_a_file_of_changes_is_told_from_a_plan(tmp_path: Path) -> None:
    path = tmp_path / "changes.csv"
    path.write_text("target_type,target_id\n")
    with pytest.raises(PlanError) as caught:
        read_plan(path)
    assert str(caught.value) == (
        f"{path} is not a plan: it seems to be a file of changes.\nPlan it first with: dialpad-ivr plan {path}"
    )


def test_missing_plan_file_error_says_how_to_make_a_plan(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="dialpad-ivr plan FILE"):
        read_plan(tmp_path / "none")


def test_failed_plan_write_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "p.plan.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_plan(make_plan([planned()], API, "f"), tmp_path / "p.plan.json")
    assert [path.name for path in tmp_path.iterdir()] == ["p.plan.json"]


class NoEngine:
    """Stands for the engine of a run that is not refreshed."""


def run(*rows: ChangeResult) -> ProvisioningRun:
    run = ProvisioningRun(NoEngine(), "5f0c-id")  # type: ignore[arg-type]
    run.rows, run.status = list(rows), "FAILED"
    run.output = {"outcome": "partial", "message": "1 of 2"}
    return run


OLD = (SelectedIvr(id="5", name="Old"),)


def row(outcome: str | None, previous: Any = OLD, **change: Any) -> ChangeResult:
    params = {"target_type": "callcenter", "target_id": "1", "ivr_type": "HOLD_MUSIC", "ivr_id": "7", **change}
    return ChangeResult(params, 2, previous, outcome, "because")


@pytest.mark.parametrize("outcome", ["updated", "unconfirmed", "unavailable", "rate_limited", "unknown"])
def test_rollback_restores_rows_that_may_have_changed(outcome: str) -> None:
    plan, unrestorable = rollback_plan(run(row(outcome, select_option="inbound", credential="emea")), API)
    (undo,) = plan.changes
    assert (undo.ivr_id, undo.ivr_name, undo.select_option, undo.credential) == ("5", "Old", "inbound", "emea")
    assert [ivr.id for ivr in undo.previous] == ["7"]
    assert unrestorable == []


@pytest.mark.parametrize("outcome", ["unchanged", "not_found", "conflict", "invalid_input", "not_sent", "forbidden"])
def test_rollback_leaves_out_rows_that_did_not_change(outcome: str) -> None:
    plan, unrestorable = rollback_plan(run(row(outcome)), API)
    assert plan.rows == ()
    assert unrestorable == []


@pytest.mark.parametrize(
    ("previous", "reason"),
    [
        (None, "unknown"),
        ((), "cannot unselect"),
        ((SelectedIvr(id="5"), SelectedIvr(id="6")), "inbound and outbound"),
    ],
)
def test_rollback_reports_rows_it_cannot_restore(previous: Any, reason: str) -> None:
    plan, unrestorable = rollback_plan(run(row("updated", previous)), API)
    assert plan.rows == ()
    assert reason in unrestorable[0][1]


def test_rollback_leaves_out_rows_already_selected_before() -> None:
    plan, unrestorable = rollback_plan(run(row("updated", (SelectedIvr(id="7"),))), API)
    assert plan.rows == ()
    assert unrestorable == []


def test_rollback_plan_can_be_written_and_read(tmp_path: Path) -> None:
    plan, _ = rollback_plan(run(row("updated")), API)
    write_plan(plan, tmp_path / "undo.plan.json")
    assert isinstance(read_plan(tmp_path / "undo.plan.json"), Plan)


def test_report_includes_every_row_of_the_plan() -> None:
    plan = make_plan(
        [planned(1), planned(2, "unchanged"), planned(3, "missing_ivr", note="no such IVR")], API, "changes.csv"
    )
    rows = report_rows(run(row("updated")), plan)
    assert [(r["line"], r["outcome"], r["ok"]) for r in rows] == [
        (2, "updated", True),
        (3, "unchanged", True),
        (4, "missing_ivr", False),
    ]
    report = json.loads(report_json(run(row("updated"), row(None)), [*rows, *report_rows(run(row(None)))]))
    assert report["counts"] == {"updated": 1, "unchanged": 1, "missing_ivr": 1, "pending": 1}
    assert [r["line"] for r in csv.DictReader(io.StringIO(report_csv(rows)))] == ["2", "3", "4"]


def test_csv_report_escapes_formulas() -> None:
    evil = row("not_found")
    rows = report_rows(run(ChangeResult(evil.change, 2, evil.previous, "not_found", '=HYPERLINK("http://x")')))
    (read,) = csv.DictReader(io.StringIO(report_csv(rows)))
    assert read["message"].startswith("'=")
