"""The command `schema`, the help, and the exit codes."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
import typer
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from dialpad_ivr import __version__
from dialpad_ivr.cli import common
from dialpad_ivr.cli.app import COMMANDS, imported
from dialpad_ivr.cli.exit_codes import EXIT_CODES
from dialpad_ivr.contract.schema import INPUTS, input_schema, output_schema
from dialpad_ivr.engine.definitions import task_definition
from support.invoke import Invoke


@pytest.mark.parametrize("task_type", INPUTS)
def test_schema_prints_what_the_contract_says(invoke: Invoke, task_type: str) -> None:
    assert invoke("schema", "--task", task_type).json == input_schema(task_type)
    assert invoke("schema", "output", "--task", task_type).json == output_schema(task_type)
    assert invoke("schema", "task", "--task", task_type).json == task_definition(task_type)


def test_version_is_shown(invoke: Invoke) -> None:
    assert invoke("--version").out == f"{__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_has_an_example(invoke: Invoke, name: str) -> None:
    shown = invoke(*name.split(), "--help").out
    assert "Example" in shown
    assert f"dialpad-ivr {name}" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_the_help_of_each_begins_with(name: str) -> None:
    assert " ".join(str(imported(name).help).partition("\n\n")[0].split()) == COMMANDS[name][1]


# What takes long to import, and what only a running command needs.
HEAVY = {"conductor", "httpx", "httpcore", "anyio", "rich.table", "rich.progress", "structlog", "jsonschema"}
HEAVY |= {"prometheus_client", "opentelemetry", "pydantic_settings", "starlette", "uvicorn", "jinja2", "redis"}


def imported_by(code: str, **environ: str) -> set[str]:
    """The modules that a process has imported at its end, and the packages that they are of."""
    code = f"import sys\ntry:\n    {code}\nfinally: print('imported:', *sys.modules)"
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, check=True).stdout
    modules = set(shown.rpartition("imported:")[2].split())
    return modules | {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize(
    ("arguments", "completed"),
    [
        (["--help"], None),
        (["--version"], None),
        ([], ""),
        ([], "--"),
        ([], "re"),
        ([], "test-request --"),
        ([], "test-request --ivr-type "),
    ],
)
def test_help_version_and_completion_import_nothing_that_only_a_running_command_needs(
    arguments: list[str], completed: str | None
) -> None:
    environ = {}
    if completed is not None:
        line = f"dialpad-ivr {completed}"
        environ = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_DIALPAD_IVR_COMPLETE": "complete_bash"}
    imported = imported_by(f"from dialpad_ivr.__main__ import main; sys.argv[1:] = {arguments}; main()", **environ)
    assert "typer" in imported
    # Typer draws the help with Rich's tables.
    assert HEAVY & imported == ({"rich.table"} if arguments == ["--help"] else set())


def test_help_lists_every_exit_code(invoke: Invoke) -> None:
    shown = invoke("--help").all
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in shown


# The command up to where the worker runs.
START_WORKER = (
    "import asyncio, dialpad_ivr.cli.worker; asyncio.run = lambda main: main.close(); dialpad_ivr.cli.worker.worker()"
)


def test_worker_imports_neither_the_command_line_nor_what_only_other_commands_or_invalid_inputs_need() -> None:
    imported = imported_by(START_WORKER)
    assert "dialpad_ivr.worker.process" in imported
    ours = ["cli.app", "cli.common", "cli.run", "console", "provisioning", "local", "engine.follow", "tasks.local_run"]
    assert {
        "typer",
        "rich",
        "pygments",
        "greenlet",
        "jsonschema",
        "yaml",
        *(f"dialpad_ivr.{name}" for name in ours),
    } & imported == set()


def test_failure_is_printed_in_full_on_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(common, "err", common._PlainConsole(file=file, width=20))
    with pytest.raises(typer.Exit) as caught:
        common.fail("a message that is longer than [bold]20[/bold] columns", 4)
    assert caught.value.exit_code == 4
    assert file.getvalue() == Text("a message that is longer than [bold]20[/bold] columns\n").plain


@pytest.mark.parametrize("words", [["target", "call center"], ["slot", "HOLD_MUSIC"], ["profile", "API key"]])
def test_help_says_what_its_words_mean(invoke: Invoke, words: list[str]) -> None:
    assert all(word in invoke("--help").all for word in words)


def test_printed_lines_do_not_end_in_blanks() -> None:
    file = io.StringIO()
    console = common._PlainConsole(file=file, width=30)
    table = Table("a", "longer", show_edge=False, pad_edge=False)
    table.add_row("1", Text(""))
    table.add_row("inner  blanks", "2")
    console.print(table)
    console.print(Text("a sentence that is wrapped where it has a blank"))
    console.print(Text("label:   "), Text("value"), sep="")
    lines = file.getvalue().splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert any(line.startswith("inner  blanks ") and line.endswith("2") for line in lines)
    assert lines[-1] == "label:   value"


def test_drawn_boxes_have_no_empty_lines_in_between() -> None:
    file = io.StringIO()
    console = common._PlainConsole(file=file, width=30, force_terminal=True)
    console.print(Panel(Syntax('{\n  "a": 1\n}', "json", word_wrap=True)))
    assert len(file.getvalue().splitlines()) == 5
