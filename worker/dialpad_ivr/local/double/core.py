"""The double itself: an ASGI app that counts an arrival, checks it, makes the change, and answers."""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from dialpad_ivr.contract.values import COMPANY_LIMIT, COMPANY_WINDOW_SECONDS, PATCH_LIMIT, PATCH_WINDOW_SECONDS
from dialpad_ivr.local.double.answer import FakeResponse, error_answer, json_answer
from dialpad_ivr.local.double.faults import FaultRule, Faults, answer_instead, rate_limited, spoil
from dialpad_ivr.local.double.ledger import Arrival, FakeLedger
from dialpad_ivr.local.double.limits import FakeLimit, FakeLimits
from dialpad_ivr.local.double.request import (
    FakeCall,
    FakeChange,
    FakePage,
    RefusedError,
    check,
    cursor_to,
    parse_json,
    read_body,
    read_call,
)
from dialpad_ivr.local.double.state import FakeSlot, FakeState, FakeTarget, NotFoundError, seed_targets

DEFAULT_KEY: Final = "dialpad-double-key"
DEFAULT_COMPANY: Final = "demo"

_KEPT_BODY: Final = 4096  # bytes of a request's body kept in the ledger
_KEY: Final = re.compile(r"[A-Za-z0-9._~+/=-]+(?![\s\S])")  # RFC 6750, b64token
_NO_LINGER: Final = struct.pack("ii", 1, 0)  # closing then sends RST, not FIN


class Config(BaseModel):
    """How the double behaves. All times are in seconds.

    Attributes:
        enforce: Whether the limits are enforced; they are counted either way.
        patch: The limit of PATCHes.
        company: The limit of calls of any kind.
        retry_after: What a 429 for a limit carries.
        arrival_jitter: A request arrives (is counted) up to so much later than it came.
        latency: Added between arrival and answer.
        answer_jitter: Up to so much is added to that.
        page_size: Slots on a page of the list.
        random_seed: Seeds jitter and the probability of faults; set anew whenever it is given, and on reset.
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
    random_seed: int = 0


class FakeDialpad:
    """Dialpad, as far as this project calls it. Serve it with `create_app` or `serving`.

    Args:
        keys: Bearer keys, and the company that each belongs to. FakeLimits count by company.
        targets: The state to begin with, and to go back to on reset; the seed if absent.
        config: How it behaves.
        clock: Seconds on a clock that never goes back.
        wall: Seconds since 1970.
        ledger_size: How many arrivals are kept.

    Attributes:
        state: What is selected.
        faults: The faults in force.
        ledger: What arrived.
        limits: What is counted against the limits.

    Raises:
        ValueError: A key could not be in a header, or there is none.
    """

    def __init__(
        self,
        *,
        keys: Mapping[str, str] | None = None,
        targets: Iterable[FakeTarget] | None = None,
        config: Config | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        ledger_size: int = 200_000,
    ) -> None:
        self._companies = dict(keys if keys is not None else {DEFAULT_KEY: DEFAULT_COMPANY})
        if not self._companies or not all(map(_KEY.match, self._companies)):
            raise ValueError("keys must be one or more of the characters A-Z a-z 0-9 . _ ~ + / = -")
        self._seed = list(seed_targets() if targets is None else targets)
        self._config = config or Config()
        self._clock = clock
        self._wall = wall
        # Fixed windows are aligned to the wall clock as it was when the double was made: it may be set later.
        self._to_wall = wall() - clock()
        self._ledger_size = ledger_size
        self.faults = Faults()
        self.state = FakeState(self._seed)
        self.reset()

    @property
    def config(self) -> Config:
        """How it behaves now."""
        return self._config

    def configure(self, changes: Mapping[str, Any]) -> Config:
        """FakeChange settings; those not named keep their value, also within `patch` and `company`.

        Windows are counted anew when a limit has changed.

        Raises:
            pydantic.ValidationError: There is no such setting, or it cannot have that value.
        """
        before = self._config
        merged = {**before.model_dump(), **changes}
        for limit in ("patch", "company"):
            if isinstance(changes.get(limit), Mapping):
                merged[limit] = {**getattr(before, limit).model_dump(), **changes[limit]}
        self._config = Config.model_validate(merged)
        if (self._config.patch, self._config.company) != (before.patch, before.company):
            self.limits = FakeLimits(self._config.patch, self._config.company)
        if "random_seed" in changes:
            self._random = random.Random(self._config.random_seed)  # noqa: S311
        return self._config

    def reset(self) -> None:
        """FakeState back to the seed; no faults, an empty ledger, empty windows. Settings stay."""
        self.state.replace(self._seed)
        self.faults.clear()
        self.ledger = FakeLedger(self._ledger_size)
        self.limits = FakeLimits(self._config.patch, self._config.company)
        self._random = random.Random(self._config.random_seed)  # noqa: S311

    def summary(self) -> dict[str, Any]:
        """The sums of the ledger, and under `worst` the fullest windows of each limit."""
        return {**self.ledger.summary(), "worst": self.limits.worst()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, as an ASGI app. What arrives counts before anything else of it is read."""
        config = self._config
        if config.arrival_jitter:
            await asyncio.sleep(self._random.uniform(0, config.arrival_jitter))
        now = self._clock()
        call = read_call(scope)
        company = self._company(scope)
        arrival = self.ledger.arrive(
            monotonic=now,
            wall=self._wall(),
            company=company,
            method=call.method,
            path=self._without_keys(call.path),
            target_type=self._without_keys(call.target_type),
            target_id=self._without_keys(call.target_id),
            ivr_type=self._without_keys(call.ivr_type),
        )
        wait = 0.0
        if company is not None:
            patch = call.method == "PATCH"
            wait = self.limits.arrive(company, now + self._to_wall, patch=patch, enforce=config.enforce)
        try:
            body, connected = await read_body(receive)
            arrival.body = self._kept(body)
            answer = await self._answer(call, body, arrival, wait) if connected else None
            await asyncio.sleep(config.latency + self._random.uniform(0, config.answer_jitter))
            self.ledger.finish(arrival, answer.status if answer else None)
            if answer:
                await answer.send(send)
            elif connected:
                await _reset(scope, receive)
        except asyncio.CancelledError:
            if not arrival.done:
                self.ledger.finish(arrival, None)
            if "transport" not in scope.get("state", {}):
                raise
            # The server stops while an answer is held back. Cut the connection, rather than have uvicorn print this.
            await _reset(scope, receive)

    async def _answer(self, call: FakeCall, body: bytes | None, arrival: Arrival, wait: float) -> FakeResponse | None:
        """The answer to a request that was counted; None for a reset."""
        if arrival.company is None:
            return error_answer(401, "The bearer key is missing or unknown.", {"www-authenticate": "Bearer"})
        if wait:
            return self._over_the_limit(wait)
        rule = self.faults.choose(call, self._random)
        if rule and rule.prevents:
            arrival.fault = rule.fault
            await asyncio.sleep(rule.hold)
            return None if rule.resets else answer_instead(rule, call.headers["authorization"], self._wall())
        try:
            answer = self._do(call, body, arrival, rule)
        except RefusedError as refused:
            return refused.answer
        except NotFoundError as missing:
            return error_answer(404, str(missing))
        if rule:
            arrival.fault = rule.fault
            answer = await spoil(rule, answer)
            await asyncio.sleep(rule.hold)
        return None if rule and rule.resets else answer

    def _do(self, call: FakeCall, body: bytes | None, arrival: Arrival, rule: FaultRule | None) -> FakeResponse:
        """What a request asks for, done, and its 200."""
        asked = check(call, body)
        if isinstance(asked, FakePage):
            return self._page(asked)
        before = self.state.slot(asked.target_type, asked.target_id, asked.ivr_type, asked.ivr_id)
        if rule and rule.fault == "not_applied":
            others = (ivr.id for ivr in before.ivrs if ivr.id != asked.ivr_id)
            return json_answer(before.select(next(others, None)).shown())
        after = self._assign(asked)
        self.ledger.apply(arrival, asked, before.selected.model_dump(), after.selected.model_dump())
        return json_answer(after.shown())

    def _assign(self, change: FakeChange) -> FakeSlot:
        return self.state.assign(
            change.target_type, change.target_id, change.ivr_type, change.ivr_id, change.select_option
        )

    def _page(self, page: FakePage) -> FakeResponse:
        slots = self.state.slots(page.target_type, page.target_id)
        end = page.first + self._config.page_size
        return json_answer(
            {
                "cursor": cursor_to(end) if end < len(slots) else "",
                "items": [slot.shown() for slot in slots[page.first : end]],
            }
        )

    def _over_the_limit(self, wait: float) -> FakeResponse:
        form = self._config.retry_after
        return rate_limited(
            math.ceil(self._wall() + wait) if form == "http_date" else None,
            math.ceil(wait) if form == "seconds" else None,
        )

    def _company(self, scope: Scope) -> str | None:
        """Whose key a request bears; None for none, an unknown one, or several."""
        values = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
        scheme, _, key = values[0].decode("latin-1").partition(" ") if len(values) == 1 else ("", "", "")
        return self._companies.get(key) if scheme.lower() == "bearer" else None

    def _without_keys(self, text: str | None) -> str | None:
        """The text without any key, should a client have put one where it does not belong."""
        for key in self._companies:
            text = text and text.replace(key, "[key]")
        return text

    def _kept(self, body: bytes | None) -> Any:
        """A request's body as it is kept: JSON, else text; cut, and without any key."""
        if not body:
            return None
        parsed = parse_json(body) if len(body) <= _KEPT_BODY else None
        text = body.decode("utf-8", "replace") if parsed is None else json.dumps(parsed)
        kept = self._without_keys(text) or ""
        return kept[:_KEPT_BODY] if parsed is None else json.loads(kept)


async def _reset(scope: Scope, receive: Receive) -> None:
    """Reset the connection (TCP RST), and wait until it is lost.

    Raises:
        ConnectionResetError: There is none: the app is called in process.
    """
    transport = scope.get("state", {}).get("transport")
    if transport is None:
        raise ConnectionResetError("The double resets the connection.")
    if transport.is_closing():
        return  # the client has hung up meanwhile
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass  # uvicorn would answer 500 for an app that returned sooner without an answer
