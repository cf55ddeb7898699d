"""The console's pages. They work without JavaScript; with it, parts of a page are reloaded as you type.

A request with the header `X-Part` gets only that part of the page.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote

import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dialpad_ivr import __version__
from dialpad_ivr.console.forms import fields, filled_in, task_input
from dialpad_ivr.console.output import output_fields
from dialpad_ivr.console.preview import preview
from dialpad_ivr.console.search import search
from dialpad_ivr.console.test_requests import (
    Connection,
    RequestState,
    check_connection,
    fetch_state,
    send_directly,
    send_through_engine,
)
from dialpad_ivr.contract.outcomes import OK_OUTCOMES, OUTCOME_MEANINGS
from dialpad_ivr.contract.schema import ENDPOINTS, INPUTS
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
    TASK_TYPE,
)
from dialpad_ivr.dialpad.verdict import engine_status
from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.engine.definitions import PURPOSES
from dialpad_ivr.provisioning.workflow import WORKFLOW, ProvisioningRun
from dialpad_ivr.settings import SettingsError
from dialpad_ivr.tasks.tools import Tools

_FOLDER = Path(__file__).parent
_MAX_FORM = 64 * 1024  # bytes
_MAX_FIELDS = 100
_RUNS_CACHED = 8  # provisioning runs that are read incrementally
_RUNS_LISTED = 10
_ROWS_SHOWN = 100
_CONNECTION_CHECK_SECONDS = 5.0  # between checks
_MAX_QUERY = 200  # characters

# The parts of each page that can be requested alone.
_PARTS: Final = {
    "task": ("preview", "response"),
    "test_request": ("response",),
    "run": ("run",),
    "search": ("results",),
    "engine": ("engine",),
}

_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",  # with "no-referrer" browsers send `Origin: null` with the console's own forms
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


def console_app(tools: Tools, engine: EngineApi) -> ASGIApp:
    """The console as an ASGI app.

    Args:
        tools: For test requests sent directly to Dialpad.
        engine: For test requests through the engine.

    Raises:
        SettingsError: The extra `console` is not installed.
    """
    console = _Console(tools, engine)
    return _with_headers(
        Starlette(
            routes=[
                Route("/", lambda _: RedirectResponse(f"/tasks/{TASK_TYPE}")),
                Route("/search", console.search),
                Route("/engine", console.engine),
                Route("/tasks/{task_type}", console.task, methods=["GET", "POST"]),
                Route("/test-requests/{workflow_id}", console.test_request),
                Route("/provisioning", console.runs),
                Route("/provisioning/{workflow_id}", console.run),
                Mount("/static", StaticFiles(directory=_FOLDER / "static")),
            ],
            exception_handlers={HTTPException: console.error},  # type: ignore[dict-item]
        )
    )


def _with_headers(app: ASGIApp) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await app(scope, receive, send_with_headers)

    return wrapped


class _Console:
    def __init__(self, tools: Tools, engine: EngineApi) -> None:
        self._tools = tools
        self._engine = engine
        self._connection = Connection()
        self._checked_at = -math.inf
        self._runs: dict[str, ProvisioningRun] = {}
        self._reading = anyio.CapacityLimiter(1)  # a run is not thread-safe: one thread reads at a time
        try:
            jinja2 = import_module("jinja2")
        except ModuleNotFoundError:
            raise SettingsError("The console needs an extra: pip install 'dialpad-ivr[console]'") from None
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["pretty"] = _pretty
        self._templates.globals |= {
            "version": __version__,
            "endpoints": ENDPOINTS,
            "purposes": PURPOSES,
            "fields": fields,
            "output_fields": output_fields,
            "limits": _limits,
            "engine_status": engine_status,
            "ok_outcomes": OK_OUTCOMES,
            "meanings": OUTCOME_MEANINGS,
        }

    async def _current_connection(self) -> Connection:
        """The connection, cached briefly: the SDK takes seconds to give up."""
        if time.monotonic() > self._checked_at + _CONNECTION_CHECK_SECONDS:
            self._connection = await check_connection(self._engine)
            self._checked_at = time.monotonic()
        return self._connection

    def _page(self, request: Request, name: str, status: int = 200, **context: Any) -> Response:
        """A page, or the part of it named by `X-Part`."""
        part = request.headers.get("x-part")
        if part is not None and part not in _PARTS.get(name, ()):
            raise HTTPException(400, "Unknown part of the page.")
        return self._render(request, name if part is None else f"_{part}", status, context)

    def _render(self, request: Request, template: str, status: int, context: Mapping[str, Any]) -> Response:
        text = self._templates.get_template(f"{template}.html").render(
            {"path": request.url.path, "query": "", **context}
        )
        return HTMLResponse(text, status)

    async def error(self, request: Request, exc: HTTPException) -> Response:
        """An error page."""
        return self._render(request, "error", exc.status_code, {"status": exc.status_code, "detail": exc.detail})

    async def search(self, request: Request) -> Response:
        """Search results."""
        query = request.query_params.get("q", "")[:_MAX_QUERY]
        return self._page(request, "search", query=query, results=search(query))

    async def engine(self, request: Request) -> Response:
        """The route of test requests, in one line."""
        connection, dialpad = await self._current_connection(), self._tools.settings.api_url
        return self._page(request, "engine", connection=connection, url=self._engine.url, dialpad=dialpad)

    async def task(self, request: Request) -> Response:
        """A task: its form, preview, test request and reference."""
        task_type = request.path_params["task_type"]
        if task_type not in INPUTS:
            raise HTTPException(404, "Unknown task type.")
        form = dict(await _form(request) if request.method == "POST" else request.query_params)
        values = filled_in(task_type, form)
        payload = task_input(task_type, values)
        previewed = preview(task_type, payload, self._tools.client)
        if "credential" in previewed.errors:
            values["credential"] = ""  # may be a key pasted by mistake: do not echo it
        context: dict[str, Any] = {
            "task_type": task_type,
            "values": values,
            "preview": previewed,
            "test_request": None,
            "confirmation": None,
            "dialpad": self._tools.settings.api_url,
        }
        if request.method == "POST" and form.get("do") == "test":  # not by GET: a link must have no effect
            if previewed.errors:
                context["test_request"] = RequestState(problem="No request was sent. Fix the errors in the form first.")
            elif previewed.writes and form.get("confirmed") != (digest := _digest(task_type, payload)):
                context |= {"confirmation": digest, "target": payload}
            else:
                context["test_request"] = await self._send(task_type, payload)
        return self._page(request, "task", **context)

    async def _send(self, task_type: str, payload: dict[str, Any]) -> RequestState:
        connection = await self._current_connection()
        if connection.problem:
            return RequestState(problem=f"No request was sent. {connection.problem}")
        if connection.version:
            return await send_through_engine(self._engine, task_type, payload)
        return await send_directly(self._tools, task_type, payload)

    async def test_request(self, request: Request) -> Response:
        """The current state of a test request on the engine."""
        test_request = await fetch_state(self._engine, request.path_params["workflow_id"])
        return self._page(request, "test_request", test_request=test_request, confirmation=None)

    async def runs(self, request: Request) -> Response:
        """Recent provisioning runs, and a field to open any other by id."""
        workflow_id = request.query_params.get("id", "").strip()
        if workflow_id:
            return RedirectResponse(f"/provisioning/{quote(workflow_id, safe='')}", 303)
        problem, runs = None, []
        try:
            runs = await anyio.to_thread.run_sync(self._engine.newest, WORKFLOW, _RUNS_LISTED)
        except EngineError as exc:
            problem = str(exc)
        return self._page(request, "runs", runs=runs, problem=problem)

    async def run(self, request: Request) -> Response:
        """A provisioning run: progress, counts by outcome, failed changes."""
        workflow_id = request.path_params["workflow_id"]
        run = self._runs.pop(workflow_id, None) or ProvisioningRun(self._engine, workflow_id)
        problem, not_found = None, False
        try:
            await anyio.to_thread.run_sync(run.refresh, limiter=self._reading)
        except EngineError as exc:
            problem, not_found = str(exc), not exc.transient
        else:
            self._runs[workflow_id] = run
            if len(self._runs) > _RUNS_CACHED:
                del self._runs[next(iter(self._runs))]
        failed = [row for row in run.rows if row.outcome and not row.ok]
        context = {"run": run, "failed": failed[:_ROWS_SHOWN], "more": max(0, len(failed) - _ROWS_SHOWN)}
        return self._page(request, "run", 404 if not_found else 200, **context, problem=problem, not_found=not_found)


async def _form(request: Request) -> Mapping[str, str]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM:
            raise HTTPException(413, f"The form is larger than {_MAX_FORM} bytes.")
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError:
        raise HTTPException(400, f"The form has more than {_MAX_FIELDS} fields.") from None


def _limits(task_type: str) -> list[tuple[str, str]]:
    """A task's limits, and what each applies to."""
    window = {60.0: "per minute", 1.0: "per second"}
    if task_type == TASK_TYPE:
        limits = [
            (f"{PATCH_LIMIT} {window[PATCH_WINDOW_SECONDS]}", "of these PATCH calls"),
            (f"{EXPECTED_LIMIT} ids", "in if_selected"),
        ]
    else:
        limits = [(f"{LISTED_LIMIT} IVRs", "in the output"), (f"{NAME_LIMIT} characters", "in name")]
    return [
        *limits,
        (f"{COMPANY_LIMIT} {window[COMPANY_WINDOW_SECONDS]}", "all API calls of a company"),
        (f"1 to {INT64_MAX}", "ids (int64), as strings of digits"),
        (f"{BODY_LIMIT // 1024} KiB", "of a response body stored in the output"),
    ]


def _digest(task_type: str, payload: Mapping[str, Any]) -> str:
    """Identifies the change that a person confirms: an edited form no longer matches."""
    return hashlib.sha256(json.dumps([task_type, payload], sort_keys=True).encode()).hexdigest()


def _pretty(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
