"""The plugin of pytest: in every session of a user's environment, so it must cost nothing until it is used."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from dialpad_ivr import testing

PLUGIN = "dialpad_ivr.testing.plugin"


def run_pytest(folder: Path, test: str, *options: str) -> str:
    (folder / "test_it.py").write_text(test, "utf-8")
    # The plugins of the other packages here are not what is tested.
    command = [sys.executable, "-m", "pytest", "-q", "--disable-plugin-autoload", "-p", PLUGIN, *options, "test_it.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_pytest_finds_the_plugin() -> None:
    (entry,) = entry_points(group="pytest11", name=PLUGIN)
    assert hasattr(entry.load(), "run_definition")


def test_loading_it_imports_nothing_that_a_session_without_its_fixtures_needs() -> None:
    code = f"import sys, pytest; before = set(sys.modules); import {PLUGIN}; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in loaded if not name.startswith("dialpad_ivr")} == set()
    assert set(loaded) == {"dialpad_ivr", "dialpad_ivr.testing", PLUGIN}


def test_naming_it_again_in_a_conftest_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(f"pytest_plugins = [{PLUGIN!r}]\n", "utf-8")
    shown = run_pytest(tmp_path, "def test_it():\n    pass\n", "--fixtures")
    for fixture in ("run_definition", "dialpad_ivr_engine", "dialpad_ivr_double", "dialpad_ivr_worker"):
        assert shown.count(f"{fixture} ") == 1


@pytest.mark.long
def test_the_double_is_as_freshly_started_in_every_test(tmp_path: Path) -> None:
    test = """
import httpx, pytest

@pytest.mark.parametrize("n", [1, 2])
def test_it(dialpad_ivr_double, n):
    assert dialpad_ivr_double.summary()["arrivals"] == 0
    httpx.get(f"{dialpad_ivr_double.url}/api/v2/customivrs", trust_env=False)
    assert dialpad_ivr_double.summary()["arrivals"] == 1
"""
    assert "2 passed" in run_pytest(tmp_path, test)


def test_every_public_name_is_there() -> None:
    assert {name for name in testing.__all__ if not hasattr(testing, name)} == set()
