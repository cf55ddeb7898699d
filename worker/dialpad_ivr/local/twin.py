"""The Dialpad double: the custom-IVR part of Dialpad's API over real HTTP, with state, limits and faults.

It checks what the published OpenAPI document says (path, enums, body, bearer token), answers in its shapes, enforces
both rate limits on arrival, and misbehaves on request.

A key is compared, and never kept, answered or logged.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import struct
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Literal

from pydantic import ConfigDict, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from dialpad_ivr.contract import INT64_MAX, IVR_TYPES, LIST_PATH, PATCH_PATH, SELECT_OPTIONS, TARGET_TYPES
from dialpad_ivr.local.twin_faults import HUGE_BODY_BYTES, Fault, Faults, Match, deep_json, gzip_bomb
from dialpad_ivr.local.twin_limits import Limits, LimitsConfig
from dialpad_ivr.local.twin_state import SlotState, State, seeded

DEFAULT_KEY = "dialpad-double-key"
_BODY_LIMIT = 1024 * 1024
_LEDGER_LIMIT = 200_000


class Config(LimitsConfig):
    """What the double can be set to; times in seconds."""

    model_config = ConfigDict(extra="forbid")

    latency: float = Field(default=0.0, ge=0, description="Before each answer.")
    answer_jitter: float = Field(default=0.0, ge=0, description="Added to the latency, evenly from 0 to this.")
    arrival_jitter: float = Field(default=0.0, ge=0, description="Before the arrival is counted, from 0 to this.")
    page_size: int = Field(default=50, ge=1, description="Slots a page of the list.")
    retry_after: Literal["none", "seconds", "http_date"] = Field(
        default="none", description="The form of `Retry-After` on a 429 that a limit caused."
    )


@dataclass
class Arrival:
    """A line of the ledger. `status` is null where no answer was given."""

    number: int
    time: float
    wall_time: float
    company: str | None
    method: str
    path: str
    target_type: str | None = None
    target_id: str | None = None
    ivr_type: str | None = None
    body: Any = None
    fault: str | None = None
    status: int | None = None
    applied: bool = False
    before: str | None = None
    after: str | None = None


class _ResetError(Exception):
    """The connection is to be reset instead of answered."""


class _Refusal(Exception):  # noqa: N818  # it is an answer, not an error of ours
    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


@dataclass
class Double:
    """Everything that the double knows; an ASGI app.

    Attributes:
        keys: Company by key.
    """

    keys: dict[str, str] = field(default_factory=lambda: {DEFAULT_KEY: "demo"}, repr=False)
    config: Config = field(default_factory=Config)
    state: State = field(default_factory=seeded)

    def __post_init__(self) -> None:
        self.faults = Faults()
        self.ledger: deque[Arrival] = deque(maxlen=_LEDGER_LIMIT)
        self.statuses: Counter[str] = Counter()
        self.limits = Limits(self.config)
        self._arrived = 0
        self._chance = random.Random(0)  # noqa: S311
        from dialpad_ivr.local.twin_control import control_routes  # noqa: PLC0415  # it needs this class

        self._app = Starlette(
            routes=[
                Route(PATCH_PATH, self._patch, methods=["PATCH"]),
                Route(LIST_PATH, self._list, methods=["GET"]),
                *control_routes(self),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            scope["arrived"] = time.monotonic()  # before the body is read: this is what a limit counts
            # Under uvicorn `send` is a method of the request's cycle, which has the connection.
            scope["transport"] = getattr(getattr(send, "__self__", None), "transport", None)
        await self._app(scope, receive, send)

    def reset(self) -> None:
        """As freshly started, but for the config."""
        self.state = seeded()
        self.faults = Faults()
        self.clear()

    def clear(self) -> None:
        """Empty the ledger and the windows."""
        self.ledger.clear()
        self.statuses.clear()
        self.limits = Limits(self.config)

    async def _patch(self, request: Request) -> Response:
        return await self._answer(request, Match(method="PATCH", **request.path_params))

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        target = {"target_type": query.get("target_type"), "target_id": query.get("target_id")}
        return await self._answer(request, Match(method="GET", **target))

    async def _answer(self, request: Request, what: Match) -> Response:
        config = self.config
        if config.arrival_jitter:
            await asyncio.sleep(self._chance.uniform(0, config.arrival_jitter))
            request.scope["arrived"] = time.monotonic()
        company = self.keys.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        self._arrived += 1
        line = Arrival(
            number=self._arrived,
            time=request.scope["arrived"],
            wall_time=time.time(),
            company=company,
            path=request.url.path,
            **what.model_dump(),
        )
        self.ledger.append(line)
        try:
            response = await self._handle(request, what, line)
        except _Refusal as refusal:
            error = {"error": {"code": refusal.status, "message": str(refusal)}}
            response = JSONResponse(error, refusal.status, headers=refusal.headers)
        except _ResetError:
            self.statuses["reset"] += 1
            _reset(request.scope["transport"])
            return Response()  # goes nowhere
        delay = config.latency + self._chance.uniform(0, config.answer_jitter)
        if delay:
            await asyncio.sleep(delay)
        line.status = response.status_code
        self.statuses[str(response.status_code)] += 1
        return response

    async def _handle(self, request: Request, what: Match, line: Arrival) -> Response:
        if line.company is None:
            raise _Refusal(401, "invalid or missing api key")
        wait = self.limits.admit(line.company, line.time, patch=what.method == "PATCH")
        if wait > 0:
            raise _Refusal(429, "rate limit exceeded", _retry_after(self.config.retry_after, wait))
        fault = self.faults.pick(what)
        line.fault = fault.fault if fault else None
        if fault:
            early = await _before_the_change(fault, request)
            if early is not None:
                return early
        if what.method == "GET":
            return self._page(request, what)
        slot = await self._change(request, what, line, apply=fault is None or fault.fault != "not_applied")
        assert what.ivr_type is not None  # noqa: S101  # the route has it
        answer = JSONResponse(slot.as_json(what.ivr_type))
        return _after_the_change(fault, answer) if fault else answer

    def _page(self, request: Request, what: Match) -> Response:
        slots = self._target(request, what)
        start = request.query_params.get("cursor") or "0"
        if not start.isdecimal():
            raise _Refusal(400, "invalid cursor")
        first, size = int(start), self.config.page_size
        items = [slot.as_json(ivr_type) for ivr_type, slot in sorted(slots.items())]
        cursor = str(first + size) if first + size < len(items) else ""
        return JSONResponse({"cursor": cursor, "items": items[first : first + size]})

    async def _change(self, request: Request, what: Match, line: Arrival, *, apply: bool) -> SlotState:
        if what.ivr_type not in IVR_TYPES:
            raise _Refusal(400, "invalid ivr_type")
        line.body = body = await _json_body(request)
        slot = self._target(request, what).get(what.ivr_type)
        if slot is None or str(body["ivr_id"]) not in slot.names:
            raise _Refusal(404, "custom ivr not found")
        line.before = slot.inbound
        if apply:
            slot.select(str(body["ivr_id"]), body.get("select_option"))
            line.applied = True
        line.after = slot.inbound
        return slot

    def _target(self, request: Request, what: Match) -> dict[str, SlotState]:
        if "apikey" in request.query_params:
            raise _Refusal(400, "the double takes no key in the query: it would end up in logs")
        if what.target_type not in TARGET_TYPES:
            raise _Refusal(400, "invalid target_type")
        if not re.fullmatch("[0-9]{1,19}", what.target_id or "") or int(what.target_id or 0) > INT64_MAX:
            raise _Refusal(400, "invalid target_id")
        found = self.state.targets.get((what.target_type, str(what.target_id)))
        if found is None:
            raise _Refusal(404, "target not found")
        return found


async def _json_body(request: Request) -> dict[str, Any]:
    """The PATCH's body, checked as the published document has it."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _BODY_LIMIT:
            raise _Refusal(413, "body too large")
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise _Refusal(415, "content-type must be application/json")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise _Refusal(400, "body is not JSON") from None
    if not isinstance(body, dict) or not body.keys() <= {"ivr_id", "select_option"}:
        raise _Refusal(400, "body must be an object of ivr_id and select_option")
    ivr_id = body.get("ivr_id")
    if not isinstance(ivr_id, int) or isinstance(ivr_id, bool) or not 0 < ivr_id <= INT64_MAX:
        raise _Refusal(400, "ivr_id must be an integer")
    if body.get("select_option") not in (*SELECT_OPTIONS, None):
        raise _Refusal(400, "invalid select_option")
    return body


async def _before_the_change(fault: Fault, request: Request) -> Response | None:
    """The answer of a fault that keeps the change from being made."""
    match fault.fault:
        case "status":
            if isinstance(fault.body, str):
                return Response(fault.body, fault.status, media_type="text/plain")
            return JSONResponse(fault.body or {"error": {"message": "told to fail"}}, fault.status)
        case "rate_limited":
            form = "http_date" if fault.retry_after == "http_date" else "seconds" if fault.retry_after else "none"
            seconds = fault.seconds if fault.retry_after == "http_date" else float(fault.retry_after or 0)
            raise _Refusal(429, "told to refuse", _retry_after(form, seconds))
        case "reset_before":
            raise _ResetError
        case "redirect":
            return RedirectResponse(fault.location, 302)
        case "echo_authorization":
            echo = request.headers.get("authorization")
            return JSONResponse({"error": {"message": f"bad header {echo}"}}, 400, headers={"x-request-id": str(echo)})
        case "slow":
            await asyncio.sleep(fault.seconds)
    return None


def _after_the_change(fault: Fault, answer: JSONResponse) -> Response:
    """The answer of a fault that comes after the change was made."""
    match fault.fault:
        case "reset_after":
            raise _ResetError
        case "not_applied" | "slow":
            return answer
        case "broken_json":
            return Response(bytes(answer.body)[:-10], media_type="application/json")
        case "wrong_content_type":
            return Response("<html><title>Please log in</title></html>", media_type="text/html")
        case "huge_body":
            chunk = b" " * 1_000_000
            return StreamingResponse(
                (chunk for _ in range(HUGE_BODY_BYTES // len(chunk))), media_type="application/json"
            )
        case "gzip_bomb":
            return Response(gzip_bomb(), media_type="application/json", headers={"content-encoding": "gzip"})
        case _:
            return Response(deep_json(), media_type="application/json")


def _retry_after(form: str, seconds: float) -> dict[str, str]:
    if form == "none":
        return {}
    return {"retry-after": formatdate(time.time() + seconds, usegmt=True) if form == "http_date" else f"{seconds:g}"}


def _reset(transport: asyncio.Transport) -> None:
    """Reset the connection: with this option a close sends RST."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
