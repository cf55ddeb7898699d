"""Ids chosen by name: the list that a field's combobox shows, and the name that stands beside an id."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx
import pytest

from dialpad_ivr.console import lists
from dialpad_ivr.contract.values import LIST_TASK_TYPE, TARGETS_TASK_TYPE, TASK_TYPE
from dialpad_ivr.credentials import KEY_NAME
from dialpad_ivr.testing.double import DoubleControl
from support.console import APPLY, CONFIRMATION, EXAMPLE, PAGE, PART, text_of
from support.stub import StubEngine

USERS = {"target_type": "user"}


async def choices(client: httpx.AsyncClient, field: str, task_type: str = TASK_TYPE, **form: str) -> str:
    """The list of a field, as the browser fetches it."""
    url = f"/tasks/{task_type}/choices/{field}"
    return (await client.post(url, data=form, headers={"x-part": "choices"})).text


def options(part: str) -> list[tuple[str, str]]:
    """The id and the text of each option."""
    found = re.findall(r'<li role="option"[^>]* data-id="(\d+)"[^>]*>(.*?)</li>', part)
    return [(id_, text_of(text).strip()) for id_, text in found]


def paths(double: DoubleControl) -> list[str]:
    return [line["path"] for line in double.ledger()]


async def test_a_field_without_a_list_has_none(client: httpx.AsyncClient) -> None:
    for path in (f"/tasks/{LIST_TASK_TYPE}/choices/ivr_id", f"{PAGE}/choices/mode", "/tasks/nothing/choices/target_id"):
        assert (await client.post(path, headers={"x-part": "choices"})).status_code == 404


async def test_pages_read_no_list_by_themselves(client: httpx.AsyncClient, double: DoubleControl) -> None:
    page = (await client.get(PAGE)).text
    await client.post(PAGE, data={**EXAMPLE, "do": "check"})
    assert re.findall(r'data-choose="(\w+)"', page) == ["target_id", "ivr_id"]
    assert paths(double) == []


async def test_a_target_is_found_by_name_office_or_id(client: httpx.AsyncClient) -> None:
    for text in ("support berl", "BERLIN Supp", "5502522061422612"):
        part = await choices(client, "target_id", target_type="callcenter", filter=text)
        assert options(part) == [("5502522061422612", "Support Berlin Berlin 5502522061422612")], text
        assert "1 of 6 call centers." in text_of(part)


async def test_homonyms_are_told_apart_by_their_offices(client: httpx.AsyncClient) -> None:
    part = await choices(client, "target_id", target_type="department", filter="sales")
    assert [text for _, text in options(part)] == [
        "Sales Head office 5502522061422601",
        "Sales Berlin 5502522061422613",
        "Sales Lisbon 5502522061422633",
    ]


async def test_names_that_begin_with_the_text_come_first(client: httpx.AsyncClient, double: DoubleControl) -> None:
    named = {"1": "A room of Kim", "2": "kimono", "3": "Rooms"}
    double.set_state(*({"target_type": "room", "target_id": id_, "name": name} for id_, name in named.items()))
    part = await choices(client, "target_id", target_type="room", filter="KIM")
    assert [id_ for id_, _ in options(part)] == ["2", "1"]


async def test_a_long_list_shows_50_and_counts_the_others(client: httpx.AsyncClient, double: DoubleControl) -> None:
    double.set_state(*({**USERS, "target_id": str(number), "name": f"User {number}"} for number in range(1, 1201)))
    part = await choices(client, "target_id", **USERS)
    assert len(options(part)) == 50
    assert "50 of 1,200 users shown, 1,150 more: type more of the name." in text_of(part)


async def test_a_list_is_read_once_for_all_letters_that_are_typed(
    client: httpx.AsyncClient, double: DoubleControl
) -> None:
    for text in ("", "k", "ki", "kim"):
        assert options(await choices(client, "target_id", filter=text, **USERS))
    assert paths(double) == ["/api/v2/users", "/api/v2/offices"]


async def test_ivrs_are_read_again_whenever_their_list_is_opened(
    client: httpx.AsyncClient, double: DoubleControl
) -> None:
    form = {**EXAMPLE, "opening": "", "filter": "summer"}
    assert "selected" not in str(options(await choices(client, "ivr_id", **form)))
    confirmation = (await client.post(PAGE, data=APPLY, headers=PART)).text
    confirmed = CONFIRMATION.search(confirmation)
    assert confirmed
    await client.post(PAGE, data={**APPLY, "confirmed": confirmed[1]}, headers=PART)
    reads = len(paths(double))
    assert "selected" in str(options(await choices(client, "ivr_id", **form)))
    await choices(client, "ivr_id", **EXAMPLE)
    assert len(paths(double)) == reads + 1


async def test_a_list_is_read_again_when_it_is_old(
    client: httpx.AsyncClient, double: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    await choices(client, "target_id", target_type="channel")
    monkeypatch.setattr(lists, "_KEPT_SECONDS", -1.0)
    await choices(client, "target_id", target_type="channel")
    assert paths(double) == ["/api/v2/channels"] * 2


async def test_a_slow_list_is_read_on_and_fetched_again(
    client: httpx.AsyncClient, double: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    double.configure(latency=0.2)
    monkeypatch.setattr(lists, "_WAIT_SECONDS", 0.01)
    part = await choices(client, "target_id", target_type="channel")
    assert "Reading the channels ..." in part
    assert options(part) == []
    while "data-again" in part:
        part = await choices(client, "target_id", target_type="channel")
    assert len(options(part)) == 2
    assert paths(double) == ["/api/v2/channels"]


async def test_a_refused_list_names_the_call_and_is_not_asked_for_with_each_letter(
    client: httpx.AsyncClient, double: DoubleControl
) -> None:
    double.add_faults({"match": {"target_type": "user"}, "fault": "status", "status": 403, "times": None})
    for text in ("", "k", "ki"):
        part = await choices(client, "target_id", filter=text, **USERS)
        assert "GET /api/v2/users: Dialpad answered 403" in text_of(part)
        assert "Type the id instead." in part
        assert options(part) == []
    assert paths(double) == ["/api/v2/users"]


async def test_a_list_that_breaks_off_is_not_shown(client: httpx.AsyncClient, double: DoubleControl) -> None:
    double.configure(page_size=2)
    double.add_faults(
        {"match": {"target_type": "callcenter"}, "fault": "status", "status": 403, "skip": 1, "times": None}
    )
    part = await choices(client, "target_id", target_type="callcenter")
    assert options(part) == []
    assert "GET /api/v2/callcenters: " in text_of(part)


async def test_offices_that_cannot_be_read_are_shown_by_id(client: httpx.AsyncClient, double: DoubleControl) -> None:
    double.add_faults({"match": {"target_type": "office"}, "fault": "status", "status": 403, "times": None})
    part = await choices(client, "target_id", target_type="department", filter="5502522061422613")
    assert options(part) == [("5502522061422613", "Sales 5502522061422610 5502522061422613")]
    assert "The names of the offices could not be read. GET /api/v2/offices: " in text_of(part)


@pytest.mark.parametrize("target_type", ["staffgroup", "coachinggroup", "unknown"])
async def test_a_type_without_a_list_asks_for_the_id(
    client: httpx.AsyncClient, double: DoubleControl, target_type: str
) -> None:
    part = await choices(client, "target_id", target_type=target_type)
    assert f"Dialpad documents no list of targets of type {target_type}. Type the id instead." in text_of(part)
    assert paths(double) == []


@pytest.mark.parametrize(
    ("field", "form", "message"),
    [
        ("target_id", {}, "target_type is missing."),
        ("target_id", {"target_type": "callcentre"}, 'Did you mean "callcenter"?'),
        ("ivr_id", {"target_type": "callcenter"}, "target_id is missing."),
        ("ivr_id", {**EXAMPLE, "ivr_type": "HOLD"}, "ivr_type is"),
        ("target_id", {"target_type": "user", "credential": "sk-LIVE-0123456789abcdef"}, "credential is"),
    ],
)
async def test_a_field_that_the_list_depends_on_is_named(
    client: httpx.AsyncClient, double: DoubleControl, field: str, form: dict[str, str], message: str
) -> None:
    part = await choices(client, field, **{**form, "mode": "plan"})
    assert message in text_of(part)
    assert "sk-LIVE" not in part
    assert paths(double) == []


async def test_ivrs_are_those_of_the_target_and_slot_with_the_selected_one(client: httpx.AsyncClient) -> None:
    part = await choices(client, "ivr_id", **{**EXAMPLE, "ivr_id": ""})
    assert options(part) == [
        ("5127493019721728", "Summer hold music HOLD_MUSIC 5127493019721728"),
        ("5127493019721729", "Winter hold music HOLD_MUSIC selected 5127493019721729"),
    ]


async def test_without_a_slot_all_ivrs_are_listed_each_with_its_slot(client: httpx.AsyncClient) -> None:
    part = await choices(client, "ivr_id", **{**EXAMPLE, "ivr_type": "", "filter": "closed holidays"})
    assert options(part) == [("5127493019721760", "Closed for the holidays CLOSED 5127493019721760")]
    assert 'data-ivr-type="CLOSED"' in part


async def test_ivrs_that_cannot_be_listed_name_the_call(client: httpx.AsyncClient) -> None:
    part = await choices(client, "ivr_id", **{**EXAMPLE, "target_id": "404"})
    assert "GET /api/v2/customivrs: " in text_of(part)


async def test_an_office_is_chosen_where_targets_are_listed(client: httpx.AsyncClient) -> None:
    part = await choices(client, "office", TARGETS_TASK_TYPE, target_type="user", filter="lis")
    assert options(part) == [("5502522061422630", "Lisbon 5502522061422630")]


async def test_hostile_names_are_escaped_isolated_and_shortened(
    client: httpx.AsyncClient, double: DoubleControl
) -> None:
    names = {"7": '\u202e"><script>alert(1)</script>', "8": "x" * 10_000, "9": "שלום & goodbye"}
    double.set_state(*({"target_type": "channel", "target_id": id_, "name": name} for id_, name in names.items()))
    part = await choices(client, "target_id", target_type="channel")
    for id_ in names:
        page = (await client.get(PAGE, params={"target_type": "channel", "target_id": id_})).text
        table = (await client.get("/targets", params={"target_type": "channel"}, headers={"x-part": "targets"})).text
        for text in (part, page, table):
            assert "<script>alert" not in text
            assert "x" * 101 not in text
    assert "<bdi>\u202e&#34;&gt;&lt;script&gt;" in part
    assert f"<bdi>{'x' * 100}…</bdi>" in part
    assert "<bdi>שלום &amp; goodbye</bdi>" in part


async def test_a_name_stands_beside_an_id_once_its_list_was_read(
    client: httpx.AsyncClient, double: DoubleControl
) -> None:
    def known(page: str) -> dict[str, str]:
        found = re.findall(r'<template data-name="(\w+)">(.*?)</template>', page)
        return {name: text_of(text).strip() for name, text in found}

    assert known((await client.get(PAGE)).text) == {}
    await choices(client, "target_id", **EXAMPLE)
    await choices(client, "ivr_id", **EXAMPLE)
    reads = len(paths(double))
    page = (await client.get(PAGE)).text
    assert known(page) == {"target_id": "Support ( Head office )", "ivr_id": "Summer hold music"}
    assert 'id="name-target_id"><bdi>Support</bdi>' in page
    assert known((await client.post(PAGE, data={**EXAMPLE, "target_id": "1"})).text) == {}
    confirmation = text_of((await client.post(PAGE, data=APPLY, headers=PART)).text)
    assert f"callcenter Support ({EXAMPLE['target_id']}) to Summer hold music (" in confirmation
    assert len(paths(double)) == reads


async def test_a_missing_key_says_where_it_is_looked_for(
    client: httpx.AsyncClient, double: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_NAME)
    assert KEY_NAME in await choices(client, "target_id", **USERS)
    assert KEY_NAME in await choices(client, "ivr_id", **EXAMPLE)
    assert paths(double) == []


async def test_without_the_key_a_worker_reads_and_its_part_is_not_shown_as_all(
    on_engine: httpx.AsyncClient, double: DoubleControl, stub_engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_NAME)
    targets = [{"id": str(number), "name": f"User {number}", "office": None} for number in range(1, 501)]
    output: dict[str, Any] = {"outcome": "listed", "ok": True, "targets": targets}
    task = {"taskId": "t", "taskDefName": TARGETS_TASK_TYPE, "status": "COMPLETED", "outputData": output}
    running = {"workflowId": "w1", "status": "RUNNING", "tasks": [{**task, "status": "SCHEDULED", "outputData": {}}]}
    stub_engine.runs["w1"] = [running, running, {**running, "status": "COMPLETED", "tasks": [task]}]
    monkeypatch.setattr("dialpad_ivr.console.test_requests._INITIAL_WAIT_SECONDS", 0)
    monkeypatch.setattr(lists, "_POLL_SECONDS", 0)
    text = text_of(await choices(on_engine, "target_id", filter="user", **USERS))
    assert "50 of 500 users shown, 450 more: type more of the name. Not all: the worker listed the first 500" in text
    page = text_of((await on_engine.get("/targets", params=USERS)).text)
    assert "not all The worker listed the first 500 only. Read" in html.unescape(page)
    assert "through the engine" in page
    assert [request.body["name"] for request in stub_engine.writes] == ["list_targets_test_request"]
    assert paths(double) == []


async def test_without_the_key_the_engines_refusal_is_shown(
    on_engine: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_NAME)
    assert "dialpad-ivr register" in text_of(await choices(on_engine, "target_id", **USERS))
