"""The wheel: it holds what it needs, and its metadata is complete."""

from __future__ import annotations

import importlib.metadata
import re
import zipfile
from pathlib import Path

from dialpad_ivr import __version__

ROOT = Path(__file__).parents[2]


def test_wheel_holds_both_json_folders_the_console_and_the_type_marker(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    definitions = {
        f"dialpad_ivr/{path.relative_to(ROOT)}"
        for folder in ("task_defs", "workflows")
        for path in (ROOT / folder).glob("*")
    }
    assert len(definitions) == 20
    pages = {str(path.relative_to(ROOT / "worker")) for path in (ROOT / "worker/dialpad_ivr/console").glob("*/*.*")}
    assert {"dialpad_ivr/console/templates/task.html", "dialpad_ivr/console/static/console.js"} <= pages
    assert {page for page in pages if "__pycache__" not in page} <= names
    assert {"dialpad_ivr/pacing/redis.lua", "dialpad_ivr/provisioning/override_report.html"} <= set(names)
    assert definitions <= names
    assert "dialpad_ivr/py.typed" in names
    assert not any(name.startswith(("tests", "worker")) for name in names)


def test_metadata_is_complete() -> None:
    metadata = importlib.metadata.metadata("dialpad-ivr")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"
    assert "conductor-python<3,>=2.0" in (metadata.get_all("Requires-Dist") or [])
    (script,) = (e for e in importlib.metadata.entry_points(group="console_scripts") if e.name == "dialpad-ivr")
    assert script.value == "dialpad_ivr.__main__:main"


def test_version_is_the_same_everywhere() -> None:
    assert importlib.metadata.version("dialpad-ivr") == __version__
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0] in ("Unreleased", __version__)
    assert __version__ in changelog
    deployed = [path.read_text("utf-8") for path in sorted((ROOT / "deploy").rglob("*")) if path.is_file()]
    pattern = r"(?:dialpad-ivr:|newTag: |image\.version=\"|register-)(\d+[.-]\d+[.-]\d+)"
    mentions = re.findall(pattern, "\n".join(deployed))
    assert len(mentions) >= 7
    assert {mention.replace("-", ".") for mention in mentions} == {__version__}
