"""What the README promises besides the commands that `test_docs.py` runs: `make demo`, `dev`, and the task to paste."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.testing.double import DoubleControl
from support.command import lines_until
from support.docs import ROOT, blocks
from support.engine import EngineRest
from support.fixtures import StartWorker
from support.worker import clean_environ

BLOCKS = [(block.kind, block.text) for block in blocks(ROOT / "README.md")]


@pytest.mark.long
def test_make_demo_prints_the_table_of_the_readme() -> None:
    completed = subprocess.run(
        ["make", "demo"], env=clean_environ(COLUMNS="110"), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    (shown,) = (block for kind, block in BLOCKS if kind == "text" and "branch taken" in block)
    for line in shown.splitlines()[1:]:
        words = re.sub(r"\d+\.\d s", "", line).split()
        assert any(words == re.sub(r"\d+\.\d s", "", real).split() for real in completed.stdout.splitlines()), line


Dev = tuple[subprocess.Popen[str], list[str]]
"""A running `dev`, and what it has printed until it was ready."""


@pytest.fixture
def dev() -> Iterator[Dev]:
    process = subprocess.Popen(
        [".venv/bin/dialpad-ivr", "dev", "--engine-port", "0", "--double-port", "0", "--console-port", "0"],
        env=clean_environ(),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, lines_until(process, "Ctrl-C stops everything", 120)
    finally:
        process.kill()  # which does nothing if it has ended; its engine ends with it


def rest_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    with process.stderr:
        return process.stderr.read()


@pytest.mark.long
def test_dev_prints_exports_and_a_command_that_work_and_stops_on_ctrl_c(dev: Dev) -> None:
    process, lines = dev
    (number,) = (number for number, line in enumerate(lines) if line.strip().startswith("export "))
    pasted = dict(part.split("=", 1) for part in shlex.split(lines[number])[1:])
    assert [line for line in lines if line != f"{line.rstrip()}\n"] == []
    # A second terminal, in which no environment is activated.
    environ = clean_environ(PATH="/usr/bin:/bin", **pasted)
    command = [*shlex.split(lines[number + 1]), "--json"]
    assert command[1:] == ["run", "set_custom_ivr_test_request", "--json"]
    completed = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(completed.stdout)["output"]["outcome"] == "planned"
    process.send_signal(2)
    rest = rest_of(process)
    assert process.wait(60) == 0
    assert "Traceback" not in rest


@pytest.mark.long
def test_dev_ends_with_its_worker_and_shows_its_log(dev: Dev) -> None:
    process, lines = dev
    (log,) = (Path(line.split()[-1]) for line in lines if line.startswith("Its log"))
    assert "worker_started" in log.read_text()
    writes_it = [fd.parent.parent for fd in Path("/proc").glob("[0-9]*/fd/1") if fd.resolve() == log]
    (worker,) = (folder for folder in writes_it if b"local.child" not in (folder / "cmdline").read_bytes())
    os.kill(int(worker.name), signal.SIGKILL)
    rest = rest_of(process)
    assert process.wait(60) == 1
    assert "The worker ended with exit code 137, so everything is stopped." in rest
    assert "Traceback" not in rest


def test_the_task_to_paste_runs(engine: EngineRest, double: DoubleControl, start_worker: StartWorker) -> None:
    pasted = [json.loads(block) for kind, block in BLOCKS if kind == "json"]
    (task,) = (block for block in pasted if block.get("type") == "SIMPLE")
    (switch,) = (block for block in pasted if block.get("type") == "SWITCH")
    definition: dict[str, Any] = {
        "name": "pasted_from_the_readme",
        "version": 1,
        "schemaVersion": 2,
        "ownerEmail": "test@example.com",
        "tasks": [{**task, "optional": True}, switch],
        "outputParameters": {"outcome": "${set_ivr.output.outcome}"},
    }
    engine.put_workflow_definition(definition)
    with start_worker():
        payload = {"call_center": "5502522061422592", "ivr": "5127493019721728"}
        (ended,) = engine.ended([engine.start(definition["name"], payload)])
    assert ended["output"]["outcome"] == "updated"
    assert double.selected("callcenter", payload["call_center"], "HOLD_MUSIC")["inbound"] == payload["ivr"]
