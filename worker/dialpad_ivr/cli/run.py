"""The command `run`: starts or follows any workflow, and shows its outcome."""

from __future__ import annotations

import difflib
import itertools
import json
from collections.abc import Callable
from typing import Annotated

import typer
from rich.text import Text

from dialpad_ivr.cli.common import engine_failed, err, fail, json_object, notice, out, settings_or_fail
from dialpad_ivr.cli.completion import shipped_workflows, workflow_names
from dialpad_ivr.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from dialpad_ivr.cli.options import InputJson, JsonFlag, Timeout
from dialpad_ivr.cli.render_output import show_workflow
from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineApi, EngineError, JsonObject
from dialpad_ivr.engine.definitions import shipped
from dialpad_ivr.engine.follow import follow, task_tree
from dialpad_ivr.provisioning.columns import WINDOW_COLUMNS
from dialpad_ivr.provisioning.run import WORKFLOW

_NAMES_SHOWN = 10
_TASKS_SHOWN = 50


def run(
    workflow: Annotated[
        str, typer.Argument(help="The workflow's name.", autocompletion=workflow_names)
    ] = "set_custom_ivr",
    input_json: InputJson = "{}",
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
    inputs = json_object(input_json)
    engine = EngineApi(settings_or_fail())
    workflow_id = follow_id
    try:
        if workflow_id is None:
            _check_names(engine, workflow, version, inputs)
            workflow_id = engine.start_workflow(workflow, inputs, version)
        if not as_json:
            err.print(Text(f"{'Following' if follow_id else 'Started'} {workflow_id}", style="dim"))
        ended = follow(engine, workflow_id, (lambda _: None) if as_json else _progress(), timeout, notice)
    except EngineError as exc:
        if workflow_id is None:
            perhaps = "\nIt may have been started all the same: look for it before you start it again."
            if exc.status == 404:
                _fail_unknown_workflow(engine, workflow, version)
            engine_failed(exc, perhaps if exc.perhaps_done else "")
        how = f"\nThe workflow may still be running. Resume with: dialpad-ivr run --follow {workflow_id}"
        engine_failed(exc, how if exc.transient and engine.answered else "")
    except KeyboardInterrupt:
        if workflow_id is None:
            fail("Interrupted before the engine confirmed the start.", EXIT_INTERRUPTED)
        err.print(
            Text(f"\nThe workflow keeps running. Resume with: dialpad-ivr run --follow {workflow_id}"), soft_wrap=True
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
    output = ended.get("output") or {}
    if as_json:
        summary = {
            "workflow_id": workflow_id,
            "status": ended["status"],
            "reason": ended.get("reasonForIncompletion"),
            "output": output,
        }
        typer.echo(json.dumps(summary, indent=2))
    else:
        show_workflow(out, ended, _tasks(engine, ended))
    if ended["status"] not in TERMINAL_STATUSES:
        err.print(
            Text(f"Still running after {timeout:g} s. Resume with: dialpad-ivr run --follow {workflow_id}"),
            soft_wrap=True,
        )
    if ended["status"] != "COMPLETED" or ("ok" in output and output["ok"] is not True):
        raise typer.Exit(EXIT_FAILED)


def _check_names(engine: EngineApi, name: str, version: int | None, inputs: JsonObject) -> None:
    """End the command if a shipped workflow has no input of some name: the engine would drop it without a word.

    What was meant to be planned only would be made.
    """
    ours = next((d.body for d in shipped() if (d.kind, d.name) == ("workflow", name)), None)
    definition = ours and engine.workflow_definition(name, version or ours["version"])
    if not definition:
        return
    changes = inputs.get("changes")
    names = (
        {name for change in changes if isinstance(change, dict) for name in change} if isinstance(changes, list) else ()
    )
    if {*WINDOW_COLUMNS} & {*names}:
        fail(
            "The changes have windows (from, until, zone), which only `override start` keeps to. Nothing was started.\n"
            "Put them into a file, and start them with: dialpad-ivr override start FILE --reason REASON",
            EXIT_USAGE,
        )
    known = definition.get("inputParameters") or []
    lines = []
    for key in inputs:
        if key not in known:
            near = difflib.get_close_matches(key.lower(), known, n=1)
            hint = f'Did you mean "{near[0]}"?' if near else f"It has {', '.join(known)}."
            lines.append(f'{name} has no input "{key}". {hint}')
    if lines:
        fail("\n".join([*lines, "Nothing was started."]), EXIT_USAGE)


def _progress() -> Callable[[JsonObject], None]:
    """Shows the last task's status whenever that has changed."""
    shown = ""

    def show(workflow: JsonObject) -> None:
        nonlocal shown
        tasks = workflow.get("tasks") or []
        text = f"  {tasks[-1]['referenceTaskName']}: {tasks[-1]['status']}" if tasks else ""
        if text != shown:
            shown = text
            err.print(Text(text, style="dim"))

    return show


def _tasks(engine: EngineApi, workflow: JsonObject) -> list[tuple[int, JsonObject]]:
    """The first tasks, with those of sub-workflows, as far as they can be read."""
    tasks: list[tuple[int, JsonObject]] = []
    try:
        tasks.extend(itertools.islice(task_tree(engine, workflow), _TASKS_SHOWN))
    except EngineError as exc:
        notice(f"A sub-workflow cannot be read: {exc}")
    return tasks


def _fail_unknown_workflow(engine: EngineApi, name: str, version: int | None) -> None:
    """End the command if the engine does not have that workflow, or not in that version; says what it has."""
    try:
        versions = engine.workflow_versions()
    except EngineError:
        return  # what the engine said of the start has to do
    versions.pop(f"{WORKFLOW}_chunk", None)  # a part, never run alone
    if name in versions:
        has = ", ".join(map(str, versions[name]))
        fail(f'The engine has "{name}" in version {has}' + (f", not in {version}." if version else "."), EXIT_FAILED)
    what = f'The engine has no workflow "{name}".'
    if name in shipped_workflows():
        fail(f"{what}\nRegister it with: dialpad-ivr register", EXIT_FAILED)
    nearest = difflib.get_close_matches(name, versions)
    if nearest:
        fail(f"{what}\nDid you mean {' or '.join(nearest)}?", EXIT_FAILED)
    names = sorted(versions)
    more = [f"and {len(names) - _NAMES_SHOWN} more"] if len(names) > _NAMES_SHOWN else []
    listed = "".join(f"\n  {line}" for line in names[:_NAMES_SHOWN] + more)
    fail(f"{what} It has{':' + listed if names else ' none.'}", EXIT_FAILED)
