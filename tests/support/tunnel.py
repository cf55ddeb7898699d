"""A company's proxy: CONNECT and nothing else, over real sockets.

async with running_proxy(login="ivr:secret") as proxy:
    ...  # a client calls through proxy.url
    assert proxy.targets == ["dialpad.com:443"]
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass
class CompanyProxy:
    """What the proxy saw.

    Attributes:
        url: Its URL, without a login.
        heads: Each request's first line and headers.
        seen: Every byte that clients sent, the requests for tunnels included.
        targets: The hosts and ports of the tunnels that it opened.
        idle: Set while no client is connected.
    """

    url: str
    heads: list[bytes] = field(default_factory=list)
    seen: bytearray = field(default_factory=bytearray)
    targets: list[str] = field(default_factory=list)
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def address(self) -> str:
        return self.url.partition("://")[2]

    def with_login(self, login: str) -> str:
        return self.url.replace("://", f"://{login}@")


@contextlib.asynccontextmanager
async def running_proxy(
    *,
    login: str | None = None,
    answer: bytes | None = None,
    hang: bool = False,
    tls: ssl.SSLContext | None = None,
    resolve: dict[str, str] | None = None,
) -> AsyncIterator[CompanyProxy]:
    """Serve while the context lasts.

    Args:
        login: `user:password` without which it answers 407.
        answer: What it answers in place of opening a tunnel, before it closes the connection.
        hang: Whether it never answers.
        tls: Its certificate, if clients reach it by https.
        resolve: Where it connects to in place of a `host:port`: the network's routes, or an interception.
    """
    proxy = CompanyProxy("")
    proxy.idle.set()
    clients: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, note: bool = False) -> None:
        while data := await reader.read(65536):
            if note:
                proxy.seen += data
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        proxy.heads.append(head)
        proxy.seen += head
        if hang:
            await reader.read()  # until the client gives up
            return
        wanted = f"Proxy-Authorization: Basic {base64.b64encode((login or '').encode()).decode()}\r\n".encode()
        if login is not None and wanted not in head:
            writer.write(
                b'HTTP/1.1 407 Who are you?\r\nProxy-Authenticate: Basic realm="x"\r\ncontent-length: 0\r\n\r\n'
            )
            return
        if answer is not None:
            writer.write(answer)
            return
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        assert method == "CONNECT"
        proxy.targets.append(target)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        host, _, port = (resolve or {}).get(target, target).rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        try:
            await asyncio.gather(pipe(reader, far_writer, note=True), pipe(far_reader, writer))
        finally:
            far_writer.transport.abort()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.idle.clear()
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await serve(reader, writer)
                await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(connected(reader, writer))
        clients.add(task)

        def done(_: object) -> None:
            clients.discard(task)
            writer.transport.abort()  # the task may have been cancelled before it began
            if not clients:
                proxy.idle.set()

        task.add_done_callback(done)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        proxy.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
    finally:
        server.close()
        leftover = list(clients)
        for task in leftover:
            task.cancel()
        await asyncio.gather(*leftover, return_exceptions=True)
