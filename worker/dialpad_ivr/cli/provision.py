"""The commands for bulk changes: `plan`, `apply`, `status`, `approve` and `rollback`."""

from __future__ import annotations

import asyncio
import getpass
import json
import re
import socket
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from dialpad_ivr.cli import render
from dialpad_ivr.cli.common import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    JsonFlag,
    Timeout,
    confirm,
    engine_failed,
    err,
    fail,
    notice,
    out,
    settings_or_fail,
)
from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.provisioning import workflow
from dialpad_ivr.provisioning.changes import ChangesError, group_violations, read_changes
from dialpad_ivr.provisioning.plan import Plan, PlanError, make_plan, read_plan, write_atomically, write_plan
from dialpad_ivr.provisioning.report import report_csv, report_json, report_rows, rollback_plan
from dialpad_ivr.provisioning.snapshot import read_selections
from dialpad_ivr.settings import SettingsError
from dialpad_ivr.telemetry import logs

_PLAN_SUFFIX = ".plan.json"
_QUIET_SECONDS = 10.0  # between progress lines where there is no terminal for a bar

ReportBase = Annotated[
    Path | None,
    typer.Option(
        "--report", help="Base name of the reports: BASE.report.json, .csv and .rollback.plan.json.", metavar="BASE"
    ),
]


def plan(
    file: Annotated[Path, typer.Argument(help="The file of changes: CSV, TSV, JSON or YAML.", metavar="FILE")],
    to: Annotated[
        Path | None, typer.Option("--out", help="The plan file to write; FILE.plan.json by default.", metavar="PLAN")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Only validate the file; read nothing from Dialpad, write no plan.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Validate a file of changes, read the current selections, and show what would change. Changes nothing.

    A row has target_type, target_id, ivr_type and ivr_id, and optionally select_option and credential. Every
    validation error is reported with its line. The exit code is 1 when a row cannot be applied.

    Examples:
    - `dialpad-ivr plan changes.csv --offline`
    - `dialpad-ivr plan changes.csv --out monday.plan.json`
    """
    settings = settings_or_fail()
    logs.configure("warning", settings.log_format)
    try:
        changes = read_changes(file)
    except ChangesError as exc:
        fail(str(exc), EXIT_USAGE)
    if changes.violations:
        if as_json:
            groups = group_violations(changes.violations)
            found = [{**asdict(group.violation), "lines": group.lines} for group in groups]
            typer.echo(json.dumps({"violations": found}, indent=2))
        else:
            render.show_violations(out, changes.violations)
        raise typer.Exit(EXIT_FAILED)
    if offline:
        summary = f"{len(changes.changes)} changes, all valid. Nothing was read from Dialpad; no plan was written."
        typer.echo(json.dumps({"changes": len(changes.changes), "violations": []}) if as_json else summary)
        return
    try:
        with _bar() as bar:
            task = bar.add_task("Reading current selections", total=None)
            planned = asyncio.run(
                read_selections(changes.changes, settings, lambda done, of: bar.update(task, completed=done, total=of))
            )
    except SettingsError as exc:
        fail(str(exc), EXIT_USAGE)
    except KeyboardInterrupt:
        fail("Interrupted. Nothing was changed; no plan was written.", EXIT_INTERRUPTED)
    made = make_plan(planned, settings.api_url, file.name)
    to = to or file.with_name(f"{file.stem}{_PLAN_SUFFIX}")
    try:
        write_plan(made, to)
    except OSError as exc:
        fail(f"{to} cannot be written: {exc.strerror}", EXIT_USAGE)
    if as_json:
        typer.echo(json.dumps({"plan": str(to), "hash": made.hash, "actions": dict(made.counts)}, indent=2))
    else:
        render.show_plan(out, made)
        out.print(
            Text(f"Written to {to}. "),
            Text(f"Apply it with: dialpad-ivr apply {to}" if made.changes else ""),
            soft_wrap=True,
        )
    if made.blocked:
        raise typer.Exit(EXIT_FAILED)


def apply(
    file: Annotated[
        Path, typer.Argument(help="A plan file, written by `plan`, `apply` or `rollback`.", metavar="PLAN")
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also change targets whose selection changed since the plan.")
    ] = False,
    partial: Annotated[bool, typer.Option("--partial", help="Skip the rows that cannot be applied.")] = False,
    max_failures: Annotated[
        str | None,
        typer.Option(help="Stop after N failures, or P% of the changes.", metavar="N|P%"),
    ] = None,
    approval: Annotated[
        bool, typer.Option("--approval", help="Wait for `dialpad-ivr approve` before the first change.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Start the workflow without following it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Apply without confirmation.")] = False,
    report: ReportBase = None,
    timeout: Timeout = 86_400,
    as_json: JsonFlag = False,
) -> None:
    """Apply a plan: start one workflow, follow it, and write a report and a rollback plan.

    A target whose selection changed since the plan is not changed, and is reported as `conflict`. Ctrl-C stops
    following; the workflow keeps running.

    Examples:
    - `dialpad-ivr apply changes.plan.json`
    - `dialpad-ivr apply changes.plan.json --yes --max-failures 5%`
    """
    settings = settings_or_fail()
    if max_failures is not None and not re.fullmatch(r"\d{1,9}%?", max_failures):
        fail("--max-failures must be a number or a percentage, such as 10 or 5%.", EXIT_USAGE)
    try:
        made = read_plan(file)
    except PlanError as exc:
        fail(str(exc), EXIT_USAGE)
    if made.api_url != settings.api_url:
        fail(f"The plan was made at {made.api_url}, but DIALPAD_IVR_API_URL is {settings.api_url}.", EXIT_USAGE)
    if made.blocked and not partial:
        render.show_plan(err, made.model_copy(update={"rows": tuple(made.blocked)}))
        fail(
            f"{len(made.blocked)} rows cannot be applied. Fix them and re-plan, or skip them with --partial.",
            EXIT_FAILED,
        )
    if len(made.changes) > workflow.MAX_CHANGES:
        fail(f"{len(made.changes)} changes; at most {workflow.MAX_CHANGES} are allowed. Split the file.", EXIT_USAGE)
    if not made.changes:
        typer.echo(json.dumps({"outcome": "success", "counts": {}}) if as_json else "Nothing to change.")
        return
    engine = EngineApi(settings)
    workflow_id: str | None = None
    try:
        already = workflow.running_workflow(engine, made)
        if already:
            fail(
                f"Workflow {already} is already applying this plan. Follow it with: dialpad-ivr status {already}",
                EXIT_FAILED,
            )
        confirm(f"Make {len(made.changes)} changes at {made.api_url}?", yes=yes)
        workflow_id = workflow.start(engine, made, overwrite=overwrite, max_failures=max_failures, approval=approval)
        err.print(Text(f"Started {workflow_id}", style="dim"))
        if detach:
            typer.echo(json.dumps({"workflow_id": workflow_id}) if as_json else f"dialpad-ivr status {workflow_id}")
            return
        base = report or file.with_name(f"{file.name.removesuffix(_PLAN_SUFFIX)}.{workflow_id[:8]}")
        _follow(engine, workflow_id, made, base, timeout, as_json=as_json, api_url=made.api_url)
    except EngineError as exc:
        engine_failed(exc, " Register it with: dialpad-ivr register" if exc.status == 404 and not workflow_id else "")
    except KeyboardInterrupt:
        if workflow_id is None:
            fail(f"Interrupted. Run `dialpad-ivr apply {file}` again to see whether it started.", EXIT_INTERRUPTED)
        _interrupted(workflow_id)


def status(
    workflow_id: Annotated[str, typer.Argument(help="The id that apply printed.", metavar="ID")],
    follow: Annotated[bool, typer.Option(help="Follow the workflow until it ends, or show its current state.")] = True,
    report: ReportBase = None,
    timeout: Timeout = 86_400,
    as_json: JsonFlag = False,
) -> None:
    """Follow a provisioning workflow started anywhere, and write its report. Ctrl-C only stops following.

    Examples:
    - `dialpad-ivr status 5f0c...`
    - `dialpad-ivr status 5f0c... --no-follow --json`
    """
    settings = settings_or_fail()
    base = report or Path(f"provisioning.{workflow_id[:8]}")
    seconds = timeout if follow else 0
    try:
        engine = EngineApi(settings)
        _follow(engine, workflow_id, None, base, seconds, as_json=as_json, api_url=settings.api_url)
    except EngineError as exc:
        engine_failed(exc)
    except KeyboardInterrupt:
        _interrupted(workflow_id)


def approve(
    workflow_id: Annotated[str, typer.Argument(help="The id that apply printed.", metavar="ID")],
    reject: Annotated[bool, typer.Option("--reject", help="Reject it: the workflow ends as FAILED.")] = False,
    reason: Annotated[str, typer.Option(help="The reason, stored with the workflow.")] = "",
) -> None:
    """Approve or reject a provisioning workflow that waits for approval.

    Examples:
    - `dialpad-ivr approve 5f0c...`
    - `dialpad-ivr approve 5f0c... --reject --reason "not in business hours"`
    """
    by = f"{getpass.getuser()}@{socket.gethostname()}"
    try:
        workflow.approve(EngineApi(settings_or_fail()), workflow_id, approved=not reject, by=by, reason=reason)
    except EngineError as exc:
        engine_failed(exc)
    typer.echo(f"{'Rejected' if reject else 'Approved'} as {by}. Follow it with: dialpad-ivr status {workflow_id}")


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
    run = workflow.ProvisioningRun(EngineApi(settings), workflow_id)
    try:
        run.refresh()
    except EngineError as exc:
        engine_failed(exc)
    if not run.ended:
        fail(f"The workflow is still running. Follow it with: dialpad-ivr status {workflow_id}", EXIT_FAILED)
    to = to or Path(f"rollback.{workflow_id[:8]}{_PLAN_SUFFIX}")
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
    else:
        render.show_plan(out, undo)
        render.show_unrestorable(out, unrestorable)
        out.print(Text(f"Written to {to}. Apply it with: dialpad-ivr apply {to}"), soft_wrap=True)


def _follow(
    engine: EngineApi,
    workflow_id: str,
    made: Plan | None,
    base: Path,
    timeout: float,
    *,
    as_json: bool,
    api_url: str,
) -> None:
    """Follow a run until it ends; show the result, and write the report and the rollback plan.

    Raises:
        EngineError: The engine does not answer, or there is no such workflow.
    """
    run = workflow.ProvisioningRun(engine, workflow_id)
    approval_shown, shown_at = False, time.monotonic()
    with _bar() as bar:
        task = bar.add_task("Applying", total=None)

        def show(run: workflow.ProvisioningRun) -> None:
            nonlocal approval_shown, shown_at
            if run.waits_for_approval and not approval_shown:
                approval_shown = True
                bar.console.print(Text(f"Waiting for approval: dialpad-ivr approve {workflow_id}", style="yellow"))
            counts = run.counts
            known = sum(counts.values())
            text = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "Applying"
            bar.update(task, completed=known, total=len(run.rows), description=text)
            if not err.is_terminal and time.monotonic() > shown_at + _QUIET_SECONDS:
                shown_at = time.monotonic()
                err.print(Text(f"{known} of {len(run.rows)}: {text}"))

        workflow.follow_run(run, show, timeout, notice)
    rows = report_rows(run, made)
    document = report_json(run, rows)
    if not run.ended:
        if as_json:
            typer.echo(document, nl=False)
        else:
            render.show_run(out, run, rows)
            err.print(
                Text(f"The workflow keeps running. Follow it with: dialpad-ivr status {workflow_id}"), soft_wrap=True
            )
        if timeout:
            raise typer.Exit(EXIT_FAILED)
        return
    undo, unrestorable = rollback_plan(run, api_url)
    files = {
        Path(f"{base}.report.json"): document,
        Path(f"{base}.report.csv"): report_csv(rows),
    }
    try:
        for path, text in files.items():
            write_atomically(path, text)
        if undo.rows:
            write_plan(undo, Path(f"{base}.rollback{_PLAN_SUFFIX}"))
    except OSError as exc:
        err.print(Text(f"The report cannot be written: {exc}", style="red"))
    if as_json:
        typer.echo(document, nl=False)
    else:
        render.show_run(out, run, rows)
        render.show_unrestorable(out, unrestorable)
        out.print(Text(f"Report: {base}.report.json, {base}.report.csv"), soft_wrap=True)
        if undo.rows:
            out.print(Text(f"To roll back: dialpad-ivr apply {base}.rollback{_PLAN_SUFFIX}"), soft_wrap=True)
    if run.output.get("ok") is not True:
        raise typer.Exit(EXIT_FAILED)


def _interrupted(workflow_id: str) -> NoReturn:
    err.print(Text(f"\nThe workflow keeps running. Resume with: dialpad-ivr status {workflow_id}"), soft_wrap=True)
    raise typer.Exit(EXIT_INTERRUPTED)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
