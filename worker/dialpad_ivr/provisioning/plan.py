"""A plan: what would be changed, what was selected before, and a hash over all of it.

The file is JSON. Its rows are sorted, so that two plans of the same changes can be compared as text. The hash shows
that it is applied as it was reviewed: it guards against slips of the hand, not against somebody who means harm and can
write the file, for they can write the hash as well.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from dialpad_ivr import __version__
from dialpad_ivr.contract.inputs import SetCustomIvrInput
from dialpad_ivr.contract.outputs import SelectedIvr
from dialpad_ivr.provisioning.formats import FIELDS

Action = Literal["change", "unchanged", "missing_ivr", "unreadable"]


class PlanError(Exception):
    """A file that is no plan, or not the one that was made. The message says what to do."""


class PlannedChange(BaseModel):
    """A row of a plan.

    Attributes:
        line: Of the file of changes that it comes from.
        action: What applying the plan does with it; only `change` sends anything.
        ivr_name: The name of the IVR to select, where it was read.
        previous: What the slot has selected, where it was read. More than one where inbound and outbound differ.
        note: Why it is not `change`, or what to think of before it is applied.
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
    ivr_name: str | None = None
    previous: tuple[SelectedIvr, ...] = ()
    note: str = ""

    @classmethod
    def of(cls, asked: SetCustomIvrInput, line: int, action: Action, **read: object) -> PlannedChange:
        """The row that an input asks for."""
        return cls.model_validate({**asked.model_dump(include=set(FIELDS)), "line": line, "action": action, **read})

    @property
    def slot(self) -> tuple[str, int, str, str]:
        """What it changes, in the order of a plan's rows."""
        return (self.target_type, int(self.target_id), self.ivr_type, self.select_option or "")


class Plan(BaseModel):
    """A plan.

    Attributes:
        api_url: The Dialpad that it was read from.
        source: The file of changes, or the workflow that it rolls back.
        rows: Sorted by slot.
        hash: SHA-256 over everything else, in hexadecimal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["dialpad-ivr plan 1"] = "dialpad-ivr plan 1"
    made_by: str
    made_at: str
    api_url: str
    source: str
    rows: tuple[PlannedChange, ...]
    hash: str = ""

    @property
    def changes(self) -> list[PlannedChange]:
        """The rows that are to be changed."""
        return [row for row in self.rows if row.action == "change"]

    @property
    def blocked(self) -> list[PlannedChange]:
        """The rows that cannot be applied."""
        return [row for row in self.rows if row.action in ("missing_ivr", "unreadable")]

    @property
    def counts(self) -> Counter[str]:
        """Rows by action."""
        return Counter(row.action for row in self.rows)


def make_plan(rows: list[PlannedChange], api_url: str, source: str) -> Plan:
    """A plan of these rows, sorted and hashed."""
    plan = Plan(
        made_by=f"dialpad-ivr {__version__}",
        made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        api_url=api_url,
        source=source,
        rows=tuple(sorted(rows, key=lambda row: row.slot)),
    )
    return plan.model_copy(update={"hash": _hash(plan)})


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan; a reader never sees half of it.

    Raises:
        OSError: It cannot be written.
    """
    write_whole(path, json.dumps(plan.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")


def read_plan(path: Path) -> Plan:
    """Read a plan back.

    Raises:
        PlanError: It is none, or was changed since it was made.
    """
    try:
        plan = Plan.model_validate_json(path.read_bytes())
    except OSError as exc:
        raise PlanError(f"{path}: {exc.strerror or exc}. Make a plan with: dialpad-ivr plan FILE") from None
    except ValidationError as exc:
        fault = exc.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the file"
        message = f"{path} is no plan ({where}: {fault['msg']}). Make one with: dialpad-ivr plan FILE"
        raise PlanError(message) from None
    if _hash(plan) != plan.hash:
        raise PlanError(f"{path} was changed since it was made: its hash does not match. Plan again, and review that.")
    return plan


def write_whole(path: Path, text: str) -> None:
    """Write a file that appears in one step, with its whole contents; readable for whom the umask lets read it.

    A symbolic link of that name is replaced, not followed.

    Raises:
        OSError: It cannot be written.
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
