"""Requests get their connections in the order in which they were made, and a request that fails holds nobody up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import httpx
import pytest

from dialpad_ivr.local.engine import free_port
from dialpad_ivr.ordered_transport import OrderedTransport

SENDING = "http11.send_request_headers.started"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A server that keeps connections open, and answers after a moment."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError), contextlib.closing(writer):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(0.002)
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=OrderedTransport(httpx.AsyncHTTPTransport())) as client:
        yield client


async def test_no_request_overtakes_another(client: httpx.AsyncClient, url: str) -> None:
    """Of 100 requests, httpcore alone lets one be overtaken by dozens."""
    got: dict[int, str] = {}

    async def get(number: int) -> None:
        async def trace(event: str, _: Mapping[str, Any]) -> None:
            got.setdefault(number, event)

        await client.get(url, extensions={"trace": trace})

    await get(0)  # leaves an idle connection
    async with anyio.create_task_group() as group:
        for number in range(1, 100):
            group.start_soon(get, number)
            await asyncio.sleep(0)
    assert list(got) == list(range(100))
    assert SENDING in got.values()  # some used a connection again


async def test_a_request_without_a_connection_lets_the_next_one_go(client: httpx.AsyncClient, url: str) -> None:
    with pytest.raises(httpx.ConnectError):
        await client.get(f"http://127.0.0.1:{free_port()}/")
    with pytest.raises(httpx.UnsupportedProtocol):
        await client.get("ftp://127.0.0.1/")
    assert (await client.get(url)).status_code == 204


async def test_a_cancelled_request_lets_the_next_one_go(client: httpx.AsyncClient, url: str) -> None:
    await client.get(url)
    for turns in range(20):
        one = asyncio.create_task(client.get(url))
        for _ in range(turns):
            await asyncio.sleep(0)
        one.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await one
        with anyio.fail_after(5):
            assert (await client.get(url)).status_code == 204
