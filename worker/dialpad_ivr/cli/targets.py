"""The command `targets`."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Annotated, Any

import typer

from dialpad_ivr.cli import render
from dialpad_ivr.cli.common import fail, out, plural, settings_or_fail
from dialpad_ivr.cli.completion import one_of
from dialpad_ivr.cli.exit_codes import EXIT_FAILED, EXIT_USAGE
from dialpad_ivr.cli.options import Credential, JsonFlag
from dialpad_ivr.cli.reading import (
    Progress,
    how_to_go_on,
    nothing_found,
    print_text,
    read_dialpad,
    show_unread,
    wanted_targets,
)
from dialpad_ivr.contract.targets import LISTED_TYPES
from dialpad_ivr.provisioning.directory import TargetDirectory
from dialpad_ivr.provisioning.listing import Target, TargetListing, list_company
from dialpad_ivr.provisioning.reader import Reader
from dialpad_ivr.provisioning.writing import can_write, csv_text
from dialpad_ivr.tasks.directory import RefusedError
from dialpad_ivr.tasks.target_search import e164
from dialpad_ivr.telemetry import logs

_COLUMNS = ("target_type", "target_id", "target", "office")


def targets(
    target_type: Annotated[
        str | None,
        typer.Argument(
            help="callcenter, department, office, user, ...; all that Dialpad lists by default.",
            metavar="TYPE",
            autocompletion=one_of(LISTED_TYPES),
            show_default=False,
        ),
    ] = None,
    office: Annotated[str | None, typer.Option(help="Only those of this office: its name or its id.")] = None,
    name: Annotated[str | None, typer.Option(help="Only those of this name; * stands for any text.")] = None,
    number: Annotated[str | None, typer.Option(help="The one with this phone number.")] = None,
    email: Annotated[str | None, typer.Option(help="The user with this address.")] = None,
    credential: Credential = "default",
    as_json: JsonFlag = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with the columns of a file of changes.")] = False,
) -> None:
    """List targets with their ids and offices, or find one. Changes nothing.

    A name is found as it is written, or else the same but for upper and lower case; all targets of that name are
    listed. The exit code is 1 if nothing is found, or if a list could not be read.

    Examples:
    - `dialpad-ivr targets callcenter --office Berlin`
    - `dialpad-ivr targets callcenter --name "Support*" --csv`
    - `dialpad-ivr targets --number +14155551000`
    """
    settings = settings_or_fail()
    logs.configure("warning", settings.log_format)
    if as_json and as_csv:
        fail("--json and --csv were both given.\nUse one of them.", EXIT_USAGE)
    types = [target_type] if target_type else ["user"] if email else [*LISTED_TYPES]
    if office is not None and target_type is None:
        types = [each for each in types if each != "channel"]  # channels belong to no office
    wanted = wanted_targets(types, credential=credential, office=office, name=name, number=number, email=email)

    async def read(reader: Reader, progress: Progress) -> TargetListing:
        nonlocal wanted
        directory = TargetDirectory(credential, reader)
        if number is not None and len(wanted) > 1:
            of_type = await _type_of_number(number, directory)
            wanted = [params for params in wanted if params.target_type == of_type]
        return await list_company(wanted, directory, lambda done, of: progress("Listing targets", done, of))

    listing = read_dialpad(settings, read, interrupted=f"Nothing was changed.\n{how_to_go_on(None)}")
    found = listing.targets
    if as_json:
        typer.echo(json.dumps({"targets": [_as_json(each) for each in found], "unread": listing.refused}, indent=2))
    elif as_csv:
        print_text(csv_text([_as_row(each) for each in found], _COLUMNS))
    elif found:
        render.show_targets(out, found)
        out.print(f"{plural(len(found), 'target')}.", style="bold")
    show_unread(listing.refused)
    if listing.refused:
        raise typer.Exit(EXIT_FAILED)
    if not found:
        nothing_found(listing, "Give a TYPE to see similar names.")


async def _type_of_number(number: str, directory: TargetDirectory) -> str:
    """The type of the target that a number belongs to; if that is not known, one whose search says why."""
    with suppress(RefusedError):
        owner = await directory.number_owner(e164(number) or "")
        if owner is not None and owner[0] in LISTED_TYPES:
            return owner[0]
    return "callcenter"


def _as_json(target: Target) -> dict[str, Any]:
    return {"target_type": target.target_type, **target.found.model_dump()}


def _as_row(target: Target) -> dict[str, str]:
    """A target in the columns of a file of changes."""
    office = target.found.office
    names = {"target": target.found.name or "", "office": office.name or office.id if office else ""}
    shown = {column: name if can_write(name) else "" for column, name in names.items()}
    return {"target_type": target.target_type, "target_id": target.found.id, **shown}
