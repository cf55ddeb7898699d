"""How many overrides there are and what they have changed, for metrics."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Final

from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, JsonObject, unless_missing
from dialpad_ivr.provisioning.override_report import OverrideRun
from dialpad_ivr.provisioning.overrides import ON, RESTORE, WORKFLOW, is_overdue, read_override
from dialpad_ivr.provisioning.times import from_milliseconds
from dialpad_ivr.telemetry.metrics import OverrideFigures

_LEFT_FOR: Final = timedelta(hours=24)  # for which what was not restored is shown
_NEWEST: Final = 50  # overrides, of which those that have ended are looked at


class OverrideWatch:
    """Reads the figures. An override that has ended is read once, unless it may still be restored.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: EngineApi) -> None:
        self._engine = engine
        self._left: dict[str, int] = {}

    def read(self) -> OverrideFigures:
        """The figures as of now.

        Raises:
            EngineError: The engine did not answer.
        """
        now = datetime.now(timezone.utc)
        overrides, rows = {"planned": 0, "active": 0, "overdue": 0}, {"overridden": 0, "left": 0}
        for workflow_id in self._engine.running(WORKFLOW):
            found = unless_missing(self._engine.workflow_status, workflow_id, output=True)
            if found is None or found["status"] in TERMINAL_STATUSES:
                continue
            variables: JsonObject = found.get("variables") or {}
            count, until = int(variables.get("rows") or 0), variables.get("until_ms")
            on = variables.get("phase") in ON
            overdue = is_overdue(from_milliseconds(until) if until else None, count, now)
            overrides["overdue" if overdue else "active" if on else "planned"] += 1
            if on:
                rows["overridden"] += int(variables.get("overridden_rows", count))
        rows["left"] = self._left_rows(now)
        return OverrideFigures(overrides, rows)

    def _left_rows(self, now: datetime) -> int:
        """How many rows the overrides that ended lately have not restored."""
        recent = {
            each["workflowId"]
            for each in self._engine.newest(WORKFLOW, _NEWEST)
            if each.get("status") in TERMINAL_STATUSES and _is_recent(each, now)
        }
        self._left = {workflow_id: self._left[workflow_id] for workflow_id in recent & self._left.keys()}
        return sum(self._left_of(workflow_id) for workflow_id in recent)

    def _left_of(self, workflow_id: str) -> int:
        left = self._left.get(workflow_id)
        if left is None:
            found = unless_missing(self._engine.workflow_status, workflow_id, output=True) or {}
            output: JsonObject = found.get("output") or {}
            if output.get("outcome"):
                left = int(output.get("left_rows") or 0)
            elif (found.get("variables") or {}).get("phase") in ON:
                left = self._read_left(workflow_id)
                if left:
                    return left  # its guard, or a person, may still restore it
            else:
                left = 0
        if left and self._engine.newest(RESTORE, 1, workflow_id):  # a person has restored what it had left
            left = self._read_left(workflow_id)
        self._left[workflow_id] = left
        return left

    def _read_left(self, workflow_id: str) -> int:
        return OverrideRun(self._engine, read_override(self._engine, workflow_id)).left


def _is_recent(summary: JsonObject, now: datetime) -> bool:
    ended = datetime.fromisoformat(str(summary["endTime"]).replace("Z", "+00:00"))
    return now - ended < _LEFT_FOR
