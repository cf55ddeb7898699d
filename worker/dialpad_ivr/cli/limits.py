"""The command `limits`: what stands between each company's calls and Dialpad, by the workers' health ports."""

from __future__ import annotations

import json
from typing import Annotated, Any

import httpx
import typer
from rich.table import Table
from rich.text import Text

from dialpad_ivr.cli.common import EXIT_FAILED, JsonFlag, err, fail, out, plural, settings_or_fail

_TIMEOUT_SECONDS = 5.0


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
    urls = workers or [f"http://{settings.health_host}:{settings.health_port}"]
    reports = {url: _read(url.rstrip("/")) for url in urls}
    if as_json:
        typer.echo(json.dumps(reports, indent=2))
    else:
        _show({url: report for url, report in reports.items() if "companies" in report})
    for url, report in reports.items():
        if "error" in report:
            err.print(Text(f"{url}: {report['error']}", style="red"), soft_wrap=True)
    if any("error" in report for report in reports.values()):
        raise typer.Exit(EXIT_FAILED)


def _read(url: str) -> dict[str, Any]:
    """What a worker reports, or under `error` why it does not."""
    try:
        response = httpx.get(f"{url}/limits", timeout=_TIMEOUT_SECONDS, trust_env=False)
        report = response.json()
    except httpx.InvalidURL as exc:
        fail(f"--worker {url}: {exc}", EXIT_FAILED)
    except httpx.HTTPError:
        return {"error": "no worker answers. Name the health port of one that runs: --worker URL"}
    except ValueError:
        report = None
    if not isinstance(report, dict) or not {"companies", "error"} & report.keys():
        return {"error": f"HTTP {response.status_code}: not a worker's health port."}
    return report


def _show(reports: dict[str, dict[str, Any]]) -> None:
    several = len(reports) > 1
    columns = [*(["worker"] if several else []), "company", "PATCHes", "calls", "waiting", "state"]
    table = Table(*columns, show_edge=False, pad_edge=False)
    for url, report in reports.items():
        for company in report["companies"]:
            cells = [url] if several else []
            cells += [company["company"], _used(company["patch"]), _used(company["all"]), _waiting(company["waiting"])]
            state, style = _state(company)
            table.add_row(*map(Text, cells), Text(state, style=style))
    if table.row_count:
        out.print(table)
    elif reports:
        out.print(Text("No calls were made yet."))


def _used(limit: dict[str, Any]) -> str:
    return f"{limit['used']:,} of {limit['limit']:,} in {limit['window_seconds']:g} s"


def _waiting(waiting: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in waiting.items() if count) or "none"


def _state(company: dict[str, Any]) -> tuple[str, str]:
    """What keeps calls back, and its colour."""
    circuit = company["circuit"]
    if circuit:
        since, probe = (round(circuit[name]) for name in ("open_seconds", "probe_in_seconds"))
        what = f"Dialpad has not worked for {plural(since, 'second')} ({circuit['cause']})"
        return f"{what}; next probe in {probe} s", "red"
    if company["pause_seconds"]:
        return f"paused for {company['pause_seconds']:g} s: Dialpad answered 429", "yellow"
    return "open", "green"
