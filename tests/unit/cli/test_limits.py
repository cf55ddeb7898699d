"""`limits`: what the workers' health ports say of each company."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.local.engine import free_port
from support.invoke import Invoke
from support.limits import ACME, OUTAGE
from support.stub import running_stub

IDLE = {**ACME, "company": "key:1a2b3c4d", "waiting": {"single": 0, "bulk": 0}}


def shown(invoke: Invoke, *companies: dict[str, Any]) -> list[list[str]]:
    """The cells of the table, without the headings."""
    with running_stub(lambda _: (200, {"shared": False, "companies": companies})) as worker:
        lines = invoke("limits", "--worker", worker.url).out.splitlines()
    return [[cell.strip() for cell in line.split("\u2502")] for line in lines[2:]]


def test_each_company_is_shown_with_what_is_used_and_who_waits(invoke: Invoke) -> None:
    assert shown(invoke, ACME, IDLE) == [
        ["acme", "1,100 of 1,200 in 60 s", "19 of 20 in 1 s", "2 single, 24 bulk", "open"],
        ["key:1a2b3c4d", "1,100 of 1,200 in 60 s", "19 of 20 in 1 s", "none", "open"],
    ]


def test_a_pause_and_an_outage_are_told_with_their_cause(invoke: Invoke) -> None:
    ((*_, paused), (*_, down)) = shown(invoke, {**ACME, "pause_seconds": 12.5}, {**ACME, "circuit": OUTAGE})
    assert paused == "paused for 12.5 s: Dialpad answered 429"
    assert down == "Dialpad has not worked for 61 s (http_503); next probe in 5 s"


def test_several_workers_are_told_apart_and_one_that_is_away_is_named(invoke: Invoke) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    with running_stub(lambda _: (200, {"shared": True, "companies": [ACME]})) as worker:
        result = invoke("limits", "--worker", worker.url, "--worker", f"{worker.url}/", "--worker", away, code=1)
        assert result.out.count(worker.url) == 2
    assert f"{away}: no worker answers" in result.err


def test_a_worker_without_calls_yet_says_so(invoke: Invoke) -> None:
    with running_stub(lambda _: (200, {"shared": False, "companies": []})) as worker:
        assert invoke("limits", "--worker", worker.url).out == "No calls were made yet.\n"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((503, {"error": "the fleet's Redis does not answer"}), "the fleet's Redis does not answer"),
        ((200, "<html>"), "HTTP 200: not a worker's health port"),
        ((404, {"detail": "Not Found"}), "HTTP 404: not a worker's health port"),
    ],
)
def test_what_is_no_report_is_told(invoke: Invoke, answer: tuple[int, Any], told: str) -> None:
    with running_stub(lambda _: answer) as worker:
        assert told in invoke("limits", "--worker", worker.url, code=1).err
        assert invoke("limits", "--worker", worker.url, "--json", code=1).json[worker.url]["error"]


def test_this_machines_worker_is_asked_by_default(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_stub(lambda _: (200, {"shared": False, "companies": [ACME]})) as worker:
        monkeypatch.setenv("DIALPAD_IVR_HEALTH_PORT", worker.url.rpartition(":")[2])
        assert invoke("limits", "--json").json == {worker.url: {"shared": False, "companies": [ACME]}}


def test_an_address_that_is_none_is_told(invoke: Invoke) -> None:
    assert "http://worker:port: not a URL" in invoke("limits", "--worker", "http://worker:port", code=1).err
