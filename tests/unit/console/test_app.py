"""The console's pages, without a browser or an engine: contents, rejected requests, test requests."""

from __future__ import annotations

import html
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from dialpad_ivr import http_server
from dialpad_ivr.cli import local as cli_local
from dialpad_ivr.console import test_requests
from dialpad_ivr.console.app import console_app
from dialpad_ivr.console.forms import fields, filled_in, task_input
from dialpad_ivr.console.output import output_fields
from dialpad_ivr.console.search import search
from dialpad_ivr.console.test_requests import RequestState, _state
from dialpad_ivr.contract.outcomes import OUTCOMES
from dialpad_ivr.contract.schema import INPUTS, OUTPUTS, input_schema
from dialpad_ivr.contract.validation import check_input, example_input
from dialpad_ivr.contract.values import IVR_TYPES, LIST_TASK_TYPE, TARGET_TYPES, TASK_TYPE
from dialpad_ivr.credentials import KEY_NAME
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.local.engine import free_port
from dialpad_ivr.settings import Settings, SettingsError
from dialpad_ivr.tasks.tools import open_tools
from support.double import DoubleControl
from support.worker import clean_environ
from unit.test_security import WEB_PAGES

PAGE = f"/tasks/{TASK_TYPE}"
EXAMPLE = example_input()
APPLY = {**EXAMPLE, "mode": "apply", "do": "test"}
PART = {"x-part": "response"}
CONFIRMATION = re.compile(r'name="confirmed" value="\w+"')


@pytest.fixture
async def app(double: DoubleControl, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ASGIApp]:
    """The console with a Dialpad double and no engine."""
    monkeypatch.setenv(KEY_NAME, double.key)
    nowhere = f"http://127.0.0.1:{free_port()}"
    settings = Settings(api_url=double.url, allow_loopback=True, server_url=nowhere)
    async with open_tools(settings) as opened:
        yield console_app(opened, EngineApi(settings))


@pytest.fixture
async def client(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", follow_redirects=True) as client:
        yield client


def text_of(page: str) -> str:
    """A page's text, without tags."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


# ---- forms


def payload_of(task_type: str, **form: str) -> dict[str, Any]:
    return task_input(task_type, filled_in(task_type, form))


@pytest.mark.parametrize("task_type", INPUTS)
def test_form_has_every_schema_field_and_starts_with_the_example(task_type: str) -> None:
    names = [name for name in input_schema(task_type)["properties"] if not name.startswith("__")]
    assert [field.name for field in fields(task_type)] == names
    payload = task_input(task_type, filled_in(task_type, {}))
    assert payload == example_input(task_type)
    assert not isinstance(check_input(payload, INPUTS[task_type]), list)


def test_fields_have_the_place_of_their_value() -> None:
    assert {field.name: field.place for field in fields(TASK_TYPE)} == {
        "target_type": "path",
        "target_id": "path",
        "ivr_type": "path",
        "ivr_id": "body",
        "select_option": "body",
        "if_selected": "plugin",
        "credential": "plugin",
        "mode": "plugin",
    }
    assert [field.place for field in fields(LIST_TASK_TYPE)] == ["query", "query", "plugin", "plugin", "plugin"]


@pytest.mark.parametrize(
    ("text", "ids"),
    [("", None), (" ", None), ("[]", []), ("7", ["7"]), ("7, 8", ["7", "8"]), ('["7","8"]', ["7", "8"]), ("x", ["x"])],
)
def test_id_lists_are_parsed_leniently(text: str, ids: list[str] | None) -> None:
    assert payload_of(TASK_TYPE, if_selected=text).get("if_selected") == ids


def test_mode_defaults_to_plan() -> None:
    assert payload_of(TASK_TYPE, target_id="7") == {"target_id": "7", "mode": "plan"}
    assert payload_of(TASK_TYPE, mode="") == {"mode": "plan"}
    assert payload_of(LIST_TASK_TYPE, target_id="7") == {"target_id": "7"}


# ---- the reference and the search


@pytest.mark.parametrize("task_type", INPUTS)
async def test_reference_covers_the_whole_contract(client: httpx.AsyncClient, task_type: str) -> None:
    text = text_of((await client.get(f"/tasks/{task_type}")).text)
    rules = input_schema(task_type)["properties"]
    for word in (*OUTCOMES, *TARGET_TYPES, *IVR_TYPES, *(name for name in rules if not name.startswith("__"))):
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


# ---- validation and preview


async def test_validation_errors_are_shown_at_their_fields_without_a_request(client: httpx.AsyncClient) -> None:
    form = {"target_type": "callcentre", "target_id": "0", "credential": "sk-LIVE-0123456789abcdef", "do": "check"}
    page = (await client.post(PAGE, data=form)).text
    text = text_of(page)
    assert page.count("<template data-error=") == 5
    for name in ("target_type", "target_id", "ivr_type", "ivr_id", "credential"):
        assert re.search(rf'id="in-{name}"[^>]*aria-invalid="true"', page), name
        assert re.search(rf'id="error-{name}">[^<]*{name} is', page), name
    assert 'Did you mean "callcenter"?' in text
    assert "HTTP/1.1" not in text
    assert "sk-LIVE" not in page
    part = (await client.post(PAGE, data=form, headers={"x-part": "preview"})).text
    assert part.count("<template data-error=") == 5
    assert "<html" not in part


async def test_damaged_ids_and_names_are_explained(client: httpx.AsyncClient) -> None:
    form = {"target_type": "callcenter", "target_id": "5,502,522", "ivr_id": "Summer hold music", "do": "check"}
    text = text_of((await client.post(PAGE, data=form)).text)
    assert "thousands separators" in text
    assert "list_custom_ivrs_test_request" in text


async def test_preview_shows_http_curl_and_workflow_task(client: httpx.AsyncClient, double: DoubleControl) -> None:
    big = str(2**53 + 1)
    page = (await client.post(PAGE, data={**EXAMPLE, "ivr_id": big, "if_selected": "[]", "do": "check"})).text
    panels = [html.unescape(text) for text in re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)[:3]]
    path = f"/api/v2/customivrs/callcenter/{EXAMPLE['target_id']}/HOLD_MUSIC"
    assert panels[0].startswith(f"PATCH {path} HTTP/1.1\nHost: {httpx.URL(double.url).netloc.decode()}\n")
    assert panels[0].endswith(f'\n\n{{"ivr_id": {big}}}')
    assert f'"$DIALPAD_API_KEY" | curl --header @- --request PATCH {double.url}{path}' in panels[1]
    task = json.loads(panels[2])
    assert (task["name"], task["taskReferenceName"], task["type"]) == (TASK_TYPE, "set_hold_music", "SIMPLE")
    assert task["inputParameters"] == {**EXAMPLE, "ivr_id": big, "if_selected": []}
    assert double.ledger() == []


async def test_preview_shows_warnings(client: httpx.AsyncClient) -> None:
    text = text_of((await client.post(PAGE, data={**EXAMPLE, "select_option": "inbound"})).text)
    assert "select_option is documented for call center auto recording only" in text


async def test_get_prefills_the_form_and_sends_nothing(client: httpx.AsyncClient, double: DoubleControl) -> None:
    page = (await client.get(PAGE, params={**APPLY, "target_id": "77", "confirmed": "x"})).text
    assert 'value="77"' in page
    only = (await client.get(PAGE, params={"target_id": "77"})).text
    assert "<option selected>plan</option>" in only
    assert only.count("<template data-error=") == 3
    assert not CONFIRMATION.search(page)
    assert double.ledger() == []


@pytest.mark.parametrize("task_type", INPUTS)
async def test_form_values_are_escaped(client: httpx.AsyncClient, task_type: str) -> None:
    evil = '"><script>alert(1)</script>${jndi}{{7*191}}'
    form = {field.name: evil for field in fields(task_type)}
    for headers in ({}, {"x-part": "preview"}, PART):
        page = (await client.post(f"/tasks/{task_type}", data={**form, "do": "test"}, headers=headers)).text
        assert "<script>alert" not in page
        assert "1337" not in page


# ---- test requests directly to Dialpad


async def test_plan_reads_and_shows_the_whole_response(client: httpx.AsyncClient, double: DoubleControl) -> None:
    text = text_of((await client.post(PAGE, data={**EXAMPLE, "do": "test"}, headers=PART)).text)
    assert text.startswith(" planned Plan mode: the change would be made; nothing was written. Status 200 Time ")
    assert "Selected now Winter hold music (5127493019721729)" in text
    assert "Not sent PATCH http://127.0.0.1" in text
    assert "Via directly to Dialpad, without an engine" in text
    assert "content-type: application/json" in text
    assert '"ivr_type": "HOLD_MUSIC"' in text
    assert [line["method"] for line in double.ledger()] == ["GET"]


async def test_list_shows_the_matching_ivr(client: httpx.AsyncClient) -> None:
    form = {**example_input(LIST_TASK_TYPE), "name": "summer hold music", "do": "test"}
    text = text_of((await client.post(f"/tasks/{LIST_TASK_TYPE}", data=form, headers=PART)).text)
    assert "listed" in text
    assert "Found Summer hold music (5127493019721728)" in text


async def test_apply_requires_confirmation_of_exactly_this_change(
    client: httpx.AsyncClient, double: DoubleControl
) -> None:
    confirmation = (await client.post(PAGE, data=APPLY, headers=PART)).text
    assert CONFIRMATION.search(confirmation)
    for value in (EXAMPLE["target_type"], EXAMPLE["target_id"], EXAMPLE["ivr_type"], EXAMPLE["ivr_id"], double.url):
        assert value in text_of(confirmation)
    assert double.ledger() == []
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', confirmation))
    text = text_of((await client.post(PAGE, data={**form, "do": "test"}, headers=PART)).text)
    assert text.startswith(" updated ")
    assert "Sent PATCH http://127.0.0.1" in text
    assert double.selected("callcenter", EXAMPLE["target_id"], "HOLD_MUSIC")["inbound"] == EXAMPLE["ivr_id"]
    sent = len(double.ledger())
    for other in ({"ivr_id": "5127493019721729"}, {"target_id": "1"}, {"confirmed": ""}, {"confirmed": "yes"}):
        again = (await client.post(PAGE, data={**form, **other, "do": "test"}, headers=PART)).text
        assert CONFIRMATION.search(again), other
    assert len(double.ledger()) == sent


async def test_dialpad_error_response_is_shown(client: httpx.AsyncClient, double: DoubleControl) -> None:
    text = text_of((await client.post(PAGE, data={**EXAMPLE, "target_id": "404", "do": "test"}, headers=PART)).text)
    assert text.startswith(" not_found ")
    assert "Status 404" in text
    assert '"error"' in text


async def test_missing_key_names_the_environment_variable(
    client: httpx.AsyncClient, double: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_NAME)
    text = text_of((await client.post(PAGE, data={**EXAMPLE, "do": "test"}, headers=PART)).text)
    assert text.startswith(" unauthorized ")
    assert KEY_NAME in text
    assert " Headers " not in text
    assert double.ledger() == []


async def test_invalid_form_is_not_sent(client: httpx.AsyncClient, double: DoubleControl) -> None:
    form = {**APPLY, "ivr_id": "x"}
    text = text_of((await client.post(PAGE, data=form, headers=PART)).text)
    assert text.startswith(" no result ")
    assert double.ledger() == []


async def test_engine_without_access_is_not_bypassed(double: DoubleControl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_NAME, double.key)
    engine = Starlette(routes=[Route("/api/{_:path}", lambda _: PlainTextResponse("no", 401), methods=["GET", "POST"])])
    async with http_server.serving(engine, "127.0.0.1", 0) as port:
        settings = Settings(api_url=double.url, allow_loopback=True, server_url=f"http://127.0.0.1:{port}")
        async with open_tools(settings) as opened:
            transport = httpx.ASGITransport(console_app(opened, EngineApi(settings)))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                for text in (
                    (await client.get("/engine")).text,
                    (await client.post(PAGE, data={**EXAMPLE, "do": "test"}, headers=PART)).text,
                    (await client.get("/provisioning/x")).text,
                    (await client.get("/test-requests/x")).text,
                ):
                    assert "check CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET" in text
    assert double.ledger() == []


async def test_hanging_engine_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_requests, "_CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(5)
        engine = EngineApi(Settings(server_url=f"http://127.0.0.1:{silent.getsockname()[1]}"))
        connection = await test_requests.check_connection(engine)
        silent.accept()[0].close()  # ends the waiting thread
    assert connection.version is None
    assert "0.2 s" in str(connection.problem)


async def test_pages_without_an_engine_say_so(client: httpx.AsyncClient) -> None:
    assert "No engine answers" in (await client.get("/engine")).text
    for path in ("/provisioning", "/provisioning/x", "/test-requests/x"):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert "No Conductor server answers" in text_of(answer.text), path
    away = await client.get("/provisioning", params={"id": "//evil.example"})
    assert (away.url.host, away.url.raw_path, away.status_code) == (
        "127.0.0.1",
        b"/provisioning/%2F%2Fevil.example",
        404,
    )


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
    assert sum(len(file.content) for file in (page, *files)) < 60_000
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


# ---- the state of test requests on the engine


def state(workflow_status: str, **task: Any) -> RequestState:
    this = {"taskDefName": TASK_TYPE, "status": "IN_PROGRESS", "outputData": {}, **task}
    tasks = [{"taskDefName": "prepare", "status": "COMPLETED"}, this]
    return _state({"workflowId": "w", "status": workflow_status, "tasks": tasks if task else tasks[:1]})


def test_task_without_a_worker_is_scheduled() -> None:
    for test_request in (state("RUNNING"), state("RUNNING", status="SCHEDULED")):
        assert (test_request.in_progress, test_request.task_status, test_request.workflow_id) == (
            True,
            "SCHEDULED",
            "w",
        )


def test_deferred_task_shows_its_error() -> None:
    error = {"code": "paced", "message": "Waiting for a permit."}
    test_request = state("RUNNING", outputData={"outcome": None, "ok": False, "error": error})
    assert test_request.in_progress
    assert test_request.output is not None
    assert test_request.output.error is not None
    assert test_request.output.error.message == "Waiting for a permit."


def test_ended_task_without_output_shows_the_reason() -> None:
    ended = state("FAILED", status="TIMED_OUT", reasonForIncompletion="responseTimeout: 150 s")
    assert (ended.in_progress, ended.output, ended.problem) == (
        False,
        None,
        "responseTimeout: 150 s",
    )
    other = state("COMPLETED", outputData={"outcome": "of another version"}, reasonForIncompletion="odd")
    assert (other.in_progress, other.output, other.problem) == (False, None, "odd")
    assert "no task of this plugin" in str(_state({"workflowId": "w", "status": "COMPLETED"}).problem)


# ---- requirements


async def test_missing_extra_names_the_install_command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    async with open_tools(settings) as opened:
        with pytest.raises(SettingsError, match=re.escape("pip install 'dialpad-ivr[console]'")):
            console_app(opened, EngineApi(settings))
    monkeypatch.setattr(cli_local, "find_spec", lambda _: None)
    assert cli_local._console_port(0) is None


def test_taken_port_suggests_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "dialpad_ivr", "console", "--port", str(taken.getsockname()[1])]
        process = subprocess.run(command, env=clean_environ(), capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 2
    assert "--port 0" in process.stderr.replace("\n", " ")
