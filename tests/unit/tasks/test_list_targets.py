"""`list_targets`, against the double of a company with several offices, or against a function in place of Dialpad."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from dialpad_ivr.contract.schema import output_schema
from dialpad_ivr.contract.targets import LISTED_TYPES
from dialpad_ivr.contract.values import LISTED_LIMIT, NAME_LIMIT, TARGET_TYPES, TARGETS_TASK_TYPE
from dialpad_ivr.local.double import FakeDialpad, FaultRule, create_app
from dialpad_ivr.local.double.company import company_targets
from dialpad_ivr.local.double.faults import FaultMatch
from dialpad_ivr.local.double.state import FakeTarget
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.list_targets import list_targets
from support.bench import KEY, Bench

CENTER, HEAD_OFFICE, BERLIN, LISBON = "5502522061422592", "5502522061422602", "5502522061422610", "5502522061422630"
Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def double() -> FakeDialpad:
    double = FakeDialpad(keys={KEY: "demo"})
    double.configure({"enforce": False, "page_size": 2})
    return double


@pytest.fixture
def bench(double: FakeDialpad) -> Bench:
    bench = Bench(Settings(company_limit=10_000))
    transport = httpx.ASGITransport(create_app(double))

    async def forward(request: httpx.Request) -> httpx.Response:
        response = await transport.handle_async_request(request)
        await response.aread()
        return response

    bench.handler = forward
    return bench


async def listed(bench: Bench, target_type: str = "callcenter", **params: Any) -> dict[str, Any]:
    result = await bench.run({"target_type": target_type, **params}, task=list_targets)
    output: dict[str, Any] = json.loads(result.output.model_dump_json())
    Draft202012Validator(output_schema(TARGETS_TASK_TYPE)).validate(output)
    assert KEY not in str(output)
    return output


def ids(output: dict[str, Any]) -> list[str]:
    return [target["id"] for target in output["targets"]]


def paths(bench: Bench) -> list[str]:
    """The distinct paths that were read, in order."""
    return list(dict.fromkeys(request.url.path for request in bench.sent))


@pytest.mark.parametrize("target_type", LISTED_TYPES)
async def test_all_targets_of_a_type_are_listed_with_their_office(
    bench: Bench, double: FakeDialpad, target_type: str
) -> None:
    output = await listed(bench, target_type)
    assert (output["outcome"], output["ok"], output["found"]) == ("listed", True, None)
    expected = double.state.of_type(target_type)
    assert len(expected) > 1
    names = {office.target_id: office.name for office in double.state.of_type("office")}
    assert output["targets"] == [
        {
            "id": target.target_id,
            "name": target.name,
            "office": target.office_id and {"id": target.office_id, "name": names[target.office_id]},
        }
        for target in expected
    ]


@pytest.mark.parametrize(
    ("asked", "number"),
    [
        ({"name": "Support"}, CENTER),
        ({"name": "  Support "}, CENTER),
        ({"name": "SUPPORT berlin"}, "5502522061422612"),
        ({"name": "Hotline", "office": "Lisbon"}, "5502522061422631"),
        ({"name": "hotline", "office": "lisbon"}, "5502522061422631"),
        ({"name": "Hotline", "office": BERLIN}, "5502522061422611"),
        ({"name": "Hotline", "office": int(BERLIN)}, "5502522061422611"),
        ({"name": "* Lis*n"}, "5502522061422632"),
        ({"number": "+1 (415) 555-1000"}, CENTER),
        ({"number": "+14155551000", "office": "Head office", "name": "Support"}, CENTER),
        ({"target_type": "user", "email": "Kim.Berlin@example.com"}, "5502522061422614"),
        ({"target_type": "user", "number": "+14155551002"}, "5502522061422603"),
        ({"target_type": "user", "name": "Kim Novak", "office": "Berlin"}, "5502522061422614"),
        ({"target_type": "office", "name": "berlin"}, BERLIN),
        ({"target_type": "room", "office": "Lisbon", "name": "*"}, "5502522061422635"),
        ({"target_type": "coachingteam", "office": "Lisbon", "name": "*"}, "5502522061422636"),
        ({"target_type": "callrouter", "office": "Lisbon", "name": "*"}, "5502522061422637"),
        ({"target_type": "department", "office": "Lisbon", "name": "*"}, "5502522061422633"),
    ],
)
async def test_a_target_is_found(bench: Bench, asked: dict[str, Any], number: str) -> None:
    output = await listed(bench, **asked)
    assert (output["outcome"], output["error"]) == ("listed", None)
    assert output["found"]["id"] == number
    assert output["targets"] == [output["found"]]


async def test_a_found_target_has_its_name_and_office(bench: Bench) -> None:
    by_number = await listed(bench, number="+14155551000")
    assert by_number["found"] == {"id": CENTER, "name": "Support", "office": {"id": HEAD_OFFICE, "name": None}}
    in_office = await listed(bench, name="Support", office="Head office")
    assert in_office["found"]["office"] == {"id": HEAD_OFFICE, "name": "Head office"}


@pytest.mark.parametrize(("name", "warned"), [("Support Berlin", False), ("support berlin", True), ("support*", False)])
async def test_a_name_that_differs_by_case_is_found_with_a_warning(bench: Bench, name: str, warned: bool) -> None:
    text = " ".join((await listed(bench, name=name))["warnings"])
    assert ('called "Support Berlin"' in text) == warned


async def test_a_wildcard_finds_all_that_match(bench: Bench) -> None:
    output = await listed(bench, name="support*")
    assert (output["outcome"], output["found"]) == ("listed", None)
    assert [target["name"] for target in output["targets"]] == ["Support", "Support Berlin", "Support Lisbon"]


async def test_several_of_a_name_are_a_conflict_with_their_offices_and_ids(bench: Bench) -> None:
    output = await listed(bench, name="Hotline")
    assert (output["outcome"], output["error"]["code"]) == ("conflict", "several_of_that_name")
    for part in ("5502522061422611 (office Berlin)", "5502522061422631 (office Lisbon)", "Give office, or use an id."):
        assert part in output["error"]["message"]
    assert ids(output) == ["5502522061422611", "5502522061422631"]
    assert output["found"] is None


async def test_two_offices_of_one_name_are_a_conflict(bench: Bench, double: FakeDialpad) -> None:
    twins = [FakeTarget(target_type="office", target_id=number, name="Berlin", office_id=number) for number in "89"]
    double.state.replace(twins)
    output = await listed(bench, office="Berlin", name="Hotline")
    assert (output["outcome"], output["error"]["code"]) == ("conflict", "several_offices")
    assert "8, 9. Give the office's id." in output["error"]["message"]
    assert paths(bench) == ["/api/v2/offices"]


@pytest.mark.parametrize(
    ("asked", "code", "text"),
    [
        ({"name": "Suport"}, "no_such_name", 'Did you mean "Support"'),
        ({"name": "hot"}, "no_such_name", 'Did you mean "Hotline"?'),
        ({"name": "Xyzzy"}, "no_such_name", "See all call centers: dialpad-ivr targets callcenter"),
        ({"name": "Xyzzy*"}, "no_such_name", 'no call centers called "Xyzzy*"'),
        ({"name": "Support", "office": "Berlin"}, "no_such_name", 'Did you mean "Support Berlin"?'),
        ({"office": "Berln"}, "no_such_office", 'Did you mean "Berlin"?'),
        ({"office": "1"}, "no_such_office", 'There is no office "1".'),
        ({"number": "+19995551000"}, "no_such_number", "+19995551000. Correct it."),
        ({"number": "+14155551001"}, "number_of_another_type", f"belongs to office {HEAD_OFFICE}"),
        ({"number": "+14155551000", "office": "Berlin"}, "no_such_name", 'of office "Berlin"'),
        ({"target_type": "user", "email": "nobody@example.com"}, "no_such_name", "email nobody@example.com"),
        ({"target_type": "user", "email": "kim.berlin@example.com", "office": "Lisbon"}, "no_such_name", "Lisbon"),
    ],
)
async def test_what_is_not_there_is_not_found_with_a_hint(
    bench: Bench, asked: dict[str, Any], code: str, text: str
) -> None:
    output = await listed(bench, **asked)
    assert (output["outcome"], output["error"]["code"]) == ("not_found", code)
    assert text in output["error"]["message"]
    assert (output["found"], output["targets"]) == (None, [])


async def test_an_office_without_targets_is_an_empty_list(bench: Bench) -> None:
    output = await listed(bench, "room", office="Head office")
    assert (output["outcome"], output["targets"]) == ("listed", [])


async def test_an_exact_name_is_searched_before_all_are_read(bench: Bench, double: FakeDialpad) -> None:
    double.configure({"page_size": 100})
    double.state.replace(company_targets(500))
    name = double.state.of_type("callcenter")[-1].name
    assert (await listed(bench, name=name))["outcome"] in ("listed", "conflict")
    assert str(bench.sent[0].url.params["name_search"]) == name
    assert len(bench.sent) <= 2  # and the offices, where several have it


async def test_a_name_that_cannot_be_searched_is_looked_for_in_the_whole_list(
    bench: Bench, double: FakeDialpad
) -> None:
    double.faults.add(FaultRule(match=FaultMatch(path="/api/v2/callcenters"), fault="status", status=400))
    assert (await listed(bench, name="Support"))["found"]["id"] == CENTER
    assert "name_search" not in bench.sent[-1].url.params


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("asked", [{"office": "Berlin"}, {"name": "Support *"}, {"name": "Nobody"}, {}])
async def test_a_list_that_ends_in_an_error_proves_nothing(
    bench: Bench, double: FakeDialpad, asked: dict[str, str], status: int
) -> None:
    # The first page is read; "Support Berlin" and the others are on later ones.
    path = f"/api/v2/offices/{BERLIN}/callcenters" if "office" in asked else "/api/v2/callcenters"
    double.configure({"page_size": 1})
    double.faults.add(FaultRule(match=FaultMatch(path=path), fault="status", status=status, skip=1, times=None))
    output = await listed(bench, **asked)
    assert output["outcome"] in ("rejected", "forbidden", "unavailable", None)
    assert (output["found"], output["targets"]) == (None, [])
    assert output["outcome"] is None or "callcenters" in output["error"]["message"]


@pytest.mark.parametrize("fault", ["broken_json", "wrong_content_type", "reset_after"])
async def test_a_page_that_cannot_be_read_proves_nothing(bench: Bench, double: FakeDialpad, fault: Any) -> None:
    double.faults.add(FaultRule(match=FaultMatch(target_type="callcenter"), fault=fault, skip=1, times=None))
    if fault == "reset_after":
        forward = bench.handler

        async def reset(request: httpx.Request) -> httpx.Response:
            try:
                answer = forward(request)
                assert not isinstance(answer, httpx.Response)
                return await answer
            except ConnectionResetError:
                raise httpx.ReadError("reset", request=request) from None

        bench.handler = reset
    output = await listed(bench, name="* Berlin")
    assert (output["outcome"], output["targets"]) == ("unavailable", [])


async def test_a_key_that_may_not_list_users_says_which_call_was_refused(bench: Bench, double: FakeDialpad) -> None:
    double.faults.add(FaultRule(match=FaultMatch(path="/api/v2/users"), fault="status", status=403, times=None))
    output = await listed(bench, "user", email="robin@example.com")
    assert output["outcome"] == "forbidden"
    assert output["error"]["message"].startswith("GET /api/v2/users: Dialpad answered 403")


async def test_a_key_that_may_not_list_offices_lists_targets_without_their_names(
    bench: Bench, double: FakeDialpad
) -> None:
    double.faults.add(FaultRule(match=FaultMatch(path="/api/v2/offices"), fault="status", status=403, times=None))
    output = await listed(bench)
    assert output["outcome"] == "listed"
    assert output["targets"][0]["office"] == {"id": HEAD_OFFICE, "name": None}
    assert "GET /api/v2/offices: Dialpad answered 403" in output["warnings"][0]


async def test_a_refusal_that_passes_is_not_taken_for_one_that_stays(bench: Bench, double: FakeDialpad) -> None:
    double.faults.add(FaultRule(match=FaultMatch(path="/api/v2/offices"), fault="status", status=429, times=None))
    result = await bench.run({"target_type": "callcenter"}, task=list_targets)
    assert result.status == "IN_PROGRESS"


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.long)])
async def test_thousands_of_users_are_read_and_cut_with_a_warning(
    bench: Bench, double: FakeDialpad, count: int
) -> None:
    double.configure({"page_size": 100})
    double.state.replace(FakeTarget(target_type="user", target_id=str(n + 1), name=f"User {n}") for n in range(count))
    output = await listed(bench, "user")
    assert (len(output["targets"]), output["attempts"]) == (LISTED_LIMIT, count / 100)
    assert f"{count} users" in output["warnings"][0]
    assert (await listed(bench, "user", name=f"User {count - 1}"))["found"]["id"] == str(count)


def answering(**items: list[Any]) -> Answer:
    """A server that answers each path's last segment with these items."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"items": items.get(request.url.path.rpartition("/")[2], [])})

    return answer


async def test_a_user_that_has_not_the_address_is_not_taken_for_the_one_who_has(bench: Bench) -> None:
    bench.handler = answering(users=[{"id": 1, "display_name": "A", "emails": ["a@example.com"]}, {"id": 2}])
    output = await listed(bench, "user", email="b@example.com")
    assert output["outcome"] == "not_found"
    assert (await listed(bench, "user", email="A@example.com"))["found"]["id"] == "1"


async def test_rooms_of_other_offices_are_left_out_where_the_server_ignores_the_office(bench: Bench) -> None:
    rooms = [{"id": 1, "name": "A", "office_id": 7}, {"id": 2, "name": "A", "office_id": 8}, {"id": 3, "name": "A"}]
    bench.handler = answering(offices=[{"id": "7", "name": "Berlin"}], rooms=rooms)
    assert (await listed(bench, "room", office="Berlin", name="A"))["found"]["id"] == "1"


async def test_deleted_targets_are_no_homonyms(bench: Bench) -> None:
    centers = [{"id": 1, "name": "A", "state": "deleted"}, {"id": 2, "name": "A", "state": "active"}]
    bench.handler = answering(callcenters=centers)
    assert (await listed(bench, name="A"))["found"]["id"] == "2"


@pytest.mark.parametrize(
    "body", [{"target_type": None}, {"target_type": "callcenter", "target_id": None}, {"status": "available"}]
)
async def test_a_number_without_a_target_is_not_found(bench: Bench, body: dict[str, Any]) -> None:
    bench.handler = lambda _: httpx.Response(200, json=body)
    assert (await listed(bench, number="+1415"))["error"]["code"] == "no_such_number"


async def test_a_number_whose_target_is_another_one_is_not_trusted(bench: Bench) -> None:
    answers = {"+1415": {"target_type": "callcenter", "target_id": 5}, "5": {"id": 6, "name": "Another"}}
    bench.handler = lambda request: httpx.Response(200, json=answers[request.url.path.rpartition("/")[2]])
    output = await listed(bench, number="+1415")
    assert (output["outcome"], output["error"]["code"]) == ("unavailable", "another_target")


HOSTILE = [
    'quo"te, comma\nnewline',
    "\N{RIGHT-TO-LEFT OVERRIDE}gnidaer",
    "\x1b]0;title\x07\x1b[2J",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A1",
    "\N{GRINNING FACE} caf\N{LATIN SMALL LETTER E WITH ACUTE}",
    "n" * 10_000,
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_hostile_name_is_found_and_cannot_steer_a_message(bench: Bench, name: str) -> None:
    centers = [{"id": n, "name": name, "office_id": n} for n in (1, 2)]
    bench.handler = answering(callcenters=centers, offices=[{"id": n, "name": name} for n in (1, 2)])
    output = await listed(bench, name=name[:NAME_LIMIT])
    assert output["outcome"] == "conflict"
    assert output["targets"][0]["name"] == name[:NAME_LIMIT]
    message = output["error"]["message"]
    assert message.isprintable()
    assert len(message) < 500
    suggested = await listed(bench, name=f"{name[:20]}*x")
    assert suggested["error"]["message"].isprintable()
    bench.handler = answering(callcenters=centers[:1])
    warned = await listed(bench, name=name[:NAME_LIMIT].swapcase())
    assert all(warning.isprintable() for warning in warned["warnings"])


async def test_a_pattern_of_many_wildcards_takes_no_time(bench: Bench) -> None:
    bench.handler = answering(callcenters=[{"id": n, "name": "a" * NAME_LIMIT} for n in range(1, 1000)])
    output = await listed(bench, name="*a" * (NAME_LIMIT // 2 - 1) + "*b")
    assert output["outcome"] == "not_found"


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "abc", True),
        ("a*c", "ac", True),
        ("ab*ba", "aba", False),
        ("*b*b*", "abc", False),
        ("a*", "ba", False),
        ("a.c*", "abc", False),
        ("**", "", True),
    ],
)
async def test_a_wildcard_stands_for_any_text(bench: Bench, pattern: str, name: str, matches: bool) -> None:
    bench.handler = answering(callcenters=[{"id": 1, "name": name}])
    assert (await listed(bench, name=pattern))["ok"] == matches


@pytest.mark.parametrize("target_type", sorted(set(TARGET_TYPES) - set(LISTED_TYPES)))
async def test_a_type_without_a_documented_list_says_to_use_ids(bench: Bench, target_type: str) -> None:
    output = await listed(bench, target_type)
    (error,) = output["error"]["field_errors"]
    assert output["outcome"] == "invalid_input"
    assert "no list" in error["message"]
    assert "target_id" in error["hint"]
    assert error["suggestion"] is None
    assert bench.sent == []


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({"email": "a@example.com"}, ["email"]),
        ({"target_type": "channel", "office": "Berlin", "email": "a@example.com"}, ["email", "office"]),
        (
            {"target_type": "nope", "office": 1.5, "name": 7, "number": "call me", "email": "x", "ivr_type": "MENU"},
            ["target_type", "office", "name", "number", "email", "ivr_type"],
        ),
    ],
)
async def test_every_violation_of_the_input_is_reported_at_once(
    bench: Bench, asked: dict[str, Any], fields: list[str]
) -> None:
    output = await listed(bench, **asked)
    assert output["outcome"] == "invalid_input"
    assert [error["path"] for error in output["error"]["field_errors"]] == fields
    assert all(error["hint"] for error in output["error"]["field_errors"])
    assert bench.sent == []
