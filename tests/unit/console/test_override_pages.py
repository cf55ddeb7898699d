"""The pages of overrides: the list, one with both halves, what ends, extends or cancels it, and its report."""

from __future__ import annotations

import csv
import io
import re
import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import anyio
import httpx
import pytest

from dialpad_ivr.engine.api import EngineError
from dialpad_ivr.provisioning.overrides import RESTORE, WORKFLOW
from dialpad_ivr.provisioning.times import milliseconds
from support.console import CONFIRMATION, text_of
from support.override_states import (
    NOT_SENT,
    XMAS,
    decided,
    ended,
    half,
    not_made,
    notification,
    override,
    repaired,
)
from support.runs import CHANGE, OLD
from support.stub import StubEngine

BERLIN = {"zone": "Europe/Berlin"}
BROKEN_OFF = {"phase": "active", "outcome": None}


@pytest.fixture
def known(stub_engine: StubEngine) -> StubEngine:
    """The engine with the workflow registered."""
    stub_engine.definitions = {(WORKFLOW, "1"): {}, (RESTORE, "1"): {}}
    return stub_engine


def active(known: StubEngine, **more: Any) -> None:
    """Give the engine an active override whose change was made."""
    task, runs = half("apply", "updated", "a1")
    known.runs = {"o1": [override("active", **more)], **runs}
    known.runs["o1"][0]["tasks"].append(task)


def section(page: str, name: str) -> list[list[str]]:
    """The cells of a section of the list, or of a table of a page."""
    table = page.partition(f'aria-label="{name}"')[2].partition("</table>")[0]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", table, re.DOTALL)[1:]
    return [[text_of(cell).strip() for cell in re.findall(r"<t[dh].*?</t[dh]>", row, re.DOTALL)] for row in rows]


# ---- the list


async def test_list_shows_active_planned_not_restored_and_past_ones_in_the_chosen_zone(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    known.runs = {
        "search": [{}],
        "o1": [override("active", "o1", "snow")],
        "o2": [override("planned", "o2", "Easter")],
        **ended("updated", "updated", "success", "o3"),
        **ended("updated", None, "broken_off", "o4", output=BROKEN_OFF),
        **ended("updated", "updated", "broken_off", "o5", output=BROKEN_OFF),
        **ended("updated", "unauthorized", "not_restored", "o6", left=1),
        **ended("updated", "conflict", "not_restored", "o7", left=1),
    }
    page = (await on_engine.get("/overrides", params=BERLIN)).text
    ((reason, state, begin, until, slots, by),) = section(page, "Active")
    assert (reason, state, by) == ("snow o1", "active", "ann@desk")
    assert (begin, until) == ("2027-12-24 18:00 +01:00", "2027-12-27 08:00 +01:00")
    assert slots == "1 1 callcenter: HOLD_MUSIC"
    assert [row[:2] for row in section(page, "Planned")] == [["Easter o2", "planned"]]
    assert [row[:2] for row in section(page, "Not restored")] == [
        ["Christmas o4", "broken off"],
        ["Christmas o6", "not restored"],
    ]
    assert sorted(row[:2] for row in section(page, "Past")) == [
        ["Christmas o3", "success"],
        ["Christmas o5", "broken off"],  # which is restored by now
        ["Christmas o7", "not restored"],  # since a person had changed it
    ]
    assert f'data-countdown="{XMAS["until_ms"]}"' in page
    assert 'href="/overrides/o1?zone=Europe%2FBerlin"' in page
    assert "Times are in Europe/Berlin" in text_of(page)
    await on_engine.get("/overrides", params=BERLIN)
    reads = [request.path for request in known.stub.received]
    assert reads.count("/api/workflow/o3") == 1  # what has ended stays as it is
    assert known.writes == []


async def test_list_leaves_out_what_was_removed_though_the_index_lists_it(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    known.runs = {"search": [{}], **ended("updated", "updated", "success", "o3"), "o1": [override("active", "o1")]}
    known.runs |= ended("updated", "updated", "success", "o2")
    known.removed = {"o1", "o3"}
    page = (await on_engine.get("/overrides")).text
    assert [row[0] for row in section(page, "Past")] == ["Christmas o2"]
    assert "o1" not in page
    assert "unavailable" not in text_of(page)


async def test_zone_is_this_machines_by_default_and_a_wrong_one_is_told(
    on_engine: httpx.AsyncClient, known: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    known.runs = {"o1": [override("planned")]}
    assert "2027-12-25 02:00 +09:00" in text_of((await on_engine.get("/overrides")).text)
    page = text_of((await on_engine.get("/overrides", params={"zone": "Europe/Berlim"})).text)
    assert "Did you mean Europe/Berlin?" in page
    assert "2027-12-25 02:00 +09:00" in page


async def test_without_an_engine_the_pages_say_so(client: httpx.AsyncClient) -> None:
    assert "No Conductor server answers" in text_of((await client.get("/overrides")).text)
    answer = await client.get("/overrides/o1")
    assert answer.status_code == 503
    assert "No Conductor server answers" in text_of(answer.text)
    part = await client.get("/overrides/o1?page=2", headers={"x-part": "override"})
    assert 'data-poll="/overrides/o1?page=2"' in part.text
    assert "Retrying." in part.text


# ---- one


async def test_page_of_one_shows_both_halves_and_what_is_left_first(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    known.runs = ended("updated", "conflict", "not_restored")
    page = (await on_engine.get("/overrides/o1", params=BERLIN)).text
    text = text_of(page)
    for part in (
        "not restored 1 overridden",
        "Began 2027-12-24 18:00:02 +01:00",
        "1 of 1 slots was not restored",
        "ann@desk",
    ):
        assert part in text
    (line, target, slot, meanwhile, before, made, restored), (_, first), (_, second) = section(page, "Slots")
    assert (line, target, slot) == ("2", f"Support callcenter {CHANGE['target_id']}", "HOLD_MUSIC")
    assert (meanwhile, before) == (f"Summer {CHANGE['ivr_id']}", f"Winter {OLD}")
    assert (made, restored) == ("updated", "conflict")
    assert (first, second) == ("about apply", "about restore")
    assert "data-poll" not in page
    assert "/end" not in page
    assert "/extend" not in page


async def test_page_of_one_says_that_people_were_not_told_and_asks_again_while_they_are_being_told(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    known.runs = ended("updated", "updated", "success")
    for status, said, polls in (("RUNNING", False, True), ("FAILED", True, False), ("COMPLETED", False, False)):
        task, found = notification("restored", status)
        known.runs["o1"][0]["tasks"][2:] = [task]
        known.runs["n1"] = [found]
        page = (await on_engine.get("/overrides/o1", params=BERLIN)).text
        assert ("not told People were not told about the end of this override, as of 2027" in text_of(page)) == said
        assert (NOT_SENT in page) == said
        assert ("data-poll" in page) == polls


@pytest.mark.parametrize(
    ("state", "actions", "due"),
    [
        ("approval", ["approve", "cancel"], str(XMAS["until_ms"])),
        ("planned", ["extend", "cancel"], str(XMAS["from_ms"])),
        ("applying", ["end", "extend"], None),
        ("active", ["end", "extend"], str(XMAS["until_ms"])),
        ("restoring", [], None),
    ],
)
async def test_page_offers_what_can_be_done_in_each_state(
    on_engine: httpx.AsyncClient, known: StubEngine, state: str, actions: list[str], due: str | None
) -> None:
    known.runs = {"o1": [override(state)]}
    page = (await on_engine.get("/overrides/o1")).text
    assert re.findall(r'id="do-(\w+)"', page) == actions
    assert re.findall(r'data-due="(\w+)"', page) == ([due] if due else [])
    assert 'data-poll="/overrides/o1?' in page


@pytest.mark.parametrize(
    ("restored", "again", "state"),
    [("unauthorized", "updated", "restored since"), ("not_found", "conflict", "settled by hand")],
)
async def test_what_was_restored_or_settled_since_is_past_and_is_not_said_to_be_left(
    on_engine: httpx.AsyncClient, known: StubEngine, restored: str, again: str, state: str
) -> None:
    known.runs = {"search": [{}], **repaired(restored, again)}
    listed, page = [(await on_engine.get(path)).text for path in ("/overrides", "/overrides/o1")]
    assert [row[:2] for row in section(listed, "Past")] == [["Christmas o1", state]]
    assert f"{state} 1 of 1 changes made; {int(again == 'updated')} of 1 restored" in text_of(page)
    assert "not restored" not in text_of(listed) + text_of(page)
    assert 'badge bad">' not in listed


async def test_page_of_one_says_what_was_not_made_and_what_people_decided(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    known.runs = not_made("unauthorized", "active")
    approval = decided("approval", XMAS["from_ms"], approved=True, by="bob@desk", reason="<checked>")
    known.runs["o1"][0]["tasks"].append(approval)
    page = (await on_engine.get("/overrides/o1", params=BERLIN)).text
    assert '<span class="badge warn">active, 1 of 1 not made</span>' in page
    assert "1 of 1 slots was not changed. They stand first below" in text_of(page)
    assert "<dt>Approved</dt><dd><bdi>2027-12-24 18:00 +01:00 by bob@desk: &lt;checked&gt;</bdi>" in page


async def test_page_of_one_that_lasts_until_it_is_ended_is_polled_seldom(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    active(known, variables={"phase": "active", "from_ms": XMAS["from_ms"]})
    page = (await on_engine.get("/overrides/o1")).text
    assert "until it is ended" in text_of(page)
    assert 'data-due="Infinity"' in page
    assert "data-countdown" not in page


async def test_slots_of_a_large_one_are_paged(on_engine: httpx.AsyncClient, known: StubEngine) -> None:
    rows = [{**CHANGE, "target_id": str(number), "note": {"line": number}} for number in range(1, 251)]
    known.runs = {"o1": [override("planned", input={"changes": rows, "reason": "many"})]}
    pages = [(await on_engine.get("/overrides/o1", params={"page": page})).text for page in ("1", "2", "99", "-1")]
    assert [len(section(page, "Slots")) for page in pages] == [100, 100, 50, 100]
    assert section(pages[1], "Slots")[0][0] == "101"


async def test_names_are_escaped_and_ids_are_quoted_in_links(on_engine: httpx.AsyncClient, known: StubEngine) -> None:
    evil = "\u202e<img src=x>"
    note = {"line": 2, "previous": [{"id": evil, "name": evil}], "ivr_name": evil, "target_name": evil}
    change = {**CHANGE, "target_type": evil, "target_id": evil, "ivr_type": evil, "ivr_id": evil, "note": note}
    inputs = {"changes": [change], "reason": evil, "requested_by": evil, "inside": evil}
    odd = override("planned", 'a/../"b', input=inputs)
    known.runs = {"a%2F..%2F%22b": [odd], "o1": [odd]}
    for path in ("/overrides", "/overrides/o1", "/overrides/o1/cancel", "/overrides/o1/report"):
        answer = await on_engine.get(path)
        assert answer.status_code == 200, path
        assert "<img src=x" not in answer.text, path
        assert 'a/../"b' not in answer.text, path
        assert 'href="/overrides/a/' not in answer.text, path
    page = (await on_engine.get("/overrides/o1")).text
    assert "<bdi>\u202e&lt;img src=x&gt;</bdi>" in page
    assert 'href="/overrides/a%2F..%2F%22b/cancel?' in page


async def test_an_override_of_another_shape_does_not_break_its_page(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    rows = [7, {"note": {"previous": "x", "line": "y"}}, {"note": {"previous": [3]}}, {**CHANGE, "note": []}]
    known.runs = {"o1": [override("planned", input={"changes": rows})]}
    for path in ("/overrides", "/overrides/o1", "/overrides/o1/report", "/overrides/o1/cancel"):
        assert (await on_engine.get(path)).status_code == 200, path


async def test_unknown_ones_and_other_workflows_are_not_found(on_engine: httpx.AsyncClient, known: StubEngine) -> None:
    known.runs = {"w1": [{"workflowId": "w1", "workflowName": "another", "status": "RUNNING"}]}
    assert "not an override" in (await on_engine.get("/overrides/w1")).text
    for path in ("/overrides/w1", "/overrides/nope", "/overrides/nope/end", "/overrides/nope/report", "/overrides/x/y"):
        assert (await on_engine.get(path)).status_code == 404, path


# ---- what a person can do


async def test_end_says_how_many_slots_are_restored_and_does_it_once_confirmed(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    active(known)
    question = (await on_engine.get("/overrides/o1/end")).text
    assert "1 slot is restored now to what it had before." in text_of(question)
    for wrong in ({}, {"confirmed": "yes"}):
        again = await on_engine.post("/overrides/o1/end", data={**wrong, "reason": "melted"})
        assert CONFIRMATION.search(again.text)
        assert 'value="melted"' in again.text
    assert known.completed_tasks == []
    (confirmed,) = CONFIRMATION.findall(question)
    done = await on_engine.post("/overrides/o1/end", data={"confirmed": confirmed, "reason": "melted"})
    assert done.url.path == "/overrides/o1"
    (answer,) = known.completed_tasks
    assert answer["outputData"]["action"] == "end"
    assert answer["outputData"]["reason"] == "melted"
    assert "@" in answer["outputData"]["by"]
    assert "Ending it" in done.text  # until the engine has taken it
    assert "data-due" not in done.text
    known.runs["o1"] = [override("restoring")]
    assert "Ending it" not in (await on_engine.get("/overrides/o1")).text


async def test_approve_says_what_it_changes_until_when_and_does_it_once_confirmed(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    known.runs = {"o1": [override("approval")]}
    question = (await on_engine.get("/overrides/o1/approve", params=BERLIN)).text
    said = "1 slot is changed 2027-12-24 18:00 +01:00 , and restored 2027-12-27 08:00 +01:00 ."
    assert said in text_of(question)
    assert "Requested by ann@desk" in text_of(question)
    await on_engine.post("/overrides/o1/approve", data={"confirmed": "yes"})
    assert known.completed_tasks == []
    (confirmed,) = CONFIRMATION.findall(question)
    done = await on_engine.post("/overrides/o1/approve", data={"confirmed": confirmed, "reason": "checked"})
    assert done.url.path == "/overrides/o1"
    (answer,) = known.completed_tasks
    assert answer["outputData"]["approved"] is True
    assert answer["outputData"]["reason"] == "checked"
    known.runs["o1"] = [override("approval", variables={"phase": "planned", "from_ms": 0, "until_ms": None})]
    question = text_of((await on_engine.get("/overrides/o1/approve")).text)
    assert "1 slot is changed at once, and restored when somebody ends it." in question
    known.runs["o1"] = [override("planned")]
    assert (await on_engine.get("/overrides/o1/approve")).url.path == "/overrides/o1"


async def test_a_link_ends_nothing(on_engine: httpx.AsyncClient, known: StubEngine) -> None:
    active(known)
    (confirmed,) = CONFIRMATION.findall((await on_engine.get("/overrides/o1/end")).text)
    await on_engine.get("/overrides/o1/end", params={"confirmed": confirmed})
    assert known.writes == []


async def test_cancel_says_that_nothing_was_changed_and_does_it_once_confirmed(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    known.runs = {"o1": [override("planned")]}
    question = (await on_engine.get("/overrides/o1/cancel")).text
    assert "Nothing is restored, since nothing was changed: 1 slot keeps what it has." in text_of(question)
    (confirmed,) = CONFIRMATION.findall(question)
    await on_engine.post("/overrides/o1/cancel", data={"confirmed": confirmed})
    assert [each["outputData"]["action"] for each in known.completed_tasks] == ["cancel"]


async def test_extend_shows_the_new_end_first_and_moves_it_once_confirmed(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    active(known)
    form = (await on_engine.get("/overrides/o1/extend", params=BERLIN)).text
    assert 'value="2027-12-27T08:00:00"' in form
    wanted = {"until": "2027-12-28T08:00", "new_zone": "America/New_York", "reason": "more snow"}
    question = (await on_engine.post("/overrides/o1/extend", data=wanted, params=BERLIN)).text
    assert (
        "It ends 2027-12-28 08:00 -05:00 (America/New_York), later than planned. 1 slot is restored then."
        in text_of(question)
    )
    assert known.writes == []
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', question))
    changed = await on_engine.post("/overrides/o1/extend", data={**hidden, "until": "2027-12-29T08:00:00Z"})
    assert CONFIRMATION.search(changed.text)  # not what was confirmed
    assert known.writes == []
    done = await on_engine.post("/overrides/o1/extend", data=hidden)
    assert done.url.path == "/overrides/o1"
    (answer,) = known.completed_tasks
    assert answer["outputData"]["until_ms"] == milliseconds(datetime(2027, 12, 28, 13, tzinfo=timezone.utc))
    assert answer["outputData"]["reason"] == "more snow"


@pytest.mark.parametrize(
    ("until", "zone", "said"),
    [
        ("", "UTC", "until: &#34;&#34; is no time"),
        ("2025-01-01T00:00", "UTC", "until is in the past"),
        ("2027-12-24T16:00", "UTC", "The new end must be after the beginning of the override."),
        ("2028-03-26T02:30", "Europe/Berlin", "does not exist in Europe/Berlin"),
        ("2028-01-01T00:00", "Europe/Berlim", "Did you mean Europe/Berlin?"),
        ("2028-01-01T00:00", "../../etc/passwd", "is no time zone"),
    ],
)
async def test_what_is_wrong_with_a_new_end_is_shown_in_the_form(
    on_engine: httpx.AsyncClient, known: StubEngine, until: str, zone: str, said: str
) -> None:
    active(known)
    answer = await on_engine.post("/overrides/o1/extend", data={"until": until, "new_zone": zone, "reason": "keep me"})
    assert answer.status_code == 422
    assert said in answer.text
    assert 'value="keep me"' in answer.text
    assert not CONFIRMATION.search(answer.text)
    assert known.writes == []


async def test_a_local_time_that_exists_twice_is_said_to_be_the_first(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    active(known)
    wanted = {"until": "2028-10-29T02:30", "new_zone": "Europe/Berlin"}
    page = text_of((await on_engine.post("/overrides/o1/extend", data=wanted)).text)
    assert "exists twice in Europe/Berlin" in page
    assert "It ends 2028-10-29 02:30 +02:00" in page


async def test_extend_into_another_override_is_refused_with_its_id_and_times(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    active(known)
    later = {"from_ms": XMAS["until_ms"] + 86_400_000, "until_ms": XMAS["until_ms"] + 2 * 86_400_000}
    known.runs["o2"] = [override("planned", "o2", "New Year", variables={"phase": "planned", **later})]
    wanted = {"until": "2027-12-28T12:00", "new_zone": "Europe/Berlin"}
    answer = await on_engine.post("/overrides/o1/extend", data=wanted)
    assert answer.status_code == 422
    assert "Override o2 has callcenter" in answer.text
    assert "from 2027-12-28 08:00 +01:00" in answer.text
    assert known.writes == []


async def test_what_takes_long_is_said_to_be_at_work_is_done_once_and_its_error_is_shown(
    on_engine: httpx.AsyncClient, known: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    active(known)
    go_on, calls = threading.Event(), []

    def slow(*_: Any, by: str, reason: str) -> None:
        calls.append(reason)
        go_on.wait(30)
        raise EngineError("The engine answered 500.", 500)

    monkeypatch.setattr("dialpad_ivr.provisioning.override_control.end_override", slow)
    monkeypatch.setattr("dialpad_ivr.console.override_actions._DONE_WITHIN_SECONDS", 0.01)
    (confirmed,) = CONFIRMATION.findall((await on_engine.get("/overrides/o1/end")).text)
    try:
        for _ in range(2):
            page = (await on_engine.post("/overrides/o1/end", data={"confirmed": confirmed, "reason": "x"})).text
            assert "Ending it" in page
            assert "do-end" not in page
    finally:
        go_on.set()
    with anyio.fail_after(30):
        while "Ending it" in (page := (await on_engine.get("/overrides/o1")).text):
            await anyio.sleep(0.01)
    assert calls == ["x"]
    assert "not done The engine answered 500." in re.sub(" +", " ", text_of(page))
    assert 'id="do-end"' in page


async def test_half_that_has_ended_is_read_once_however_often_the_page_is(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    known.runs = ended("updated", "conflict", "not_restored")
    first, second = [(await on_engine.get("/overrides/o1")).text for _ in range(2)]
    assert first == second
    reads = [request.path for request in known.stub.received]
    assert [reads.count(f"/api/workflow/{run}") for run in ("o1-a", "o1-r")] == [1, 1]


async def test_what_one_that_was_broken_off_has_left_is_restored_by_ending_it(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    known.runs = ended("updated", None, "broken_off", output=BROKEN_OFF)
    page = (await on_engine.get("/overrides/o1")).text
    assert "Restore what is left" in page
    question = (await on_engine.get("/overrides/o1/end")).text
    assert "Restore what this override has left?" in question
    (confirmed,) = CONFIRMATION.findall(question)
    await on_engine.post("/overrides/o1/end", data={"confirmed": confirmed})
    (start,) = known.writes
    assert start.body["name"] == RESTORE


async def test_one_that_is_in_another_state_by_now_is_left_alone(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    active(known)
    (confirmed,) = CONFIRMATION.findall((await on_engine.get("/overrides/o1/end")).text)
    known.runs["o1"] = [override("restoring")]
    answer = await on_engine.post("/overrides/o1/end", data={"confirmed": confirmed})
    assert answer.url.path == "/overrides/o1"
    assert "Nothing was done. Override o1 is being restored already." in text_of(answer.text)
    assert "refused=end" in answer.text  # the page that is polled says so, too
    active(known)
    for action, why in (("cancel", "has already begun"), ("approve", "does not wait for approval: it is active")):
        page = text_of((await on_engine.post(f"/overrides/o1/{action}")).text)
        assert f"Nothing was done. Override o1 {why}." in page
    assert known.writes == []


# ---- the report


async def test_report_stands_alone_has_no_script_and_may_use_its_own_style_only(
    on_engine: httpx.AsyncClient, known: StubEngine
) -> None:
    known.runs = ended("updated", "conflict", "not_restored")
    answer = await on_engine.get("/overrides/o1/report", params=BERLIN)
    page, policy = answer.text, answer.headers["content-security-policy"]
    text = text_of(re.sub("<style>.*</style>", "", page, flags=re.DOTALL))
    for part in ("Christmas", "ann@desk", "2027-12-24 18:00 +01:00", "not restored", "about restore", "Summer"):
        assert part in text
    assert not re.search(r"<script|<link|<img|src=|href=|url\(", page)
    assert "'unsafe-inline'" not in policy
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    in_page = re.search(r'policy" content="([^"]+)"', page)
    assert in_page
    assert in_page[1].replace("&#x27;", "'") in policy


async def test_report_files_have_all_rows(on_engine: httpx.AsyncClient, known: StubEngine) -> None:
    known.runs = ended("updated", "updated", "success")
    assert [row["restored"] for row in (await on_engine.get("/overrides/o1/report.json")).json()["rows"]] == ["updated"]
    answer = await on_engine.get("/overrides/o1/report.csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="override.o1.report.csv"'
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["target_name"], row["ivr_name"], row["previous_name"]) == ("Support", "Summer", "Winter")


def test_the_times_of_these_tests_are_in_the_future() -> None:
    assert milliseconds(datetime.now(timezone.utc) + timedelta(days=30)) < XMAS["from_ms"]
