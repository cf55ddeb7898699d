"""The search for a UI, and a small one to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialpad_ivr.local.engine import VERSION
from dialpad_ivr.local.ui import find_ui
from dialpad_ivr.local.ui_archive import UiError

FILES = {
    "index.html": b"<html>",
    "assets/app.js": bytes(range(256)) * 400,
    **{f"icons/{i}.svg": b"<svg/>" * i for i in range(200)},
}
PADDING = 20_000_000
NAME = f"conductor-ui-{VERSION}"


def find() -> tuple[Path, list[str]]:
    """The UI, and what was reported."""
    lines: list[str] = []
    return find_ui(lines.append), lines


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def refused(home: Path) -> str:
    """The reason why there is no UI; nothing but a lock is left in the cache."""
    with pytest.raises(UiError) as caught:
        find()
    assert [path.name for path in (home / "cache").iterdir()] == [f"{NAME}.lock"]
    reason, remedy = str(caught.value).splitlines()
    assert "dialpad-ivr dev --ui PATH" in remedy
    return reason
