"""What people decided on an override, as its tasks that wait hold it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from dialpad_ivr.engine.api import JsonObject
from dialpad_ivr.provisioning.times import from_milliseconds, iso_text


@dataclass(frozen=True)
class Decision:
    """What a person decided.

    Attributes:
        action: `approve`, `reject`, `extend`, `end` or `cancel`.
        at: When, in UTC; `None` if the engine does not say.
        by: Who; empty if unknown, as the reason.
        reason: Why.
        until: The new end of `extend`, in UTC; `None` until somebody ends it.
    """

    action: str
    at: datetime | None
    by: str
    reason: str
    until: datetime | None = None

    @property
    def summary(self) -> JsonObject:
        """What it is, for a document; its times in UTC."""
        times = {name: iso_text(at) if at else None for name, at in (("at", self.at), ("until", self.until))}
        return {**asdict(self), **times}


def read_decisions(tasks: Iterable[JsonObject]) -> tuple[Decision, ...]:
    """The decisions in the tasks of an override's workflow, the first one first."""
    return tuple(found for task in tasks if task.get("taskType") == "WAIT" and (found := _decision(task)))


def _decision(task: JsonObject) -> Decision | None:
    output = task.get("outputData") or {}
    action, approved = output.get("action"), output.get("approved")
    if approved is not None:  # read as the workflow reads it: anything else is a refusal
        action = "approve" if approved in (True, "true") else "reject"
    if action not in ("approve", "reject", "extend", "end", "cancel"):
        return None  # its time was over
    until = output.get("until_ms")
    return Decision(
        action,
        from_milliseconds(task["endTime"]) if task.get("endTime") else None,
        str(output.get("by") or ""),
        str(output.get("reason") or ""),
        from_milliseconds(until) if isinstance(until, int | float) else None,
    )
