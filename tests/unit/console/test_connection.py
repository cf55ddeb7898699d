"""The connection to the engine."""

from __future__ import annotations

import socket

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dialpad_ivr import http_server
from dialpad_ivr.console.app import console_app
from dialpad_ivr.console.connection import Connection, check_connection
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.tools import open_tools
from dialpad_ivr.testing.double import DoubleControl
from support.console import EXAMPLE, PAGE, PART

BUILT_UI = "<!doctype html><script type=module src=/assets/index.js></script>"
LANDING_PAGE = "<!doctype html><a href=/swagger-ui.html>Swagger Documentation</a>"  # of a server without a UI


async def test_hanging_engine_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(5)
        engine = EngineApi(Settings(server_url=f"http://127.0.0.1:{silent.getsockname()[1]}"))
        connection = await check_connection(engine, timeout_seconds=0.2)
        silent.accept()[0].close()  # ends the waiting thread
    assert connection.version is None
    assert "0.2 s" in str(connection.problem)


@pytest.mark.parametrize(
    ("page", "serves_ui"),
    [
        (HTMLResponse(BUILT_UI), True),
        (HTMLResponse(LANDING_PAGE), False),
        (PlainTextResponse(BUILT_UI), False),
        (HTMLResponse(BUILT_UI, 503), False),
    ],
)
async def test_engine_with_a_ui_is_told_from_one_without(page: Response, serves_ui: bool) -> None:
    routes = [Route("/api/version", lambda _: PlainTextResponse("3.32.3")), Route("/", lambda _: page)]
    async with http_server.serving(Starlette(routes=routes), "127.0.0.1", 0) as port:
        url = f"http://127.0.0.1:{port}"
        connection = await check_connection(EngineApi(Settings(server_url=url)))
    assert connection == Connection("3.32.3", ui=url if serves_ui else None)


@pytest.mark.parametrize(
    ("page", "link"), [(BUILT_UI, "{engine}/execution/w1"), (LANDING_PAGE, "/executions/w1")], ids=["ui", "no ui"]
)
async def test_workflow_ids_link_to_the_execution(nowhere: Settings, page: str, link: str) -> None:
    workflow = {"workflowId": "w1", "status": "COMPLETED", "tasks": []}
    routes = [
        Route("/api/version", lambda _: PlainTextResponse("3.32.3")),
        Route("/api/workflow/w1", lambda _: JSONResponse(workflow)),
        Route("/", lambda _: HTMLResponse(page)),
    ]
    async with http_server.serving(Starlette(routes=routes), "127.0.0.1", 0) as port, open_tools(nowhere) as tools:
        engine = f"http://127.0.0.1:{port}"
        transport = httpx.ASGITransport(console_app(tools, EngineApi(Settings(server_url=engine))))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            answer = await client.get("/test-requests/w1")
    assert f'href="{link.format(engine=engine)}"' in answer.text


async def test_engine_without_access_is_not_bypassed(nowhere: Settings, double: DoubleControl) -> None:
    engine = Starlette(routes=[Route("/api/{_:path}", lambda _: PlainTextResponse("no", 401), methods=["GET", "POST"])])
    async with http_server.serving(engine, "127.0.0.1", 0) as port, open_tools(nowhere) as opened:
        transport = httpx.ASGITransport(console_app(opened, EngineApi(Settings(server_url=f"http://127.0.0.1:{port}"))))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            for text in (
                (await client.get("/engine")).text,
                (await client.post(PAGE, data={**EXAMPLE, "do": "test"}, headers=PART)).text,
                (await client.get("/provisioning/x")).text,
                (await client.get("/test-requests/x")).text,
                (await client.get("/executions/x")).text,
            ):
                assert "check CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET" in text
    assert double.ledger() == []
