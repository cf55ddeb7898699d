"""The Dialpad double: in process, or over a real connection where the connection matters."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import gzip
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from dialpad_ivr.contract.values import (
    COMPANY_LIMIT,
    COMPANY_WINDOW_SECONDS,
    IVR_TYPES,
    LIST_PATH,
    PATCH_LIMIT,
    PATCH_PATH,
    PATCH_WINDOW_SECONDS,
    SELECT_OPTIONS,
    TARGET_TYPES,
)
from dialpad_ivr.local.double import (
    DEFAULT_KEY,
    FakeConfig,
    FakeDialpad,
    FakeLimit,
    FaultRule,
    create_app,
    serving,
    synthetic_target,
)
from dialpad_ivr.local.double.limits import FakeLimits

OPENAPI = json.loads((Path(__file__).parents[2] / "data" / "dialpad-customivrs.openapi.json").read_text())
CENTER = "5502522061422592"
SUMMER, WINTER = "5127493019721728", "5127493019721729"
MUSIC = f"{LIST_PATH}/callcenter/{CENTER}/HOLD_MUSIC"
RECORDING = f"{LIST_PATH}/callcenter/{CENTER}/AUTO_RECORDING"
TO_SUMMER = {"ivr_id": int(SUMMER)}
BEARER = {"authorization": f"Bearer {DEFAULT_KEY}"}


class Clock:
    """A clock that stands still except in `sleep`."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def double(clock: Clock) -> FakeDialpad:
    keys = {DEFAULT_KEY: "demo", "second-key": "demo", "other-key": "other"}
    return FakeDialpad(keys=keys, clock=clock, wall=clock, sleep=clock.sleep)


@pytest.fixture
async def api(double: FakeDialpad) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(double))
    async with httpx.AsyncClient(transport=transport, base_url="http://dialpad.test", headers=BEARER) as client:
        yield client


@contextlib.asynccontextmanager
async def over_http(double: FakeDialpad) -> AsyncIterator[httpx.AsyncClient]:
    """A client over a real connection."""
    async with (
        serving(double) as url,
        httpx.AsyncClient(base_url=url, headers=BEARER, trust_env=False, timeout=10) as client,
    ):
        yield client


def shown(body: Any) -> list[str]:
    """The ids that are selected in a response."""
    return [ivr["id"] for ivr in body["ivrs"] if ivr["selected"]]


# --- the calls ------------------------------------------------------------------------------------------------------


async def test_patch_selects_the_ivr_and_returns_the_whole_slot(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    response = await api.patch(MUSIC, json=TO_SUMMER)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "ivr_type": "HOLD_MUSIC",
        "ivrs": [
            {"id": SUMMER, "name": "Summer hold music", "date_added": "1356998400000", "selected": True},
            {"id": WINTER, "name": "Winter hold music", "date_added": "1356998400000", "selected": False},
        ],
    }
    (arrival,) = double.ledger.arrivals
    assert arrival.before == {"inbound": WINTER, "outbound": WINTER}
    assert arrival.after == {"inbound": SUMMER, "outbound": SUMMER}
    assert (arrival.seq, arrival.status, arrival.applied, arrival.done) == (1, 200, True, True)
    assert (arrival.company, arrival.method, arrival.path, arrival.body) == ("demo", "PATCH", MUSIC, TO_SUMMER)
    assert (arrival.target_type, arrival.target_id, arrival.ivr_type) == ("callcenter", CENTER, "HOLD_MUSIC")


async def test_patch_changes_the_list_in_its_own_slot_only(api: httpx.AsyncClient) -> None:
    query = {"target_type": "callcenter", "target_id": CENTER}
    before = (await api.get(LIST_PATH, params=query)).json()
    await api.patch(MUSIC, json=TO_SUMMER)
    after = (await api.get(LIST_PATH, params=query)).json()
    assert after["cursor"] == ""
    assert [item["ivr_type"] for item in after["items"]] == ["AUTO_RECORDING", "CLOSED", "GREETING", "HOLD_MUSIC"]
    assert shown(before["items"][3]) == [WINTER]
    assert shown(after["items"][3]) == [SUMMER]
    assert after["items"][:3] == before["items"][:3]


async def test_list_is_paginated_by_cursor(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    double.configure({"page_size": 3})
    query = {"target_type": "callcenter", "target_id": CENTER}
    first = (await api.get(LIST_PATH, params=query)).json()
    second = (await api.get(LIST_PATH, params={**query, "cursor": first["cursor"]})).json()
    assert [len(page["items"]) for page in (first, second)] == [3, 1]
    assert first["cursor"]
    assert second["cursor"] == ""


@pytest.mark.parametrize(
    ("slot_filter", "status", "listed"),
    [("honoured", 200, ["CLOSED"]), ("ignored", 200, ["AUTO_RECORDING", "CLOSED", "GREETING"]), ("refused", 400, [])],
)
async def test_the_filter_by_slot_is_honoured_ignored_or_refused(
    api: httpx.AsyncClient, double: FakeDialpad, slot_filter: str, status: int, listed: list[str]
) -> None:
    double.configure({"slot_filter": slot_filter, "page_size": 3})
    query = {"target_type": "callcenter", "target_id": CENTER, "ivr_type": "CLOSED"}
    response = await api.get(LIST_PATH, params=query)
    assert response.status_code == status
    assert [item["ivr_type"] for item in response.json().get("items", ())] == listed


async def test_auto_recording_selects_inbound_and_outbound_separately(
    api: httpx.AsyncClient, double: FakeDialpad
) -> None:
    first, second = "5127493019721740", "5127493019721741"
    response = await api.patch(RECORDING, json={"ivr_id": int(first), "select_option": "inbound"})
    assert double.ledger.arrivals[-1].after == {"inbound": first, "outbound": second}
    assert shown(response.json()) == [first, second]
    response = await api.patch(RECORDING, json={"ivr_id": int(first), "select_option": None})
    assert double.ledger.arrivals[-1].after == {"inbound": first, "outbound": first}
    assert shown(response.json()) == [first]


async def test_select_option_is_ignored_outside_auto_recording(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    await api.patch(MUSIC, json={**TO_SUMMER, "select_option": "inbound"})
    assert double.ledger.arrivals[-1].after == {"inbound": SUMMER, "outbound": SUMMER}


async def test_ids_above_2_to_the_53_keep_every_digit(api: httpx.AsyncClient) -> None:
    path = f"{LIST_PATH}/callcenter/9007199254740993/HOLD_MUSIC"
    assert shown((await api.patch(path, json={"ivr_id": 9007199254740995})).json()) == ["9007199254740995"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{LIST_PATH}/callcenter/404/HOLD_MUSIC", 404),
        (f"{LIST_PATH}/office/{CENTER}/HOLD_MUSIC", 404),
        (f"{LIST_PATH}/callcenter/{CENTER}/MENU", 404),
        (f"{LIST_PATH}/callcenter/{CENTER}/GREETING", 404),
        (f"{LIST_PATH}/callcenter/{CENTER}", 404),
        ("/api/v2/users/1/devices", 404),
        (f"{LIST_PATH}/CallCenter/{CENTER}/HOLD_MUSIC", 400),
        (f"{LIST_PATH}/callcenter/{CENTER}/hold_music", 400),
        (f"{LIST_PATH}/callcenter/9223372036854775808/HOLD_MUSIC", 400),
        (f"{LIST_PATH}/callcenter/{CENTER}.0/HOLD_MUSIC", 400),
        (f"{LIST_PATH}/callcenter/0{CENTER}/HOLD_MUSIC", 400),
        (f"{LIST_PATH}/callcenter/1%2F..%2F..%2Fusers/HOLD_MUSIC", 400),
        (f"{MUSIC}?apikey={DEFAULT_KEY}", 400),
        (f"{MUSIC}?limit=1", 400),
    ],
)
async def test_invalid_path_is_rejected(api: httpx.AsyncClient, double: FakeDialpad, path: str, status: int) -> None:
    response = await api.patch(path, json=TO_SUMMER)
    assert response.status_code == status
    assert response.json()["error"]["code"] == status
    assert double.ledger.summary()["applied"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        b'{"ivr_id": null}',
        b'{"ivr_id": "5127493019721728"}',
        b'{"ivr_id": 5127493019721728.0}',
        b'{"ivr_id": true}',
        b'{"ivr_id": NaN}',
        b'{"ivr_id": 9223372036854775808}',
        b'{"ivr_id": ' + b"9" * 5000 + b"}",
        b'{"ivr_id": 5127493019721728, "select_option": "both"}',
        b'{"ivr_id": 5127493019721728, "select_option": ["inbound"]}',
        b'{"ivr_id": 5127493019721728, "target_id": 1}',
    ],
)
async def test_invalid_body_is_rejected(api: httpx.AsyncClient, double: FakeDialpad, body: bytes) -> None:
    response = await api.patch(MUSIC, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["message"]
    assert double.ledger.summary()["applied"] == 0


async def test_invalid_method_media_type_query_or_size_is_rejected(api: httpx.AsyncClient) -> None:
    async def status(method: str, path: str, **request: Any) -> int:
        return (await api.request(method, path, **request)).status_code

    assert await status("PATCH", MUSIC, content=b" " * (1024 * 1024 + 1)) == 413
    assert await status("PATCH", MUSIC, content=json.dumps(TO_SUMMER), headers={"content-type": "text/plain"}) == 415
    assert await status("PUT", MUSIC, json=TO_SUMMER) == 405
    assert await status("POST", LIST_PATH, json={}) == 405
    assert await status("GET", f"{LIST_PATH}?target_type=callcenter") == 400
    assert await status("GET", f"{LIST_PATH}?target_type=callcenter&target_id=1.5") == 400
    assert await status("GET", f"{LIST_PATH}?target_type=callcenter&target_id={CENTER}&cursor=x") == 400
    assert await status("GET", f"{LIST_PATH}?target_type=callcenter&target_id={CENTER}&ivr_type=menu") == 400
    assert await status("GET", f"{LIST_PATH}?target_type=callcenter&target_id={CENTER}&target_id=1") == 400
    assert await status("GET", f"{LIST_PATH}?target_type=callcenter&target_id=404") == 404


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer wrong", f"Basic {DEFAULT_KEY}", DEFAULT_KEY])
async def test_missing_or_wrong_key_gets_401_and_counts_for_no_company(
    api: httpx.AsyncClient, double: FakeDialpad, value: str
) -> None:
    response = await api.patch(MUSIC, json=TO_SUMMER, headers={"authorization": value})
    assert response.status_code == 401
    assert double.summary()["by_company"] == {"": 1}
    assert double.summary()["worst"]["company"]["all"] == 0


async def test_revoked_key_gets_401_until_it_is_valid_again(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    for revoked, status in (([DEFAULT_KEY], 401), ([], 200)):
        double.configure({"revoked": revoked})
        assert (await api.patch(MUSIC, json=TO_SUMMER)).status_code == status


async def test_no_key_is_in_the_ledger_or_in_a_response(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    responses = [
        await api.patch(f"{MUSIC}?apikey={DEFAULT_KEY}", json=TO_SUMMER),
        await api.patch(f"{LIST_PATH}/callcenter/{DEFAULT_KEY}/HOLD_MUSIC", json=TO_SUMMER),
        await api.patch(MUSIC, json={"ivr_id": DEFAULT_KEY, "x": "\u00e9"}),
        await api.patch(MUSIC, content=f"Bearer {DEFAULT_KEY}", headers={"content-type": "application/json"}),
        await api.patch(MUSIC, content=f"{DEFAULT_KEY}{' ' * 5000}", headers={"content-type": "application/json"}),
        await api.get("/_double/ledger"),
        await api.get("/_double/config"),
    ]
    assert [response.status_code for response in responses] == [400, 400, 400, 400, 400, 200, 200]
    assert all(DEFAULT_KEY not in response.text for response in responses)
    assert double.ledger.arrivals[2].body == {"ivr_id": "[key]", "x": "é"}


# --- the published document -----------------------------------------------------------------------------------------


def schema(name: str) -> Draft202012Validator:
    reference = {"$ref": f"#/components/schemas/schemas.custom_ivr.{name}", "components": OPENAPI["components"]}
    return Draft202012Validator(reference)


def with_int64_as_numbers(ivr: dict[str, Any]) -> dict[str, Any]:
    """The published schema says integer; Dialpad returns strings of digits, also in its own examples."""
    return {**ivr, "id": int(ivr["id"]), "date_added": int(ivr["date_added"])}


def test_paths_methods_and_enums_are_those_of_the_published_document() -> None:
    patch, listing = OPENAPI["paths"][PATCH_PATH]["patch"], OPENAPI["paths"][LIST_PATH]["get"]
    path = {parameter["name"]: parameter["schema"] for parameter in patch["parameters"]}
    query = {parameter["name"]: parameter["schema"] for parameter in listing["parameters"]}
    assert path == {
        "target_type": {"type": "string", "enum": list(TARGET_TYPES)},
        "target_id": {"type": "integer", "format": "int64"},
        "ivr_type": {"type": "string", "enum": list(IVR_TYPES)},
    }
    assert query == {"cursor": {"type": "string"}, **{name: path[name] for name in ("target_type", "target_id")}}


def test_default_limits_are_the_documented_ones() -> None:
    assert "Rate limit: 1200 per minute." in OPENAPI["paths"][PATCH_PATH]["patch"]["description"]
    assert FakeConfig().patch == FakeLimit(calls=PATCH_LIMIT, window_seconds=PATCH_WINDOW_SECONDS)
    assert FakeConfig().company == FakeLimit(calls=COMPANY_LIMIT, window_seconds=COMPANY_WINDOW_SECONDS)
    assert FakeConfig().patch == FakeLimit(calls=1200, window_seconds=60)


@pytest.mark.parametrize("option", [{}, *({"select_option": value} for value in (*SELECT_OPTIONS, None))])
async def test_bodies_and_responses_match_the_published_schemas(api: httpx.AsyncClient, option: dict[str, Any]) -> None:
    body = {"ivr_id": 5127493019721740, **option}
    documented = OPENAPI["components"]["schemas"]["schemas.custom_ivr.UpdateCustomIvrMessage"]
    assert set(body) <= set(documented["properties"])
    response = (await api.patch(RECORDING, json=body)).json()
    listing = (await api.get(LIST_PATH, params={"target_type": "callcenter", "target_id": CENTER})).json()
    for item in (response, *listing["items"]):
        assert all(isinstance(ivr["id"], str) and isinstance(ivr["date_added"], str) for ivr in item["ivrs"])
        item["ivrs"] = [with_int64_as_numbers(ivr) for ivr in item["ivrs"]]
    schema("CustomIvrProto").validate(response)
    schema("CustomIvrCollection").validate(listing)


# --- limits ---------------------------------------------------------------------------------------------------------


def admitted(limits: FakeLimits, *times: float, patch: bool = True, company: str = "demo") -> list[bool]:
    return [limits.arrive(company, now, patch=patch) == 0 for now in times]


WIDE = FakeLimit(calls=1000, window_seconds=1)


def test_sliding_window_throttles_over_its_limit() -> None:
    limits = FakeLimits(FakeLimit(calls=2, window_seconds=10, fixed=False), WIDE)
    assert admitted(limits, 8, 9, 10, 17.9, 18, 18.9, 19) == [True, True, False, False, True, False, True]


def test_fixed_window_begins_at_a_multiple_of_its_length() -> None:
    limits = FakeLimits(FakeLimit(calls=2, window_seconds=10, sliding=False), WIDE)
    assert admitted(limits, 8, 9, 9.9, 10, 11, 12, 19.9, 20) == [True, True, False, True, True, False, False, True]


def test_sliding_and_fixed_windows_apply_together_unless_switched_off() -> None:
    both = FakeLimits(FakeLimit(calls=1, window_seconds=10), WIDE)
    neither = FakeLimits(FakeLimit(calls=1, window_seconds=10, sliding=False, fixed=False), WIDE)
    assert admitted(both, 9, 10, 19, 21, 29, 30) == [True, False, True, False, True, False]
    assert all(admitted(neither, 9, 10, 19, 21))


def test_throttled_call_takes_no_room_in_the_window() -> None:
    limits = FakeLimits(FakeLimit(calls=1, window_seconds=10), WIDE)
    assert admitted(limits, 0, 1, 9, 9.9, 10) == [True, False, False, False, True]
    assert limits.worst()["patch"] == {"calls": 1, "window_seconds": 10, "accepted": 1, "all": 4}


def test_patch_throttled_by_one_limit_takes_no_room_in_the_other() -> None:
    limits = FakeLimits(FakeLimit(calls=1, window_seconds=100), FakeLimit(calls=2, window_seconds=10))
    assert admitted(limits, 0, 1, 2) == [True, False, False]
    assert admitted(limits, 3, 4, patch=False) == [True, False]


def test_limits_count_by_company() -> None:
    limits = FakeLimits(FakeLimit(calls=1, window_seconds=10), WIDE)
    assert admitted(limits, 0, 1) == [True, False]
    assert admitted(limits, 1, 2, company="other") == [True, False]


@pytest.mark.parametrize(("sliding", "fixed", "wait"), [(True, False, 7), (False, True, 5), (True, True, 7)])
def test_throttled_call_returns_the_wait_until_there_is_room(sliding: bool, fixed: bool, wait: float) -> None:
    limits = FakeLimits(FakeLimit(calls=1, window_seconds=10, sliding=sliding, fixed=fixed), WIDE)
    limits.arrive("demo", 12, patch=True)
    assert limits.arrive("demo", 15, patch=True) == wait


async def test_21st_call_in_a_second_is_throttled(api: httpx.AsyncClient, double: FakeDialpad, clock: Clock) -> None:
    query = {"target_type": "callcenter", "target_id": CENTER}
    first = [(await api.patch(MUSIC, json=TO_SUMMER)).status_code for _ in range(10)]
    first += [(await api.get(LIST_PATH, params=query)).status_code for _ in range(10)]
    throttled = await api.get(LIST_PATH, params=query)
    same_company = await api.patch(MUSIC, json=TO_SUMMER, headers={"authorization": "Bearer second-key"})
    other_company = await api.patch(MUSIC, json=TO_SUMMER, headers={"authorization": "Bearer other-key"})
    clock.now += 1
    assert first == [200] * 20
    assert throttled.status_code == same_company.status_code == 429
    assert throttled.json()["error"]["code"] == 429
    assert "retry-after" not in throttled.headers
    assert other_company.status_code == 200
    assert (await api.patch(MUSIC, json=TO_SUMMER)).status_code == 200
    assert double.summary()["worst"]["company"] == {"calls": 20, "window_seconds": 1, "accepted": 20, "all": 22}
    assert double.summary()["by_status"] == {"200": 22, "429": 2}


async def test_patch_limit_does_not_throttle_gets(api: httpx.AsyncClient, double: FakeDialpad, clock: Clock) -> None:
    double.configure({"patch": {"calls": 3}})
    clock.now = 1_000_020.0  # the start of a minute
    statuses = []
    for _ in range(4):
        statuses.append((await api.patch(MUSIC, json=TO_SUMMER)).status_code)
        clock.now += 10
    listed = await api.get(LIST_PATH, params={"target_type": "callcenter", "target_id": CENTER})
    assert statuses == [200, 200, 200, 429]
    assert listed.status_code == 200


async def test_retry_after_of_a_limit_has_the_configured_form(
    api: httpx.AsyncClient, double: FakeDialpad, clock: Clock
) -> None:
    double.configure({"company": {"calls": 1, "window_seconds": 30, "fixed": False}, "retry_after": "seconds"})
    await api.patch(MUSIC, json=TO_SUMMER)
    clock.now += 9.5
    in_seconds = await api.patch(MUSIC, json=TO_SUMMER)
    double.configure({"retry_after": "http_date"})
    as_date = await api.patch(MUSIC, json=TO_SUMMER)
    assert in_seconds.headers["retry-after"] == "21"
    assert email.utils.parsedate_to_datetime(as_date.headers["retry-after"]).timestamp() == clock.now + 20.5


async def test_unenforced_limits_are_still_counted(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    double.configure({"enforce": False})
    statuses = {(await api.patch(MUSIC, json=TO_SUMMER)).status_code for _ in range(30)}
    assert statuses == {200}
    assert double.summary()["worst"]["company"]["accepted"] == 30


async def test_arrival_is_counted_before_the_body_is_read(double: FakeDialpad, clock: Clock) -> None:
    async def body() -> AsyncIterator[bytes]:
        clock.now += 5
        yield json.dumps(TO_SUMMER).encode()

    transport = httpx.ASGITransport(double)
    async with httpx.AsyncClient(transport=transport, base_url="http://dialpad.test", headers=BEARER) as client:
        await client.patch(MUSIC, content=body(), headers={"content-type": "application/json"})
    assert double.ledger.arrivals[0].monotonic == 1_000_000.0


async def test_arrival_jitter_delays_arrivals_and_latency_delays_responses(
    api: httpx.AsyncClient, double: FakeDialpad, clock: Clock
) -> None:
    double.configure({"arrival_jitter": 2, "latency": 5, "answer_jitter": 3, "random_seed": 3})
    before_arrival, after_arrival = [], []
    for _ in range(20):
        sent = clock.now
        await api.patch(MUSIC, json=TO_SUMMER)
        arrived = double.ledger.arrivals[-1].monotonic
        before_arrival.append(arrived - sent)
        after_arrival.append(clock.now - arrived)
    assert 0 <= min(before_arrival) < 0.5
    assert 1.5 < max(before_arrival) <= 2
    assert 5 <= min(after_arrival) < 5.5
    assert 7.5 < max(after_arrival) <= 8


# --- the ledger -----------------------------------------------------------------------------------------------------


async def test_summary_counts_duplicate_changes(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    double.faults.add(FaultRule(fault="status", status=503))
    for body in (TO_SUMMER, TO_SUMMER, {"ivr_id": int(WINTER)}, TO_SUMMER):
        await api.patch(MUSIC, json=body)
    summary = double.summary()
    assert summary["by_status"] == {"200": 3, "503": 1}
    assert (summary["arrivals"], summary["applied"], summary["duplicates"], summary["in_flight"]) == (4, 3, 1, 0)


async def test_response_to_a_request_from_before_a_reset_is_not_counted(
    api: httpx.AsyncClient, double: FakeDialpad, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reset_meanwhile(seconds: float) -> None:
        double.reset()

    double.configure({"latency": 1})
    monkeypatch.setattr(double, "_sleep", reset_meanwhile)
    await api.patch(MUSIC, json=TO_SUMMER)
    summary = double.summary()
    assert (summary["arrivals"], summary["by_status"], summary["in_flight"]) == (0, {}, 0)


async def test_ledger_size_is_bounded_and_totals_are_not() -> None:
    double = FakeDialpad(config=FakeConfig(enforce=False), ledger_size=3)
    transport = httpx.ASGITransport(create_app(double))
    async with httpx.AsyncClient(transport=transport, base_url="http://dialpad.test", headers=BEARER) as client:
        for _ in range(5):
            await client.patch(MUSIC, json=TO_SUMMER)
    assert [arrival.seq for arrival in double.ledger.arrivals] == [3, 4, 5]
    assert (double.summary()["arrivals"], double.summary()["held"]) == (5, 3)


# --- faults ---------------------------------------------------------------------------------------------------------


async def patched(api: httpx.AsyncClient, double: FakeDialpad, **rule: Any) -> httpx.Response:
    """The response to a PATCH for Summer under a fault."""
    double.faults.add(FaultRule.model_validate(rule))
    return await api.patch(MUSIC, json=TO_SUMMER)


def made(double: FakeDialpad) -> tuple[str | None, bool, str | None]:
    """The last request's fault, whether its change was made, and the current selection."""
    last = double.ledger.arrivals[-1]
    slot = double.state.slot("callcenter", CENTER, "HOLD_MUSIC", SUMMER)
    return last.fault, last.applied, slot.selected.inbound


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504, 599])
async def test_fault_status_replaces_the_response(api: httpx.AsyncClient, double: FakeDialpad, status: int) -> None:
    response = await patched(api, double, fault="status", status=status)
    assert response.status_code == status
    assert response.json()["error"]["code"] == status
    assert made(double) == ("status", False, WINTER)


async def test_fault_status_has_the_configured_body(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    text = await patched(api, double, fault="status", status=502, body="<h1>Bad gateway</h1>", content_type="text/html")
    as_json = await patched(api, double, fault="status", status=409, body={"errors": [{"message": "busy"}]})
    assert (text.text, text.headers["content-type"]) == ("<h1>Bad gateway</h1>", "text/html")
    assert as_json.json() == {"errors": [{"message": "busy"}]}
    assert (await patched(api, double, fault="status", status=204)).content == b""


async def test_fault_rate_limited_has_the_configured_retry_after(
    api: httpx.AsyncClient, double: FakeDialpad, clock: Clock
) -> None:
    without = await patched(api, double, fault="rate_limited")
    seconds = await patched(api, double, fault="rate_limited", retry_after=7)
    date = await patched(api, double, fault="rate_limited", retry_after="http_date", seconds=9)
    assert {without.status_code, seconds.status_code, date.status_code} == {429}
    assert "retry-after" not in without.headers
    assert seconds.headers["retry-after"] == "7"
    assert email.utils.parsedate_to_datetime(date.headers["retry-after"]).timestamp() == clock.now + 9
    assert made(double) == ("rate_limited", False, WINTER)


async def test_fault_not_applied_returns_another_ivr_selected(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    response = await patched(api, double, fault="not_applied")
    assert (response.status_code, shown(response.json())) == (200, [WINTER])
    assert made(double) == ("not_applied", False, WINTER)
    await api.patch(MUSIC, json=TO_SUMMER)
    assert shown((await patched(api, double, fault="not_applied")).json()) == [WINTER]
    assert made(double) == ("not_applied", False, SUMMER)


async def test_fault_broken_json_follows_the_change(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    response = await patched(api, double, fault="broken_json")
    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        response.json()
    assert made(double) == ("broken_json", True, SUMMER)


async def test_fault_wrong_content_type_follows_the_change(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    response = await patched(api, double, fault="wrong_content_type")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html")
    assert response.text.startswith("<!doctype html>")
    assert made(double) == ("wrong_content_type", True, SUMMER)


async def test_fault_deep_json_follows_the_change(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    response = await patched(api, double, fault="deep_json")
    assert response.status_code == 200
    assert response.content.count(b"[") == response.content.count(b"]") == 100_000
    assert made(double) == ("deep_json", True, SUMMER)


async def test_fault_gzip_bomb_is_small_on_the_wire(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    double.faults.add(FaultRule(fault="gzip_bomb", megabytes=5))
    async with api.stream("PATCH", MUSIC, json=TO_SUMMER) as response:
        packed = b"".join([part async for part in response.aiter_raw()])
    assert response.headers["content-encoding"] == "gzip"
    assert len(packed) < 20_000
    unpacked = gzip.decompress(packed)
    assert len(unpacked) > 5_000_000
    assert shown(json.loads(unpacked)) == [SUMMER]
    assert made(double) == ("gzip_bomb", True, SUMMER)


async def test_fault_echo_authorization_repeats_the_header(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    response = await patched(api, double, fault="echo_authorization")
    assert response.status_code == 400
    assert f"Bearer {DEFAULT_KEY}" in response.json()["error"]["message"]
    assert DEFAULT_KEY not in str(double.ledger.rows())
    assert made(double) == ("echo_authorization", False, WINTER)


async def test_fault_redirect_over_a_real_connection(double: FakeDialpad) -> None:
    async with over_http(double) as wire:
        plain = await patched(wire, double, fault="redirect")
        permanent = await patched(wire, double, fault="redirect", status=308, location="http://127.0.0.1:9/elsewhere")
        assert (plain.status_code, permanent.status_code) == (302, 308)
        assert plain.headers["location"] == "https://elsewhere.invalid/api/v2/customivrs"
        assert permanent.headers["location"] == "http://127.0.0.1:9/elsewhere"
        assert made(double) == ("redirect", False, WINTER)


@pytest.mark.parametrize(
    ("fault", "after"), [("reset_before", (False, WINTER)), ("reset_after", (True, SUMMER))], ids=["before", "after"]
)
async def test_fault_reset_sends_a_tcp_reset_and_the_server_keeps_running(
    double: FakeDialpad,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    fault: str,
    after: tuple[bool, str],
) -> None:
    async with over_http(double) as wire:
        await wire.get("/_double/health")  # connect first: what follows is no connect error
        with pytest.raises(httpx.ReadError) as raised:
            await patched(wire, double, fault=fault)
        assert is_reset(raised.value)
        assert made(double) == (fault, *after)
        assert double.ledger.arrivals[-1].status is None
        assert double.summary()["by_status"] == {"none": 1}
        assert (await wire.patch(MUSIC, json=TO_SUMMER)).status_code == 200
        assert caplog.text == ""
        assert capfd.readouterr() == ("", "")


def is_reset(error: BaseException | None) -> bool:
    """Whether the cause is ECONNRESET, not an orderly close."""
    while error is not None and not isinstance(error, ConnectionResetError):
        error = error.__cause__ or error.__context__
    return error is not None


async def test_fault_reset_raises_in_process(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    with pytest.raises(ConnectionResetError):
        await patched(api, double, fault="reset_after")
    assert made(double) == ("reset_after", True, SUMMER)


async def test_fault_huge_body_is_streamed_after_the_change(double: FakeDialpad) -> None:
    async with over_http(double) as wire:
        double.faults.add(FaultRule(fault="huge_body"))
        size = 0
        async with wire.stream("PATCH", MUSIC, json=TO_SUMMER) as response:
            async for part in response.aiter_raw():
                size += len(part)
        assert response.status_code == 200
        assert 50_000_000 < size < 51_000_000
        assert made(double) == ("huge_body", True, SUMMER)


async def test_client_may_disconnect_during_a_huge_body(double: FakeDialpad, caplog: pytest.LogCaptureFixture) -> None:
    async with over_http(double) as wire:
        double.faults.add(FaultRule(fault="huge_body"))
        async with wire.stream("PATCH", MUSIC, json=TO_SUMMER) as response:
            await anext(response.aiter_raw())
        assert (await wire.patch(MUSIC, json=TO_SUMMER)).status_code == 200
        assert caplog.text == ""


async def until_applied(double: FakeDialpad) -> None:
    """Wait until a change has been made."""

    async def applied() -> None:
        while not double.summary()["applied"]:
            await asyncio.sleep(0.005)

    await asyncio.wait_for(applied(), 10)


async def test_slow_response_outlasts_the_client_and_the_change_is_made() -> None:
    double = FakeDialpad()
    double.faults.add(FaultRule(fault="slow", seconds=60))
    async with over_http(double) as wire:
        with pytest.raises(httpx.ReadTimeout):
            await wire.patch(MUSIC, json=TO_SUMMER, timeout=httpx.Timeout(10, read=0.1))
        await until_applied(double)
        assert made(double) == ("slow", True, SUMMER)


@pytest.mark.parametrize(("rule", "status"), [({"fault": "slow"}, 200), ({"fault": "status", "status": 504}, 504)])
async def test_seconds_of_a_fault_delay_the_response(
    api: httpx.AsyncClient, double: FakeDialpad, clock: Clock, rule: dict[str, Any], status: int
) -> None:
    sent = clock.now
    assert (await patched(api, double, **rule, seconds=7)).status_code == status
    assert clock.now == sent + 7


async def test_server_stop_resets_delayed_responses_without_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    double = FakeDialpad()
    double.faults.add(FaultRule(fault="slow", seconds=60))
    async with httpx.AsyncClient(headers=BEARER, trust_env=False, timeout=30) as client:
        async with serving(double) as url:
            call = asyncio.create_task(client.patch(f"{url}{MUSIC}", json=TO_SUMMER))
            await until_applied(double)
        with pytest.raises(httpx.ReadError):
            await call
    assert "Traceback" not in capfd.readouterr().err


async def test_fault_rule_applies_only_to_matching_requests(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    match = {"method": "PATCH", "target_type": "callcenter", "target_id": int(CENTER), "ivr_type": "HOLD_MUSIC"}
    double.faults.add(FaultRule.model_validate({"match": match, "fault": "status", "status": 503, "times": None}))
    listed = await api.get(LIST_PATH, params={"target_type": "callcenter", "target_id": CENTER})
    other_slot = await api.patch(RECORDING, json={"ivr_id": 5127493019721740})
    assert (listed.status_code, other_slot.status_code) == (200, 200)
    assert (await api.patch(MUSIC, json=TO_SUMMER)).status_code == 503


async def test_fault_rule_can_match_the_list(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    match = {"method": "GET", "target_id": CENTER}
    double.faults.add(FaultRule.model_validate({"match": match, "fault": "broken_json"}))
    listed = await api.get(LIST_PATH, params={"target_type": "callcenter", "target_id": CENTER})
    assert double.ledger.arrivals[-1].fault == "broken_json"
    with pytest.raises(json.JSONDecodeError):
        listed.json()


async def test_fault_rules_are_tried_in_order_with_skip_and_times(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    double.faults.add(
        FaultRule(fault="status", status=500, skip=1),
        FaultRule(fault="status", status=503, times=2),
    )
    statuses = [(await api.patch(MUSIC, json=TO_SUMMER)).status_code for _ in range(5)]
    assert statuses == [503, 500, 503, 200, 200]


async def test_fault_probability_is_seeded(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    double.configure({"enforce": False})
    double.faults.add(FaultRule(fault="status", status=500, times=None, probability=0.5))
    statuses = [(await api.patch(MUSIC, json=TO_SUMMER)).status_code for _ in range(100)]
    assert 30 < statuses.count(500) < 70
    double.configure({"random_seed": 0})
    assert [(await api.patch(MUSIC, json=TO_SUMMER)).status_code for _ in range(100)] == statuses


async def test_fault_does_not_alter_an_error_response(api: httpx.AsyncClient, double: FakeDialpad) -> None:
    double.faults.add(FaultRule(fault="reset_after"))
    assert (await api.patch(MUSIC, json={"ivr_id": 1})).status_code == 404
    assert made(double) == (None, False, WINTER)


@pytest.mark.parametrize(
    ("rule", "path", "kind"),
    [
        ({"fault": "explode"}, ("fault",), "literal_error"),
        ({"fault": "status"}, (), "value_error"),
        ({"fault": "slow"}, (), "value_error"),
        ({"fault": "slow", "seconds": 1, "megabytes": 2}, (), "value_error"),
        ({"fault": "redirect", "status": 200}, (), "value_error"),
        ({"fault": "redirect", "location": "x\r\ny: z"}, ("location",), "string_pattern_mismatch"),
        ({"fault": "reset_after", "times": 0}, ("times",), "greater_than_equal"),
        ({"fault": "reset_after", "match": {"target": 1}}, ("match", "target"), "extra_forbidden"),
        ({"fault": "reset_after", "match": {"ivr_type": "hold_music"}}, ("match", "ivr_type"), "literal_error"),
    ],
)
def test_invalid_fault_rule_is_rejected(rule: dict[str, Any], path: tuple[str, ...], kind: str) -> None:
    with pytest.raises(ValidationError) as raised:
        FaultRule.model_validate(rule)
    assert [(error["loc"], error["type"]) for error in raised.value.errors()] == [(path, kind)]


# --- control --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def control(double: FakeDialpad) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the control API, without a key."""
    transport = httpx.ASGITransport(create_app(double))
    async with httpx.AsyncClient(transport=transport, base_url="http://dialpad.test/_double/") as client:
        yield client


async def test_control_calls_need_no_key_and_are_not_counted(control: httpx.AsyncClient, double: FakeDialpad) -> None:
    assert (await control.get("health")).json() == {"ok": True}
    assert double.summary()["arrivals"] == 0


async def test_control_rejects_calls_from_other_hosts(double: FakeDialpad) -> None:
    transport = httpx.ASGITransport(create_app(double), client=("192.0.2.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://dialpad.test") as client:
        assert (await client.get("/_double/health")).status_code == 403


async def test_state_round_trips(control: httpx.AsyncClient, api: httpx.AsyncClient) -> None:
    seed = (await control.get("state")).json()
    assert [target["target_id"] for target in seed["targets"]][0:5:4] == [CENTER, "9007199254740993"]
    await api.patch(RECORDING, json={"ivr_id": 5127493019721740, "select_option": "outbound"})
    changed = (await control.get("state")).json()
    assert changed != seed
    assert (await control.put("state", json=seed)).json() == {"targets": len(seed["targets"])}
    assert (await control.get("state")).json() == seed
    await control.put("state", json=changed)
    assert (await control.get("state")).json() == changed


async def test_put_state_replaces_all_targets(control: httpx.AsyncClient, api: httpx.AsyncClient) -> None:
    slot = {"ivr_type": "MENU", "ivrs": [{"id": 7, "name": "One"}, {"id": "8", "name": "Two"}], "selected": 8}
    await control.put("state", json={"targets": [{"target_type": "room", "target_id": "5", "slots": [slot]}]})
    assert (await api.patch(MUSIC, json=TO_SUMMER)).status_code == 404
    assert shown((await api.patch(f"{LIST_PATH}/room/5/MENU", json={"ivr_id": 7})).json()) == ["7"]


async def test_synthetic_targets_have_computable_ids(control: httpx.AsyncClient, api: httpx.AsyncClient) -> None:
    assert (await control.put("state", json={"synthetic": 500})).json() == {"targets": 500}
    target = synthetic_target(499)
    assert (target.target_id, target.slots[0].ivrs[0].id) == ("6000000000000499", "7000000000000998")
    assert target.slots[0].selected.inbound == "7000000000000999"
    response = await api.patch(f"{LIST_PATH}/callcenter/6000000000000499/HOLD_MUSIC", json={"ivr_id": 7000000000000998})
    assert shown(response.json()) == ["7000000000000998"]


async def test_put_config_leaves_other_settings_unchanged(control: httpx.AsyncClient) -> None:
    before = (await control.get("config")).json()
    after = (await control.put("config", json={"latency": 0.5, "company": {"calls": 5}})).json()
    assert after == {**before, "latency": 0.5, "company": {**before["company"], "calls": 5}}
    assert (await control.get("config")).json() == after


async def test_faults_are_added_and_cleared(control: httpx.AsyncClient, api: httpx.AsyncClient) -> None:
    rule = {"fault": "status", "status": 503, "times": None}
    assert (await control.post("faults", json=rule)).json() == {"faults": 1}
    assert (await control.post("faults", json=[rule, rule])).json() == {"faults": 3}
    assert (await api.patch(MUSIC, json=TO_SUMMER)).status_code == 503
    assert (await control.delete("faults")).json() == {"faults": 0}
    assert (await api.patch(MUSIC, json=TO_SUMMER)).status_code == 200


async def test_ledger_returns_arrivals_or_the_summary_only(control: httpx.AsyncClient, api: httpx.AsyncClient) -> None:
    await api.patch(MUSIC, json=TO_SUMMER)
    whole = (await control.get("ledger")).json()
    sums = (await control.get("ledger", params={"summary": "true"})).json()
    assert sums == {"summary": whole["summary"]}
    assert [arrival["body"] for arrival in whole["arrivals"]] == [TO_SUMMER]


async def test_reset_restores_the_seed_and_leaves_the_settings(
    control: httpx.AsyncClient, api: httpx.AsyncClient, double: FakeDialpad
) -> None:
    double.configure({"company": {"calls": 1}})
    seed = (await control.get("state")).json()
    await api.patch(MUSIC, json=TO_SUMMER)
    await control.post("faults", json={"fault": "status", "status": 503})
    await control.post("reset")
    assert (await control.get("state")).json() == seed
    assert double.summary()["arrivals"] == 0
    assert double.config.company.calls == 1
    assert (await api.patch(MUSIC, json=TO_SUMMER)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "where"),
    [
        ("PUT", "state", {"targets": [{"target_type": "x", "target_id": 1}]}, "targets.0.target_type"),
        ("PUT", "state", {"synthetic": -1}, "synthetic"),
        (
            "PUT",
            "state",
            {"targets": [{"target_type": "room", "target_id": 1, "slots": [{"ivr_type": "MENU", "selected": 1}]}]},
            "targets.0.slots.0",
        ),
        ("PUT", "state", {"targets": [{"target_type": "room", "target_id": 1}] * 2}, ""),
        ("PUT", "config", {"page_size": 0}, "page_size"),
        ("PUT", "config", {"patch": {"sliding": "perhaps"}}, "patch.sliding"),
        ("PUT", "config", {"limits": 1}, "limits"),
        ("PUT", "config", [], ""),
        ("POST", "faults", {"fault": "explode"}, "fault"),
        ("POST", "faults", [{"fault": "reset_after"}, {"fault": "slow"}], "1"),
    ],
)
async def test_control_reports_validation_errors_with_their_paths(
    control: httpx.AsyncClient, method: str, path: str, body: Any, where: str
) -> None:
    response = await control.request(method, path, json=body)
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert error["path"] == where
    assert error["message"]


@pytest.mark.parametrize("keys", [{}, {"": "demo"}, {"with space": "demo"}, {'quo"te': "demo"}])
def test_key_that_no_header_could_hold_is_rejected(keys: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="keys"):
        FakeDialpad(keys=keys)


async def test_serving_rejects_hosts_other_than_loopback(double: FakeDialpad) -> None:
    with pytest.raises(ValueError, match="loopback"):
        async with serving(double, "0.0.0.0"):
            pass


async def test_tcp_nodelay_avoids_the_delay_of_nagles_algorithm(double: FakeDialpad) -> None:
    async with over_http(double) as wire:
        for _ in range(100):
            started = time.perf_counter()
            await wire.patch(MUSIC, json=TO_SUMMER)
            if time.perf_counter() - started < 0.03:  # with Nagle's algorithm each would take 0.04
                return
    pytest.fail("every round trip took 0.03 s or more")
