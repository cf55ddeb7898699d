"""The double itself: an ASGI app that counts a request, validates it, makes the change and responds."""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from dialpad_ivr.contract.values import COMPANY_LIMIT, COMPANY_WINDOW_SECONDS, PATCH_LIMIT, PATCH_WINDOW_SECONDS
from dialpad_ivr.local.double import directory
from dialpad_ivr.local.double.company import seed_targets
from dialpad_ivr.local.double.faults import FaultRule, FaultRules, rate_limited, response_instead, spoil
from dialpad_ivr.local.double.ledger import FakeArrival, FakeLedger
from dialpad_ivr.local.double.limits import FakeLimit, FakeLimits
from dialpad_ivr.local.double.request import (
    FakeChange,
    FakePage,
    FakeRead,
    FakeRequest,
    FakeRequestError,
    check,
    cursor_to,
    parse_json,
    read_body,
    read_request,
)
from dialpad_ivr.local.double.response import FakeResponse, error_response, json_response
from dialpad_ivr.local.double.state import FakeNotFoundError, FakeSlot, FakeState, FakeTarget

DEFAULT_KEY: Final = "dialpad-double-key"
DEFAULT_COMPANY: Final = "demo"

_LEDGER_BODY: Final = 4096  # longest request body in the ledger, in bytes
_KEY: Final = re.compile(r"[A-Za-z0-9._~+/=-]+(?![\s\S])")  # RFC 6750, b64token
_NO_LINGER: Final = struct.pack("ii", 1, 0)  # closing then sends RST, not FIN


class FakeConfig(BaseModel):
    """How the double behaves. All times are in seconds.

    Attributes:
        enforce: Whether calls over a limit get a 429; calls are counted either way.
        patch: The limit for PATCHes.
        company: The limit for calls of any kind.
        retry_after: The form of `Retry-After` in a 429 for a limit.
        arrival_jitter: Longest random delay before a request is counted.
        latency: Delay between arrival and response.
        answer_jitter: Longest random delay added to `latency`.
        page_size: Items on a page of a list.
        slot_filter: What becomes of the list's `ivr_type`, which the live reference documents and the published
            OpenAPI document does not.
        revoked: Bearer keys that get a 401 from now on.
        random_seed: Seed of the jitter and of the faults' probability; reapplied on reset and whenever it is set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    enforce: bool = True
    patch: FakeLimit = FakeLimit(calls=PATCH_LIMIT, window_seconds=PATCH_WINDOW_SECONDS)
    company: FakeLimit = FakeLimit(calls=COMPANY_LIMIT, window_seconds=COMPANY_WINDOW_SECONDS)
    retry_after: Literal["none", "seconds", "http_date"] = "none"
    arrival_jitter: float = Field(default=0, ge=0, le=60)
    latency: float = Field(default=0, ge=0, le=600)
    answer_jitter: float = Field(default=0, ge=0, le=600)
    page_size: int = Field(default=100, ge=1, le=1000)
    slot_filter: Literal["honoured", "ignored", "refused"] = "honoured"
    revoked: tuple[str, ...] = ()
    random_seed: int = 0


class FakeDialpad:
    """The calls of Dialpad's API that this project makes. Serve it with `create_app` or `serving`.

    Args:
        keys: Bearer keys, and the company that each belongs to. Limits count by company.
        targets: The initial state, restored by `reset`; the seed if absent.
        config: The initial settings.
        clock: Monotonic clock, in seconds.
        wall: Wall clock, in seconds since 1970.
        sleep: Waits for a number of seconds.
        ledger_size: How many arrivals the ledger holds.

    Attributes:
        state: The targets and their selections.
        faults: The active fault rules.
        ledger: The requests received.
        limits: The calls counted against the limits.

    Raises:
        ValueError: There is no key, or a key that no header could hold.
    """

    def __init__(
        self,
        *,
        keys: Mapping[str, str] | None = None,
        targets: Iterable[FakeTarget] | None = None,
        config: FakeConfig | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        ledger_size: int = 200_000,
    ) -> None:
        self._companies = dict(keys if keys is not None else {DEFAULT_KEY: DEFAULT_COMPANY})
        if not self._companies or not all(map(_KEY.match, self._companies)):
            raise ValueError("keys: at least one is required, and each may hold only A-Z a-z 0-9 . _ ~ + / = -")
        self._seed = list(seed_targets() if targets is None else targets)
        self._config = config or FakeConfig()
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        # Fixed windows are aligned to the wall clock at creation: the wall clock may be set later.
        self._to_wall = wall() - clock()
        self._ledger_size = ledger_size
        self.faults = FaultRules()
        self.state = FakeState(self._seed)
        self.reset()

    @property
    def config(self) -> FakeConfig:
        """The current settings."""
        return self._config

    def configure(self, changes: Mapping[str, Any]) -> FakeConfig:
        """Change settings. The others keep their values, also within `patch` and `company`.

        A changed limit empties its windows.

        Raises:
            pydantic.ValidationError: Unknown setting or invalid value.
        """
        before = self._config
        merged = {**before.model_dump(), **changes}
        for limit in ("patch", "company"):
            if isinstance(changes.get(limit), Mapping):
                merged[limit] = {**getattr(before, limit).model_dump(), **changes[limit]}
        self._config = FakeConfig.model_validate(merged)
        if (self._config.patch, self._config.company) != (before.patch, before.company):
            self.limits = FakeLimits(self._config.patch, self._config.company)
        if "random_seed" in changes:
            self._random = random.Random(self._config.random_seed)  # noqa: S311
        return self._config

    def reset(self) -> None:
        """Restore the initial state and clear faults, ledger and windows. Settings stay."""
        self.state.replace(self._seed)
        self.faults.clear()
        self.ledger = FakeLedger(self._ledger_size)
        self.limits = FakeLimits(self._config.patch, self._config.company)
        self._random = random.Random(self._config.random_seed)  # noqa: S311

    def summary(self) -> dict[str, Any]:
        """The ledger's totals, and under `worst` the fullest window of each limit."""
        return {**self.ledger.summary(), "worst": self.limits.worst()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request (ASGI). It counts on arrival, before its body is read."""
        config = self._config
        if config.arrival_jitter:
            await self._sleep(self._random.uniform(0, config.arrival_jitter))
        now = self._clock()
        request = read_request(scope)
        company = self._company(scope)
        ledger = self.ledger  # a reset while the request is in flight starts another
        arrival = ledger.arrive(
            monotonic=now,
            wall=self._wall(),
            company=company,
            method=request.method,
            path=self._without_keys(request.path),
            target_type=self._without_keys(request.target_type),
            target_id=self._without_keys(request.target_id),
            ivr_type=self._without_keys(request.ivr_type),
        )
        wait = 0.0
        if company is not None:
            patch = request.method == "PATCH"
            wait = self.limits.arrive(company, now + self._to_wall, patch=patch, enforce=config.enforce)
        try:
            body, connected = await read_body(receive)
            arrival.body = self._ledger_body(body)
            response = await self._respond(request, body, arrival, wait) if connected else None
            await self._sleep(config.latency + self._random.uniform(0, config.answer_jitter))
            ledger.finish(arrival, response.status if response else None)
            if response:
                await response.send(send)
            elif connected:
                await _reset(scope, receive)
        except asyncio.CancelledError:
            if not arrival.done:
                ledger.finish(arrival, None)
            if "transport" not in scope.get("state", {}):
                raise
            # The server stops during a delayed response. Cut the connection, else uvicorn would log a traceback.
            await _reset(scope, receive)

    async def _respond(
        self, request: FakeRequest, body: bytes | None, arrival: FakeArrival, wait: float
    ) -> FakeResponse | None:
        """The response to a counted request; None to reset the connection."""
        if arrival.company is None:
            return error_response(401, "The bearer key is missing or unknown.", {"www-authenticate": "Bearer"})
        if wait:
            return self._throttled(wait)
        rule = self.faults.choose(request, self._random)
        if rule and rule.prevents:
            arrival.fault = rule.fault
            await self._sleep(rule.hold)
            return None if rule.resets else response_instead(rule, request.headers["authorization"], self._wall())
        try:
            response = self._execute(request, body, arrival, rule)
        except FakeRequestError as exc:
            return exc.response
        except FakeNotFoundError as exc:
            return error_response(404, str(exc))
        if rule:
            arrival.fault = rule.fault
            response = await spoil(rule, response)
            await self._sleep(rule.hold)
        return None if rule and rule.resets else response

    def _execute(
        self, request: FakeRequest, body: bytes | None, arrival: FakeArrival, rule: FaultRule | None
    ) -> FakeResponse:
        """Execute a request; returns its 200."""
        operation = check(request, body)
        if isinstance(operation, FakePage):
            return self._page(operation)
        if isinstance(operation, FakeRead):
            return directory.answer(operation, self.state, self._config.page_size)
        before = self.state.slot(operation.target_type, operation.target_id, operation.ivr_type, operation.ivr_id)
        if rule and rule.fault == "not_applied":
            others = (ivr.id for ivr in before.ivrs if ivr.id != operation.ivr_id)
            return json_response(before.select(next(others, None)).to_dialpad())
        after = self._assign(operation)
        self.ledger.apply(arrival, operation, before.selected.model_dump(), after.selected.model_dump())
        return json_response(after.to_dialpad())

    def _assign(self, change: FakeChange) -> FakeSlot:
        return self.state.assign(
            change.target_type, change.target_id, change.ivr_type, change.ivr_id, change.select_option
        )

    def _page(self, page: FakePage) -> FakeResponse:
        if page.ivr_type and self._config.slot_filter == "refused":
            raise FakeRequestError(400, "Unknown query parameter: ivr_type.")
        slots = self.state.slots(page.target_type, page.target_id)
        if page.ivr_type and self._config.slot_filter == "honoured":
            slots = [slot for slot in slots if slot.ivr_type == page.ivr_type]
        end = page.first + self._config.page_size
        return json_response(
            {
                "cursor": cursor_to(end) if end < len(slots) else "",
                "items": [slot.to_dialpad() for slot in slots[page.first : end]],
            }
        )

    def _throttled(self, wait: float) -> FakeResponse:
        form = self._config.retry_after
        return rate_limited(
            math.ceil(self._wall() + wait) if form == "http_date" else None,
            math.ceil(wait) if form == "seconds" else None,
        )

    def _company(self, scope: Scope) -> str | None:
        """The company of a request's bearer key; None if the key is missing, unknown, revoked or sent twice."""
        values = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
        scheme, _, key = values[0].decode("latin-1").partition(" ") if len(values) == 1 else ("", "", "")
        valid = scheme.lower() == "bearer" and key not in self._config.revoked
        return self._companies.get(key) if valid else None

    def _without_keys(self, text: str | None) -> str | None:
        """The text with every key replaced: a client may have put one where it does not belong."""
        for key in self._companies:
            text = text and text.replace(key, "[key]")
        return text

    def _ledger_body(self, body: bytes | None) -> Any:
        """A request's body for the ledger: JSON, else truncated text; without any key."""
        if not body:
            return None
        parsed = parse_json(body) if len(body) <= _LEDGER_BODY else None
        text = body.decode("utf-8", "replace") if parsed is None else json.dumps(parsed)
        safe = self._without_keys(text) or ""
        return safe[:_LEDGER_BODY] if parsed is None else json.loads(safe)


async def _reset(scope: Scope, receive: Receive) -> None:
    """Reset the connection (TCP RST), and wait until it is lost.

    Raises:
        ConnectionResetError: There is no connection: the app is called in process.
    """
    transport = scope.get("state", {}).get("transport")
    if transport is None:
        raise ConnectionResetError("The double resets the connection.")
    if transport.is_closing():
        return  # the client has already hung up
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass  # uvicorn would send a 500 if the app returned without a response before that
