"""The paths of the calls that read targets, and the query that each takes, from the published OpenAPI document."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import unquote

from dialpad_ivr.contract.targets import LIST_PATHS, NUMBER_PATH, OFFICE_LIST_PATHS

Kind = Literal["text", "int64", "boolean", "state"]


@dataclass(frozen=True)
class FakeRoute:
    """A call that reads targets.

    Attributes:
        template: Its path.
        target_type: The type of what it reads; None for the target of a number.
        query: What its query takes besides `cursor`; None for a call that takes none and answers one target.
    """

    template: str
    target_type: str | None
    query: dict[str, Kind] | None = field(default=None, hash=False)


_GROUPS: Final[dict[str, Kind]] = {"office_id": "int64", "name_search": "text"}
_QUERIES: Final[dict[str, dict[str, Kind]]] = {
    "callcenter": _GROUPS,
    "callrouter": {"office_id": "int64"},
    "channel": {"state": "text"},
    "coachingteam": {},
    "department": _GROUPS,
    "office": {"active_only": "boolean"},
    "room": {"office_id": "int64"},
    "user": {"state": "state", "company_admin": "boolean", "email": "text", "number": "text"},
}

ROUTES: Final = (
    *(FakeRoute(path, target_type, _QUERIES[target_type]) for target_type, path in LIST_PATHS.items()),
    *(FakeRoute(path, target_type, {}) for target_type, path in OFFICE_LIST_PATHS.items()),
    *(FakeRoute(f"{path}/{{id}}", target_type) for target_type, path in LIST_PATHS.items()),
    FakeRoute(NUMBER_PATH, None),
)

_PATTERNS: Final = tuple(
    (route, re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]*)", re.escape(route.template)))) for route in ROUTES
)


def find_route(raw_path: str) -> tuple[FakeRoute, dict[str, str]] | None:
    """The route of a path, and the decoded values in it; None for any other path."""
    for route, pattern in _PATTERNS:
        found = pattern.fullmatch(raw_path)
        if found:
            return route, {name: unquote(value) for name, value in found.groupdict().items()}
    return None
