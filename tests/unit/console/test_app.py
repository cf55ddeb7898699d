"""The console's pages in general: rejected requests, headers, the search, requirements."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from dialpad_ivr import http_server
from dialpad_ivr.cli import local as cli_local
from dialpad_ivr.console import pages
from dialpad_ivr.console.app import console_app
from dialpad_ivr.console.output import output_fields
from dialpad_ivr.console.search import search
from dialpad_ivr.contract.outcomes import OUTCOMES
from dialpad_ivr.contract.schema import INPUTS, OUTPUTS, choices, input_schema
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.settings import Settings, SettingsError
from dialpad_ivr.tasks.tools import open_tools
from dialpad_ivr.testing.double import DoubleControl
from support.console import EXAMPLE, PAGE, PART, text_of
from support.worker import clean_environ
from unit.test_security import WEB_PAGES

# ---- the reference and the search


@pytest.mark.parametrize("task_type", INPUTS)
async def test_reference_covers_the_whole_contract(client: httpx.AsyncClient, task_type: str) -> None:
    text = text_of((await client.get(f"/tasks/{task_type}")).text)
    rules = input_schema(task_type)["properties"]
    values = {choice for rule in rules.values() for choice in choices(rule)}
    for word in (*OUTCOMES, *values, *(name for name in rules if not name.startswith("__"))):
        assert f" {word} " in text, word
    for path, _, meaning in output_fields(task_type):
        assert f" {path} " in text
        assert meaning in text
    assert set(OUTPUTS[task_type].model_fields) == {
        re.split(r"[.\[]", path)[0] for path, _, _ in output_fields(task_type)
    }


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("set custom", ("task", "set_custom_ivr")),
        ("list", ("task", "list_custom_ivrs")),
        ("hold music", ("value", "HOLD_MUSIC")),
        ("target-id", ("field", "target_id")),
        ("404", ("outcome", "not_found")),
        ("waited", ("output", "waited_ms")),
        ("  GREETING ", ("value", "GREETING")),
    ],
)
def test_search_finds_tasks_fields_values_outcomes_and_outputs(text: str, first: tuple[str, str]) -> None:
    result = search(text)[0]
    assert (result.kind, result.title) == first


async def test_search_results_link_to_existing_anchors(client: httpx.AsyncClient) -> None:
    pages = {path: (await client.get(path)).text for path in (f"/tasks/{task_type}" for task_type in INPUTS)}
    for entry in (entry for text in ("i", "e", "a", "o") for entry in search(text)):
        path, _, anchor = entry.href.partition("#")
        assert not anchor or f'id="{anchor}"' in pages[path], entry


async def test_search_without_results_escapes_the_query(client: httpx.AsyncClient) -> None:
    assert search("  ") == []
    assert "0 results" in text_of((await client.get("/search", params={"q": "<b>nothing"})).text)
    assert "<b>nothing" not in (await client.get("/search", params={"q": "<b>nothing"})).text


# ---- rejected requests


async def test_responses_hold_no_key_and_have_security_headers(
    client: httpx.AsyncClient, double: DoubleControl
) -> None:
    answers = [
        await client.get("/"),
        await client.get("/nowhere"),
        await client.get("/tasks/nothing"),
        await client.get("/static/console.js"),
        await client.get("/static/../app.py"),
        await client.get("/static/%2e%2e/app.py"),
        await client.put(PAGE),
        await client.post(PAGE, content=b"x=" + b"y" * 100_000),
        await client.post(PAGE, content=b"&".join(b"f%d=1" % number for number in range(200))),
        await client.get(PAGE, headers={"x-part": "base"}),
        await client.post(PAGE, data={**EXAMPLE, "do": "test"}),
        await client.post(PAGE, content=b"\xff\xfe=%ff%00&do=test"),
    ]
    codes = [answer.status_code for answer in answers]
    assert codes == [200, 404, 404, 200, 404, 404, 405, 413, 400, 400, 200, 200]
    for answer in answers:
        assert double.key not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


async def test_pages_are_small_and_load_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    files = [await client.get(path) for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)]
    assert len({file.url for file in files}) == 3
    assert sum(len(file.content) for file in (page, *files)) < 64_000
    for file in (page, *files):
        assert not re.findall(r"(?:src|href|url|@import|fetch)\W{1,3}(?:https?:)?//", file.text)
        assert not re.search(r"\son\w+=|style=", file.text) or "javascript" in file.headers["content-type"]


@pytest.mark.parametrize("headers", WEB_PAGES, ids=str)
async def test_cross_origin_requests_are_rejected(app: ASGIApp, double: DoubleControl, headers: dict[str, str]) -> None:
    async with (
        http_server.serving(app, "127.0.0.1", 0, pages=True) as port,
        httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}") as client,
    ):
        for method in ("GET", "POST"):
            answer = await client.request(method, PAGE, data={**EXAMPLE, "do": "test"}, headers=headers)
            assert answer.status_code == 403
            assert "<form" not in answer.text
    assert double.ledger() == []


async def test_same_origin_requests_are_accepted(app: ASGIApp, double: DoubleControl) -> None:
    async with (
        http_server.serving(app, "127.0.0.1", 0, pages=True) as port,
        httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}") as client,
    ):
        for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
            headers: dict[str, Any] = {"host": host, "origin": f"http://{host}", **PART}
            answer = await client.post(PAGE, data={**EXAMPLE, "do": "test"}, headers=headers)
            assert "planned" in answer.text
            foreign = {**headers, "origin": f"http://127.0.0.1:{port + 1}"}
            assert (await client.post(PAGE, data=EXAMPLE, headers=foreign)).status_code == 403
    assert len(double.ledger()) == 2


# ---- requirements


async def test_missing_extra_names_the_install_command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setattr(pages, "_templates", pages._templates.__wrapped__)
    async with open_tools(settings) as opened:
        with pytest.raises(SettingsError, match=re.escape("pip install 'dialpad-ivr[console]'")):
            console_app(opened, EngineApi(settings))
    monkeypatch.setattr(cli_local, "find_spec", lambda _: None)
    assert cli_local._console_port(0) is None


@pytest.mark.long
def test_taken_port_suggests_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "dialpad_ivr", "console", "--port", str(taken.getsockname()[1])]
        process = subprocess.run(command, env=clean_environ(), capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 2
    assert "--port 0" in process.stderr.replace("\n", " ")
