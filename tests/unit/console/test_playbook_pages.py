"""The pages of playbooks: a button rehearses one, the page says what would change, and a confirmation starts it."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.provisioning import playbooks
from dialpad_ivr.provisioning.playbooks import Playbook
from dialpad_ivr.testing.double import DoubleControl
from support.console import text_of
from support.playbooks import ID, an_override, with_a_guard
from support.runs import CHANGE
from support.stub import StubEngine

ROW = {
    "line": 2,
    "target_type": "callcenter",
    "target": "Support",
    "office": "Head office",
    "ivr_type": "HOLD_MUSIC",
    "ivr": "Summer hold music",
}


@pytest.fixture
def engine(stub_engine: StubEngine) -> StubEngine:
    return with_a_guard(stub_engine)


def saved(api: EngineApi, *rows: dict[str, Any], **more: Any) -> None:
    """Save the playbook snow-day."""
    playbooks.save(api, Playbook("snow-day", rows or (ROW,), **{"lasts": "12h", "zone": "Europe/Berlin", **more}))


def started(engine: StubEngine) -> list[dict[str, Any]]:
    """The inputs of the overrides that were started."""
    return [request.body["input"] for request in engine.writes if request.path == "/api/workflow"]


def fields(page: str) -> dict[str, str]:
    """The fields of the form that starts it."""
    form = page.partition('<form method="post" action="/playbooks/snow-day/')[2].partition("</form>")[0]
    return {
        name: value
        for tag in re.findall(r"<input[^>]*>", form)
        for name in re.findall(r' name="(\w+)"', tag)
        for value in re.findall(r' value="([^"]*)"', tag)
    }


async def rehearsed(client: httpx.AsyncClient) -> httpx.Response:
    answer = await client.post("/playbooks/snow-day")
    while "data-poll" in answer.text:
        await asyncio.sleep(0.05)
        answer = await client.get(str(answer.url))
    return answer


async def test_list_has_a_button_for_each(on_engine: httpx.AsyncClient, engine: StubEngine, api: EngineApi) -> None:
    assert "No playbooks yet." in text_of((await on_engine.get("/playbooks")).text)
    saved(api, approval=True)
    page = (await on_engine.get("/playbooks")).text
    for part in ("snow-day", "12h", "a person is asked", "callcenter Support, Head office: HOLD_MUSIC Summer hold"):
        assert part in text_of(page)
    assert '<form method="post" action="/playbooks/snow-day">' in page


async def test_its_button_rehearses_it_and_says_what_would_change_until_when_and_who_is_asked(
    on_engine: httpx.AsyncClient, engine: StubEngine, api: EngineApi, double: DoubleControl
) -> None:
    saved(api)
    writes = len(engine.writes)
    page = (await rehearsed(on_engine)).text
    text = text_of(page)
    assert "Start snow-day now?" in text
    assert "1 target would change, in 1 slot." in text
    assert "Nobody is asked to approve it" in text
    shown = re.search(r"until (\S+ \S+) [+-]\d\d:\d\d \(Europe/Berlin\)", text)
    assert shown
    assert "12h from the start" in text
    assert "Winter hold music" in text
    assert "Summer hold music" in text
    assert [line["method"] for line in double.ledger()] == ["GET"] * len(double.ledger())
    assert len(engine.writes) == writes
    form = fields(page)
    assert (form["lasts"], form["end_zone"]) == ("12h", "Europe/Berlin")


async def test_who_is_asked_to_approve_it_and_who_is_told_is_said(
    on_engine: httpx.AsyncClient, engine: StubEngine, api: EngineApi
) -> None:
    saved(api, approval=True, notify="ops_chat")
    answer = await rehearsed(on_engine)
    assert "A person is asked first" in text_of(answer.text)
    assert "ops_chat is told what was made" in text_of(answer.text)
    assert "dialpad-ivr approve" in answer.text
    await on_engine.post(str(answer.url), data={**fields(answer.text), "reason": "snow"})
    (inputs,) = started(engine)
    assert (inputs["approval"], inputs["notify"]) == (True, "ops_chat")


async def test_confirmed_with_a_reason_it_is_started_once_and_its_override_is_shown(
    on_engine: httpx.AsyncClient, engine: StubEngine, api: EngineApi
) -> None:
    saved(api, max_failures="5%", domain="eu")
    answer = await rehearsed(on_engine)
    for reason in ("", "  "):
        refused = await on_engine.post(str(answer.url), data={**fields(answer.text), "reason": reason})
        assert refused.status_code == 422
        assert "say why, for the record" in refused.text
    assert started(engine) == []
    form = {**fields(answer.text), "reason": "snow"}
    for _ in range(2):  # whoever presses it twice
        done = await on_engine.post(str(answer.url), data=form)
        assert done.url.path == f"/overrides/{ID}"
    (inputs,) = started(engine)
    assert (inputs["reason"], inputs["max_failures"], inputs["domain"]) == ("snow", "5%", "eu")
    assert "@" in inputs["requested_by"]
    (change,) = inputs["changes"]
    assert change["target_id"] == CHANGE["target_id"]
    until = datetime.fromisoformat(inputs["until"].replace("Z", "+00:00"))
    assert abs(until - datetime.now(timezone.utc) - timedelta(hours=12)) < timedelta(minutes=5)


async def test_another_end_is_shown_before_it_is_confirmed(
    on_engine: httpx.AsyncClient, engine: StubEngine, api: EngineApi
) -> None:
    saved(api)
    answer = await rehearsed(on_engine)
    form = {**fields(answer.text), "reason": "snow", "until": "2030-01-02T08:00", "end_zone": "America/New_York"}
    again = await on_engine.post(str(answer.url), data=form)
    assert "From now until 2030-01-02 08:00 -05:00 (America/New_York)." in text_of(again.text)
    assert "Press Start to confirm it." in again.text
    assert started(engine) == []
    await on_engine.post(str(answer.url), data=fields(again.text))
    assert [inputs["until"] for inputs in started(engine)] == ["2030-01-02T13:00:00Z"]


@pytest.mark.parametrize("same", [{"end_zone": "Etc/UTC"}, {"lasts": "720m"}, {"lasts": " 12 H", "end_zone": "UTC"}])
async def test_the_same_end_written_otherwise_is_confirmed_once(
    on_engine: httpx.AsyncClient, engine: StubEngine, api: EngineApi, same: dict[str, str]
) -> None:
    saved(api)
    answer = await rehearsed(on_engine)
    await on_engine.post(str(answer.url), data={**fields(answer.text), "reason": "snow", **same})
    assert len(started(engine)) == 1


async def test_an_end_that_was_shown_in_one_zone_is_the_same_in_another(
    on_engine: httpx.AsyncClient, engine: StubEngine, api: EngineApi
) -> None:
    saved(api)
    answer = await rehearsed(on_engine)
    form = {**fields(answer.text), "reason": "snow", "until": "2030-01-02T08:00", "end_zone": "UTC"}
    again = fields((await on_engine.post(str(answer.url), data=form)).text)
    assert started(engine) == []
    await on_engine.post(str(answer.url), data={**again, "until": "2030-01-02T09:00", "end_zone": "Europe/Berlin"})
    assert [inputs["until"] for inputs in started(engine)] == ["2030-01-02T08:00:00Z"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lasts": "12x"}, "is no duration"),
        ({"lasts": ""}, "say how long it lasts"),
        ({"until": "2020-01-01T00:00"}, "in the past"),
        ({"end_zone": "Europe/Berlim"}, "Did you mean Europe/Berlin?"),
    ],
)
async def test_what_is_wrong_with_the_end_is_shown_and_nothing_is_started(
    on_engine: httpx.AsyncClient, engine: StubEngine, api: EngineApi, wrong: dict[str, str], said: str
) -> None:
    saved(api)
    answer = await rehearsed(on_engine)
    refused = await on_engine.post(str(answer.url), data={**fields(answer.text), "reason": "snow", **wrong})
    assert refused.status_code == 422
    assert said in refused.text
    assert started(engine) == []


async def test_rows_that_could_not_be_are_shown_each_with_its_reason_and_it_cannot_be_started(
    on_engine: httpx.AsyncClient, engine: StubEngine, api: EngineApi
) -> None:
    saved(api, ROW, {**ROW, "line": 3, "ivr_type": "GREETING", "ivr": "No such greeting"})
    answer = await rehearsed(on_engine)
    text = text_of(answer.text)
    assert "snow-day cannot be started now" in text
    assert "missing IVR" in text
    assert "No such greeting" in text
    assert 'name="reason"' not in answer.text
    await on_engine.post(str(answer.url), data={"reason": "snow", "confirmed": "x"})
    assert started(engine) == []


async def test_names_that_mean_no_target_are_told(
    on_engine: httpx.AsyncClient, engine: StubEngine, api: EngineApi
) -> None:
    saved(api, {**ROW, "target": "Suport"})
    text = text_of((await rehearsed(on_engine)).text)
    assert "cannot be started now" in text
    assert "Suport" in text


async def test_where_all_is_selected_already_there_is_nothing_to_start(
    on_engine: httpx.AsyncClient, engine: StubEngine, api: EngineApi
) -> None:
    saved(api, {**ROW, "ivr": "Winter hold music"})
    page = (await rehearsed(on_engine)).text
    assert "There is nothing to change" in text_of(page)
    assert 'name="reason"' not in page


async def test_another_override_of_a_slot_is_named_and_in_the_way(
    on_engine: httpx.AsyncClient, engine: StubEngine, api: EngineApi
) -> None:
    saved(api)
    answer = await rehearsed(on_engine)
    engine.runs[ID] = [an_override(CHANGE["target_id"])]
    refused = await on_engine.post(str(answer.url), data={**fields(answer.text), "reason": "snow"})
    assert f"Override {ID} has callcenter" in refused.text
    assert "End the other one first." in refused.text
    assert started(engine) == []


async def test_while_it_is_read_the_page_says_how_far_and_asks_again(
    on_engine: httpx.AsyncClient,
    engine: StubEngine,
    api: EngineApi,
    double: DoubleControl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved(api)
    monkeypatch.setattr("dialpad_ivr.console.playbook_pages._WAIT_SECONDS", 0.0)
    answer = await on_engine.post("/playbooks/snow-day")
    assert f'data-poll="{answer.url.path}"' in answer.text
    assert "Refresh" in answer.text
    early = await on_engine.post(str(answer.url), data={"reason": "snow"})
    assert "data-poll" in early.text
    assert started(engine) == []
    part: httpx.Response | None = None
    while part is None or "data-poll" in part.text:
        await asyncio.sleep(0.05)
        part = await on_engine.get(str(answer.url), headers={"x-part": "rehearsal"})
    assert "Start snow-day now?" in text_of(part.text)
    assert "<html" not in part.text


async def test_what_was_read_a_while_ago_is_read_again(
    on_engine: httpx.AsyncClient, engine: StubEngine, api: EngineApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(api)
    answer = await rehearsed(on_engine)
    monkeypatch.setattr("dialpad_ivr.console.playbook_pages._FRESH_SECONDS", 0.0)
    refused = await on_engine.post(str(answer.url), data={**fields(answer.text), "reason": "snow"})
    assert "Rehearse it again." in refused.text
    assert started(engine) == []


async def test_links_rehearse_and_start_nothing_and_unknown_ones_are_not_found(
    on_engine: httpx.AsyncClient, engine: StubEngine, api: EngineApi, double: DoubleControl
) -> None:
    saved(api)
    assert (await on_engine.get("/playbooks/snow-day")).status_code == 405
    assert double.ledger() == []
    unknown = await on_engine.post("/playbooks/snow-dya")
    assert unknown.status_code == 404
    assert "Did you mean snow-day?" in text_of(unknown.text)
    answer = await rehearsed(on_engine)
    token = answer.url.path.rpartition("/")[2]
    for path in ("/playbooks/snow-day/none", f"/playbooks/another/{token}"):
        assert (await on_engine.get(path)).status_code == 404
    await on_engine.get(str(answer.url), params={**fields(answer.text), "reason": "snow"})
    assert started(engine) == []


async def test_an_error_of_the_engine_is_shown_and_the_start_may_be_tried_again(
    on_engine: httpx.AsyncClient, engine: StubEngine, api: EngineApi
) -> None:
    saved(api)
    answer = await rehearsed(on_engine)
    form = {**fields(answer.text), "reason": "snow"}
    runs, engine.runs = engine.runs, {}
    failed = await on_engine.post(str(answer.url), data=form)
    assert failed.status_code == 422
    assert "answered 404" in failed.text
    engine.runs = runs
    assert (await on_engine.post(str(answer.url), data=form)).url.path == f"/overrides/{ID}"


async def test_without_an_engine_the_pages_say_so(client: httpx.AsyncClient) -> None:
    assert "No Conductor server answers" in text_of((await client.get("/playbooks")).text)
    assert (await client.post("/playbooks/snow-day")).status_code == 503
