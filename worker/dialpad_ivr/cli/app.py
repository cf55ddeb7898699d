"""The command `dialpad-ivr`: what it has, each command in a module of its own, which is imported when it is run.

A command calls another room, shows the result and sets the exit code.
"""

from __future__ import annotations

import signal
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from dialpad_ivr import __version__
from dialpad_ivr.cli.exit_codes import EXIT_CODES

COMMANDS: Final = {
    "worker": ("worker:worker", "Poll the engine and run tasks until SIGTERM or Ctrl-C."),
    "register": (
        "register:register",
        "Register the task and workflow definitions on the engine, and show what differs.",
    ),
    "run": (
        "run:run",
        "Start a workflow, follow it and show its outcome. Ctrl-C stops following; the workflow keeps running.",
    ),
    "test-request": (
        "try_request:try_request",
        "Build and show one request, without an engine and with the worker's own code. With `--send`, also send it.",
    ),
    "doctor": (
        "doctor:doctor",
        "Check the engine, the definitions, the workers, the proxy, the keys, the clocks and Redis. Changes nothing.",
    ),
    "limits": (
        "limits:limits",
        "Show each company's limits: what is used, who waits, a pause, an outage. Asks the workers' health ports.",
    ),
    "dev": (
        "local:dev",
        "Run a real Conductor server, a Dialpad double, a worker and the console on this machine, until Ctrl-C.",
    ),
    "demo": (
        "local:demo",
        "Run real workflows end to end, and show their outcomes. Exits 0 only if all are correct.",
    ),
    "console": (
        "console:console",
        "Serve the web console until Ctrl-C: reference, targets, test requests, runs, overrides, limits.",
    ),
    "targets": ("targets:targets", "List targets with their ids and offices, or find one. Changes nothing."),
    "export": (
        "export:export",
        "Write what targets have selected, as a file that `plan` and `check` read. Changes nothing.",
    ),
    "check": (
        "check:check",
        "Compare a file of changes with what is selected, and show what differs. Changes nothing.",
    ),
    "schedules list": (
        "schedules:schedules_list",
        "List the scheduled checks: when each runs next, what its last run found, and which repairs wait for approval.",
    ),
    "schedules remove": (
        "schedules:schedules_remove",
        "Remove a scheduled check. What it has started goes on, and what of it waits for approval is shown.",
    ),
    "plan": (
        "plan:plan",
        "Validate a file of changes, read the current selections, and show what would change. Changes nothing.",
    ),
    "apply": ("apply:apply", "Apply a plan: start one workflow, follow it, and write a report and a rollback plan."),
    "status": (
        "apply:status",
        "Follow a provisioning workflow started anywhere, and write its report. Ctrl-C only stops following.",
    ),
    "stop": (
        "runs:stop",
        "Stop a provisioning workflow: send no more changes, and write a report and the plan that undoes it.",
    ),
    "approve": ("runs:approve", "Approve or reject a provisioning workflow, or an override, that waits for approval."),
    "rollback": (
        "runs:rollback",
        "Write a plan that restores the selections from before a run. Changes nothing until that plan is applied.",
    ),
    "override start": (
        "override_start:start",
        "Select other custom IVRs for a while: apply the changes at --from, and restore what was selected at --until.",
    ),
    "override list": (
        "override:list_",
        "List the overrides that are planned or active, and those that could not restore: times, slots, who, why.",
    ),
    "override show": (
        "override:show",
        "Show an override: its state, its times, who started it and why, and its slots.",
    ),
    "override end": (
        "override:end",
        "Restore now what an active override has changed; also what one that has ended could not restore.",
    ),
    "override extend": ("override:extend", "Let an override end later, or earlier, than planned."),
    "override cancel": ("override:cancel", "Cancel an override before it begins."),
    "override report": (
        "override:report",
        "Report both halves of an override row by row: what was made, and what was restored.",
    ),
    "playbook save": (
        "playbook:save",
        "Save a file of changes as a playbook: a prepared override that anybody can start, from the engine's UI too.",
    ),
    "playbook list": (
        "playbook:list_",
        "List the playbooks: how long each lasts, whether it waits for approval, and what it selects.",
    ),
    "playbook show": ("playbook:show", "Show a playbook with its rows."),
    "playbook rehearse": (
        "playbook:rehearse",
        "Look up all names of a playbook now, and show what starting it would do. Changes nothing.",
    ),
    "playbook start": (
        "playbook:start",
        "Start a playbook: select other custom IVRs now, and restore what was selected by itself.",
    ),
    "playbook delete": (
        "playbook:delete",
        "Delete a playbook. An override that it has started goes on, and ends by itself.",
    ),
    "workflow test": (
        "workflow:workflow_test",
        "Show which branch of a workflow definition each outcome takes. Nothing is sent, registered or left behind.",
    ),
    "schema": ("schema:schema", "Print the JSON schema of a task's input or output, or its task definition."),
}
"""The place of each command, and the first paragraph of its help; one of a group is named with it."""

GROUPS: Final = {
    "schedules": "List and remove the checks that `check --every` has scheduled.",
    "override": "Select other custom IVRs for a while, and restore by itself what was selected before.",
    "playbook": "Prepared overrides with a name, which anybody can start.",
    "workflow": "Work on workflow definitions.",
}
"""The groups of commands, and their help."""

app = typer.Typer(
    name="dialpad-ivr",
    help="Dialpad custom-IVR changes as a task of the Conductor workflow engine.\n\n"
    "A *target* is a call center, department, office, user, ... of Dialpad. A *slot* is an occasion on which it plays "
    "an IVR, such as GREETING or HOLD_MUSIC. A *profile* is the name of an API key.",
    epilog=f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}. "
    "Settings are environment variables: see docs/reference/settings.md.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    # A traceback with its variables could show a key.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False,
) -> None:
    # Shells start background jobs with SIGINT ignored; restore the default.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if version:
        typer.echo(__version__)
        raise typer.Exit


class _Imported(TyperCommand):
    """A command that is imported when it is run: most of what one imports others do not need."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        group = f"{parent.info_name} " if parent and parent.info_name in GROUPS else ""
        return imported(f"{group}{self.name}").make_context(info_name, args, parent, **extra)


_GROUPS: Final = {name: typer.Typer(no_args_is_help=True, rich_markup_mode="markdown") for name in GROUPS}

for _name, (_, _summary) in COMMANDS.items():
    _group, _, _own_name = _name.rpartition(" ")
    (_GROUPS[_group] if _group else app).command(_own_name, cls=_Imported, help=_summary)(lambda: None)

for _name, _typer in _GROUPS.items():
    app.add_typer(_typer, name=_name, help=GROUPS[_name])


def imported(name: str) -> TyperCommand:
    """A command with its options and its whole help."""
    module, _, function = COMMANDS[name][0].partition(":")
    alone = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    alone.command(name.rpartition(" ")[2])(getattr(import_module(f"dialpad_ivr.cli.{module}"), function))
    command: TyperCommand = typer.main.get_command(alone)  # type: ignore[assignment]
    return command


def imported_group() -> TyperGroup:
    """`dialpad-ivr` with all of its commands, for what describes them."""
    group: TyperGroup = typer.main.get_command(app)  # type: ignore[assignment]
    for name in COMMANDS:
        parent, _, own_name = name.rpartition(" ")
        holder = group.commands[parent] if parent else group
        holder.commands[own_name] = imported(name)  # type: ignore[attr-defined]
    return group
