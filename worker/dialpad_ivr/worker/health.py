"""The health port: liveness, readiness and metrics. Read only, and no secrets."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, make_asgi_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send


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

    metrics = make_asgi_app(registry)

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        refused = scope["method"] not in ("GET", "HEAD")
        await (PlainTextResponse("Method Not Allowed", 405) if refused else metrics)(scope, receive, send)

    return Starlette(
        routes=[
            Route("/healthz", healthz, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
            Mount("/metrics", reading),
        ]
    )
