"""The engine's own UI as a workflow author uses it: on the real engine, with a worker and the Dialpad double.

Its jar comes without the UI: `built_ui` in support/fixtures.py says where one is looked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from dialpad_ivr.contract.schema import input_schema
from dialpad_ivr.contract.validation import example_input
from dialpad_ivr.contract.values import IVR_TYPES, TARGET_TYPES
from dialpad_ivr.testing.double import DoubleControl
from support.browser import TakeScreenshot, not_at_hand
from support.command import Command
from support.engine import EngineRest
from support.engine_ui import TOLERATED_ERRORS, open_task, open_test_task, paste, run_test_task, text_of
from support.fixtures import built_ui
from support.worker import CREDENTIALS, running_worker

# 2^53 + 1 and + 3: JavaScript rounds both.
BIG_TARGET, BIG_IVR = "9007199254740993", "9007199254740995"
HOTLINES = ("5502522061422611", "5502522061422631")


@pytest.fixture
def tolerated_errors() -> tuple[str, ...]:
    return TOLERATED_ERRORS


@pytest.fixture(scope="session", autouse=True)  # of the session, so that it comes before an engine is started
def _ui() -> None:
    if built_ui() is None:
        not_at_hand(
            "No built UI of the engine.",
            "put it at ../shared/conductor-ui.tar.gz, or DIALPAD_IVR_TEST_UI=FOLDER_OR_ARCHIVE make test-all",
        )


@pytest.fixture(scope="module", autouse=True)
def _worker(engine: EngineRest, _double: DoubleControl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    log = tmp_path_factory.mktemp("browser") / "worker.log"
    with running_worker(engine.url, _double.url, log, **CREDENTIALS):
        yield


def compact(value: Any) -> str:
    """A JSON value as `text_of` an editor has it."""
    return re.sub(r"\s", "", json.dumps(value))


def run_workflow(
    page: Page, engine: EngineRest, name: str, payload: dict[str, Any] | None = None, shows: str = "target_type"
) -> str:
    """Run it by the form, with this payload or the prefilled one, which shows this; returns the prefilled text."""
    page.goto(f"{engine.url}/runWorkflow")
    # An editor that is still being set up misses what a choice puts into it; the form has two.
    expect(page.locator(".monaco-editor .view-lines")).to_have_count(2)
    page.locator("#workflow-name-dropdown").fill(name)
    page.get_by_role("option", name=name, exact=True).click()
    box = page.locator(".monaco-editor").first
    expect(box).to_contain_text(shows)
    prefilled = text_of(box)
    if payload is not None:
        paste(box, json.dumps(payload, indent=2), shows)
    page.get_by_role("button", name="Run workflow").click()
    expect(page.get_by_text("Workflow created")).to_be_visible()
    return prefilled


def open_execution(page: Page, engine: EngineRest, status: str) -> None:
    """Follow the link to the execution, once it has ended."""
    link = page.locator("#workflow-execution-id")
    engine.ended([link.inner_text()])
    page.goto(f"{engine.url}{link.get_attribute('href')}")
    expect(page.get_by_text(status, exact=True).first).to_be_visible()


def tasks_run(page: Page) -> list[str]:
    page.get_by_role("tab", name="Task List").click()
    expect(page.locator("#row-0")).to_be_visible()
    return [row.inner_text().split("\n")[2] for row in page.locator("[role=row][id^=row-]").all()]


def test_test_task_runs_with_the_example_of_its_description(
    page: Page, engine: EngineRest, double: DoubleControl, screenshot: TakeScreenshot
) -> None:
    box = open_test_task(page, f"{engine.url}/taskDef/set_custom_ivr")
    example = page.get_by_label("Description").input_value().splitlines()[-1]
    assert json.loads(example) == example_input()
    paste(box, example)
    screenshot("ui-test-task-input")
    output = run_test_task(page, "Completed")
    screenshot("ui-test-task-output")
    assert output.startswith('{"outcome":"planned","ok":true,"error":null,')
    assert '"selected":{"id":"5127493019721729","name":"Winterholdmusic"}' in output
    assert '"method":"PATCH"' in output
    assert [line["method"] for line in double.ledger()] == ["GET"]


def test_empty_input_lists_missing_fields_allowed_values_and_an_example(
    page: Page, engine: EngineRest, double: DoubleControl, screenshot: TakeScreenshot
) -> None:
    open_test_task(page, f"{engine.url}/taskDef/set_custom_ivr")
    output = run_test_task(page, "Failed")
    # By a script: Playwright's own scrolling waits for a line that the editor may redraw at any time.
    page.locator(".view-line", has_text="outcome").evaluate("line => line.scrollIntoView({ block: 'center' })")
    screenshot("ui-test-task-empty-input")
    assert output.startswith('{"outcome":"invalid_input","ok":false,')
    assert f'"example":{compact(example_input())}' in output
    for name in input_schema()["required"]:
        assert f'"path":"{name}","rule":"required","message":"{name}ismissing."' in output
    for allowed in (*TARGET_TYPES, *IVR_TYPES):
        assert re.search(rf"\b{allowed}\b", output), allowed
    assert double.ledger() == []


def test_test_request_runs_with_prefilled_input_and_shows_its_branch(
    page: Page, engine: EngineRest, double: DoubleControl, screenshot: TakeScreenshot
) -> None:
    fields = [name for name in input_schema()["properties"] if not name.startswith("__")]
    prefilled = run_workflow(page, engine, "set_custom_ivr_test_request")
    assert json.loads(prefilled) == dict.fromkeys(fields, "")
    screenshot("ui-run-workflow")
    open_execution(page, engine, "Completed")
    execution = page.url
    page.locator("#fit-screen-button").click()
    page.mouse.move(0, 0)
    expect(page.get_by_text("nothing_changed", exact=True).first).to_be_in_viewport()
    screenshot("ui-execution-diagram")
    assert f'"body":{{"ivr_id":{example_input()["ivr_id"]}}}' in text_of(open_task(page, "set_ivr", "Output"))
    screenshot("ui-execution-task-output")
    payload = text_of(open_task(page, "set_ivr", "Input"))
    assert all(f'"{name}":"{value}"' in payload for name, value in example_input().items())
    page.goto(execution)  # without the task that is open
    assert tasks_run(page) == ["prepare", "set_ivr", "by_result", "nothing_changed"]
    page.get_by_role("tab", name="Workflow Input/Output").click()
    expect(page.locator(".monaco-editor")).to_have_count(2)
    expect(page.locator(".monaco-editor").last).to_contain_text("PATCH")
    screenshot("ui-execution-input-output")
    page.get_by_role("tab", name="Variables").click()
    expect(page.locator(".monaco-editor .view-lines").last).to_contain_text("mode apply")
    assert [line["method"] for line in double.ledger()] == ["GET"]


def test_failed_change_takes_its_branch_and_shows_the_reason(
    page: Page, engine: EngineRest, screenshot: TakeScreenshot
) -> None:
    payload = {**example_input(), "ivr_id": "1", "mode": "apply"}
    run_workflow(page, engine, "set_custom_ivr_branching", payload)
    open_execution(page, engine, "Failed")
    expect(page.get_by_text(re.compile("^not_found: "))).to_be_visible()
    screenshot("ui-execution-branches")
    assert tasks_run(page) == ["set_ivr", "by_outcome", "note_not_found", "end_by_ok", "fail_visibly"]


def test_ids_above_2_to_the_53_survive_the_ui_as_strings(
    page: Page, engine: EngineRest, double: DoubleControl, screenshot: TakeScreenshot
) -> None:
    payload = {**example_input(), "target_id": BIG_TARGET, "ivr_id": BIG_IVR, "mode": "apply"}
    run_workflow(page, engine, "set_custom_ivr_test_request", payload)
    open_execution(page, engine, "Completed")
    output = text_of(open_task(page, "set_ivr", "Output"))
    screenshot("ui-big-ids")
    assert output.startswith('{"outcome":"updated","ok":true,"error":null,"warnings":[],')
    assert f'"selected":{{"id":"{BIG_IVR}"' in output
    assert f'/callcenter/{BIG_TARGET}/HOLD_MUSIC","body":{{"ivr_id":"{BIG_IVR}"}}' in output
    assert double.selected("callcenter", BIG_TARGET, "HOLD_MUSIC")["inbound"] == BIG_IVR


def test_id_rounded_by_the_ui_is_warned_about(page: Page, engine: EngineRest, screenshot: TakeScreenshot) -> None:
    box = open_test_task(page, f"{engine.url}/taskDef/set_custom_ivr")
    paste(box, json.dumps({**example_input(), "ivr_id": int(BIG_TARGET)}))
    output = run_test_task(page, "Completed")
    screenshot("ui-changed-id")
    assert f"ivr_idcameasanumberof2^53ormore({int(BIG_TARGET) - 1})" in output


def test_a_playbook_is_one_entry_that_asks_for_end_and_reason_and_restores_by_itself(
    page: Page, engine: EngineRest, double: DoubleControl, command: Command, screenshot: TakeScreenshot, tmp_path: Path
) -> None:
    file, slots = tmp_path / "snow.csv", [("callcenter", number, "HOLD_MUSIC") for number in HOTLINES]
    file.write_text("target_type,target,ivr_type,ivr\ncallcenter,Hot*,HOLD_MUSIC,Summer hold music\n")
    command("playbook", "save", "snow-day", file, "--for", "12h")
    before = [double.selected(*slot)["inbound"] for slot in slots]
    prefilled = run_workflow(page, engine, "playbook_snow_day", {"until": "6s", "reason": "snow"}, shows="reason")
    assert json.loads(prefilled) == {"until": "", "reason": ""}
    screenshot("ui-run-playbook")
    open_execution(page, engine, "Completed")
    page.get_by_role("tab", name="Workflow Input/Output").click()
    output = page.locator(".monaco-editor").last
    expect(output.locator(".view-lines")).to_contain_text("Started an override of 2 slots.")
    screenshot("ui-playbook-output")
    (override,) = re.findall(r'"override":"([0-9a-f-]{36})"', text_of(output))
    (ended,) = engine.ended([override])
    assert (ended["status"], ended["output"]["override"]["reason"]) == ("COMPLETED", "snow")
    page.goto(f"{engine.url}/execution/{override}")
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible()
    screenshot("ui-playbook-override")
    patched = [line["body"]["ivr_id"] for line in double.ledger() if line["method"] == "PATCH"]
    assert len(patched) == 4
    assert [double.selected(*slot)["inbound"] for slot in slots] == before
    assert [str(ivr_id) for ivr_id in sorted(patched[2:])] == sorted(map(str, before))
