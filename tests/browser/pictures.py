"""Retakes the screenshots in the docs: `make pictures`, or `python tests/browser/pictures.py UI`.

They show a real Conductor server with its own UI, a worker and a Dialpad double. UI is a built copy of Conductor's UI,
a folder or a .tar.gz of one.
"""

from __future__ import annotations

import json
import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import FloatRect, Page, sync_playwright

from dialpad_ivr.contract.validation import example_input
from dialpad_ivr.engine.follow import follow
from dialpad_ivr.local.stack import Stack, running_stack
from support.engine_ui import open_test_task, paste, run_test_task

FOLDER = Path(__file__).parents[2] / "docs" / "img"
MAX_SIZE = 100_000  # bytes
MENU = 240  # width of the menu at the left of the engine's UI, which is cut off, in pixels


def console(page: Page, stack: Stack) -> None:
    """The console: the form with the example, and the response to a test request."""
    page.goto(f"{stack.console_url}/")
    page.get_by_text("Requests run through").wait_for()
    page.get_by_role("button", name="Test request").click()
    page.locator("#response .headline").wait_for(timeout=120_000)  # not only that it runs
    take(page, "console", {"x": 0, "y": 0, "width": 1385, "height": 880})


def execution(page: Page, stack: Stack) -> None:
    """A test request in the engine's UI: the diagram and the task's output."""
    workflow_id = stack.engine.start_workflow("set_custom_ivr_test_request", {})
    follow(stack.engine, workflow_id, lambda _: None, 60)
    page.goto(f"{stack.engine_url}/execution/{workflow_id}")
    page.get_by_text("set_ivr").first.click()
    page.get_by_role("tab", name="Output", exact=True).last.click()
    page.get_by_text("elapsed_ms").wait_for()
    take(page, "execution", {"x": MENU, "y": 0, "width": 1400 - MENU, "height": 720})


def test_task(page: Page, stack: Stack) -> None:
    """The task's page in the engine's UI: "Test Task" with the example and its output."""
    box = open_test_task(page, f"{stack.engine_url}/taskDef/set_custom_ivr")
    paste(box, json.dumps(example_input(), indent=2))
    run_test_task(page, "Completed")
    take(page, "test-task", {"x": MENU, "y": 0, "width": 1400 - MENU, "height": 720})


# 16 levels per channel leave few enough colors for a palette, and look the same.
LEVELS = [round(level / 17) * 17 for level in range(256)]


def take(page: Page, name: str, clip: FloatRect | None = None) -> None:
    """Save a screenshot as docs/img/NAME.png.

    Raises:
        SystemExit: It is too large.
    """
    screenshot = Image.open(BytesIO(page.screenshot(clip=clip, animations="disabled"))).convert("RGB")
    path = FOLDER / f"{name}.png"
    screenshot.point(LEVELS * 3).quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    print(f"docs/img/{name}.png: {size} bytes")
    if size > MAX_SIZE:
        raise SystemExit(f"{name}.png is larger than {MAX_SIZE} bytes. Show less in it.")


def main(built_ui: Path) -> None:
    """Take all screenshots."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("No Chromium on the PATH. Install it with: apt-get install --no-install-recommends chromium")
    if not built_ui.exists():
        raise SystemExit(f"{built_ui} does not exist. Name a built Conductor UI: make pictures UI=FOLDER_OR_TAR_GZ")
    FOLDER.mkdir(exist_ok=True)
    with (
        running_stack(print, console_port=0, ui=built_ui) as stack,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium)
        for scene in (console, execution, test_task):
            context = browser.new_context(
                viewport={"width": 1400, "height": 900},
                locale="en-US",
                permissions=["clipboard-read", "clipboard-write"],
            )
            scene(context.new_page(), stack)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
