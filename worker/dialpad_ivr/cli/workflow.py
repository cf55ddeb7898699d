"""The command `workflow test`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from dialpad_ivr.cli.common import (
    engine_failed,
    err,
    fail,
    json_object,
    out,
    plural,
    settings_or_fail,
)
from dialpad_ivr.cli.completion import one_of
from dialpad_ivr.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NO_ENGINE, EXIT_USAGE
from dialpad_ivr.cli.options import JsonFlag
from dialpad_ivr.cli.render import outcome_text
from dialpad_ivr.contract.outcomes import OUTCOMES
from dialpad_ivr.engine.api import EngineError, JsonObject
from dialpad_ivr.local.download import DownloadError
from dialpad_ivr.local.engine import EngineStartError
from dialpad_ivr.testing.branches import OutcomeReport, OutcomeRun, check_outcomes
from dialpad_ivr.testing.engines import KitEngine, kit_engine
from dialpad_ivr.testing.isolation import OwnEngineNeededError, WorkflowTestError
from dialpad_ivr.testing.path import DEFAULT_CASE, Step, WorkflowRun
from dialpad_ivr.testing.run import Mocks, load_definition

_STATUS_STYLES: Final = {"COMPLETED": "green", "COMPLETED_WITH_ERRORS": "yellow"}


def workflow_test(
    file: Annotated[Path, typer.Argument(help="A workflow definition in the engine's format.", metavar="FILE")],
    outcome: Annotated[
        str | None,
        typer.Option(
            help="Show the path of this outcome; by default a table of all of them.", autocompletion=one_of(OUTCOMES)
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Only for this task of ours, by its reference name.", metavar="REF")
    ] = None,
    input_json: Annotated[
        str | None,
        typer.Option(
            "--input",
            help="The workflow's input: JSON, @FILE, or -. By default metadata.exampleInput of the definition.",
            metavar="JSON",
        ),
    ] = None,
    mocks_json: Annotated[
        str,
        typer.Option(
            "--mocks",
            help="Mocks of other tasks by reference name, each as POST /api/workflow/test takes it: JSON, @FILE, or -. "
            "A task without one completes with an empty output.",
            metavar="JSON",
        ),
    ] = "{}",
    as_json: JsonFlag = False,
) -> None:
    """Show which branch of a workflow definition each outcome takes. Nothing is sent, registered or left behind.

    Runs it with mocked tasks on the engine of CONDUCTOR_SERVER_URL, or on one that is started for the test if none
    answers. Exits 1 if an outcome takes no branch. Sub-workflows are looked up beside the file, then on the engine.

    Examples:
    - `dialpad-ivr workflow test workflows/set_custom_ivr_branching.json`
    - `dialpad-ivr workflow test FILE --outcome not_found`
    - `dialpad-ivr workflow test FILE --task set_ivr --json`
    - `dialpad-ivr workflow test FILE --mocks '{"ask": [{"status": "COMPLETED", "output": {"approved": true}}]}'`
    """
    if outcome is not None and outcome not in OUTCOMES:
        fail(f"There is no outcome {outcome}.\nUse one of {', '.join(OUTCOMES)}.", EXIT_USAGE)
    settings = settings_or_fail()
    try:
        definition = load_definition(file)
        example = (definition.get("metadata") or {}).get("exampleInput") or {}
        inputs = example if input_json is None else json_object(input_json)
        mocks: Mocks = json_object(mocks_json, "--mocks")

        def check(engine: KitEngine) -> OutcomeReport:
            with err.status("Running ...") as status:
                return check_outcomes(
                    definition,
                    inputs,
                    mocks,
                    engine,
                    _beside(file),
                    task=task,
                    outcome=outcome,
                    report=lambda text: status.update(f"Running {escape(text)} ..."),
                )

        try:
            with kit_engine(settings, _progress) as engine:
                report = check(engine)
        except OwnEngineNeededError:
            with kit_engine(None, _progress) as engine:
                report = check(engine)
    except WorkflowTestError as exc:
        fail(str(exc), EXIT_USAGE)
    except (EngineStartError, DownloadError) as exc:
        fail(f"{exc}\nOr name an engine that runs: CONDUCTOR_SERVER_URL.", EXIT_NO_ENGINE)
    except EngineError as exc:
        engine_failed(exc)
    except KeyboardInterrupt:
        fail("Interrupted.", EXIT_INTERRUPTED)
    ok = bool(report.runs) and not report.gaps
    if as_json:
        _print_json(report, definition, ok=ok)
    else:
        for result in report.runs if outcome else ():
            _show_path(result, definition)
        if not outcome:
            _show_table(report)
        _show_verdict(report)
    if not ok:
        raise typer.Exit(EXIT_FAILED)


def _progress(text: str) -> None:
    err.print(Text(text, style="dim"))


def _beside(file: Path) -> Iterator[JsonObject]:
    """The other workflow definitions in the file's folder."""
    for other in sorted(file.parent.glob("*.json")):
        with contextlib.suppress(WorkflowTestError):
            yield load_definition(other)


def _print_json(report: OutcomeReport, definition: JsonObject, *, ok: bool) -> None:
    runs = [_plain(result) for result in report.runs]
    typer.echo(
        json.dumps({"workflow": definition["name"], "ok": ok, "unreached": report.unreached, "runs": runs}, indent=2)
    )


def _plain(result: OutcomeRun) -> dict[str, Any]:
    run = result.run
    return {
        "task": result.task,
        "outcome": result.outcome,
        "status": run.status,
        "reason": run.reason,
        "branches": run.branches,
        "path": run.path,
        "gap": result.gap and result.gap._asdict(),
        "output": run.output,
    }


def _show_table(report: OutcomeReport) -> None:
    table = Table("task", "outcome", "branches taken", "workflow", box=None, pad_edge=False)
    previous = ""
    for result in report.runs:
        table.add_row(
            Text(result.task if result.task != previous else "", style="bold"),
            outcome_text(result.outcome),
            Text("none: see below", style="bold red") if result.gap else Text(_branches(result)),
            _status(result.run.status),
        )
        previous = result.task
    out.print(table)


def _branches(result: OutcomeRun) -> str:
    """The cases taken; without any SWITCH, the last task."""
    switches = [step for step in result.run.steps if step.is_switch]
    if switches:
        return ", ".join(f"{step.reference}: {step.case or '-'}" for step in switches)
    return f"ends after {result.run.path[-1]}" if result.run.path else ""


def _show_path(result: OutcomeRun, definition: JsonObject) -> None:
    """The tasks that were executed, nested as in the definition."""
    title = Text.assemble((str(definition["name"]), "bold"), f"  {result.task} = ", outcome_text(result.outcome))
    root = Tree(title, guide_style="dim")
    nodes = [root]
    for step in result.run.steps:
        parent = nodes[min(step.depth, len(nodes) - 1)]
        node = parent.add(_step(step))
        if step.is_switch:
            node = node.add(_case(step))
        nodes = [*nodes[: step.depth + 1], node]
    out.print(root)
    out.print(Text.assemble("workflow: ", _status(result.run.status), f"  {_reason(result.run)}"), soft_wrap=True)


def _step(step: Step) -> Text:
    tries = f", {plural(step.attempts, 'attempt')}" if step.attempts > 1 else ""
    given = step.output.get("outcome") if step.type == "SIMPLE" else None
    shown = Text.assemble((step.reference, "bold"), (f"  {step.type}  ", "dim"), _status(step.status), tries)
    return Text.assemble(shown, "  ", outcome_text(str(given))) if given else shown


def _case(step: Step) -> Text:
    match step.case:
        case None:
            return Text(f'no case for "{step.value}", and no defaultCase', style="bold red")
        case _ if step.case == DEFAULT_CASE and step.value != DEFAULT_CASE:
            return Text(f'defaultCase, for "{step.value}"', style="cyan")
        case _:
            return Text(f"case {step.case}", style="cyan")


def _reason(run: WorkflowRun) -> str:
    return " ".join((run.reason or "").split())


def _status(status: str) -> Text:
    return Text(status, style=_STATUS_STYLES.get(status, "red"))


def _show_verdict(report: OutcomeReport) -> None:
    for problem in report.problems():
        out.print(Text(problem, style="red"), soft_wrap=True)
    for unreached in report.unreached:
        out.print(Text(f"Not tested: {unreached} is not reached with this input and these mocks.", style="yellow"))
    if report.unreached and report.all_ok.status != "COMPLETED":
        text = f"With every task ok the workflow ends as {report.all_ok.status}: {_reason(report.all_ok)}"
        out.print(Text(text, style="yellow"), soft_wrap=True)
    counted = plural(len(report.runs), "outcome")
    if report.gaps:
        out.print(Text(f"{len(report.gaps)} of {counted} take no branch.", style="bold red"))
    else:
        text = f"{counted} tested: each takes a branch, or ends the workflow where nothing branches on it."
        out.print(Text(text), soft_wrap=True)
