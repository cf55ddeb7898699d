"""The console's pages. A page is whole without JavaScript; with it, parts of it are asked for again as you type.

A request with the header `X-Part` is answered with that part of a page alone.
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
from dialpad_ivr.console.preview import prepare
from dialpad_ivr.console.search import search
from dialpad_ivr.console.test_requests import Connection, RequestRun, connect, direct, look, through_engine
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
_LARGEST_FORM = 64 * 1024  # bytes
_MOST_FIELDS = 100
_RUNS_KEPT = 8  # provisioning runs that are read on, not from their beginning again
_RUNS_LISTED = 10
_ROWS_SHOWN = 100
_CONNECTED_SECONDS = 5.0
_LONGEST_QUERY = 200  # characters

# Of each page: what can be asked for by itself.
_PARTS: Final = {
    "task": ("prepared", "response"),
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
    "referrer-policy": "same-origin",  # with "no-referrer" a browser hides where our own forms come from
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


def console_app(tools: Tools, engine: EngineApi) -> ASGIApp:
    """The console.

    Args:
        tools: What a test request works with that goes straight to Dialpad.
        engine: The engine that it goes through otherwise.

    Raises:
        SettingsError: The templates' library is not installed.
    """
    console = _Console(tools, engine)
    return _with_headers(
        Starlette(
            routes=[
                Route("/", lambda _: RedirectResponse(f"/tasks/{TASK_TYPE}")),
                Route("/search", console.find),
                Route("/engine", console.engine),
                Route("/tasks/{task_type}", console.task, methods=["GET", "POST"]),
                Route("/test-requests/{workflow_id}", console.test_request),
                Route("/provisioning", console.runs),
                Route("/provisioning/{workflow_id}", console.run),
                Mount("/static", StaticFiles(directory=_FOLDER / "static")),
            ],
            exception_handlers={HTTPException: console.refused},  # type: ignore[dict-item]
        )
    )


def _with_headers(app: ASGIApp) -> ASGIApp:
    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await app(scope, receive, with_headers)

    return guarded


class _Console:
    def __init__(self, tools: Tools, engine: EngineApi) -> None:
        self._tools = tools
        self._engine = engine
        self._connection = Connection()
        self._asked_at = -math.inf
        self._runs: dict[str, ProvisioningRun] = {}
        self._reading = anyio.CapacityLimiter(1)  # of the engine's runs: each is read by one thread at a time
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

    async def _connected(self) -> Connection:
        """Whether an engine answers. Kept for a moment: the SDK takes seconds to give up."""
        if time.monotonic() > self._asked_at + _CONNECTED_SECONDS:
            self._connection = await connect(self._engine)
            self._asked_at = time.monotonic()
        return self._connection

    def _page(self, request: Request, name: str, status: int = 200, **told: Any) -> Response:
        """A page; or the part of it that the request asks for."""
        part = request.headers.get("x-part")
        if part is not None and part not in _PARTS.get(name, ()):
            raise HTTPException(400, "There is no such part.")
        return self._render(request, name if part is None else f"_{part}", status, told)

    def _render(self, request: Request, template: str, status: int, told: Mapping[str, Any]) -> Response:
        text = self._templates.get_template(f"{template}.html").render({"path": request.url.path, "query": "", **told})
        return HTMLResponse(text, status)

    async def refused(self, request: Request, exc: HTTPException) -> Response:
        """A page that is not there, or a request that is not taken."""
        return self._render(request, "refused", exc.status_code, {"status": exc.status_code, "told": exc.detail})

    async def find(self, request: Request) -> Response:
        """What was searched for."""
        query = request.query_params.get("q", "")[:_LONGEST_QUERY]
        return self._page(request, "search", query=query, results=search(query))

    async def engine(self, request: Request) -> Response:
        """How a test request would go, in a line."""
        connection, dialpad = await self._connected(), self._tools.settings.api_url
        return self._page(request, "engine", connection=connection, url=self._engine.url, dialpad=dialpad)

    async def task(self, request: Request) -> Response:
        """A task: its reference, its form, the prepared request, and a test request."""
        task_type = request.path_params["task_type"]
        if task_type not in INPUTS:
            raise HTTPException(404, "There is no such task.")
        form = dict(await _form(request) if request.method == "POST" else request.query_params)
        shown = filled_in(task_type, form)
        given = task_input(task_type, shown)
        prepared = prepare(task_type, given, self._tools.client)
        if "credential" in prepared.errors:
            shown["credential"] = ""  # whatever stands there may be a key: it is not repeated
        told: dict[str, Any] = {  # the rest of the page is the same for every form: it asks for that itself
            "task_type": task_type,
            "shown": shown,
            "prepared": prepared,
            "test_request": None,
            "question": None,
            "dialpad": self._tools.settings.api_url,
        }
        if request.method == "POST" and form.get("do") == "test":  # a link, which anybody can send, does nothing
            if prepared.errors:
                told["test_request"] = RequestRun(
                    problem="Nothing was sent: the form has mistakes, which are told at its fields."
                )
            elif prepared.writes and form.get("confirmed") != (digest := _digest(task_type, given)):
                told |= {"question": digest, "target": given}
            else:
                told["test_request"] = await self._try(task_type, given)
        return self._page(request, "task", **told)

    async def _try(self, task_type: str, given: dict[str, Any]) -> RequestRun:
        connection = await self._connected()
        if connection.problem:
            return RequestRun(problem=f"Nothing was sent. {connection.problem}")
        if connection.version:
            return await through_engine(self._engine, task_type, given)
        return await direct(self._tools, task_type, given)

    async def test_request(self, request: Request) -> Response:
        """A test request that the engine was given, as it is now."""
        test_request = await look(self._engine, request.path_params["workflow_id"])
        return self._page(request, "test_request", test_request=test_request, question=None)

    async def runs(self, request: Request) -> Response:
        """Provisioning runs: those of late, and a field for any other's id."""
        wanted = request.query_params.get("id", "").strip()
        if wanted:
            return RedirectResponse(f"/provisioning/{quote(wanted, safe='')}", 303)
        problem, newest = None, []
        try:
            newest = await anyio.to_thread.run_sync(self._engine.newest, WORKFLOW, _RUNS_LISTED)
        except EngineError as exc:
            problem = str(exc)
        return self._page(request, "runs", runs=newest, problem=problem)

    async def run(self, request: Request) -> Response:
        """A provisioning run, by outcome."""
        workflow_id = request.path_params["workflow_id"]
        run = self._runs.pop(workflow_id, None) or ProvisioningRun(self._engine, workflow_id)
        problem, gone = None, False
        try:
            await anyio.to_thread.run_sync(run.refresh, limiter=self._reading)
        except EngineError as exc:
            problem, gone = str(exc), not exc.transient
        else:
            self._runs[workflow_id] = run
            if len(self._runs) > _RUNS_KEPT:
                del self._runs[next(iter(self._runs))]
        failed = [row for row in run.rows if row.outcome and not row.ok]
        told = {"run": run, "failed": failed[:_ROWS_SHOWN], "more": max(0, len(failed) - _ROWS_SHOWN)}
        return self._page(request, "run", 404 if gone else 200, **told, problem=problem, gone=gone)


async def _form(request: Request) -> Mapping[str, str]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_FORM:
            raise HTTPException(413, f"A form of more than {_LARGEST_FORM} bytes is not read.")
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise HTTPException(400, f"A form of more than {_MOST_FIELDS} fields is not read.") from None


def _limits(task_type: str) -> list[tuple[str, str]]:
    """A task's limits, and what each is of."""
    window = {60.0: "a minute", 1.0: "a second"}
    if task_type == TASK_TYPE:
        own = [
            (f"{PATCH_LIMIT} {window[PATCH_WINDOW_SECONDS]}", "of these PATCHes"),
            (f"{EXPECTED_LIMIT} ids", "in if_selected"),
        ]
    else:
        own = [(f"{LISTED_LIMIT} IVRs", "in the output"), (f"{NAME_LIMIT} characters", "of a name")]
    return [
        *own,
        (f"{COMPANY_LIMIT} {window[COMPANY_WINDOW_SECONDS]}", "calls of a company, all kinds together"),
        (f"1 to {INT64_MAX}", "an id (int64), as a string of digits"),
        (f"{BODY_LIMIT // 1024} KiB", "of a response's body, kept in the output"),
    ]


def _digest(task_type: str, given: Mapping[str, Any]) -> str:
    """What names a change that somebody was asked about: a form that was changed since names another one."""
    return hashlib.sha256(json.dumps([task_type, given], sort_keys=True).encode()).hexdigest()


def _pretty(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
