"""The pages of provisioning runs: the list, a run with its changes and its report, and stopping it."""

from __future__ import annotations

import csv
import io
import re
import threading
from typing import Any

import anyio
import httpx
import pytest

from dialpad_ivr.engine.api import EngineError
from dialpad_ivr.provisioning.workflow import WORKFLOW
from support.console import CONFIRMATION, text_of
from support.stub import Received, StubEngine

CHUNK = "chunk"


def change(number: int) -> dict[str, Any]:
    fields = {
        "target_type": "office",
        "target_id": str(1000 + number),
        "ivr_type": "MENU",
        "ivr_id": str(7000 + number),
    }
    return {**fields, "note": {"line": number + 2, "previous": [{"id": "6", "name": "Old menu"}]}}


def run_of(
    engine: StubEngine,
    status: str,
    *outcomes: str | None,
    in_flight: int = 0,
    chunk_status: str | None = None,
    **more: Any,
) -> None:
    """Give the engine a run "w1" with these outcomes; some of the pending rows are with a worker."""
    pending = [number for number, outcome in enumerate(outcomes) if outcome is None]
    tasks = [
        {
            "taskType": "set_custom_ivr",
            "taskId": f"t{number}",
            "status": "COMPLETED" if outcome else "IN_PROGRESS" if number in pending[:in_flight] else "SCHEDULED",
            "inputData": {"__index": number},
            "outputData": {"outcome": outcome, "error": {"message": f"about {number}"}} if outcome else {},
        }
        for number, outcome in enumerate(outcomes)
    ]
    results = [
        {"row": number, "outcome": outcome, "message": f"about {number}", "attempts": 1}
        for number, outcome in enumerate(outcomes)
        if outcome
    ]
    engine.runs["w1"] = [
        {
            "workflowId": "w1",
            "workflowName": WORKFLOW,
            "status": status,
            "input": {
                "changes": [change(number) for number in range(len(outcomes))],
                "plan": {"source": "offices.csv", "api_url": "https://dialpad.com"},
            },
            "tasks": [{"taskType": "SUB_WORKFLOW", "referenceTaskName": "c", "status": status, "subWorkflowId": CHUNK}],
            "startTime": 1_795_551_475_000,
            "endTime": 0 if status == "RUNNING" else 1_795_551_547_000,
            "output": {},
            **more,
        }
    ]
    engine.runs[CHUNK] = [
        {
            "workflowId": CHUNK,
            "status": chunk_status or status,
            "variables": {"results": results},
            "input": {"first": 0},
            "tasks": tasks,
        }
    ]


def cells(page: str, label: str) -> list[list[str]]:
    """The cells of a table by its label, without the heading."""
    table = page.partition(f'aria-label="{label}"')[2].partition("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[1:]
    return [[text_of(cell).strip() for cell in re.findall(r"<t[dh].*?</t[dh]>", row, re.DOTALL)] for row in rows]


def bar(page: str) -> dict[str, int]:
    """The lengths of the bar's parts, and its whole length."""
    parts = re.findall(r'<rect class="([\w-]+)"[^>]*width="(\d+)"', page)
    (total,) = re.findall(r'viewBox="0 0 (\d+) 1"', page)
    return {**{name: int(width) for name, width in parts}, "total": int(total)}


# ---- the list


async def test_list_shows_source_times_and_result(on_engine: httpx.AsyncClient, stub_engine: StubEngine) -> None:
    message = "2 of 2 changes succeeded: 2 updated"
    run_of(stub_engine, "COMPLETED", "updated", "updated", output={"message": message})
    stub_engine.runs["search"] = [{"results": [{"workflowId": "w1"}]}]
    for _ in range(2):
        page = (await on_engine.get("/provisioning")).text
        ((source, started, took, changes, status, result),) = cells(page, "Recent runs")
        assert source.split() == ["offices.csv", "w1"]
        assert re.fullmatch(r"2026-11-2\d \d\d:\d\d:\d\d", started)
        assert (took, changes, status, result) == ("1 min 12 s", "2", "completed", message)
    reads = [request for request in stub_engine.stub.received if request.path == "/api/workflow/w1"]
    assert [request.query["includeTasks"] for request in reads] == ["false"]  # a run that has ended is read once


async def test_list_leaves_out_a_run_that_was_removed_though_the_index_lists_it(
    on_engine: httpx.AsyncClient, stub_engine: StubEngine
) -> None:
    run_of(stub_engine, "COMPLETED", "updated", output={"message": "1 of 1 changes succeeded: 1 updated"})
    stub_engine.runs["search"] = [{}]
    stub_engine.runs["w2"] = [{**stub_engine.runs["w1"][0], "workflowId": "w2"}]
    stub_engine.removed = {"w2"}
    page = (await on_engine.get("/provisioning")).text
    ((source, *_),) = cells(page, "Recent runs")
    assert source.split() == ["offices.csv", "w1"]
    assert "w2" not in page


async def test_list_says_that_a_run_ended_early(on_engine: httpx.AsyncClient, stub_engine: StubEngine) -> None:
    run_of(stub_engine, "TERMINATED", "updated", "not_sent", reasonForIncompletion="Stopped by me@here.")
    stub_engine.runs["search"] = [{"results": [{"workflowId": "w1"}]}]
    (row,) = cells((await on_engine.get("/provisioning")).text, "Recent runs")
    assert row[-2:] == ["terminated", "Ended early: 1 of 2 changes done, 1 not sent. Stopped by me@here."]


async def test_list_counts_the_changes_of_a_run_that_is_running(
    on_engine: httpx.AsyncClient, stub_engine: StubEngine
) -> None:
    run_of(stub_engine, "RUNNING", "updated", "not_found", None)
    stub_engine.runs["search"] = [{"results": [{"workflowId": "w1"}]}]
    (row,) = cells((await on_engine.get("/provisioning")).text, "Recent runs")
    assert row[-2:] == ["running", "1 of 3 changes done, 1 failed."]


# ---- a run


async def test_run_shows_what_is_done_at_work_and_waiting(
    on_engine: httpx.AsyncClient, stub_engine: StubEngine
) -> None:
    run_of(stub_engine, "RUNNING", "updated", "not_found", None, None, None, in_flight=2)
    page = (await on_engine.get("/provisioning/w1")).text
    assert bar(page) == {"succeeded": 1, "failed": 1, "at-work": 2, "total": 5}
    assert ["pending", "3", "2 at work, 1 waiting."] in cells(page, "By outcome")
    assert "rollback" not in page
    assert 'action="/provisioning/w1/stop"' in page


async def test_run_shows_source_times_report_undo_and_all_changes_failed_ones_first(
    on_engine: httpx.AsyncClient, stub_engine: StubEngine
) -> None:
    run_of(stub_engine, "FAILED", "updated", "unchanged", "not_found", output={"message": "1 failed"})
    page = (await on_engine.get("/provisioning/w1")).text
    text = text_of(page)
    assert "Source offices.csv" in text
    assert "after 1 min 12 s" in text
    assert "dialpad-ivr rollback w1" in text
    assert [row[0] for row in cells(page, "Changes")] == ["4", "2", "3"]
    assert cells(page, "Changes")[0] == ["4", "office 1002", "MENU", "Old menu 6", "7002", "not_found", "about 2"]
    assert "/stop" not in page
    assert "data-poll" not in page
    report = (await on_engine.get("/provisioning/w1/report.json")).json()
    assert [row["outcome"] for row in report["rows"]] == ["updated", "unchanged", "not_found"]
    answer = await on_engine.get("/provisioning/w1/report.csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="provisioning.w1.report.csv"'
    assert [row["line"] for row in csv.DictReader(io.StringIO(answer.text))] == ["2", "3", "4"]


async def test_run_that_ended_early_says_so_and_its_bar_is_not_full(
    on_engine: httpx.AsyncClient, stub_engine: StubEngine
) -> None:
    run_of(
        stub_engine,
        "TERMINATED",
        "updated",
        "unknown",
        "not_sent",
        "not_sent",
        chunk_status="COMPLETED",
        reasonForIncompletion="Stopped by me@here.",
    )
    page = (await on_engine.get("/provisioning/w1")).text
    headline = text_of(page.partition("data-status")[2].partition("</p>")[0])
    assert "Ended early" in headline
    assert bar(page) == {"succeeded": 1, "failed": 0, "at-work": 0, "total": 4}
    assert [row[5] for row in cells(page, "Changes")] == ["unknown", "not sent", "not sent", "updated"]
    assert "Stopped by me@here." in text_of(page)
    assert "same plan again is safe" in text_of(page)
    assert "not_sent" not in page


async def test_changes_of_a_large_run_are_paged(on_engine: httpx.AsyncClient, stub_engine: StubEngine) -> None:
    run_of(stub_engine, "COMPLETED", *["updated"] * 250)
    queries = ("", "?page=2", "?page=99")
    first, second, last = [(await on_engine.get(f"/provisioning/w1{query}")).text for query in queries]
    assert [row[0] for row in cells(second, "Changes")] == [str(line) for line in range(102, 202)]
    assert len(cells(first, "Changes")) == 100
    assert len(cells(last, "Changes")) == 50
    assert "Changes 201 to 250 of 250" in text_of(last)
    assert (await on_engine.get("/provisioning/w1?page=-1")).status_code == 200


# ---- stopping


async def terminations(engine: StubEngine) -> list[Received]:
    """The requests that terminate a workflow, as soon as there is one."""
    with anyio.fail_after(30):
        while not (found := [request for request in engine.writes if request.method == "DELETE"]):
            await anyio.sleep(0.01)
    return found


async def test_stop_asks_first_and_then_terminates_the_run(
    on_engine: httpx.AsyncClient, stub_engine: StubEngine
) -> None:
    run_of(stub_engine, "RUNNING", "updated", None, None, in_flight=1)
    question = (await on_engine.post("/provisioning/w1/stop")).text
    for wrong in ({}, {"confirmed": ""}, {"confirmed": "yes"}):
        assert CONFIRMATION.search((await on_engine.post("/provisioning/w1/stop", data=wrong)).text), wrong
    assert stub_engine.writes == []
    (confirmed,) = CONFIRMATION.findall(question)
    answer = await on_engine.post("/provisioning/w1/stop", data={"confirmed": confirmed})
    assert answer.url.path == "/provisioning/w1"
    (stopped,) = await terminations(stub_engine)
    assert stopped.path == "/api/workflow/w1"
    assert re.search(r"\w+@\w+", stopped.query["reason"])


async def test_link_does_not_stop_a_run(on_engine: httpx.AsyncClient, stub_engine: StubEngine) -> None:
    run_of(stub_engine, "RUNNING", None)
    (confirmed,) = CONFIRMATION.findall((await on_engine.post("/provisioning/w1/stop")).text)
    answer = await on_engine.get("/provisioning/w1/stop", params={"confirmed": confirmed})
    assert answer.status_code == 405
    assert stub_engine.writes == []


@pytest.mark.parametrize(("path", "method"), [("report.json", "GET"), ("stop", "POST")])
async def test_unknown_runs_and_outages_are_reported(
    on_engine: httpx.AsyncClient, stub_engine: StubEngine, path: str, method: str
) -> None:
    assert (await on_engine.request(method, f"/provisioning/nope/{path}")).status_code == 404
    stub_engine.outage = [503]
    assert (await on_engine.request(method, f"/provisioning/nope/{path}")).status_code == 503
    assert stub_engine.writes == []


async def test_run_is_shown_as_stopping_until_it_is_stopped(
    on_engine: httpx.AsyncClient, stub_engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, calls = threading.Event(), []

    def slow_stop(*_: Any, by: str) -> None:
        calls.append(by)
        go_on.wait(30)
        raise EngineError("The engine answered 500.", 500)

    monkeypatch.setattr("dialpad_ivr.console.run_pages.stop", slow_stop)
    run_of(stub_engine, "RUNNING", None)
    (confirmed,) = CONFIRMATION.findall((await on_engine.post("/provisioning/w1/stop")).text)
    try:
        for _ in range(2):
            page = (await on_engine.post("/provisioning/w1/stop", data={"confirmed": confirmed})).text
            assert '<span class="badge ">stopping</span>' in page
            assert "/stop" not in page
    finally:
        go_on.set()
    with anyio.fail_after(30):
        while "stopping" in (page := (await on_engine.get("/provisioning/w1")).text):
            await anyio.sleep(0.01)
    assert len(calls) == 1
    assert "not stopped The engine answered 500." in re.sub(" +", " ", text_of(page))
    assert 'action="/provisioning/w1/stop"' in page
