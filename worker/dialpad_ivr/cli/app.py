"""The command `dialpad-ivr`. A command calls another room, shows the result and sets the exit code."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from dataclasses import asdict
from enum import Enum
from typing import Annotated, Any

import typer

from dialpad_ivr import __version__
from dialpad_ivr.cli import render
from dialpad_ivr.cli.apply import apply, status
from dialpad_ivr.cli.common import EXIT_CODES, EXIT_FAILED, EXIT_NO_ENGINE, JsonFlag, out, settings_or_fail
from dialpad_ivr.cli.console import console
from dialpad_ivr.cli.doctor import examine
from dialpad_ivr.cli.limits import limits
from dialpad_ivr.cli.local import demo, dev
from dialpad_ivr.cli.plan import plan
from dialpad_ivr.cli.register import register
from dialpad_ivr.cli.run import run
from dialpad_ivr.cli.runs import approve, rollback, stop
from dialpad_ivr.cli.try_request import try_request
from dialpad_ivr.cli.worker import worker
from dialpad_ivr.contract.schema import input_schema, output_schema
from dialpad_ivr.contract.values import LIST_TASK_TYPE, TASK_TYPE
from dialpad_ivr.engine.definitions import task_definition

_EPILOG = (
    f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}. "
    "Settings are environment variables: see docs/reference/settings.md."
)

app = typer.Typer(
    name="dialpad-ivr",
    help="Dialpad custom-IVR changes as a task of the Conductor workflow engine.\n\n"
    "A *target* is a call center, department, office, user, ... of Dialpad. A *slot* is an occasion on which it plays "
    "an IVR, such as GREETING or HOLD_MUSIC. A *profile* is the name of an API key.",
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
app.command()(run)
app.command("test-request")(try_request)


@app.command()
def doctor(
    profile: Annotated[
        list[str] | None,
        typer.Option(
            help="A credential profile to check, i.e. the name of a key: emea for DIALPAD_API_KEY_EMEA; repeatable."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check the engine, the definitions, the workers, the keys, the clocks and Redis. Changes nothing.

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


for command in (limits, dev, demo, console, plan, apply, status, stop, approve, rollback):
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
