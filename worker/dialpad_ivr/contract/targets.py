"""Where Dialpad's published OpenAPI document lists the targets of each type, and the types that it does not list."""

from __future__ import annotations

from typing import Final, Literal, get_args

OFFICES_PATH: Final = "/api/v2/offices"
NUMBER_PATH: Final = "/api/v2/numbers/{number}"

ListedType = Literal["callcenter", "callrouter", "channel", "coachingteam", "department", "office", "room", "user"]

LISTED_TYPES: Final[tuple[str, ...]] = get_args(ListedType)

LIST_PATHS: Final[dict[str, str]] = {
    "callcenter": "/api/v2/callcenters",
    "callrouter": "/api/v2/callrouters",
    "channel": "/api/v2/channels",
    "coachingteam": "/api/v2/coachingteams",
    "department": "/api/v2/departments",
    "office": OFFICES_PATH,
    "room": "/api/v2/rooms",
    "user": "/api/v2/users",
}
"""The company's list of each type of targets; `/{id}` after it reads one."""

OFFICE_LIST_PATHS: Final[dict[str, str]] = {
    "callcenter": "/api/v2/offices/{office_id}/callcenters",
    "coachingteam": "/api/v2/offices/{office_id}/teams",
    "department": "/api/v2/offices/{office_id}/departments",
}
"""An office's own list. The `office_id` that `/callcenters` and `/departments` document is reported to be ignored."""

PLURALS: Final[dict[str, str]] = {
    "callcenter": "call centers",
    "callrouter": "call routers",
    "channel": "channels",
    "coachingteam": "coaching teams",
    "department": "departments",
    "office": "offices",
    "room": "rooms",
    "user": "users",
}
"""What people call the targets of each type."""
