"""The command `dialpad-ivr`. A command calls another room, shows the result and sets the exit code."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.text import Text

from dialpad_ivr import __version__
from dialpad_ivr.cli import render
from dialpad_ivr.cli.apply import apply, status
from dialpad_ivr.cli.common import (
    EXIT_CODES,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_NO_ENGINE,
    EXIT_USAGE,
    JsonFlag,
    Timeout,
    confirm,
    engine_failed,
    err,
    fail,
    out,
    settings_or_fail,
)
from dialpad_ivr.cli.console import console
from dialpad_ivr.cli.doctor import examine
from dialpad_ivr.cli.local import demo, dev
from dialpad_ivr.cli.plan import plan
from dialpad_ivr.cli.register import register
from dialpad_ivr.cli.runs import approve, rollback, stop
from dialpad_ivr.cli.worker import worker
from dialpad_ivr.contract.inputs import SetCustomIvrInput
from dialpad_ivr.contract.schema import input_schema, output_schema
from dialpad_ivr.contract.values import LIST_TASK_TYPE, TASK_TYPE
from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, EngineError
from dialpad_ivr.engine.definitions import task_definition
from dialpad_ivr.engine.follow import follow
from dialpad_ivr.tasks.local_run import as_curl, run_locally
from dialpad_ivr.telemetry import logs

_EPILOG = (
    f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}. "
    "Settings are environment variables: see docs/reference/settings.md."
)

app = typer.Typer(
    name="dialpad-ivr",
    help="Dialpad custom-IVR changes as a task of the Conductor workflow engine.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    # A traceback with its variables could show a key.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class SchemaKind(str, Enum):
    """What `schema` prints."""

    INPUT = "input"
    OUTPUT = "output"
    TASK = "task"


class TaskType(str, Enum):
    """The tasks."""

    SET_CUSTOM_IVR = TASK_TYPE
    LIST_CUSTOM_IVRS = LIST_TASK_TYPE


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False,
) -> None:
    # Shells start background jobs with SIGINT ignored; restore the default.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if version:
        typer.echo(__version__)
        raise typer.Exit


app.command()(worker)
app.command()(register)


@app.command()
def run(
    workflow: Annotated[str, typer.Argument(help="The workflow's name.")] = "set_custom_ivr",
    input_json: Annotated[
        str, typer.Option("--input", help="The workflow's input: JSON, @FILE, or - for standard input.", metavar="JSON")
    ] = "{}",
    version: Annotated[int | None, typer.Option(help="The workflow's version; the newest by default.")] = None,
    follow_id: Annotated[
        str | None, typer.Option("--follow", help="Follow this workflow instead of starting one.", metavar="ID")
    ] = None,
    timeout: Timeout = 3600,
    as_json: JsonFlag = False,
) -> None:
    """Start a workflow, follow it and show its outcome. Ctrl-C stops following; the workflow keeps running.

    Examples:
    - `dialpad-ivr run set_custom_ivr_test_request`
    - `dialpad-ivr run set_custom_ivr --input @change.json`
    - `dialpad-ivr run --follow 5f0c...`
    """
    inputs = _json_object(input_json)
    engine = EngineApi(settings_or_fail())
    workflow_id = follow_id
    try:
        workflow_id = workflow_id or engine.start_workflow(workflow, inputs, version)
        if not as_json:
            err.print(Text(f"{'Following' if follow_id else 'Started'} {workflow_id}", style="dim"))
        ended = follow(engine, workflow_id, lambda w: None if as_json else _progress(w), timeout)
    except EngineError as exc:
        hint = " Register it with: dialpad-ivr register" if exc.status == 404 and not workflow_id else ""
        engine_failed(exc, hint)
    except KeyboardInterrupt:
        if workflow_id is None:
            fail("Interrupted before the engine confirmed the start.", EXIT_INTERRUPTED)
        err.print(
            Text(f"\nThe workflow keeps running. Resume with: dialpad-ivr run --follow {workflow_id}"), soft_wrap=True
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
    output = ended.get("output") or {}
    summary = {
        "workflow_id": workflow_id,
        "status": ended["status"],
        "reason": ended.get("reasonForIncompletion"),
        "output": output,
    }
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
    else:
        render.show_workflow(out, ended)
        out.print_json(json.dumps(output))
        out.print(Text(f"Workflow {workflow_id}: {ended['status']}"), Text(summary["reason"] or "", style="red"))
    if ended["status"] not in TERMINAL_STATUSES:
        err.print(
            Text(f"Still running after {timeout:g} s. Resume with: dialpad-ivr run --follow {workflow_id}"),
            soft_wrap=True,
        )
    if ended["status"] != "COMPLETED" or ("ok" in output and output["ok"] is not True):
        raise typer.Exit(EXIT_FAILED)


def _progress(workflow: dict[str, Any]) -> None:
    tasks = workflow.get("tasks", [])
    if tasks:
        err.print(Text(f"  {tasks[-1]['referenceTaskName']}: {tasks[-1]['status']}", style="dim"))


@app.command("test-request")
def try_one_request(
    target_type: Annotated[str | None, typer.Option(help="The target's type, e.g. callcenter.")] = None,
    target_id: Annotated[str | None, typer.Option(help="The target's id.")] = None,
    ivr_type: Annotated[str | None, typer.Option(help="The slot, e.g. HOLD_MUSIC.")] = None,
    ivr_id: Annotated[str | None, typer.Option(help="The IVR to select.")] = None,
    select_option: Annotated[str | None, typer.Option(help="inbound or outbound.")] = None,
    credential: Annotated[str | None, typer.Option(help="The credential profile.")] = None,
    mode: Annotated[
        str | None, typer.Option(help="With --send: plan (the default) only reads, apply makes the change.")
    ] = None,
    input_json: Annotated[
        str, typer.Option("--input", help="The whole input: JSON, @FILE, or - for standard input.", metavar="JSON")
    ] = "{}",
    send: Annotated[bool, typer.Option("--send", help="Send the request; by default nothing is sent.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Make the change without confirmation.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Build and show one request, without an engine and with the worker's own code. With `--send`, also send it.

    Examples:
    - `dialpad-ivr test-request --target-type callcenter --target-id 5502522061422592 --ivr-type HOLD_MUSIC
      --ivr-id 5127493019721728`
    - the same with `--send`: reads the current selection
    - the same with `--send --mode apply`: makes the change, after confirmation
    """
    options = {
        "target_type": target_type,
        "target_id": target_id,
        "ivr_type": ivr_type,
        "ivr_id": ivr_id,
        "select_option": select_option,
        "credential": credential,
        "mode": mode,
    }
    params = {"mode": "plan", **_json_object(input_json), **{k: v for k, v in options.items() if v is not None}}
    settings = settings_or_fail()
    if send and params["mode"] not in ("plan", "validate"):
        target = f"{params.get('target_type')} {params.get('target_id')}"
        question = f"Set {params.get('ivr_type')} of {target} to IVR {params.get('ivr_id')} at {settings.api_url}?"
        confirm(question, yes=yes)
    logs.configure("warning", settings.log_format)
    result = asyncio.run(run_locally(params, settings, send=send))
    profile = params.get("credential") or SetCustomIvrInput.model_fields["credential"].default
    curl = as_curl(result.output.request, str(profile)) if result.output.request else None
    if as_json:
        typer.echo(json.dumps({**result.output.model_dump(mode="json"), "curl": curl}, indent=2))
    else:
        render.show_output(out, result.output, curl)
        if not send and result.output.ok:
            out.print(Text("Nothing was sent. Send it with --send.", style="dim"))
    if not result.output.ok:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def doctor(
    profile: Annotated[list[str] | None, typer.Option(help="A credential profile to check; repeatable.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check the engine, the definitions, the keys, the clocks and the Redis. Changes nothing.

    Examples:
    - `dialpad-ivr doctor`
    - `dialpad-ivr doctor --profile default --profile emea --json`
    """
    checks = asyncio.run(examine(settings_or_fail(), profile or ["default"]))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        render.show_checks(out, checks)
    failed = [check for check in checks if check.result == "failed"]
    if failed:
        raise typer.Exit(EXIT_NO_ENGINE if any(check.no_engine for check in failed) else EXIT_FAILED)


for command in (dev, demo, console, plan, apply, status, stop, approve, rollback):
    app.command()(command)


@app.command()
def schema(
    kind: Annotated[SchemaKind, typer.Argument(help="What to print.")] = SchemaKind.INPUT,
    task: Annotated[TaskType, typer.Option(help="The task.")] = TaskType.SET_CUSTOM_IVR,
) -> None:
    """Print the JSON schema of a task's input or output, or its task definition.

    Examples:
    - `dialpad-ivr schema > set_custom_ivr.schema.json`
    - `dialpad-ivr schema task`
    - `dialpad-ivr schema --task list_custom_ivrs`
    """
    makers: dict[SchemaKind, Callable[[str], dict[str, Any]]] = {
        SchemaKind.INPUT: input_schema,
        SchemaKind.OUTPUT: output_schema,
        SchemaKind.TASK: task_definition,
    }
    typer.echo(json.dumps(makers[kind](task.value), indent=2))


def _json_object(text: str) -> dict[str, Any]:
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text("utf-8")
        value = json.loads(text)
    except (OSError, ValueError, RecursionError) as exc:
        fail(f"--input: {exc}", EXIT_USAGE)
    if not isinstance(value, dict):
        fail("--input must be a JSON object.", EXIT_USAGE)
    return cast("dict[str, Any]", value)
