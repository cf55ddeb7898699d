"""The commands `apply` and `status`, and following a run to its report."""

from __future__ import annotations

import contextlib
import json
import re
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.text import Text

from dialpad_ivr.cli import render
from dialpad_ivr.cli.common import (
    PLAN_SUFFIX,
    confirm,
    engine_failed,
    err,
    fail,
    notice,
    out,
    plural,
    progress_bar,
    settings_or_fail,
    shell_command,
)
from dialpad_ivr.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from dialpad_ivr.cli.options import JsonFlag, Timeout
from dialpad_ivr.cli.plan import fail_for_windows
from dialpad_ivr.cli.render_override import note_overridden
from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.provisioning import workflow
from dialpad_ivr.provisioning.changes import ChangesError, read_changes
from dialpad_ivr.provisioning.plan import Plan, PlanError, read_plan, write_atomically, write_plan
from dialpad_ivr.provisioning.report import report_csv, report_json, report_rows, rollback_plan
from dialpad_ivr.provisioning.run import ProvisioningRun
from dialpad_ivr.settings import Settings

_QUIET_SECONDS = 10.0  # between progress lines where there is no terminal for a bar

ReportBase = Annotated[
    Path | None,
    typer.Option(
        "--report", help="Base name of the reports: BASE.report.json, .csv and .rollback.plan.json.", metavar="BASE"
    ),
]


def apply(
    file: Annotated[
        Path, typer.Argument(help="A plan file, written by `plan`, `apply`, `stop` or `rollback`.", metavar="PLAN")
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
    following; the workflow keeps running. A plan can be applied again: what is done already is `unchanged`.

    Examples:
    - `dialpad-ivr apply changes.plan.json`
    - `dialpad-ivr apply changes.plan.json --yes --max-failures 5%`
    """
    settings = settings_or_fail()
    check_max_failures(max_failures)
    made = applicable_plan(file, settings)
    check_plan(made, partial=partial)
    if not made.changes:
        typer.echo(json.dumps({"outcome": "success", "counts": {}}) if as_json else "Nothing to change.")
        return
    engine = EngineApi(settings)
    workflow_id: str | None = None
    try:
        already = workflow.running_workflow(engine, made)
        if already:
            how = f"Follow it with: {shell_command('status', already)}"
            fail(f"Workflow {already} is already applying this plan. {how}", EXIT_FAILED)
        if not as_json:
            note_overridden(err, [row.model_dump() for row in made.changes], settings)
        confirm(f"Make {plural(len(made.changes), 'change')} at {made.api_url}?", yes=yes)
        workflow_id = workflow.start(
            engine,
            made,
            overwrite=overwrite,
            max_failures=max_failures,
            approval=approval,
            domain=settings.domain,
        )
        err.print(Text(f"Started {workflow_id}", style="dim"))
        if detach:
            if not as_json:
                err.print(Text("Follow it with:", style="dim"))
            typer.echo(json.dumps({"workflow_id": workflow_id}) if as_json else follow_command(workflow_id, report))
            return
        base = report or file.with_name(f"{file.name.removesuffix(PLAN_SUFFIX)}.{workflow_id[:8]}")
        run = ProvisioningRun(engine, workflow_id)
        follow_to_report(engine, run, base, timeout, settings, as_json=as_json, plan=made, plan_file=file)
    except EngineError as exc:
        if exc.perhaps_done:
            again = shell_command("apply", file)
            engine_failed(exc, f"\nIt may have been started all the same. Run `{again}` again to see whether it was.")
        engine_failed(exc, " Register it with: dialpad-ivr register" if exc.status == 404 and not workflow_id else "")
    except KeyboardInterrupt:
        if workflow_id is None:
            again = shell_command("apply", file)
            fail(f"Interrupted. Run `{again}` again to see whether it started.", EXIT_INTERRUPTED)
        _interrupted(workflow_id, report)
    end_by_result(run, report, timeout)


def check_max_failures(value: str | None) -> None:
    """End the command if the option is invalid."""
    if value is not None and not re.fullmatch(r"\d{1,9}%?", value):
        fail("--max-failures must be a number or a percentage, such as 10 or 5%.", EXIT_USAGE)


def applicable_plan(file: Path, settings: Settings) -> Plan:
    """The plan in a file. Ends the command if it is none, or one of another API."""
    try:
        made = read_plan(file)
    except PlanError as exc:
        with contextlib.suppress(ChangesError):
            if read_changes(file).has_windows:
                fail_for_windows(file)
        fail(str(exc), EXIT_USAGE)
    if made.api_url != settings.api_url:
        fail(f"The plan was made at {made.api_url}, but DIALPAD_IVR_API_URL is {settings.api_url}.", EXIT_USAGE)
    return made


def check_plan(made: Plan, *, partial: bool | None) -> None:
    """End the command if a plan cannot be applied.

    Args:
        made: The plan.
        partial: Whether its rows that cannot be applied are skipped; `None` if the command has no such option.
    """
    if made.blocked and not (partial and made.changes):
        render.show_plan(err, made.model_copy(update={"rows": tuple(made.blocked)}))
        offered = made.changes and partial is not None
        skip = f", or apply the other {len(made.changes)} with --partial" if offered else ""
        count = plural(len(made.blocked), "row")
        fail(f"{count} cannot be applied. Correct the file and plan again{skip}.", EXIT_FAILED)
    if len(made.changes) > workflow.MAX_CHANGES:
        fail(f"{len(made.changes)} changes; at most {workflow.MAX_CHANGES} are allowed. Split the file.", EXIT_USAGE)


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
    seconds = timeout if follow else 0
    engine = EngineApi(settings)
    run = ProvisioningRun(engine, workflow_id)
    try:
        follow_to_report(engine, run, report or report_base(workflow_id), seconds, settings, as_json=as_json)
    except EngineError as exc:
        engine_failed(exc)
    except KeyboardInterrupt:
        _interrupted(workflow_id, report)
    end_by_result(run, report, seconds)


def report_base(workflow_id: str) -> Path:
    """The base name of a run's reports by default."""
    return Path(f"provisioning.{workflow_id[:8]}")


def follow_command(workflow_id: str, report: Path | None) -> str:
    """The command that follows a run and writes the same reports."""
    return shell_command("status", workflow_id, *(("--report", report) if report else ()))


def follow_to_report(
    engine: EngineApi,
    run: ProvisioningRun,
    base: Path,
    timeout: float,
    settings: Settings,
    *,
    as_json: bool,
    plan: Plan | None = None,
    plan_file: Path | None = None,
) -> None:
    """Follow a run; show it, and once it has ended, write its report and rollback plan, and say how to go on.

    Args:
        engine: The engine.
        run: The run.
        base: Base name of the reports.
        timeout: How long to follow, in seconds; 0 reads once.
        settings: The API's URL, for a run that was started without a plan.
        as_json: Whether to print the report instead.
        plan: The applied plan, if available.
        plan_file: Its file.

    Raises:
        EngineError: The engine does not answer, or there is no such workflow.
    """
    _follow(run, timeout)
    rows = report_rows(run, plan)
    document = report_json(run, rows)
    if as_json:
        typer.echo(document, nl=False)
    else:
        render.show_run(out, run, rows)
    if not run.ended:
        return
    undo, unrestorable = rollback_plan(run, settings.api_url)
    undo_file = Path(f"{base}.rollback{PLAN_SUFFIX}")
    try:
        write_atomically(Path(f"{base}.report.json"), document)
        write_atomically(Path(f"{base}.report.csv"), report_csv(rows))
        if undo.rows:
            write_plan(undo, undo_file)
    except OSError as exc:
        err.print(Text(f"The report cannot be written: {exc}", style="red"))
    if as_json:
        return
    render.show_unrestorable(out, unrestorable)
    out.print(Text(f"Report: {base}.report.json, {base}.report.csv"), soft_wrap=True)
    if run.ended_early:
        again = shell_command("apply", plan_file or "PLAN")
        out.print(Text(f"To continue: {again} (the same plan: what is done is left as it is)"), soft_wrap=True)
    if undo.rows:
        out.print(Text(f"To roll back: {shell_command('apply', undo_file)}"), soft_wrap=True)
    note_unchanged(engine, run, undone=bool(undo.rows))


def note_unchanged(engine: EngineApi, run: ProvisioningRun, *, undone: bool) -> None:
    """Say that an undo leaves alone what was selected before the run, and which run may have made it.

    Args:
        engine: The engine.
        run: The run.
        undone: Whether there is anything else that an undo restores.
    """
    count = run.counts["unchanged"]
    if not count:
        return
    left = f"  Not the {count} unchanged" if undone else f"Nothing to roll back: {plural(count, 'change')} unchanged"
    with contextlib.suppress(EngineError):
        for earlier in workflow.earlier_runs(engine, run)[:1]:
            how = f"undo those of the run before with: {shell_command('rollback', earlier)}"
            out.print(Text(f"{left}; {how}", style="dim"), soft_wrap=True)
            return
    out.print(Text(f"{left}, as selected before this run.", style="dim"), soft_wrap=True)


def _follow(run: ProvisioningRun, timeout: float) -> None:
    approval_shown, shown_at = False, time.monotonic()
    with progress_bar() as bar:
        task = bar.add_task("Applying", total=None)

        def show(run: ProvisioningRun) -> None:
            nonlocal approval_shown, shown_at
            if run.waits_for_approval and not approval_shown:
                approval_shown = True
                how = shell_command("approve", run.workflow_id)
                bar.console.print(Text(f"Waiting for approval: {how}", style="yellow"))
            parts = [f"{count} {render.outcome_label(outcome)}" for outcome, count in sorted(run.counts.items())]
            parts += [f"{run.in_flight} at work"] if run.in_flight else []
            text = ", ".join(parts) or "Applying"
            bar.update(task, completed=run.done, total=len(run.rows), description=text)
            if not err.is_terminal and time.monotonic() > shown_at + _QUIET_SECONDS:
                shown_at = time.monotonic()
                err.print(Text(f"{run.done} of {len(run.rows)}: {text}"))

        workflow.follow_run(run, show, timeout, notice)


def end_by_result(run: ProvisioningRun, report: Path | None, timeout: float) -> None:
    """End the command with the exit code of a run: 0 if every change succeeded, or if it was only looked at."""
    if not run.ended:
        how = follow_command(run.workflow_id, report)
        err.print(Text(f"The workflow keeps running. Follow it with: {how}"), soft_wrap=True)
        if timeout:
            raise typer.Exit(EXIT_FAILED)
    elif not run.rows or run.done < len(run.rows):
        raise typer.Exit(EXIT_FAILED)


def _interrupted(workflow_id: str, report: Path | None) -> NoReturn:
    how = follow_command(workflow_id, report)
    err.print(Text(f"\nThe workflow keeps running. Resume with: {how}"), soft_wrap=True)
    raise typer.Exit(EXIT_INTERRUPTED)
