"""The worker's small HTTP port: is it alive, is it ready, what has it counted. It takes nothing and tells no secret."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Literal

import anyio
import uvicorn
from prometheus_client import CollectorRegistry, make_asgi_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp


class PortError(Exception):
    """The port cannot be listened on."""


class _Server(uvicorn.Server):
    """A server that leaves signals to the process it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def health_app(registry: CollectorRegistry, unready: Callable[[], str | None]) -> Starlette:
    """The app behind the port.

    Args:
        registry: The metrics.
        unready: Why the worker takes no work right now; `None` when it does.
    """

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("alive\n")  # the event loop answered: that is all that liveness means

    async def readyz(_: Request) -> Response:
        reason = unready()
        return PlainTextResponse(f"{reason or 'ready'}\n", status_code=503 if reason else 200)

    return Starlette(
        routes=[
            Route("/healthz", healthz, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
            Mount("/metrics", make_asgi_app(registry)),
        ]
    )


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp, host: str, port: int, *, http: type[asyncio.Protocol] | Literal["auto"] = "auto"
) -> AsyncIterator[int]:
    """Serve an app on a port while the context lasts; yields the port, which is a free one for 0.

    Args:
        app: The app.
        host: The address to listen on.
        port: The port.
        http: uvicorn's protocol class, for an app that needs one of its own.

    Raises:
        PortError: The port is taken, or the address is not this machine's.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family)
    except OSError as exc:
        raise PortError(f"Cannot listen on {host}:{port}: {exc.strerror}. Set DIALPAD_IVR_HEALTH_PORT.") from exc
    server = _Server(
        uvicorn.Config(app, http=http, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    )
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve, [sock])
        try:
            yield sock.getsockname()[1]
        finally:
            server.should_exit = True
