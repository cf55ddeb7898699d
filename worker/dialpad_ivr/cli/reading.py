"""What the commands share that read Dialpad: progress, what is kept of an interrupted one, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import NoReturn, TypeVar

import typer
from rich.text import Text

from dialpad_ivr.cli import render
from dialpad_ivr.cli.common import err, fail, notice, out, plural, progress_bar
from dialpad_ivr.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from dialpad_ivr.contract.inputs import ListCustomIvrsInput, ListTargetsInput
from dialpad_ivr.contract.outputs import FieldError
from dialpad_ivr.contract.validation import check_input
from dialpad_ivr.provisioning.kept import KEPT_SECONDS, KeptReads
from dialpad_ivr.provisioning.listing import TargetListing
from dialpad_ivr.provisioning.reader import Reader, open_reader
from dialpad_ivr.settings import Settings, SettingsError
from dialpad_ivr.tasks.target_search import contradictions

_REASONS = 5  # shown of what could not be read
_Found = TypeVar("_Found")
Progress = Callable[[str, int, int], None]


def open_kept(settings: Settings, *, resume: bool) -> KeptReads | None:
    """Where to keep what is read; `None` without a state directory. Ends the command if that cannot be used."""
    if settings.state_dir is None:
        if resume:
            fail("Without DIALPAD_IVR_STATE_DIR nothing is kept.\nRun the command without --resume.", EXIT_USAGE)
        return None
    try:
        return KeptReads(settings.state_dir, settings.api_url, resume=resume)
    except OSError as exc:
        fail(f"DIALPAD_IVR_STATE_DIR: cannot write to {settings.state_dir}: {exc.strerror}", EXIT_USAGE)


def read_dialpad(
    settings: Settings,
    read: Callable[[Reader, Progress], Awaitable[_Found]],
    *,
    interrupted: str,
    kept: KeptReads | None = None,
) -> _Found:
    """Read with a progress bar. Ends the command if it is interrupted.

    Args:
        settings: The API's URL, the rate limits, and the credentials file.
        read: Reads.
        interrupted: What an interruption has left undone, and how to go on.
        kept: Where what is read is kept.
    """

    async def reading(progress: Progress) -> _Found:
        async with open_reader(settings, kept) as reader:
            return await read(reader, progress)

    try:
        with progress_bar() as bar, kept or nullcontext():
            task = bar.add_task("", total=None)
            found = asyncio.run(
                reading(lambda what, done, of: bar.update(task, description=what, completed=done, total=of))
            )
    except SettingsError as exc:
        fail(str(exc), EXIT_USAGE)
    except KeyboardInterrupt:
        fail(f"Interrupted. {interrupted}", EXIT_INTERRUPTED)
    if kept and kept.used:
        minutes = max(1, round(kept.oldest_seconds / 60))
        used = plural(kept.used, "target")
        notice(f"{used} read by an interrupted command, up to {minutes} min ago: a change since then does not show.")
    return found


def how_to_go_on(kept: KeptReads | None) -> str:
    """What to do about a command that has not read everything."""
    if kept is None:
        return "Run it again. With DIALPAD_IVR_STATE_DIR, what was read would be kept."
    return f"Run it again with --resume: what was read is kept for {KEPT_SECONDS // 60} minutes."


def wanted_targets(
    target_types: Sequence[str],
    *,
    credential: str,
    **criteria: str | None,
) -> list[ListTargetsInput]:
    """What to look for, of each type. Ends the command if it is invalid."""
    wanted = []
    for target_type in target_types:
        params = check_input({"target_type": target_type, "credential": credential, **criteria}, ListTargetsInput)
        errors = params if isinstance(params, list) else contradictions(params)
        if errors or isinstance(params, list):
            _refuse(errors)
        wanted.append(params)
    return wanted


def check_ivr_types(ivr_types: Iterable[str]) -> None:
    """End the command unless these slots are documented."""
    target = {"target_type": "callcenter", "target_id": "1"}
    checked = [check_input({**target, "ivr_type": each}, ListCustomIvrsInput) for each in ivr_types]
    errors = [error for each in checked if isinstance(each, list) for error in each]
    if errors:
        _refuse(errors)


def _refuse(errors: Iterable[FieldError]) -> NoReturn:
    for error in errors:
        render.show_error(err, "", error)
    raise typer.Exit(EXIT_USAGE)


def nothing_found(listing: TargetListing, hint: str) -> NoReturn:
    """End the command: there is no such target.

    Args:
        listing: What was looked for in vain.
        hint: What to do, unless what was looked for says more.
    """
    miss = listing.misses[0] if len(listing.misses) == 1 else None
    fail(f"{miss.message}\n{miss.hint}" if miss else f"There are no such targets.\n{hint}", EXIT_FAILED)


def show_unread(reasons: Iterable[str]) -> None:
    """Why something could not be read, on standard error."""
    listed = list(reasons)
    for reason in listed[:_REASONS]:
        err.print(Text(reason, style="red"), soft_wrap=True)
    if len(listed) > _REASONS:
        err.print(Text(f"... and {len(listed) - _REASONS} more reasons.", style="red"))


def print_text(text: str) -> None:
    """Print a file on standard output: as it is, but for what would steer a terminal."""
    if out.is_terminal:
        out.print(Text(text), end="", soft_wrap=True)
    else:
        typer.echo(text, nl=False, color=True)  # else it drops what it takes for colours, from names too
