"""The definitions that belong on an engine: read from `task_defs/` and `workflows/`, compared, and registered.

A registered definition carries a stamp in `ownerApp`: our version and a digest of what we wrote. So `compare` can tell
a definition that somebody edited on the server from one that is merely older than ours, and never overwrites an edit
unasked.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from dialpad_ivr import __version__
from dialpad_ivr.contract.schema import ENDPOINTS, input_fields, input_schema, output_schema
from dialpad_ivr.contract.validation import example_input
from dialpad_ivr.contract.values import LIST_TASK_TYPE, TASK_TYPE
from dialpad_ivr.credentials import KEY_NAME
from dialpad_ivr.engine.api import EngineApi, JsonObject

Kind = Literal["task", "workflow"]
State = Literal["missing", "same", "outdated", "edited", "newer"]

_STAMP: Final = "ownerApp"
# What the engine adds of its own.
_VOLATILE: Final = (_STAMP, "createTime", "updateTime", "createdBy", "updatedBy")


PURPOSES: Final = {
    TASK_TYPE: "Points a Dialpad target (call center, office, department, user, ...) at one of its existing custom "
    "IVRs",
    LIST_TASK_TYPE: "Lists the custom IVRs of a Dialpad target, and finds one by its name, so that a later task can "
    "select it by its id",
}
"""What each task is for."""


def task_definition(task_type: str = TASK_TYPE) -> JsonObject:
    """The definition of a task, from which its file in `task_defs/` is written."""
    inputs, outputs = input_schema(task_type), output_schema(task_type)
    what = f"{PURPOSES[task_type]}: {' '.join(ENDPOINTS[task_type])}."
    return {
        "name": task_type,
        # On a line of its own the example is selected with three clicks in the UI, whose test box starts as {}.
        "description": f"{what}\nExample input:\n{json.dumps(example_input(task_type))}",
        "ownerEmail": "dialpad-ivr@example.com",
        "inputKeys": list(input_fields(task_type)),
        "outputKeys": list(outputs["properties"]),
        "inputSchema": {"name": f"{task_type}_input", "version": 1, "type": "JSON", "data": inputs},
        "outputSchema": {"name": f"{task_type}_output", "version": 1, "type": "JSON", "data": outputs},
        "enforceSchema": True,
        # The engine hands its secret of this name to the worker, and stores it nowhere.
        "runtimeMetadata": [KEY_NAME],
        # A fault is retried after 2, 4, 8, 16, 32 and 60 s, each with up to 2 s of jitter.
        "retryCount": 6,
        "retryLogic": "EXPONENTIAL_BACKOFF",
        "retryDelaySeconds": 2,
        "backoffScaleFactor": 2,
        "maxRetryDelaySeconds": 60,
        "backoffJitterMs": 2000,
        # Longer than a read, a call and another read, each with its permit's hold (3 times 3 + 20 s), and the 60 s in
        # which the SDK tries to report a result: a task is not delivered twice while a worker still has it.
        "responseTimeoutSeconds": 150,
        # Longer than the waiting budget (900 s): waiting for Dialpad's rate limit is not a hang.
        "timeoutSeconds": 3600,
        "timeoutPolicy": "RETRY",
        "pollTimeoutSeconds": 0,
        "rateLimitFrequencyInSeconds": 1,
        "taskStatusListenerEnabled": True,
    }


@dataclass(frozen=True)
class Definition:
    """A definition as this package ships it."""

    kind: Kind
    body: JsonObject

    @property
    def name(self) -> str:
        """Its name on the engine."""
        return str(self.body["name"])

    @property
    def label(self) -> str:
        """For people: the kind, the name, and a workflow's version."""
        version = f" v{self.body['version']}" if self.kind == "workflow" else ""
        return f"{self.kind} {self.name}{version}"


@dataclass(frozen=True)
class Comparison:
    """A definition of ours beside the engine's.

    Attributes:
        ours: What this package ships.
        state: `missing` and `outdated` can be registered; `edited` (somebody changed it there, or it is not ours) and
            `newer` (a newer version of this package wrote it) only when asked to.
        diff: Lines of a unified diff from the engine's to ours.
    """

    ours: Definition
    state: State
    diff: tuple[str, ...]

    @property
    def needs_consent(self) -> bool:
        """Whether registering ours would undo somebody's work."""
        return self.state in ("edited", "newer")


def shipped() -> list[Definition]:
    """All definitions of this package: task definitions first, since workflows refer to them."""
    folders: tuple[tuple[Kind, str], ...] = (("task", "task_defs"), ("workflow", "workflows"))
    return [
        Definition(kind, json.loads(file.read_text("utf-8")))
        for kind, folder in folders
        for file in sorted((definitions_root() / folder).glob("*.json"))
    ]


@cache
def definitions_root() -> Path:
    """The folder that holds `task_defs/` and `workflows/`: inside an installed wheel, or at the root of a checkout."""
    package = Path(__file__).parents[1]
    return package if (package / "task_defs").is_dir() else package.parents[1]


def compare(engine: EngineApi, ours: Definition) -> Comparison:
    """Compare a definition with the one of its name (and version) on an engine.

    Raises:
        EngineError: The engine cannot be asked.
    """
    if ours.kind == "task":
        theirs = engine.task_definition(ours.name)
    else:
        theirs = engine.workflow_definition(ours.name, ours.body["version"])
    if theirs is None:
        return Comparison(ours, "missing", ())
    there, here = _essence(theirs), _essence(ours.body)
    if there == here:
        return Comparison(ours, "same", ())
    return Comparison(ours, _state(str(theirs.get(_STAMP) or ""), there), tuple(_diff(there, here)))


def register(engine: EngineApi, ours: Definition) -> None:
    """Put a definition on an engine, with its stamp.

    Raises:
        EngineError: The engine refused it.
    """
    stamped = {**ours.body, _STAMP: f"dialpad-ivr {__version__} {_digest(_essence(ours.body))}"}
    (engine.put_task_definition if ours.kind == "task" else engine.put_workflow_definition)(stamped)


def _state(stamp: str, there: Any) -> State:
    match stamp.split():
        case ["dialpad-ivr", version, digest] if digest == _digest(there):
            return "newer" if _ordered(version) > _ordered(__version__) else "outdated"
        case _:
            return "edited"


def _ordered(version: str) -> list[int]:
    return [int(part) if part.isdecimal() else 0 for part in version.split(".")]


def _essence(definition: JsonObject) -> Any:
    """What a definition says: without what the engine adds, and without what says nothing (null, empty, false, 0)."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {key: strip(item) for key, item in value.items() if key not in _VOLATILE}
            return {key: item for key, item in kept.items() if item not in (None, "", [], {}, False, 0)}
        return [strip(item) for item in value] if isinstance(value, list) else value

    return strip(definition)


def _digest(essence: Any) -> str:
    return hashlib.sha256(json.dumps(essence, sort_keys=True).encode()).hexdigest()[:16]


def _diff(there: Any, here: Any) -> list[str]:
    def lines(essence: Any) -> list[str]:
        return json.dumps(essence, indent=2, sort_keys=True, ensure_ascii=False).splitlines()

    return list(difflib.unified_diff(lines(there), lines(here), "on the server", "ours", n=2, lineterm=""))
