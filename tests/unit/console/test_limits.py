"""The page of limits."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx
import pytest

from dialpad_ivr.console.app import console_app
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.local.engine import free_port
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.tools import open_tools
from support.limits import ACME, OUTAGE
from support.stub import running_stub


async def page(settings: Settings, *workers: str, **headers: str) -> str:
    async with open_tools(settings) as tools:
        transport = httpx.ASGITransport(console_app(tools, EngineApi(settings), workers))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
            return html.unescape((await client.get("/limits")).text)


def rows(text: str) -> list[list[str]]:
    """The cells of each row of the table."""
    found = re.findall("<tr>(.*?)</tr>", text)
    return [[re.sub("<[^>]*>", "", cell) for cell in re.findall("<t[dh].*?</t[dh]>", row)] for row in found]


@pytest.mark.parametrize(
    ("more", "state", "badge"),
    [
        ({}, "open", "badge ok"),
        ({"pause_seconds": 12.5}, "pause paused for 12.5 s: Dialpad answered 429", "badge warn"),
        (
            {"circuit": OUTAGE},
            "outage Dialpad has not worked for 61 s (http_503); next probe in 5 s",
            "badge bad",
        ),
    ],
)
async def test_each_company_is_shown_with_what_keeps_its_calls_back(
    nowhere: Settings, more: dict[str, Any], state: str, badge: str
) -> None:
    with running_stub(lambda _: (200, {"shared": False, "companies": [{**ACME, **more}]})) as worker:
        text = await page(nowhere, worker.url)
    assert rows(text) == [
        ["company", "PATCHes", "calls", "waiting", "state"],
        ["acme", "1,100 of 1,200 in 60 s", "19 of 20 in 1 s", "2 single, 24 bulk", state],
    ]
    assert badge in text


async def test_several_workers_are_told_apart_and_one_that_is_away_is_named(nowhere: Settings) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    with running_stub(lambda _: (200, {"shared": True, "companies": [ACME]})) as worker:
        text = await page(nowhere, worker.url, away)
    assert [row[0] for row in rows(text)] == ["worker", worker.url]
    assert f"{away}: no worker answers" in text


async def test_without_a_call_it_says_so_and_goes_on_asking(nowhere: Settings) -> None:
    with running_stub(lambda _: (200, {"shared": False, "companies": []})) as worker:
        text = await page(nowhere, worker.url, **{"X-Part": "limits"})
    assert "No calls were made yet." in text
    assert "data-poll" in text
    assert "<header>" not in text
