"""The README, run: every command of its `console` blocks, every JSON block, and its tables against the code."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.contract import OUTCOMES, ListCustomIvrsInput, SetCustomIvrInput, SetCustomIvrOutput
from dialpad_ivr.generated import stale_files
from support.command import Command
from support.double import DoubleControl
from support.engine import EngineRest, until
from support.fixtures import StartWorker, put_quick_definitions
from support.worker import CREDENTIALS, clean_environ

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line[2:] for kind, block in BLOCKS if kind == "console" for line in block.splitlines()]
# `make test` is what runs this; `make demo` and `dev` have tests of their own below.
RUN_ELSEWHERE = {"make test", "make demo", ".venv/bin/dialpad-ivr dev"}


def test_every_console_line_is_a_command() -> None:
    lines = [line for kind, block in BLOCKS if kind == "console" for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines)
    assert set(COMMANDS) >= RUN_ELSEWHERE
    assert len(COMMANDS) >= 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As a reader's: with the virtual environment, and the file of changes that the README shows."""
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (changes,) = (block for kind, block in BLOCKS if kind == "csv")
    (tmp_path / "changes.csv").write_text(changes)
    return tmp_path


def test_a_plan_looks_as_shown(command: Command, folder: Path) -> None:
    told = command("plan", folder / "changes.csv").splitlines()
    (shown,) = (block for kind, block in BLOCKS if kind == "text" and "->" in block)
    for line in shown.splitlines():
        assert line in told


def test_every_command_works_on_an_engine_with_a_worker(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, folder: Path
) -> None:
    environ = clean_environ(
        CONDUCTOR_SERVER_URL=engine.url,
        DIALPAD_IVR_API_URL=double.url,
        DIALPAD_IVR_ALLOW_LOOPBACK="true",
        **CREDENTIALS,
    )
    subprocess.run([".venv/bin/dialpad-ivr", "register", "--overwrite"], env=environ, cwd=ROOT, check=True)
    try:
        with start_worker():
            for command in COMMANDS:
                if command not in RUN_ELSEWHERE:
                    told = subprocess.run(
                        shlex.split(command), env=environ, cwd=folder, capture_output=True, text=True, check=False
                    )
                    assert told.returncode == 0, (command, told.stdout, told.stderr)
    finally:
        put_quick_definitions(engine)


def test_make_demo_ends_with_what_the_readme_shows() -> None:
    told = subprocess.run(
        ["make", "demo"], env=clean_environ(COLUMNS="110"), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    (shown,) = (block for kind, block in BLOCKS if kind == "text" and "branch taken" in block)
    for line in shown.splitlines()[1:]:
        words = re.sub(r"\d+\.\d s", "", line).split()
        assert any(words == re.sub(r"\d+\.\d s", "", real).split() for real in told.stdout.splitlines()), line


def test_dev_prints_what_to_paste_and_stops_on_ctrl_c() -> None:
    process = subprocess.Popen(
        [".venv/bin/dialpad-ivr", "dev", "--engine-port", "0", "--double-port", "0"],
        env=clean_environ(),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines: list[str] = []

    def up() -> bool:
        lines.append(process.stderr.readline())  # type: ignore[union-attr]
        return "Ctrl-C stops it all" in lines[-1]

    until(up, 120, "the stack")
    (export,) = (line for line in lines if line.strip().startswith("export "))
    pasted = dict(part.split("=", 1) for part in shlex.split(export)[1:])
    command = [".venv/bin/dialpad-ivr", "run", "set_custom_ivr_test_request", "--json"]
    told = subprocess.run(command, env=clean_environ(**pasted), cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(told.stdout)["output"]["outcome"] == "planned"
    process.send_signal(2)
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0
    assert "Traceback" not in rest


@pytest.mark.parametrize("block", [block for kind, block in BLOCKS if kind == "json"])
def test_every_json_block_is_json(block: str) -> None:
    assert json.loads(block)


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
        given = {"call_center": "5502522061422592", "ivr": "5127493019721728"}
        (ended,) = engine.ended([engine.start(definition["name"], given)])
    assert ended["output"]["outcome"] == "updated"
    assert double.selected("callcenter", given["call_center"], "HOLD_MUSIC")["inbound"] == given["ivr"]


def table(heading: str) -> str:
    return README.split(f"### {heading}")[1].split("\n#")[0]


def test_the_tables_name_every_field_and_every_outcome() -> None:
    fields = [name for name in SetCustomIvrInput.model_fields if name != "fork_index"]
    assert re.findall(r"^\| `(\w+)`", table("Input"), re.MULTILINE) == fields
    looked_up = [name for name in ListCustomIvrsInput.model_fields if name != "fork_index"]
    first_cells = "".join(re.findall(r"^\| (`.*?) \|", table("Look an IVR"), re.MULTILINE))
    assert re.findall(r"`(\w+)`", first_cells) == looked_up
    for name in SetCustomIvrOutput.model_fields:
        assert f"`{name}`" in table("Output"), name
    for outcome in OUTCOMES:
        assert f"`{outcome}`" in table("Outcomes"), outcome


def test_the_settings_table_is_that_of_the_code() -> None:
    assert stale_files(write=False) == []
