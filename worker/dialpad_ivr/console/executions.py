"""The page of a workflow's execution, for an engine that serves no UI of its own."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from dialpad_ivr.console.checks import STATES, repair_id
from dialpad_ivr.console.pages import Pages
from dialpad_ivr.engine.api import EngineError, JsonObject
from dialpad_ivr.provisioning.scheduled_check import check_result

_STEP: Final = ("referenceTaskName", "taskType", "status", "subWorkflowId")
_STEPS_SHOWN = 100
_MAX_TEXT = 4000  # characters of an input or an output

# Workflows are other people's too, and their tasks may carry keys of any kind.
_SECRET_NAME: Final = re.compile(r"auth|credential|api_?-?key|password|secret|token|cookie", re.IGNORECASE)
_SECRET_TEXT: Final = re.compile(r"\b(bearer|basic)\s+\S+", re.IGNORECASE)
_HIDDEN: Final = "(not shown)"


async def execution(pages: Pages, request: Request) -> Response:
    """The steps of an execution, each with its input and output."""
    workflow_id = request.path_params["workflow_id"]
    try:
        workflow = await anyio.to_thread.run_sync(pages.engine.workflow, workflow_id)
    except EngineError as exc:
        context = {"workflow_id": workflow_id, "problem": str(exc), "workflow": None}
        return pages.page(request, "execution", 200 if exc.transient else 404, **context)
    tasks = workflow.get("tasks") or []
    return pages.page(
        request,
        "execution",
        workflow_id=workflow_id,
        problem=None,
        workflow=_shown(workflow, ("workflowName", "status", "startTime", "endTime"), ("input", "output")),
        steps=[_shown(task, _STEP, ("inputData", "outputData")) for task in tasks[:_STEPS_SHOWN]],
        more=max(0, len(tasks) - _STEPS_SHOWN),
        check=check_result(workflow),
        repair_id=repair_id(workflow),
        states=STATES,
    )


def _shown(source: JsonObject, fields: tuple[str, ...], values: tuple[str, ...]) -> JsonObject:
    """What is shown of a workflow or a task, without anything of a credential."""
    reason = _SECRET_TEXT.sub(_HIDDEN, str(source.get("reasonForIncompletion") or ""))
    texts = {name: _text(source.get(name)) for name in values}
    return {**{name: source.get(name) for name in fields}, **texts, "reason": reason}


def _text(value: Any) -> str:
    text = json.dumps(_without_secrets(value), indent=2, ensure_ascii=False) if value else ""
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}\n... cut: {len(text)} characters"


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _HIDDEN if item and _SECRET_NAME.search(name) else _without_secrets(item)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    return _SECRET_TEXT.sub(_HIDDEN, value) if isinstance(value, str) else value
