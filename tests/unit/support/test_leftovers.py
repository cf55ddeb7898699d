"""A test's processes end with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAILING = """
import subprocess

def test_that_fails(tmp_path):
    shell = subprocess.run(["sh", "-c", "sleep 300 >/dev/null 2>&1 & echo $!"], capture_output=True, text=True)
    print("pid", shell.stdout)
    assert False

def test_that_is_clean():
    subprocess.run(["true"])
"""


@pytest.mark.long
def test_what_a_failing_test_leaves_running_is_killed_and_named(tmp_path: Path) -> None:
    (tmp_path / "test_leaving.py").write_text(FAILING)
    tests = str(Path(__file__).parents[2])
    # `--rootdir`: this checkout's own settings and conftest have no say.
    command = [sys.executable, "-m", "pytest", "-p", "support.leftovers", "--rootdir", str(tmp_path), str(tmp_path)]
    environ = {**os.environ, "PYTHONPATH": tests, "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed, 1 error" in done.stdout, done.stdout
    assert "sleep 300" in done.stdout
    pid = done.stdout.partition("pid ")[2].split()[0]
    assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
