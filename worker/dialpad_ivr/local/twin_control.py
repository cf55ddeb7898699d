"""Telling the Dialpad double what to do, and asking it what it saw: under `/_double/`, without a token.

    GET  /_double/health     {"status": "ok"}
    GET  /_double/state      the targets; PUT replaces them: {"synthetic": N}, or {} for the seed
    GET  /_double/config     the settings; PUT changes those given, and empties the ledger and the windows
    POST /_double/faults     [Fault, ...] are added; DELETE takes all away
    GET  /_double/ledger     every arrival, and counts; ?summary=true: the counts only
    POST /_double/reset      as freshly started, but for the config

What it cannot use it answers with 400 and a list of what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dialpad_ivr.local.twin import Config, Double
from dialpad_ivr.local.twin_faults import Fault
from dialpad_ivr.local.twin_state import seeded, synthetic

_FAULTS = TypeAdapter(list[Fault])
_Handler = Callable[[Request], Awaitable[Response]]


class _StateOrder(BaseModel):
    model_config = ConfigDict(extra="forbid")

    synthetic: int | None = Field(default=None, ge=0, le=1_000_000)


def control_routes(double: Double) -> list[Route]:
    """The routes under `/_double/`."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def state(request: Request) -> Response:
        if request.method == "PUT":
            count = _StateOrder.model_validate_json(await request.body()).synthetic
            double.state = seeded() if count is None else synthetic(count)
        return JSONResponse(double.state.as_json())

    async def config(request: Request) -> Response:
        if request.method == "PUT":
            changed = json.loads(await request.body())
            double.config = Config.model_validate({**double.config.model_dump(), **changed})
            double.clear()
        return JSONResponse(double.config.model_dump())

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            double.faults.rules.clear()
        else:
            double.faults.rules += _FAULTS.validate_json(await request.body())
        return JSONResponse([rule.model_dump() for rule in double.faults.rules])

    async def ledger(request: Request) -> Response:
        times = [line.time for line in double.ledger]
        summary = {
            "arrivals": len(times),
            "statuses": dict(double.statuses),
            "windows": double.limits.summary(),
            "first": min(times, default=None),
            "last": max(times, default=None),
        }
        if request.query_params.get("summary") == "true":
            return JSONResponse(summary)
        return JSONResponse({**summary, "lines": [asdict(line) for line in double.ledger]})

    async def reset(_: Request) -> Response:
        double.reset()
        return JSONResponse({"status": "ok"})

    return [
        Route("/_double/health", health),
        Route("/_double/state", _told(state), methods=["GET", "PUT"]),
        Route("/_double/config", _told(config), methods=["GET", "PUT"]),
        Route("/_double/faults", _told(faults), methods=["POST", "DELETE"]),
        Route("/_double/ledger", ledger),
        Route("/_double/reset", reset, methods=["POST"]),
    ]


def _told(handler: _Handler) -> _Handler:
    async def checked(request: Request) -> Response:
        try:
            return await handler(request)
        except ValidationError as exc:
            return JSONResponse(json.loads(exc.json(include_url=False, include_context=False)), 400)
        except (ValueError, TypeError) as exc:
            return JSONResponse([{"msg": str(exc)}], 400)

    return checked
