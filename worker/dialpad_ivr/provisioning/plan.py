"""Plan files: the changes to make, the selections before them, and a hash of both.

The file is JSON with sorted rows, so that plans of the same changes can be diffed. The hash ensures that the plan
applied is the one reviewed. It guards against accidental edits, not against an attacker, who can recompute it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dialpad_ivr import __version__
from dialpad_ivr.contract.outputs import SelectedIvr
from dialpad_ivr.contract.validation import short
from dialpad_ivr.provisioning.changes import Change
from dialpad_ivr.provisioning.columns import FIELDS
from dialpad_ivr.provisioning.windows import RowWindow

_FORMAT: Final = "dialpad-ivr plan 2"
_ANY_FORMAT: Final = re.compile(rb'"format":\s*"(dialpad-ivr plan \d{1,9})"')

Action = Literal["change", "unchanged", "missing_ivr", "ambiguous_ivr", "unknown_target", "unreadable"]


class PlanError(Exception):
    """The file is not a plan, or was modified. The message says how to fix it."""


class PlannedChange(BaseModel):
    """A row of a plan.

    Attributes:
        line: Line in the file of changes.
        target_id: Empty where a named target could not be looked up.
        ivr_id: Empty where a named IVR was not found.
        action: What applying the plan does; only `change` sends a request.
        target_name: Name of the target, where it was looked up; else what the file names as the target.
        office_name: Name of its office, if known.
        ivr_name: Name of the IVR to select, if known; else what the file names as the IVR.
        previous: The slot's selection at the time of the plan, if known; several if inbound and outbound differ.
        note: Why the action is not `change`, or a warning.
        window: When the change is made and when it ends, if the file says so; never in a plan file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    line: int
    target_type: str
    target_id: str
    ivr_type: str
    ivr_id: str
    select_option: str | None = None
    credential: str = "default"
    action: Action
    target_name: str | None = None
    office_name: str | None = None
    ivr_name: str | None = None
    previous: tuple[SelectedIvr, ...] = ()
    note: str = ""
    window: RowWindow | None = Field(default=None, exclude=True)

    @classmethod
    def of(cls, change: Change, action: Action, **read: object) -> PlannedChange:
        """The row for a change, with what was read from Dialpad."""
        names = ("line", "target_name", "office_name", "window")
        known = {name: getattr(change, name) for name in (*FIELDS, *names)}
        ids = {"target_id": change.target_id or "", "ivr_id": change.ivr_id or ""}
        return cls.model_validate({**known, **ids, "ivr_name": change.ivr, "action": action, **read})

    @property
    def slot(self) -> tuple[str, int, str, str]:
        """The slot that the row changes; the sort key of a plan's rows."""
        return (self.target_type, int(self.target_id or 0), self.ivr_type, self.select_option or "")

    @property
    def slot_text(self) -> str:
        """The slot for people, with the names that are known."""
        target = target_text(self.target_id, self.target_name, self.office_name)
        return slot_text(self.target_type, target, self.ivr_type, self.select_option)


def slot_text(target_type: str, target: str, ivr_type: str, select_option: str | None) -> str:
    """A slot for people, of the text of its target."""
    return f"{target_type} {target} {ivr_type} {select_option or ''}".rstrip()


def target_text(target_id: str, name: str | None, office: str | None) -> str:
    """A target for people, with its name and the name of its office if they are known."""
    if not name:
        return target_id
    of_office = f", {short(office)}" if office else ""
    return f"{short(name)}{of_office}{f' ({target_id})' if target_id else ''}"


class Plan(BaseModel):
    """A plan.

    Attributes:
        api_url: Base URL of the Dialpad API that was read.
        source: The file of changes, or the workflow to roll back.
        rows: Sorted by slot.
        hash: SHA-256 of all other fields, in hexadecimal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["dialpad-ivr plan 2"] = _FORMAT
    made_by: str
    made_at: str
    api_url: str
    source: str
    rows: tuple[PlannedChange, ...]
    hash: str = ""

    @property
    def changes(self) -> list[PlannedChange]:
        """The rows to change."""
        return [row for row in self.rows if row.action == "change"]

    @property
    def blocked(self) -> list[PlannedChange]:
        """The rows that cannot be applied."""
        return [row for row in self.rows if row.action not in ("change", "unchanged")]

    @property
    def counts(self) -> Counter[str]:
        """Rows by action."""
        return Counter(row.action for row in self.rows)


def make_plan(rows: list[PlannedChange], api_url: str, source: str) -> Plan:
    """A plan of these rows, sorted and hashed, made now."""
    plan = Plan(
        made_by=f"dialpad-ivr {__version__}",
        made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        api_url=api_url,
        source=source,
        rows=tuple(sorted(rows, key=lambda row: row.slot)),
    )
    return plan.model_copy(update={"hash": _hash(plan)})


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan file atomically.

    Raises:
        OSError: The file cannot be written.
    """
    write_atomically(path, json.dumps(plan.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")


def read_plan(path: Path) -> Plan:
    """Read a plan file.

    Raises:
        PlanError: The file is not a plan, or was modified since it was made.
    """
    data = b""
    try:
        data = path.read_bytes()
        plan = Plan.model_validate_json(data)
    except OSError as exc:
        raise PlanError(f"{path}: {exc.strerror or exc}. Make a plan with: dialpad-ivr plan FILE") from None
    except ValidationError as exc:
        made_as = _ANY_FORMAT.search(data)
        if made_as and made_as[1].decode() != _FORMAT:
            message = f"{path} is of another version of this command: {made_as[1].decode()}, not {_FORMAT}."
            raise PlanError(f"{message}\nMake a new plan with: dialpad-ivr plan FILE") from None
        if made_as:
            field = ".".join(str(part) for part in exc.errors(include_input=False, include_url=False)[0]["loc"])
            what = f"its field {field} is missing or wrong" if field else "it is not complete"
            raise PlanError(f"{path} was modified, or is damaged: {what}. Make a new plan and review it.") from None
        raise PlanError(f"{path} is not a plan: {_seems(path, data)}") from None
    if _hash(plan) != plan.hash:
        raise PlanError(
            f"{path} was modified since it was made: its hash does not match. Make a new plan and review it."
        )
    return plan


def _seems(path: Path, data: bytes) -> str:
    """What a file that is no plan seems to be, and what to do."""
    make = "Make one with: dialpad-ivr plan FILE"
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    if not data.strip():
        return f"it is empty.\n{make}"
    if isinstance(content, dict) and "rows" in content:
        return f"it seems to be a report.\n{make}"
    if b"target_type" in data:
        return f"it seems to be a file of changes.\nPlan it first with: dialpad-ivr plan {path}"
    kind = "not JSON" if content is None else "JSON of another kind"
    return f"it is {kind}.\n{make}"


def write_atomically(path: Path, text: str) -> None:
    """Write a file atomically, with the umask's permissions. A symbolic link is replaced, not followed.

    Raises:
        OSError: The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _hash(plan: Plan) -> str:
    content = plan.model_dump(mode="json", exclude={"hash"})
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
