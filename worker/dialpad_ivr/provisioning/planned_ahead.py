"""What `override start` is to start: of a file with windows, the rows of one window become one override."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from dialpad_ivr.contract.outputs import SelectedIvr
from dialpad_ivr.provisioning.formats import Violation
from dialpad_ivr.provisioning.override_control import is_too_large
from dialpad_ivr.provisioning.override_text import OPEN_END
from dialpad_ivr.provisioning.overrides import (
    Overlap,
    Override,
    gap,
    meets_direction,
    note_of,
    outer_of,
    overlaps,
    slot_of,
)
from dialpad_ivr.provisioning.plan import Action, Plan, PlannedChange, make_plan
from dialpad_ivr.provisioning.report import why_unrestorable
from dialpad_ivr.provisioning.times import Problem, Window, zone_text
from dialpad_ivr.provisioning.windows import RowWindow

TOO_LARGE: Final = "The changes and their names are more than the engine takes at once. Split the file."

_Key = tuple[datetime | None, datetime | None, str]


@dataclass(frozen=True)
class PlannedOverride:
    """What is to become one override.

    Attributes:
        window: When it begins and ends.
        plan: Its rows.
        inside: The override that it is nested in.
    """

    window: Window
    plan: Plan
    inside: Override | None = None

    @property
    def nothing_to_change(self) -> str:
        """Why there is nothing to start, of one whose plan changes nothing."""
        if self.inside is None:
            return "Nothing to change."
        end = self.inside.end
        until = f"until {zone_text(end, self.window.zone)}" if end else OPEN_END
        by = f"override {self.inside.workflow_id} {until}"
        return f"Its IVRs are already selected by {by}, so there is nothing to nest."

    def lines(self, overlap: Overlap) -> list[int]:
        """The lines of the rows that another override meets."""
        slots = {*overlap.slots}
        return [row.line for row in self.plan.rows if slot_of(row.model_dump()) in slots]


def planned_overrides(plan: Plan, zone: str, now: datetime) -> tuple[list[PlannedOverride], list[Violation]]:
    """The overrides of a plan whose rows have windows, and all that is wrong with these.

    Args:
        plan: What to change; each row has a window.
        zone: The zone of rows that name none, and whose office's is not known.
        now: The time now, in UTC.

    Returns:
        The overrides by their beginning, and every violation: also rows that could not be restored, and two that set
        the same slot at the same time, or with less than the gap between.
    """
    by_text: dict[RowWindow, list[PlannedChange]] = defaultdict(list)
    for row in plan.rows:
        if row.window is not None:
            by_text[row.window].append(row)
    violations: list[Violation] = []
    same_time: dict[_Key, dict[RowWindow, Window]] = defaultdict(dict)
    for text, rows in by_text.items():
        found = text.read(zone, 0, now)
        if isinstance(found, Window):
            same_time[found.start, found.end, found.zone.key][text] = found
        else:
            violations += _violations(found, rows)
    overrides = []
    for windows in same_time.values():
        rows = [row for text in windows for row in by_text[text]]
        text = next(iter(windows))
        found = text.read(zone, sum(row.action == "change" for row in rows), now)  # is it long enough for all of them?
        if isinstance(found, Window):
            notes = dict.fromkeys(note for window in windows.values() for note in window.notes)
            found = replace(found, notes=tuple(notes))
            overrides.append(PlannedOverride(found, make_plan(rows, plan.api_url, plan.source)))
        else:
            violations += _violations(found, rows)
    overrides.sort(key=lambda each: (each.window.start or now, each.window.end or now, each.window.zone.key))
    violations += [
        Violation(each.plan.rows[0].line, "$", TOO_LARGE, "") for each in overrides if is_too_large(each.plan)
    ]
    violations += [Violation(line, "$", message, "") for line, message in unrestorable(plan)]
    return overrides, [*violations, *_collisions(overrides, now)]


def unrestorable(plan: Plan) -> list[tuple[int, str]]:
    """The rows that could not be restored: their lines, and why."""
    found = []
    for row in plan.changes:
        if reason := why_unrestorable(row.previous):
            what = f"{row.slot_text} could not be restored: {reason}."
            found.append((row.line, f"{what} Take it out, or change it for good with `dialpad-ivr apply`."))
    return found


def nested_plan(plan: Plan, outer: Override) -> Plan:
    """A plan within another override: when it begins, what that one selects is selected."""
    theirs = outer.slots

    def within(row: PlannedChange) -> PlannedChange:
        slot = slot_of(row.model_dump())
        change = theirs.get(slot) or theirs.get((*slot[:4], ""))
        if change is None:
            return row
        previous = SelectedIvr(id=str(change.get("ivr_id")), name=note_of(change).get("ivr_name"))
        action: Action = "unchanged" if previous.id == row.ivr_id else "change"
        return row.model_copy(update={"previous": (previous,), "action": action})

    return make_plan([within(row) for row in plan.rows], plan.api_url, plan.source)


def later_plan(plan: Plan, running: Iterable[Override]) -> Plan:
    """A plan for after the overrides that are on now: what one of them has selected is a change by then."""
    theirs = {slot: change for each in running if each.on for slot, change in each.slots.items()}

    def after(row: PlannedChange) -> PlannedChange:
        slot = slot_of(row.model_dump())
        change = theirs.get(slot) or theirs.get((*slot[:4], ""))
        if row.action != "unchanged" or change is None or str(change.get("ivr_id")) != row.ivr_id:
            return row
        previous = tuple(SelectedIvr.model_validate(each) for each in note_of(change).get("previous") or ())
        return row.model_copy(update={"previous": previous, "action": "change"})

    return make_plan([after(row) for row in plan.rows], plan.api_url, plan.source)


def fitted(
    planned: PlannedOverride, running: Sequence[Override], now: datetime, *, nested: bool
) -> tuple[PlannedOverride, list[Overlap]]:
    """What is to be started, within the override that it is nested in; and those that it must not meet.

    Args:
        planned: What is to be started.
        running: The overrides that are planned or active.
        now: The time now, in UTC.
        nested: Whether it may be nested in another one.
    """
    begins, ends = planned.window.start or now, planned.window.end
    changes = [row.model_dump() for row in planned.plan.rows]  # what is selected already may be so by another override
    found = overlaps(changes, begins, ends, running)
    outer = outer_of(found, begins, ends) if nested else None
    if outer is None:
        return replace(planned, plan=later_plan(planned.plan, running)), found
    return replace(planned, plan=nested_plan(planned.plan, outer), inside=outer), []


def all_fitted(
    planned: Sequence[PlannedOverride], running: Sequence[Override], now: datetime, *, nested: bool
) -> tuple[list[PlannedOverride], list[Violation]]:
    """The same of all overrides of a file; what they must not meet as violations of their rows."""
    ready, violations = [], []
    for each in planned:
        override, met = fitted(each, running, now, nested=nested)
        ready.append(override)
        for overlap in met:
            text = overlap.text(each.window.zone)
            violations += [Violation(line, "$", text, apart(nested=nested)) for line in each.lines(overlap)]
    return ready, violations


def apart(*, nested: bool) -> str:
    """What to do about an override that meets another one."""
    if nested:
        return "A nested one must begin after the other has, and end before it does."
    return "Choose other times, end the other first, or nest this one in it with --nested."


def _violations(problems: Sequence[Problem], rows: Iterable[PlannedChange]) -> list[Violation]:
    lines = sorted({row.line for row in rows})
    return [Violation(line, problem.option, problem.message, "") for line in lines for problem in problems]


@dataclass(frozen=True)
class _Taken:
    """A slot that a row has taken.

    Attributes:
        until: Its end, later by what its override adds to the gap before the next one.
    """

    row: PlannedChange
    override: PlannedOverride
    until: datetime


def _collisions(overrides: Sequence[PlannedOverride], now: datetime) -> Iterator[Violation]:
    """Rows that begin before an earlier one of the same slot is restored.

    Args:
        overrides: By their beginning.
        now: The time now, in UTC.
    """
    least = gap(0)
    taken: dict[tuple[str, ...], dict[str, _Taken]] = defaultdict(dict)
    for each in overrides:
        own = gap(len(each.plan.rows)) - least
        for row in each.plan.rows:
            *slot, direction = slot_of(row.model_dump())
            earlier = taken[tuple(slot)]
            begins = each.window.start or now
            met = [other for way, other in earlier.items() if meets_direction(direction, {way})]
            last = max(met, key=lambda other: other.until, default=None)
            if last is not None and begins < last.until + least + own:
                yield _collision(row, each, last)
            until = (each.window.end or now) + own
            if direction not in earlier or earlier[direction].until < until:
                earlier[direction] = _Taken(row, each, until)


def _collision(row: PlannedChange, override: PlannedOverride, other: _Taken) -> Violation:
    zone, ends = override.window.zone, other.override.window.end
    until = f" until {zone_text(ends, zone)}" if ends else ""
    seconds = math.ceil(gap(len(override.plan.rows) + len(other.override.plan.rows)) / timedelta(seconds=1))
    message = f"Line {other.row.line} has {other.row.slot_text}{until}."
    hint = f"Begin {seconds} s after that at the earliest, or make one row of both."
    return Violation(row.line, "from", message, hint)
