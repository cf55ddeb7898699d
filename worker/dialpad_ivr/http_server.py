"""Serving an ASGI app on a loopback port, with limits on idle connections and a guard against other origins."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Iterator

import anyio
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from dialpad_ivr.settings import is_loopback

# Whoever opens connections and says nothing must not use up the process's file descriptors.
_CONNECTIONS = 100


_CONNECTION_SECONDS = 60.0


_LOCAL = re.compile(rb"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]+)?")


class PortError(Exception):
    """The port cannot be listened on."""


class _ShortLivedProtocol(H11Protocol):
    """A connection that ends soon, one of not too many."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > _CONNECTIONS:
            transport.abort()
        self._end = self.loop.call_later(_CONNECTION_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    """A server that leaves signals to the process it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def not_for_web_pages(app: ASGIApp, *, but_its_own: bool = False) -> ASGIApp:
    """The app, for this machine: a web page that somebody opens in a browser on it is refused.

    Such a page can send requests to loopback, which carry its `Origin` as soon as they could change something. It could
    also let its own name resolve to loopback, and be of the same origin then; but the request still names that name.

    Args:
        app: The app.
        but_its_own: Whether the app serves pages itself, which may ask it for things.
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"localhost")
        own = but_its_own and headers.get(b"origin") == b"http://" + host
        if (b"origin" in headers and not own) or not _LOCAL.fullmatch(host):
            told = "Other web pages are refused" if but_its_own else "Web pages are not served"
            await PlainTextResponse(f"{told}; ask by a loopback address.\n", 403)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp, host: str, port: int, *, http: type[asyncio.Protocol] = _ShortLivedProtocol, pages: bool = False
) -> AsyncIterator[int]:
    """Serve an app on a port while the context lasts; yields the port, which is a free one for 0.

    On a loopback address web pages are refused (`not_for_web_pages`).

    Args:
        app: The app.
        host: The address to listen on.
        port: The port.
        http: uvicorn's protocol class, for an app that needs one of its own.
        pages: Whether the app serves web pages, which may ask it for things.

    Raises:
        PortError: The port is taken, or the address is not this machine's.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family)
    except OSError as exc:
        raise PortError(f"Cannot listen on {host}:{port}: {exc.strerror}.") from exc
    if is_loopback(host):
        app = not_for_web_pages(app, but_its_own=pages)
    server = _Server(
        uvicorn.Config(
            app, ws="none", http=http, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
    )
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve, [sock])
        try:
            yield sock.getsockname()[1]
        finally:
            server.should_exit = True
