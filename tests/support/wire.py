"""A server on raw sockets: records requests byte for byte, and responds with any bytes.

async with wired(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}") as wire:
    ...  # a client calls wire.url
    assert wire.heads == [b"GET / HTTP/1.1\r\nhost: ..."]
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass, field

Chunks = Callable[[], AsyncIterable[bytes]]


def response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A whole response."""
    lines = [f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass
class Wire:
    """The requests received.

    Attributes:
        url: The server's URL.
        heads: Each request's first line and headers.
        connections: The number of connections opened.
    """

    url: str
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def lines(self) -> list[str]:
        """Each request's first line."""
        return [head.split(b"\r\n", 1)[0].decode("latin-1") for head in self.heads]


@contextlib.asynccontextmanager
async def wired(content: bytes | Chunks, tls: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    """Serve while the context lasts. Each response is these bytes, or all that the async generator yields."""
    wire = Wire("")
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                wire.heads.append(head)
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
                if isinstance(content, bytes):
                    writer.write(content)
                else:
                    async for part in content():
                        writer.write(part)
                        await writer.drain()
                await writer.drain()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        serving.add(task)
        task.add_done_callback(lambda _: writer.transport.abort())

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls, limit=2**20)
    try:
        port = server.sockets[0].getsockname()[1]
        wire.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        yield wire
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
