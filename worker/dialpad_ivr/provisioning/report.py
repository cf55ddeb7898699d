"""The report of a run, and the plan that rolls it back."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Final

from dialpad_ivr.contract.outcomes import OK_OUTCOMES
from dialpad_ivr.contract.outputs import SelectedIvr
from dialpad_ivr.provisioning.columns import FIELDS
from dialpad_ivr.provisioning.formats import FORMULA_SIGNS
from dialpad_ivr.provisioning.plan import Plan, PlannedChange, make_plan
from dialpad_ivr.provisioning.workflow import ChangeResult, ProvisioningRun

_COLUMNS: Final = ("line", *FIELDS, "outcome", "ok", "attempts", "previous", "message")
# Outcomes after which the run may have selected the IVR. Not `unchanged`: it was selected before the run sent anything.
MAY_BE_MADE: Final = ("updated", "unavailable", "unconfirmed", "rate_limited", "unknown")


def report_rows(run: ProvisioningRun, plan: Plan | None = None) -> list[dict[str, Any]]:
    """The rows of the report, by column, sorted by line.

    Args:
        run: The run.
        plan: The applied plan, if available; its rows that needed no change or could not be applied are added.
    """
    rows = [_report_row(row) for row in run.rows]
    if plan is not None:
        rows += [
            {
                "line": row.line,
                **{name: getattr(row, name) for name in FIELDS},
                "outcome": row.action,
                "ok": row.action == "unchanged",
                "attempts": 0,
                "previous": " ".join(ivr.id for ivr in row.previous),
                "message": row.note or "Already selected when planned; nothing was sent.",
            }
            for row in plan.rows
            if row.action != "change"
        ]
    return sorted(rows, key=lambda row: int(row["line"]))


def _report_row(row: ChangeResult) -> dict[str, Any]:
    return {
        "line": row.line,
        **{name: row.change.get(name) for name in FIELDS},
        "credential": row.change.get("credential") or "default",
        "outcome": row.outcome,
        "ok": row.ok,
        "attempts": row.attempts,
        "previous": " ".join(ivr.id for ivr in row.previous or ()),
        "message": row.message,
    }


def report_json(run: ProvisioningRun, rows: list[dict[str, Any]]) -> str:
    """The report as JSON."""
    report = {
        "workflow_id": run.workflow_id,
        "status": run.status,
        "outcome": run.output.get("outcome"),
        "summary": run.summary,
        "message": run.output.get("message") or run.reason,
        "started_at": _iso_time(run.started_at),
        "ended_at": _iso_time(run.ended_at),
        "plan": run.plan,
        "counts": dict(Counter(row["outcome"] or "pending" for row in rows)),
        "rows": rows,
    }
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


def report_csv(rows: list[dict[str, Any]], columns: Sequence[str] = _COLUMNS) -> str:
    """The report as CSV, safe to open in a spreadsheet."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return text.getvalue()


# Spreadsheets evaluate cells with these prefixes as formulas, and messages contain untrusted text. A semicolon, a tab
# or a line break may end a cell.
_FORMULA: Final = re.compile(rf"(^|;)([ \"]*)(?=[{FORMULA_SIGNS}])")


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    return _FORMULA.sub(r"\1\2'", " ".join(str(value).split()))


def rollback_plan(run: ProvisioningRun, api_url: str) -> tuple[Plan, list[tuple[ChangeResult, str]]]:
    """The plan that restores the selections from before a run, and the rows it cannot restore, each with the reason.

    Rows with an unknown result are included; `if_selected` makes them no-ops where nothing had changed. Rows whose IVR
    was selected already (`unchanged`) are not: the run did not make them.

    Args:
        run: A run that has ended.
        api_url: Base URL of the Dialpad API, for a run that was started without a plan.
    """
    rows: list[PlannedChange] = []
    unrestorable: list[tuple[ChangeResult, str]] = []
    for row in run.rows:
        if row.outcome not in MAY_BE_MADE:
            continue
        applied_id = str(row.change.get("ivr_id"))
        if row.previous is None:
            unrestorable.append((row, "the previous selection is unknown: the change was not planned"))
        elif reason := why_unrestorable(row.previous):
            unrestorable.append((row, reason))
        elif row.previous[0].id != applied_id:
            rows.append(_restoring_change(row, row.previous[0], applied_id))
    return make_plan(rows, str(run.plan.get("api_url") or api_url), f"rollback of {run.workflow_id}"), unrestorable


def why_unrestorable(previous: Sequence[SelectedIvr]) -> str:
    """Why what was selected before a change cannot be restored; empty if it can."""
    if not previous:
        return "nothing was selected before, and Dialpad's API cannot unselect an IVR"
    if len(previous) > 1:
        return "inbound and outbound differed before, and Dialpad's list does not say which is which"
    return ""


def _restoring_change(row: ChangeResult, before: SelectedIvr, applied_id: str) -> PlannedChange:
    target = {name: str(row.change[name]) for name in ("target_type", "target_id", "ivr_type")}
    return PlannedChange(
        **target,
        line=row.line,
        ivr_id=before.id,
        select_option=row.change.get("select_option") or None,
        credential=row.change.get("credential") or "default",
        action="change",
        ivr_name=before.name,
        previous=(SelectedIvr(id=applied_id, name=row.ivr_name),),
        note="" if row.outcome in OK_OUTCOMES else f"after {row.outcome}: the change may not have been made",
    )


def _iso_time(milliseconds: int) -> str | None:
    if not milliseconds:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).isoformat(timespec="seconds")
