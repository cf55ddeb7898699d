"""Runs of the workflow `check_custom_ivrs`: the newest ones, and what one has found."""

from __future__ import annotations

from typing import Any, Final

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from dialpad_ivr.console.pages import Pages
from dialpad_ivr.engine.api import EngineError, JsonObject
from dialpad_ivr.provisioning.scheduled_check import WORKFLOW, judged, latest_task

STATES: Final = {
    "in_sync": "What the check asks for is selected.",
    "differs": "Something else, or nothing, is selected.",
    "missing_target": "Dialpad knows no such target.",
    "missing_ivr": "The target has no such IVR for this slot.",
    "unreadable": "It could not be compared.",
}
"""What each state of a row means."""

_LISTED = 10


class _Part(BaseModel):
    """A part of the workflow's output. The rows are what people have written, so their ids may be numbers."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)


class CheckedIvr(_Part):
    """An IVR that is wanted, or selected."""

    id: str | None = None
    name: str | None = None


class Difference(_Part):
    """A row that is not in sync."""

    state: str
    line: int | None = None
    target_type: str | None = None
    target_id: str | None = None
    target_name: str | None = None
    ivr_type: str | None = None
    select_option: str | None = None
    wanted: CheckedIvr = CheckedIvr()
    selected: tuple[CheckedIvr, ...] = ()
    message: str | None = None


class CheckResult(_Part):
    """What a check has found.

    Attributes:
        rows: How many rows were compared.
        counts: Rows by state.
        differences: The first rows that are not in sync.
        more_differences: How many more there are.
    """

    in_sync: bool
    rows: int
    counts: dict[str, int] = Field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    more_differences: int = 0
    message: str = ""


def check_result(workflow: JsonObject) -> CheckResult | None:
    """What a workflow has found, if it is a check that has come so far."""
    if workflow.get("workflowName") != WORKFLOW:
        return None
    return _read(workflow.get("output")) or _read(judged(workflow))


def repair_id(workflow: JsonObject) -> str | None:
    """The provisioning run that repairs what a check has found, if there is one."""
    return latest_task(workflow, "repair").get("subWorkflowId")


def _read(output: Any) -> CheckResult | None:
    try:
        return CheckResult.model_validate(output)
    except ValidationError:  # not there yet, or another version's
        return None


async def checks(pages: Pages, request: Request) -> Response:
    """The newest checks."""

    def newest() -> list[tuple[JsonObject, CheckResult | None]]:
        found = [pages.engine.workflow(each["workflowId"]) for each in pages.engine.newest(WORKFLOW, _LISTED)]
        return [(workflow, check_result(workflow)) for workflow in found]

    problem, runs = None, []
    try:
        runs = await anyio.to_thread.run_sync(newest)
    except EngineError as exc:
        problem = str(exc)
    return pages.page(request, "checks", problem=problem, runs=runs)
