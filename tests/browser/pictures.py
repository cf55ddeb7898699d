"""Takes the pictures of the docs anew: `make pictures`, or `python tests/browser/pictures.py UI`.

They show what is really there: a Conductor server with its own UI, a worker and a Dialpad double. UI is a built copy of
Conductor's UI, as a folder or as a .tar.gz of one.
"""

from __future__ import annotations

import base64
import shutil
import struct
import sys
import zlib
from pathlib import Path

from playwright.sync_api import FloatRect, Page, sync_playwright

from dialpad_ivr.engine.follow import follow
from dialpad_ivr.local.stack import Stack, running_stack, temporary_log

FOLDER = Path(__file__).parents[2] / "docs" / "img"
LARGEST = 100_000  # bytes: they are in the repository, and on the README's first screen
MENU = 240  # pixels at the left of the engine's UI, which show nothing of ours


def console(page: Page, stack: Stack) -> None:
    """The console: the form with its example, and what a test request came to."""
    page.goto(f"{stack.console_url}/")
    page.get_by_text("Test requests go through").wait_for()
    page.get_by_role("button", name="Test request").click()
    page.locator("#response .badge").wait_for()
    take(page, "console", {"x": 0, "y": 0, "width": 1385, "height": 880})


def execution(page: Page, stack: Stack) -> None:
    """A test request in the engine's UI: its diagram, and the task's output."""
    workflow_id = stack.engine.start_workflow("set_custom_ivr_test_request", {})
    follow(stack.engine, workflow_id, lambda _: None, 60)
    page.goto(f"{stack.engine_url}/execution/{workflow_id}")
    page.get_by_text("set_ivr").first.click()
    page.get_by_role("tab", name="Output", exact=True).last.click()
    page.get_by_text("elapsed_ms").wait_for()
    take(page, "execution", {"x": MENU, "y": 0, "width": 1400 - MENU, "height": 720})


PIXELS = """async (png) => {
  const picture = new Image();
  picture.src = `data:image/png;base64,${png}`;
  await picture.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const bytes = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const parts = [];
  for (let i = 0; i < bytes.length; i += 32768) parts.push(String.fromCharCode(...bytes.subarray(i, i + 32768)));
  return [canvas.width, canvas.height, btoa(parts.join(""))];
}"""
# Of each colour 16 shades are kept: nobody sees it, and the file is half as large.
FEWER_SHADES = bytes(round(shade / 17) * 17 for shade in range(256))


def take(page: Page, name: str, clip: FloatRect | None = None) -> None:
    """Keep what is seen.

    Raises:
        SystemExit: It is too large.
    """
    taken = base64.b64encode(page.screenshot(clip=clip, animations="disabled")).decode()
    page.goto("about:blank")
    width, height, pixels = page.evaluate(PIXELS, taken)
    picture = as_png(width, height, base64.b64decode(pixels).translate(FEWER_SHADES))
    print(f"docs/img/{name}.png: {len(picture)} bytes")
    if len(picture) > LARGEST:
        raise SystemExit(f"{name}.png is larger than {LARGEST} bytes: show less of it.")
    (FOLDER / f"{name}.png").write_bytes(picture)


def as_png(width: int, height: int, rgba: bytes) -> bytes:
    """A PNG file; packed as a picture of a page packs best, a third of what Chromium makes of it."""
    rgb = bytearray(3 * width * height)
    for channel in range(3):
        rgb[channel::3] = rgba[channel::4]
    lines = b"".join(b"\0" + rgb[start : start + 3 * width] for start in range(0, len(rgb), 3 * width))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


def main(built_ui: Path) -> None:
    """Take them all."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("No Chromium on the PATH. To get it: apt-get install --no-install-recommends chromium")
    if not built_ui.exists():
        raise SystemExit(f"{built_ui} is not there. Name a built Conductor UI: make pictures UI=FOLDER_OR_TAR_GZ")
    FOLDER.mkdir(exist_ok=True)
    with (
        temporary_log() as log,
        running_stack(print, console_port=0, ui=built_ui, worker_log=log) as stack,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium)
        for show in (console, execution):
            show(browser.new_page(viewport={"width": 1400, "height": 900}, locale="en-US"), stack)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
