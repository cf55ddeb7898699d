"""The pages of the tasks and their test requests."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dialpad_ivr.console.choices import Choices, chosen_fields
from dialpad_ivr.console.forms import fields, filled_in, form_values, task_input
from dialpad_ivr.console.output import output_fields
from dialpad_ivr.console.pages import Pages, digest, read_form
from dialpad_ivr.console.preview import preview
from dialpad_ivr.console.test_requests import (
    History,
    RequestState,
    fetch_state,
    send_directly,
    send_through_engine,
)
from dialpad_ivr.contract.schema import INPUTS
from dialpad_ivr.contract.values import (
    BODY_LIMIT,
    COMPANY_LIMIT,
    COMPANY_WINDOW_SECONDS,
    EXPECTED_LIMIT,
    INT64_MAX,
    LISTED_LIMIT,
    NAME_LIMIT,
    PATCH_LIMIT,
    PATCH_WINDOW_SECONDS,
    TARGETS_TASK_TYPE,
    TASK_TYPE,
)
from dialpad_ivr.dialpad.verdict import engine_status


class TaskPages:
    """A task's form and reference, and the test requests."""

    def __init__(self, pages: Pages, choices: Choices) -> None:
        self._pages = pages
        self._choices = choices
        self._history = History()

    async def task(self, request: Request) -> Response:
        """A task: its form, preview, test request and reference."""
        task_type = request.path_params["task_type"]
        if task_type not in INPUTS:
            raise HTTPException(404, "Unknown task type.")
        form = dict(await read_form(request) if request.method == "POST" else request.query_params)
        values = filled_in(task_type, form)
        payload = task_input(task_type, values)
        previewed = preview(task_type, payload, self._pages.tools.client)
        if "credential" in previewed.errors:
            values["credential"] = ""  # may be a key pasted by mistake: do not echo it
        context: dict[str, Any] = {
            "task_type": task_type,
            "fields": fields(task_type),
            "chosen": chosen_fields(task_type),
            "names": self._choices.names(task_type, payload),
            "output_fields": output_fields(task_type),
            "limits": _limits(task_type),
            "engine_status": engine_status,
            "values": values,
            "preview": previewed,
            "test_request": None,
            "confirmation": None,
            "dialpad": self._pages.tools.settings.api_url,
        }
        if request.method == "POST" and form.get("do") == "test":  # not by GET: a link must have no effect
            if previewed.errors:
                context["test_request"] = RequestState(problem="No request was sent. Fix the errors in the form first.")
            elif previewed.writes and form.get("confirmed") != (confirmation := digest(task_type, payload)):
                ivr = context["names"].get("ivr_id")
                name = ivr.name if ivr else self._history.ivr_name(payload["ivr_id"])
                context |= {"confirmation": confirmation, "target": payload, "ivr_name": name}
            else:
                context["test_request"] = await self._send(task_type, payload)
        return self._pages.page(request, "task", **context)

    async def _send(self, task_type: str, payload: dict[str, Any]) -> RequestState:
        connection = await self._pages.connection()
        if connection.problem:
            return RequestState(problem=f"No request was sent. {connection.problem}")
        if connection.version:
            state = await send_through_engine(self._pages.engine, task_type, payload)
        else:
            state = await send_directly(self._pages.tools, task_type, payload)
        self._history.add(task_type, payload, state)
        return state

    async def test_request(self, request: Request) -> Response:
        """The current state of a test request."""
        await self._pages.connection()
        id_ = request.path_params["id"]
        return self._pages.page(request, "test_request", test_request=await self._state(id_), confirmation=None)

    async def test_requests(self, request: Request) -> Response:
        """The last test requests of this process."""
        if (await self._pages.connection()).version:
            for sent in self._history.requests:
                await self._state(sent.id)
        links = {sent.id: _form_link(sent.task_type, sent.payload) for sent in self._history.requests}
        return self._pages.page(request, "test_requests", requests=self._history.requests, links=links)

    async def _state(self, id_: str) -> RequestState:
        """A test request's state, read from the engine while it is in progress or not one of this process."""
        sent = self._history.find(id_)
        if sent and not sent.state.in_progress:
            return sent.state
        state = await fetch_state(self._pages.engine, id_)
        if sent:
            sent.state = state
        return state


def _form_link(task_type: str, payload: dict[str, Any]) -> str:
    """Link to a task's form, filled in with this input."""
    return f"/tasks/{task_type}?{urlencode(form_values(payload))}"


def _limits(task_type: str) -> list[tuple[str, str]]:
    """A task's limits, and what each applies to."""
    window = {60.0: "per minute", 1.0: "per second"}
    if task_type == TASK_TYPE:
        limits = [
            (f"{PATCH_LIMIT} {window[PATCH_WINDOW_SECONDS]}", "of these PATCH calls"),
            (f"{EXPECTED_LIMIT} ids", "in if_selected"),
        ]
    else:
        listed = "targets" if task_type == TARGETS_TASK_TYPE else "IVRs"
        limits = [(f"{LISTED_LIMIT} {listed}", "in the output"), (f"{NAME_LIMIT} characters", "in name")]
    return [
        *limits,
        (f"{COMPANY_LIMIT} {window[COMPANY_WINDOW_SECONDS]}", "all API calls of a company"),
        (f"1 to {INT64_MAX}", "ids"),
        (f"{BODY_LIMIT // 1024} KiB", "of a response body stored in the output"),
    ]
