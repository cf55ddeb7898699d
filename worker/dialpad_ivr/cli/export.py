"""The command `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.text import Text

from dialpad_ivr.cli.common import confirm, err, fail, notice, plural, settings_or_fail, shell_command
from dialpad_ivr.cli.completion import one_of
from dialpad_ivr.cli.exit_codes import EXIT_FAILED, EXIT_USAGE
from dialpad_ivr.cli.options import Credential, Resume, Yes
from dialpad_ivr.cli.reading import (
    check_ivr_types,
    how_to_go_on,
    nothing_found,
    open_kept,
    print_text,
    read_dialpad,
    show_unread,
    wanted_targets,
)
from dialpad_ivr.contract.targets import LISTED_TYPES
from dialpad_ivr.contract.values import IVR_TYPES, TARGET_TYPES
from dialpad_ivr.provisioning.changes import MAX_ROWS
from dialpad_ivr.provisioning.export import Export, LeftOut, read_export
from dialpad_ivr.provisioning.plan import write_atomically
from dialpad_ivr.provisioning.writing import WRITERS
from dialpad_ivr.telemetry import logs

_LEFT_OUT: dict[LeftOut, str] = {
    "nothing_selected": "nothing is selected",
    "directions_differ": "inbound and outbound differ",
    "selection_unknown": "Dialpad's list does not say what is selected",
    "undocumented_slot": "its type is not documented",
}


def export(
    target_types: Annotated[
        list[str] | None,
        typer.Argument(
            help="callcenter, department, office, user, ...; all that Dialpad lists by default.",
            metavar="TYPE",
            autocompletion=one_of(LISTED_TYPES),
            show_default=False,
        ),
    ] = None,
    office: Annotated[str | None, typer.Option(help="Only the targets of this office: its name or its id.")] = None,
    name: Annotated[str | None, typer.Option(help="Only the targets of this name; * stands for any text.")] = None,
    ivr_types: Annotated[
        list[str] | None,
        typer.Option(
            "--ivr-type", help="Only this slot, e.g. HOLD_MUSIC. Repeatable.", autocompletion=one_of(IVR_TYPES)
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The file to write: .csv, .json, .yaml or .yml. CSV to standard output by default.",
            metavar="FILE",
        ),
    ] = None,
    credential: Credential = "default",
    resume: Resume = False,
    yes: Yes = False,
) -> None:
    """Write what targets have selected, as a file that `plan` and `check` read. Changes nothing.

    A row names its target and its IVR; an id is added where the name alone would not do. A slot has no row if nothing
    is selected, or if inbound and outbound differ: no change can set that. Dialpad documents no list of coaching
    groups and staff groups, so they are not included. The exit code is 1 if something could not be read.

    Examples:
    - `dialpad-ivr export > selections.csv`
    - `dialpad-ivr export callcenter department --office Berlin --out berlin.yaml`
    - `dialpad-ivr export callcenter --name "Support*" --ivr-type HOLD_MUSIC --ivr-type CLOSED`
    """
    settings = settings_or_fail()
    logs.configure("warning", settings.log_format)
    write = WRITERS[".csv"] if to is None else WRITERS.get(to.suffix.lower())
    if write is None:
        fail(f"{to}: the name must end in {', '.join(WRITERS)}.\nFor example: --out selections.csv", EXIT_USAGE)
    check_ivr_types(ivr_types or ())
    if to is not None and not to.parent.is_dir():
        fail(f"{to} cannot be written: there is no folder {to.parent}.\nCreate it, or name another file.", EXIT_USAGE)
    if to is not None and to.exists():
        confirm(f"{to} is there already. Replace it?", yes=yes or resume)
    types = dict.fromkeys(target_types or LISTED_TYPES)
    if office is not None and not target_types:
        types.pop("channel")  # channels belong to no office
    wanted = wanted_targets([*types], credential=credential, office=office, name=name)
    kept = open_kept(settings, resume=resume)
    exported = read_dialpad(
        settings,
        lambda reader, progress: read_export(wanted, ivr_types or (), reader, progress),
        interrupted=f"Nothing was written.\n{how_to_go_on(kept)}",
        kept=kept,
    )
    show_unread(f"{reason} ({count} times)" if count > 1 else reason for reason, count in exported.unread.items())
    if not exported.targets:
        _nothing_found(exported)
    unread = sum(exported.unread.values())
    if unread and not exported.rows:
        fail(
            f"Nothing could be read from {settings.api_url}, and nothing was written.\n{how_to_go_on(kept)}",
            EXIT_FAILED,
        )
    text = write(exported.rows)
    if to is None:
        print_text(text)
    else:
        try:
            write_atomically(to, text)
        except OSError as exc:
            fail(f"{to} cannot be written: {exc.strerror}\n{how_to_go_on(kept)}", EXIT_USAGE)
    _say_what(exported, to, all_types=not target_types)
    if unread:
        fail(f"{plural(unread, 'read')} failed: their targets are not in it.\n{how_to_go_on(kept)}", EXIT_FAILED)
    if kept:
        kept.delete()


def _nothing_found(exported: Export) -> NoReturn:
    if exported.unread:
        fail("No list of targets could be read, and nothing was written.\nSee the reasons above.", EXIT_FAILED)
    nothing_found(exported.listing, "List what there is: dialpad-ivr targets")


def _say_what(exported: Export, to: Path | None, *, all_types: bool) -> None:
    """What was written and what was left out, on standard error: standard output may be the file."""
    count = plural(len(exported.rows), "selection")
    written = f" Written to {to}." if to else ""
    if to and exported.rows:
        written += f" Plan it with: {shell_command('plan', to)}"
    err.print(Text(f"{count} of {plural(exported.targets, 'target')}.{written}"), soft_wrap=True)
    for why, slots in exported.left_out.items():
        notice(f"Left out: {plural(slots, 'slot')}, as {_LEFT_OUT[why]}.")
    if all_types:
        without = ", ".join(each for each in TARGET_TYPES if each not in (*LISTED_TYPES, "unknown"))
        notice(f"Not included, as Dialpad documents no list of them: {without}.")
    if len(exported.rows) > MAX_ROWS:
        notice(f"`plan` reads at most {MAX_ROWS:,} rows. Export less at a time: by TYPE, --office or --ivr-type.")
