"""An answer, and the body that Dialpad's errors have."""

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
    """What is sent back.

    Attributes:
        status: The HTTP status.
        body: The body, encoded.
        content_type: Its media type.
        headers: Other headers.
        padding: So many spaces follow the body, streamed without a content-length: JSON stays JSON.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    padding: int = 0

    async def send(self, send: Send) -> None:
        """Send it as ASGI messages."""
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
            await asyncio.sleep(0)  # others go on meanwhile, and a client that hung up is noticed


def json_answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> FakeResponse:
    """An answer of JSON."""
    return FakeResponse(status, json.dumps(content).encode(), headers=headers or {})


def error_answer(status: int, message: str | None = None, headers: dict[str, str] | None = None) -> FakeResponse:
    """An error as clients in the wild read it: `{"error": {"code": 404, "message": "..."}}`.

    Args:
        status: The HTTP status, also the code.
        message: What is wrong, without anything that the client sent (that could be a key); the status's phrase if
            absent.
        headers: Other headers.
    """
    return json_answer({"error": {"code": status, "message": message or phrase(status)}}, status, headers)


def phrase(status: int) -> str:
    """The status in words."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
