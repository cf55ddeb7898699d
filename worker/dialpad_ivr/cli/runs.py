"""The commands on a run that was started: `stop`, `approve` and `rollback`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from dialpad_ivr.cli import render
from dialpad_ivr.cli.apply import ReportBase, follow_command, follow_to_report, note_unchanged, report_base
from dialpad_ivr.cli.common import (
    PLAN_SUFFIX,
    confirm,
    engine_failed,
    err,
    fail,
    out,
    plural,
    settings_or_fail,
    shell_command,
)
from dialpad_ivr.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from dialpad_ivr.cli.options import JsonFlag, Yes
from dialpad_ivr.engine.api import EngineApi, EngineError, current_user
from dialpad_ivr.provisioning import workflow
from dialpad_ivr.provisioning.plan import write_plan
from dialpad_ivr.provisioning.report import rollback_plan
from dialpad_ivr.provisioning.run import ProvisioningRun

_SETTLE_SECONDS = 60.0  # for the engine to end the chunks of a run that it terminated


def stop(
    workflow_id: Annotated[str, typer.Argument(help="The id that apply printed.", metavar="ID")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Stop without confirmation.")] = False,
    report: ReportBase = None,
    as_json: JsonFlag = False,
) -> None:
    """Stop a provisioning workflow: send no more changes, and write a report and the plan that undoes it.

    The changes that workers are making are awaited. Continue later by applying the same plan again. The exit code is 0
    once the workflow is stopped.

    Examples:
    - `dialpad-ivr stop 5f0c...`
    - `dialpad-ivr stop 5f0c... --yes --report monday`
    """
    settings = settings_or_fail()
    engine = EngineApi(settings)
    run = ProvisioningRun(engine, workflow_id)
    try:
        run.refresh()
        if not run.ended:
            confirm(f"{run.summary} Stop {workflow_id}?", yes=yes)
            err.print(Text("Waiting for the changes that workers are making ...", style="dim"))
        with err.status("Stopping ...") as status:
            workflow.stop(engine, workflow_id, by=current_user(), report=status.update)
        base = report or report_base(workflow_id)
        follow_to_report(engine, run, base, _SETTLE_SECONDS, settings, as_json=as_json)
    except EngineError as exc:
        engine_failed(exc, f" See its report with: {follow_command(workflow_id, report)}" if run.ended else "")
    except KeyboardInterrupt:
        how = follow_command(workflow_id, report)
        err.print(Text(f"\nInterrupted. See whether it was stopped, and its report, with: {how}"), soft_wrap=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def approve(
    workflow_id: Annotated[str, typer.Argument(help="The id that apply printed.", metavar="ID")],
    reject: Annotated[bool, typer.Option("--reject", help="Reject it: the workflow ends as FAILED.")] = False,
    reason: Annotated[str, typer.Option(help="The reason, stored with the workflow.")] = "",
    yes: Yes = False,
) -> None:
    """Approve or reject a provisioning workflow, or an override, that waits for approval.

    Examples:
    - `dialpad-ivr approve 5f0c...`
    - `dialpad-ivr approve 5f0c... --reject --reason "not in business hours" --yes`
    """
    by, engine = current_user(), EngineApi(settings_or_fail())
    try:
        found, _ = workflow.waiting_for_approval(engine, workflow_id)
        changes = plural(len(found["input"]["changes"]), "change")
        confirm(f"{'Reject' if reject else 'Approve'} {changes} of {workflow_id}?", yes=yes)
        workflow.approve(engine, workflow_id, approved=not reject, by=by, reason=reason)
    except EngineError as exc:
        engine_failed(exc)
    is_run = found["workflowName"] == workflow.WORKFLOW
    how = shell_command(*(["status"] if is_run else ["override", "show"]), workflow_id)
    typer.echo(f"{'Rejected' if reject else 'Approved'} as {by}. Follow it with: {how}")


def rollback(
    workflow_id: Annotated[str, typer.Argument(help="The id of a provisioning workflow that has ended.", metavar="ID")],
    to: Annotated[
        Path | None,
        typer.Option("--out", help="The plan file to write; rollback.ID.plan.json by default.", metavar="PLAN"),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a plan that restores the selections from before a run. Changes nothing until that plan is applied.

    Examples:
    - `dialpad-ivr rollback 5f0c... --out undo.plan.json`
    - `dialpad-ivr apply undo.plan.json`
    """
    settings = settings_or_fail()
    engine = EngineApi(settings)
    run = ProvisioningRun(engine, workflow_id)
    try:
        run.refresh()
    except EngineError as exc:
        engine_failed(exc)
    if not run.ended:
        how = f"Follow it with: {shell_command('status', workflow_id)}"
        fail(f"The workflow is still running. {how}", EXIT_FAILED)
    to = to or Path(f"rollback.{workflow_id[:8]}{PLAN_SUFFIX}")
    undo, unrestorable = rollback_plan(run, settings.api_url)
    try:
        write_plan(undo, to)
    except OSError as exc:
        fail(f"{to} cannot be written: {exc.strerror}", EXIT_USAGE)
    if as_json:
        rows = [
            {"line": row.line, "target_id": row.change.get("target_id"), "reason": reason}
            for row, reason in unrestorable
        ]
        typer.echo(json.dumps({"plan": str(to), "changes": len(undo.changes), "cannot_restore": rows}, indent=2))
        return
    render.show_plan(out, undo)
    render.show_unrestorable(out, unrestorable)
    note_unchanged(engine, run, undone=True)
    out.print(Text(f"Written to {to}. Apply it with: {shell_command('apply', to)}"), soft_wrap=True)
