"""A client of the workflow `check_custom_ivrs`, as the engine's scheduler starts it: its input, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dialpad_ivr.contract.validation import short
from dialpad_ivr.engine.api import EngineApi, JsonObject, unless_missing
from dialpad_ivr.engine.schedules import Schedule, ScheduleError
from dialpad_ivr.provisioning import run
from dialpad_ivr.provisioning.columns import FIELDS
from dialpad_ivr.provisioning.drift import CheckedRow
from dialpad_ivr.provisioning.plan import PlannedChange
from dialpad_ivr.provisioning.times import from_milliseconds, similar_zone

WORKFLOW: Final = "check_custom_ivrs"
VERSION: Final = 1  # that takes this input
MAX_ROWS: Final = 5000  # per run, because of the engine's limits

Repair = Literal["never", "ask"]


class _Part(BaseModel):
    """A part of the workflow's output. The rows are what people have written, so their ids may be numbers."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)


class CheckedIvr(_Part):
    """An IVR that is wanted, or selected."""

    id: str | None = None
    name: str | None = None


class Difference(_Part):
    """A row that is not in sync."""

    state: str
    line: int | None = None
    target_type: str | None = None
    target_id: str | None = None
    target_name: str | None = None
    office_name: str | None = None
    ivr_type: str | None = None
    select_option: str | None = None
    wanted: CheckedIvr = CheckedIvr()
    selected: tuple[CheckedIvr, ...] = ()
    message: str | None = None


class CheckResult(_Part):
    """What a check has found.

    Attributes:
        rows: How many rows were compared.
        counts: Rows by state.
        differences: The first rows that are not in sync.
        more_differences: How many more there are.
    """

    in_sync: bool
    rows: int
    counts: dict[str, int] = Field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    more_differences: int = 0
    message: str = ""


@dataclass(frozen=True)
class CheckRun:
    """A run of the workflow.

    Attributes:
        status: The workflow's status; RUNNING also while its repair waits for approval.
        message: What it found, or why it failed; empty while it compares.
        result: What it found; `None` while it compares, or if it failed.
    """

    workflow_id: str
    status: str
    started_at: datetime
    message: str
    result: CheckResult | None


def zone(name: str) -> tzinfo:
    """A time zone by the name that the engine's scheduler knows it by.

    Raises:
        ScheduleError: There is none of that name.
    """
    if name == "UTC":  # also where no time zones are installed
        return timezone.utc
    if name not in available_timezones():
        similar = similar_zone(name)
        hint = f"Did you mean {similar}?" if similar else "Use a name such as Europe/Berlin."
        raise ScheduleError(f"There is no time zone {name[:100]!r}.\n{hint}")
    return ZoneInfo(name)


def without_ids(checked: Sequence[CheckedRow]) -> list[PlannedChange]:
    """The rows that cannot be scheduled: their names mean no one id, or they set the same slot as an earlier row."""
    return [each.row for each in checked if each.state == "conflict" or not (each.row.target_id and each.row.ivr_id)]


def workflow_input(checked: Sequence[CheckedRow], repair: Repair, domain: str | None) -> JsonObject:
    """The workflow's input for these rows, profile by profile: a chunk of one has a queue of its own.

    Args:
        checked: Rows with ids.
        repair: Whether to ask for approval to repair what differs.
        domain: The task domain of the workers, if it is not the default queue.
    """
    rows = sorted((each.row for each in checked), key=lambda row: row.credential)
    return {"changes": [_workflow_row(row) for row in rows], "repair": repair, "domain": domain}


def _workflow_row(row: PlannedChange) -> JsonObject:
    names = {"target_name": row.target_name, "office_name": row.office_name, "ivr_name": row.ivr_name}
    note = {"line": row.line, **{name: short(value) for name, value in names.items() if value}}
    return {**{name: value for name in FIELDS if (value := getattr(row, name))}, "note": note}


def last_run(engine: EngineApi, schedule: Schedule) -> CheckRun | None:
    """The run that a schedule has started last since it was set up; `None` before the first.

    Raises:
        EngineError: The engine did not answer.
    """
    for summary in engine.newest(WORKFLOW, 1, correlation_id=schedule.name):
        workflow = unless_missing(engine.workflow, summary["workflowId"])
        if workflow is None:
            return None
        started = int(workflow.get("startTime") or 0)
        if started < schedule.set_up_at:  # by an earlier one of that name
            return None
        started_at = from_milliseconds(started)
        result = check_result(workflow)
        message = result.message if result else str(workflow.get("reasonForIncompletion") or "")
        return CheckRun(str(workflow["workflowId"]), str(workflow["status"]), started_at, message, result)
    return None


def check_result(workflow: JsonObject) -> CheckResult | None:
    """What a workflow has found, if it is a check that has come so far: also while its repair waits for approval."""
    if workflow.get("workflowName") != WORKFLOW:
        return None
    judged = (latest_task(workflow, "judge").get("outputData") or {}).get("result")
    return _read(workflow.get("output")) or _read(judged)


def _read(output: Any) -> CheckResult | None:
    try:
        return CheckResult.model_validate(output)
    except ValidationError:  # not there yet, or another version's
        return None


def latest_task(workflow: JsonObject, reference: str) -> JsonObject:
    """The task of that reference name, the last one if it was retried; empty if there is none yet."""
    tasks: list[JsonObject] = workflow.get("tasks") or []
    return next((task for task in reversed(tasks) if task.get("referenceTaskName") == reference), {})


@dataclass(frozen=True)
class WaitingRepair:
    """A provisioning run that waits for approval.

    Attributes:
        rows: How many it would change.
    """

    workflow_id: str
    started_at: datetime
    rows: int


def waiting_repairs(engine: EngineApi, schedule: str) -> list[WaitingRepair]:
    """The provisioning runs that a schedule's checks have started, and that wait for approval; the latest first.

    Raises:
        EngineError: The engine did not answer.
    """
    ids = [str(workflow["workflowId"]) for workflow in engine.correlated(run.WORKFLOW, schedule)]
    found = [engine.workflow(workflow_id) for workflow_id in ids]
    waiting = [
        WaitingRepair(
            str(workflow["workflowId"]),
            from_milliseconds(workflow.get("startTime") or 0),
            len((workflow.get("input") or {}).get("changes") or ()),
        )
        for workflow in found
        if run.approval_task(workflow) is not None
    ]
    return sorted(waiting, key=lambda each: each.started_at, reverse=True)
