"""Parses and validates a request against the published OpenAPI document.

Possibly stricter than Dialpad: what passes is exactly what is documented. No error repeats what the client sent: it
could be a key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from starlette.types import Receive, Scope

from dialpad_ivr.contract.values import INT64_MAX, IVR_TYPES, LIST_PATH, PATCH_PATH, SELECT_OPTIONS, TARGET_TYPES
from dialpad_ivr.local.double.response import FakeResponse, error_response
from dialpad_ivr.local.double.routes import FakeRoute, Kind, find_route

BODY_LIMIT: Final = 1024 * 1024
"""The longest request body, in bytes."""

_PREFIX, _, _ = PATCH_PATH.partition("{")
_PARTS: Final = tuple(part.strip("{}") for part in PATCH_PATH.removeprefix(_PREFIX).split("/"))
_IVR_TYPES: Final = f"ivr_type must be one of {', '.join(IVR_TYPES)}."
_INTEGER: Final = re.compile(r"(?:0|-?[1-9][0-9]{0,18})(?![\s\S])")

_VALUES: Final[dict[str, tuple[str, ...]]] = {
    "boolean": ("true", "false"),
    "state": ("active", "all", "cancelled", "deleted", "pending", "suspended"),
}


class FakeRequestError(Exception):
    """The request violates the published document.

    Attributes:
        response: The error response.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.response: FakeResponse = error_response(status, message, headers)


@dataclass(frozen=True)
class FakeChange:
    """A valid PATCH."""

    target_type: str
    target_id: str
    ivr_type: str
    ivr_id: str
    select_option: str | None


@dataclass(frozen=True)
class FakePage:
    """A valid GET: a page of a target's slots, or of one of them, from index `first` on."""

    target_type: str
    target_id: str
    first: int
    ivr_type: str | None = None


@dataclass(frozen=True)
class FakeRead:
    """A valid GET of targets: of one, or of a page of a list from index `first` on.

    Attributes:
        segments: The values in its path.
        query: The query without the cursor.
    """

    route: FakeRoute
    segments: Mapping[str, str]
    query: Mapping[str, str]
    first: int


@dataclass(frozen=True)
class FakeRequest:
    """A parsed request, not validated.

    Attributes:
        method: The HTTP method.
        path: The decoded path.
        endpoint: The method that the path allows; None for an unknown path.
        query: The decoded query, in order.
        headers: Names in lower case; the last of repeated ones.
        target_type: From the path, or from the query of the list; None if absent.
        target_id: Likewise.
        ivr_type: From the path.
        route: Of a call that reads targets, with `target_type` that of what it reads.
        segments: The values in its path.
    """

    method: str
    path: str
    endpoint: str | None
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    target_type: str | None = None
    target_id: str | None = None
    ivr_type: str | None = None
    route: FakeRoute | None = None
    segments: Mapping[str, str] = field(default_factory=dict)


def read_request(scope: Scope) -> FakeRequest:
    """The request of an ASGI scope. Its path is split before it is decoded, so `%2F` separates nothing."""
    raw_path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    query = tuple(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    named: dict[str, Any] = {}
    endpoint = None
    found = find_route(raw_path)
    parts = raw_path.removeprefix(_PREFIX).split("/")
    if raw_path == LIST_PATH:
        endpoint = "GET"
        named = {name: value for name, value in query if name in ("target_type", "target_id")}
    elif raw_path.startswith(_PREFIX) and len(parts) == len(_PARTS):
        endpoint = "PATCH"
        named = dict(zip(_PARTS, map(unquote, parts), strict=True))
    elif found:
        endpoint = "GET"
        route, segments = found
        named = {
            "route": route,
            "segments": segments,
            "target_type": route.target_type,
            "target_id": segments.get("id"),
        }
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    return FakeRequest(scope["method"], unquote(raw_path), endpoint, query, headers, **named)


async def read_body(receive: Receive) -> tuple[bytes | None, bool]:
    """The request's body (None if over `BODY_LIMIT`), and whether the client is still connected."""
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


def check(request: FakeRequest, body: bytes | None) -> FakeChange | FakePage | FakeRead:
    """Validate a request.

    Args:
        request: The request.
        body: Its body; None if it is too long.

    Raises:
        FakeRequestError: It violates the published document.
    """
    if any(name == "apikey" for name, _ in request.query):
        raise FakeRequestError(400, "Send the key in the Authorization header, not in the query.")
    if request.endpoint is None:
        raise FakeRequestError(404, "Unknown path.")
    if request.method != request.endpoint:
        raise FakeRequestError(405, f"Only {request.endpoint} is allowed here.", {"allow": request.endpoint})
    if body is None:
        raise FakeRequestError(413, f"The body is longer than {BODY_LIMIT} bytes.")
    if request.route is not None:
        return _check_read(request, request.route)
    return _check_list(request) if request.endpoint == "GET" else _check_patch(request, body)


def _check_list(request: FakeRequest) -> FakePage:
    query = _query(request)
    if not {"target_type", "target_id"} <= set(query) <= {"target_type", "target_id", "ivr_type", "cursor"}:
        raise FakeRequestError(400, "The query takes target_type, target_id (both required), ivr_type and cursor.")
    if query.get("ivr_type", IVR_TYPES[0]) not in IVR_TYPES:
        raise FakeRequestError(400, _IVR_TYPES)
    return FakePage(*_target(request), first=_first(query), ivr_type=query.get("ivr_type"))


def _check_read(request: FakeRequest, route: FakeRoute) -> FakeRead:
    query = _query(request)
    kinds: dict[str, Kind] = {} if route.query is None else {**route.query, "cursor": "text"}
    if not set(query) <= set(kinds):
        raise FakeRequestError(400, f"The query takes {', '.join(kinds) or 'nothing'}.")
    for name, value in request.segments.items():
        if name != "number" and not _is_int64(value):
            raise FakeRequestError(400, f"{name} must be an integer (int64).")
    for name, value in query.items():
        allowed = _VALUES.get(kinds[name])
        if (allowed and value not in allowed) or (kinds[name] == "int64" and not _is_int64(value)):
            raise FakeRequestError(400, f"{name} must be {'one of ' + ', '.join(allowed) if allowed else 'an int64'}.")
    filters = {name: value for name, value in query.items() if name != "cursor"}
    return FakeRead(route, request.segments, filters, _first(query))


def _query(request: FakeRequest) -> dict[str, str]:
    query = dict(request.query)
    if len(query) < len(request.query):
        raise FakeRequestError(400, "A query parameter is repeated.")
    return query


def _first(query: Mapping[str, str]) -> int:
    """The index that a cursor stands for."""
    cursor = query.get("cursor", "")
    if cursor and not re.fullmatch("page-[0-9]{1,6}", cursor):
        raise FakeRequestError(400, "Unknown cursor.")
    return int(cursor.removeprefix("page-") or 0)


def cursor_to(first: int) -> str:
    """The cursor of the page that begins at that index."""
    return f"page-{first}"


def _check_patch(request: FakeRequest, body: bytes) -> FakeChange:
    target_type, target_id = _target(request)
    if request.ivr_type not in IVR_TYPES:
        raise FakeRequestError(400, _IVR_TYPES)
    if request.query:
        raise FakeRequestError(400, "This call takes no query.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise FakeRequestError(415, "The Content-Type must be application/json.")
    content = parse_json(body)
    if not isinstance(content, dict):
        raise FakeRequestError(400, "The body must be a JSON object.")
    if not set(content) <= {"ivr_id", "select_option"}:
        raise FakeRequestError(400, "The body takes ivr_id and select_option only.")
    ivr_id, select_option = content.get("ivr_id"), content.get("select_option")
    if not isinstance(ivr_id, int) or isinstance(ivr_id, bool) or not -INT64_MAX - 1 <= ivr_id <= INT64_MAX:
        raise FakeRequestError(400, "ivr_id is required and must be a JSON integer (int64).")
    if select_option is not None and select_option not in SELECT_OPTIONS:
        raise FakeRequestError(400, f"select_option must be one of {', '.join(SELECT_OPTIONS)}.")
    return FakeChange(target_type, target_id, request.ivr_type, str(ivr_id), select_option)


def _target(request: FakeRequest) -> tuple[str, str]:
    if request.target_type not in TARGET_TYPES:
        raise FakeRequestError(400, f"target_type must be one of {', '.join(TARGET_TYPES)}.")
    target_id = request.target_id or ""
    if not _is_int64(target_id):
        raise FakeRequestError(400, "target_id must be an integer (int64).")
    return request.target_type, target_id


def _is_int64(text: str) -> bool:
    return bool(_INTEGER.match(text)) and -INT64_MAX - 1 <= int(text) <= INT64_MAX


def parse_json(body: bytes) -> Any:
    """The parsed body; None for null and for invalid JSON."""
    try:
        return json.loads(body.decode(), parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return None


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
