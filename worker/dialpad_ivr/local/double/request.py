"""A request against the published OpenAPI document: what it asks for, or why it is refused.

Stricter than Dialpad may be, so that whatever passes here is exactly what is documented. No refusal repeats what the
client sent: it could be a key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from starlette.types import Receive, Scope

from dialpad_ivr.contract.values import INT64_MAX, IVR_TYPES, LIST_PATH, PATCH_PATH, SELECT_OPTIONS, TARGET_TYPES
from dialpad_ivr.local.double.answer import FakeResponse, error_answer

BODY_LIMIT: Final = 1024 * 1024
"""Bytes of a request's body; a longer one is refused."""

_PREFIX, _, _ = PATCH_PATH.partition("{")
_PARTS: Final = tuple(part.strip("{}") for part in PATCH_PATH.removeprefix(_PREFIX).split("/"))
_INTEGER: Final = re.compile(r"(?:0|-?[1-9][0-9]{0,18})(?![\s\S])")


class RefusedError(Exception):
    """The request breaks the published document.

    Attributes:
        answer: What to answer.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.answer: FakeResponse = error_answer(status, message, headers)


@dataclass(frozen=True)
class FakeChange:
    """What an accepted PATCH asks for."""

    target_type: str
    target_id: str
    ivr_type: str
    ivr_id: str
    select_option: str | None


@dataclass(frozen=True)
class FakePage:
    """What an accepted GET asks for: a page of a target's slots, from that one on."""

    target_type: str
    target_id: str
    first: int


@dataclass(frozen=True)
class FakeCall:
    """A request as it is written, nothing of it checked.

    Attributes:
        method: The HTTP method.
        path: The decoded path.
        endpoint: The method that the path allows; None for a path that is not known.
        query: The decoded query, in order.
        headers: Names in lower case; of a repeated one, the last.
        target_type: From the path, or from the query of the list; None if it names none.
        target_id: Likewise.
        ivr_type: From the path.
    """

    method: str
    path: str
    endpoint: str | None
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    target_type: str | None = None
    target_id: str | None = None
    ivr_type: str | None = None


def read_call(scope: Scope) -> FakeCall:
    """The request of an ASGI scope. Its path is split before it is decoded, so `%2F` separates nothing."""
    raw_path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    query = tuple(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    named: dict[str, str] = {}
    endpoint = None
    parts = raw_path.removeprefix(_PREFIX).split("/")
    if raw_path == LIST_PATH:
        endpoint = "GET"
        named = {name: value for name, value in query if name in ("target_type", "target_id")}
    elif raw_path.startswith(_PREFIX) and len(parts) == len(_PARTS):
        endpoint = "PATCH"
        named = dict(zip(_PARTS, map(unquote, parts), strict=True))
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    return FakeCall(scope["method"], unquote(raw_path), endpoint, query, headers, **named)


async def read_body(receive: Receive) -> tuple[bytes | None, bool]:
    """The request's body, None for one over `BODY_LIMIT`, and whether the client is still there."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None, False
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            return None, True
        if not message.get("more_body", False):
            return bytes(body), True


def check(call: FakeCall, body: bytes | None) -> FakeChange | FakePage:
    """What a request asks for.

    Args:
        call: The request.
        body: Its body; None for one that is too long.

    Raises:
        RefusedError: It breaks the published document.
    """
    if any(name == "apikey" for name, _ in call.query):
        raise RefusedError(400, "The query holds an apikey: send it in the Authorization header.")
    if call.endpoint is None:
        raise RefusedError(404, "There is no such path.")
    if call.method != call.endpoint:
        raise RefusedError(405, f"Only {call.endpoint} is allowed here.", {"allow": call.endpoint})
    if body is None:
        raise RefusedError(413, f"The body is longer than {BODY_LIMIT} bytes.")
    return _check_list(call) if call.endpoint == "GET" else _check_patch(call, body)


def _check_list(call: FakeCall) -> FakePage:
    query = dict(call.query)
    if len(query) < len(call.query):
        raise RefusedError(400, "A query parameter is given twice.")
    if not {"target_type", "target_id"} <= set(query) <= {"target_type", "target_id", "cursor"}:
        raise RefusedError(400, "The query takes target_type, target_id (both required) and cursor.")
    cursor = query.get("cursor", "")
    if cursor and not re.fullmatch("page-[0-9]{1,6}", cursor):
        raise RefusedError(400, "The cursor is none that this API gave.")
    return FakePage(*_target(call), first=int(cursor.removeprefix("page-") or 0))


def cursor_to(first: int) -> str:
    """The cursor of the page that begins with that slot."""
    return f"page-{first}"


def _check_patch(call: FakeCall, body: bytes) -> FakeChange:
    target_type, target_id = _target(call)
    if call.ivr_type not in IVR_TYPES:
        raise RefusedError(400, f"ivr_type must be one of {', '.join(IVR_TYPES)}.")
    if call.query:
        raise RefusedError(400, "This call takes no query.")
    if call.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(415, "The Content-Type must be application/json.")
    content = parse_json(body)
    if not isinstance(content, dict):
        raise RefusedError(400, "The body must be a JSON object.")
    if not set(content) <= {"ivr_id", "select_option"}:
        raise RefusedError(400, "The body takes ivr_id and select_option only.")
    ivr_id, select_option = content.get("ivr_id"), content.get("select_option")
    if not isinstance(ivr_id, int) or isinstance(ivr_id, bool) or not -INT64_MAX - 1 <= ivr_id <= INT64_MAX:
        raise RefusedError(400, "ivr_id is required and must be a JSON integer (int64).")
    if select_option is not None and select_option not in SELECT_OPTIONS:
        raise RefusedError(400, f"select_option must be one of {', '.join(SELECT_OPTIONS)}.")
    return FakeChange(target_type, target_id, call.ivr_type, str(ivr_id), select_option)


def _target(call: FakeCall) -> tuple[str, str]:
    if call.target_type not in TARGET_TYPES:
        raise RefusedError(400, f"target_type must be one of {', '.join(TARGET_TYPES)}.")
    target_id = call.target_id or ""
    if not _INTEGER.match(target_id) or not -INT64_MAX - 1 <= int(target_id) <= INT64_MAX:
        raise RefusedError(400, "target_id must be an integer (int64).")
    return call.target_type, target_id


def parse_json(body: bytes) -> Any:
    """The body parsed; None for what is no JSON (as for null: neither is an object)."""
    try:
        return json.loads(body.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
