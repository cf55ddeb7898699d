"""The client on a real socket: what leaves, byte for byte, and what comes back from a server that means harm."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import anyio
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from pydantic import SecretStr

from dialpad_ivr.contract.values import BODY_LIMIT, IVR_TYPES, TARGET_TYPES
from dialpad_ivr.credentials import Credentials
from dialpad_ivr.dialpad.client import READ_LIMIT, DialpadClient, NoAnswerError, NotSentError, Response
from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.pacing.limiter import Limiter, Permit, PermitDeferredError
from dialpad_ivr.pacing.redis import open_limiter
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.list_custom_ivrs import list_custom_ivrs
from dialpad_ivr.tasks.result import Result
from dialpad_ivr.tasks.set_custom_ivr import set_custom_ivr
from dialpad_ivr.tasks.tools import Tools
from dialpad_ivr.telemetry.metrics import Metrics
from support.bench import KEY, VALID
from support.certificates import tls
from support.wire import Chunks, response, wired

OK = response(b'{"ivrs": []}', "content-type: application/json")
A_FEW = limits(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def local(url: str, **changes: Any) -> Settings:
    return Settings(api_url=url, allow_loopback=True, patch_limit=10**6, company_limit=10**6, **changes)


async def ask(url: str, **changes: Any) -> Response:
    async with DialpadClient(local(url, **changes)) as client:
        return await client.send(client.prepare_list_custom_ivrs("user", "5"), SecretStr(KEY))


async def answered(answer: bytes | Chunks, **changes: Any) -> Response:
    async with wired(answer) as wire:
        return await ask(wire.url, **changes)


# What leaves


_PIECES = st.sampled_from(
    ["/", "..", ".", "%2f", "%2e%2e", "\\", "?", "#", ";", "\r\n", "\0", " ", "\u2215", "\uff0f", "@"]
)
_TRICKY = st.lists(_PIECES | st.text(max_size=6), max_size=6).map("".join)


@given(_TRICKY, _TRICKY, _TRICKY)
@example("user", "1/../../users/2", "MENU")
@example("..%2f", "1 HTTP/1.1\r\nhost: evil\r\n\r\n", "\r\n\r\n")
@A_FEW
def test_a_path_segment_stays_one_segment(target_type: str, target_id: str, ivr_type: str) -> None:
    async def sent() -> list[bytes]:
        async with wired(OK) as wire, DialpadClient(local(wire.url)) as client:
            try:
                request = client.prepare_set_custom_ivr(target_type, target_id, ivr_type, "1", None)
            except ValueError:  # empty, a dot segment, or half a surrogate pair
                return []
            await client.send(request, SecretStr(KEY))
            return wire.heads

    for head in asyncio.run(sent()):
        lines = head.decode("ascii").split("\r\n")
        method, path, version = lines[0].split(" ")
        assert (method, version) == ("PATCH", "HTTP/1.1")
        assert [unquote(part) for part in path.split("/")] == [
            *["", "api", "v2", "customivrs"],
            *[target_type, target_id, ivr_type],
        ]
        assert not {".", ".."} & set(path.split("/"))
        assert {line.partition(":")[0].lower() for line in lines[1:] if line} == {
            *["host", "accept", "accept-encoding", "connection", "user-agent"],
            *["authorization", "content-length", "content-type"],
        }


def _bent(value: str) -> st.SearchStrategy[Any]:
    """The value, or something like it that an attacker, or a slip, may make of it."""
    return st.just(value) | st.tuples(_TRICKY, st.just(value), _TRICKY).map("".join) | st.integers() | st.none()


async def test_a_call_is_counted_when_it_has_left_before_its_answer_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    left = asyncio.Event()

    async def sent(self: Permit, moment: float) -> None:
        await counted(self, moment)
        left.set()

    counted = Permit.sent
    monkeypatch.setattr(Permit, "sent", sent)

    async def answer() -> AsyncIterator[bytes]:
        await left.wait()
        yield OK

    async with wired(answer) as wire, DialpadClient(settings := local(wire.url)) as client:
        tools = Tools(settings, client, Credentials(environ={"DIALPAD_API_KEY": KEY}), Limiter(settings), Metrics())
        with anyio.fail_after(10):
            await set_custom_ivr(Delivery(VALID, last_attempt=False), tools)


@given(st.fixed_dictionaries({name: _bent(value) for name, value in VALID.items()}))
@example(VALID)
@A_FEW
def test_an_input_reaches_the_documented_endpoint_or_nothing(raw: dict[str, Any]) -> None:
    async def run() -> tuple[Result, list[str]]:
        async with wired(OK) as wire, DialpadClient(settings := local(wire.url)) as client:
            credentials = Credentials(environ={"DIALPAD_API_KEY": KEY})
            tools = Tools(settings, client, credentials, Limiter(settings), Metrics())
            return await set_custom_ivr(Delivery(raw, last_attempt=False), tools), wire.lines

    result, lines = asyncio.run(run())
    expected = (
        f"PATCH /api/v2/customivrs/({'|'.join(TARGET_TYPES)})/[1-9][0-9]{{0,18}}/({'|'.join(IVR_TYPES)}) HTTP/1.1"
    )
    assert all(re.fullmatch(expected, line, re.ASCII) for line in lines)
    assert len(lines) == (result.output.outcome != "invalid_input")
    assert raw != VALID or lines


@given(_TRICKY, _TRICKY, _TRICKY.filter(bool))
@A_FEW
def test_a_query_value_stays_one_value(target_type: str, target_id: str, cursor: str) -> None:
    async def sent() -> list[str]:
        async with wired(OK) as wire, DialpadClient(local(wire.url)) as client:
            await client.send(client.prepare_list_custom_ivrs(target_type, target_id, cursor=cursor), SecretStr(KEY))
            return wire.lines

    (line,) = asyncio.run(sent())
    parts = urlsplit(line.split(" ")[1])
    assert parts.path == "/api/v2/customivrs"
    asked = {"target_type": target_type, "target_id": target_id, "cursor": cursor}
    assert dict(parse_qsl(parts.query, keep_blank_values=True)) == asked


async def test_a_redirect_carries_neither_the_key_nor_the_request_elsewhere() -> None:
    async with wired(OK) as elsewhere:
        for status in ("301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"):
            moved = response(b"", f"location: {elsewhere.url}/api/v2/customivrs", status=status)
            assert (await answered(moved)).status_code == int(status[:3])
        assert elsewhere.connections == 0


async def test_proxies_and_logins_of_the_environment_are_ignored_on_the_wire(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    async with wired(OK) as proxy, wired(OK) as wire:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.lower(), proxy.url)
        monkeypatch.setenv("NETRC", str(netrc))
        await ask(wire.url)
        assert proxy.connections == 0
        assert f"\r\nauthorization: bearer {KEY}\r\n".lower().encode() in wire.heads[0].lower()


async def test_no_cookie_goes_from_one_companys_call_to_anothers() -> None:
    async with (
        wired(response(b"{}", "set-cookie: session=one; path=/")) as wire,
        DialpadClient(local(wire.url)) as client,
    ):
        for key in ("key-of-one", "key-of-two"):
            await client.send(client.prepare_list_custom_ivrs("user", "5"), SecretStr(key))
        assert len(wire.heads) == 2
        assert b"cookie" not in wire.heads[1].lower()


# TLS


async def test_a_server_with_an_untrusted_certificate_gets_no_request(certificates: dict[str, Path]) -> None:
    async with wired(OK, tls(certificates["127.0.0.1"])) as wire:
        with pytest.raises(NotSentError, match="certificate verify failed"):
            await ask(wire.url)
        assert wire.heads == []


async def test_a_private_authority_is_trusted_but_not_for_another_name(
    certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, accepted in (("127.0.0.1", True), ("dialpad.com", False)):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates[name]))
        async with wired(OK, tls(certificates[name])) as wire:
            if accepted:
                assert (await ask(wire.url)).status_code == 200
            else:
                with pytest.raises(NotSentError, match="mismatch"):
                    await ask(wire.url)
            assert len(wire.heads) == accepted


async def test_an_engine_or_redis_with_an_untrusted_certificate_gets_no_request(
    certificates: dict[str, Path],
) -> None:
    async with wired(OK, tls(certificates["127.0.0.1"])) as wire:
        settings = Settings.model_validate({"server_url": wire.url, "redis_url": wire.url.replace("https", "rediss")})
        with pytest.raises(EngineError, match=r"(?i)certificate.verify.failed"):
            await asyncio.to_thread(EngineApi(settings).version)
        async with open_limiter(settings, Metrics()) as pacer:
            with pytest.raises(PermitDeferredError, match="does not answer"):
                await pacer.company("company").permit(write=True)
        assert wire.heads == []


# What comes back


async def endless(head: bytes, part: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    yield head
    while True:
        yield part
        await asyncio.sleep(pause)


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (CHUNKED, b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
    ],
    ids=["chunks", "length", "until closed"],
)
async def test_an_endless_body_is_truncated(head: bytes, part: bytes) -> None:
    found = await answered(lambda: endless(head, part))
    assert found.body_truncated
    assert found.json is None
    assert found.body == "x" * BODY_LIMIT


@pytest.mark.parametrize(
    ("head", "part", "pause"),
    [
        (b"HTTP/1.1 200 OK\r\nx-slow: ", b"x", 0.01),
        (CHUNKED, b"1\r\nx\r\n", 0.01),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 500, 0.0),
        (CHUNKED, b"1\r\nx\r\n" * 500, 0.0),
    ],
    ids=["dripping head", "dripping body", "hints without end", "tiny chunks"],
)
async def test_a_response_that_misses_the_deadline_is_abandoned_and_others_continue(
    head: bytes, part: bytes, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    real_time, ahead, parts = loop.time, 0, 0
    monkeypatch.setattr(loop, "time", lambda: real_time() + ahead)

    async def counted() -> AsyncIterator[bytes]:
        nonlocal parts
        async for piece in endless(head, part, pause):
            parts += 1
            yield piece

    async def others() -> None:
        nonlocal ahead
        while parts < 20:
            await asyncio.sleep(0)
        ahead = 30  # the deadline passes, and the longer read timeout does not

    meanwhile = asyncio.create_task(others())
    with pytest.raises(NoAnswerError) as caught:
        await answered(counted, deadline_seconds=30, read_timeout_seconds=60)
    meanwhile.cancel()
    assert caught.value.code == "deadline"
    assert 20 <= parts < 60


@pytest.mark.parametrize("head", [b"x: " + b"a" * 2_000_000 + b"\r\n", b"x: a\r\n" * 300_000], ids=["long", "many"])
async def test_oversized_headers_are_rejected(head: bytes) -> None:
    with pytest.raises(NoAnswerError) as caught:
        await answered(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
    assert caught.value.code == "connection_lost"


_ZEROS = b'{"name": "' + b"0" * 20_000_000 + b'"}'
_DEFLATED = zlib.compress(_ZEROS)
_BOMBS = {
    "gzip": gzip.compress(_ZEROS),
    "deflate": _DEFLATED,
    "br": b"\xdb\xff\xff\xff" * 9,  # not even looked at
    "zstd": b"\x28\xb5\x2f\xfd" * 9,
    "identity, gzip": gzip.compress(_ZEROS),
    "GZIP": gzip.compress(_ZEROS),
}


@pytest.mark.parametrize("encoding", _BOMBS)
async def test_a_compressed_body_is_never_decompressed(encoding: str) -> None:
    found = await answered(response(_BOMBS[encoding], f"content-encoding: {encoding}"))
    assert (found.json, found.body, found.body_truncated) == (None, "", True)


async def test_an_unrequested_transfer_coding_is_no_response() -> None:
    with pytest.raises(NoAnswerError):
        await answered(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "body",
    [
        b'{"n": ' + b"9" * (READ_LIMIT - 100) + b"}",
        b'{"n": -' + b"9" * 101 + b"}",
        b'{"n": ' + b"9" * 200_000 + b".5e3}",
        b"[" * 500_000 + b"]" * 500_000,
        b'{"a":' * 33 + b"1" + b"}" * 33,
    ],
    ids=["long integer", "integer of 101 digits", "long fraction", "deep lists", "deep objects"],
)
async def test_numbers_and_nesting_beyond_the_engines_limits_become_text_or_are_truncated(body: bytes) -> None:
    found = await answered(response(body))
    if found.json is not None:  # a long fraction is a float like any other
        assert len(json.dumps(found.json)) < 100
    else:
        assert found.body == body[:BODY_LIMIT].decode()


@pytest.mark.parametrize(
    "body",
    [
        b'{"message": "half \\ud800 a pair, \\u0000 and \\udfff"}',
        b'{"\\ud800\\u0000": 1}',
        b'{"message": "\xff\xfe\x00 not UTF-8"}',
        '{"message": "UTF-16"}'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b"\0" * 100,
        b"plain \x80\x81 text",
    ],
)
@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
async def test_a_body_of_unknown_encoding_can_still_be_stored(body: bytes, status: str) -> None:
    found = await answered(response(body, status=status))
    stored = json.dumps([found.body, found.json], ensure_ascii=False)
    assert "\\u0000" not in stored
    stored.encode()


@pytest.mark.parametrize("text", ['{"ivrs": []}', "[1]", ""])
async def test_a_byte_order_mark_before_a_response_is_not_a_part_of_it(text: str) -> None:
    with_mark, without = (
        await answered(response(b"\xef\xbb\xbf" + text.encode())),
        await answered(response(text.encode())),
    )
    assert (with_mark.json, with_mark.body) == (without.json, without.body)


@pytest.mark.parametrize(
    "cursor",
    [pytest.param("c" * 100_000, marks=pytest.mark.long), "\U0001f600" * 1000, "\\ud800", "a\r\nb&target_id=6"],
)
@pytest.mark.parametrize("list_it", [True, False])
async def test_a_cursor_that_cannot_be_sent_back_ends_the_task_and_not_the_worker(
    cursor: str, *, list_it: bool
) -> None:
    page = b'{"items": [], "cursor": "%s"}' % cursor.replace("\r\n", "\\r\\n").encode()
    async with wired(response(page)) as wire, DialpadClient(settings := local(wire.url)) as client:
        tools = Tools(settings, client, Credentials(environ={"DIALPAD_API_KEY": KEY}), Limiter(settings), Metrics())
        raw = {"target_type": "user", "target_id": "5"} if list_it else {**VALID, "mode": "plan"}
        result = await (list_custom_ivrs if list_it else set_custom_ivr)(Delivery(raw), tools)
    assert result.output.outcome == "unavailable"
    assert all(dict(parse_qsl(urlsplit(line.split(" ")[1]).query))["target_id"] != "6" for line in wire.lines)
