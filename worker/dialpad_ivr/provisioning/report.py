"""What a run came to: a report to keep, and the plan that would undo it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from datetime import datetime, timezone
from typing import Any, Final

from dialpad_ivr.contract.outcomes import OK_OUTCOMES
from dialpad_ivr.contract.outputs import SelectedIvr
from dialpad_ivr.provisioning.formats import FIELDS
from dialpad_ivr.provisioning.plan import Plan, PlannedChange, make_plan
from dialpad_ivr.provisioning.workflow import ChangeResult, ProvisioningRun

_COLUMNS: Final = ("line", *FIELDS, "outcome", "ok", "attempts", "previous", "message")
# Outcomes after which the change may be there: it was made, it was there already, or nobody knows.
_MAY_BE_THERE: Final = ("updated", "unchanged", "unavailable", "unconfirmed", "rate_limited", "unknown")


def report_rows(run: ProvisioningRun, plan: Plan | None = None) -> list[dict[str, Any]]:
    """What became of every row, by the columns of the report.

    Args:
        run: The run.
        plan: The plan that it applied, if it is at hand: its other rows are told too.
    """
    rows = [_reported(row) for row in run.rows]
    if plan is not None:
        rows += [
            {
                "line": row.line,
                **{name: getattr(row, name) for name in FIELDS},
                "outcome": row.action,
                "ok": row.action == "unchanged",
                "attempts": 0,
                "previous": " ".join(ivr.id for ivr in row.previous),
                "message": row.note or "It was selected already when it was planned; nothing was sent.",
            }
            for row in plan.rows
            if row.action != "change"
        ]
    return sorted(rows, key=lambda row: int(row["line"]))


def _reported(row: ChangeResult) -> dict[str, Any]:
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
        "message": run.output.get("message") or run.reason,
        "started_at": _moment(run.started_at),
        "ended_at": _moment(run.ended_at),
        "plan": run.plan,
        "counts": dict(Counter(row["outcome"] or "waiting" for row in rows)),
        "rows": rows,
    }
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


def report_csv(rows: list[dict[str, Any]]) -> str:
    """The report as CSV, safe to open in a spreadsheet."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return text.getvalue()


# A spreadsheet takes a cell that begins so for a formula, and parts of a message come from outside. Many a spreadsheet
# takes a semicolon for the end of a cell; a tab or a line break can be one too.
_FORMULA: Final = re.compile(r"(^|;)([ \"]*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    return _FORMULA.sub(r"\1\2'", " ".join(str(value).split()))


def rollback_plan(run: ProvisioningRun, api_url: str) -> tuple[Plan, list[tuple[ChangeResult, str]]]:
    """The plan that restores what was selected before a run, and the rows that it cannot restore, each with the reason.

    A row whose fate is unknown is in it too: applied, it leaves a target alone that has its previous selection still.

    Args:
        run: A run that ended.
        api_url: The Dialpad that it was applied to, if the run does not tell.
    """
    rows: list[PlannedChange] = []
    left: list[tuple[ChangeResult, str]] = []
    for row in run.rows:
        if row.outcome not in _MAY_BE_THERE:
            continue
        ours = str(row.change.get("ivr_id"))
        if row.previous is None:
            left.append((row, "what was selected before is not known: it was not planned"))
        elif not row.previous:
            left.append((row, "nothing was selected before, and Dialpad's API cannot unselect an IVR"))
        elif len(row.previous) > 1:
            left.append((row, "inbound and outbound differed before, and Dialpad does not tell which was which"))
        elif row.previous[0].id != ours:
            rows.append(_restored(row, row.previous[0], ours))
    return make_plan(rows, str(run.plan.get("api_url") or api_url), f"rollback of {run.workflow_id}"), left


def _restored(row: ChangeResult, before: SelectedIvr, ours: str) -> PlannedChange:
    asked = {name: str(row.change[name]) for name in ("target_type", "target_id", "ivr_type")}
    return PlannedChange(
        **asked,
        line=row.line,
        ivr_id=before.id,
        select_option=row.change.get("select_option") or None,
        credential=row.change.get("credential") or "default",
        action="change",
        ivr_name=before.name,
        previous=(SelectedIvr(id=ours),),
        note="" if row.outcome in OK_OUTCOMES else f"after {row.outcome}: may not have been changed at all",
    )


def _moment(milliseconds: int) -> str | None:
    if not milliseconds:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).isoformat(timespec="seconds")
