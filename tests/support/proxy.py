"""A faulty network in front of the real engine: forwards every request that no fault takes.

with faulty_engine(engine.url) as proxy, running_worker(proxy.url, ...):
    proxy.add(Fault("lose", path="/tasks/update-v2", times=3))
    until(lambda: proxy.taken["lose"] == 3)
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dialpad_ivr.http_server import serving
from dialpad_ivr.local.double.server import ResettableProtocol

_HOP_BY_HOP = ("connection", "content-length", "host", "keep-alive", "transfer-encoding")


@dataclass
class Fault:
    """One fault, and when to inject it.

    Attributes:
        kind: `refuse` responds with `status`; `reset` resets the connection; `lose` forwards the request, then resets
            the connection; `hang` waits for `seconds`, then forwards the request.
        path: A regular expression that is searched in the path.
        times: How often; None for no limit.
        probability: The probability of taking a matching request.
        status: The status of a `refuse`.
        seconds: The delay of a `hang`.
    """

    kind: Literal["refuse", "reset", "lose", "hang"]
    path: str = ""
    times: int | None = None
    probability: float = 1
    status: int = 503
    seconds: float = 0


class FaultyEngine:
    """The proxy. Its attributes may be used from any thread.

    Attributes:
        url: Its base URL.
        taken: The number of requests that each kind of fault has taken.
    """

    def __init__(self, engine_url: str, seed: int) -> None:
        self.url = ""
        self.taken: Counter[str] = Counter()
        self._engine_url = engine_url
        self._faults: tuple[Fault, ...] = ()
        self._dice = random.Random(seed)

    def add(self, *faults: Fault) -> None:
        self._faults += faults

    def clear(self) -> None:
        """Remove all faults."""
        self._faults = ()

    def _choose(self, path: str) -> Fault | None:
        for fault in self._faults:
            if fault.times != 0 and re.search(fault.path, path) and self._dice.random() < fault.probability:
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    async def check(self, request: Request) -> Response | None:
        """A response in the engine's place, for a proxy that authenticates requests."""
        return None

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=self._engine_url, timeout=60, trust_env=False, limits=limits) as engine:

            async def forward(request: Request) -> Response:
                headers = {k: v for k, v in request.headers.items() if k not in _HOP_BY_HOP}
                target = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
                try:
                    response = await engine.request(
                        request.method, target, content=await request.body(), headers=headers
                    )
                except httpx.HTTPError:
                    return Response("no engine", 502)
                return Response(response.content, response.status_code, media_type=response.headers.get("content-type"))

            async def respond(request: Request) -> Response:
                refusal = await self.check(request)
                if refusal is not None:
                    return refusal
                fault = self._choose(request.url.path)
                if fault is None:
                    return await forward(request)
                if fault.kind == "hang":
                    self.taken[fault.kind] += 1
                    await asyncio.sleep(fault.seconds)
                    return await forward(request)
                if fault.kind == "lose":
                    await forward(request)
                if fault.kind != "refuse":
                    request.scope["state"]["transport"].abort()
                self.taken[fault.kind] += 1
                return Response("", fault.status)

            methods = ["GET", "POST", "PUT", "DELETE"]
            app = Starlette(routes=[Route("/{path:path}", respond, methods=methods)])
            async with serving(app, "127.0.0.1", 0, http=ResettableProtocol) as port:
                self.url = f"http://127.0.0.1:{port}"
                ready.set()
                await stop.wait()


@contextlib.contextmanager
def faulty_engine(engine_url: str, seed: int = 0) -> Iterator[FaultyEngine]:
    """Run a proxy in a thread while the context lasts."""
    with running_proxy(FaultyEngine(engine_url, seed)) as proxy:
        yield proxy


Proxy = TypeVar("Proxy", bound=FaultyEngine)


@contextlib.contextmanager
def running_proxy(proxy: Proxy) -> Iterator[Proxy]:
    """Run a proxy in a thread while the context lasts."""
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(proxy.serve(ready, stop)))
    thread.start()
    try:
        assert ready.wait(10), "the proxy does not listen"
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()
