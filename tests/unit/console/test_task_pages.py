"""A task's page: validation, preview, test requests and what they show; the history of test requests."""

from __future__ import annotations

import html
import json
import re

import httpx
import pytest

from dialpad_ivr.console.forms import fields
from dialpad_ivr.contract.schema import INPUTS
from dialpad_ivr.contract.validation import example_input
from dialpad_ivr.contract.values import LIST_TASK_TYPE, TARGETS_TASK_TYPE, TASK_TYPE
from dialpad_ivr.credentials import KEY_NAME
from dialpad_ivr.testing.double import DoubleControl
from support.console import APPLY, CONFIRMATION, EXAMPLE, PAGE, PART, text_of
from support.stub import StubEngine

# ---- validation and preview


async def test_validation_errors_are_shown_at_their_fields_without_a_request(client: httpx.AsyncClient) -> None:
    form = {"target_type": "callcentre", "target_id": "0", "credential": "sk-LIVE-0123456789abcdef", "do": "check"}
    page = (await client.post(PAGE, data=form)).text
    text = text_of(page)
    assert page.count("<template data-error=") == 5
    for name in ("target_type", "target_id", "ivr_type", "ivr_id", "credential"):
        assert re.search(rf'id="in-{name}"[^>]*aria-invalid="true"', page), name
        assert re.search(rf'id="error-{name}">[^<]*{name} is', page), name
    assert 'Did you mean "callcenter"?' in text
    assert "HTTP/1.1" not in text
    assert page.count("No request yet.") == 3
    assert "sk-LIVE" not in page
    part = (await client.post(PAGE, data=form, headers={"x-part": "preview"})).text
    assert part.count("<template data-error=") == 5
    assert "<html" not in part


async def test_preview_shows_http_curl_and_workflow_task(client: httpx.AsyncClient, double: DoubleControl) -> None:
    big = str(2**53 + 1)
    page = (await client.post(PAGE, data={**EXAMPLE, "ivr_id": big, "if_selected": "[]", "do": "check"})).text
    panels = [html.unescape(text) for text in re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)[:3]]
    path = f"/api/v2/customivrs/callcenter/{EXAMPLE['target_id']}/HOLD_MUSIC"
    assert panels[0].startswith(f"PATCH {path} HTTP/1.1\nHost: {httpx.URL(double.url).netloc.decode()}\n")
    assert panels[0].endswith(f'\n\n{{"ivr_id": {big}}}')
    assert f'"$DIALPAD_API_KEY" | curl --header @- --request PATCH {double.url}{path}' in panels[1]
    task = json.loads(panels[2])
    assert (task["name"], task["taskReferenceName"], task["type"]) == (TASK_TYPE, "set_hold_music", "SIMPLE")
    assert task["inputParameters"] == {**EXAMPLE, "ivr_id": big, "if_selected": []}
    assert double.ledger() == []


async def test_damaged_ids_and_names_are_explained(client: httpx.AsyncClient) -> None:
    form = {"target_type": "callcenter", "target_id": "5,502,522", "ivr_id": "Summer hold music", "do": "check"}
    text = text_of((await client.post(PAGE, data=form)).text)
    assert "thousands separators" in text
    assert "list_custom_ivrs_test_request" in text


async def test_preview_shows_warnings(client: httpx.AsyncClient) -> None:
    text = text_of((await client.post(PAGE, data={**EXAMPLE, "select_option": "inbound"})).text)
    assert "select_option is documented for call center auto recording only" in text


async def test_get_prefills_the_form_and_sends_nothing(client: httpx.AsyncClient, double: DoubleControl) -> None:
    page = (await client.get(PAGE, params={**APPLY, "target_id": "77", "confirmed": "x"})).text
    assert 'value="77"' in page
    only = (await client.get(PAGE, params={"target_id": "77"})).text
    assert "<option selected>plan</option>" in only
    assert only.count("<template data-error=") == 3
    assert not CONFIRMATION.search(page)
    assert double.ledger() == []


@pytest.mark.parametrize("task_type", INPUTS)
async def test_form_values_are_escaped(client: httpx.AsyncClient, task_type: str) -> None:
    evil = '"><script>alert(1)</script>${jndi}{{7*191}}'
    form = {field.name: evil for field in fields(task_type)}
    for headers in ({}, {"x-part": "preview"}, PART):
        page = (await client.post(f"/tasks/{task_type}", data={**form, "do": "test"}, headers=headers)).text
        assert "<script>alert" not in page
        assert "1337" not in page


# ---- test requests directly to Dialpad


async def test_plan_reads_and_shows_the_whole_response(client: httpx.AsyncClient, double: DoubleControl) -> None:
    text = text_of((await client.post(PAGE, data={**EXAMPLE, "do": "test"}, headers=PART)).text)
    assert text.startswith(" planned Would become Summer hold music (5127493019721728) Plan mode: ")
    assert "Selected now Winter hold music (5127493019721729) Status 200 in " in text
    assert "Not sent PATCH http://127.0.0.1" in text
    assert "Via directly to Dialpad, without an engine" in text
    assert "content-type: application/json" in text
    assert '"ivr_type": "HOLD_MUSIC"' in text
    assert [line["method"] for line in double.ledger()] == ["GET"]


async def test_targets_are_a_table_that_leads_to_their_ivrs(client: httpx.AsyncClient) -> None:
    form = {"target_type": "callcenter", "name": "support*", "do": "test"}
    answer = (await client.post(f"/tasks/{TARGETS_TASK_TYPE}", data=form, headers=PART)).text
    text = text_of(answer)
    assert text.startswith(" listed 3 targets of type callcenter ")
    assert "Support Berlin Berlin 5502522061422612 Its IVRs" in text
    assert "/tasks/list_custom_ivrs?target_type=callcenter&amp;target_id=5502522061422612" in answer
    assert "Sent GET http://127.0.0.1" in text


async def test_a_hostile_name_of_a_target_is_shown_as_text(client: httpx.AsyncClient, double: DoubleControl) -> None:
    name = '<img src=x onerror="alert(1)">'
    double.set_state({"target_type": "callcenter", "target_id": "7", "name": name})
    form = {"target_type": "callcenter", "name": "*", "do": "test"}
    answer = (await client.post(f"/tasks/{TARGETS_TASK_TYPE}", data=form, headers=PART)).text
    assert "<img" not in answer
    assert "&lt;img src=x" in answer


async def list_ivrs(client: httpx.AsyncClient, **form: str) -> str:
    """The response to a test request of the list."""
    data = {**example_input(LIST_TASK_TYPE), **form, "do": "test"}
    return (await client.post(f"/tasks/{LIST_TASK_TYPE}", data=data, headers=PART)).text


async def test_list_shows_the_matching_ivr(client: httpx.AsyncClient) -> None:
    text = text_of(await list_ivrs(client, name="summer hold music"))
    assert text.startswith(" listed Found Summer hold music (5127493019721728) ")


async def test_list_is_a_table_whose_rows_fill_the_form_that_sets_one(client: httpx.AsyncClient) -> None:
    page = await list_ivrs(client)
    rows = [text_of(row).split() for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)]
    assert rows[0] == ["IVR", "type", "name", "selected", "id", "use"]
    assert ["HOLD_MUSIC", "Summer", "hold", "music", "5127493019721728", "Use", "this"] in rows
    assert ["HOLD_MUSIC", "Winter", "hold", "music", "yes", "5127493019721729", "Use", "this"] in rows
    (link,) = (html.unescape(link) for link in re.findall(r'<a href="([^"]*5127493019721728[^"]*)"', page))
    form = (await client.get(link)).text
    for name in ("target_type", "target_id", "ivr_type", "ivr_id"):
        assert re.search(rf'id="in-{name}" name="{name}" value="{EXAMPLE[name]}"', form), name
    assert "<option selected>plan</option>" in form
    assert "<template data-error=" not in form


async def test_confirmation_names_the_ivr_once_a_response_has_shown_it(client: httpx.AsyncClient) -> None:
    before = text_of((await client.post(PAGE, data=APPLY, headers=PART)).text)
    await list_ivrs(client)
    after = text_of((await client.post(PAGE, data=APPLY, headers=PART)).text)
    assert "Summer hold music" not in before
    assert f"callcenter {EXAMPLE['target_id']} to Summer hold music ({EXAMPLE['ivr_id']})" in after


@pytest.mark.parametrize(
    ("mode", "action"), [("plan", "Test request"), ("validate", "Test request"), ("apply", "Apply")]
)
async def test_button_says_what_the_mode_does(client: httpx.AsyncClient, mode: str, action: str) -> None:
    form = {**EXAMPLE, "mode": mode, "do": "check"}
    assert re.search(rf"<button [^>]*data-send>{action}</button>", (await client.post(PAGE, data=form)).text)
    part = (await client.post(PAGE, data=form, headers={"x-part": "preview"})).text
    assert f'data-action="{action}"' in part


async def test_form_speaks_of_no_machine_types(client: httpx.AsyncClient) -> None:
    for task_type in INPUTS:
        page = (await client.get(f"/tasks/{task_type}")).text
        assert not re.search("int64|javascript", text_of(page.partition("</form>")[0]), re.IGNORECASE)


async def test_apply_requires_confirmation_of_exactly_this_change(
    client: httpx.AsyncClient, double: DoubleControl
) -> None:
    confirmation = (await client.post(PAGE, data=APPLY, headers=PART)).text
    assert CONFIRMATION.search(confirmation)
    for value in (EXAMPLE["target_type"], EXAMPLE["target_id"], EXAMPLE["ivr_type"], EXAMPLE["ivr_id"], double.url):
        assert value in text_of(confirmation)
    assert double.ledger() == []
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', confirmation))
    text = text_of((await client.post(PAGE, data={**form, "do": "test"}, headers=PART)).text)
    assert text.startswith(" updated Now Summer hold music (5127493019721728) ")
    assert "Sent PATCH http://127.0.0.1" in text
    assert double.selected("callcenter", EXAMPLE["target_id"], "HOLD_MUSIC")["inbound"] == EXAMPLE["ivr_id"]
    sent = len(double.ledger())
    for other in ({"ivr_id": "5127493019721729"}, {"target_id": "1"}, {"confirmed": ""}, {"confirmed": "yes"}):
        again = (await client.post(PAGE, data={**form, **other, "do": "test"}, headers=PART)).text
        assert CONFIRMATION.search(again), other
    assert len(double.ledger()) == sent


async def test_dialpad_error_response_is_shown(client: httpx.AsyncClient, double: DoubleControl) -> None:
    text = text_of((await client.post(PAGE, data={**EXAMPLE, "target_id": "404", "do": "test"}, headers=PART)).text)
    assert text.startswith(" not_found ")
    assert "Status 404" in text
    assert '"error"' in text


async def test_missing_key_names_the_environment_variable(
    client: httpx.AsyncClient, double: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_NAME)
    text = text_of((await client.post(PAGE, data={**EXAMPLE, "do": "test"}, headers=PART)).text)
    assert text.startswith(" unauthorized ")
    assert KEY_NAME in text
    assert " Headers " not in text
    assert double.ledger() == []


async def test_invalid_form_is_not_sent(client: httpx.AsyncClient, double: DoubleControl) -> None:
    form = {**APPLY, "ivr_id": "x"}
    text = text_of((await client.post(PAGE, data=form, headers=PART)).text)
    assert text.startswith(" no result ")
    assert double.ledger() == []


async def test_pages_without_an_engine_say_so(client: httpx.AsyncClient) -> None:
    assert "No engine answers" in (await client.get("/engine")).text
    for path in ("/provisioning", "/provisioning/x", "/test-requests/x", "/executions/x"):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert "No Conductor server answers" in text_of(answer.text), path
    away = await client.get("/provisioning", params={"id": "//evil.example"})
    assert (away.url.host, away.url.raw_path, away.status_code) == (
        "127.0.0.1",
        b"/provisioning/%2F%2Fevil.example",
        404,
    )


# ---- the history


async def test_history_lists_the_last_test_requests_of_this_process(client: httpx.AsyncClient) -> None:
    assert "None yet" in text_of((await client.get("/test-requests")).text)
    await client.post(PAGE, data={**EXAMPLE, "do": "test"})
    await list_ivrs(client, name="no such music")
    await client.post(PAGE, data={**EXAMPLE, "mode": "validate", "if_selected": "7, 8", "do": "test"})
    await client.post(PAGE, data=APPLY)  # not confirmed
    page = (await client.get("/test-requests")).text
    rows = [text_of(row).split() for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)[1:]]
    target = ["callcenter", EXAMPLE["target_id"]]
    assert [row[2:-2] for row in rows] == [
        [TASK_TYPE, *target, "HOLD_MUSIC", "validate", "valid"],
        [LIST_TASK_TYPE, *target, "not_found"],
        [TASK_TYPE, *target, "HOLD_MUSIC", "plan", "planned"],
    ]
    links = [html.unescape(link) for link in re.findall(r'<a href="(/t[^"]*)"', page.partition("<tbody>")[2])]
    assert "Would become Summer hold music" in text_of((await client.get(links[4])).text)
    again = (await client.get(links[1])).text
    assert 'value="7, 8"' in again
    assert "<option selected>validate</option>" in again


async def test_history_keeps_20(client: httpx.AsyncClient) -> None:
    for number in range(1, 23):
        await client.post(PAGE, data={**EXAMPLE, "target_id": str(number), "mode": "validate", "do": "test"})
    rows = re.findall(r"callcenter (\d+)", (await client.get("/test-requests")).text)
    assert rows == [str(number) for number in range(22, 2, -1)]


async def test_history_follows_a_test_request_on_the_engine(
    on_engine: httpx.AsyncClient, stub_engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dialpad_ivr.console.test_requests._INITIAL_WAIT_SECONDS", 0)
    task = {"taskId": "t", "taskDefName": TASK_TYPE, "status": "IN_PROGRESS", "inputData": EXAMPLE}
    running = {"workflowId": "w1", "status": "RUNNING", "tasks": [task]}
    done = {**task, "status": "COMPLETED", "outputData": {"outcome": "planned", "ok": True}}
    stub_engine.runs["w1"] = [running, running, {**running, "status": "COMPLETED", "tasks": [done]}]
    page = (await on_engine.post(PAGE, data={**EXAMPLE, "do": "test"}, headers=PART)).text
    assert 'data-poll="/test-requests/w1"' in page
    outcomes = [
        re.findall(r'class="badge [a-z]*">(\w+)<', (await on_engine.get("/test-requests")).text) for _ in range(3)
    ]
    assert outcomes == [["pending"], ["planned"], ["planned"]]
    reads = [request for request in stub_engine.stub.received if request.path == "/api/workflow/w1"]
    assert len(reads) == 3
