"""Overrides, as read from the engine: what they are, what they do, and which of them meet in a slot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, Final

from dialpad_ivr.contract.validation import short
from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, EngineError, JsonObject, unless_missing
from dialpad_ivr.provisioning.override_decisions import Decision, read_decisions
from dialpad_ivr.provisioning.plan import target_text
from dialpad_ivr.provisioning.times import from_milliseconds, iso_text, zone_text

WORKFLOW: Final = "override_custom_ivrs"
GUARD: Final = "override_custom_ivrs_guard"
RESTORE: Final = "override_custom_ivrs_restore"

BEFORE: Final = ("early_wait", "early_again_wait", "before_wait", "before_again_wait")
DURING: Final = ("during_wait", "during_again_wait")
_WAITS: Final = {"approval": "approval", **dict.fromkeys(BEFORE, "planned"), **dict.fromkeys(DURING, "active")}
"""What an override is while it waits in one of these tasks."""

ON: Final = ("applying", "active", "restoring")
"""The phases in which an override may have changed something."""

Slot = tuple[str, str, str, str, str]
"""Credential profile, target type, target id, IVR type and direction ("" is both)."""


@dataclass(frozen=True)
class Override:
    """An override, as of the moment when it was read.

    Attributes:
        workflow_id: The id of its workflow.
        status: The workflow's status.
        state: `approval`, `planned`, `applying`, `active` or `restoring`; once it has ended its outcome, or
            `broken_off` if it did not end by itself.
        start: When it begins or began, in UTC.
        end: When it ends, in UTC; `None` until somebody ends it.
        changes: The workflow's input.
        domain: The task domain of its workers.
        inside: The override that this one is nested in.
        guard: The id of the workflow that restores if this one is terminated.
        output: The workflow's output, once it has ended.
        ended_at: When it ended, in UTC.
        notify: The connection of the engine that is told what was done.
        not_made: How many changes were not made; 0 as long as that is not known.
        decisions: What people decided on it.
    """

    workflow_id: str
    status: str
    state: str
    start: datetime
    end: datetime | None
    changes: tuple[JsonObject, ...]
    reason: str
    requested_by: str
    zone: str
    domain: str | None
    inside: str | None
    guard: str | None
    output: JsonObject
    ended_at: datetime | None
    notify: str | None = None
    not_made: int = 0
    decisions: tuple[Decision, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.status in TERMINAL_STATUSES

    @property
    def on(self) -> bool:
        """Whether what it selects may be selected now."""
        return self.state in ON

    @property
    def overdue(self) -> bool:
        """Whether it has not ended, though it should have been restored by now."""
        return not self.ended and is_overdue(self.end, len(self.changes), datetime.now(timezone.utc))

    @property
    def left_behind(self) -> bool:
        """Whether it ended with its own IVRs selected: broken off while it was on, or some could not be restored.

        They may be restored since. What a person changed meanwhile does not count.
        """
        if self.state == "not_restored":
            counts = (self.output.get("restored") or {}).get("counts") or {}
            return int(self.output.get("left_rows") or 0) > int(counts.get("conflict") or 0)
        return self.state == "broken_off" and self.output.get("phase") in ON

    @property
    def slots(self) -> dict[Slot, JsonObject]:
        """Its changes by slot."""
        return {slot_of(change): change for change in self.changes}

    @property
    def summary(self) -> JsonObject:
        """What it is, for a document; its times in UTC."""
        return {
            "workflow_id": self.workflow_id,
            "state": self.state,
            "from": iso_text(self.start),
            "until": iso_text(self.end) if self.end else None,
            "zone": self.zone,
            "reason": self.reason,
            "requested_by": self.requested_by,
            "notify": self.notify,
            "ended_at": iso_text(self.ended_at) if self.ended_at else None,
            "decisions": [each.summary for each in self.decisions],
        }

    def meets(self, start: datetime, end: datetime | None) -> bool:
        """Whether it is on at some time between these."""
        return (end is None or self.start < end) and (self.end is None or start < self.end)


def slot_of(change: JsonObject) -> Slot:
    """The slot that a change is about."""
    names = ("target_type", "target_id", "ivr_type", "select_option")
    target_type, target_id, ivr_type, direction = (str(change.get(name) or "") for name in names)
    return (str(change.get("credential") or "default"), target_type, target_id, ivr_type, direction)


def note_of(change: JsonObject) -> JsonObject:
    """The note of a change, empty if it has none: another client of the engine may have started it, with any note."""
    note = change.get("note")
    return note if isinstance(note, dict) else {}


def read_override(engine: EngineApi, workflow_id: str) -> Override:
    """An override, by the id of its workflow or of its guard.

    Raises:
        EngineError: There is no such override (404), or the engine did not answer.
    """
    try:
        found = engine.workflow(workflow_id)
    except EngineError as exc:
        if exc.status != 404:
            raise
        message = f"There is no override {short(workflow_id)}.\nList them with: dialpad-ivr override list"
        raise EngineError(message, 404) from None
    if found.get("workflowName") == GUARD:
        child = child_of(found, "override")
        if child is None:
            raise EngineError(f"{workflow_id} has not started its override yet.", 404)
        found = engine.workflow(child)
    if found.get("workflowName") != WORKFLOW:
        raise EngineError(f"{workflow_id} is a run of {found.get('workflowName')}, not an override.", 404)
    return _override(found)


def _override(found: JsonObject) -> Override:
    inputs, variables, output = (found.get(name) or {} for name in ("input", "variables", "output"))
    status = found["status"]
    started = from_milliseconds(found.get("startTime") or 0)
    changes = inputs.get("changes")
    tasks = found.get("tasks") or []
    return Override(
        workflow_id=found["workflowId"],
        status=status,
        state=_state(status, variables, output, tasks),
        start=_time(variables.get("from_ms")) or started,
        end=_time(variables.get("until_ms")),
        changes=tuple(each for each in changes if isinstance(each, dict)) if isinstance(changes, list) else (),
        reason=str(inputs.get("reason") or ""),
        requested_by=str(inputs.get("requested_by") or ""),
        zone=str(inputs.get("zone") or "UTC"),
        domain=inputs.get("domain") or None,
        inside=inputs.get("inside") or None,
        guard=found.get("parentWorkflowId") or None,
        output=output if status in TERMINAL_STATUSES else {},
        ended_at=from_milliseconds(found["endTime"]) if found.get("endTime") else None,
        notify=str(inputs.get("notify") or "") or None,
        not_made=_not_made(tasks),
        decisions=read_decisions(tasks),
    )


def _not_made(tasks: Iterable[JsonObject]) -> int:
    """How many changes the first half has not made, by its own count."""
    output = next((task.get("outputData") or {} for task in tasks if task["referenceTaskName"] == "apply"), {})
    return int(output.get("rows") or 0) - int(output.get("ok_rows") or 0)


def _time(value: Any) -> datetime | None:
    return from_milliseconds(value) if isinstance(value, int | float) else None


def _state(status: str, variables: JsonObject, output: JsonObject, tasks: Iterable[JsonObject]) -> str:
    if status in TERMINAL_STATUSES:
        return str(output.get("outcome") or "broken_off")
    waiting = (_WAITS.get(reference(task)) for task in tasks if task["status"] == "IN_PROGRESS")
    return next(filter(None, waiting), str(variables.get("phase") or "planned"))


def reference(task: JsonObject) -> str:
    """The task's reference name, without the iteration of a loop."""
    return str(task["referenceTaskName"]).partition("__")[0]


def child_of(workflow: JsonObject, reference: str) -> str | None:
    """The id of the sub-workflow that a task has started."""
    tasks: list[JsonObject] = workflow.get("tasks") or []
    found = (task.get("subWorkflowId") for task in tasks if task["referenceTaskName"] == reference)
    return next(filter(None, found), None)


def running_overrides(engine: EngineApi) -> list[Override]:
    """The overrides that are planned or active, by their beginning.

    Raises:
        EngineError: The engine did not answer.
    """
    found = [unless_missing(read_override, engine, workflow_id) for workflow_id in engine.running(WORKFLOW)]
    return sorted((each for each in found if each and not each.ended), key=lambda each: each.start)


def left_behind(engine: EngineApi, count: int = 50) -> list[Override]:
    """Of the most recently started overrides, those that ended with their own IVRs selected.

    Raises:
        EngineError: The engine did not answer.
    """
    ended = [each for each in engine.newest(WORKFLOW, count) if each.get("status") in TERMINAL_STATUSES]
    suspects = [each["workflowId"] for each in ended if each["status"] != "COMPLETED"]
    found = [unless_missing(read_override, engine, workflow_id) for workflow_id in suspects]
    return [each for each in found if each and each.left_behind]


@dataclass(frozen=True)
class Overlap:
    """A slot that another override has at the same time.

    Attributes:
        other: The other override.
        slots: The slots that meet.
        target: The target of the first of them, with its name if it is known.
    """

    other: Override
    slots: tuple[Slot, ...]
    target: str

    def text(self, zone: tzinfo) -> str:
        """What is in the way, for people, with its times in a zone."""
        other, first = self.other, self.slots[0]
        until = f"until {zone_text(other.end, zone)}" if other.end else "until it is ended"
        more = f" and {len(self.slots) - 1} more" if len(self.slots) > 1 else ""
        return (
            f"Override {other.workflow_id} has {first[1]} {self.target} {first[3]}{more} from "
            f"{zone_text(other.start, zone)} {until}: {short(other.reason)} ({short(other.requested_by)})"
        )


def gap(rows: int) -> timedelta:
    """How long after an override another one of its slots may begin, with that many changes in both.

    What is selected is read shortly before a beginning. Until then, the other one must be restored.
    """
    return timedelta(seconds=60 + 0.2 * rows)


def is_overdue(end: datetime | None, rows: int, now: datetime) -> bool:
    """Whether an override that has not ended should have been restored by now."""
    return end is not None and end + gap(rows) < now


def overlaps(
    changes: Sequence[JsonObject], start: datetime, end: datetime | None, others: Iterable[Override]
) -> list[Overlap]:
    """The overrides that meet one of these changes in a slot, at the same time or with less than the gap between."""
    slots = [slot_of(change) for change in changes]
    found = []
    for other in others:
        between = gap(len(changes) + len(other.changes))
        if not other.meets(start - between, end + between if end else None):
            continue
        theirs: dict[Slot, set[str]] = {}
        for slot in other.slots:
            theirs.setdefault((*slot[:4], ""), set()).add(slot[4])
        # Inbound and outbound of one slot do not meet; but either meets both.
        shared = [slot for slot in slots if meets_direction(slot[4], theirs.get((*slot[:4], ""), set()))]
        if shared:
            found.append(Overlap(other, tuple(shared), _target_of(shared[0], (*changes, *other.changes))))
    return found


def _target_of(slot: Slot, changes: Iterable[JsonObject]) -> str:
    """The target of a slot, with its name where one of these changes has it: of a plan, or in its note."""
    known = (note_of(change) | change for change in changes if slot_of(change)[:3] == slot[:3])
    named = next((each for each in known if each.get("target_name")), {})
    name, office = (str(named.get(key) or "") for key in ("target_name", "office_name"))
    return target_text(slot[2], name, office)


def meets_direction(direction: str, theirs: set[str]) -> bool:
    """Whether a direction of a slot is among others, "" being both."""
    return bool(theirs) and (not direction or direction in theirs or "" in theirs)


def outer_of(found: Sequence[Overlap], start: datetime, end: datetime | None) -> Override | None:
    """The override that one from `start` to `end` may be nested in: the innermost, if it is within all of them."""
    others = [overlap.other for overlap in found]
    if all(_within(start, end, other) for other in others):
        return max(others, key=lambda other: other.start, default=None)
    return None


def _within(start: datetime, end: datetime | None, outer: Override) -> bool:
    """Whether a window begins after another override has, and ends before it does, with the gap between."""
    between = gap(2 * len(outer.changes))
    return outer.start + between < start and end is not None and (outer.end is None or end + between < outer.end)


def nests(inner_or_outer: Override, end: datetime | None, other: Override) -> bool:
    """Whether an override that ends then is nested in another one, or the other in it."""
    if inner_or_outer.inside == other.workflow_id:
        return _within(inner_or_outer.start, end, other)
    if other.inside == inner_or_outer.workflow_id:
        return other.end is not None and (end is None or other.end + gap(2 * len(other.changes)) < end)
    return False
