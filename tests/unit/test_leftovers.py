"""No process outlives the test that started it (`support.leftovers`), also if that test fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.engine import until

TESTS = Path(__file__).parents[1]
FAILING = """
import subprocess
from support import leftovers

leftovers._GRACE_SECONDS = 0.2

def test_it():
    print("started", subprocess.Popen(["sleep", "600"]).pid)
    raise AssertionError
"""


@pytest.mark.long
def test_what_a_failing_test_leaves_running_is_killed_and_named(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(FAILING)
    environ = {**os.environ, "PYTHONPATH": f"{TESTS}"}
    command = [sys.executable, "-m", "pytest", "--disable-plugin-autoload", "-p", "support.leftovers", "test_it.py"]
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert re.search(r"Left running, and killed now:\nE? *sleep 600", ended.stdout), ended.stdout
    (pid,) = set(re.findall(r"^started (\d+)$", ended.stdout, re.MULTILINE))
    until(lambda: not Path("/proc", pid).exists(), 10, "the process to end")
