"""The connection to the engine: whether it can be used, and where its own UI is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import anyio.to_thread
import httpx

from dialpad_ivr.engine.api import EngineApi, EngineError

_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Connection:
    """The state of the connection to the engine.

    Attributes:
        version: The engine's version; `None` if none answers or access is denied.
        problem: Why an engine that is there cannot be used. Test requests never bypass it.
        ui: The base URL of its UI; `None` if it serves none.
    """

    version: str | None = None
    problem: str | None = None
    ui: str | None = None


async def check_connection(engine: EngineApi, timeout_seconds: float = _TIMEOUT_SECONDS) -> Connection:
    """Check whether an engine answers in time, and whether it serves a UI."""
    try:
        with anyio.fail_after(timeout_seconds):  # the SDK's own timeout is two minutes
            connection = Connection(await anyio.to_thread.run_sync(engine.version, abandon_on_cancel=True))
            return replace(connection, ui=await _find_ui(engine.url.removesuffix("/api")))
    except EngineError as exc:
        return Connection(problem=str(exc) if exc.status else None)
    except TimeoutError:
        return Connection(problem=f"{engine.url} did not answer within {timeout_seconds:g} s.")


async def _find_ui(base: str) -> str | None:
    """The base URL if a UI is served there. The published server answers every path with a page without scripts."""
    try:
        async with httpx.AsyncClient(
            verify=httpx.create_ssl_context(), trust_env=False, follow_redirects=True, timeout=_TIMEOUT_SECONDS / 2
        ) as client:
            page = await client.get(base, headers={"accept": "text/html"})
    except httpx.HTTPError:
        return None
    is_html = page.headers.get("content-type", "").startswith("text/html")
    return base if page.is_success and is_html and "<script" in page.text else None
