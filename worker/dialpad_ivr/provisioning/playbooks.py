"""Playbooks: prepared overrides with a name, each a workflow definition of its own on the engine.

A playbook holds the rows of a file of changes, names and wildcards as they are. They are looked up when it is started:
by the workflow `playbook_custom_ivrs` on the engine, or by `rehearse` on this machine.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from dialpad_ivr.contract.validation import short
from dialpad_ivr.engine.api import EngineApi, JsonObject
from dialpad_ivr.engine.definitions import Definition, compare, register, shipped
from dialpad_ivr.provisioning.changes import Change, change_of
from dialpad_ivr.provisioning.columns import FIELDS, check_values
from dialpad_ivr.provisioning.override_control import LARGEST_CHANGES, notify_problems
from dialpad_ivr.provisioning.times import Problem, read_duration, read_zone, too_short
from dialpad_ivr.provisioning.workflow import MAX_CHANGES

WORKFLOW: Final = "playbook_custom_ivrs"
VERSION: Final = 1
"""The workflow that playbooks start, and its version that takes this input."""

_PREFIX: Final = "playbook_"
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_NAME_LIMIT: Final = 40
_INPUTS: Final = ("until", "reason")
"""What a person fills in. The rest is in the definition's `inputTemplate`."""
_OPTIONS: Final = ("lasts", "zone", "approval", "max_failures", "domain", "notify")
_OUTPUTS: Final = ("outcome", "ok", "message", "rows", "unchanged", "errors", "override")
_SUMMARIZED: Final = 5  # rows in the description


class PlaybookError(Exception):
    """There is no such playbook, or none can be saved under its name. The message says what to do."""


@dataclass(frozen=True)
class Playbook:
    """A playbook.

    Attributes:
        name: For instance `snow-day`.
        rows: The rows of its file of changes: the columns that have a value, and `line`.
        lasts: How long its overrides last by default, e.g. `12h`.
        zone: The IANA zone in which its overrides are shown.
        approval: Whether a person has to approve each override.
        max_failures: Failed changes, as a number or a percentage, after which no more are made.
        domain: The task domain of the workers.
        notify: The connection of the engine that is told what was done.
        source: The name of the file.
        version: Of its definition on the engine; 0 if it is not there yet.
    """

    name: str
    rows: tuple[JsonObject, ...]
    lasts: str
    zone: str = "UTC"
    approval: bool = False
    max_failures: str | None = None
    domain: str | None = None
    notify: str | None = None
    source: str = ""
    version: int = 0

    @property
    def workflow(self) -> str:
        """The name of its workflow, which stands under "Run workflow" in the engine's UI."""
        return workflow_name(self.name)

    @property
    def changes(self) -> tuple[Change, ...]:
        """Its rows, with the ids and the names that they have.

        Raises:
            PlaybookError: A row is invalid, because somebody has edited the definition.
        """
        return tuple(_change(self.name, row) for row in self.rows)

    @property
    def summary(self) -> str:
        """Its first rows in a line: what is selected for whom."""
        shown = [_row_text(row) for row in self.rows[:_SUMMARIZED]]
        more = len(self.rows) - len(shown)
        return "; ".join([*shown, *([f"and {more} more"] if more else [])])


def _row_text(row: Mapping[str, Any]) -> str:
    def text(*columns: str) -> str:
        return short(str(next((row[column] for column in columns if row.get(column)), "")))

    office = f", {text('office')}" if row.get("office") else ""
    target = text("target", "number", "email", "target_id")
    return f"{text('target_type')} {target}{office}: {text('ivr_type')} {text('ivr', 'ivr_id')}"


def _change(name: str, row: Any) -> Change:
    values = row if isinstance(row, dict) else {}
    checked = check_values({column: value for column, value in values.items() if column != "line"})
    if isinstance(checked, list):
        raise PlaybookError(
            f"A row of {name} is invalid since its definition was edited: {checked[0].message}\nSave it again."
        )
    return change_of(int(values.get("line") or 0), checked)


def workflow_name(name: str) -> str:
    """The workflow of a playbook of that name."""
    return _PREFIX + name.replace("-", "_")


def make(name: str, changes: Sequence[Change], *, lasts: str | None, **options: Any) -> Playbook | tuple[Problem, ...]:
    """A playbook, or all that is wrong with it.

    Args:
        name: Its name.
        changes: The valid rows of a file.
        lasts: How long its overrides last by default.
        options: More attributes of a `Playbook`.
    """
    rows = tuple(_row(change) for change in changes)
    problems = [*_name_problems(name), *_lasts_problems(lasts)]
    zone = read_zone(options.get("zone") or "UTC")
    if isinstance(zone, Problem):
        problems.append(zone)
    max_failures = options.get("max_failures")
    if max_failures is not None and not re.fullmatch(r"[0-9]{1,9}%?", max_failures):
        problems.append(Problem("--max-failures", "--max-failures must be a number or a percentage: 10 or 5%."))
    problems += notify_problems(options.get("notify"))
    if len(rows) > MAX_CHANGES:
        problems.append(Problem("FILE", f"{len(rows):,} rows; a playbook takes {MAX_CHANGES:,}. Split the file."))
    elif len(json.dumps(rows)) > LARGEST_CHANGES:
        problems.append(Problem("FILE", "The rows are more than the engine takes at once. Split the file."))
    for row in rows:
        if named := next((key for key, value in row.items() if "${" in str(value)), None):
            message = f"line {row['line']}: {named} has ${{, which the engine would replace. Use the id instead."
            problems.append(Problem(f"line {row['line']}", message))
    return tuple(problems) or Playbook(name, rows, "".join((lasts or "").split()).lower(), **options)


def _name_problems(name: str) -> list[Problem]:
    if not _NAME.fullmatch(name) or len(name) > _NAME_LIMIT:
        better = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:_NAME_LIMIT].rstrip("-")
        hint = f"For instance {better}." if better else "For instance snow-day."
        message = f'"{short(name)}" is no name of a playbook: up to {_NAME_LIMIT} of a-z, 0-9 and -. {hint}'
        return [Problem("NAME", message)]
    if workflow_name(name) in _reserved():
        return [Problem("NAME", f"The workflow {workflow_name(name)} is not a playbook's. Choose another name.")]
    return []


def _lasts_problems(lasts: str | None) -> list[Problem]:
    if lasts is None:
        return [Problem("--for", "--for is missing: how long it lasts, unless somebody says otherwise, such as 12h.")]
    length = read_duration(lasts)
    if length is None:
        return [Problem("--for", f'--for: "{short(lasts)}" is no duration. Write it as 12h, 90m, 2d12h or 45s.')]
    problem = too_short(length, 0)
    return [Problem("--for", problem)] if problem else []


def _reserved() -> set[str]:
    return {definition.name for definition in shipped()}


def _row(change: Change) -> JsonObject:
    """A row of a playbook: as the file has it."""
    wanted = change.wanted
    names = {"target": "name", "office": "office", "number": "number", "email": "email"}
    found = {column: getattr(wanted, field) for column, field in names.items()} if wanted else {}
    values = {"line": change.line, **{name: getattr(change, name) for name in FIELDS}, **found, "ivr": change.ivr}
    default = {"credential": "default"}
    return {name: value for name, value in values.items() if value and default.get(name) != value}


def definition_of(playbook: Playbook) -> Definition:
    """The workflow definition of a playbook."""
    example = {"until": playbook.lasts, "reason": "why"}
    description = (
        f"Playbook {playbook.name}: selects other custom IVRs for a while, and then restores what was selected before. "
        f"{playbook.summary}. until: a duration such as 12h, or a time with its offset such as "
        f"2026-12-27T08:00:00+01:00; {playbook.lasts} by default. reason: why, for the record. "
        f"Example input: {json.dumps(example)}"
    )
    options = {name: value for name in _OPTIONS if (value := getattr(playbook, name))}
    passed_on = (*_INPUTS, "rows", *_OPTIONS, "requested_by")
    body: JsonObject = {
        "name": playbook.workflow,
        "version": max(playbook.version, 1),
        "description": description.replace("${", "$ {"),
        "ownerEmail": "dialpad-ivr@example.com",
        "schemaVersion": 2,
        "restartable": True,
        "enforceSchema": True,
        "timeoutPolicy": "ALERT_ONLY",
        "inputParameters": [*_INPUTS],
        "inputTemplate": {"rows": [*playbook.rows], **options, "requested_by": f"playbook {playbook.name}"},
        "metadata": {"playbook": playbook.name, "source": playbook.source, "exampleInput": example},
        "tasks": [
            {
                "name": WORKFLOW,
                "taskReferenceName": "run",
                "type": "SUB_WORKFLOW",
                "description": "Looks up the names, and starts the override.",
                "subWorkflowParam": {"name": WORKFLOW, "version": VERSION},
                "inputParameters": {name: f"${{workflow.input.{name}}}" for name in passed_on},
            }
        ],
        "outputParameters": {name: f"${{run.output.{name}}}" for name in _OUTPUTS},
    }
    return Definition("workflow", body)


def _playbook(definition: JsonObject) -> Playbook | None:
    """The playbook that a definition is; `None` if it is another workflow."""
    metadata, template = definition.get("metadata") or {}, definition.get("inputTemplate") or {}
    name, rows = metadata.get("playbook"), template.get("rows")
    if not isinstance(name, str) or workflow_name(name) != definition.get("name") or not isinstance(rows, list):
        return None
    options = {field.name: template[field.name] for field in fields(Playbook) if template.get(field.name)}
    kept = {"lasts": "", **options, "rows": tuple(rows), "source": str(metadata.get("source") or "")}
    return Playbook(name=name, version=int(definition.get("version") or 1), **kept)


def save(engine: EngineApi, playbook: Playbook) -> Playbook:
    """Register a playbook: in its first version, or in the next one if there is another of its name.

    Returns:
        The playbook with its version; that of the one on the engine if that is the same.

    Raises:
        PlaybookError: Its workflow's name is taken by one that is no playbook, or the engine lacks what it starts.
        EngineError: The engine did not answer, or rejected it.
    """
    if engine.workflow_definition(WORKFLOW, VERSION) is None:
        raise PlaybookError(f"The engine has no workflow {WORKFLOW}.\nRegister it with: dialpad-ivr register")
    newest = engine.workflow_definition(playbook.workflow, None)
    if newest is None:
        saved = replace(playbook, version=1)
    elif (existing := _playbook(newest)) is None:
        raise PlaybookError(f"The engine has a workflow {playbook.workflow} that is no playbook.\nChoose another name.")
    else:
        saved = replace(playbook, version=existing.version)
        if compare(engine, definition_of(saved)).state == "same":
            return saved
        saved = replace(playbook, version=existing.version + 1)
    register(engine, definition_of(saved))
    return saved


def list_playbooks(engine: EngineApi) -> list[Playbook]:
    """All playbooks by name, each in its newest version.

    Raises:
        EngineError: The engine did not answer.
    """
    names = sorted(name for name in engine.workflow_versions() if name.startswith(_PREFIX))
    definitions = (engine.workflow_definition(name, None) for name in names if name not in _reserved())
    return [playbook for each in definitions if each and (playbook := _playbook(each))]


def read(engine: EngineApi, name: str) -> Playbook:
    """A playbook in its newest version.

    Raises:
        PlaybookError: There is none of that name.
        EngineError: The engine did not answer.
    """
    found = engine.workflow_definition(workflow_name(name), None) if _NAME.fullmatch(name) else None
    playbook = _playbook(found) if found else None
    if playbook is None:
        names = [each.name for each in list_playbooks(engine)]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:5]
        hint = f"Did you mean {' or '.join(near)}?" if near else "Save one with: dialpad-ivr playbook save NAME FILE"
        raise PlaybookError(f'There is no playbook "{short(name)}".\n{hint}')
    return playbook


def delete(engine: EngineApi, playbook: Playbook) -> None:
    """Delete a playbook in all of its versions. An override that it has started goes on.

    Raises:
        EngineError: The engine did not answer, or rejected it.
    """
    for version in engine.workflow_versions().get(playbook.workflow, []):
        engine.delete_workflow_definition(playbook.workflow, version)
