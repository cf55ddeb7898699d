"""The definitions that belong on an engine: read from `task_defs/` and `workflows/`, compared, and registered.

A registered definition carries a stamp in `ownerApp`: the package's version and a digest of the definition. With it
`compare` distinguishes a definition that was edited on the server from one that an older version registered, so that an
edit is never overwritten silently.
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
from dialpad_ivr.contract.schema import ENDPOINTS, input_fields, output_schema, registered_schema
from dialpad_ivr.contract.validation import example_input
from dialpad_ivr.contract.values import LIST_TASK_TYPE, TARGETS_TASK_TYPE, TASK_TYPE
from dialpad_ivr.credentials import KEY_NAME
from dialpad_ivr.engine.api import EngineApi, JsonObject

Kind = Literal["task", "workflow"]
State = Literal["missing", "same", "outdated", "edited", "newer"]

MAX_RETRY_SECONDS: Final = 60
"""The longest delay of a retry."""
RETRY_JITTER_SECONDS: Final = 2
"""What is added to that at random, at most."""

_STAMP: Final = "ownerApp"
# Fields that the engine sets itself.
_VOLATILE: Final = (_STAMP, "createTime", "updateTime", "createdBy", "updatedBy")


PURPOSES: Final = {
    TASK_TYPE: "Points a Dialpad target (call center, office, department, user, ...) at one of its existing custom "
    "IVRs",
    LIST_TASK_TYPE: "Lists the custom IVRs of a Dialpad target, and finds one by its name, so that a later task can "
    "select it by its id",
    TARGETS_TASK_TYPE: "Lists the Dialpad targets of a type, and finds one by its name, phone number or email address, "
    "so that a later task can use its id; for instance",
}
"""What each task does."""


def task_definition(task_type: str = TASK_TYPE) -> JsonObject:
    """The definition of a task, from which its file in `task_defs/` is generated."""
    what = f"{PURPOSES[task_type]}: {' '.join(ENDPOINTS[task_type])}."
    return {
        "name": task_type,
        # On a line of its own the example is selected with three clicks in the UI, whose test box starts as {}.
        "description": f"{what}\nExample input:\n{json.dumps(example_input(task_type))}",
        "ownerEmail": "dialpad-ivr@example.com",
        "inputKeys": list(input_fields(task_type)),
        "outputKeys": list(output_schema(task_type)["properties"]),
        "inputSchema": {
            "name": f"{task_type}_input",
            "version": 1,
            "type": "JSON",
            "data": registered_schema(task_type),
        },
        # Where they are missing or null: what the input stands for is then seen in the engine's UI.
        "inputTemplate": {name: rule["default"] for name, rule in input_fields(task_type).items() if "default" in rule},
        # An engine that enforces it would fail the task before the worker can answer with every violation at once.
        "enforceSchema": False,
        # The engine passes the secret of this name to the worker, and does not store it with the task.
        "runtimeMetadata": [KEY_NAME],
        # A fault is retried after 2, 4, 8, 16, 32 and 60 s, each with up to 2 s of jitter.
        "retryCount": 6,
        "retryLogic": "EXPONENTIAL_BACKOFF",
        "retryDelaySeconds": 2,
        "backoffScaleFactor": 2,
        "maxRetryDelaySeconds": MAX_RETRY_SECONDS,
        "backoffJitterMs": 1000 * RETRY_JITTER_SECONDS,
        # Longer than a read, a call and another read, each with its wait for a permit (3 times 3 + 20 s), plus the 60 s
        # for which reporting a result is retried: a task is not delivered again while a worker still runs it.
        "responseTimeoutSeconds": 150,
        # Longer than both budgets, 900 s for the rate limit and 3600 s for an outage, and the wait for earlier tasks: a
        # task that waits has not hung.
        "timeoutSeconds": 7200,
        "timeoutPolicy": "RETRY",
        "pollTimeoutSeconds": 0,
        "rateLimitFrequencyInSeconds": 1,
        "taskStatusListenerEnabled": True,
    }


@dataclass(frozen=True)
class Definition:
    """A definition that this package ships."""

    kind: Kind
    body: JsonObject

    @property
    def name(self) -> str:
        """Its name on the engine."""
        return str(self.body["name"])

    @property
    def label(self) -> str:
        """The kind, the name and, of a workflow, the version, for display."""
        version = f" v{self.body['version']}" if self.kind == "workflow" else ""
        return f"{self.kind} {self.name}{version}"


@dataclass(frozen=True)
class Comparison:
    """A local definition compared with the one registered on an engine.

    Attributes:
        local: The definition that this package ships.
        state: `missing` and `outdated` can be registered; `edited` (changed on the server, or not registered by this
            package) and `newer` (registered by a newer version of it) need consent.
        diff: The lines of a unified diff from the remote to the local definition.
    """

    local: Definition
    state: State
    diff: tuple[str, ...]

    @property
    def needs_consent(self) -> bool:
        """Whether registering the local definition would overwrite an edit or a newer version."""
        return self.state in ("edited", "newer")


def shipped() -> list[Definition]:
    """All definitions that this package ships: tasks first, since workflows refer to them."""
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


def compare(engine: EngineApi, local: Definition) -> Comparison:
    """Compare a definition with the one of the same name (and version) on an engine.

    Raises:
        EngineError: The engine does not answer, or rejects the request.
    """
    if local.kind == "task":
        remote = engine.task_definition(local.name)
    else:
        remote = engine.workflow_definition(local.name, local.body["version"])
    if remote is None:
        return Comparison(local, "missing", ())
    local_content, remote_content = _content(local.body), _content(remote)
    if remote_content == local_content:
        return Comparison(local, "same", ())
    state = _state(str(remote.get(_STAMP) or ""), remote_content)
    return Comparison(local, state, tuple(_diff(remote_content, local_content)))


def register(engine: EngineApi, definition: Definition) -> None:
    """Create or replace a definition on an engine, with its stamp.

    Raises:
        EngineError: The engine does not answer, or rejects the definition.
    """
    stamped = {**definition.body, _STAMP: f"dialpad-ivr {__version__} {_digest(_content(definition.body))}"}
    (engine.put_task_definition if definition.kind == "task" else engine.put_workflow_definition)(stamped)


def _state(stamp: str, remote_content: Any) -> State:
    match stamp.split():
        case ["dialpad-ivr", version, digest] if digest == _digest(remote_content):
            return "newer" if _version_key(version) > _version_key(__version__) else "outdated"
        case _:
            return "edited"


def _version_key(version: str) -> list[int]:
    return [int(part) if part.isdecimal() else 0 for part in version.split(".")]


def _content(definition: JsonObject) -> Any:
    """A definition without the fields that the engine sets, and without defaults (null, empty, false, 0)."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            stripped = {key: strip(item) for key, item in value.items() if key not in _VOLATILE}
            return {key: item for key, item in stripped.items() if item not in (None, "", [], {}, False, 0)}
        return [strip(item) for item in value] if isinstance(value, list) else value

    return strip(definition)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _diff(remote: Any, local: Any) -> list[str]:
    def lines(content: Any) -> list[str]:
        return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False).splitlines()

    return list(difflib.unified_diff(lines(remote), lines(local), "remote", "local", n=2, lineterm=""))
