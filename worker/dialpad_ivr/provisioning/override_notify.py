"""What people were told of an override: its notifications, each a run of a workflow of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final, Literal

from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, JsonObject, unless_missing
from dialpad_ivr.provisioning.overrides import reference
from dialpad_ivr.provisioning.times import from_milliseconds, iso_text

_HALVES: Final = {"notify_made": "made", "notify_restored": "restored"}
"""The tasks of the workflows of an override that start a notification."""
_TEXT_LIMIT: Final = 300  # characters of a reason


@dataclass(frozen=True)
class Notification:
    """What people are told of a half of an override.

    Attributes:
        half: `made` or `restored`.
        state: Whether it was sent; `pending` as long as that is not known.
        at: When that was known, in UTC.
        message: Why it was not sent.
        workflow_id: Its run; `None` if it could not be started.
    """

    half: str
    state: Literal["pending", "sent", "not_sent"]
    at: datetime | None = None
    message: str = ""
    workflow_id: str | None = None

    @property
    def summary(self) -> JsonObject:
        """What it is, for a document; its time in UTC."""
        return {**asdict(self), "at": iso_text(self.at) if self.at else None}


def read_notifications(engine: EngineApi, workflows: Iterable[JsonObject]) -> list[Notification]:
    """The notifications that these workflows of an override have started, but those that the engine has removed.

    Raises:
        EngineError: The engine did not answer.
    """
    tasks = [task for workflow in workflows for task in workflow.get("tasks") or [] if reference(task) in _HALVES]
    return [found for task in tasks if (found := _notification(engine, task))]


def _notification(engine: EngineApi, task: JsonObject) -> Notification | None:
    half, workflow_id = _HALVES[reference(task)], (task.get("outputData") or {}).get("workflowId")
    if not workflow_id:
        if task["status"] in ("SCHEDULED", "IN_PROGRESS"):
            return Notification(half, "pending")
        return Notification(half, "not_sent", _at(task), _text(task.get("reasonForIncompletion")))
    found = unless_missing(engine.workflow, workflow_id, tasks=False)
    if found is None:
        return None
    if found["status"] not in TERMINAL_STATUSES:
        return Notification(half, "pending", workflow_id=workflow_id)
    if found["status"] == "COMPLETED":
        return Notification(half, "sent", _at(found), workflow_id=workflow_id)
    why = (found.get("output") or {}).get("message") or found.get("reasonForIncompletion")
    return Notification(half, "not_sent", _at(found), _text(why), workflow_id)


def _at(ended: JsonObject) -> datetime | None:
    return from_milliseconds(ended["endTime"]) if ended.get("endTime") else None


def _text(reason: object) -> str:
    return " ".join(str(reason or "").split())[:_TEXT_LIMIT] or "Not sent; the engine does not say why."
