"""Runs of the workflow `check_custom_ivrs`: the newest ones, and what one has found."""

from __future__ import annotations

from typing import Final

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from dialpad_ivr.console.pages import Pages
from dialpad_ivr.engine.api import EngineError, JsonObject, unless_missing
from dialpad_ivr.provisioning.scheduled_check import WORKFLOW, CheckResult, check_result, latest_task

STATES: Final = {
    "in_sync": "What the check asks for is selected.",
    "differs": "Something else, or nothing, is selected.",
    "missing_target": "Dialpad knows no such target.",
    "missing_ivr": "The target has no such IVR for this slot.",
    "unreadable": "It could not be compared.",
}
"""What each state of a row means."""

_LISTED = 10


def repair_id(workflow: JsonObject) -> str | None:
    """The provisioning run that repairs what a check has found, if there is one."""
    return latest_task(workflow, "repair").get("subWorkflowId")


async def checks(pages: Pages, request: Request) -> Response:
    """The newest checks."""

    def newest() -> list[tuple[JsonObject, CheckResult | None, str | None]]:
        listed = pages.engine.newest(WORKFLOW, _LISTED)
        found = [unless_missing(pages.engine.workflow, each["workflowId"]) for each in listed]
        return [(workflow, check_result(workflow), repair_id(workflow)) for workflow in found if workflow]

    problem, runs = None, []
    try:
        runs = await anyio.to_thread.run_sync(newest)
    except EngineError as exc:
        problem = str(exc)
    return pages.page(request, "checks", problem=problem, runs=runs)
