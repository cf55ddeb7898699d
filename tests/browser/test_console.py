"""The console in a browser, on the real engine, with a worker and the Dialpad double."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, FloatRect, Page, Response, expect

from dialpad_ivr.contract.validation import example_input
from dialpad_ivr.local.engine import free_port
from dialpad_ivr.provisioning.workflow import WORKFLOW
from dialpad_ivr.testing.double import DoubleControl
from support.browser import SHIFTS, VIEWPORT, TakeScreenshot, context_of
from support.dev import make_dev
from support.docs import ROOT, blocks
from support.engine import EngineRest, until
from support.fixtures import built_ui, put_quick_definitions
from support.provisioning import change, unknown
from support.worker import running_console

EXAMPLE = example_input()
PAGE = "/tasks/set_custom_ivr"
BUDGET = 150_000  # bytes of a page, including its scripts and styles


def press(page: Page, button: str = "Test request") -> None:
    page.get_by_role("button", name=button, exact=True).click()


def outcome(page: Page, expected: str) -> None:
    expect(page.locator("#response .badge").first).to_have_text(expected)


def panel(page: Page, tab: str) -> str:
    """The text of a tab of the request."""
    page.get_by_role("tab", name=tab).click()
    return page.get_by_role("tabpanel").inner_text()


def test_readme_quick_start_leads_to_a_response_without_the_engines_ui(page: Page, tmp_path: Path) -> None:
    assert "$ make dev" in [block.text.strip() for block in blocks(ROOT / "README.md") if block.kind == "console"]
    with make_dev(tmp_path, "https://127.0.0.1:9/jar") as printed:
        found = re.search(r"^Console +(http://127\.0\.0\.1:\d+)  <- open this$", printed, re.MULTILINE)
        assert found, printed
        page.goto(found[1])
        press(page)
        outcome(page, "planned")
        expect(page.locator("#response")).to_contain_text("the engine, workflow")
    assert "There is no workflow UI" in printed
    assert "dialpad-ivr dev --ui PATH" in printed
    assert "Test Task" not in printed


def test_test_request_shows_the_response(
    page: Page, console: str, double: DoubleControl, screenshot: TakeScreenshot
) -> None:
    page.goto(console)
    expect(page.get_by_text("Requests run through Conductor")).to_be_visible()
    press(page)
    outcome(page, "planned")
    response = page.locator("#response")
    for text in (
        "Would become Summer hold music",
        "Selected now\nWinter hold music",
        "Status\n200 in ",
        "content-type: application/json",
        '"ivr_type"',
        "the engine",
    ):
        expect(response).to_contain_text(text, use_inner_text=True)
    expect(page.get_by_role("button", name="Test request")).to_be_in_viewport()
    expect(page.get_by_role("heading", name="Response")).to_be_in_viewport()
    screenshot("console-planned")
    assert [line["method"] for line in double.ledger()] == ["GET"]


def test_form_is_validated_and_previewed_while_typing(
    page: Page, console: str, double: DoubleControl, screenshot: TakeScreenshot
) -> None:
    page.goto(console)
    expect(page.get_by_role("tabpanel")).to_contain_text(f"/callcenter/{EXAMPLE['target_id']}/HOLD_MUSIC HTTP/1.1")
    kind = page.get_by_label("target_type required")
    kind.fill("callcentre")
    expect(page.locator("#error-target_type")).to_contain_text('Did you mean "callcenter"?')
    expect(kind).to_have_attribute("aria-invalid", "true")
    page.get_by_label("target_id required").fill("")
    expect(page.locator("#error-target_id")).to_contain_text("target_id is missing.")
    expect(page.locator("#status")).to_have_text("2 errors")
    screenshot("console-errors")
    kind.fill("office")
    page.get_by_label("target_id required").fill("9007199254740993")
    expect(page.get_by_role("tabpanel")).to_contain_text("/office/9007199254740993/HOLD_MUSIC")
    expect(page.locator("#status")).to_have_text("")
    expect(page.locator("[aria-invalid]")).to_have_count(0)
    assert '"$DIALPAD_API_KEY" | curl --header @-' in panel(page, "curl")
    assert json.loads(panel(page, "Workflow task"))["inputParameters"]["target_id"] == "9007199254740993"
    page.get_by_label("select_option").select_option("inbound")
    expect(page.locator("#preview")).to_contain_text("documented for call center auto recording only")
    assert double.ledger() == []


def test_apply_requires_confirmation(
    page: Page, console: str, double: DoubleControl, screenshot: TakeScreenshot
) -> None:
    page.goto(console)
    page.get_by_label("mode").select_option("apply")
    expect(page.locator("#preview .badge")).to_have_text("writes")
    press(page, "Apply")
    confirmation = page.get_by_role("form", name="Make this change?")
    expect(confirmation).to_contain_text(f"callcenter {EXAMPLE['target_id']}")
    expect(confirmation).to_contain_text(EXAMPLE["ivr_id"])
    expect(confirmation).to_contain_text(double.url)
    expect(page.get_by_role("heading", name="Make this change?")).to_be_focused()
    screenshot("console-confirmation")
    confirmation.get_by_role("button", name="Cancel").click()
    expect(page.locator("#response")).to_contain_text("No request was sent.")
    assert double.ledger() == []
    press(page, "Apply")
    confirmation.get_by_role("button", name="Make the change").click()
    outcome(page, "updated")
    screenshot("console-updated")
    assert double.selected("callcenter", EXAMPLE["target_id"], "HOLD_MUSIC")["inbound"] == EXAMPLE["ivr_id"]
    assert double.summary()["applied"] == 1


def test_copied_task_runs_in_a_workflow(page: Page, console: str, engine: EngineRest, double: DoubleControl) -> None:
    page.goto(console)
    page.get_by_role("tab", name="Workflow task").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#status")).to_have_text("Copied")
    task = json.loads(page.evaluate("navigator.clipboard.readText()"))
    engine.put_workflow_definition(
        {"name": "pasted", "version": 1, "tasks": [task], "ownerEmail": "a@example.com", "timeoutSeconds": 0}
    )
    (ended,) = engine.ended([engine.start("pasted", {})])
    assert [task["outputData"]["outcome"] for task in ended["tasks"]] == ["planned"]


def test_ids_above_2_to_the_53_survive(page: Page, console: str, double: DoubleControl) -> None:
    big_target, big_ivr = "9007199254740993", "9007199254740995"
    page.goto(console)
    page.get_by_label("target_id required").fill(big_target)
    page.get_by_label("ivr_id required").fill(big_ivr)
    page.get_by_label("mode").select_option("apply")
    press(page, "Apply")
    press(page, "Make the change")
    outcome(page, "updated")
    assert double.selected("callcenter", big_target, "HOLD_MUSIC")["inbound"] == big_ivr


def test_failed_test_request_shows_its_error(page: Page, console: str, screenshot: TakeScreenshot) -> None:
    page.goto(f"{console}/tasks/list_custom_ivrs")
    page.get_by_label("name", exact=True).fill("no such music")
    press(page)
    outcome(page, "not_found")
    expect(page.locator("#response")).to_contain_text("no such music")
    screenshot("console-failed")


def test_missing_definitions_name_the_register_command(
    page: Page, console: str, engine: EngineRest, double: DoubleControl
) -> None:
    engine.delete_workflow_definition("list_custom_ivrs_test_request", 1)
    try:
        page.goto(f"{console}/tasks/list_custom_ivrs")
        press(page)
        outcome(page, "no result")
        expect(page.locator("#response")).to_contain_text("dialpad-ivr register")
    finally:
        put_quick_definitions(engine)
    assert double.ledger() == []


def test_slow_test_request_is_polled(page: Page, console: str, double: DoubleControl) -> None:
    double.configure(latency=6.0)
    page.goto(console)
    press(page)
    expect(page.locator("#response")).to_contain_text("Running.")
    outcome(page, "planned")


def test_search_works_by_keyboard(page: Page, console: str, screenshot: TakeScreenshot) -> None:
    page.goto(f"{console}/provisioning")
    page.get_by_role("searchbox", name="Search").press_sequentially("csat pre")
    expect(page.locator("#search-status")).to_have_text("1 result")
    screenshot("console-search")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="CSAT_PREAMBLE")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Values of ivr_type")).to_be_in_viewport()
    page.get_by_role("searchbox", name="Search").fill("404")
    expect(page.get_by_role("link", name="outcome not_found")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="outcome not_found")).to_have_count(0)


def test_reference_values_are_filtered_and_inserted(page: Page, console: str) -> None:
    page.goto(console)
    values = page.locator("#values-ivr_type")
    values.get_by_role("searchbox").fill("hold vm")
    expect(values.get_by_role("status")).to_have_text("13 of 67")
    expect(values.get_by_role("button")).to_have_count(13)
    values.get_by_role("button", name="HOLD_ESCAPE_VM_TEN").click()
    expect(page.get_by_label("ivr_type required")).to_have_value("HOLD_ESCAPE_VM_TEN")
    expect(page.get_by_label("ivr_type required")).to_be_focused()
    expect(page.get_by_role("tabpanel")).to_contain_text("/HOLD_ESCAPE_VM_TEN HTTP/1.1")
    page.locator("#values-target_type").get_by_role("searchbox").fill("Call")
    expect(page.locator("#values-target_type").get_by_role("status")).to_have_text("2 of 11")


def test_whole_page_works_by_keyboard(page: Page, console: str, double: DoubleControl) -> None:
    page.goto(console)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("target_type required")).to_be_focused()
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        focus = page.evaluate("(({ id, name, textContent: text }) => id || name || text)(document.activeElement)")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", focus
        seen.append(focus)
        if focus == "tab-http":
            page.keyboard.press("ArrowRight")
            expect(page.get_by_role("tab", name="curl")).to_be_focused()
            expect(page.get_by_role("tabpanel")).to_contain_text("curl --header @-")
        if focus == "do":
            break
    assert {"in-target_id", "in-ivr_type", "in-mode", "tab-http"} <= set(seen)
    page.keyboard.press("Enter")
    outcome(page, "planned")


def test_target_and_ivr_are_chosen_by_name_by_keyboard_and_mouse(
    page: Page, console: str, double: DoubleControl, screenshot: TakeScreenshot
) -> None:
    page.goto(console)
    button = page.get_by_role("button", name="Choose target_id by name")
    combobox = page.get_by_role("combobox", name="Filter by name")
    options = page.get_by_role("listbox", name=re.compile("call centers|IVRs")).get_by_role("option")
    target_id, known = page.get_by_label("target_id required"), page.locator("#name-target_id")
    assert double.ledger() == []
    button.press("Enter")
    expect(combobox).to_be_focused()
    expect(options).to_have_count(6)
    expect(combobox).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Escape")
    expect(combobox).to_be_hidden()
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.type("supp ber")
    expect(page.locator("#choose-target_id").get_by_role("status")).to_have_text("1 of 6 call centers.")
    page.keyboard.press("ArrowDown")
    active = page.locator("[role=option][aria-selected=true]")
    expect(active).to_contain_text("Support Berlin")
    expect(combobox).to_have_attribute("aria-activedescendant", active.get_attribute("id") or "")
    screenshot("console-choices")
    page.keyboard.press("Enter")
    expect(target_id).to_have_value("5502522061422612")
    expect(target_id).to_be_focused()
    expect(known).to_have_text("Support Berlin (Berlin)")
    expect(page.get_by_label("ivr_id required")).to_have_value("")  # an IVR is one target's
    assert [line["path"] for line in double.ledger()] == ["/api/v2/callcenters", "/api/v2/offices"]
    target_id.fill(EXAMPLE["target_id"])
    expect(known).to_have_text("Support (Head office)")
    page.get_by_label("ivr_type required").fill("")
    page.get_by_role("button", name="Choose ivr_id by name").click()
    options.filter(has_text="Closed for the holidays").click()
    expect(page.get_by_label("ivr_type required")).to_have_value("CLOSED")
    expect(page.get_by_label("ivr_id required")).to_have_value("5127493019721760")
    expect(page.locator("#name-ivr_id")).to_have_text("Closed for the holidays")
    press(page)
    outcome(page, "planned")


def test_typing_goes_on_where_a_list_is_refused(page: Page, console: str, double: DoubleControl) -> None:
    double.add_faults({"match": {"path": "/api/v2/users"}, "fault": "status", "status": 403, "times": None})
    page.goto(f"{console}{PAGE}?target_type=user&ivr_type=VM_DROP_MESSAGE&ivr_id=5127493019721800")
    page.get_by_role("button", name="Choose target_id by name").click()
    expect(page.locator("#choose-target_id")).to_contain_text("GET /api/v2/users: Dialpad answered 403")
    page.get_by_label("target_id required").fill("5502522061422603")
    expect(page.locator("#choose-target_id")).to_be_hidden()
    press(page)
    outcome(page, "planned")


def test_works_without_javascript(browser: Browser, console: str, double: DoubleControl) -> None:
    with context_of(browser, java_script_enabled=False) as page:
        page.goto(console)
        page.get_by_label("ivr_id required").fill("x")
        page.get_by_role("button", name="Check").click()
        expect(page.locator("#error-ivr_id")).to_contain_text("ivr_id is")
        page.get_by_label("ivr_id required").fill(EXAMPLE["ivr_id"])
        page.get_by_label("mode").select_option("apply")
        press(page)  # its name changes with the next page
        press(page, "Make the change")
        outcome(page, "updated")
        expect(page.get_by_role("button", name="Choose target_id")).to_be_hidden()
        page.get_by_role("link", name="targets", exact=True).click()
        page.get_by_label("Type").select_option("callcenter")
        page.get_by_role("button", name="Show").click()
        page.get_by_role("link", name="Set an IVR: Support Berlin").click()
        expect(page.get_by_label("target_id required")).to_have_value("5502522061422612")
        page.get_by_role("searchbox", name="Search").fill("HOLD_MUSIC")
        page.keyboard.press("Enter")
        expect(page.get_by_role("main").get_by_role("link", name="HOLD_MUSIC").first).to_be_visible()
    assert double.summary()["applied"] == 1


def test_without_an_engine_requests_go_directly_to_dialpad(page: Page, double: DoubleControl, tmp_path: Path) -> None:
    with running_console(f"http://127.0.0.1:{free_port()}", double.url, tmp_path / "console.log") as url:
        page.goto(url)
        expect(page.get_by_text("No engine answers")).to_be_visible()
        press(page)
        outcome(page, "planned")
        expect(page.locator("#response")).to_contain_text("directly to Dialpad, without an engine")


@pytest.fixture
def tolerated_errors(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return (r"ERR_CONNECTION_REFUSED",) if "stopped" in request.node.name else ()


def test_stopped_console_is_reported(page: Page, double: DoubleControl, tmp_path: Path) -> None:
    with running_console(f"http://127.0.0.1:{free_port()}", double.url, tmp_path / "console.log") as url:
        page.goto(url)
        expect(page.get_by_text("No engine answers")).to_be_visible()
    press(page)
    expect(page.locator("#response")).to_contain_text("The console is not responding.")


def test_list_fills_in_the_form_that_sets_one_of_its_ivrs(
    page: Page, console: str, double: DoubleControl, screenshot: TakeScreenshot
) -> None:
    page.goto(f"{console}/tasks/list_custom_ivrs")
    press(page)
    outcome(page, "listed")
    ivrs = page.get_by_role("table").filter(has_text="Summer hold music")
    expect(ivrs.get_by_role("row", name="Winter hold music")).to_contain_text("yes")
    screenshot("console-listed")
    ivrs.get_by_role("link", name="Use Summer hold music").click()
    page.wait_for_url("**/tasks/set_custom_ivr?*")
    for name in ("target_type", "target_id", "ivr_type", "ivr_id"):
        expect(page.get_by_label(f"{name} required")).to_have_value(EXAMPLE[name])
    page.get_by_label("mode").select_option("apply")
    press(page, "Apply")
    expect(page.get_by_role("form", name="Make this change?")).to_contain_text("to Summer hold music")
    assert [line["method"] for line in double.ledger()] == ["GET"]


def test_history_leads_back_to_a_test_request(
    page: Page, console: str, double: DoubleControl, screenshot: TakeScreenshot
) -> None:
    page.goto(console)
    press(page)
    outcome(page, "planned")
    page.get_by_role("link", name="test requests").click()
    newest = page.get_by_role("row").nth(1)
    for text in ("set_custom_ivr", f"callcenter {EXAMPLE['target_id']}", "HOLD_MUSIC", "plan", "planned"):
        expect(newest).to_contain_text(text)
    screenshot("console-history")
    newest.get_by_role("rowheader").get_by_role("link").click()
    expect(page.locator("#response")).to_contain_text("Would become Summer hold music")


def test_workflow_id_leads_to_the_engines_ui(
    page: Page, console: str, engine: EngineRest, double: DoubleControl
) -> None:
    if built_ui() is None:
        pytest.skip("No built UI of the engine.")
    page.goto(console)
    press(page)
    outcome(page, "planned")
    link = page.locator("#response").get_by_role("link")
    expect(link).to_have_attribute("href", re.compile(rf"^{re.escape(engine.url)}/execution/[\w-]+$"))


def test_execution_shows_steps_input_and_output(
    page: Page, console: str, engine: EngineRest, double: DoubleControl, screenshot: TakeScreenshot
) -> None:
    workflow_id = engine.start("set_custom_ivr_test_request", {})
    engine.ended([workflow_id])
    page.goto(f"{console}/executions/{workflow_id}")
    step = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="set_ivr"))
    step.get_by_text("Output").click()
    expect(step.get_by_role("group", name="Output")).to_contain_text('"outcome": "planned"')
    screenshot("console-execution")


def width_of(page: Page, part: str) -> float:
    """The width of a part of the bar, in pixels."""
    box = page.locator(f".progress .{part}").bounding_box()
    return box["width"] if box else 0


def test_provisioning_run_shows_its_progress_by_outcome(
    page: Page, console: str, engine: EngineRest, double: DoubleControl, screenshot: TakeScreenshot
) -> None:
    double.set_state(synthetic=200)
    double.configure(latency=1.0)
    rows = [change(number, note={"line": number + 2, "previous": []}) for number in range(120)]
    rows[7] = unknown(7)
    workflow_id = engine.start(WORKFLOW, {"changes": rows, "plan": {"source": "holidays.csv"}})
    page.goto(f"{console}/provisioning")
    page.get_by_label("Workflow id").fill(workflow_id)
    page.get_by_role("button", name="Show progress").click()
    bar = page.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuemax", "120")
    until(lambda: width_of(page, "at-work") > 0, 60, "changes at work")
    until(lambda: 0 < int(bar.get_attribute("aria-valuenow") or 0) < 120, 60, "progress")
    screenshot("console-provisioning")
    engine.ended([workflow_id])
    expect(page.locator("#run .badge").first).to_have_text("failed")
    expect(bar).to_have_attribute("aria-valuenow", "120")
    expect(page.locator("#announcer")).to_contain_text("119 of 120 changes done")  # for a screen reader
    expect(page.get_by_role("button", name="Stop this run")).to_be_hidden()
    counts = page.get_by_role("table", name="By outcome")
    assert re.findall(r"^(\w+)\t(\d+)\t", counts.inner_text(), re.MULTILINE) == [("updated", "119"), ("not_found", "1")]
    changes = page.get_by_role("table", name=re.compile("^Changes"))
    expect(changes.get_by_role("row")).to_have_count(101)
    expect(changes.get_by_role("row").nth(1)).to_contain_text(rows[7]["target_id"])
    screenshot("console-provisioning-ended")
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON").click()
    report = json.loads(Path(download.value.path()).read_text())
    assert len(report["rows"]) == 120
    page.get_by_role("navigation", name="Changes").get_by_role("link", name="2").click()
    expect(changes.get_by_role("row")).to_have_count(21)
    until(lambda: workflow_id in httpx.get(f"{console}/provisioning", trust_env=False).text, 30, "the list of runs")
    page.goto(f"{console}/provisioning")
    row = page.get_by_role("row", name="holidays.csv").filter(has_text=workflow_id[:8])
    expect(row).to_contain_text("119 of 120 changes succeeded")
    row.get_by_role("link").click()
    expect(page.get_by_role("progressbar")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False], ids=["javascript", "no javascript"])
def test_run_is_stopped_after_a_question(
    browser: Browser, console: str, engine: EngineRest, double: DoubleControl, scripts: bool
) -> None:
    double.set_state(synthetic=200)
    double.configure(latency=4.0)  # 24 changes at once: far longer than the steps below take on a busy machine
    workflow_id = engine.start(WORKFLOW, {"changes": [change(number) for number in range(200)]})
    try:
        double.wait_for_arrivals(1, timeout=60)
        with context_of(browser, java_script_enabled=scripts) as page:
            page.goto(f"{console}/provisioning/{workflow_id}")
            press(page, "Stop this run")
            question = page.get_by_role("form", name="Stop this run?")
            question.get_by_role("link", name="Keep it running").click()
            assert engine.workflow(workflow_id)["status"] == "RUNNING"
            press(page, "Stop this run")
            press(page, "Stop the run")
            engine.ended([workflow_id])
            page.reload()
            status = page.locator("#run")
            expect(status).to_contain_text("Ended early")
            expect(status).to_contain_text("not sent")
            expect(status).to_contain_text("Stopped by ")
            expect(page.get_by_role("button", name="Stop this run")).to_be_hidden()
            assert int(page.get_by_role("progressbar").get_attribute("aria-valuenow") or 200) < 200
            track, done = page.locator(".progress").bounding_box(), width_of(page, "succeeded")
            assert track
            assert done < track["width"] - 1
    finally:
        double.configure(latency=0)
    assert engine.workflow(workflow_id)["status"] == "TERMINATED"


# ---- the layout


def box(page: Page, selector: str) -> FloatRect:
    found = page.locator(selector).first.bounding_box()
    assert found, selector
    return found


def bottom(rect: FloatRect) -> float:
    return rect["y"] + rect["height"]


def test_button_and_response_are_above_the_fold_at_800_by_900(
    browser: Browser, console: str, double: DoubleControl
) -> None:
    with context_of(browser, viewport={"width": 800, "height": 900}) as page:
        page.goto(console)
        for heading in ("Request", "Response"):
            expect(page.get_by_role("heading", name=heading, exact=True)).to_be_in_viewport(ratio=1)
        expect(page.get_by_role("button", name="Test request")).to_be_in_viewport(ratio=1)
        press(page)
        outcome(page, "planned")
        expect(page.locator("#response .headline")).to_be_in_viewport(ratio=1)
        assert page.evaluate("document.documentElement.scrollWidth") <= 800


@pytest.mark.parametrize("width", [1400, 800])
def test_form_is_aligned(browser: Browser, console: str, double: DoubleControl, width: int) -> None:
    with context_of(browser, viewport={"width": width, "height": 900}) as page:
        page.goto(console)
        text, choice = box(page, "#in-ivr_id"), box(page, "#in-select_option")
        assert text["height"] == choice["height"]
        assert text["width"] == choice["width"]
        for place in ("Body", "Options"):
            legend = page.get_by_role("group", name=place).locator("legend").bounding_box()
            above = page.get_by_role("group", name=place).locator("xpath=preceding-sibling::fieldset[1]").bounding_box()
            assert legend
            assert above
            assert legend["y"] - bottom(above) >= 6
        press(page)
        outcome(page, "planned")
        lefts = {
            round(box(page, selector)["x"])
            for selector in ("#request-heading", "#http", "#response-heading", "#response .headline", "#response pre")
        }
        assert len(lefts) == 1


def test_no_grey_box_stands_for_a_request_that_there_is_not(page: Page, console: str) -> None:
    page.goto(console)
    shown = box(page, ".panel:visible")
    page.get_by_label("ivr_id required").fill("")
    panel = page.get_by_role("tabpanel")
    expect(panel).to_have_text("No request yet.")
    assert panel.evaluate("(panel) => getComputedStyle(panel).backgroundColor") == "rgba(0, 0, 0, 0)"
    expect(page.get_by_role("button", name="Copy")).to_be_hidden()
    assert box(page, ".panel:visible") == shown  # nothing moves


def test_footer_is_at_the_bottom_and_links_keep_their_distance(page: Page, console: str, run_id: str) -> None:
    page.goto(f"{console}/engine")
    assert bottom(box(page, "footer")) == pytest.approx(VIEWPORT["height"], abs=1)
    page.goto(f"{console}/provisioning/{run_id}")
    link = page.get_by_role("link", name="Other runs").bounding_box()
    assert link
    assert link["y"] - bottom(box(page, "#run")) >= 8


def _send(page: Page) -> None:
    press(page)
    outcome(page, "planned")


def _send_list(page: Page) -> None:
    press(page)
    outcome(page, "listed")


def _enter_an_error(page: Page) -> None:
    page.get_by_label("ivr_type required").fill("")
    expect(page.locator("#error-ivr_type")).not_to_be_empty()
    page.get_by_role("tab", name="Workflow task").click()


def _apply(page: Page) -> None:
    page.get_by_label("mode").select_option("apply")
    page.get_by_role("tab", name="Workflow task").click()
    press(page, "Apply")
    expect(page.get_by_role("heading", name="Make this change?")).to_be_visible()


def _search(page: Page) -> None:
    page.get_by_role("searchbox", name="Search").fill("hold")
    expect(page.locator("#search-status")).not_to_be_empty()


def _choose(page: Page) -> None:
    page.get_by_role("button", name="Choose target_id by name").click()
    page.get_by_role("listbox", name="call centers").wait_for()
    page.keyboard.press("ArrowDown")


def _choose_without_a_list(page: Page) -> None:
    page.get_by_label("target_type required").fill("staffgroup")
    page.get_by_role("button", name="Choose target_id by name").click()
    expect(page.locator("#choose-target_id")).to_contain_text("no list of targets of type staffgroup")


STATES: dict[str, tuple[str, Any]] = {
    "first": ("/", None),
    "response": (PAGE, _send),
    "errors": (PAGE, _enter_an_error),
    "confirmation": (PAGE, _apply),
    "choices": (PAGE, _choose),
    "no_choices": (PAGE, _choose_without_a_list),
    "targets": ("/targets?target_type=callcenter", None),
    "search": (PAGE, _search),
    "list": ("/tasks/list_custom_ivrs", _send_list),
    "search_page": ("/search?q=hold", None),
    "runs": ("/provisioning", None),
    "run": ("/provisioning/{run}", None),
    "test_request": ("/test-requests/{run}", None),
    "test_requests": ("/test-requests", None),
    "execution": ("/executions/{run}", None),
    "limits": ("/limits", None),
}


@pytest.fixture(scope="module")
def run_id(engine: EngineRest, console: str) -> str:
    workflow_id = engine.start(WORKFLOW, {"changes": [unknown(0)]})
    engine.ended([workflow_id])
    return workflow_id


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_pages_are_accessible_stable_and_small(
    browser: Browser, console: str, double: DoubleControl, run_id: str, state: str, scheme: str
) -> None:
    path, act = STATES[state]
    with context_of(browser, color_scheme=scheme) as page:
        sizes: list[int] = []

        def add_size(response: Response) -> None:
            assert response.url.startswith(console), response.url
            sizes.append(len(response.body()) if response.status == 200 else 0)

        page.on("response", add_size)
        page.add_init_script(f"({SHIFTS})()")
        page.goto(console + path.format(run=run_id))
        page.wait_for_load_state("networkidle")
        assert 2_000 < sum(sizes) < BUDGET
        if act:
            act(page)
        violations = Axe().run(page).response["violations"]
        assert not violations, json.dumps(
            [(v["id"], [node["html"] for node in v["nodes"]]) for v in violations], indent=1
        )
        assert page.evaluate("shifts") == []


@pytest.mark.parametrize(
    "path",
    [
        PAGE,
        "/targets?target_type=callcenter",
        "/provisioning",
        "/provisioning/{run}",
        "/test-requests",
        "/executions/{run}",
        "/limits",
    ],
)
def test_narrow_window_does_not_scroll_sideways(browser: Browser, console: str, run_id: str, path: str) -> None:
    with context_of(browser, viewport={"width": 360, "height": 740}) as page:
        page.goto(console + path.format(run=run_id))
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
