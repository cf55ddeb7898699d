"""Calls through a company's proxy: what it sees, and what its refusals, its silence and its curiosity come to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dialpad_ivr.credentials import Credentials
from dialpad_ivr.dialpad import client as client_module
from dialpad_ivr.dialpad.client import CallError, DialpadClient, NoAnswerError, NotSentError, Response
from dialpad_ivr.dialpad.verdict import shows_outage
from dialpad_ivr.pacing.limiter import Limiter
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.result import Result
from dialpad_ivr.tasks.set_custom_ivr import set_custom_ivr
from dialpad_ivr.tasks.tools import Tools
from dialpad_ivr.telemetry.metrics import Metrics
from support.bench import KEY, VALID
from support.canary import forms
from support.certificates import tls
from support.tunnel import CompanyProxy, running_proxy
from support.wire import Wire, response, wired

OK = response(b'{"ivrs": []}', "content-type: application/json")
TARGET = "dialpad.com:443"
LOGIN, LOGIN_IN_URL = "ivr:p@ss/w:rd", "ivr:p%40ss%2Fw%3Ard"


def through(proxy: str, **changes: Any) -> Settings:
    return Settings.model_validate({"proxy_url": proxy, "connect_timeout_seconds": 10, **changes})


async def call(settings: Settings, times: int = 1) -> Response:
    async with DialpadClient(settings) as client:
        for _ in range(times):
            found = await client.send(client.prepare_list_custom_ivrs("user", "5"), SecretStr(KEY))
        return found


async def failure(settings: Settings) -> CallError:
    with pytest.raises(CallError) as caught:
        await call(settings)
    return caught.value


@pytest.fixture(autouse=True)
def _trusted(certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Trust Dialpad's certificate, and that of a proxy at 127.0.0.1."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("".join(Path(f"{file}.crt").read_text() for file in certificates.values()))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))


@asynccontextmanager
async def dialpad(certificates: dict[str, Path], **proxy: Any) -> AsyncIterator[tuple[Wire, CompanyProxy]]:
    """A server with Dialpad's certificate, and a proxy that leads to it."""
    async with (
        wired(OK, tls(certificates["dialpad.com"])) as wire,
        running_proxy(resolve={TARGET: wire.url.partition("://")[2]}, **proxy) as running,
    ):
        yield wire, running


# What the proxy sees


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_proxy_sees_a_host_name_and_nothing_of_the_call(certificates: dict[str, Path], scheme: str) -> None:
    encrypted = tls(certificates["127.0.0.1"]) if scheme == "https" else None
    async with dialpad(certificates, tls=encrypted) as (wire, proxy):
        assert proxy.url.startswith(f"{scheme}://")
        assert (await call(through(proxy.url), times=3)).status_code == 200
        assert f"authorization: bearer {KEY}".lower().encode() in wire.heads[0].lower()
    assert proxy.targets == [TARGET]  # one tunnel for all calls
    assert proxy.heads == [b"CONNECT dialpad.com:443 HTTP/1.1\r\nHost: dialpad.com:443\r\n\r\n"]
    seen = bytes(proxy.seen)
    assert len(seen) > len(proxy.heads[0])
    assert b"customivrs" not in seen
    assert not [part for parts in forms(KEY).values() for part in parts if part.encode() in seen]


async def test_the_login_goes_to_the_proxy_alone(certificates: dict[str, Path]) -> None:
    async with dialpad(certificates, login=LOGIN) as (wire, proxy):
        assert (await call(through(proxy.with_login(LOGIN_IN_URL)))).status_code == 200
        assert b"proxy-authorization" in proxy.heads[0].lower()
        assert b"proxy-authorization" not in wire.heads[0].lower()


async def test_a_proxy_with_an_untrusted_certificate_gets_no_login(
    certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["dialpad.com"]))
    async with dialpad(certificates, tls=tls(certificates["127.0.0.1"])) as (_, proxy):
        error = await failure(through(proxy.with_login(LOGIN_IN_URL)))
        assert proxy.heads == []
    assert (type(error), error.code) == (NotSentError, "untrusted_certificate")
    assert proxy.address in str(error)


@pytest.mark.parametrize(("name", "trusted"), [("127.0.0.1", "127.0.0.1"), ("dialpad.com", "127.0.0.1")])
async def test_a_proxy_that_plays_dialpads_part_gets_no_request(
    certificates: dict[str, Path], name: str, trusted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates[trusted]))
    async with wired(OK, tls(certificates[name])) as interceptor:
        async with running_proxy(resolve={TARGET: interceptor.url.partition("://")[2]}) as proxy:
            error = await failure(through(proxy.url))
        assert proxy.targets == [TARGET]
        assert interceptor.heads == []
    assert (type(error), error.code) == (NotSentError, "untrusted_certificate")
    assert not shows_outage(error)
    assert f"dialpad.com through the proxy {proxy.address}" in str(error)


async def test_failed_tls_does_not_use_up_the_pool(
    certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_CONNECTIONS", 1)
    async with (
        wired(OK, tls(certificates["127.0.0.1"])) as interceptor,
        running_proxy(resolve={TARGET: interceptor.url.partition("://")[2]}) as proxy,
        DialpadClient(through(proxy.url, pool_timeout_seconds=0.05)) as client,
    ):
        for _ in range(3):
            with pytest.raises(NotSentError) as caught:
                await client.send(client.prepare_list_custom_ivrs("user", "5"), SecretStr(KEY))
            assert caught.value.code == "untrusted_certificate"
        await asyncio.wait_for(proxy.idle.wait(), 10)


# What it answers instead


@pytest.mark.parametrize(
    ("status", "code", "outage"),
    [
        (b"407 Password, please", "proxy_unauthorized", False),
        (b"403 Forbidden", "proxy_refused", False),
        (b"405 Method Not Allowed", "proxy_refused", False),
        (b"302 Found", "proxy_refused", False),
        (b"500 Internal Server Error", "proxy_unavailable", True),
        (b"502 Bad Gateway", "proxy_unavailable", True),
        (b"504 Gateway Timeout", "proxy_unavailable", True),
    ],
)
async def test_a_refusal_is_a_request_that_was_not_sent(status: bytes, code: str, *, outage: bool) -> None:
    echo = b"HTTP/1.1 " + status + b"\r\nx-login: p@ss/w:rd\r\ncontent-length: 9\r\n\r\np@ss/w:rd"
    async with running_proxy(answer=echo) as proxy:
        error = await failure(through(proxy.with_login(LOGIN_IN_URL)))
    assert (type(error), error.code) == (NotSentError, code)
    assert shows_outage(error) == outage
    assert proxy.address in str(error)
    assert status[:3].decode() in str(error)
    assert not [secret for secret in ("p@ss", "p%40ss", KEY) if secret in str(error)]


@pytest.mark.parametrize("login", [None, "ivr:wrong", "ivr:"])
async def test_a_wrong_login_names_the_setting(certificates: dict[str, Path], login: str | None) -> None:
    async with dialpad(certificates, login=LOGIN) as (wire, proxy):
        error = await failure(through(proxy.with_login(login) if login else proxy.url))
        assert wire.connections == 0
    assert error.code == "proxy_unauthorized"
    assert "DIALPAD_IVR_PROXY_URL" in str(error)


async def test_a_proxy_that_hangs_is_a_connect_timeout() -> None:
    async with running_proxy(hang=True) as proxy:
        error = await failure(through(proxy.url, connect_timeout_seconds=0.2))
        await asyncio.wait_for(proxy.idle.wait(), 10)  # the connection is closed
    assert (type(error), error.code) == (NotSentError, "connect_timeout")
    assert f"{proxy.address} opened no connection within 0.2 s" in str(error)
    assert shows_outage(error)


async def test_a_tunnel_in_which_nobody_answers_is_a_connect_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server, running_proxy(resolve={TARGET: f"127.0.0.1:{server.sockets[0].getsockname()[1]}"}) as proxy:
        error = await failure(through(proxy.url, connect_timeout_seconds=0.3))
        await asyncio.wait_for(proxy.idle.wait(), 10)
    assert (type(error), error.code) == (NotSentError, "connect_timeout")
    assert f"dialpad.com through the proxy {proxy.address}" in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nbytes of a TLS handshake?",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["closed", "cut", "another protocol", "early bytes", "endless head", "closed tunnel"],
)
async def test_what_is_no_tunnel_is_a_failed_connection(answer: bytes) -> None:
    async with running_proxy(answer=answer) as proxy:
        error = await failure(through(proxy.url))
    assert (type(error), error.code) == (NotSentError, "connect_failed")
    assert proxy.address in str(error)


async def test_a_proxy_that_does_not_listen_is_named() -> None:
    async with running_proxy() as proxy:
        pass
    error = await failure(through(proxy.with_login(LOGIN_IN_URL)))
    assert (type(error), error.code) == (NotSentError, "connect_failed")
    assert proxy.address in str(error)
    assert "p%40ss" not in str(error)


async def test_an_answer_lost_within_the_tunnel_may_have_changed_something(certificates: dict[str, Path]) -> None:
    async def lost() -> AsyncIterator[bytes]:
        raise ConnectionResetError
        yield b""

    async with wired(lost, tls(certificates["dialpad.com"])) as wire:
        async with running_proxy(resolve={TARGET: wire.url.partition("://")[2]}) as proxy:
            error = await failure(through(proxy.url))
        assert len(wire.heads) == 1
    assert (type(error), error.code) == (NoAnswerError, "connection_lost")


# What it means for tasks


async def run_tasks(settings: Settings, targets: int) -> list[Result]:
    async with DialpadClient(settings) as client:
        credentials = Credentials(environ={"DIALPAD_API_KEY": KEY})
        tools = Tools(settings, client, credentials, Limiter(settings), Metrics())
        return [
            await set_custom_ivr(Delivery({**VALID, "target_id": str(target)}), tools)
            for target in range(1, targets + 1)
        ]


async def test_refused_tasks_fail_for_a_retry_and_open_no_circuit() -> None:
    async with running_proxy(answer=b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n") as proxy:
        results = await run_tasks(through(proxy.url), 5)
    assert len(proxy.heads) == 5
    for result in results:
        assert (result.status, result.output.outcome) == ("FAILED", "unavailable")
        assert result.output.error is not None
        assert result.output.error.code == "proxy_refused"
        assert not result.output.perhaps_sent
        assert "could not be reached" in result.output.error.message


async def test_a_proxy_that_cannot_reach_dialpad_parks_tasks_as_an_outage_does() -> None:
    async with running_proxy(answer=b"HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n") as proxy:
        results = await run_tasks(through(proxy.url), 5)
    assert len(proxy.heads) == 3
    assert [result.status for result in results[-2:]] == ["IN_PROGRESS", "IN_PROGRESS"]
    assert all(not result.output.perhaps_sent for result in results)


def test_a_client_is_not_made_whose_calls_the_proxy_could_read() -> None:
    settings = through("http://proxy.example.com:3128").model_copy(
        update={"api_url": "http://127.0.0.1:8090", "allow_loopback": True}
    )
    with pytest.raises(ValueError, match="could read the key"):
        DialpadClient(settings)
