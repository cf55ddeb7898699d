"""The page of targets."""

from __future__ import annotations

import html
import re

import httpx
import pytest

from dialpad_ivr.testing.double import DoubleControl
from support.console import text_of


async def targets(client: httpx.AsyncClient, **query: str) -> str:
    return (await client.get("/targets", params=query, headers={"x-part": "targets"})).text


def rows(page: str) -> list[str]:
    return [text_of(row).strip() for row in re.findall(r"<tr>.*?</tr>", page)[1:]]


async def test_nothing_is_read_before_a_type_is_chosen(client: httpx.AsyncClient, double: DoubleControl) -> None:
    page = (await client.get("/targets")).text
    assert "Choose a type and press Show." in page
    assert "staffgroup" in page
    assert double.ledger() == []


@pytest.mark.parametrize(("site", "reads"), [("cross-site", 0), ("same-site", 0), ("same-origin", 1), ("none", 1)])
async def test_another_sites_page_cannot_spend_the_rate(
    client: httpx.AsyncClient, double: DoubleControl, site: str, reads: int
) -> None:
    query = {"target_type": "channel", "anew": ""}
    page = (await client.get("/targets", params=query, headers={"sec-fetch-site": site})).text
    assert "<option selected>channel</option>" in page
    assert len(double.ledger()) == reads


async def test_targets_are_listed_by_office_and_name(client: httpx.AsyncClient) -> None:
    page = await targets(client, target_type="callcenter", office="berlin")
    assert rows(page) == [
        "Hotline Berlin 5502522061422611 Its IVRs Set an IVR",
        "Support Berlin Berlin 5502522061422612 Its IVRs Set an IVR",
    ]
    assert "2 of 6 call centers. Read" in text_of(page)
    by_both = await targets(client, target_type="callcenter", office="5502522061422610", name="hot")
    assert len(rows(by_both)) == 1


async def test_a_name_takes_wildcards_as_the_commands_do(client: httpx.AsyncClient) -> None:
    page = await targets(client, target_type="callcenter", name="hot*")
    assert [row.split()[0] for row in rows(page)] == ["Hotline", "Hotline"]
    assert rows(await targets(client, target_type="callcenter", name="*line")) == rows(page)


@pytest.mark.parametrize(
    ("query", "meant"), [({"office": "Berlln"}, "Berlin"), ({"office": "Berlin", "name": "Hotlime"}, "Hotline")]
)
async def test_where_nothing_matches_what_was_perhaps_meant_is_said(
    client: httpx.AsyncClient, query: dict[str, str], meant: str
) -> None:
    page = text_of(await targets(client, target_type="callcenter", **query))
    assert f'None of 6 call centers. Did you mean "{meant}"' in html.unescape(page)


async def test_a_row_leads_to_its_ivrs_and_to_the_form_that_sets_one(client: httpx.AsyncClient) -> None:
    page = await targets(client, target_type="callcenter", name="support berlin")
    links = [html.unescape(link) for link in re.findall(r'<a href="(/tasks[^"]*)"', page)]
    assert [link.partition("?")[0] for link in links] == ["/tasks/list_custom_ivrs", "/tasks/set_custom_ivr"]
    for link in links:
        form = (await client.get(link)).text
        assert 'id="in-target_id" name="target_id" value="5502522061422612"' in form
        assert 'id="name-target_id"><bdi>Support Berlin</bdi>' in form


async def test_a_long_list_has_pages_and_is_read_once(client: httpx.AsyncClient, double: DoubleControl) -> None:
    double.set_state(company=120)
    first = await targets(client, target_type="callcenter")
    last = await targets(client, target_type="callcenter", page="3")
    assert (len(rows(first)), len(rows(last))) == (50, 20)
    assert "1 to 50 of 120 call centers." in text_of(first)
    assert "101 to 120 of 120 call centers." in text_of(last)
    assert "Page 3 of 3" in last
    assert rows(await targets(client, target_type="callcenter", page="99")) == rows(last)
    reads = len(double.ledger())
    again = re.search(r'href="([^"]*)">Read again', first)
    assert again
    await client.get(html.unescape(again[1]))
    assert len(double.ledger()) == 2 * reads


async def test_targets_of_no_known_office_are_not_passed_over_in_silence(
    client: httpx.AsyncClient, double: DoubleControl
) -> None:
    double.set_state({"target_type": "channel", "target_id": "7", "name": "News"})
    text = text_of(await targets(client, target_type="channel", office="Berlin"))
    assert "None of 1 channel." in text
    assert "Not shown, as Dialpad does not say their office: 1 channel." in text


async def test_a_refused_list_names_the_call(client: httpx.AsyncClient, double: DoubleControl) -> None:
    double.add_faults({"match": {"target_type": "user"}, "fault": "status", "status": 403, "times": None})
    page = await targets(client, target_type="user")
    assert "GET /api/v2/users: Dialpad answered 403" in text_of(page)
    assert rows(page) == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"target_type": "staffgroup"}, "Dialpad documents no list of targets of type staffgroup."),
        ({"target_type": "callcentre"}, 'Did you mean "callcenter"?'),
        ({"target_type": "user", "credential": "sk-LIVE-0123456789abcdef"}, "credential is"),
        ({"target_type": "staffgroup", "credential": "sk-LIVE-0123456789abcdef"}, "credential is"),
    ],
)
async def test_what_cannot_be_listed_says_why(
    client: httpx.AsyncClient, double: DoubleControl, query: dict[str, str], message: str
) -> None:
    page = (await client.get("/targets", params=query)).text
    assert message in text_of(page)
    assert "sk-LIVE" not in page
    assert double.ledger() == []
