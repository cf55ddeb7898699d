"""The command `limits`: what stands between each company's calls and Dialpad, by the workers' health ports."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from dialpad_ivr.cli.common import err, out, settings_or_fail
from dialpad_ivr.cli.exit_codes import EXIT_FAILED
from dialpad_ivr.cli.options import JsonFlag
from dialpad_ivr.engine.api import JsonObject
from dialpad_ivr.worker.limits import health_url, limits_rows, read_limits

_STYLES = {None: "green", "pause": "yellow", "outage": "red"}


def limits(
    workers: Annotated[
        list[str] | None,
        typer.Option("--worker", help="A worker's health port; this machine's by default. Repeatable.", metavar="URL"),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show each company's limits: what is used, who waits, a pause, an outage. Asks the workers' health ports.

    A company is shown once a worker has made a call for it. Workers that share their limits through Redis each show
    what all of them have used, and who waits in them.

    Examples:
    - `dialpad-ivr limits`
    - `dialpad-ivr limits --worker http://10.0.0.7:9464 --worker http://10.0.0.8:9464`
    """
    settings = settings_or_fail()
    reports = asyncio.run(read_limits(workers or [health_url(settings)]))
    if as_json:
        typer.echo(json.dumps(reports, indent=2))
    else:
        _show({url: report for url, report in reports.items() if "companies" in report})
    for url, report in reports.items():
        if "error" in report:
            err.print(Text(f"{url}: {report['error']}", style="red"), soft_wrap=True)
    if any("error" in report for report in reports.values()):
        raise typer.Exit(EXIT_FAILED)


def _show(reports: dict[str, JsonObject]) -> None:
    several = len(reports) > 1
    columns = [*(["worker"] if several else []), "company", "PATCHes", "calls", "waiting", "state"]
    table = Table(*columns, show_edge=False, pad_edge=False)
    for url, report in reports.items():
        for *cells, state, kept_back_by in limits_rows(report):
            worker = [url] if several else []
            table.add_row(*map(Text, worker + cells), Text(state, style=_STYLES[kept_back_by]))
    if table.row_count:
        out.print(table)
    elif reports:
        out.print(Text("No calls were made yet."))
