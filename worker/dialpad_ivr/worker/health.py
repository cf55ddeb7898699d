"""The health port: liveness, readiness, metrics and limits. Read only, and no secrets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry, make_asgi_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from dialpad_ivr.credentials import company_label
from dialpad_ivr.engine.api import JsonObject
from dialpad_ivr.pacing.limiter import PermitDeferredError
from dialpad_ivr.tasks.tools import Tools


def health_app(
    registry: CollectorRegistry, unready: Callable[[], str | None], limits: Callable[[], Awaitable[JsonObject]]
) -> Starlette:
    """The app behind the port.

    Args:
        registry: The metrics.
        unready: Why the worker takes no work right now; `None` when it does.
        limits: What stands between its calls and Dialpad; see `limits_report`.
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

    metrics = make_asgi_app(registry)

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        refused = scope["method"] not in ("GET", "HEAD")
        await (PlainTextResponse("Method Not Allowed", 405) if refused else metrics)(scope, receive, send)

    return Starlette(
        routes=[
            Route("/healthz", healthz, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
            Route("/limits", limits_, methods=["GET"]),
            Mount("/metrics", reading),
        ]
    )


async def limits_report(tools: Tools) -> JsonObject:
    """What stands between each company's calls and Dialpad, as `/limits` and the command `limits` show it.

    Raises:
        PermitDeferredError: The fleet's Redis does not respond.
    """
    settings = tools.settings
    companies = []
    for name, limiter in tools.limiter.companies.items():
        state = await limiter.state()
        outage = state.outage
        companies.append(
            {
                "company": company_label(name),
                "patch": {
                    "used": state.usage.patch,
                    "limit": settings.patch_limit,
                    "window_seconds": settings.patch_window_seconds,
                },
                "all": {
                    "used": state.usage.company,
                    "limit": settings.company_limit,
                    "window_seconds": settings.company_window_seconds,
                },
                "waiting": {"single": state.waiting, "bulk": state.waiting_bulk},
                "pause_seconds": round(state.pause_seconds, 1),
                "circuit": None
                if outage is None
                else {
                    "cause": outage.cause,
                    "open_seconds": round(outage.age_seconds, 1),
                    "probe_in_seconds": round(outage.wait_seconds, 1),
                },
            }
        )
    return {"shared": settings.redis_url is not None, "companies": companies}
