"""The pages of overrides and of playbooks in a browser, on the real engine, with a worker and the Dialpad double."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.provisioning import playbooks
from dialpad_ivr.provisioning.overrides import WORKFLOW
from dialpad_ivr.provisioning.playbooks import Playbook
from dialpad_ivr.provisioning.times import milliseconds
from dialpad_ivr.settings import Settings
from dialpad_ivr.testing.double import DoubleControl
from support.browser import SHIFTS, TakeScreenshot, context_of
from support.engine import EngineRest, until
from support.overrides import as_before, from_now, noted, overridden, wait_until_active
from support.provisioning import ivr, target

ROWS = 3


@pytest.fixture
def targets(double: DoubleControl) -> DoubleControl:
    double.set_state(synthetic=20)
    return double


@pytest.fixture
def active(engine: EngineRest, targets: DoubleControl) -> str:
    """An override that is active for an hour."""
    inputs = {"changes": [noted(number) for number in range(ROWS)], "until": from_now(3600), "reason": "snow"}
    started = engine.start(WORKFLOW, {**inputs, "requested_by": "ann@desk"})
    wait_until_active(engine, started, 60)
    return started


@pytest.fixture
def playbook(engine: EngineRest, targets: DoubleControl) -> Iterator[str]:
    """A playbook of synthetic targets, whose overrides last a few seconds."""
    api = EngineApi(Settings(server_url=f"{engine.url}/api"))
    rows = tuple(
        {
            "line": number + 2,
            "target_type": "callcenter",
            "target_id": target(number),
            "ivr_type": "HOLD_MUSIC",
            "ivr_id": ivr(number),
        }
        for number in range(10, 10 + ROWS)
    )
    saved = playbooks.save(api, Playbook("snow-day", rows, "12s", zone="Europe/Berlin"))
    yield saved.name
    playbooks.delete(api, saved)


def test_the_countdown_moves_and_the_end_is_shown_without_a_reload(
    page: Page, console: str, engine: EngineRest, targets: DoubleControl, active: str, screenshot: TakeScreenshot
) -> None:
    page.goto(f"{console}/overrides?zone=Europe/Berlin")
    listed = page.get_by_role("row").filter(has_text=active[:8])
    expect(listed).to_contain_text(re.compile(r"in 5\d min \d+ s"))
    screenshot("console-overrides")
    page.evaluate("window.loaded = 'once'")
    timer = listed.get_by_role("timer")
    expect(timer).not_to_have_text(timer.inner_text())
    assert page.evaluate("window.loaded") == "once"
    listed.get_by_role("link", name="snow").click()
    page.get_by_role("link", name="End now").click()
    question = page.get_by_role("form", name="End this override now?")
    expect(question).to_contain_text(f"{ROWS} slots are restored now")
    screenshot("console-override-end")
    assert overridden(targets, ROWS) == ROWS
    question.get_by_label("Reason").fill("it has melted")
    question.get_by_role("button", name="End it now").click()
    page.evaluate("window.loaded = 'once'")
    expect(page.locator("#override .badge").first).to_have_text("success")
    assert page.evaluate("window.loaded") == "once"
    expect(page.locator("#override")).to_contain_text("it has melted")
    assert as_before(targets, ROWS)
    screenshot("console-override-ended", full_page=True)


def test_it_is_extended_without_javascript(
    browser: Browser, console: str, engine: EngineRest, targets: DoubleControl, active: str
) -> None:
    tomorrow = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=1)
    with context_of(browser, java_script_enabled=False) as page:
        page.goto(f"{console}/overrides/{active}")
        expect(page.get_by_role("timer")).to_be_hidden()
        page.get_by_role("link", name="Extend").click()
        page.get_by_label("New end").fill(f"{tomorrow:%Y-%m-%dT%H:%M:%S}")
        page.get_by_label("In the time zone").fill("UTC")
        page.get_by_label("Reason").fill("more snow")
        page.get_by_role("button", name="Check").click()
        expect(page.get_by_role("form", name="Move the end of this override?")).to_contain_text("later than planned")
        page.get_by_role("button", name="Move the end").click()
        page.wait_for_url(f"**/overrides/{active}?*")
        until(
            lambda: engine.workflow(active)["variables"]["until_ms"] == milliseconds(tomorrow),
            30,
            "the end to be moved",
        )
        page.get_by_role("link", name="Refresh").click()
        expect(page.locator("#override")).to_contain_text(f"{tomorrow:%Y-%m-%d}")


def test_a_playbook_is_started_after_its_rehearsal_and_restores_by_itself(
    page: Page,
    console: str,
    engine: EngineRest,
    targets: DoubleControl,
    playbook: str,
    screenshot: TakeScreenshot,
) -> None:
    page.goto(f"{console}/playbooks")
    page.get_by_role("button", name=f"Start {playbook}").click()
    expect(page.locator("#rehearsal")).to_contain_text(f"{ROWS} targets would change, in {ROWS} slots.")
    expect(page.locator("#rehearsal")).to_contain_text("Nobody is asked to approve it")
    screenshot("console-playbook")
    assert targets.summary()["applied"] == 0
    page.get_by_label("Reason").fill("snow")
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/overrides/*")
    expect(page.locator("#override .badge").first).to_have_text("success", timeout=60_000)
    assert targets.summary()["applied"] == 2 * ROWS
    assert as_before(targets, 10 + ROWS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible_and_stable_at_both_widths(
    browser: Browser, console: str, active: str, playbook: str, scheme: str
) -> None:
    def check(page: Page) -> None:
        for width in (1400, 800):
            page.set_viewport_size({"width": width, "height": 900})
            violations = Axe().run(page).response["violations"]
            found = [(each["id"], [node["html"] for node in each["nodes"]]) for each in violations]
            assert not found, json.dumps(found, indent=1)
            assert page.evaluate("document.documentElement.scrollWidth") <= width

    with context_of(browser, color_scheme=scheme) as page:
        page.add_init_script(f"({SHIFTS})()")
        for path in ("/overrides", f"/overrides/{active}"):
            page.goto(console + path)
            expect(page.get_by_role("timer").first).to_contain_text("min")
            assert page.evaluate("shifts") == []
            check(page)
        for path in ("extend", "report"):
            page.goto(f"{console}/overrides/{active}/{path}")
            check(page)
        page.goto(f"{console}/playbooks")
        page.get_by_role("button", name=f"Start {playbook}").click()
        expect(page.get_by_label("Reason")).to_be_visible()
        check(page)
