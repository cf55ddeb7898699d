"""The double's lists of targets, compared with the OpenAPI document that Dialpad publishes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from dialpad_ivr.contract.targets import LIST_PATHS, LISTED_TYPES, OFFICE_LIST_PATHS
from dialpad_ivr.local.double import DEFAULT_KEY, FakeDialpad, FaultRule, create_app
from dialpad_ivr.local.double.company import FakeStateBody, company_targets, seed_targets
from dialpad_ivr.local.double.faults import FaultMatch
from dialpad_ivr.local.double.routes import ROUTES

OPENAPI = json.loads((Path(__file__).parents[2] / "data" / "dialpad-targets.openapi.json").read_text())
HEAD_OFFICE, BERLIN, CENTER = "5502522061422602", "5502522061422610", "5502522061422592"
KINDS = {
    "text": {"type": "string"},
    "int64": {"type": "integer", "format": "int64"},
    "boolean": {"type": "boolean"},
    "state": {"type": "string", "enum": ["active", "all", "cancelled", "deleted", "pending", "suspended"]},
}


@pytest.fixture
def double() -> FakeDialpad:
    double = FakeDialpad()
    double.configure({"enforce": False})
    return double


@pytest.fixture
async def api(double: FakeDialpad) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(double))
    headers = {"authorization": f"Bearer {DEFAULT_KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://dialpad.test", headers=headers) as client:
        yield client


def with_numbers(item: dict[str, Any]) -> dict[str, Any]:
    """The published schema says integer; Dialpad returns strings of digits, also in its own examples."""
    return {name: int(value) if name == "id" or name.endswith("_id") else value for name, value in item.items()}


@pytest.mark.parametrize("route", ROUTES, ids=[route.template for route in ROUTES])
def test_the_query_of_a_read_is_the_documented_one(route: Any) -> None:
    parameters = OPENAPI["paths"][route.template]["get"]["parameters"]
    documented = {each["name"]: each["schema"] for each in parameters if each["in"] == "query"}
    taken = {} if route.query is None else {**route.query, "cursor": "text"}
    assert {name: KINDS[kind] for name, kind in taken.items()} == documented


def test_every_documented_read_is_served() -> None:
    assert {route.template for route in ROUTES} == set(OPENAPI["paths"])


@pytest.mark.parametrize("route", ROUTES, ids=[route.template for route in ROUTES])
async def test_an_answer_matches_the_published_schema(api: httpx.AsyncClient, route: Any) -> None:
    seeded: dict[str, str] = {target.target_type: target.target_id for target in reversed(seed_targets())}
    path = route.template.format(office_id=BERLIN, number="%2B14155551000", id=seeded.get(route.target_type or "", ""))
    response = await api.get(path)
    assert response.status_code == 200
    body = response.json()
    content = OPENAPI["paths"][route.template]["get"]["responses"]["200"]["content"]
    schema = {**content["application/json"]["schema"], "components": OPENAPI["components"]}
    if "items" in body:
        assert body["items"]
        assert all(isinstance(item["id"], str) for item in body["items"])
        body["items"] = [with_numbers(item) for item in body["items"]]
    else:
        body = with_numbers(body)
    Draft202012Validator(schema).validate(body)


async def names(api: httpx.AsyncClient, path: str, **query: str) -> list[str]:
    body = (await api.get(path, params=query)).json()
    return [item.get("name") or item["display_name"] for item in body["items"]]


async def test_an_office_lists_its_own_targets(api: httpx.AsyncClient) -> None:
    offices = f"/api/v2/offices/{BERLIN}"
    assert await names(api, f"{offices}/callcenters") == ["Hotline", "Support Berlin"]
    assert await names(api, f"{offices}/departments") == ["Sales"]
    assert await names(api, f"{offices}/teams") == ["Trainees Berlin"]
    assert await names(api, "/api/v2/rooms", office_id=BERLIN) == ["Meeting room Berlin"]
    assert await names(api, "/api/v2/callrouters", office_id=BERLIN) == ["By language, Berlin"]


async def test_the_office_id_of_call_centers_is_ignored_as_people_report(api: httpx.AsyncClient) -> None:
    everywhere = await names(api, "/api/v2/callcenters")
    assert await names(api, "/api/v2/callcenters", office_id=BERLIN) == everywhere
    assert len(everywhere) > 3


async def test_names_addresses_and_numbers_are_searched(api: httpx.AsyncClient) -> None:
    assert await names(api, "/api/v2/callcenters", name_search="Support") == [
        "Support",
        "Support Berlin",
        "Support Lisbon",
    ]
    assert await names(api, "/api/v2/users", email="ROBIN@example.com") == ["Robin"]
    assert await names(api, "/api/v2/users", number="+1 415 555-1002") == ["Robin"]
    assert await names(api, "/api/v2/users", email="nobody@example.com") == []
    found = (await api.get("/api/v2/numbers/%2B14155551000")).json()
    assert (found["target_type"], found["target_id"], found["office_id"]) == ("callcenter", CENTER, HEAD_OFFICE)


async def test_a_list_is_paginated_by_cursor(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    double.configure({"page_size": 4})
    first = (await api.get("/api/v2/callcenters")).json()
    second = (await api.get("/api/v2/callcenters", params={"cursor": first["cursor"]})).json()
    assert len(first["items"]) == 4
    assert second["cursor"] == ""
    assert len({item["id"] for page in (first, second) for item in page["items"]}) == 6


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v2/offices/404/callcenters", 404),
        ("/api/v2/callcenters/404", 404),
        (f"/api/v2/departments/{CENTER}", 404),
        ("/api/v2/numbers/%2B1999", 404),
        ("/api/v2/numbers/1%2F..%2Fusers", 404),
        ("/api/v2/staffgroups", 404),
        ("/api/v2/offices/x/callcenters", 400),
        ("/api/v2/rooms?office_id=x", 400),
        ("/api/v2/users?state=gone", 400),
        ("/api/v2/users?limit=1000", 400),
        ("/api/v2/users?email=a&email=b", 400),
        ("/api/v2/callcenters?cursor=x", 400),
        (f"/api/v2/callcenters/{CENTER}?cursor=page-0", 400),
    ],
)
async def test_what_is_not_there_or_not_documented_is_refused(api: httpx.AsyncClient, path: str, status: int) -> None:
    assert (await api.get(path)).status_code == status


async def test_reads_count_against_the_limit_of_the_company(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    double.configure({"enforce": True, "company": {"calls": 3, "window_seconds": 1000}})
    statuses = [(await api.get(path)).status_code for path in list(LIST_PATHS.values())[:4]]
    assert statuses == [200, 200, 200, 429]


async def test_a_fault_can_be_of_one_list_alone(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    double.faults.add(
        FaultRule(match=FaultMatch(path="/api/v2/users"), fault="status", status=403, times=None),
        FaultRule(match=FaultMatch(target_type="callcenter"), fault="status", status=503, skip=1),
    )
    paths = ("/api/v2/users", "/api/v2/rooms", "/api/v2/callcenters", "/api/v2/callcenters", "/api/v2/users")
    assert [(await api.get(path)).status_code for path in paths] == [403, 200, 200, 503, 403]


@pytest.mark.parametrize(("size", "offices"), [(1, 3), (300, 6), (5000, 12)])
def test_a_company_of_any_size_has_offices_and_homonyms(size: int, offices: int) -> None:
    targets = company_targets(size)
    types = Counter(target.target_type for target in targets)
    assert (types["callcenter"], types["office"]) == (size, offices)
    assert set(types) == set(LISTED_TYPES)
    known = {target.target_id for target in targets if target.target_type == "office"}
    assert {target.office_id for target in targets if target.target_type in OFFICE_LIST_PATHS} == known
    assert len({target.target_id for target in targets}) == len(targets)
    in_one_office = Counter((t.target_type, t.office_id, t.name) for t in targets if t.target_type != "channel")
    assert in_one_office.most_common(1)[0][1] == 1
    by_name = Counter(target.name for target in targets if target.target_type == "department")
    assert by_name["Sales"] == offices


async def test_a_company_is_set_by_the_control_api(api: httpx.AsyncClient) -> None:
    answer = (await api.put("/_double/state", json={"company": 250})).json()
    assert answer == {"targets": len(company_targets(250))}
    pages = [(await api.get("/api/v2/callcenters", params={"cursor": f"page-{n}00"})).json() for n in range(3)]
    assert [len(page["items"]) for page in pages] == [100, 100, 50]
    assert FakeStateBody(synthetic=2, company=1).all()[0].target_id == "6000000000000000"
