"""The engine's own UI in a browser: its editors, and its "Test Task"."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

TOLERATED_ERRORS = (
    r"fonts\.googleapis\.com",  # a font and a logo from elsewhere; it looks much the same without them
    r"assets\.conductor-oss\.org",
    r"/api/schema\b",  # requests registered schemas; this engine has no API for them
    r"^Response \(",  # how it logs that response
    r"Error parsing JSON",  # logged while JSON is being typed
    r"^Canceled$",  # logged when its editor is closed
)


def text_of(editor: Locator) -> str:
    """What an editor shows, without line numbers and white space: it breaks long lines anywhere."""
    return re.sub(r"\s", "", editor.locator(".view-lines").inner_text())


def paste(editor: Locator, text: str, shows: str = "target_type") -> None:
    """Replace the editor's text from the clipboard: it would close brackets that are typed. Waits until it shows."""
    editor.page.evaluate("text => navigator.clipboard.writeText(text)", text)
    editor.click()
    editor.page.keyboard.press("Control+A")
    editor.page.keyboard.press("Delete")
    expect(editor.locator(".view-lines")).to_have_text("")
    editor.page.keyboard.press("Control+V")
    expect(editor.locator(".view-lines")).to_contain_text(shows)


def open_test_task(page: Page, url: str) -> Locator:
    """Press "Test Task" on the task's page, which has this address; returns the box for its input."""
    page.goto(url)
    page.get_by_role("button", name="Test Task").click()
    box = page.locator(".monaco-editor").last
    expect(box.locator(".view-lines")).to_have_text("{}")
    return box


def run_test_task(page: Page, status: str) -> str:
    """Press "Run Test" and wait for the end; returns the output."""
    page.locator("#run-test-task").click()
    link = page.locator("a[href^='/execution/']")
    expect(link.locator("xpath=ancestor::*[4]").get_by_text(status, exact=True)).to_be_visible()
    output = page.locator(".monaco-editor").last
    expect(output.locator(".view-lines")).to_contain_text("waited_ms")
    return text_of(output)


def open_task(page: Page, reference: str, tab: str) -> Locator:
    """Click a task in the diagram, and a tab of what opens; returns the editor in it."""
    page.get_by_text(reference, exact=True).first.click()
    page.get_by_role("tab", name=tab, exact=True).click()
    editor = page.locator(".monaco-editor").last
    expect(editor.locator(".view-lines")).to_contain_text("target_type" if tab == "Input" else "outcome")
    return editor
