"""A real browser for tests: Debian's Chromium, driven by Playwright. A plugin of pytest: its fixtures are everywhere.

A test asks for `page`, and for `screenshot` to keep what it saw in artifacts/. The test fails, whatever it asserts,
when the page logged an error, raised one, or asked for anything that is not on this machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, expect, sync_playwright

ARTIFACTS = Path(__file__).parents[2] / "artifacts"
VIEWPORT = {"width": 1400, "height": 900}
SHIFTS = """() => { window.shifts = []; new PerformanceObserver((list) => { for (const entry of list.getEntries())
  if (!entry.hadRecentInput) shifts.push([entry.value, ...entry.sources.map((source) => source.node?.outerHTML)]);
}).observe({ type: "layout-shift", buffered: true }); }"""
"""A function that notes in `shifts` whatever moved in the page without a person's doing."""
_TIMEOUT_MS = 20_000  # patient: a busy machine is no failure

TakeScreenshot = Callable[..., Path]


def not_at_hand(what: str, remedy: str) -> NoReturn:
    """Skip the test, or in CI fail it: there nothing may be left out unseen."""
    message = f"{what} To get it: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


# Not of the session: while Playwright's sync API runs, its event loop does too, and no async test could run in this
# thread. So a module with browser tests holds no async ones.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, headless; it is started once a module."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        not_at_hand("No Chromium on the PATH.", "apt-get install --no-install-recommends chromium")
    with sync_playwright() as playwright:
        expect.set_options(timeout=_TIMEOUT_MS)
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@contextlib.contextmanager
def context_of(browser: Browser, **options: Any) -> Iterator[Page]:
    """A page in a context with options of its own, e.g. another size, or without JavaScript."""
    context = browser.new_context(**{"viewport": VIEWPORT, "locale": "en-US", **options})
    with contextlib.closing(context):
        yield context.new_page()


@pytest.fixture
def tolerated_errors() -> tuple[str, ...]:
    """Patterns of errors that a page may log; a module of tests overrides this where the page is not ours."""
    return ()


@pytest.fixture
def page(browser: Browser, tolerated_errors: tuple[str, ...]) -> Iterator[Page]:
    """A page in a context of its own: empty storage, English, 1400 x 900, a clipboard that may be read."""
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(f"{message.text} ({message.location.get('url')})")

    def stay_here(route: Route) -> None:
        errors.append(f"a request left the machine: {route.request.url}")
        route.abort()

    context = browser.new_context(
        viewport=VIEWPORT,  # type: ignore[arg-type]
        locale="en-US",
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_default_timeout(_TIMEOUT_MS)
    context.route(lambda url: urlsplit(url).hostname not in ("127.0.0.1", "localhost", "", None), stay_here)
    page = context.new_page()
    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    unexpected = [error for error in errors if not any(re.search(pattern, error) for pattern in tolerated_errors)]
    assert not unexpected, "\n".join(unexpected)


@pytest.fixture
def screenshot(page: Page) -> TakeScreenshot:
    """Keep what the page shows as artifacts/NAME.png; with `full_page=True` all of it, however long."""

    def take(name: str, *, full_page: bool = False) -> Path:
        path = ARTIFACTS / f"{name}.png"
        page.screenshot(path=path, full_page=full_page, animations="disabled")
        return path

    return take
