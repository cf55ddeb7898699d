"""A client of the workflow `override_custom_ivrs`: starts, approves, extends, ends and cancels overrides."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Final
from zoneinfo import ZoneInfo

from dialpad_ivr.contract.validation import short
from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, EngineError, JsonObject
from dialpad_ivr.provisioning.override_report import OverrideRun
from dialpad_ivr.provisioning.override_text import state_text
from dialpad_ivr.provisioning.overrides import (
    BEFORE,
    DURING,
    GUARD,
    RESTORE,
    Overlap,
    Override,
    child_of,
    nests,
    note_of,
    overlaps,
    read_override,
    reference,
    running_overrides,
    slot_of,
)
from dialpad_ivr.provisioning.plan import Plan
from dialpad_ivr.provisioning.times import Problem, Window, iso_text, milliseconds, too_short
from dialpad_ivr.provisioning.workflow import approve, stop, workflow_changes

# The engine fails a task whose input or output is larger than 3,072 KB, and the workflow adds some 40 bytes to a row.
LARGEST_CHANGES: Final = 2_700_000

# As the workflow has it: a path within the address that the engine's environment names.
_CONNECTION: Final = re.compile("[A-Za-z0-9_-]{1,64}")

_STARTED_WITHIN_SECONDS: Final = 30.0
_REACHED_WITHIN_SECONDS: Final = 90.0
_PAUSE_SECONDS: Final = 0.25
_SEEN_WITHIN_SECONDS: Final = 1.0  # from its start, by which time everybody sees a workflow as running
_BEGINS_AFTER: Final = "4s"  # so that the later one of two gives way before either makes a change that the other finds
_SOON_SECONDS: Final = 5.0  # an override that begins so soon, or should have by now, may begin while it is canceled


def is_too_large(plan: Plan) -> bool:
    """Whether the changes are more than the engine takes as the input of one task."""
    return len(json.dumps(workflow_changes(plan, overwrite=False))) > LARGEST_CHANGES


def notify_problems(name: str | None) -> list[Problem]:
    """What is wrong with the name of a connection; the workflow checks the same."""
    if name is None or _CONNECTION.fullmatch(name):
        return []
    return [
        Problem("--notify", f'--notify: "{short(name)}" is no name of a connection. It has letters, digits, - and _.')
    ]


def start_override(
    engine: EngineApi,
    plan: Plan,
    window: Window,
    *,
    reason: str,
    requested_by: str,
    approval: bool = False,
    max_failures: str | None = None,
    domain: str | None = None,
    inside: Override | None = None,
    notify: str | None = None,
) -> str:
    """Start the guard, and with it the override.

    Args:
        engine: The engine.
        plan: The changes; only rows with the action `change` are made.
        window: When it begins and ends.
        reason: Why, for the record.
        requested_by: Who wants it.
        approval: Whether to wait for a person's approval.
        max_failures: Failed changes, as a number or a percentage, after which no more are made.
        domain: The task domain of the workers.
        inside: The override that this one is nested in.
        notify: The connection of the engine that is told what was done; nobody is by default.

    Returns:
        The id of the override's workflow.

    Raises:
        EngineError: The engine did not start it; or another one of its slots was started at the same moment, before it
            (409): it was canceled then.
    """
    inputs = {
        "changes": workflow_changes(plan, overwrite=False),
        "from": iso_text(window.start) if window.start else _BEGINS_AFTER,
        "until": iso_text(window.end) if window.end else None,
        "zone": window.zone.key,
        "reason": reason,
        "requested_by": requested_by,
        "approval": approval,
        "max_failures": max_failures,
        "domain": domain,
        "inside": inside.workflow_id if inside else None,
        "notify": notify,
    }
    guard = engine.start_workflow(GUARD, inputs, correlation_id=plan.hash)
    deadline = time.monotonic() + _STARTED_WITHIN_SECONDS
    while time.monotonic() < deadline:
        found = engine.workflow(guard)
        if child := child_of(found, "override"):
            try:
                _give_way(engine, child, by=requested_by)
            except EngineError as exc:
                if exc.status == 409:
                    raise
                message = f"{child} was started, but the engine did not say whether it meets another one: {exc}"
                raise EngineError(message, exc.status, perhaps_done=True) from exc
            return child
        if found["status"] in TERMINAL_STATUSES:
            raise EngineError(f"{guard} ended as {found['status']}: {found.get('reasonForIncompletion')}", 409)
        time.sleep(_PAUSE_SECONDS)
    return guard  # by which it is found just as well


def _give_way(engine: EngineApi, workflow_id: str, *, by: str) -> None:
    """Cancel or end an override that was just started, if another one that it meets was started before.

    Each of two that are started at the same moment may have looked before the other was there. Both look again, and
    the one that the engine started later gives way; of the same millisecond, the one with the greater id.

    Raises:
        EngineError: It has given way (409), or the engine did not answer.
    """
    time.sleep(_SEEN_WITHIN_SECONDS)
    running = running_overrides(engine)
    own = next((each for each in running if each.workflow_id == workflow_id), None)
    if own is None:
        return
    around = _around(own, running)
    others = [each for each in running if each.workflow_id not in (workflow_id, *around)]
    for overlap in overlaps(own.changes, own.start, own.end, others):
        other = overlap.other
        if _order(engine, other) > _order(engine, own):
            continue
        reason = f"{other.workflow_id} was started before"
        _withdraw(engine, workflow_id, by=by, reason=reason)
        raise EngineError(
            f"{overlap.text(ZoneInfo(own.zone))}. It was started at the same moment, before this one, {workflow_id}, "
            "which was canceled.",
            409,
        )


def _around(override: Override, running: Iterable[Override]) -> set[str]:
    """The overrides that one is nested in: the one around it, the one around that, and so on."""
    by_id, around = {each.workflow_id: each for each in running}, set[str]()
    inside = override.inside
    while inside is not None and inside not in around:
        around.add(inside)
        inside = by_id[inside].inside if inside in by_id else None
    return around


def _order(engine: EngineApi, override: Override) -> tuple[int, str]:
    """By which of two overrides, the one started first goes on."""
    return int(engine.workflow(override.workflow_id, tasks=False).get("startTime") or 0), override.workflow_id


def _withdraw(engine: EngineApi, workflow_id: str, *, by: str, reason: str) -> None:
    """Cancel an override before it begins, or end it if it has begun."""
    deadline = time.monotonic() + _REACHED_WITHIN_SECONDS
    while time.monotonic() < deadline:
        own = read_override(engine, workflow_id)
        try:
            if own.state in ("applying", "active"):
                end_override(engine, workflow_id, by=by, reason=reason)
                return
            if own.state in ("approval", "planned"):
                cancel_override(engine, workflow_id, by=by, reason=reason)
                if not _begins_about_now(own):
                    return
        except EngineError as exc:
            if exc.status != 409:
                raise
        if own.ended or own.state == "restoring":
            return
        time.sleep(_PAUSE_SECONDS)  # until it has ended, or begun all the same
    raise EngineError(f"{workflow_id} could not be ended: {reason}. End it with: dialpad-ivr override end", 409)


def _begins_about_now(override: Override) -> bool:
    return abs(override.start - datetime.now(timezone.utc)) < timedelta(seconds=_SOON_SECONDS)


def end_override(engine: EngineApi, workflow_id: str, *, by: str, reason: str) -> Override:
    """Restore now. Of one that has ended, what it has left.

    Changes that are being made are awaited; what waits is held back. One that begins within seconds is awaited, too.

    Returns:
        The override as it was before.

    Raises:
        EngineError: It is not on (409), or the engine did not answer.
    """
    while (override := read_override(engine, workflow_id)).state == "planned" and _begins_about_now(override):
        time.sleep(_PAUSE_SECONDS)
    if override.left_behind:
        run = OverrideRun(engine, override)
        if run.restored_by and not run.overridden:
            raise EngineError(f"{override.workflow_id} has left nothing to restore.", 409)
        if override.state == "broken_off":
            kept = {name: override.output.get(name) for name in ("phase", "not_made", "previous")}
            inputs = {"changes": [*override.changes], **kept}
        else:
            inputs = {"changes": _changes_left(run), "phase": "active"}
        inputs |= {"domain": override.domain, "notify": override.notify, "override_id": override.workflow_id}
        inputs |= {"reason": override.reason, "requested_by": override.requested_by, "ended_by": by}
        engine.start_workflow(RESTORE, inputs, correlation_id=override.workflow_id)
        return override
    if override.state not in ("applying", "active"):
        raise impossible(override, "end")
    if override.state == "applying":
        child = child_of(engine.workflow(override.workflow_id), "apply")
        if child:
            try:
                stop(engine, child, by=by)
            except EngineError as exc:
                if exc.status != 409:  # all changes have been made meanwhile
                    raise
    _answer(engine, override.workflow_id, DURING, {"action": "end", "by": by, "reason": reason})
    return override


def _changes_left(run: OverrideRun) -> list[JsonObject]:
    """The changes that were not restored, with what was selected before. Slots that were may be another override's."""
    left = {slot_of(asdict(row)): row for row in run.rows if row.overridden}
    return [
        {**change, "note": {**note_of(change), "previous": [{"id": row.previous, "name": row.previous_name or None}]}}
        for change in run.override.changes
        if (row := left.get(slot_of(change)))
    ]


def extend_override(engine: EngineApi, workflow_id: str, until: datetime | None, *, by: str, reason: str) -> Override:
    """Let it end at another time.

    Raises:
        EngineError: It has ended, is restoring or waits for approval (409), or the engine did not answer.
    """
    override = read_override(engine, workflow_id)
    if override.state not in ("planned", "applying", "active"):
        raise impossible(override, "extend")
    answer = {"action": "extend", "until_ms": milliseconds(until) if until else None, "by": by, "reason": reason}
    _answer(engine, override.workflow_id, (*BEFORE, *DURING), answer)
    return override


def end_problem(override: Override, until: datetime | None) -> str | None:
    """Why an override cannot end then, whatever others there are; `None` if it can."""
    if until is None:
        return None
    if until <= override.start:
        return "The new end must be after the beginning of the override."
    now = datetime.now(timezone.utc)
    if not override.on:
        return too_short(until - max(override.start, now), len(override.changes))
    if too_short(until - now, 0):
        return f"The new end is too soon. To restore now: dialpad-ivr override end {override.workflow_id}"
    return None


def overlaps_if_extended(engine: EngineApi, override: Override, until: datetime | None) -> list[Overlap]:
    """The overrides that this one would meet if it ended then, without those that it is nested in or that are in it.

    Raises:
        EngineError: The engine did not answer.
    """
    others = [each for each in running_overrides(engine) if each.workflow_id != override.workflow_id]
    met = overlaps(override.changes, override.start, until, others)
    return [each for each in met if not nests(override, until, each.other)]


def cancel_override(engine: EngineApi, workflow_id: str, *, by: str, reason: str) -> Override:
    """End it before it begins.

    Raises:
        EngineError: It has begun (409), or the engine did not answer.
    """
    override = read_override(engine, workflow_id)
    if override.state not in ("approval", "planned"):
        raise impossible(override, "cancel")
    answer = {"action": "cancel", "by": by, "reason": reason}
    _answer(engine, override.workflow_id, ("approval", *BEFORE), answer)
    return override


def approve_override(engine: EngineApi, workflow_id: str, *, by: str, reason: str) -> Override:
    """Let one that waits for approval begin, at once if its beginning has gone by.

    Raises:
        EngineError: It does not wait for approval (409), or the engine did not answer.
    """
    override = read_override(engine, workflow_id)
    approve(engine, override.workflow_id, approved=True, by=by, reason=reason)
    return override


def impossible(override: Override, action: str) -> EngineError:
    """That an override in its state cannot be approved, ended, extended or canceled, and what can be done."""
    workflow_id, state = override.workflow_id, override.state
    if override.ended:
        text = f"has already ended ({state_text(override)}). There is nothing to {action}."
    elif state == "restoring":
        text = f"is being restored already.\nSee how far it is with: dialpad-ivr override report {workflow_id}"
    elif action == "approve":
        text = f"does not wait for approval: it is {state_text(override)}."
    elif action == "extend":
        text = f"waits for approval.\nApprove it first with: dialpad-ivr approve {workflow_id}"
    elif action == "end":
        text = f"has not begun.\nCancel it with: dialpad-ivr override cancel {workflow_id}"
    else:
        text = f"has already begun.\nEnd it with: dialpad-ivr override end {workflow_id}"
    return EngineError(f"Override {workflow_id} {text}", 409)


def _answer(engine: EngineApi, workflow_id: str, references: tuple[str, ...], output: JsonObject) -> None:
    """Complete the task in which the override waits; await it, if it is between two of them."""
    deadline = time.monotonic() + _REACHED_WITHIN_SECONDS
    while time.monotonic() < deadline:
        found = engine.workflow(workflow_id)
        for task in found.get("tasks") or []:
            if reference(task) in references and task["status"] == "IN_PROGRESS":
                engine.complete_task(workflow_id, task["taskId"], output)
                return
        if found["status"] in TERMINAL_STATUSES:
            raise EngineError(f"{workflow_id} has ended in the meantime.", 409)
        time.sleep(_PAUSE_SECONDS)
    raise EngineError(f"{workflow_id} is busy: it did not come to wait. Try again later.", 409)
