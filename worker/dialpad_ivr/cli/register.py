"""The command `register`."""

from __future__ import annotations

import json
from enum import Enum
from typing import Annotated

import typer
from rich.text import Text

from dialpad_ivr.cli import render
from dialpad_ivr.cli.common import engine_failed, out, settings_or_fail
from dialpad_ivr.cli.exit_codes import EXIT_CONSENT
from dialpad_ivr.cli.options import JsonFlag
from dialpad_ivr.engine import definitions
from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.engine.definitions import Comparison, compare, shipped


class RegisterAction(str, Enum):
    """What `register` did with a definition; `--json` shows the value."""

    NONE = "none"
    REGISTERED = "registered"
    WOULD_REGISTER = "would_register"
    SKIPPED = "skipped"


_SHOWN = {
    RegisterAction.NONE: "up to date",
    RegisterAction.REGISTERED: "registered",
    RegisterAction.WOULD_REGISTER: "would be registered",
    RegisterAction.SKIPPED: "skipped; --overwrite replaces it with the local definition",
}


def register(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the differences; write nothing.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also replace definitions edited on the server, or newer ones.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Register the task and workflow definitions on the engine, and show what differs.

    A definition that was edited on the server, or that a newer version of this package registered, is skipped (exit
    code 3) unless `--overwrite` is set.

    Examples:
    - `dialpad-ivr register --dry-run`
    - `dialpad-ivr register --overwrite`
    """
    engine = EngineApi(settings_or_fail())
    try:
        comparisons = [compare(engine, definition) for definition in shipped()]
        results = [(comparison, _register(engine, comparison, dry_run, overwrite)) for comparison in comparisons]
    except EngineError as exc:
        engine_failed(exc)
    if as_json:
        rows = [
            {
                "kind": comparison.local.kind,
                "name": comparison.local.name,
                "state": comparison.state,
                "action": action.value,
                "diff": list(comparison.diff),
            }
            for comparison, action in results
        ]
        typer.echo(json.dumps(rows, indent=2))
    else:
        for comparison, action in results:
            render.show_comparison(out, comparison)
            out.print(Text(f"    -> {_SHOWN[action]}", style="dim"))
    if any(action is RegisterAction.SKIPPED for _, action in results):
        raise typer.Exit(EXIT_CONSENT)


def _register(engine: EngineApi, comparison: Comparison, dry_run: bool, overwrite: bool) -> RegisterAction:
    if comparison.state == "same":
        return RegisterAction.NONE
    if comparison.needs_consent and not overwrite:
        return RegisterAction.SKIPPED
    if dry_run:
        return RegisterAction.WOULD_REGISTER
    definitions.register(engine, comparison.local)
    return RegisterAction.REGISTERED
