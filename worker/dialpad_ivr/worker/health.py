"""The health port: liveness, readiness, metrics and limits. Read only, and no secrets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry, make_asgi_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from dialpad_ivr.engine.api import JsonObject
from dialpad_ivr.pacing.limiter import PermitDeferredError


def health_app(
    registry: CollectorRegistry, unready: Callable[[], str | None], limits: Callable[[], Awaitable[JsonObject]]
) -> Starlette:
    """The app behind the port.

    Args:
        registry: The metrics.
        unready: Why the worker takes no work right now; `None` when it does.
        limits: What stands between its calls and Dialpad; see `dialpad_ivr.worker.limits`.
    """

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("alive\n")  # the event loop answered: that is all that liveness means

    async def readyz(_: Request) -> Response:
        reason = unready()
        return PlainTextResponse(f"{reason or 'ready'}\n", status_code=503 if reason else 200)

    async def limits_(_: Request) -> Response:
        try:
            return JSONResponse(await limits())
        except PermitDeferredError as exc:
            return JSONResponse({"error": exc.why}, 503)

    return Starlette(
        routes=[
            Route("/healthz", healthz, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
            Route("/limits", limits_, methods=["GET"]),
            Route("/metrics", _Metrics(registry), methods=["GET"]),
        ]
    )


class _Metrics:
    """Prometheus's app as an object: Starlette passes requests to a function, and redirects `/metrics` of a mount."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._app = make_asgi_app(registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
