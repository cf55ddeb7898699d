"""The console, walked in a browser: on the real engine, with a worker and the double behind it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Response, expect

from dialpad_ivr.contract.validation import example_input
from dialpad_ivr.local.engine import free_port
from dialpad_ivr.provisioning.workflow import WORKFLOW
from support.browser import VIEWPORT, TakeScreenshot
from support.docs import ROOT, blocks
from support.double import DoubleControl
from support.engine import EngineRest, until
from support.fixtures import put_quick_definitions
from support.provisioning import UNPACED, change, unknown
from support.worker import CREDENTIALS, clean_environ, running_console, running_worker

EXAMPLE = example_input()
PAGE = "/tasks/set_custom_ivr"
BUDGET = 150_000  # bytes of a page, with all that belongs to it


@pytest.fixture(scope="module", autouse=True)
def _worker(engine: EngineRest, _double: DoubleControl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    log = tmp_path_factory.mktemp("console") / "worker.log"
    with running_worker(engine.url, _double.url, log, **CREDENTIALS, **UNPACED):
        yield


@pytest.fixture(scope="module")
def console(engine: EngineRest, _double: DoubleControl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_console(engine.url, _double.url, tmp_path_factory.mktemp("console") / "console.log") as url:
        yield url


def press(page: Page) -> None:
    page.get_by_role("button", name="Test request").click()


def outcome(page: Page, expected: str) -> None:
    expect(page.locator("#response .badge").first).to_have_text(expected)


def panel(page: Page, tab: str) -> str:
    """What a tab of the request shows."""
    page.get_by_role("tab", name=tab).click()
    return page.get_by_role("tabpanel").inner_text()


def test_the_readmes_first_command_leads_to_a_response(page: Page, tmp_path: Path) -> None:
    first = next(block.text for block in blocks(ROOT / "README.md") if block.kind == "console").strip()
    assert first == "$ make dev"
    log = tmp_path / "dev.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            first.split()[1:], cwd=ROOT, env=clean_environ(), stderr=sink, stdout=sink, start_new_session=True
        )
    try:
        url = re.compile(r"^Console +(http://127\.0\.0\.1:\d+)  <- open this$", re.MULTILINE)
        until(lambda: "Ctrl-C stops everything" in log.read_text() or process.poll() is not None, 120, "the stack")
        found = url.search(log.read_text())
        assert found, log.read_text()
        page.goto(found[1])
        press(page)
        outcome(page, "planned")
        expect(page.locator("#response")).to_contain_text("through the engine")
    finally:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        process.wait(60)
    assert "Traceback" not in log.read_text()


def test_a_newcomer_presses_the_button_and_sees_the_response(
    page: Page, console: str, double: DoubleControl, screenshot: TakeScreenshot
) -> None:
    page.goto(console)
    expect(page.get_by_text("Test requests go through Conductor")).to_be_visible()
    press(page)
    outcome(page, "planned")
    response = page.locator("#response")
    for told in (
        "Status\n200",
        "ms",
        "Winter hold music",
        "content-type: application/json",
        '"ivr_type"',
        "the engine",
    ):
        expect(response).to_contain_text(told, use_inner_text=True)
    expect(page.get_by_role("button", name="Test request")).to_be_in_viewport()
    expect(page.get_by_role("heading", name="Response")).to_be_in_viewport()
    screenshot("console-planned")
    assert [line["method"] for line in double.ledger()] == ["GET"]


def test_the_input_is_checked_and_the_request_prepared_as_one_types(
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
    expect(page.locator("#told")).to_have_text("2 mistakes")
    screenshot("console-mistakes")
    kind.fill("office")
    page.get_by_label("target_id required").fill("9007199254740993")
    expect(page.get_by_role("tabpanel")).to_contain_text("/office/9007199254740993/HOLD_MUSIC")
    expect(page.locator("#told")).to_have_text("")
    expect(page.locator("[aria-invalid]")).to_have_count(0)
    assert '"$DIALPAD_API_KEY" | curl --header @-' in panel(page, "curl")
    assert json.loads(panel(page, "Workflow task"))["inputParameters"]["target_id"] == "9007199254740993"
    page.get_by_label("select_option").select_option("inbound")
    expect(page.locator("#prepared")).to_contain_text("documented for call center auto recording only")
    assert double.ledger() == []


def test_a_change_asks_first_and_names_the_target(
    page: Page, console: str, double: DoubleControl, screenshot: TakeScreenshot
) -> None:
    page.goto(console)
    page.get_by_label("mode").select_option("apply")
    expect(page.locator("#prepared .badge")).to_have_text("writes")
    press(page)
    question = page.get_by_role("form", name="Make this change?")
    expect(question).to_contain_text(f"callcenter {EXAMPLE['target_id']}")
    expect(question).to_contain_text(double.url)
    expect(page.get_by_role("heading", name="Make this change?")).to_be_focused()
    screenshot("console-question")
    question.get_by_role("button", name="Leave it").click()
    expect(page.locator("#response")).to_contain_text("Nothing was sent.")
    assert double.ledger() == []
    press(page)
    question.get_by_role("button", name="Make the change").click()
    outcome(page, "updated")
    screenshot("console-updated")
    assert double.selected("callcenter", EXAMPLE["target_id"], "HOLD_MUSIC")["inbound"] == EXAMPLE["ivr_id"]
    assert double.summary()["applied"] == 1


def test_the_task_that_is_copied_runs_in_a_workflow(
    page: Page, console: str, engine: EngineRest, double: DoubleControl
) -> None:
    page.goto(console)
    page.get_by_role("tab", name="Workflow task").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#told")).to_have_text("Copied")
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
    press(page)
    page.get_by_role("button", name="Make the change").click()
    outcome(page, "updated")
    assert double.selected("callcenter", big_target, "HOLD_MUSIC")["inbound"] == big_ivr


def test_a_refusal_is_told_with_what_to_do(page: Page, console: str, screenshot: TakeScreenshot) -> None:
    page.goto(f"{console}/tasks/list_custom_ivrs")
    page.get_by_label("name", exact=True).fill("no such music")
    press(page)
    outcome(page, "not_found")
    expect(page.locator("#response")).to_contain_text("no such music")
    screenshot("console-refused")


def test_an_engine_without_the_definitions_is_told_of_with_the_command_that_puts_them_there(
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


def test_one_that_takes_long_is_waited_for(page: Page, console: str, double: DoubleControl) -> None:
    double.configure(latency=6.0)
    page.goto(console)
    press(page)
    expect(page.locator("#response")).to_contain_text("A worker is at it.")
    outcome(page, "planned")


def test_search_by_keyboard_leads_to_what_was_found(page: Page, console: str, screenshot: TakeScreenshot) -> None:
    page.goto(f"{console}/provisioning")
    page.get_by_role("searchbox", name="Search").press_sequentially("csat pre")
    expect(page.locator("#found")).to_have_text("1 found")
    screenshot("console-search")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="CSAT_PREAMBLE")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Values of ivr_type")).to_be_in_viewport()
    page.get_by_role("searchbox", name="Search").fill("404")
    expect(page.get_by_role("link", name="outcome not_found")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="outcome not_found")).to_have_count(0)


def test_values_are_filtered_and_put_into_the_form(page: Page, console: str) -> None:
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


def test_all_of_it_can_be_done_by_keyboard(page: Page, console: str, double: DoubleControl) -> None:
    page.goto(console)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
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


@contextlib.contextmanager
def context_of(browser: Browser, **options: Any) -> Iterator[Page]:
    context = browser.new_context(**{"viewport": VIEWPORT, "locale": "en-US", **options})
    yield context.new_page()
    context.close()


def test_without_javascript_it_does_the_same(browser: Browser, console: str, double: DoubleControl) -> None:
    with context_of(browser, java_script_enabled=False) as page:
        page.goto(console)
        page.get_by_label("ivr_id required").fill("x")
        page.get_by_role("button", name="Check").click()
        expect(page.locator("#error-ivr_id")).to_contain_text("ivr_id is")
        page.get_by_label("ivr_id required").fill(EXAMPLE["ivr_id"])
        page.get_by_label("mode").select_option("apply")
        press(page)
        page.get_by_role("button", name="Make the change").click()
        outcome(page, "updated")
        page.get_by_role("searchbox", name="Search").fill("HOLD_MUSIC")
        page.keyboard.press("Enter")
        expect(page.get_by_role("main").get_by_role("link", name="HOLD_MUSIC").first).to_be_visible()
    assert double.summary()["applied"] == 1


def test_without_an_engine_it_goes_straight_to_dialpad(page: Page, double: DoubleControl, tmp_path: Path) -> None:
    with running_console(f"http://127.0.0.1:{free_port()}", double.url, tmp_path / "console.log") as url:
        page.goto(url)
        expect(page.get_by_text("No engine answers")).to_be_visible()
        press(page)
        outcome(page, "planned")
        expect(page.locator("#response")).to_contain_text("straight to Dialpad, without an engine")


@pytest.fixture
def tolerated_errors(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return (r"ERR_CONNECTION_REFUSED",) if "stopped" in request.node.name else ()


def test_a_console_that_was_stopped_is_told_of(page: Page, double: DoubleControl, tmp_path: Path) -> None:
    with running_console(f"http://127.0.0.1:{free_port()}", double.url, tmp_path / "console.log") as url:
        page.goto(url)
        expect(page.get_by_text("No engine answers")).to_be_visible()
    press(page)
    expect(page.locator("#response")).to_contain_text("The console does not answer.")


def test_a_provisioning_run_is_seen_by_outcome_as_it_goes(
    page: Page, console: str, engine: EngineRest, double: DoubleControl, screenshot: TakeScreenshot
) -> None:
    double.set_state(synthetic=200)
    double.configure(latency=1.0)
    rows = [change(number, note={"line": number + 2, "previous": []}) for number in range(120)]
    rows[7] = unknown(7)
    workflow_id = engine.start(WORKFLOW, {"changes": rows})
    page.goto(f"{console}/provisioning")
    page.get_by_label("Workflow id").fill(workflow_id)
    page.get_by_role("button", name="Show its progress").click()
    bar = page.get_by_role("progressbar")
    expect(bar).to_have_attribute("max", "120")
    until(lambda: 0 < int(bar.get_attribute("value") or 0) < 120, 60, "progress")
    screenshot("console-provisioning")
    expect(page.locator("#run .badge").first).to_have_text("failed", timeout=60_000)
    expect(bar).to_have_attribute("value", "120")
    expect(page.locator("#came")).to_have_text("failed 120 of 120 changes are done.")  # for a screen reader
    counts = page.get_by_role("table", name="By outcome")
    assert re.findall(r"^(\w+)\t(\d+)\t", counts.inner_text(), re.MULTILINE) == [("updated", "119"), ("not_found", "1")]
    failed = page.get_by_role("table", name="Not as asked")
    expect(failed.get_by_role("row")).to_have_count(2)
    expect(failed).to_contain_text(rows[7]["target_id"])
    screenshot("console-provisioning-ended")
    until(lambda: workflow_id in httpx.get(f"{console}/provisioning", trust_env=False).text, 30, "the list of runs")
    page.goto(f"{console}/provisioning")
    page.get_by_role("link", name=workflow_id).click()
    expect(page.get_by_role("progressbar")).to_be_visible()


def _answered(page: Page) -> None:
    press(page)
    outcome(page, "planned")


def _listed(page: Page) -> None:
    press(page)
    outcome(page, "listed")


def _mistaken(page: Page) -> None:
    page.get_by_label("ivr_type required").fill("")
    expect(page.locator("#error-ivr_type")).not_to_be_empty()
    page.get_by_role("tab", name="Workflow task").click()


def _questioned(page: Page) -> None:
    page.get_by_label("mode").select_option("apply")
    page.get_by_role("tab", name="Workflow task").click()
    press(page)
    expect(page.get_by_role("heading", name="Make this change?")).to_be_visible()


def _searched(page: Page) -> None:
    page.get_by_role("searchbox", name="Search").fill("hold")
    expect(page.locator("#found")).not_to_be_empty()


STATES: dict[str, tuple[str, Any]] = {
    "first": ("/", None),
    "response": (PAGE, _answered),
    "mistakes": (PAGE, _mistaken),
    "question": (PAGE, _questioned),
    "search": (PAGE, _searched),
    "list": ("/tasks/list_custom_ivrs", _listed),
    "found": ("/search?q=hold", None),
    "runs": ("/provisioning", None),
    "run": ("/provisioning/{run}", None),
    "test_request": ("/test-requests/{run}", None),
}
SHIFTS = """() => { window.shifts = []; new PerformanceObserver((list) => { for (const entry of list.getEntries())
  if (!entry.hadRecentInput) shifts.push([entry.value, ...entry.sources.map((source) => source.node?.outerHTML)]);
}).observe({ type: "layout-shift", buffered: true }); }"""


@pytest.fixture(scope="module")
def run_id(engine: EngineRest, _double: DoubleControl) -> str:
    workflow_id = engine.start(WORKFLOW, {"changes": [unknown(0)]})
    engine.ended([workflow_id])
    return workflow_id


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_every_page_can_be_used_by_everybody_stands_still_and_is_small(
    browser: Browser, console: str, double: DoubleControl, run_id: str, state: str, scheme: str
) -> None:
    path, act = STATES[state]
    with context_of(browser, color_scheme=scheme) as page:
        sizes: list[int] = []

        def weigh(response: Response) -> None:
            assert response.url.startswith(console), response.url
            sizes.append(len(response.body()) if response.status == 200 else 0)

        page.on("response", weigh)
        page.add_init_script(f"({SHIFTS})()")
        page.goto(console + path.format(run=run_id))
        page.wait_for_load_state("networkidle")
        assert 2_000 < sum(sizes) < BUDGET
        if act:
            act(page)
        found = Axe().run(page).response["violations"]
        assert not found, json.dumps([(v["id"], [node["html"] for node in v["nodes"]]) for v in found], indent=1)
        assert page.evaluate("shifts") == []


@pytest.mark.parametrize("path", [PAGE, "/provisioning/{run}"])
def test_a_narrow_window_needs_no_scrolling_sideways(browser: Browser, console: str, run_id: str, path: str) -> None:
    with context_of(browser, viewport={"width": 360, "height": 740}) as page:
        page.goto(console + path.format(run=run_id))
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
