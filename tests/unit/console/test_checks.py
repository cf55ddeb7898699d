"""The result of a check on the page of its execution, and the list of checks."""

from __future__ import annotations

import re
from typing import Any

import httpx

from support.console import text_of
from support.stub import StubEngine

DIFFERENCE: dict[str, Any] = {
    "line": 3,
    "target_type": "callcenter",
    "target_id": 5502522061422592,
    "target_name": "Support",
    "ivr_type": "HOLD_MUSIC",
    "select_option": None,
    "wanted": {"id": 5127493019721728, "name": "Summer hold music"},
    "selected": [{"id": "5127493019721729", "name": None}],
    "state": "differs",
    "outcome": "planned",
    "message": None,
}
RESULT: dict[str, Any] = {
    "in_sync": False,
    "message": "7 of 9 in sync, 1 different, 1 with a missing IVR",
    "rows": 9,
    "counts": {"in_sync": 7, "differs": 1, "missing_target": 0, "missing_ivr": 1, "unreadable": 0},
    "differences": [DIFFERENCE, {**DIFFERENCE, "line": 4, "state": "missing_ivr", "message": "No such IVR."}],
    "more_differences": 0,
    "changes": [],
}
IN_SYNC = {"in_sync": True, "message": "9 of 9 in sync", "rows": 9, "counts": {"in_sync": 9}, "differences": []}


def check(output: Any, *tasks: dict[str, Any], status: str = "COMPLETED") -> dict[str, Any]:
    times = {"startTime": 1_764_000_000_000, "endTime": 1_764_000_060_000}
    return {
        "workflowId": "w1",
        "workflowName": "check_custom_ivrs",
        "status": status,
        **times,
        "output": output,
        "tasks": list(tasks),
    }


def table(page: str, caption: str) -> list[str]:
    """The rows of a table, as text."""
    found = re.search(rf"<caption>{caption}</caption>.*?</table>", page, re.DOTALL)
    assert found, caption
    return [text_of(row).strip() for row in re.findall(r"<tr>.*?</tr>", found[0])[1:]]


async def test_a_check_shows_its_counts_and_differences(on_engine: httpx.AsyncClient, stub_engine: StubEngine) -> None:
    stub_engine.runs["w1"] = [check(RESULT)]
    page = (await on_engine.get("/executions/w1")).text
    assert "differs 7 of 9 in sync, 1 different, 1 with a missing IVR" in text_of(page)
    assert table(page, "By state") == [
        "in sync 7 What the check asks for is selected.",
        "differs 1 Something else, or nothing, is selected.",
        "missing IVR 1 The target has no such IVR for this slot.",
    ]
    differs, missing = table(page, "Not in sync")
    assert differs == (
        "3 Support callcenter 5502522061422592 HOLD_MUSIC Summer hold music 5127493019721728 5127493019721729 differs "
        "Test request"
    )
    assert missing.endswith("missing IVR No such IVR. Test request")
    assert "target_id=5502522061422592&amp;ivr_type=HOLD_MUSIC&amp;ivr_id=5127493019721728" in page


async def test_a_check_whose_repair_waits_for_approval_shows_what_it_found(
    on_engine: httpx.AsyncClient, stub_engine: StubEngine
) -> None:
    judge = {"referenceTaskName": "judge", "taskType": "JSON_JQ_TRANSFORM", "status": "COMPLETED"}
    repair = {"referenceTaskName": "repair", "taskType": "SUB_WORKFLOW", "status": "IN_PROGRESS", "subWorkflowId": "w2"}
    running = check({}, {**judge, "outputData": {"result": RESULT}}, repair, status="RUNNING")
    stub_engine.runs["w1"] = [{**running, "endTime": 0}]
    page = (await on_engine.get("/executions/w1")).text
    assert len(table(page, "Not in sync")) == 2
    assert 'href="/provisioning/w2"' in page


async def test_rows_that_are_not_listed_are_counted(on_engine: httpx.AsyncClient, stub_engine: StubEngine) -> None:
    stub_engine.runs["w1"] = [check({**RESULT, "more_differences": 1234})]
    assert "1,234 more rows not shown." in text_of((await on_engine.get("/executions/w1")).text)


async def test_names_in_a_check_are_escaped_and_shortened(
    on_engine: httpx.AsyncClient, stub_engine: StubEngine
) -> None:
    evil = {"id": "1", "name": "\u202e<img src=x>"}
    row = {**DIFFERENCE, "target_name": "x" * 10_000, "wanted": evil, "selected": [evil], "message": "<img src=y>"}
    stub_engine.runs["w1"] = [check({**RESULT, "differences": [row]})]
    page = (await on_engine.get("/executions/w1")).text
    assert "<img src=x" not in page
    assert "<img src=y" not in page
    assert "<bdi>\u202e&lt;img src=x&gt;</bdi>" in page
    assert f"<bdi>{'x' * 100}…</bdi>" in page


async def test_an_output_of_another_shape_is_shown_as_json_alone(
    on_engine: httpx.AsyncClient, stub_engine: StubEngine
) -> None:
    for output in (None, {}, {"in_sync": "perhaps", "rows": []}, {**RESULT, "differences": {"a": 1}}):
        stub_engine.runs["w1"] = [check(output)]
        answer = await on_engine.get("/executions/w1")
        assert answer.status_code == 200
        assert "By state" not in answer.text
    stub_engine.runs["w1"] = [{**check(RESULT), "workflowName": "another"}]
    assert "By state" not in (await on_engine.get("/executions/w1")).text


async def test_newest_checks_lead_to_their_results(on_engine: httpx.AsyncClient, stub_engine: StubEngine) -> None:
    stub_engine.runs["search"] = [{"results": [{"workflowId": "w1"}, {"workflowId": "w2"}]}]
    stub_engine.runs["w1"] = [{**check(IN_SYNC), "correlationId": "morning"}]
    stub_engine.runs["w2"] = [{**check({}, status="FAILED"), "workflowId": "w2"}]
    page = (await on_engine.get("/checks")).text
    rows = [text_of(row).strip() for row in re.findall(r"<tr>.*?</tr>", page)[1:]]
    assert rows[0].endswith("morning completed in sync 9 of 9 in sync 9")
    assert rows[1].endswith("failed")
    assert re.findall(r'href="(/executions/\w+)"', page) == ["/executions/w1", "/executions/w2"]


async def test_a_check_that_was_removed_is_left_out_though_the_index_lists_it(
    on_engine: httpx.AsyncClient, stub_engine: StubEngine
) -> None:
    stub_engine.runs = {"search": [{}], "w1": [check(IN_SYNC)], "w2": [{**check(IN_SYNC), "workflowId": "w2"}]}
    stub_engine.removed = {"w2"}
    page = (await on_engine.get("/checks")).text
    assert re.findall(r'href="(/executions/\w+)"', page) == ["/executions/w1"]


async def test_without_an_engine_the_list_of_checks_says_so(client: httpx.AsyncClient) -> None:
    assert "No Conductor server answers" in text_of((await client.get("/checks")).text)
