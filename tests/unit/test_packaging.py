"""The wheel: it holds what it needs, and its metadata is complete."""

from __future__ import annotations

import importlib.metadata
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_both_json_folders_and_the_marker_of_types_are_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        f"dialpad_ivr/{path.relative_to(ROOT)}"
        for folder in ("task_defs", "workflows")
        for path in (ROOT / folder).glob("*")
    }
    assert len(ours) == 9
    pages = {str(path.relative_to(ROOT / "worker")) for path in (ROOT / "worker/dialpad_ivr/console").glob("*/*.*")}
    assert {"dialpad_ivr/console/templates/task.html", "dialpad_ivr/console/static/console.js"} <= pages
    assert {page for page in pages if "__pycache__" not in page} <= names
    assert "dialpad_ivr/pacing/redis.lua" in names
    assert ours <= names
    assert "dialpad_ivr/py.typed" in names
    assert not any(name.startswith(("tests", "worker")) for name in names)


def test_its_metadata_is_complete() -> None:
    metadata = importlib.metadata.metadata("dialpad-ivr")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"
    assert "conductor-python==2.0.0" in metadata.get_all("Requires-Dist")
    (script,) = (e for e in importlib.metadata.entry_points(group="console_scripts") if e.name == "dialpad-ivr")
    assert script.value == "dialpad_ivr.__main__:main"


def test_the_version_is_said_in_one_place() -> None:
    from dialpad_ivr import __version__

    assert importlib.metadata.version("dialpad-ivr") == __version__
    newest = next(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    assert newest == "## Unreleased" or newest.startswith(f"## {__version__}")
