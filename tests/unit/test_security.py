"""What SECURITY.md says of hosts, local ports, files and terminals. What goes over the wire is in test_wire.py."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from rich.table import Table
from rich.text import Text

from dialpad_ivr import http_server
from dialpad_ivr.cli.common import _PlainConsole
from dialpad_ivr.contract.inputs import SetCustomIvrInput
from dialpad_ivr.contract.validation import check_input
from dialpad_ivr.contract.values import API_URLS
from dialpad_ivr.credentials import Credentials
from dialpad_ivr.dialpad.client import DialpadClient
from dialpad_ivr.local.double import FakeDialpad, serving
from dialpad_ivr.local.download import Artifact, DownloadError, fetch
from dialpad_ivr.pacing.limiter import Limiter
from dialpad_ivr.pacing.redis import RedisLimiter
from dialpad_ivr.pacing.window import Wait
from dialpad_ivr.provisioning.changes import read_changes
from dialpad_ivr.provisioning.plan import write_atomically
from dialpad_ivr.provisioning.report import report_csv
from dialpad_ivr.settings import Settings, check_api_url, is_loopback
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.result import Result
from dialpad_ivr.tasks.set_custom_ivr import set_custom_ivr
from dialpad_ivr.tasks.tools import Tools
from dialpad_ivr.telemetry.metrics import Metrics
from dialpad_ivr.worker import health
from support.bench import KEY, VALID, streamed
from support.redis import RedisServer

# Hosts


@pytest.mark.parametrize(
    "url",
    [
        "https://dialpad.com.",
        "https://Dialpad.com",
        "HTTPS://dialpad.com",
        "https://dialpad.com:443",
        "https://dialpad.com?",
        "https://dialpad.com#",
        "https://dialpad.com\n",
        " https://dialpad.com",
        "https://dialpad.com\\@evil.example",
        "https://evil.example\\@dialpad.com",
        "https://dialpad.com\t",
        "https://xn--dalpad-4ve.com",
        "https://\uff44ialpad.com",
        "https:///dialpad.com",
        "https:dialpad.com",
        "http://127.0.0.1.",
        "http://127.1",
        "http://127.0.0.01",
        "http://0177.0.0.1",
        "http://0x7f000001",
        "http://017700000001",
        "http://127.0.0.1:",
        "http://127.0.0.1:080",
        "http://127.0.0.1:+80",
        "http://127.0.0.1:\u0668\u0660",
        "http://127.0.0.\uff11",
        "http://\u2460\u2461\u2466.0.0.1",
        "http://[::]",
        "http://[::ffff:127.0.0.1]",
        "http://[::ffff:7f00:1]",
        "http://[::127.0.0.1]",
        "http://[64:ff9b::7f00:1]",
        "http://[::1%25lo]",
        "http://[::1%lo]",
        "http://[0:0:0:0:0:0:0:1]@evil.example",
        "http://localhost",
        "http://localtest.me",
        "http://127.0.0.1.nip.io",
        "http://ip6-localhost",
        "//127.0.0.1",
        "file:///etc/passwd",
        "http+unix://127.0.0.1",
    ],
)
def test_no_other_way_to_write_a_host_gets_the_key(url: str) -> None:
    with pytest.raises(ValueError, match="key is sent to no other host"):
        check_api_url(url, allow_loopback=True)


_URL_PIECES = st.sampled_from(
    ["https://", "http://", "dialpad.com", "127.0.0.1", "[::1]", "@", ":", "/", "?", "#", "\\", ".", "%", "evil", "443"]
)


@given(st.lists(_URL_PIECES | st.text(max_size=3), max_size=7).map("".join))
@example("http://127.0.0.1:8090")
@example("http://[::1]:8090")
def test_an_allowed_url_has_the_same_host_for_the_http_client(url: str) -> None:
    try:
        allowed = check_api_url(url, allow_loopback=True)
    except ValueError:
        return
    target = httpx.URL(f"{allowed}/api/v2/customivrs")
    assert target.path == "/api/v2/customivrs"
    assert not target.userinfo
    assert allowed in API_URLS or is_loopback(target.host)


# The local ports, and a web page in a browser on this machine


@contextlib.asynccontextmanager
async def _health_port() -> Any:
    app = health.health_app(CollectorRegistry(), lambda: None, AsyncMock(return_value={}))
    async with http_server.serving(app, "127.0.0.1", 0) as port:
        yield f"http://127.0.0.1:{port}"


WEB_PAGES = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:3000"},
    {"host": "evil.example"},
    {"host": "evil.example:8090"},
    {"host": "127.0.0.1.evil.example"},
    {"host": "localhost.evil.example"},
    {"host": "127.0.0.1@evil.example"},
    {"host": "[::1].evil.example"},
    {"host": "2130706433"},
]


@pytest.mark.parametrize("headers", WEB_PAGES, ids=str)
async def test_a_web_page_reaches_neither_the_double_nor_the_health_port(headers: dict[str, str]) -> None:
    double = FakeDialpad()
    async with serving(double) as url, _health_port() as worker, httpx.AsyncClient(trust_env=False) as client:
        rule = '{"fault": "status", "status": 503}'
        # What a page may send without asking first: these methods, and a body of text.
        for method, path, body in (
            ("POST", "/_double/reset", ""),
            ("POST", "/_double/faults", rule),
            ("PUT", "/_double/state", '{"targets": []}'),
            ("GET", "/_double/ledger", ""),
            ("GET", "/api/v2/customivrs?target_type=user&target_id=5502522061422603", ""),
        ):
            sent = {"content-type": "text/plain", "authorization": "Bearer demo-key", **headers}
            answer = await client.request(method, f"{url}{path}", content=body, headers=sent)
            assert answer.status_code == 403, path
            assert "access-control-allow-origin" not in answer.headers
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await client.get(f"{worker}{path}", headers=headers)).status_code == 403
    assert len(double.faults) == 0
    assert double.state.targets()
    assert double.ledger.rows() == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9464", "[::1]:9464", "127.8.8.8"])
async def test_programs_on_this_machine_reach_both(host: str) -> None:
    async with serving(FakeDialpad()) as url, _health_port() as worker, httpx.AsyncClient(trust_env=False) as client:
        for address in (f"{url}/_double/health", f"{worker}/healthz"):
            assert (await client.get(address, headers={"host": host})).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
async def test_the_health_port_is_only_read(method: str) -> None:
    async with _health_port() as url, httpx.AsyncClient(trust_env=False) as client:
        for path in ("/healthz", "/readyz", "/metrics"):
            answer = await client.request(method, f"{url}{path}", content=b"x" * 100_000)
            assert answer.status_code in (400, 404, 405), path  # CONNECT has no path


async def test_connections_that_say_nothing_are_few_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_MAX_CONNECTIONS", 3)
    monkeypatch.setattr(http_server, "_CONNECTION_SECONDS", 0.5)
    async with _health_port() as url, httpx.AsyncClient(trust_env=False) as client:
        port = int(url.rpartition(":")[2])
        pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for _, writer in pairs:
            writer.write(b"GET /healthz HTTP/1.1\r\n")
        with pytest.raises(httpx.TransportError):
            await client.get(f"{url}/healthz")
        async with asyncio.timeout(10) if sys.version_info >= (3, 11) else contextlib.nullcontext():
            for reader, writer in pairs:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
                writer.close()
        assert (await client.get(f"{url}/healthz")).status_code == 200


def _own_addresses() -> Iterator[str]:
    """This machine's addresses beyond loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.connect(("192.0.2.1", 9))  # sends nothing; chooses the address that would be used
        if not is_loopback(sock.getsockname()[0]):
            yield sock.getsockname()[0]


async def test_the_local_ports_cannot_be_reached_from_another_machine() -> None:
    async with serving(FakeDialpad()) as url, _health_port() as worker:
        for address in _own_addresses():
            for port in (int(local.rpartition(":")[2]) for local in (url, worker)):
                with pytest.raises(OSError, match=r"refused|denied|timed out|unreachable"):
                    await asyncio.to_thread(socket.create_connection, (address, port), 2)


# Files


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644)])
def test_a_plan_or_report_is_as_private_as_the_umask_says(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "changes.plan.json", "{}")
    finally:
        os.umask(before)
    assert _mode(tmp_path / "changes.plan.json") == mode


def test_a_link_in_a_shared_folder_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = tmp_path / "run.report.json"
    link.symlink_to(victim)
    write_atomically(link, "report")
    assert (victim.read_text(), link.read_text(), link.is_symlink()) == ("precious", "report", False)
    assert {path.name for path in tmp_path.iterdir()} == {"victim", "run.report.json"}


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_a_download_is_not_taken_from_a_folder_that_others_can_write_to(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(mode)
    (folder / "server.jar").write_text("theirs")
    (folder / "server.jar.verified").write_text("theirs")
    with pytest.raises(DownloadError, match="Other users"):
        fetch(Artifact("http://127.0.0.1:9/server.jar", "0" * 64, 6), folder)


# What others wrote: in spreadsheets, on terminals, in files of changes, in inputs, in Redis


def _cells(text: str, delimiter: str) -> Iterator[str]:
    """Every cell that a spreadsheet may make of it that goes by another separator, and by lines."""
    for line in text.split("\n"):
        yield from (cell.strip(' "') for cell in line.split(delimiter))


_EVIL = st.sampled_from(
    ["=", "+", "-", "@", "\t", "\r", "\n", ";", ",", '"', "'", "|", "\uff1d", " ", "a", "HYPERLINK("]
)


@given(st.lists(_EVIL, max_size=8).map("".join))
@example('x;=HYPERLINK("http://evil.example")')
@example("x\n=1+1")
@example("x;\t \uff20SUM(1)")
def test_no_spreadsheet_finds_a_formula_in_a_report_however_it_separates(message: str) -> None:
    row: dict[str, Any] = {
        "line": 2,
        **VALID,
        "target_type": message,
        "outcome": "rejected",
        "ok": False,
        "attempts": 1,
    }
    row.pop("mode", None)
    text = report_csv([{**row, "message": message, "previous": ""}])
    (read,) = csv.DictReader(io.StringIO(text))
    cells = [*read.values(), *_cells(text, ";"), *_cells(text, "\t")]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d"))]


def test_numbers_stay_numbers_in_a_report() -> None:
    row = {"line": 2, **VALID, "outcome": "updated", "ok": True, "attempts": 1, "message": "a, -1", "previous": None}
    (read,) = csv.DictReader(io.StringIO(report_csv([row])))
    assert (read["line"], read["message"], read["previous"]) == ("2", "a, -1", "")


def test_terminal_control_characters_in_output_are_replaced() -> None:
    file = io.StringIO()
    console = _PlainConsole(file=file, force_terminal=True, width=80)
    table = Table("name")
    table.add_row(Text("a\x1b]0;title\x07b\x9b2Jc\u202egnp.exe"))
    console.print(table, Text("line\x1b[2J\rtwo\x7f", style="red"))
    shown = file.getvalue()
    assert "a\N{REPLACEMENT CHARACTER}]0;title" in shown
    assert not {"\x07", "\x9b", "\u202e", "\r", "\x7f"} & set(shown)
    assert "\x1b[2J" not in shown
    assert "\x1b[31m" in shown  # its own colours stay


def test_yaml_constructs_nothing(tmp_path: Path) -> None:
    made = tmp_path / "made"
    file = tmp_path / "changes.yaml"
    file.write_text(
        f"- target_type: !!python/object/apply:os.system ['touch {made}']\n  target_id: !!python/name:os.system ''\n"
    )
    assert read_changes(file).violations
    assert not made.exists()


@pytest.mark.parametrize(
    "raw",
    [
        {f"key{i}": i for i in range(200_000)},
        {**VALID, "if_selected": ["x"] * 700_000},
        {**VALID, "if_selected": [{}] * 700_000},
        {**VALID, "ivr_type": "x" * 3_000_000},
        [0] * 1_000_000,
    ],
    ids=["keys", "list", "objects", "text", "no object"],
)
def test_an_input_as_large_as_the_engine_lets_through_is_refused_without_working_through_it(raw: Any) -> None:
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        found = check_input(raw, SetCustomIvrInput)
    finally:
        sys.setprofile(None)
    assert isinstance(found, list)
    assert calls < 20_000


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url, decode_responses=True) as client:
        await client.flushall()
        yield client


HOSTILE_NAMES = ["'} redis.call('flushall') --", "bystander", "{x}:calls", "*\r\nFLUSHALL\r\n", "\0\U0001f600"]


async def test_a_companys_name_is_only_ever_a_digest_to_redis(redis: Redis) -> None:
    await redis.set("bystander", "1")
    fleet = RedisLimiter(redis, Settings(), Metrics())
    for company in HOSTILE_NAMES:
        taken = await fleet.window(company).take(write=True, waited_seconds=0, average_delay=0, assumed_delay=0)
        assert isinstance(taken, Wait)  # a new log's first seconds
    keys = set(await redis.keys("*")) - {"bystander"}
    assert await redis.get("bystander") == "1"
    assert len(keys) == 3 * len(HOSTILE_NAMES)
    assert all(re.fullmatch(r"dialpad-ivr:\{[0-9a-f]{24}\}:(calls|patches|state)", str(key)) for key in keys)


async def test_whoever_writes_to_redis_can_hold_tasks_back_but_not_for_long_nor_break_a_worker(redis: Redis) -> None:
    settings = Settings(longest_pause_seconds=60)
    fleet = RedisLimiter(redis, settings, Metrics())
    written: dict[str, tuple[str, str]] = {}
    for field in ("calls_slot", "paused", "since", "seen"):
        for value in ("1e18", "9" * 400, "nan", "-inf", "no number"):
            earlier = set(await redis.keys("*:state"))
            company = f"company {len(written)}"
            await fleet.window(company).take(write=True, waited_seconds=0, average_delay=0, assumed_delay=0)
            (state,) = set(await redis.keys("*:state")) - earlier
            await redis.hset(state, field, value)
            written[company] = field, value
    transport = httpx.MockTransport(lambda _: streamed(httpx.Response(500)))
    async with DialpadClient(settings, transport) as client:

        async def run(company: str) -> Result:
            environ = {"DIALPAD_API_KEY": KEY, "DIALPAD_COMPANY": company}
            tools = Tools(settings, client, Credentials(environ=environ), Limiter(settings, fleet.window), Metrics())
            return await set_custom_ivr(Delivery(VALID), tools)

        results = await asyncio.gather(*map(run, written))
    for (field, value), result in zip(written.values(), results, strict=True):
        if result.callback_seconds is None:
            assert result.output.outcome in ("rate_limited", "unavailable"), (field, value)
        else:
            assert 1 <= result.callback_seconds <= 60, (field, value)
