"""A response, and the body of Dialpad's errors."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from starlette.types import Send

_CHUNK: Final = b" " * 65_536


@dataclass(frozen=True)
class FakeResponse:
    """An HTTP response.

    Attributes:
        status: The HTTP status.
        body: The encoded body.
        content_type: Its media type.
        headers: Other headers.
        padding: Number of spaces streamed after the body, without a content-length. JSON stays valid.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    padding: int = 0

    async def send(self, send: Send) -> None:
        """Send the response as ASGI messages."""
        headers = {"content-type": self.content_type, **self.headers}
        if not self.padding:
            headers["content-length"] = str(len(self.body))
        await send(
            {
                "type": "http.response.start",
                "status": self.status,
                "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
            }
        )
        await send({"type": "http.response.body", "body": self.body, "more_body": self.padding > 0})
        left = self.padding
        while left > 0:
            part, left = _CHUNK[:left], left - len(_CHUNK)
            await send({"type": "http.response.body", "body": part, "more_body": left > 0})
            await asyncio.sleep(0)  # let other requests run, and notice a disconnect


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> FakeResponse:
    """A JSON response."""
    return FakeResponse(status, json.dumps(content).encode(), headers=headers or {})


def error_response(status: int, message: str | None = None, headers: dict[str, str] | None = None) -> FakeResponse:
    """An error in the shape that public clients expect: `{"error": {"code": 404, "message": "..."}}`.

    Args:
        status: The HTTP status, also the code.
        message: The error; the status's phrase if absent. Must not repeat what the client sent: it could be a key.
        headers: Other headers.
    """
    return json_response({"error": {"code": status, "message": message or phrase(status)}}, status, headers)


def phrase(status: int) -> str:
    """The status's reason phrase."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
