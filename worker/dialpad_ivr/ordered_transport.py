"""HTTP requests that get their connections in the order in which they were made.

httpcore (1.0.9; its issue 1110) may assign one idle connection to several requests. All but one try again, while newer
requests overtake them: on a busy machine some were held back for seconds, with permits that counted as used.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

import anyio
import httpx

# Then nobody else gets the connection: it opens, or is in use.
_HAS_CONNECTION: Final = {"connection.connect_tcp.started", "http11.send_request_headers.started"}


class OrderedTransport(httpx.AsyncBaseTransport):
    """A transport over HTTP/1.1 that assigns connections to one request at a time.

    Args:
        transport: What sends them.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        self._turn = anyio.Lock(fast_acquire=True)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises:
            httpx.TransportError: As without this.
        """
        told = request.extensions.get("trace")
        async with AsyncExitStack() as turn:
            await turn.enter_async_context(self._turn)

            async def trace(event: str, info: Mapping[str, Any]) -> None:
                if event in _HAS_CONNECTION:
                    await turn.aclose()
                if told is not None:
                    await told(event, info)

            request.extensions = {**request.extensions, "trace": trace}
            return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()
