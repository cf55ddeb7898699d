"""The calls, compared with the OpenAPI document that Dialpad publishes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from dialpad_ivr.contract.targets import LIST_PATHS, LISTED_TYPES, NUMBER_PATH, OFFICE_LIST_PATHS, PLURALS
from dialpad_ivr.dialpad.calls import Calls, Request

PATHS = json.loads((Path(__file__).parents[2] / "data" / "dialpad-targets.openapi.json").read_text())["paths"]
CALLS = Calls("https://dialpad.com")

# Every call with all that it can send.
READS: list[tuple[str, Request, dict[str, str]]] = [
    (
        "/api/v2/callcenters",
        CALLS.prepare_list_call_centers(name_search="A&B", cursor="c="),
        {"name_search": "A&B", "cursor": "c="},
    ),
    (
        "/api/v2/departments",
        CALLS.prepare_list_departments(name_search="A&B", cursor="c="),
        {"name_search": "A&B", "cursor": "c="},
    ),
    ("/api/v2/offices", CALLS.prepare_list_offices(cursor="c="), {"cursor": "c="}),
    (
        "/api/v2/offices/{office_id}/callcenters",
        CALLS.prepare_list_office_call_centers("7", cursor="c="),
        {"cursor": "c="},
    ),
    (
        "/api/v2/offices/{office_id}/departments",
        CALLS.prepare_list_office_departments("7", cursor="c="),
        {"cursor": "c="},
    ),
    (
        "/api/v2/offices/{office_id}/teams",
        CALLS.prepare_list_office_coaching_teams("7", cursor="c="),
        {"cursor": "c="},
    ),
    (
        "/api/v2/users",
        CALLS.prepare_list_users(email="a+b@example.com", number="+1415", cursor="c="),
        {"email": "a+b@example.com", "number": "+1415", "cursor": "c="},
    ),
    ("/api/v2/coachingteams", CALLS.prepare_list_coaching_teams(cursor="c="), {"cursor": "c="}),
    ("/api/v2/channels", CALLS.prepare_list_channels(cursor="c="), {"cursor": "c="}),
    ("/api/v2/rooms", CALLS.prepare_list_rooms(office_id="7", cursor="c="), {"office_id": "7", "cursor": "c="}),
    (
        "/api/v2/callrouters",
        CALLS.prepare_list_call_routers(office_id="7", cursor="c="),
        {"office_id": "7", "cursor": "c="},
    ),
    *((f"{LIST_PATHS[kind]}/{{id}}", CALLS.prepare_get_target(kind, "7"), {}) for kind in LISTED_TYPES),
    ("/api/v2/numbers/{number}", CALLS.prepare_get_number("+14155551002"), {}),
]


@pytest.mark.parametrize(("path", "request_", "query"), READS, ids=[path for path, _, _ in READS])
def test_a_read_is_the_documented_one(path: str, request_: Request, query: dict[str, str]) -> None:
    documented = {each["name"]: each["in"] for each in PATHS[path]["get"]["parameters"]}
    assert (request_.method, request_.template, request_.body) == ("GET", path, None)
    url = urlsplit(request_.url)
    assert dict(parse_qsl(url.query)) == query
    assert {name for name, place in documented.items() if place == "query"} >= set(query)
    sent = re.fullmatch(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)), url.path)
    assert sent is not None
    assert {unquote(value) for value in sent.groupdict().values()} <= {"7", "+14155551002"}


def test_every_documented_list_of_targets_has_its_call() -> None:
    assert {path for path, _, _ in READS} == set(PATHS)
    assert set(LIST_PATHS) == set(PLURALS) == set(LISTED_TYPES)
    assert {*LIST_PATHS.values(), *OFFICE_LIST_PATHS.values(), NUMBER_PATH} <= set(PATHS)


@pytest.mark.parametrize("trick", ["1/../../users/2", "1%2f..%2fusers", "1?x=1", "1#x", "1\\..\\2"])
@pytest.mark.parametrize(
    "prepare",
    [
        CALLS.prepare_get_number,
        CALLS.prepare_list_office_call_centers,
        lambda value: CALLS.prepare_get_target("user", value),
    ],
)
def test_a_path_segment_of_a_read_cannot_be_escaped(prepare: Callable[[str], Request], trick: str) -> None:
    request = prepare(trick)
    url = urlsplit(request.url)
    assert url.path.count("/") == request.template.count("/")
    assert (url.query, url.fragment) == ("", "")


@pytest.mark.parametrize("trick", ["", ".", ".."])
def test_a_dot_segment_of_a_read_is_rejected(trick: str) -> None:
    with pytest.raises(ValueError, match="segment"):
        CALLS.prepare_get_number(trick)


def test_a_first_page_of_everything_has_no_query() -> None:
    assert CALLS.prepare_list_call_centers().url == "https://dialpad.com/api/v2/callcenters"


def test_the_ivrs_of_one_slot_are_requested_by_its_type() -> None:
    request = CALLS.prepare_list_custom_ivrs("user", "5", ivr_type="MENU")
    assert request.url == "https://dialpad.com/api/v2/customivrs?target_type=user&target_id=5&ivr_type=MENU"
