"""The command `check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from dialpad_ivr.cli import render
from dialpad_ivr.cli.common import err, fail, out, settings_or_fail, shell_command
from dialpad_ivr.cli.exit_codes import EXIT_DIFFERS, EXIT_FAILED, EXIT_USAGE
from dialpad_ivr.cli.options import JsonFlag, Resume
from dialpad_ivr.cli.plan import valid_changes
from dialpad_ivr.cli.reading import how_to_go_on, open_kept, print_text, read_dialpad, show_unread
from dialpad_ivr.cli.render_override import considering_overrides
from dialpad_ivr.cli.schedules import Every, Name, RepairOption, Zone, prepared_schedule, schedule_check
from dialpad_ivr.provisioning.drift import check_rows, counts, drift_csv, drift_report
from dialpad_ivr.provisioning.plan import write_atomically
from dialpad_ivr.telemetry import logs


def check(
    file: Annotated[Path, typer.Argument(help="The file of changes: CSV, TSV, JSON or YAML.", metavar="FILE")],
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Base name of a report to keep: BASE.check.json and .csv.", metavar="BASE"),
    ] = None,
    resume: Resume = False,
    every: Every = None,
    zone: Zone = None,
    name: Name = None,
    repair: RepairOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare a file of changes with what is selected, and show what differs. Changes nothing.

    The file is one that `plan` reads, and that `export` writes. A slot that an override has now is in sync if what it
    restores is what the file wants; where no engine answers, that is not known. The exit code is 0 only if every row is
    in sync; 5 if rows differ and applying a plan of the file would repair all of them; 1 if a row needs a person: its
    target or its IVR is missing or ambiguous, or it could not be compared.

    With --every, the engine's scheduler also repeats the check, by the workflow `check_custom_ivrs`. The names in the
    file are looked up now, and ids are scheduled: run it again when the file or the company changes. The exit code is
    then 0 if the check is scheduled, whatever it found.

    Examples:
    - `dialpad-ivr check selections.csv`
    - `dialpad-ivr check selections.csv --report monday --json`
    - `dialpad-ivr check selections.csv --every "0 0 6 * * *" --zone Europe/Berlin --repair ask`
    """
    settings = settings_or_fail()
    logs.configure("warning", settings.log_format)
    scheduled = prepared_schedule(file, settings, every=every, zone=zone, name=name, repair=repair)
    changes = valid_changes(file, as_json=as_json)
    kept = open_kept(settings, resume=resume)
    checked = read_dialpad(
        settings,
        lambda reader, progress: check_rows(changes, reader, progress),
        interrupted=f"Nothing was compared.\n{how_to_go_on(kept)}",
        kept=kept,
    )
    checked = considering_overrides(checked, settings)
    states = counts(checked)
    if kept and "unreadable" not in states:
        kept.delete()
    resumed = (kept.used, kept.oldest_seconds) if kept else (0, 0.0)
    found = drift_report(checked, settings.api_url, file.name, resumed)
    document = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    if as_json:
        if scheduled is None:
            print_text(document)
    elif [*states] == ["unreadable"]:
        show_unread(dict.fromkeys(each.row.note for each in checked))
        err.print(Text(f"No row could be compared at {settings.api_url}.", style="red"), soft_wrap=True)
        err.print(Text(how_to_go_on(kept), style="red"), soft_wrap=True)
    else:
        render.show_check(out, checked)
    if report is not None:
        try:
            write_atomically(Path(f"{report}.check.json"), document)
            write_atomically(Path(f"{report}.check.csv"), drift_csv(checked))
        except OSError as exc:
            fail(f"The report cannot be written: {exc.strerror}\nCheck the folder of {report}.", EXIT_USAGE)
        if not as_json:
            out.print(Text(f"Report: {report}.check.json, {report}.check.csv"), soft_wrap=True)
    if scheduled is not None:
        schedule_check(scheduled, checked, found, as_json=as_json)
        return
    if not set(states) <= {"in_sync", "differs"}:
        raise typer.Exit(EXIT_FAILED)
    if "differs" in states:
        if not as_json:
            out.print(Text(f"To repair it: {shell_command('plan', file)}"), soft_wrap=True)
        raise typer.Exit(EXIT_DIFFERS)
