"""The task as its users see it: input in, output and engine status out. Dialpad is a function here."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from dialpad_ivr.contract.schema import output_schema
from dialpad_ivr.contract.validation import example_input
from dialpad_ivr.credentials import Credentials
from dialpad_ivr.dialpad.client import DialpadClient
from dialpad_ivr.pacing.limiter import Limiter
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.local_run import as_curl
from dialpad_ivr.tasks.result import Result
from dialpad_ivr.tasks.set_custom_ivr import set_custom_ivr
from dialpad_ivr.tasks.tools import Tools
from dialpad_ivr.telemetry.metrics import Metrics
from support.bench import KEY, VALID, Bench
from support.windows import Clock
from support.wire import response, wired


def selected(ivr_id: str, ivr_type: str = "HOLD_MUSIC") -> dict[str, Any]:
    others = [{"id": "1", "name": "Old", "selected": ivr_id == "1"}]
    ours = [{"id": VALID["ivr_id"], "name": "New", "selected": ivr_id == VALID["ivr_id"]}]
    return {"ivr_type": ivr_type, "ivrs": others + ours}


def page(*slots: dict[str, Any], cursor: str = "") -> httpx.Response:
    return httpx.Response(200, json={"items": list(slots), "cursor": cursor})


def check(result: Result) -> dict[str, Any]:
    """The output as the engine gets it; it has the same shape every time and never the key."""
    output: dict[str, Any] = result.output.model_dump(mode="json")
    Draft202012Validator(output_schema()).validate(output)
    assert set(output) == set(output_schema()["properties"])
    assert KEY not in str(output)
    assert KEY not in repr(result)
    return output


async def test_a_change_is_sent_and_reported(bench: Bench) -> None:
    bench.handler = lambda _: httpx.Response(200, json=selected(VALID["ivr_id"]))
    result = await bench.run()
    output = check(result)
    assert (result.status, output["outcome"], output["ok"]) == ("COMPLETED", "updated", True)
    assert output["ivr"] == {
        "ivr_type": "HOLD_MUSIC",
        "selected": {"id": VALID["ivr_id"], "name": "New"},
        "previous": None,
        "previous_ids": None,
        "listed": None,
    }
    assert output["request"]["body"] == {"ivr_id": int(VALID["ivr_id"])}
    assert output["response"]["status_code"] == 200
    assert output["attempts"] == 1
    assert len(bench.sent) == 1


async def test_an_id_above_2_53_is_a_string_of_digits_in_the_output(bench: Bench) -> None:
    result = await bench.run({**VALID, "ivr_id": str(2**53 + 1)})
    assert json.loads(bench.sent[0].content) == {"ivr_id": 2**53 + 1}
    assert check(result)["request"]["body"] == {"ivr_id": str(2**53 + 1)}
    assert result.output.request is not None
    assert "9007199254740993}" in as_curl(result.output.request, "default")


async def test_an_invalid_input_sends_nothing_and_reports_every_violation(bench: Bench) -> None:
    result = await bench.run({"ivr_type": "NOPE", "x": 1})
    output = check(result)
    assert result.status == "FAILED_WITH_TERMINAL_ERROR"
    assert output["outcome"] == "invalid_input"
    assert output["error"]["example"] == example_input()
    assert [e["path"] for e in output["error"]["field_errors"]] == [
        "target_type",
        "target_id",
        "ivr_type",
        "ivr_id",
        "x",
    ]
    assert bench.sent == []


async def test_validate_sends_nothing_and_needs_no_key(bench: Bench) -> None:
    bench.environ.clear()
    output = check(await bench.run({**VALID, "mode": "validate"}))
    assert output["outcome"] == "valid"
    assert output["request"]["method"] == "PATCH"
    assert bench.sent == []


async def test_a_missing_key_is_unauthorized_and_names_the_profile(bench: Bench) -> None:
    result = await bench.run({**VALID, "credential": "emea"})
    output = check(result)
    assert (result.status, output["outcome"]) == ("FAILED_WITH_TERMINAL_ERROR", "unauthorized")
    assert "'emea'" in output["error"]["message"]
    assert bench.sent == []


async def test_the_engines_secret_is_used(bench: Bench) -> None:
    bench.environ.clear()
    bench.handler = lambda _: httpx.Response(200, json=selected(VALID["ivr_id"]))
    check(await bench.run(runtime_metadata={"DIALPAD_API_KEY": KEY}))
    assert bench.sent[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(("now", "outcome"), [("1", "planned"), (VALID["ivr_id"], "unchanged")])
async def test_plan_reads_and_never_writes(bench: Bench, now: str, outcome: str) -> None:
    bench.handler = lambda _: page(selected("1", "MENU"), selected(now))
    output = check(await bench.run({**VALID, "mode": "plan"}))
    assert output["outcome"] == outcome
    assert output["ivr"]["previous"]["id"] == now
    assert output["ivr"]["previous_ids"] == [now]
    assert output["request"]["method"] == "PATCH"
    assert [request.method for request in bench.sent] == ["GET"]
    assert output["attempts"] == 0


async def test_plan_reads_all_pages(bench: Bench) -> None:
    pages = {"": page(selected("1", "MENU"), cursor="p2"), "p2": page(selected("1"))}
    bench.handler = lambda request: pages[request.url.params.get("cursor", "")]
    output = check(await bench.run({**VALID, "mode": "plan"}))
    assert output["outcome"] == "planned"
    assert len(bench.sent) == 2


async def test_plan_warns_of_an_ivr_that_the_target_does_not_have(bench: Bench) -> None:
    bench.handler = lambda _: page()
    output = check(await bench.run({**VALID, "mode": "plan"}))
    assert output["outcome"] == "planned"
    assert "lists no IVR" in output["warnings"][0]
    assert (output["ivr"]["listed"], output["ivr"]["previous_ids"]) == (False, [])


@pytest.mark.parametrize(("states", "ids"), [((True, True), ["1", VALID["ivr_id"]]), ((None, None), None)])
async def test_plan_shows_all_that_is_selected_or_that_dialpad_does_not_say(
    bench: Bench, states: tuple[bool | None, bool | None], ids: list[str] | None
) -> None:
    slot = selected("1")
    slot["ivrs"] = [{"id": i, "selected": state} for i, state in zip(("1", VALID["ivr_id"]), states, strict=True)]
    bench.handler = lambda _: page(slot)
    output = check(await bench.run({**VALID, "mode": "plan"}))
    assert (output["ivr"]["listed"], output["ivr"]["previous_ids"]) == (True, ids)


async def test_plan_with_select_option_never_says_unchanged(bench: Bench) -> None:
    bench.handler = lambda _: page(selected(VALID["ivr_id"], "AUTO_RECORDING"))
    raw = {**VALID, "ivr_type": "AUTO_RECORDING", "select_option": "inbound", "mode": "plan"}
    output = check(await bench.run(raw))
    assert output["outcome"] == "planned"
    assert "inbound" in output["warnings"][0]


@pytest.mark.parametrize(("status", "outcome"), [(401, "unauthorized"), (403, "forbidden"), (404, "not_found")])
async def test_plan_fails_as_the_read_does(bench: Bench, status: int, outcome: str) -> None:
    bench.handler = lambda _: httpx.Response(status, json={})
    assert check(await bench.run({**VALID, "mode": "plan"}))["outcome"] == outcome


@pytest.mark.parametrize(("retry_after", "callback"), [("3", 3), (None, 1), ("0", 1), ("99999", 300)])
async def test_a_429_defers_the_task_and_costs_no_retry(bench: Bench, retry_after: str | None, callback: int) -> None:
    headers = {"retry-after": retry_after} if retry_after else {}
    bench.handler = lambda _: httpx.Response(429, headers=headers)
    result = await bench.run()
    output = check(result)
    assert result.status == "IN_PROGRESS"
    assert result.callback_seconds == callback
    assert (output["outcome"], output["ok"], output["error"]["code"]) == (None, False, "http_429")
    assert 0 <= output["waited_ms"] - callback * 1000 <= 500  # a permit may have taken a moment
    assert output["attempts"] == 1


async def test_the_waiting_budget_ends_a_wait_as_rate_limited(bench: Bench) -> None:
    bench.handler = lambda _: httpx.Response(429, headers={"retry-after": "60"})
    result = await bench.run(waited_ms=880_000, attempts=9)
    output = check(result)
    assert (result.status, output["outcome"]) == ("FAILED", "rate_limited")
    assert "waiting budget" in output["error"]["message"]
    assert output["error"]["retry_after_seconds"] == 60
    assert output["attempts"] == 10


async def test_a_fault_fails_the_task_and_leaves_the_retry_to_the_engine(bench: Bench) -> None:
    bench.handler = lambda _: httpx.Response(503, text="busy")
    result = await bench.run(last_attempt=False)
    output = check(result)
    assert (result.status, output["outcome"]) == ("FAILED", "unavailable")
    assert output["response"]["body"] == "busy"
    assert len(bench.sent) == 1


def lost_answer(now: str) -> Any:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH":
            raise httpx.ReadTimeout("")
        return page(selected(now))

    return handle


@pytest.mark.parametrize(
    ("now", "status", "outcome"), [(VALID["ivr_id"], "COMPLETED", "updated"), ("1", "FAILED", "unavailable")]
)
async def test_on_the_last_attempt_the_current_selection_decides(
    bench: Bench, now: str, status: str, outcome: str
) -> None:
    bench.handler = lost_answer(now)
    result = await bench.run(last_attempt=True)
    output = check(result)
    assert (result.status, output["outcome"]) == (status, outcome)
    assert output["ivr"]["selected"]["id"] == now
    assert [request.method for request in bench.sent] == ["PATCH", "GET"]


async def test_no_change_is_sent_after_the_send_deadline(bench: Bench) -> None:
    bench.handler = lambda _: httpx.Response(200, json=selected(VALID["ivr_id"]))
    output = check(await bench.run(send_deadline=time.monotonic()))
    assert (output["outcome"], output["error"]["code"], output["attempts"]) == ("unavailable", "expired", 0)
    assert bench.sent == []
    assert check(await bench.run(send_deadline=time.monotonic() + 60))["outcome"] == "updated"


async def test_the_settling_read_is_sent_even_after_the_send_deadline(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("dialpad_ivr.tasks.caller.time", SimpleNamespace(monotonic=clock))

    def lose(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return page(selected(VALID["ivr_id"]))
        clock.now += 60
        raise httpx.ReadTimeout("slow")

    bench.handler = lose
    output = check(await bench.run(send_deadline=clock.now + 30, last_attempt=True))
    assert output["outcome"] == "updated"
    assert [request.method for request in bench.sent] == ["PATCH", "GET"]


async def test_before_the_last_attempt_no_settling_read_is_sent(bench: Bench) -> None:
    bench.handler = lost_answer(VALID["ivr_id"])
    assert check(await bench.run(last_attempt=False))["outcome"] == "unavailable"
    assert len(bench.sent) == 1


async def test_a_failed_settling_read_leaves_the_change_unconfirmed(bench: Bench) -> None:
    def lost(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("reset")

    bench.handler = lost
    assert check(await bench.run())["outcome"] == "unconfirmed"
    assert [request.method for request in bench.sent] == ["PATCH", "GET", "GET"]


@pytest.mark.parametrize("error", [httpx.ReadTimeout("slow"), httpx.ConnectError("refused")])
async def test_a_settling_read_is_sent_again_only_if_its_connection_was_lost(
    bench: Bench, error: httpx.TransportError
) -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        raise error if len(bench.sent) > 1 else httpx.ReadTimeout("")

    bench.handler = handle
    assert check(await bench.run())["outcome"] == "unconfirmed"
    assert [request.method for request in bench.sent] == ["PATCH", "GET"]


async def test_a_settling_read_survives_a_stale_connection_of_the_pool() -> None:
    responses = iter([200, 200, 0, 0, 200])
    both_asked = asyncio.Event()

    async def answer() -> AsyncIterator[bytes]:
        if not next(responses):
            raise ConnectionResetError
        if len(wire.heads) < 2:
            await both_asked.wait()
        both_asked.set()
        yield response(json.dumps({"items": [selected(VALID["ivr_id"])]}).encode())

    async with wired(answer) as wire:
        settings = Settings(api_url=wire.url, allow_loopback=True)
        async with DialpadClient(settings) as client:
            tools = Tools(settings, client, Credentials(environ={"DIALPAD_API_KEY": KEY}), Limiter(settings), Metrics())
            plan = {**VALID, "mode": "plan"}
            await asyncio.gather(*(set_custom_ivr(Delivery(plan), tools) for _ in range(2)))
            assert wire.connections == 2
            output = check(await set_custom_ivr(Delivery(VALID, last_attempt=True), tools))
        assert [line.split(" ")[0] for line in wire.lines] == ["GET", "GET", "PATCH", "GET", "GET"]
        assert wire.connections == 3  # the change and the first read lost those that had been open
    assert output["outcome"] == "updated"


async def test_a_settling_read_cannot_tell_inbound_from_outbound(bench: Bench) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH":
            raise httpx.ReadTimeout("")
        return page(selected(VALID["ivr_id"], "AUTO_RECORDING"))

    bench.handler = handle
    output = check(await bench.run({**VALID, "ivr_type": "AUTO_RECORDING", "select_option": "inbound"}))
    assert output["outcome"] == "unconfirmed"
    assert "inbound" in output["error"]["message"]


async def test_an_unsent_request_needs_no_settling_read(bench: Bench) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    bench.handler = refuse
    output = check(await bench.run())
    assert output["outcome"] == "unavailable"
    assert output["response"] is None
    assert len(bench.sent) == 1


async def test_another_ivr_shown_selected_is_unconfirmed(bench: Bench) -> None:
    bench.handler = lambda _: httpx.Response(200, json=selected("1"))
    result = await bench.run()
    output = check(result)
    assert (result.status, output["outcome"]) == ("FAILED", "unconfirmed")
    assert output["ivr"]["selected"]["id"] == "1"


async def test_an_html_page_with_status_200_is_unconfirmed(bench: Bench) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        return page(selected("1")) if request.method == "GET" else httpx.Response(200, text="<html>log in</html>")

    bench.handler = handle
    assert check(await bench.run())["outcome"] == "unavailable"


async def test_the_reason_is_one_line_within_the_engines_limit(bench: Bench) -> None:
    result = await bench.run({"x" * 500: 1, "y" * 500: 2})
    assert result.reason is not None
    assert result.reason.startswith("invalid_input: ")
    assert len(result.reason) <= 500


async def test_a_permit_beyond_the_inline_wait_defers_the_task(settings: Settings) -> None:
    tight = Settings(api_url=settings.api_url, patch_limit=1, patch_window_seconds=60)
    bench = Bench(tight)
    bench.handler = lambda _: httpx.Response(200, json=selected(VALID["ivr_id"]))
    assert (await bench.run()).status == "COMPLETED"
    second = await bench.run(attempts=2, waited_ms=10)
    output = check(second)
    assert second.status == "IN_PROGRESS"
    assert 58 <= (second.callback_seconds or 0) <= 61
    assert output["error"]["code"] == "paced"
    assert output["attempts"] == 2
    assert len(bench.sent) == 1


@pytest.mark.parametrize(
    ("more_keys", "statuses"),
    [
        ({}, {"COMPLETED": 5}),
        ({"environ": "DIALPAD_API_KEY_EMEA"}, {"COMPLETED": 3, "IN_PROGRESS": 2}),
        ({"secret": "DIALPAD_API_KEY_EMEA"}, {"COMPLETED": 3, "IN_PROGRESS": 2}),
        ({"environ": "DIALPAD_API_KEY_EMEA", "bulk": True}, {"COMPLETED": 5}),
    ],
    ids=["one company", "several companies", "several in the engine's secrets", "bulk work"],
)
async def test_a_task_waits_a_second_at_most_in_a_queue_that_companies_share(
    settings: Settings, more_keys: dict[str, Any], statuses: dict[str, int]
) -> None:
    bench = Bench(Settings(api_url=settings.api_url, company_limit=2))
    bench.environ |= {name: KEY for kind, name in more_keys.items() if kind == "environ"}
    secrets = {name: KEY for kind, name in more_keys.items() if kind == "secret"}
    bench.handler = lambda _: httpx.Response(200, json=selected(VALID["ivr_id"]))
    runs = (bench.run(runtime_metadata=secrets, bulk=more_keys.get("bulk", False)) for _ in range(5))
    assert Counter(result.status for result in await asyncio.gather(*runs)) == statuses


# An outage: what the circuit does is tested with the limiter, here only what becomes of the task.


def busy(_: httpx.Request) -> httpx.Response:
    return httpx.Response(503, headers={"retry-after": "30"}, text="busy")


async def test_an_outage_parks_the_task_and_shows_the_answer(bench: Bench) -> None:
    bench.handler = busy
    result = await bench.run(last_attempt=False)
    output = check(result)
    assert (result.status, output["outcome"], output["error"]["code"]) == ("IN_PROGRESS", None, "outage")
    assert "http_503" in output["error"]["message"]
    assert (output["attempts"], output["response"]["status_code"]) == (1, 503)
    assert 30 <= (result.callback_seconds or 0) <= 34
    assert output["outage_ms"] == (result.callback_seconds or 0) * 1000
    assert output["perhaps_sent"] is False  # Dialpad said that it failed
    again = await bench.run(outage_ms=output["outage_ms"], attempts=1)
    assert again.output.outage_ms > output["outage_ms"]
    assert len(bench.sent) == 1


async def test_a_plan_waits_for_an_outage_to_end_as_a_change_does(bench: Bench) -> None:
    bench.handler = busy
    output = check(await bench.run({**VALID, "mode": "plan"}, outage_ms=10))
    assert (output["outcome"], output["error"]["code"], output["attempts"]) == (None, "outage", 0)
    assert output["outage_ms"] > 10_000


async def test_other_companies_are_not_parked(bench: Bench) -> None:
    bench.environ |= {"DIALPAD_API_KEY_OTHER": f"{KEY}-2"}
    bench.handler = busy
    await bench.run()
    bench.handler = lambda _: httpx.Response(200, json=selected(VALID["ivr_id"]))
    assert (await bench.run({**VALID, "credential": "other"})).status == "COMPLETED"


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        ({"attempts": 0, "last_attempt": True}, "unavailable"),
        ({"attempts": 2, "last_attempt": True}, "unavailable"),
        ({"attempts": 2, "last_attempt": True, "perhaps_sent": True}, "unconfirmed"),
        ({"attempts": 2, "last_attempt": False, "perhaps_sent": True}, "unavailable"),
    ],
)
async def test_a_used_up_outage_budget_ends_the_wait(bench: Bench, call: dict[str, Any], outcome: str) -> None:
    bench.handler = busy
    await bench.run()
    result = await bench.run(outage_ms=3_600_000, **call)
    output = check(result)
    assert (result.status, output["outcome"], output["error"]["code"]) == ("FAILED", outcome, "outage")
    assert "http_503" in output["error"]["message"]
    assert "3600 s" in output["error"]["message"]
    assert output["perhaps_sent"] is call.get("perhaps_sent", False)
    assert len(bench.sent) == 1


async def silence(bench: Bench, targets: int) -> Result:
    """Time out for several targets, the last of them with VALID's; returns its result."""

    def lose(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("")

    bench.handler = lose
    for number in range(1, targets):
        await bench.run({**VALID, "target_id": str(number)}, last_attempt=False)
    return await bench.run(last_attempt=True)


async def test_a_change_whose_answer_never_came_is_parked_and_not_forgotten(bench: Bench) -> None:
    result = await silence(bench, 3)
    output = check(result)
    assert (result.status, output["error"]["code"], output["perhaps_sent"]) == ("IN_PROGRESS", "outage", True)
    sent = len(bench.sent)
    assert sent == 3  # no settling read into the outage
    again = check(await bench.run(attempts=1, outage_ms=1000, perhaps_sent=True))
    assert again["perhaps_sent"] is True
    assert len(bench.sent) == sent


async def test_an_outage_that_the_settling_read_meets_leaves_it_to_the_next_delivery(bench: Bench) -> None:
    result = await silence(bench, 1)  # its read fails too, which is no second target
    assert check(result)["outcome"] == "unconfirmed"

    def handle(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return busy(request)
        raise httpx.ReadTimeout("")

    bench.handler = handle
    result = await bench.run(last_attempt=True)
    output = check(result)
    assert (result.status, output["error"]["code"], output["perhaps_sent"]) == ("IN_PROGRESS", "outage", True)


@pytest.mark.parametrize(("now", "outcome"), [(VALID["ivr_id"], "updated"), ("1", "unavailable")])
async def test_an_earlier_change_without_an_answer_is_settled_whatever_the_last_call_met(
    bench: Bench, now: str, outcome: str
) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return page(selected(now))
        raise httpx.ConnectError("refused")

    bench.handler = handle
    output = check(await bench.run(attempts=1, perhaps_sent=True, last_attempt=True))
    assert output["outcome"] == outcome
    assert [request.method for request in bench.sent] == ["PATCH", "GET"]
    assert output["perhaps_sent"] is (outcome != "updated")
