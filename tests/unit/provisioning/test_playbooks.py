"""Playbooks: what is saved of a file, how it is told from other workflows, and what a rehearsal finds."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.engine.definitions import shipped
from dialpad_ivr.provisioning import playbooks, rehearsals
from dialpad_ivr.provisioning.changes import Changes
from dialpad_ivr.provisioning.overrides import GUARD
from dialpad_ivr.provisioning.playbooks import Playbook, PlaybookError
from dialpad_ivr.provisioning.reader import open_reader
from dialpad_ivr.provisioning.rehearsals import Rehearsal
from dialpad_ivr.provisioning.times import Problem, Window, read_window
from dialpad_ivr.settings import Settings
from dialpad_ivr.testing.double import DoubleControl
from support.changes import table
from support.stub import StubEngine

NAMES = "target_type,target,office,number,email,target_id,ivr_type,ivr,ivr_id,select_option,credential"
FILE = table(
    "callcenter,Support,Head office,,,,GREETING,Holiday greeting,,,",
    "callcenter,Hot*,,,,,HOLD_MUSIC,Summer hold music,,,",
    "user,,,,robin@example.com,,VM_DROP_MESSAGE,Sorry I missed you,,,other",
    "office,,,+1 415 555 1001,,,MENU,,5127493019721780,,",
    "staffgroup,,,,,7,GREETING,,8,,",
    "callcenter,Support,,,,5502522061422592,AUTO_RECORDING,This call is recorded,5127493019721740,inbound,",
    header=NAMES,
)


def made(changes: Changes, name: str = "snow-day", **more: Any) -> Playbook:
    assert not changes.violations
    playbook = playbooks.make(name, changes.changes, **{"lasts": "12h", **more})
    assert isinstance(playbook, Playbook)
    return playbook


@pytest.fixture
def engine(stub_engine: StubEngine) -> StubEngine:
    """An engine with our workflows."""
    stub_engine.definitions = {(each.name, "1"): each.body for each in shipped() if each.kind == "workflow"}
    return stub_engine


def test_its_rows_are_those_of_the_file_with_their_names_and_wildcards(read: Any) -> None:
    changes = read(FILE)
    playbook = made(changes)
    assert playbook.changes == changes.changes
    assert playbook.rows[1] == {
        "line": 3,
        "target_type": "callcenter",
        "target": "Hot*",
        "ivr_type": "HOLD_MUSIC",
        "ivr": "Summer hold music",
    }
    assert playbook.rows[4]["target_id"] == "7"


def test_saved_and_read_again_it_is_the_same(engine: StubEngine, api: EngineApi, read: Any) -> None:
    playbook = made(read(FILE), zone="Europe/Berlin", approval=True, max_failures="5%", domain="eu", source="snow.csv")
    saved = playbooks.save(api, playbook)
    assert saved.version == 1
    assert playbooks.read(api, "snow-day") == saved
    assert playbooks.list_playbooks(api) == [saved]
    assert saved.changes == read(FILE).changes


def test_its_definition_asks_for_the_end_and_the_reason_only_and_its_rows_are_no_expressions(
    engine: StubEngine, api: EngineApi, read: Any
) -> None:
    saved = playbooks.save(api, made(read(FILE)))
    body = engine.definitions["playbook_snow_day", "1"]
    assert body["inputParameters"] == ["until", "reason"]
    assert body["inputTemplate"]["rows"] == [*saved.rows]
    (task,) = body["tasks"]
    assert task["subWorkflowParam"] == {"name": playbooks.WORKFLOW, "version": playbooks.VERSION}
    inputs = next(each.body for each in shipped() if each.name == playbooks.WORKFLOW)["inputParameters"]
    assert set(task["inputParameters"]) == set(inputs)


def test_saved_again_it_has_the_next_version_only_if_it_differs(engine: StubEngine, api: EngineApi, read: Any) -> None:
    assert [playbooks.save(api, made(read(FILE))).version for _ in range(2)] == [1, 1]
    again = playbooks.save(api, made(read(FILE), lasts="4h"))
    assert (again.version, playbooks.read(api, "snow-day").lasts) == (2, "4h")
    playbooks.delete(api, again)
    assert playbooks.list_playbooks(api) == []
    assert not [name for name, *_ in engine.definitions if name == "playbook_snow_day"]


def test_another_workflow_of_such_a_name_is_no_playbook_and_is_not_overwritten(
    engine: StubEngine, api: EngineApi, read: Any
) -> None:
    engine.definitions["playbook_snow_day", "1"] = own = {"name": "playbook_snow_day", "version": 1, "tasks": []}
    assert playbooks.list_playbooks(api) == []
    with pytest.raises(PlaybookError, match="no playbook"):
        playbooks.save(api, made(read(FILE)))
    assert engine.definitions["playbook_snow_day", "1"] == own
    assert engine.writes == []


def test_an_engine_without_the_workflow_that_it_starts_gets_nothing(
    stub_engine: StubEngine, api: EngineApi, read: Any
) -> None:
    with pytest.raises(PlaybookError, match="dialpad-ivr register"):
        playbooks.save(api, made(read(FILE)))
    assert stub_engine.writes == []


def test_one_that_there_is_not_suggests_near_ones(engine: StubEngine, api: EngineApi, read: Any) -> None:
    with pytest.raises(PlaybookError, match="playbook save"):
        playbooks.read(api, "snow-day")
    playbooks.save(api, made(read(FILE)))
    for name in ("snowday", "Snow Day", "custom-ivrs"):
        with pytest.raises(PlaybookError, match="snow-day"):
            playbooks.read(api, name)


def test_everything_that_is_wrong_is_told_at_once(read: Any) -> None:
    changes = read(table("callcenter,${workflow.secrets.X},,,,,GREETING,Welcome,,,", header=NAMES)).changes
    problems = playbooks.make("Snow day!", changes, lasts="soon", zone="Europe/Berln", max_failures="few", notify="a b")
    assert isinstance(problems, tuple)
    assert [each.option for each in problems] == ["NAME", "--for", "--zone", "--max-failures", "--notify", "line 2"]
    assert "For instance snow-day." in problems[0].message
    assert "Europe/Berlin?" in problems[2].message


@pytest.mark.parametrize("name", ["", "-", "9", "snow--day", "snow_day", "custom-ivrs", "custom-ivrs-chunk", "x" * 41])
def test_a_name_that_is_no_good_identifier_is_refused(name: str) -> None:
    problems = playbooks.make(name, (), lasts="1h")
    assert isinstance(problems, tuple)
    assert [each.option for each in problems] == ["NAME"]


def test_more_rows_than_the_engine_takes_are_refused(read: Any) -> None:
    (change,) = read(table("callcenter,Support,,,,,GREETING,Welcome,,,", header=NAMES)).changes
    (problem,) = playbooks.make("many", [change] * 5001, lasts="1h")  # type: ignore[misc]  # a tuple, as is asserted
    assert isinstance(problem, Problem)
    assert problem.message == "5,001 rows; a playbook takes 5,000. Split the file."


def test_a_row_that_somebody_edited_to_nonsense_is_told() -> None:
    playbook = Playbook("snow-day", ({"line": 2, "target_type": "pbx"},), "1h")
    with pytest.raises(PlaybookError, match="Save it again"):
        _ = playbook.changes


async def rehearsed(playbook: Playbook, settings: Settings) -> Rehearsal:
    async with open_reader(settings) as reader:
        return await rehearsals.rehearse(playbook, reader, settings.api_url, lambda *_: None)


async def test_a_rehearsal_finds_what_was_opened_since(company: Settings, double: DoubleControl, read: Any) -> None:
    playbook = made(read(table("callcenter,Hot*,,,,,HOLD_MUSIC,Summer hold music,,,", header=NAMES)))
    before = await rehearsed(playbook, company)
    hotline = next(each for each in double.state() if each["name"] == "Hotline")
    double.set_state(*double.state(), {**hotline, "target_id": "77", "name": "Hotline, new"})
    after = await rehearsed(playbook, company)
    assert (before.ok, after.ok) == (True, True)
    assert {row.target_id for row in after.plan.changes} - {row.target_id for row in before.plan.changes} == {"77"}
    assert double.summary()["applied"] == 0


async def test_a_rehearsal_tells_what_lacks_the_ivr_what_is_ambiguous_and_what_could_not_be_restored(
    company: Settings, double: DoubleControl, read: Any
) -> None:
    rows = ("callcenter,Support,,,,,GREETING,No such,,,", "callcenter,Support,,,,,CLOSED,*,,,")
    missing = await rehearsed(made(read(table(*rows, header=NAMES))), company)
    assert (missing.ok, dict(missing.plan.counts)) == (False, {"missing_ivr": 1, "ambiguous_ivr": 1})
    several = await rehearsed(made(read(table("callcenter,Hotline,,,,,HOLD_MUSIC,x,,,", header=NAMES))), company)
    assert (several.ok, [each.line for each in several.violations]) == (False, [2])
    state = double.state()
    slots = next(each["slots"] for each in state if each["target_id"] == "5502522061422592")
    slot = next(each for each in slots if each["ivr_type"] == "HOLD_MUSIC")
    slot["selected"] = {"inbound": slot["ivrs"][0]["id"], "outbound": slot["ivrs"][1]["id"]}
    double.set_state(*state)
    row = "callcenter,Support,,,,,HOLD_MUSIC,Summer hold music,,,"
    unrestorable = await rehearsed(made(read(table(row, header=NAMES))), company)
    assert unrestorable.ok is False
    ((_, why),) = unrestorable.unrestorable
    assert "inbound and outbound differed" in why


async def test_a_rehearsal_tells_of_a_wildcard_that_the_engines_list_would_cut(
    company: Settings, double: DoubleControl, read: Any
) -> None:
    double.configure(page_size=100)
    double.set_state(synthetic=501)
    found = await rehearsed(
        made(read(table("callcenter,Call center*,,,,,HOLD_MUSIC,New hold music,,,", header=NAMES))), company
    )
    assert (found.ok, [each.line for each in found.violations]) == (False, [2])


async def test_started_it_is_an_override_with_the_playbooks_options(
    engine: StubEngine, api: EngineApi, company: Settings, read: Any
) -> None:
    row = "callcenter,Support,,,,,HOLD_MUSIC,Summer hold music,,,"
    playbook = made(read(table(row, header=NAMES)), approval=True, max_failures="5%", domain="eu", notify="ops_chat")
    child = {"referenceTaskName": "override", "subWorkflowId": "o"}
    engine.runs = {"g": [{"workflowId": "g", "workflowName": GUARD, "status": "RUNNING", "tasks": [child]}]}
    rehearsal = await rehearsed(playbook, company)
    now = datetime.now(timezone.utc)
    window = read_window(start=None, until=None, lasts=playbook.lasts, zone=playbook.zone, rows=1, now=now)
    assert isinstance(window, Window)
    assert rehearsals.start(api, playbook, rehearsal.plan, window, reason="snow", requested_by="ann") == "o"
    inputs = engine.writes[-1].body["input"]
    assert (inputs["approval"], inputs["max_failures"], inputs["domain"]) == (True, "5%", "eu")
    assert inputs["notify"] == "ops_chat"
    assert (inputs["reason"], inputs["requested_by"]) == ("snow", "ann")
    assert (inputs["from"], inputs["changes"][0]["ivr_id"]) == ("4s", "5127493019721728")
