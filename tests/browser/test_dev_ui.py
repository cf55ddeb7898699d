"""`make dev` with an empty cache: it reads the engine's UI out of a remote jar, and its links lead to a response."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from dialpad_ivr.contract.validation import example_input
from support.browser import TakeScreenshot, not_at_hand
from support.dev import make_dev
from support.engine_ui import TOLERATED_ERRORS, open_task, open_test_task, paste, run_test_task, text_of
from support.fixtures import built_ui
from support.jar_server import files_of, jar_of, serving

PADDING = 50_000_000


@pytest.fixture
def tolerated_errors() -> tuple[str, ...]:
    return TOLERATED_ERRORS


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What `make dev` printed, which runs while the tests do."""
    archive = built_ui()
    if archive is None or not archive.is_file():
        not_at_hand("No built UI of the engine as an archive.", "put it at ../shared/conductor-ui.tar.gz")
    with serving(jar_of(files_of(archive), padding=PADDING)) as server:
        folder = tmp_path_factory.mktemp("dev")
        with make_dev(folder, server.url) as printed:
            assert server.sent < PADDING / 2  # the UI alone
            yield printed


def link(printed: str, name: str, button: str) -> str:
    """An address that was printed."""
    found = re.search(rf"^{name} +(http://127\.0\.0\.1:\d+\S*)  <- {button}$", printed, re.MULTILINE)
    assert found, printed
    return found[1]


def test_test_task_of_the_first_command_gives_a_response(page: Page, printed: str, screenshot: TakeScreenshot) -> None:
    box = open_test_task(page, link(printed, "Test Task", "press Test Task"))
    paste(box, json.dumps(example_input()))
    output = run_test_task(page, "Completed")
    screenshot("dev-test-task")
    assert output.startswith('{"outcome":"planned","ok":true,"error":null,')
    assert '"selected":{"id":"5127493019721729","name":"Winterholdmusic"}' in output


def test_run_workflow_of_the_first_command_gives_a_response(
    page: Page, printed: str, screenshot: TakeScreenshot
) -> None:
    page.goto(link(printed, "Run", "press Run workflow"))
    expect(page.locator("#workflow-name-dropdown")).to_have_value("set_custom_ivr_test_request")
    box = page.locator(".monaco-editor").first
    expect(box).to_contain_text("target_type")
    assert json.loads(text_of(box)) == example_input()
    screenshot("dev-run-workflow")
    page.get_by_role("button", name="Run workflow").click()
    expect(page.get_by_text("Workflow created")).to_be_visible()
    page.locator("#workflow-execution-id").click()
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible()
    assert text_of(open_task(page, "set_ivr", "Output")).startswith('{"outcome":"planned","ok":true,')
    screenshot("dev-execution")


def test_console_of_the_first_command_links_to_the_execution_in_the_ui(page: Page, printed: str) -> None:
    page.goto(link(printed, "Console", "open this"))
    page.get_by_role("button", name="Test request", exact=True).click()
    expect(page.locator("#response .badge").first).to_have_text("planned")
    page.locator("#response").get_by_role("link").click()
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible()
    expect(page).to_have_url(re.compile(r"/execution/[\w-]+"))
