"""The report of an override: both halves, row by row."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime

from dialpad_ivr.contract.outcomes import OK_OUTCOMES
from dialpad_ivr.engine.api import EngineApi, JsonObject
from dialpad_ivr.provisioning.override_notify import Notification, read_notifications
from dialpad_ivr.provisioning.overrides import RESTORE, Override, Slot, child_of, note_of, slot_of
from dialpad_ivr.provisioning.report import MAY_BE_MADE, report_csv
from dialpad_ivr.provisioning.run import ChangeResult, ProvisioningRun
from dialpad_ivr.provisioning.times import from_milliseconds, iso_text


@dataclass(frozen=True)
class OverriddenRow:
    """One change of an override.

    Attributes:
        line: Line in the file of changes; 0 if unknown.
        previous: The id of the IVR that was selected before.
        made: The outcome of the change; `None` while it is pending.
        restored: The outcome of restoring it; `None` while it is pending, or where nothing was to be restored.
        left: Whether the slot has not been restored: it may still be overridden, or a person changed it meanwhile.
        settled: Whether a person has set the slot since restoring it was first tried, so that it is not left any more.
        target_name: The target's name; empty if unknown, as the names below.
        office_name: The name of its office.
        ivr_name: The name of the IVR that it selects.
        previous_name: The name of the IVR that was selected before.
    """

    line: int
    target_type: str
    target_id: str
    ivr_type: str
    ivr_id: str
    select_option: str | None
    credential: str
    previous: str
    made: str | None = None
    made_message: str = ""
    restored: str | None = None
    restored_message: str = ""
    left: bool = False
    settled: bool = False
    target_name: str = ""
    office_name: str = ""
    ivr_name: str = ""
    previous_name: str = ""

    @property
    def overridden(self) -> bool:
        """Whether its slot may still have the override's IVR; what a person changed meanwhile has not."""
        return self.left and self.restored != "conflict"

    @property
    def not_made(self) -> bool:
        """Whether the change was tried, or was to be, and is not known to have been made."""
        return self.made is not None and self.made not in OK_OUTCOMES

    @property
    def gone(self) -> bool:
        """Whether the IVR that was selected before cannot be selected any more: Dialpad knows no such one."""
        return self.left and self.restored == "not_found"


class OverrideRun:
    """An override with the results of both halves.

    Args:
        engine: The engine.
        override: The override.
        runs: The provisioning runs of both halves as they were read before, by id: of one that has ended, nothing is
            read again. Those of this override are added, the last ones used at the end.

    Attributes:
        rows: By line.
        notifications: What people were told.
        began_at: When it really began, in UTC; `None` if it has not.
        restoring_at: When it began to restore by itself, in UTC; `None` if it has not.

    Raises:
        EngineError: The engine did not answer.
    """

    def __init__(self, engine: EngineApi, override: Override, runs: dict[str, ProvisioningRun] | None = None) -> None:
        self.override = override
        runs = {} if runs is None else runs
        workflow = engine.workflow(override.workflow_id)
        made = _results(engine, child_of(workflow, "apply"), runs)
        restored = _results(engine, child_of(workflow, "restore"), runs)
        began = ((workflow.get("variables") or {}) | override.output).get("started_ms")
        self.began_at = from_milliseconds(began) if isinstance(began, int) else None
        self.restoring_at = _started_at(workflow, "restore")
        self.approved_at = next((each.at for each in override.decisions if each.action == "approve"), None)
        self.restored_by: str | None = None
        settled = set[Slot]()
        restorers = {parent: engine.workflow(parent) for parent in _restorers(engine, override)}
        for parent, restorer in restorers.items():
            found = child_of(restorer, "restore")
            if found:
                self.restored_by = parent
                again = _results(engine, found, runs)
                tried = {slot for slot, row in restored.items() if row.outcome not in (None, "conflict")}
                settled |= {slot for slot, row in again.items() if row.outcome == "conflict" and slot in tried}
                restored.update(again)
        changes = [(slot_of(change), change) for change in override.changes]
        self.rows = sorted(
            (_row(change, made.get(slot), restored.get(slot), settled=slot in settled) for slot, change in changes),
            key=lambda row: row.line,
        )
        self.notifications = read_notifications(engine, (workflow, *restorers.values()))

    @property
    def settled(self) -> int:
        """How many slots a person has set since restoring them was first tried."""
        return sum(row.settled for row in self.rows)

    @property
    def left(self) -> int:
        """How many rows have not been restored, in an override that has ended."""
        return sum(row.left for row in self.rows) if self.override.ended else 0

    @property
    def overridden(self) -> int:
        """How many rows of an override that has ended may still be overridden; what a person has changed is not."""
        return sum(row.overridden for row in self.rows) if self.override.ended else 0

    @property
    def not_made(self) -> int:
        """How many changes were not made."""
        return sum(row.not_made for row in self.rows)

    @property
    def to_restore(self) -> int:
        """How many rows ending it now would restore, as far as it has changed them."""
        return self.overridden if self.override.ended else sum(row.made in MAY_BE_MADE for row in self.rows)

    @property
    def worst_first(self) -> list[OverriddenRow]:
        """The rows: first those that an override which has ended did not restore, then those not made."""
        ended = self.override.ended
        return sorted(self.rows, key=lambda row: (not (row.left and ended), not row.not_made))

    @property
    def not_told(self) -> list[Notification]:
        """What people were not told."""
        return [each for each in self.notifications if each.state == "not_sent"]

    @property
    def telling(self) -> bool:
        """Whether people are being told."""
        return any(each.state == "pending" for each in self.notifications)

    @property
    def began_late(self) -> float | None:
        """How many seconds after its planned beginning it really began, or after its approval, if that came later.

        `None` if it has not begun.
        """
        due = max(self.override.start, self.approved_at) if self.approved_at else self.override.start
        return _seconds_after(due, self.began_at)

    @property
    def restoring_late(self) -> float | None:
        """How many seconds after its planned end it began to restore; `None` if it has not, or was ended early."""
        return _seconds_after(self.override.end, self.restoring_at)

    @property
    def message(self) -> str | None:
        """What came of an override that has ended, as of now: also after it was restored since."""
        if not self.restored_by:
            return self.override.output.get("message")
        restored, due = self.restored, self.restored.total()
        back = sum(restored[outcome] for outcome in OK_OUTCOMES)
        settled = f", {self.settled} settled by hand" if self.settled else ""
        left = f", {self.left} not: a person changed them meanwhile, or restoring failed" if self.left else ""
        return f"{self.made['updated']} of {len(self.rows)} changes made; {back} of {due} restored{settled}{left}"

    @property
    def made(self) -> Counter[str]:
        """Rows by what came of their change."""
        return Counter(row.made or "pending" for row in self.rows)

    @property
    def restored(self) -> Counter[str]:
        """Rows that were to be restored, by what came of it."""
        return Counter(row.restored or "pending" for row in self.rows if row.made in MAY_BE_MADE)

    def json(self) -> str:
        """The report as JSON."""
        override = self.override
        report = {
            **override.summary,
            "message": self.message,
            "started_at": iso_text(self.began_at) if self.began_at else None,
            "started_late_seconds": self.began_late,
            "restoring_at": iso_text(self.restoring_at) if self.restoring_at else None,
            "restoring_late_seconds": self.restoring_late,
            "ended_by": override.output.get("ended_by"),
            "restored_by": self.restored_by,
            "made": dict(self.made),
            "restored": dict(self.restored),
            "not_made": self.not_made,
            "settled": self.settled,
            "left": self.left,
            "notifications": [each.summary for each in self.notifications],
            "rows": [asdict(row) for row in self.rows],
        }
        return json.dumps(report, indent=2, ensure_ascii=False) + "\n"

    def csv(self) -> str:
        """The report as CSV, safe to open in a spreadsheet."""
        return report_csv([asdict(row) for row in self.rows], list(OverriddenRow.__dataclass_fields__))


def _started_at(workflow: JsonObject, name: str) -> datetime | None:
    tasks: list[JsonObject] = workflow.get("tasks") or []
    found = (task.get("startTime") for task in tasks if task["referenceTaskName"] == name)
    return next((from_milliseconds(started) for started in found if started), None)


def _seconds_after(planned: datetime | None, at: datetime | None) -> float | None:
    return (at - planned).total_seconds() if planned and at and at >= planned else None


def _restorers(engine: EngineApi, override: Override) -> list[str]:
    """The workflows that restored what an override had left: of its guard, its failure workflow, or our own in turn."""
    found = [str(override.output.get("conductor.failure_workflow") or "")]
    if override.guard:
        found.append(child_of(engine.workflow(override.guard), "restore") or "")
    ours = engine.correlated(RESTORE, override.workflow_id, ended=True)
    found += [each["workflowId"] for each in sorted(ours, key=lambda each: int(each.get("startTime") or 0))]
    return [each for each in found if each and " " not in each]


def _results(engine: EngineApi, workflow_id: str | None, runs: dict[str, ProvisioningRun]) -> dict[Slot, ChangeResult]:
    """The results of a provisioning run, by slot."""
    if workflow_id is None:
        return {}
    run = runs.pop(workflow_id, None) or ProvisioningRun(engine, workflow_id)
    runs[workflow_id] = run
    if not run.ended:
        run.refresh()
    return {slot_of(row.change): row for row in run.rows}


def _row(
    change: JsonObject, made: ChangeResult | None, restored: ChangeResult | None, *, settled: bool
) -> OverriddenRow:
    note = note_of(change)
    planned = note.get("previous")
    planned = [each for each in planned if isinstance(each, dict)] if isinstance(planned, list) else []
    line = note.get("line")
    # What was read just before the beginning counts, not what was selected when it was planned.
    previous = made.previous[0].id if made and made.previous else str(planned[0].get("id") or "") if planned else ""
    named = {str(each.get("id")): each.get("name") for each in planned}
    named |= {each.id: each.name for each in made.previous or () if each.name} if made else {}
    return OverriddenRow(
        line=line if isinstance(line, int) else 0,
        **{name: str(change.get(name) or "") for name in ("target_type", "target_id", "ivr_type", "ivr_id")},
        select_option=change.get("select_option") or None,
        credential=str(change.get("credential") or "default"),
        previous=previous,
        made=made.outcome if made else None,
        made_message=made.message if made else "",
        restored=restored.outcome if restored else None,
        restored_message=restored.message if restored else "",
        left=made is not None
        and made.outcome in MAY_BE_MADE
        and not ((restored is not None and restored.ok) or settled),
        settled=settled,
        target_name=str(note.get("target_name") or ""),
        office_name=str(note.get("office_name") or ""),
        ivr_name=str(note.get("ivr_name") or ""),
        previous_name=str(named.get(previous) or ""),
    )
