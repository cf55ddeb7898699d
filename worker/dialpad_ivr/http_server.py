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

# Idle connections must not exhaust the process's file descriptors.
_MAX_CONNECTIONS = 100
_CONNECTION_SECONDS = 60.0

_LOCAL = re.compile(rb"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]+)?")


class PortError(Exception):
    """Cannot listen on the port."""


class _ShortLivedProtocol(H11Protocol):
    """HTTP/1.1 with a limit on the number of connections and on the age of each."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > _MAX_CONNECTIONS:
            transport.abort()
        self._end = self.loop.call_later(_CONNECTION_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    """A server that leaves signal handling to its process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def reject_cross_origin(app: ASGIApp, *, allow_same_origin: bool = False) -> ASGIApp:
    """Reject cross-origin browser requests to a loopback app (CSRF and DNS rebinding).

    A web page can send requests to loopback; those that could change something carry its `Origin`. With DNS rebinding
    the page's own name resolves to loopback, but then the `Host` header is not a loopback address.

    Args:
        app: The app.
        allow_same_origin: Whether to accept requests from pages that the app itself serves.
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"localhost")
        same_origin = allow_same_origin and headers.get(b"origin") == b"http://" + host
        if (b"origin" in headers and not same_origin) or not _LOCAL.fullmatch(host):
            message = "Cross-origin requests are rejected. Use a loopback address.\n"
            await PlainTextResponse(message, 403)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp, host: str, port: int, *, http: type[asyncio.Protocol] = _ShortLivedProtocol, pages: bool = False
) -> AsyncIterator[int]:
    """Serve an app for the duration of the context; yields the port.

    On a loopback address cross-origin requests are rejected (`reject_cross_origin`).

    Args:
        app: The app.
        host: The address to listen on.
        port: The port; 0 picks a free one.
        http: uvicorn's protocol class.
        pages: Whether the app serves web pages, which may send it requests.

    Raises:
        PortError: The port is taken, or the address is not local.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family)
    except OSError as exc:
        raise PortError(f"Cannot listen on {host}:{port}: {exc.strerror}.") from exc
    if is_loopback(host):
        app = reject_cross_origin(app, allow_same_origin=pages)
    server = _Server(
        uvicorn.Config(
            app, ws="none", http=http, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
    )

    async def serve() -> None:
        with anyio.CancelScope(shield=True):  # cancelled, it would leave the port open; it ends by `should_exit`
            await server.serve([sock])

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        try:
            yield sock.getsockname()[1]
        finally:
            server.should_exit = True
