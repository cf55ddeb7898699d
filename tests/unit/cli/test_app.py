"""The commands `run`, `test-request` and `schema`, the help, and the exit codes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.text import Text
from typer.main import get_command

from dialpad_ivr import __version__
from dialpad_ivr.cli import common
from dialpad_ivr.cli.app import app
from dialpad_ivr.contract.schema import INPUTS, input_schema, output_schema
from dialpad_ivr.engine.definitions import task_definition
from support.double import DoubleControl
from support.invoke import Invoke
from support.stub import StubEngine

ID = "11111111-2222-3333-4444-555555555555"
CHANGE = {
    "target_type": "callcenter",
    "target_id": "5502522061422592",
    "ivr_type": "HOLD_MUSIC",
    "ivr_id": "5127493019721728",
}
COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]


def workflow(status: str, output: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    task = {"taskId": "t", "referenceTaskName": "set_ivr", "taskType": "set_custom_ivr", "status": status}
    return {"workflowId": ID, "status": status, "tasks": [task], "output": output or {}, **more}


# ---- run


def test_run_starts_a_workflow_and_shows_its_output(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs[ID] = [workflow("RUNNING"), workflow("COMPLETED", {"outcome": "updated", "ok": True})]
    done = invoke("run", "set_custom_ivr", "--input", json.dumps(CHANGE), "--version", "1", "--json").json
    assert done == {
        "workflow_id": ID,
        "status": "COMPLETED",
        "reason": None,
        "output": {"outcome": "updated", "ok": True},
    }
    (start,) = stub_engine.writes
    assert start.body == {"name": "set_custom_ivr", "input": CHANGE, "version": 1}


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (workflow("COMPLETED", {"ok": True}), 0),
        (workflow("COMPLETED", {}), 0),  # a workflow of somebody else's
        (workflow("COMPLETED", {"ok": False}), 1),
        (workflow("COMPLETED", {"ok": None}), 1),
        (workflow("FAILED", {"ok": True}, reasonForIncompletion="Why it failed"), 1),
        (workflow("TERMINATED"), 1),
        (workflow("TIMED_OUT"), 1),
    ],
)
def test_run_exit_code_follows_status_and_ok(
    invoke: Invoke, stub_engine: StubEngine, state: dict[str, Any], code: int
) -> None:
    stub_engine.runs[ID] = [state]
    shown = invoke("run", code=code)
    assert f"Workflow {ID}: {state['status']}" in shown.out
    assert state.get("reasonForIncompletion", "") in shown.out


def test_follow_does_not_start_a_workflow(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs[ID] = [workflow("COMPLETED")]
    assert invoke("run", "--follow", ID, "--json").json["workflow_id"] == ID
    assert stub_engine.writes == []


def test_run_that_outlasts_the_timeout_exits_1_and_shows_how_to_resume(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs[ID] = [workflow("RUNNING")]
    assert f"dialpad-ivr run --follow {ID}" in invoke("run", "--timeout", "0", code=1).err


def test_interrupted_run_exits_130_and_shows_how_to_resume(
    invoke: Invoke, stub_engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    stub_engine.runs[ID] = [workflow("RUNNING")]
    monkeypatch.setattr("dialpad_ivr.cli.app.follow", interrupt)
    assert f"dialpad-ivr run --follow {ID}" in invoke("run", code=130).err


def test_run_of_an_unregistered_workflow_exits_1_and_names_register(invoke: Invoke) -> None:
    assert "dialpad-ivr register" in invoke("run", "no_such_workflow", code=1).err


def test_run_exits_4_without_an_engine(invoke: Invoke, no_engine: str) -> None:
    assert no_engine in invoke("run", code=4).err


@pytest.mark.parametrize("text", ["[]", "{", "@missing.json", "nonsense", "[" * 100_000])
def test_input_that_is_not_a_json_object_exits_2(invoke: Invoke, stub_engine: StubEngine, text: str) -> None:
    assert "--input" in invoke("run", "--input", text, code=2).err
    assert stub_engine.stub.received == []


def test_input_is_read_from_a_file_and_from_standard_input(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.runs[ID] = [workflow("COMPLETED")]
    Path("change.json").write_text(json.dumps(CHANGE))
    invoke("run", "--input", "@change.json")
    invoke("run", "--input", "-", input=json.dumps(CHANGE))
    assert [start.body["input"] for start in stub_engine.writes] == [CHANGE, CHANGE]


# ---- test-request


@pytest.fixture
def dialpad(double: DoubleControl, monkeypatch: pytest.MonkeyPatch) -> DoubleControl:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", double.url)
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    return double


def test_test_request_shows_the_request_and_sends_nothing(invoke: Invoke, dialpad: DoubleControl) -> None:
    flags = [part for name, value in CHANGE.items() for part in (f"--{name.replace('_', '-')}", value)]
    output = invoke("test-request", *flags, "--json").json
    assert (output["outcome"], output["request"]["method"]) == ("valid", "PATCH")
    assert "$DIALPAD_API_KEY" in output["curl"]
    assert "--send" in invoke("test-request", *flags).out
    assert dialpad.ledger() == []


def test_sent_test_request_only_reads_by_default(invoke: Invoke, dialpad: DoubleControl) -> None:
    assert invoke("test-request", "--input", json.dumps(CHANGE), "--send", "--json").json["outcome"] == "planned"
    assert [arrival["method"] for arrival in dialpad.ledger()] == ["GET"]


@pytest.mark.parametrize("mode", ["apply", "", None])
def test_test_request_changes_nothing_without_confirmation(invoke: Invoke, dialpad: DoubleControl, mode: Any) -> None:
    assert "--yes" in invoke("test-request", "--input", json.dumps({**CHANGE, "mode": mode}), "--send", code=2).err
    assert dialpad.ledger() == []


def test_confirmed_test_request_makes_the_change(invoke: Invoke, dialpad: DoubleControl) -> None:
    output = invoke("test-request", "--input", json.dumps(CHANGE), "--send", "--mode", "apply", "--yes", "--json").json
    assert output["outcome"] == "updated"
    assert (
        dialpad.selected(CHANGE["target_type"], CHANGE["target_id"], CHANGE["ivr_type"])["inbound"] == CHANGE["ivr_id"]
    )


def test_invalid_test_request_exits_1_with_every_field_error(invoke: Invoke, dialpad: DoubleControl) -> None:
    errors = invoke("test-request", "--target-type", "CallCenter", "--json", code=1).json["error"]["field_errors"]
    assert {error["path"] for error in errors} == {"target_type", "target_id", "ivr_type", "ivr_id"}


def test_a_damaged_id_of_a_test_request_is_explained_and_named_once(invoke: Invoke, dialpad: DoubleControl) -> None:
    damaged = {**CHANGE, "target_id": "'5502522061422592"}
    shown = invoke("test-request", "--input", json.dumps(damaged), code=1).out
    assert "apostrophe" in shown
    assert shown.count("target_id") == 1


# ---- schema, help, exit codes


@pytest.mark.parametrize("task_type", INPUTS)
def test_schema_prints_what_the_contract_says(invoke: Invoke, task_type: str) -> None:
    assert invoke("schema", "--task", task_type).json == input_schema(task_type)
    assert invoke("schema", "output", "--task", task_type).json == output_schema(task_type)
    assert invoke("schema", "task", "--task", task_type).json == task_definition(task_type)


def test_version_is_shown(invoke: Invoke) -> None:
    assert invoke("--version").out == f"{__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_has_an_example(invoke: Invoke, name: str) -> None:
    shown = invoke(name, "--help").out
    assert "Example" in shown
    assert f"dialpad-ivr {name}" in shown


def test_help_lists_every_exit_code(invoke: Invoke) -> None:
    shown = invoke("--help").all
    for code, meaning in common.EXIT_CODES.items():
        assert f"{code} {meaning}" in shown


def test_worker_imports_none_of_the_other_commands() -> None:
    code = "import sys, dialpad_ivr.cli.worker; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "dialpad_ivr.worker.process" in loaded
    others = {"cli.app", "cli.render", "console", "provisioning", "local", "engine.follow", "tasks.local_run"}
    assert not {f"dialpad_ivr.{name}" for name in others} & loaded


def test_failure_is_printed_in_full_on_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(common, "err", common._PlainConsole(file=file, width=20))
    with pytest.raises(typer.Exit) as caught:
        common.fail("a message that is longer than [bold]20[/bold] columns", 4)
    assert caught.value.exit_code == 4
    assert file.getvalue() == Text("a message that is longer than [bold]20[/bold] columns\n").plain
