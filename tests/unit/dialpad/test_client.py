"""The client: what leaves, what is never followed or believed, and how an answer is read."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from dialpad_ivr.contract.values import BODY_LIMIT
from dialpad_ivr.dialpad.client import READ_LIMIT, DialpadClient, NoAnswerError, NotSentError, Response
from dialpad_ivr.settings import Settings
from support.bench import streamed

SLOT = ("callcenter", "9223372036854775807", "HOLD_MUSIC")


async def answer(
    settings: Settings, key: SecretStr, response: httpx.Response | Exception, sent: list[httpx.Request] | None = None
) -> Response:
    def handle(request: httpx.Request) -> httpx.Response:
        if sent is not None:
            sent.append(request)
        if isinstance(response, Exception):
            raise response
        return streamed(response)

    async with DialpadClient(settings, httpx.MockTransport(handle)) as client:
        return await client.send(client.prepare_set_custom_ivr(*SLOT, "9007199254740993", None), key)


async def test_the_patch_is_the_documented_one(settings: Settings, key: SecretStr) -> None:
    sent: list[httpx.Request] = []
    await answer(settings, key, httpx.Response(200, json={}), sent)
    (request,) = sent
    assert request.method == "PATCH"
    assert str(request.url) == (
        "https://sandbox.dialpad.com/api/v2/customivrs/callcenter/9223372036854775807/HOLD_MUSIC"
    )
    assert request.content == b'{"ivr_id":9007199254740993}'
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == f"Bearer {key.get_secret_value()}"
    assert request.headers["accept-encoding"] == "identity"


async def test_select_option_is_sent_only_if_set(settings: Settings) -> None:
    async with DialpadClient(settings) as client:
        assert client.prepare_set_custom_ivr(*SLOT, "1", None).body == {"ivr_id": 1}
        assert client.prepare_set_custom_ivr(*SLOT, "1", "inbound").body == {"ivr_id": 1, "select_option": "inbound"}


async def test_the_list_has_its_parameters_in_the_query_and_no_key(settings: Settings) -> None:
    async with DialpadClient(settings) as client:
        request = client.prepare_list_custom_ivrs("user", "5", cursor="a&b=c")
        assert request.url == (
            "https://sandbox.dialpad.com/api/v2/customivrs?target_type=user&target_id=5&cursor=a%26b%3Dc"
        )


@pytest.mark.parametrize("trick", ["1/../../users/2", "1%2f..%2fusers", "1?x=1", "1#x", "1\\..\\2"])
async def test_a_path_segment_cannot_be_escaped(settings: Settings, trick: str) -> None:
    async with DialpadClient(settings) as client:
        path = httpx.URL(client.prepare_set_custom_ivr("user", trick, "MENU", "1", None).url).raw_path.decode()
        assert path.count("/") == 6
        assert "?" not in path


async def test_a_dot_segment_is_rejected(settings: Settings) -> None:
    async with DialpadClient(settings) as client:
        with pytest.raises(ValueError, match="segment"):
            client.prepare_set_custom_ivr("user", "..", "MENU", "1", None)


async def test_a_redirect_is_a_response_and_is_not_followed(settings: Settings, key: SecretStr) -> None:
    sent: list[httpx.Request] = []
    found = await answer(settings, key, httpx.Response(302, headers={"location": "https://evil.example/"}), sent)
    assert found.status_code == 302
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("raised", "expected", "code"),
    [
        (httpx.ConnectError("refused"), NotSentError, "connect_failed"),
        (httpx.ConnectTimeout(""), NotSentError, "connect_timeout"),
        (httpx.PoolTimeout(""), NotSentError, "pool_timeout"),
        (httpx.ReadTimeout(""), NoAnswerError, "read_timeout"),
        (httpx.WriteTimeout(""), NoAnswerError, "write_timeout"),
        (httpx.ReadError("reset"), NoAnswerError, "connection_lost"),
        (httpx.RemoteProtocolError("cut"), NoAnswerError, "connection_lost"),
    ],
)
async def test_a_failed_call_says_whether_the_request_may_have_been_sent(
    settings: Settings, key: SecretStr, raised: Exception, expected: type[Exception], code: str
) -> None:
    with pytest.raises(expected) as caught:
        await answer(settings, key, raised)
    assert caught.value.code == code  # type: ignore[attr-defined]


async def test_a_call_has_a_deadline_whatever_happens_in_it(key: SecretStr) -> None:
    class Dripping(httpx.AsyncByteStream):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            import anyio

            while True:
                yield b" "
                await anyio.sleep(0.01)

    settings = Settings(deadline_seconds=0.1)
    with pytest.raises(NoAnswerError) as caught:
        await answer(settings, key, httpx.Response(200, stream=Dripping()))
    assert caught.value.code == "deadline"


async def test_a_huge_body_is_cut_while_it_is_read(settings: Settings, key: SecretStr) -> None:
    class Endless(httpx.AsyncByteStream):
        read = 0

        async def __aiter__(self):  # type: ignore[no-untyped-def]
            while True:
                Endless.read += 65536
                yield b"x" * 65536

    found = await answer(settings, key, httpx.Response(200, stream=Endless()))
    assert Endless.read < 2 * READ_LIMIT
    assert found.body_truncated
    assert found.json is None
    assert found.body == "x" * BODY_LIMIT


async def test_a_compressed_body_is_not_unpacked(settings: Settings, key: SecretStr) -> None:
    found = await answer(
        settings,
        key,
        httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"\x1f\x8b bomb")),
    )
    assert (found.json, found.body) == (None, "")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>busy</html>",
        '{"ivr_type": "HOLD_',
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1e999}',
        "[" * 100_000,
        "[" * 60 + "]" * 60,
        '{"a": %s}' % ("9" * 5000),
    ],
)
async def test_json_that_the_engine_cannot_hold_becomes_text(settings: Settings, key: SecretStr, body: str) -> None:
    found = await answer(settings, key, httpx.Response(200, text=body))
    assert found.json is None
    assert found.body == body[:BODY_LIMIT]


async def test_json_with_fractions_is_kept_as_it_is(settings: Settings, key: SecretStr) -> None:
    found = await answer(settings, key, httpx.Response(200, text='{"hours": 7.5}'))
    assert found.json == {"hours": 7.5}


async def test_a_long_json_body_is_parsed_whole_and_stored_truncated(settings: Settings, key: SecretStr) -> None:
    body = {"ivrs": [{"id": str(i), "name": "x" * 50} for i in range(1000)]}
    found = await answer(settings, key, httpx.Response(200, json=body))
    assert found.json == body
    assert found.body_truncated
    assert len(found.body) == BODY_LIMIT


async def test_an_echoed_key_is_redacted(settings: Settings, key: SecretStr) -> None:
    echo = f"Bearer {key.get_secret_value()}"
    found = await answer(settings, key, httpx.Response(400, json={"sent": echo}, headers={"x-request-id": echo}))
    assert key.get_secret_value() not in json.dumps(found.body) + str(found.headers) + repr(found)
    assert found.body == {"sent": "Bearer [redacted]"}


async def test_a_name_cannot_make_the_engine_put_its_secrets_somewhere(settings: Settings, key: SecretStr) -> None:
    named = httpx.Response(200, content=rb'{"name": "\u0024{workflow.secrets.KEY}"}')
    found = await answer(settings, key, named)
    assert found.body == {"name": "$ {workflow.secrets.KEY}"}


async def test_only_relevant_headers_are_stored(settings: Settings, key: SecretStr) -> None:
    headers = {"Retry-After": "3", "Set-Cookie": "secret", "X-RateLimit-Limit": "20", "X-Request-Id": "r" * 999}
    found = await answer(settings, key, httpx.Response(429, headers=headers, json={}))
    assert found.headers["retry-after"] == "3"
    assert found.headers["x-ratelimit-limit"] == "20"
    assert "set-cookie" not in found.headers
    assert len(found.headers["x-request-id"]) == 200


async def test_proxies_and_logins_of_the_environment_are_ignored(
    settings: Settings, key: SecretStr, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine sandbox.dialpad.com login x password y\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    sent: list[httpx.Request] = []
    await answer(settings, key, httpx.Response(200, json={}), sent)
    assert sent[0].headers["authorization"] == f"Bearer {key.get_secret_value()}"
