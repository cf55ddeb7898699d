"""The commands `override ...`: what is refused before anything is started, what is started, and what is shown."""

from __future__ import annotations

import io
import json
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dialpad_ivr.provisioning.overrides import GUARD, WORKFLOW
from dialpad_ivr.provisioning.plan import make_plan, read_plan, write_plan
from dialpad_ivr.provisioning.times import milliseconds
from support.invoke import Invoke
from support.override_states import NOT_SENT, XMAS, decided, ended, not_made, notification, override, repaired
from support.runs import CHANGE, OLD, SLOT, a_plan
from support.stub import StubEngine

ID, GUARD_ID = "0e000000-0000-0000-0000-000000000001", "0e000000-0000-0000-0000-000000000002"
WINDOW = ("--from", "2027-12-24 18:00", "--until", "2027-12-27 08:00", "--zone", "Europe/Berlin", "--reason", "Xmas")
NOTE = {"line": 2, "previous": [{"id": OLD, "name": "Winter"}], "ivr_name": "Summer", "target_name": "Support"}


WHO = {"reason": "Christmas", "requested_by": "ann@desk"}
TIMES = {
    "from_ms": milliseconds(datetime(2027, 12, 24, 17, tzinfo=timezone.utc)),
    "until_ms": milliseconds(datetime(2027, 12, 27, 7, tzinfo=timezone.utc)),
}


def an_override(**more: Any) -> dict[str, Any]:
    wait = {"taskType": "WAIT", "referenceTaskName": "before_wait", "status": "IN_PROGRESS", "taskId": "waits"}
    return {
        "workflowId": ID,
        "workflowName": WORKFLOW,
        "status": "RUNNING",
        "startTime": 0,
        "input": {
            "changes": [{**CHANGE, "note": NOTE}],
            "reason": "Christmas",
            "requested_by": "ann@desk",
            "zone": "Europe/Berlin",
        },
        "variables": {"phase": "planned", **TIMES},
        "tasks": [wait],
        **more,
    }


@pytest.fixture
def known(stub_engine: StubEngine) -> StubEngine:
    """The engine with the workflows registered, and a guard that starts an override of another target."""
    stub_engine.definitions = {(name, "1"): {} for name in (WORKFLOW, GUARD)}
    child = {"taskType": "SUB_WORKFLOW", "referenceTaskName": "override", "status": "IN_PROGRESS", "subWorkflowId": ID}
    guard = {"workflowId": GUARD_ID, "workflowName": GUARD, "status": "RUNNING", "tasks": [child]}
    other = an_override(input={**an_override()["input"], "changes": [{**CHANGE, "target_id": "7"}]})
    stub_engine.runs = {GUARD_ID: [guard], ID: [other]}
    return stub_engine


# ---- start


def test_start_hands_the_guard_the_changes_with_what_was_selected_and_the_times_in_utc(
    invoke: Invoke, known: StubEngine
) -> None:
    shown = invoke("override", "start", a_plan("change", "unchanged"), *WINDOW, "--yes")
    (start,) = known.writes
    assert start.body["name"] == GUARD
    inputs = start.body["input"]
    assert (inputs["from"], inputs["until"]) == ("2027-12-24T17:00:00Z", "2027-12-27T07:00:00Z")
    (change,) = inputs["changes"]
    assert change["note"]["previous"] == [{"id": OLD, "name": None}]
    assert (inputs["reason"], inputs["zone"], inputs["approval"]) == ("Xmas", "Europe/Berlin", False)
    assert "2027-12-24 18:00 +01:00" in shown.all
    assert f"dialpad-ivr override cancel {ID}" in shown.all


def test_start_passes_the_connection_on_that_people_are_told_by(invoke: Invoke, known: StubEngine) -> None:
    invoke("override", "start", a_plan("change"), *WINDOW, "--notify", "ops_chat", "--yes")
    (start,) = known.writes
    assert start.body["input"]["notify"] == "ops_chat"


def test_start_with_a_connection_that_cannot_be_one_is_refused(invoke: Invoke, stub_engine: StubEngine) -> None:
    options = ("--notify", "https://hooks.example.com/x", "--yes", "--json")
    shown = invoke("override", "start", a_plan("change"), *WINDOW, *options, code=2)
    assert [each["option"] for each in shown.json["violations"]] == ["--notify"]
    assert stub_engine.stub.received == []


def test_no_reason_names_a_secret_of_the_engine(invoke: Invoke, known: StubEngine) -> None:
    secret = "${workflow.secrets.DIALPAD_API_KEY}"
    invoke("override", "start", a_plan("change"), *WINDOW[:-1], f"snow {secret} ${{x}}", "--yes")
    (start,) = known.writes
    assert start.body["input"]["reason"] == "snow $ {workflow.secrets.DIALPAD_API_KEY} ${x}"


def test_start_without_confirmation_starts_nothing_and_says_when_it_would_be(invoke: Invoke, known: StubEngine) -> None:
    shown = invoke("override", "start", a_plan("change"), *WINDOW, code=2).all
    assert "From 2027-12-24 18:00 +01:00 until 2027-12-27 08:00 +01:00 (Europe/Berlin): change 1 slot?" in shown
    assert known.writes == []


def test_start_tells_everything_that_is_wrong_at_once_and_asks_no_engine(
    invoke: Invoke, stub_engine: StubEngine
) -> None:
    made = read_plan(a_plan("change", "change"))
    rows = [made.rows[0].model_copy(update={"previous": ()}), made.rows[1]]
    write_plan(make_plan(rows, made.api_url, "changes.csv"), Path("two.plan.json"))
    options = ("--from", "2025-01-01 00:00", "--until", "never", "--zone", "UTC", "--reason", "x", "--yes", "--json")
    shown = invoke("override", "start", "two.plan.json", *options, code=2)
    assert [each["option"] for each in shown.json["violations"]] == ["--until", "--from", "line 2"]
    assert "nothing was selected before" in shown.json["violations"][2]["message"]
    assert stub_engine.stub.received == []


def test_start_for_less_than_the_engine_needs_to_begin_it_is_refused(invoke: Invoke, stub_engine: StubEngine) -> None:
    shown = invoke("override", "start", a_plan("change"), "--for", "9s", "--reason", "x", "--yes", code=2).err
    assert "would last 9 s, but the engine needs up to 10 s to begin it" in shown
    assert stub_engine.stub.received == []


def test_start_of_a_plan_with_rows_that_cannot_be_applied_is_refused(invoke: Invoke, stub_engine: StubEngine) -> None:
    shown = invoke("override", "start", a_plan("change", "missing_ivr"), *WINDOW, "--yes", code=1).all
    assert "1 row cannot be applied" in shown
    assert "--partial" not in shown  # which it does not have
    assert stub_engine.stub.received == []


def test_start_of_more_than_the_engine_takes_at_once_is_refused(invoke: Invoke, known: StubEngine) -> None:
    row = read_plan(a_plan("change")).rows[0].model_copy(update={"target_name": "n" * 500})
    rows = [row.model_copy(update={"line": line, "target_id": str(line)}) for line in range(2, 4002)]
    write_plan(make_plan(rows, read_plan(Path("changes.plan.json")).api_url, "changes.csv"), Path("many.plan.json"))
    assert "Split the file" in invoke("override", "start", "many.plan.json", *WINDOW, "--yes", code=2).err
    assert known.stub.received == []


def test_start_in_the_slot_of_another_one_is_refused_with_its_id_and_times(invoke: Invoke, known: StubEngine) -> None:
    known.runs[ID] = [an_override()]
    shown = invoke("override", "start", a_plan("change"), *WINDOW, "--yes", code=1).all
    assert f"Override {ID} has callcenter Support ({SLOT['target_id']}) HOLD_MUSIC from 2027-12-24 18:00" in shown
    assert "--nested" in shown
    assert known.writes == []


def test_what_is_refused_has_the_names_that_are_known_beside_the_ids(invoke: Invoke, known: StubEngine) -> None:
    known.runs[ID] = [an_override()]
    target = SLOT["target_id"]
    shown = invoke("override", "start", a_plan("change"), *WINDOW, "--yes", code=1).err
    assert f"Override {ID} has callcenter Support ({target}) HOLD_MUSIC from" in shown  # as its note has it
    made = read_plan(Path("changes.plan.json"))
    names = {"target_name": "Support desk", "office_name": "Berlin"}
    rows = [made.rows[0].model_copy(update=names)]
    write_plan(make_plan(rows, made.api_url, "changes.csv"), Path("named.plan.json"))
    shown = invoke("override", "start", "named.plan.json", *WINDOW, "--yes", code=1).err
    assert f"has callcenter Support desk, Berlin ({target}) HOLD_MUSIC from" in shown
    rows = [rows[0].model_copy(update={"previous": ()})]
    write_plan(make_plan(rows, made.api_url, "changes.csv"), Path("named.plan.json"))
    shown = invoke("override", "start", "named.plan.json", *WINDOW, "--yes", code=2).err
    assert f"callcenter Support desk, Berlin ({target}) HOLD_MUSIC could not be restored" in shown


def test_what_another_override_has_selected_already_meets_it_too(invoke: Invoke, known: StubEngine) -> None:
    known.runs[ID] = [an_override()]
    assert ID in invoke("override", "start", a_plan("unchanged"), *WINDOW, "--yes", code=1).all


def test_start_of_what_is_selected_already_starts_nothing(invoke: Invoke, known: StubEngine) -> None:
    assert "Nothing to change" in invoke("override", "start", a_plan("unchanged"), *WINDOW, "--yes").all
    assert known.writes == []


def test_nested_it_names_the_outer_one_and_what_that_selects_is_restored(invoke: Invoke, known: StubEngine) -> None:
    known.runs[ID] = [an_override()]
    inner = ("--from", "2027-12-25 00:00", "--until", "2027-12-26 00:00", "--zone", "UTC", "--reason", "x", "--nested")
    invoke("override", "start", a_plan("change"), *inner, "--yes")
    (start,) = known.writes
    assert start.body["input"]["inside"] == ID
    (change,) = start.body["input"]["changes"]
    assert [ivr["id"] for ivr in change["note"]["previous"]] == [CHANGE["ivr_id"]]
    assert change["if_selected"] == [CHANGE["ivr_id"]]


def test_nested_in_one_that_has_its_ivr_selected_it_says_that_there_is_nothing_to_nest(
    invoke: Invoke, known: StubEngine
) -> None:
    known.runs[ID] = [an_override()]
    inner = ("--from", "2027-12-25 00:00", "--until", "2027-12-26 00:00", "--zone", "UTC", "--reason", "x", "--nested")
    wanted = ("override", "start", a_plan("change"), *inner, "--yes")
    known.runs[ID][0]["input"]["changes"] = [{**CHANGE, "ivr_id": "2", "note": NOTE}]  # as the plan has it
    said = f"Its IVRs are already selected by override {ID} until 2027-12-27 07:00 +00:00, so there is nothing to nest."
    assert said in invoke(*wanted).out
    assert invoke(*wanted, "--json").json == {"outcome": "success", "workflow_id": None, "message": said}
    assert known.writes == []


def test_without_an_engine_start_exits_4(invoke: Invoke, no_engine: str) -> None:
    assert no_engine in invoke("override", "start", a_plan("change"), *WINDOW, "--yes", code=4).err


# ---- list, show, extend


def test_list_shows_slots_times_in_the_zone_who_and_why(invoke: Invoke, known: StubEngine) -> None:
    known.runs[ID] = [an_override()]
    shown = invoke("override", "list", "--zone", "America/New_York").all
    for part in (ID, "planned", "2027-12-24 12:00 -05:00", "1 callcenter: HOLD_MUSIC", "ann@desk", "Christmas"):
        assert part in shown


def test_list_has_short_lines_on_a_terminal_and_one_an_override_in_a_pipe(
    invoke: Invoke, known: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    known.runs[ID] = [an_override()]
    window, slots = "from 2027-12-24 18:00 +01:00 until 2027-12-27 08:00 +01:00", "1 callcenter: HOLD_MUSIC"
    piped = invoke("override", "list", "--zone", "Europe/Berlin").out
    assert piped == f"{ID} | planned | {window} | {slots} | ann@desk | Christmas\n"
    lines = [f"{ID} planned", f"  {window}", f"  {slots}; by ann@desk: Christmas"]
    on_terminal = Console(force_terminal=True, no_color=True, width=80, file=io.StringIO())
    monkeypatch.setattr("dialpad_ivr.cli.override.out", on_terminal)
    invoke("override", "list", "--zone", "Europe/Berlin")
    shown = on_terminal.file
    assert isinstance(shown, io.StringIO)
    assert shown.getvalue().splitlines() == lines
    assert max(map(len, lines)) <= 80


def test_list_tells_which_one_should_have_been_restored_by_now(invoke: Invoke, known: StubEngine) -> None:
    now = milliseconds(datetime.now(timezone.utc))
    for over, expected in ((62_000, True), (10_000, False)):  # restoring one change may take a minute
        known.runs[ID] = [an_override(variables={"phase": "active", "from_ms": 0, "until_ms": now - over})]
        assert ("planned, overdue" in invoke("override", "list").all) == expected
        assert json.loads(invoke("override", "list", "--json").out)[0]["overdue"] == expected


def test_list_says_when_there_is_none(invoke: Invoke, stub_engine: StubEngine) -> None:
    assert "No override is planned or active." in invoke("override", "list").out


def test_list_with_an_unknown_zone_exits_2(invoke: Invoke, stub_engine: StubEngine) -> None:
    assert "Europe/Berlin?" in invoke("override", "list", "--zone", "Europe/Belin", code=2).err


def test_show_names_the_target_and_both_ivrs(invoke: Invoke, known: StubEngine) -> None:
    known.runs[ID] = [an_override()]
    shown = invoke("override", "show", ID, "--zone", "UTC").all
    for part in ("callcenter Support", f"Summer ({CHANGE['ivr_id']})", f"Winter ({OLD})", "2027-12-24 17:00 +00:00"):
        assert part in shown


def test_extend_reads_the_time_in_the_overrides_own_zone(invoke: Invoke, known: StubEngine) -> None:
    invoke("override", "extend", ID, "--until", "2027-12-28 08:00")
    (completed,) = known.completed_tasks
    assert completed["outputData"]["until_ms"] == milliseconds(datetime(2027, 12, 28, 7, tzinfo=timezone.utc))


def test_extend_to_before_its_beginning_is_refused(invoke: Invoke, known: StubEngine) -> None:
    shown = invoke("override", "extend", ID, "--until", "2027-12-24 17:00", "--zone", "Europe/Berlin", code=2).err
    assert "after the beginning" in shown
    assert known.completed_tasks == []


def test_extend_leaves_a_planned_one_the_time_that_the_engine_needs_to_begin_it(
    invoke: Invoke, known: StubEngine
) -> None:
    wanted = ("override", "extend", ID, "--until", "2027-12-24 18:00:05", "--zone", "Europe/Berlin")
    assert "would last 5 s" in invoke(*wanted, code=2).err
    assert known.completed_tasks == []
    wait = {"taskType": "WAIT", "referenceTaskName": "during_wait", "status": "IN_PROGRESS", "taskId": "waits"}
    known.runs[ID] = [an_override(tasks=[wait])]  # it has begun
    invoke(*wanted)
    assert len(known.completed_tasks) == 1


def test_an_unknown_id_is_said(invoke: Invoke, stub_engine: StubEngine) -> None:
    shown = invoke("override", "show", "nothing", code=1).err
    assert shown == "There is no override nothing.\nList them with: dialpad-ivr override list\n"


def test_an_empty_reason_is_refused(invoke: Invoke) -> None:
    assert "--reason is empty." in invoke("override", "start", a_plan("change"), "--reason", " ", "--yes", code=2).err


def test_extend_counts_a_length_of_time_from_now(invoke: Invoke, known: StubEngine) -> None:
    assert "Give the new end" in invoke("override", "extend", ID, code=2).err
    assert "now ends" in invoke("override", "extend", ID, "--for", "500d").out


def test_show_prints_json_with_times_in_utc(invoke: Invoke, known: StubEngine) -> None:
    found = json.loads(invoke("override", "show", ID, "--json").out)
    assert (found["from"], found["until"]) == ("2027-12-24T17:00:00Z", "2027-12-27T07:00:00Z")


def test_show_and_report_say_that_people_were_not_told_why_and_what_to_do(
    invoke: Invoke, stub_engine: StubEngine
) -> None:
    stub_engine.runs = ended("updated", "updated", "success")
    (state,) = stub_engine.runs["o1"]
    state["input"]["notify"] = "ops_chat"
    for half, status, workflow_id in (("made", "FAILED", "n1"), ("restored", "COMPLETED", "n2")):
        task, found = notification(half, status, workflow_id)
        state["tasks"].append(task)
        stub_engine.runs[workflow_id] = [found]
    said = (
        f"People were not told about the start of this override, as of 2027-12-24 18:00:20 +01:00. {NOT_SENT} Tell "
        "them yourself. Once that is fixed, restart workflow n1 on the engine to send it."
    )
    for command in ("show", "report"):
        shown = invoke("override", command, "o1", "--zone", "Europe/Berlin").out
        assert said in shown
        assert "about the end" not in shown
        found = invoke("override", command, "o1", "--json").json
        assert found["notify"] == "ops_chat"
        assert [(each["half"], each["state"]) for each in found["notifications"]] == [
            ("made", "not_sent"),
            ("restored", "sent"),
        ]
        assert found["notifications"][0]["at"] == "2027-12-24T17:00:20Z"
    invoke("override", "report", "o1", "--report", "xmas", "--zone", "Europe/Berlin")
    assert f"<bdi>{said}</bdi>" in Path("xmas.report.html").read_text()


def test_people_were_not_told_either_where_the_engine_could_not_start_the_notification(
    invoke: Invoke, stub_engine: StubEngine
) -> None:
    stub_engine.runs = ended("updated", "updated", "success")
    (state,) = stub_engine.runs["o1"]
    task, _ = notification("made", "FAILED")
    failed = {"outputData": {}, "status": "COMPLETED_WITH_ERRORS", "reasonForIncompletion": "no such workflow"}
    gone, _ = notification("restored", "FAILED", "removed")
    state["tasks"] += [{**task, **failed}, gone]
    shown = invoke("override", "report", "o1").out
    assert "People were not told about the start of this override. no such workflow. Tell them yourself." in shown
    assert "about the end" not in shown  # the engine has removed it: nothing is known of it


# ---- what other commands say of them


def test_apply_says_which_slots_are_overridden_now(invoke: Invoke, known: StubEngine) -> None:
    now = milliseconds(datetime.now(timezone.utc))
    times = {"from_ms": now - 1000, "until_ms": None}
    known.runs[ID] = [an_override(variables={"phase": "active", **times}, tasks=[])]
    shown = invoke("apply", a_plan("change"), code=2).all  # it asks
    assert f"1 slot overridden until it is ended by {ID} (Christmas)" in shown
    known.runs[ID] = [an_override(variables={"phase": "approval", **times}, tasks=[])]
    assert "overridden" not in invoke("apply", a_plan("change"), code=2).all
    known.runs[ID] = [an_override()]
    assert "overridden" not in invoke("apply", a_plan("change"), code=2).all


# ---- report


def test_report_is_written_as_json_csv_and_a_page_with_what_is_left_first(
    invoke: Invoke, stub_engine: StubEngine
) -> None:
    evil = "</style><script>alert(1)</script>\u202e"
    stub_engine.runs = ended("updated", "conflict", "not_restored")
    stub_engine.runs["o1"][0]["input"] |= {"reason": evil, "requested_by": evil}
    (change,) = stub_engine.runs["o1"][0]["input"]["changes"]
    other = {**change, "target_id": "7", "note": {"line": 1, "target_name": evil, "ivr_name": evil}}
    stub_engine.runs["o1"][0]["input"]["changes"] = [other, change]
    shown = invoke("override", "report", "o1", "--report", "xmas", "--zone", "Europe/Berlin", code=1).all
    assert "xmas.report.json, xmas.report.csv, xmas.report.html" in shown
    assert [row["line"] for row in json.loads(Path("xmas.report.json").read_text())["rows"]] == [1, 2]
    assert len(Path("xmas.report.csv").read_text().splitlines()) == 3
    page = Path("xmas.report.html").read_text()
    assert "<script" not in page
    assert page.count("</style>") == 1
    assert "2027-12-24 18:00 +01:00" in page
    assert page.index(SLOT["target_id"]) < page.index("callcenter <span>7</span>")  # it was not restored
    assert "2 rows, 1 not restored, which come first" in page
    assert "<bdi>&lt;/style&gt;" in page


def test_report_says_how_late_each_half_was_and_how_to_restore_what_is_left(
    invoke: Invoke, stub_engine: StubEngine
) -> None:
    stub_engine.runs = ended("updated", "unauthorized", "not_restored", left=1)
    shown = invoke("override", "report", "o1", "--report", "xmas", "--zone", "Europe/Berlin", code=1).out
    assert re.search(r"Began +2027-12-24 18:00:02 [+]01:00, 2 s late", shown)
    assert re.search(r"Restored from +2027-12-27 09:02:03 [+]01:00, 1 h 2 min late", shown)
    assert "To restore what is left, once the reason is fixed: dialpad-ivr override end o1" in shown
    report = json.loads(Path("xmas.report.json").read_text())
    assert (report["started_late_seconds"], report["restoring_late_seconds"]) == (2, 3723)
    assert report["restoring_at"] == "2027-12-27T08:02:03Z"
    page = Path("xmas.report.html").read_text()
    for text in ("18:00:02 +01:00, 2 s late", "1 h 2 min late", "dialpad-ivr override end o1"):
        assert text in page


@pytest.mark.parametrize("state", ["active", "ended"])
def test_rows_that_were_not_made_are_told_with_their_reason(
    invoke: Invoke, stub_engine: StubEngine, state: str
) -> None:
    stub_engine.runs = not_made("unauthorized", state)
    stub_engine.definitions = {(WORKFLOW, "1"): {}}
    told = "failed, 1 of 1 not made" if state == "ended" else "active, 1 of 1 not made"
    shown = invoke("override", "report", "o1", code=1).out
    row = (
        f"line 2: callcenter Support ({SLOT['target_id']}) HOLD_MUSIC\n  selected before: Winter ({OLD})\n"
        "  made: unauthorized\n  about apply\n"
    )
    assert row in shown
    assert f"Override o1: {told}." in shown
    assert f"State          {told}\n" in invoke("override", "show", "o1").out
    assert invoke("override", "show", "o1", "--json").json["not_made"] == 1
    assert invoke("override", "report", "o1", "--json", code=1).json["not_made"] == 1
    invoke("override", "report", "o1", "--report", "r", code=1)
    assert "1 row, 1 not made, which come first" in Path("r.report.html").read_text()
    if state == "active":
        assert f"{told} | from 2027" in invoke("override", "list").out


def test_after_a_repair_the_report_and_show_say_what_is_so_now(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = repaired("unauthorized", "updated")
    now = "1 of 1 changes made; 1 of 1 restored"
    shown = invoke("override", "report", "o1", "--report", "r").out
    assert f"Override o1: restored since. {now}\n" in shown
    shown += invoke("override", "show", "o1").out + Path("r.report.html").read_text()
    assert "not restored" not in shown
    assert shown.count(now) == 3
    assert invoke("override", "show", "o1", "--json").json["message"] == now


def test_where_the_ivr_that_was_selected_before_is_gone_it_says_how_to_go_on(
    invoke: Invoke, stub_engine: StubEngine
) -> None:
    stub_engine.runs = repaired("unauthorized", "not_found")
    shown = invoke("override", "report", "o1", "--report", "r", code=1).out
    advice = (
        f"The IVR that was selected before, Winter ({OLD}), is gone, unless the target itself is. Select another one "
        "with dialpad-ivr plan and dialpad-ivr apply of a file with this slot, then run: dialpad-ivr override end o1."
    )
    assert advice in shown
    assert advice in Path("r.report.html").read_text()
    assert "Override o1: not restored. 1 of 1 changes made; 0 of 1 restored, 1 not:" in shown


def test_a_slot_that_a_person_has_set_since_is_settled(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = repaired("not_found", "conflict")
    shown = invoke("override", "report", "o1", "--report", "r").out
    assert "Settled by hand: a person has set this slot since." in shown
    assert "Override o1: settled by hand. 1 of 1 changes made; 0 of 1 restored, 1 settled by hand\n" in shown
    assert "not restored" not in shown + Path("r.report.html").read_text()
    report = invoke("override", "report", "o1", "--json").json
    assert (report["left"], report["settled"]) == (0, 1)


def test_what_a_person_changed_before_its_end_is_not_settled_by_the_guards_restoring(
    invoke: Invoke, stub_engine: StubEngine
) -> None:
    stub_engine.runs = repaired("conflict", "conflict")
    assert invoke("override", "report", "o1", "--json", code=1).json["left"] == 1


def test_one_that_waited_for_approval_is_late_from_then_on(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = ended("updated", "updated", "success")
    (state,) = stub_engine.runs["o1"]
    begun = XMAS["from_ms"] + 45_000
    state["output"]["started_ms"] = begun
    state["tasks"].append(decided("approval", begun - 2000, approved=True, by="bob@desk", reason="checked"))
    shown = invoke("override", "report", "o1", "--zone", "Europe/Berlin").out
    assert re.search(r"Began +2027-12-24 18:00:45 [+]01:00, 2 s late", shown)
    assert invoke("override", "report", "o1", "--json").json["started_late_seconds"] == 2


def test_what_people_decided_is_told_with_who_when_and_why(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs = ended("updated", "updated", "success")
    (state,) = stub_engine.runs["o1"]
    at, later = XMAS["from_ms"], XMAS["until_ms"]
    state["tasks"] += [
        decided("approval", at, approved=True, by="bob@desk", reason="checked"),
        decided("before_wait", at),  # whose time was over
        decided("during_wait", at + 60_000, action="extend", until_ms=later, by="cid@desk", reason="more snow"),
        decided("during_again_wait__1", at + 120_000, action="end", by="dora@desk", reason="melted"),
    ]
    told = {
        "Approved": "2027-12-24 18:00 +01:00 by bob@desk: checked",
        "Extended": "2027-12-24 18:01 +01:00 by cid@desk, until 2027-12-27 08:00 +01:00: more snow",
        "Ended early": "2027-12-24 18:02 +01:00 by dora@desk: melted",
        "Ended": "2027-12-27 08:00:05 +01:00",
    }
    shown = [invoke("override", name, "o1", "--zone", "Europe/Berlin").out for name in ("show", "report")]
    for each in shown:
        for name, text in told.items():
            assert re.search(f"^{name} +{re.escape(text)}", each, re.MULTILINE)
    for name in ("show", "report"):
        found = invoke("override", name, "o1", "--json").json
        assert found["ended_at"] == "2027-12-27T07:00:05Z"
        assert [each["action"] for each in found["decisions"]] == ["approve", "extend", "end"]
        assert found["decisions"][1]["until"] == "2027-12-27T07:00:00Z"
    invoke("override", "report", "o1", "--report", "r", "--zone", "Europe/Berlin")
    page = Path("r.report.html").read_text()
    assert all(f"<dt>{name}</dt><dd><bdi>{text}" in page for name, text in told.items())


def test_show_tells_who_rejected_it_and_why(invoke: Invoke, stub_engine: StubEngine) -> None:
    task = decided("approval", XMAS["from_ms"], approved=False, by="bob@desk", reason="too early")
    found = override("approval", status="FAILED", output={"outcome": "not_approved"}, tasks=[task])
    stub_engine.runs = {"o1": [found]}
    shown = invoke("override", "show", "o1", "--zone", "Europe/Berlin").out
    assert "Rejected       2027-12-24 18:00 +01:00 by bob@desk: too early" in shown


def test_report_in_a_zone_that_there_is_not_is_refused_before_anything_is_read(
    invoke: Invoke, stub_engine: StubEngine
) -> None:
    shown = invoke("override", "report", "o1", "--report", "xmas", "--zone", "Europe/Berlim", code=2).err
    assert "Did you mean Europe/Berlin?" in shown
    assert stub_engine.stub.received == []
    assert not Path("xmas.report.html").exists()
