"""`list_custom_ivrs`, and the read before a guarded change (`if_selected`): Dialpad is a function here."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from dialpad_ivr.contract.schema import output_schema
from dialpad_ivr.contract.values import LIST_TASK_TYPE, LISTED_LIMIT
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.list_custom_ivrs import list_custom_ivrs
from dialpad_ivr.tasks.result import Result
from support.bench import VALID, Bench

TARGET = {"target_type": "callcenter", "target_id": "5502522061422592"}


def ivr(number: Any, name: str | None, selected: bool | None = False) -> dict[str, Any]:
    return {"id": number, "name": name, "selected": selected}


def page(slots: dict[str, list[dict[str, Any]]], cursor: str | None = None) -> httpx.Response:
    items = [{"ivr_type": ivr_type, "ivrs": ivrs} for ivr_type, ivrs in slots.items()]
    return httpx.Response(200, json={"items": items, **({"cursor": cursor} if cursor else {})})


SLOTS = {
    "HOLD_MUSIC": [ivr("1", "Jazz", selected=True), ivr(2, "Blues"), ivr("3", "Summer ")],
    "GREETING": [ivr("4", "Jazz", selected=True), ivr("5", "summer"), ivr("6", None)],
}


async def listed(bench: Bench, **params: Any) -> dict[str, Any]:
    result: Result = await bench.run({**TARGET, **params}, task=list_custom_ivrs)
    output: dict[str, Any] = json.loads(result.output.model_dump_json())
    Draft202012Validator(output_schema(LIST_TASK_TYPE)).validate(output)
    assert result.status == ("COMPLETED" if output["ok"] else "FAILED_WITH_TERMINAL_ERROR")
    return output


async def test_all_ivrs_of_a_target_are_listed_with_slot_and_selection(bench: Bench) -> None:
    bench.handler = lambda _: page(SLOTS)
    output = await listed(bench)
    assert output["outcome"] == "listed"
    assert [(i["id"], i["ivr_type"], i["selected"]) for i in output["ivrs"]][:4] == [
        ("1", "HOLD_MUSIC", True),
        ("2", "HOLD_MUSIC", False),
        ("3", "HOLD_MUSIC", False),
        ("4", "GREETING", True),
    ]
    assert output["found"] is None
    assert output["attempts"] == 1
    assert output["request"]["url"].endswith("/api/v2/customivrs?target_type=callcenter&target_id=5502522061422592")


async def test_one_slot_is_listed_with_what_it_has_selected(bench: Bench) -> None:
    bench.handler = lambda _: page(SLOTS)
    output = await listed(bench, ivr_type="GREETING")
    assert [i["id"] for i in output["ivrs"]] == ["4", "5", "6"]
    assert (output["ivr"]["ivr_type"], output["ivr"]["selected"]) == ("GREETING", {"id": "4", "name": "Jazz"})
    assert output["ivr"]["previous"] is None


async def test_every_page_is_read(bench: Bench) -> None:
    pages = {
        None: page({"MENU": [ivr(1, "a")]}, "c1"),
        "c1": page({"MENU": [ivr(2, "b")]}, "c2"),
        "c2": page({"CLOSED": [ivr(3, "c")]}),
    }
    bench.handler = lambda request: pages[request.url.params.get("cursor")]
    output = await listed(bench)
    assert [i["id"] for i in output["ivrs"]] == ["1", "2", "3"]
    assert output["attempts"] == 3


@pytest.mark.parametrize(
    ("asked", "number"),
    [
        ({"name": "Blues"}, "2"),
        ({"name": "  Blues "}, "2"),
        ({"name": "BLUES"}, "2"),
        ({"name": "Summer"}, "3"),  # written the same comes before the same but for case
        ({"name": "summer"}, "5"),
        ({"name": "Jazz", "ivr_type": "GREETING"}, "4"),
    ],
)
async def test_an_ivr_is_found_by_its_name(bench: Bench, asked: dict[str, Any], number: str) -> None:
    bench.handler = lambda _: page(SLOTS)
    output = await listed(bench, **asked)
    assert (output["outcome"], output["found"]["id"]) == ("listed", number)


@pytest.mark.parametrize(("name", "warned"), [("Blues", False), ("blues", True)])
async def test_a_name_that_differs_by_case_is_found_with_a_warning(bench: Bench, name: str, warned: bool) -> None:
    bench.handler = lambda _: page(SLOTS)
    text = " ".join((await listed(bench, name=name))["warnings"])
    assert ('called "Blues"' in text) == warned


async def test_a_near_name_of_several_ivrs_is_suggested_once(bench: Bench) -> None:
    bench.handler = lambda _: page(SLOTS)
    assert (await listed(bench, name="Jaz"))["error"]["message"].endswith('Did you mean "Jazz"?')


async def test_an_unknown_name_is_not_found_and_near_names_are_suggested(bench: Bench) -> None:
    bench.handler = lambda _: page(SLOTS)
    output = await listed(bench, name="Blus")
    assert (output["outcome"], output["error"]["code"]) == ("not_found", "no_such_name")
    assert 'Did you mean "Blues"' in output["error"]["message"]
    assert output["found"] is None


@pytest.mark.parametrize("name", ["Jazz", "SUMMER"])
async def test_a_name_that_several_have_is_a_conflict(bench: Bench, name: str) -> None:
    bench.handler = lambda _: page(SLOTS)
    output = await listed(bench, name=name)
    assert (output["outcome"], output["error"]["code"]) == ("conflict", "several_of_that_name")
    assert "HOLD_MUSIC" in output["error"]["message"]
    assert "GREETING" in output["error"]["message"]


async def test_a_very_long_list_is_cut_with_a_warning_but_searched_as_a_whole(bench: Bench) -> None:
    bench.handler = lambda _: page({"MENU": [ivr(number + 1, f"n{number}") for number in range(LISTED_LIMIT + 7)]})
    output = await listed(bench, name=f"n{LISTED_LIMIT + 6}")
    assert output["found"]["id"] == str(LISTED_LIMIT + 7)
    assert len(output["ivrs"]) == LISTED_LIMIT
    assert str(LISTED_LIMIT + 7) in output["warnings"][0]


async def test_every_violation_of_the_input_is_reported_at_once(bench: Bench) -> None:
    output = await listed(bench, target_type="nope", target_id="x", ivr_type="MUSIC", name=["x"], mode="plan")
    assert output["outcome"] == "invalid_input"
    paths = [error["path"] for error in output["error"]["field_errors"]]
    assert paths == ["target_type", "target_id", "ivr_type", "name", "mode"]
    assert bench.sent == []


async def test_refusals_have_the_same_outcomes_as_in_set_custom_ivr(bench: Bench) -> None:
    bench.handler = lambda _: httpx.Response(404)
    assert (await listed(bench))["outcome"] == "not_found"


async def test_a_429_defers_the_task(bench: Bench) -> None:
    bench.handler = lambda _: httpx.Response(429, headers={"retry-after": "7"})
    result = await bench.run(TARGET, task=list_custom_ivrs)
    assert (result.status, result.callback_seconds) == ("IN_PROGRESS", 7)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (httpx.Response(200, json={"error": {"message": "backend failed"}}), "error_in_answer"),
        (httpx.Response(200, json={"items": [], "errors": [{"message": "backend failed"}]}), "error_in_answer"),
        (httpx.Response(202, json={"items": []}), "unreadable_answer"),
        (httpx.Response(200, text="<html>log in</html>"), "unreadable_answer"),
    ],
)
async def test_an_untrustworthy_list_is_not_taken_for_an_empty_one(
    bench: Bench, answer: httpx.Response, code: str
) -> None:
    bench.handler = lambda _: answer
    read = await bench.run({**TARGET, "name": "Jazz"}, task=list_custom_ivrs)
    guarded = await bench.run({**VALID, "if_selected": []})
    for output in (read.output, guarded.output):
        assert output.error is not None
        assert (output.outcome, output.error.code) == ("unavailable", code)
    assert {request.method for request in bench.sent} == {"GET"}


async def test_an_endless_list_is_given_up_and_proves_nothing() -> None:
    bench = Bench(Settings(company_limit=10_000))
    numbers = itertools.count()
    bench.handler = lambda _: page({"MENU": []}, f"c{next(numbers)}")
    read = await bench.run({**TARGET, "name": "Jazz"}, task=list_custom_ivrs)
    assert (read.status, read.output.attempts) == ("FAILED", 50)
    guarded = await bench.run({**VALID, "if_selected": []})
    assert guarded.output.error is not None
    assert (guarded.output.outcome, guarded.output.error.code) == ("unavailable", "endless_list")
    assert {request.method for request in bench.sent} == {"GET"}


async def test_a_cursor_that_leads_back_ends_the_list_and_proves_nothing(bench: Bench) -> None:
    pages = {None: page({"MENU": []}, "c1"), "c1": page({"MENU": []}, "c2"), "c2": page({"MENU": []}, "c1")}
    bench.handler = lambda request: pages[request.url.params.get("cursor")]
    read = await bench.run({**TARGET, "name": "Jazz"}, task=list_custom_ivrs)
    assert read.output.error is not None
    assert (read.output.outcome, read.output.error.code, len(bench.sent)) == ("unavailable", "endless_list", 3)


def answering(slot_filter: str) -> Callable[[httpx.Request], httpx.Response]:
    """A server that honours, ignores or refuses `ivr_type`."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH":
            ivrs = [ivr(VALID["ivr_id"], "New", selected=True)]
            return httpx.Response(200, json={"ivr_type": "HOLD_MUSIC", "ivrs": ivrs})
        asked = request.url.params.get("ivr_type")
        if asked and slot_filter == "refused":
            return httpx.Response(400, json={"error": {"message": "Unknown parameter"}})
        found = {asked: SLOTS[asked]} if asked and slot_filter == "honoured" else SLOTS
        return page(found)

    return answer


@pytest.mark.parametrize(("slot_filter", "reads"), [("honoured", 1), ("ignored", 1), ("refused", 2)])
async def test_one_slot_is_read_whatever_the_server_makes_of_the_filter(
    bench: Bench, slot_filter: str, reads: int
) -> None:
    bench.handler = answering(slot_filter)
    output = await listed(bench, ivr_type="HOLD_MUSIC")
    assert [i["id"] for i in output["ivrs"]] == ["1", "2", "3"]
    assert [request.url.params.get("ivr_type") for request in bench.sent] == ["HOLD_MUSIC", None][:reads]
    assert output["request"]["url"] == str(bench.sent[-1].url)
    guarded = await bench.run({**VALID, "if_selected": ["1"]})
    assert guarded.output.outcome == "updated"


async def test_a_whole_target_is_read_without_the_filter(bench: Bench) -> None:
    bench.handler = answering("refused")
    await listed(bench)
    assert len(bench.sent) == 1


async def test_a_filter_that_was_refused_is_not_sent_again(bench: Bench) -> None:
    bench.handler = answering("refused")
    async with bench.tools() as tools:
        for _ in range(2):
            result = await list_custom_ivrs(Delivery({**TARGET, "ivr_type": "HOLD_MUSIC"}), tools)
            assert result.output.outcome == "listed"
    assert len(bench.sent) == 3


async def test_a_400_that_has_nothing_to_do_with_the_filter_is_reported(bench: Bench) -> None:
    bench.handler = lambda _: httpx.Response(400, json={"error": {"message": "No such target_id"}})
    async with bench.tools() as tools:
        result = await list_custom_ivrs(Delivery({**TARGET, "ivr_type": "HOLD_MUSIC"}), tools)
        assert (result.output.outcome, len(bench.sent)) == ("rejected", 2)
        bench.handler = answering("honoured")
        await list_custom_ivrs(Delivery({**TARGET, "ivr_type": "HOLD_MUSIC"}), tools)
    assert bench.sent[-1].url.params["ivr_type"] == "HOLD_MUSIC"


async def test_all_pages_together_have_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(Settings(deadline_seconds=20, max_inline_wait_seconds=10))
    loop = asyncio.get_running_loop()
    real_time, ahead = loop.time, 0
    monkeypatch.setattr(loop, "time", lambda: real_time() + ahead)

    async def slowly(_: httpx.Request) -> httpx.Response:
        nonlocal ahead
        ahead += 12  # within a call's deadline, each time
        await asyncio.sleep(0.01)  # the loop's timers see it
        return page({"MENU": []}, f"more{ahead}")

    bench.handler = slowly
    result = await bench.run(TARGET, task=list_custom_ivrs)
    assert result.output.error is not None
    assert (result.status, result.output.outcome) == ("FAILED", "unavailable")
    assert result.output.error.code == "deadline"
    assert len(bench.sent) == 3


async def test_overlong_values_from_dialpad_are_cut(bench: Bench) -> None:
    bench.handler = lambda _: page({"X" * 500_000: [ivr(1, "N" * 100_000)]})
    assert len(json.dumps((await listed(bench))["ivrs"])) < 400


# ---- if_selected


def slot(*selected: str, option: bool = False) -> Any:
    """A handler of both calls: these are selected before, and what the PATCH asks for afterwards."""

    def handle(request: httpx.Request) -> httpx.Response:
        ivrs = [ivr(number, f"IVR {number}", number in selected) for number in ("10", "20", "30")]
        if request.method == "GET":
            return page({"HOLD_MUSIC": ivrs})
        asked = str(json.loads(request.content)["ivr_id"])
        return httpx.Response(200, json={"ivr_type": "HOLD_MUSIC", "ivrs": [ivr(asked, "new", selected=True)]})

    return handle


@pytest.mark.parametrize(
    ("selected", "expected", "option", "outcome", "code"),
    [
        (["20"], ["20"], None, "updated", ""),
        ([], [], None, "updated", ""),
        (["20", "30"], ["30", 20], None, "updated", ""),
        (["20", "30"], ["30", 20], "inbound", "updated", ""),
        (["10"], ["20"], None, "unchanged", ""),
        (["10"], ["20"], "inbound", "updated", ""),  # the list cannot tell for which direction it is selected
        (["10", "20"], ["20"], "inbound", "updated", ""),  # an earlier attempt got through
        (["10", "20"], ["20"], None, "updated", ""),
        (["30"], ["20"], None, "conflict", "moved"),
        (["20"], [], None, "conflict", "moved"),
        ([], ["20"], None, "conflict", "moved"),
        (["10", "30"], ["20"], "inbound", "conflict", "moved"),
    ],
)
async def test_a_change_is_made_only_if_the_selection_is_the_expected_one(
    bench: Bench, selected: list[str], expected: list[Any], option: str | None, outcome: str, code: str
) -> None:
    bench.handler = slot(*selected)
    params = {**VALID, "ivr_id": "10", "if_selected": expected, "select_option": option}
    result = await bench.run(params)
    error = result.output.error
    assert (result.output.outcome, error.code if error else "") == (outcome, code)
    assert [request.method for request in bench.sent] == ["GET", "PATCH"] if outcome == "updated" else ["GET"]
    previous = result.output.ivr.previous
    assert (previous.id if previous else None) == (min(selected) if selected else None)


async def test_an_unknown_selection_is_a_conflict(bench: Bench) -> None:
    bench.handler = lambda _: page({"HOLD_MUSIC": [ivr("10", "a", None)]})
    result = await bench.run({**VALID, "if_selected": ["20"]})
    assert result.output.error is not None
    assert (result.output.outcome, result.output.error.code) == ("conflict", "selection_unknown")


async def test_a_list_that_is_refused_sends_nothing(bench: Bench) -> None:
    bench.handler = lambda _: httpx.Response(503)
    result = await bench.run({**VALID, "if_selected": ["20"]})
    assert (result.output.outcome, result.status) == ("unavailable", "FAILED")
    assert {request.method for request in bench.sent} == {"GET"}


async def test_a_change_made_by_a_previous_attempt_counts_as_updated(bench: Bench) -> None:
    bench.handler = slot("10")
    result = await bench.run({**VALID, "ivr_id": "10", "if_selected": ["20"]}, attempts=1)
    assert result.output.outcome == "updated"
    assert result.output.attempts == 1
    assert "Read afterwards" in result.output.warnings[0]
    assert {request.method for request in bench.sent} == {"GET"}


async def test_a_change_that_a_killed_worker_may_have_made_counts_as_updated(bench: Bench) -> None:
    bench.handler = slot("10")
    result = await bench.run({**VALID, "ivr_id": "10", "if_selected": ["20"]}, perhaps_sent=True)
    assert (result.output.outcome, result.output.attempts) == ("updated", 0)
    assert "Read afterwards" in result.output.warnings[0]


@pytest.mark.parametrize(("selected", "previous"), [(["10"], None), (["10", "20"], "20"), (["20"], "20")])
async def test_the_previous_selection_is_not_the_one_of_a_previous_attempt(
    bench: Bench, selected: list[str], previous: str | None
) -> None:
    bench.handler = slot(*selected)
    result = await bench.run({**VALID, "ivr_id": "10", "if_selected": ["20"]}, attempts=1)
    assert result.output.outcome == "updated"
    assert (result.output.ivr.previous and result.output.ivr.previous.id) == previous


async def test_a_conflict_after_a_previous_attempt_warns_that_the_change_was_sent(bench: Bench) -> None:
    bench.handler = slot("30")
    result = await bench.run({**VALID, "ivr_id": "10", "if_selected": ["20"]}, attempts=1)
    assert result.output.error is not None
    assert (result.output.outcome, result.output.error.code) == ("conflict", "moved")
    assert "A previous attempt may have made the change" in result.output.warnings[0]


async def test_a_conflict_names_the_current_and_the_expected_selection(bench: Bench) -> None:
    bench.handler = slot("20", "30")
    result = await bench.run({**VALID, "ivr_id": "10", "if_selected": ["40"]})
    assert result.output.error is not None
    for part in ("IVR 20 (20), IVR 30 (30) is selected, not 40", "No request was sent", "Plan again"):
        assert part in result.output.error.message


@pytest.mark.parametrize(
    ("selected", "expected", "outcome", "warnings"),
    [
        (["20"], ["20"], "planned", []),
        (["30"], ["20"], "planned", ["moved"]),
        (["10"], ["20"], "unchanged", []),
        (["10", "20"], ["20"], "planned", ["inbound from outbound"]),
        (["10", "30"], ["20"], "planned", ["inbound from outbound", "moved"]),
    ],
)
async def test_a_plan_says_what_applying_it_would_do(
    bench: Bench, selected: list[str], expected: list[str], outcome: str, warnings: list[str]
) -> None:
    bench.handler = slot(*selected)
    params = {**VALID, "ivr_id": "10", "if_selected": expected}
    planned = await bench.run({**params, "mode": "plan"})
    assert planned.output.outcome == outcome
    assert len(planned.output.warnings) == len(warnings)
    assert all(part in warning for part, warning in zip(warnings, planned.output.warnings, strict=True))
    applied = await bench.run(params)
    same = {"unchanged": "unchanged", "planned": "conflict" if "moved" in warnings else "updated"}
    assert applied.output.outcome == same[outcome]


async def test_a_429_on_the_read_before_a_change_defers_the_task(bench: Bench) -> None:
    bench.handler = lambda _: httpx.Response(429, headers={"retry-after": "7"})
    result = await bench.run({**VALID, "if_selected": ["20"]})
    assert (result.status, result.callback_seconds, result.output.attempts) == ("IN_PROGRESS", 7, 0)
