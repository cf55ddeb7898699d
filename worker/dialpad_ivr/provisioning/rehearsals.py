"""What starting a playbook would do now, and its start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

from dialpad_ivr.contract.values import LISTED_LIMIT
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.provisioning.changes import Violation
from dialpad_ivr.provisioning.override_control import start_override
from dialpad_ivr.provisioning.overrides import Overlap, Override, overlaps, running_overrides
from dialpad_ivr.provisioning.plan import Plan, PlannedChange, make_plan
from dialpad_ivr.provisioning.playbooks import Playbook
from dialpad_ivr.provisioning.reader import Reader
from dialpad_ivr.provisioning.report import why_unrestorable
from dialpad_ivr.provisioning.snapshot import read_snapshot
from dialpad_ivr.provisioning.times import Window
from dialpad_ivr.provisioning.workflow import MAX_CHANGES


@dataclass(frozen=True)
class Rehearsal:
    """What starting a playbook would do now.

    Attributes:
        plan: Its changes, with what is selected now; without rows if there are violations.
        violations: Names that mean no target, or several, and rows that turn out to set the same slot.
        unrestorable: Changes that could not be restored, each with the reason.
        warnings: What could not be read in addition.
    """

    plan: Plan
    violations: tuple[Violation, ...]
    unrestorable: tuple[tuple[PlannedChange, str], ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the playbook can be started: every row of it, or none is."""
        return not (self.violations or self.unrestorable or self.plan.blocked)


async def rehearse(
    playbook: Playbook, reader: Reader, api_url: str, on_progress: Callable[[str, int, int], None]
) -> Rehearsal:
    """Look up all names now, and read what is selected. Changes nothing.

    Args:
        playbook: The playbook.
        reader: Reads Dialpad.
        api_url: The base URL of what it reads.
        on_progress: Progress callback: what is being read, how many were, and the total.

    Raises:
        PlaybookError: A row is invalid, because somebody has edited the definition.
    """
    snapshot = await read_snapshot(playbook.changes, reader, on_progress)
    plan = make_plan([*snapshot.rows], api_url, f"playbook {playbook.name}")
    unrestorable = tuple((row, why) for row in plan.changes if (why := why_unrestorable(row.previous)))
    return Rehearsal(plan, (*snapshot.violations, *_too_many(plan)), unrestorable, snapshot.warnings)


def others(engine: EngineApi, plan: Plan, until: datetime | None) -> list[Overlap]:
    """The overrides that have one of the plan's slots at some time from now until then.

    Raises:
        EngineError: The engine did not answer.
    """
    changes = [row.model_dump() for row in plan.rows]  # what is selected already may be so by another one
    return overlaps(changes, datetime.now(timezone.utc), until, running_overrides(engine))


def _too_many(plan: Plan) -> list[Violation]:
    """What the workflow on the engine would refuse: its lists are shorter, and it takes fewer changes."""
    found = [
        Violation(line, "target", f"The row names {LISTED_LIMIT} targets or more.", "Use a row for each office.")
        for line, count in Counter(row.line for row in plan.rows).items()
        if count >= LISTED_LIMIT
    ]
    if len(plan.rows) > MAX_CHANGES:
        message = f"The rows come to {len(plan.rows):,} slots; an override takes {MAX_CHANGES:,}."
        found.append(Violation(1, "$", message, "Make several playbooks of it."))
    return found


def start(
    engine: EngineApi,
    playbook: Playbook,
    plan: Plan,
    window: Window,
    *,
    reason: str,
    requested_by: str,
    inside: Override | None = None,
) -> str:
    """Start an override of what a rehearsal has found.

    Args:
        engine: The engine.
        playbook: Says who is asked, and when it stops.
        plan: Of a rehearsal that is ok.
        window: When the override begins and ends.
        reason: Why, for the record.
        requested_by: Who wants it.
        inside: The override that this one is nested in.

    Returns:
        The id of the override's workflow.

    Raises:
        EngineError: The engine did not start it.
    """
    return start_override(
        engine,
        plan,
        window,
        reason=reason,
        requested_by=requested_by,
        approval=playbook.approval,
        max_failures=playbook.max_failures,
        domain=playbook.domain,
        inside=inside,
        notify=playbook.notify,
    )
