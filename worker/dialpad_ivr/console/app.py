"""The console as an ASGI app. Its pages work without JavaScript; with it, parts of them are reloaded as you type."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dialpad_ivr.console.checks import checks
from dialpad_ivr.console.choices import Choices
from dialpad_ivr.console.executions import execution
from dialpad_ivr.console.lists import Lists
from dialpad_ivr.console.override_actions import OverrideActions
from dialpad_ivr.console.override_pages import OverridePages
from dialpad_ivr.console.pages import FOLDER, Pages
from dialpad_ivr.console.playbook_pages import PlaybookPages
from dialpad_ivr.console.run_pages import REPORTS, RunPages
from dialpad_ivr.console.search import search
from dialpad_ivr.console.target_pages import TargetPages
from dialpad_ivr.console.task_pages import TaskPages
from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.tasks.tools import Tools
from dialpad_ivr.worker.limits import limits_rows, read_limits

_MAX_QUERY = 200  # characters

_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",  # with "no-referrer" browsers send `Origin: null` with the console's own forms
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


def console_app(tools: Tools, engine: EngineApi, workers: Sequence[str] = ()) -> ASGIApp:
    """The console as an ASGI app.

    Args:
        tools: For test requests sent directly to Dialpad.
        engine: For everything else.
        workers: The health ports of the workers whose limits are shown.

    Raises:
        SettingsError: The extra `console` is not installed.
    """
    pages = Pages(tools, engine)
    lists = Lists(pages)
    choices, targets = Choices(pages, lists), TargetPages(pages, lists)
    tasks, runs = TaskPages(pages, choices), RunPages(pages)
    override_actions = OverrideActions(pages)
    overrides = OverridePages(pages, override_actions)
    playbooks = PlaybookPages(pages)
    return _with_headers(
        Starlette(
            routes=[
                Route("/", lambda _: RedirectResponse(f"/tasks/{TASK_TYPE}")),
                Route("/search", partial(_search, pages)),
                Route("/engine", partial(_engine, pages)),
                Route("/tasks/{task_type}", tasks.task, methods=["GET", "POST"]),
                Route("/tasks/{task_type}/choices/{field}", choices.choices, methods=["POST"]),
                Route("/targets", targets.targets),
                Route("/test-requests", tasks.test_requests),
                Route("/test-requests/{id}", tasks.test_request),
                Route("/provisioning", runs.runs),
                Route("/provisioning/{workflow_id}", runs.run),
                *(
                    Route(f"/provisioning/{{workflow_id}}/report.{kind}", partial(runs.report, kind))
                    for kind in REPORTS
                ),
                Route("/provisioning/{workflow_id}/stop", runs.stop, methods=["POST"]),
                Route("/overrides", overrides.overrides),
                Route("/overrides/{workflow_id}", overrides.override),
                Route("/overrides/{workflow_id}/report", overrides.report),
                *(
                    Route(f"/overrides/{{workflow_id}}/report.{kind}", partial(overrides.report_file, kind))
                    for kind in REPORTS
                ),
                Route("/overrides/{workflow_id}/{action}", override_actions.act, methods=["GET", "POST"]),
                Route("/playbooks", playbooks.playbooks),
                Route("/playbooks/{name}", playbooks.rehearse, methods=["POST"]),
                Route("/playbooks/{name}/{token}", playbooks.start, methods=["GET", "POST"]),
                Route("/checks", partial(checks, pages)),
                Route("/limits", partial(_limits, pages, workers)),
                Route("/executions/{workflow_id}", partial(execution, pages)),
                Mount("/static", StaticFiles(directory=FOLDER / "static")),
            ],
            exception_handlers={HTTPException: pages.error},  # type: ignore[dict-item]
        )
    )


def _with_headers(app: ASGIApp) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)  # a page with a style of its own has a policy of its own
            await send(message)

        await app(scope, receive, send_with_headers)

    return wrapped


async def _search(pages: Pages, request: Request) -> Response:
    query = request.query_params.get("q", "")[:_MAX_QUERY]
    return pages.page(request, "search", query=query, results=search(query))


async def _engine(pages: Pages, request: Request) -> Response:
    """The route of test requests, in one line."""
    connection, dialpad = await pages.connection(), pages.tools.settings.api_url
    return pages.page(request, "engine", connection=connection, url=pages.engine.url, dialpad=dialpad)


async def _limits(pages: Pages, workers: Sequence[str], request: Request) -> Response:
    """What stands between each company's calls and Dialpad, by the workers."""
    reports = await read_limits(workers)
    problems = {worker: report["error"] for worker, report in reports.items() if "error" in report}
    rows = [
        (worker, row) for worker, report in reports.items() if worker not in problems for row in limits_rows(report)
    ]
    return pages.page(request, "limits", several=len(reports) > 1, problems=problems, rows=rows)
