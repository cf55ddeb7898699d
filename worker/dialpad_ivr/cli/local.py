"""The commands `dev` and `demo`, which run the whole stack on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dialpad_ivr.cli.common import err, fail, out, settings_or_fail
from dialpad_ivr.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NO_ENGINE
from dialpad_ivr.cli.options import JsonFlag
from dialpad_ivr.cli.render import outcome_text
from dialpad_ivr.engine.api import EngineError
from dialpad_ivr.local.demo import SCENARIOS, ScenarioResult, run_scenarios
from dialpad_ivr.local.double import DoubleError
from dialpad_ivr.local.download import DownloadError
from dialpad_ivr.local.engine import EngineStartError
from dialpad_ivr.local.stack import (
    CONSOLE_PORT,
    DOUBLE_PORT,
    ENGINE_PORT,
    PartEndedError,
    Stack,
    preferred_port,
    running_stack,
)
from dialpad_ivr.local.ui import UiChangedError, find_ui
from dialpad_ivr.local.ui_archive import UiError
from dialpad_ivr.local.ui_links import UI_LINKS


def dev(
    ui: Annotated[
        str,
        typer.Option(
            metavar="auto|none|PATH",
            help="The workflow UI: auto finds or downloads it (11 MB, once); or a built one, as a folder, "
            "a .tar.gz or a server's jar.",
        ),
    ] = "auto",
    data: Annotated[
        Path | None, typer.Option(help="The folder of the engine's database; a temporary one by default.")
    ] = None,
    engine_port: Annotated[int | None, typer.Option(help=f"The engine's port; {ENGINE_PORT} if it is free.")] = None,
    double_port: Annotated[
        int | None, typer.Option(help=f"The Dialpad double's port; {DOUBLE_PORT} if it is free.")
    ] = None,
    console_port: Annotated[int | None, typer.Option(help=f"The console's port; {CONSOLE_PORT} if it is free.")] = None,
) -> None:
    """Run a real Conductor server, a Dialpad double, a worker and the console on this machine, until Ctrl-C.

    The double stands in for Dialpad's API: it has made-up targets and IVRs, and no Dialpad account is needed.

    Examples:
    - `dialpad-ivr dev`
    - `dialpad-ivr dev --ui none`
    - `dialpad-ivr dev --ui ./conductor-ui --data ./engine-data`
    """

    def until_interrupted(stack: Stack) -> None:
        err.print()
        if stack.console_url:
            err.print(
                Text("Console     "),
                Text(stack.console_url, style="bold green"),
                Text("  <- open this"),
                sep="",
                soft_wrap=True,
            )
        else:
            err.print(Text("Console     not started; it needs an extra: pip install 'dialpad-ivr[console]'"))
        exports = " ".join(f"{name}={value}" for name, value in stack.environ.items())
        what = "its UI; its API: /api" if built_ui else "its API: /api; without its UI"
        err.print(Text(f"Conductor   {stack.engine_url}  ({what})"), soft_wrap=True)
        if built_ui:
            for name, path, button in UI_LINKS:
                err.print(Text(f"{name:12}{stack.engine_url}{path}  <- press {button}"), soft_wrap=True)
        err.print(
            Text(f"Dialpad     {stack.double_url}  (a double of its API; its requests: /_double/ledger)"),
            soft_wrap=True,
        )
        err.print(Text(f"Worker      {stack.health_url}  (/healthz, /readyz, /metrics)"), soft_wrap=True)
        err.print(Text(f"Its log     {stack.parts['worker'][1]}"), soft_wrap=True)
        err.print(Text("In another terminal:"), Text(f"  export {exports}", style="bold"), sep="\n", soft_wrap=True)
        for command in ("run set_custom_ivr_test_request", f"limits --worker {stack.health_url}"):
            err.print(Text(f"  {own_command()} {command}", style="bold"), soft_wrap=True)
        err.print(Text("Ctrl-C stops everything."))
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            stack.wait()

    settings_or_fail()
    built_ui = _chosen_ui(ui)
    _with_stack(
        until_interrupted,
        ui=built_ui,
        data=data,
        engine_port=preferred_port(ENGINE_PORT) if engine_port is None else engine_port,
        double_port=preferred_port(DOUBLE_PORT) if double_port is None else double_port,
        console_port=_console_port(console_port),
    )


def _chosen_ui(choice: str) -> Path | None:
    """The UI of the option `--ui`; `None` if there shall be none, or if none was found, which is reported."""
    if choice == "none":
        return None
    if choice != "auto":
        return Path(choice)
    try:
        return find_ui(_report)
    except UiError as exc:
        err.print(Text(str(exc), style="yellow"), soft_wrap=True)
        return None
    except (UiChangedError, DownloadError, EngineStartError) as exc:
        fail(str(exc), EXIT_NO_ENGINE)


def _report(text: str) -> None:
    err.print(Text(text, style="dim"), soft_wrap=True)


def _console_port(port: int | None) -> int | None:
    """The console's port; `None` if its extra is not installed."""
    if find_spec("jinja2") is None:
        return None
    return preferred_port(CONSOLE_PORT) if port is None else port


def demo(as_json: JsonFlag = False) -> None:
    """Run real workflows end to end, and show their outcomes. Exits 0 only if all are correct.

    A double, a local stand-in for Dialpad's API, answers their requests.

    Example:
    - `dialpad-ivr demo`
    """

    def perform(stack: Stack) -> None:
        with err.status("Running the workflows ...") as status:
            results = run_scenarios(
                stack, lambda n: status.update(f"Running the workflows: {n} of {len(SCENARIOS)} ended ...")
            )
        if as_json:
            typer.echo(json.dumps([asdict(result) for result in results], indent=2))
        else:
            _show_results(out, results)
        if any(result.mismatches for result in results):
            raise typer.Exit(EXIT_FAILED)
        if not as_json:
            out.print(
                Text("All five ended as expected. To try it yourself: make dev (or dialpad-ivr dev)"), soft_wrap=True
            )

    settings_or_fail()
    _with_stack(perform)


def own_command() -> str:
    """What to type for this command in a terminal without its virtual environment: its name, else its path."""
    running = Path(sys.argv[0])
    if running.suffix == ".py":
        return f"{shlex.quote(sys.executable)} -m dialpad_ivr"
    in_environment = sys.prefix != sys.base_prefix
    folders = [
        folder
        for folder in os.environ.get("PATH", "").split(os.pathsep)
        if not (in_environment and Path(folder) == Path(sys.executable).parent)
    ]
    found = shutil.which(running.name, path=os.pathsep.join(folders))
    if found and Path(found).resolve() == running.resolve():
        return running.name
    return shlex.quote(min(os.path.relpath(running), str(running.resolve()), key=len))


def _with_stack(act: Callable[[Stack], None], **options: Any) -> None:
    try:
        with running_stack(_report, **options) as stack:
            act(stack)
            err.print(Text("Stopping ...", style="dim"))
    except (EngineStartError, UiError, DoubleError, DownloadError, EngineError, httpx.HTTPError) as exc:
        fail(str(exc), EXIT_NO_ENGINE)
    except PartEndedError as exc:
        fail(str(exc), EXIT_FAILED)
    except KeyboardInterrupt:
        fail("Interrupted.", EXIT_INTERRUPTED)


def _show_results(console: Console, results: Sequence[ScenarioResult]) -> None:
    """The results of the demo's scenarios."""
    table = Table("scenario", box=None, pad_edge=False)
    for heading in ("responses", "branch taken", "workflow", "retries", "time", ""):
        table.add_column(heading, no_wrap=True)
    for result in results:
        table.add_row(
            Text(result.scenario.title),
            Text(", ".join(str(status) for status in result.responses) or "none"),
            outcome_text(result.branch),
            Text(result.status),
            Text(str(result.retries)),
            Text(f"{result.seconds:.1f} s"),
            Text("ok", style="green") if not result.mismatches else Text("WRONG", style="bold red"),
        )
    console.print(table)
    for result in results:
        for mismatch in result.mismatches:
            console.print(Text(f"{result.scenario.title}: {mismatch} (workflow {result.workflow_id})", style="red"))
