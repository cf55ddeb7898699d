"""Shared by all commands: consoles, settings, and how a command fails."""

from __future__ import annotations

import json
import logging
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NoReturn, cast

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text

from dialpad_ivr.cli.exit_codes import EXIT_FAILED, EXIT_NO_ENGINE, EXIT_USAGE
from dialpad_ivr.engine.api import EngineError, JsonObject
from dialpad_ivr.settings import Settings, SettingsError, load_settings
from dialpad_ivr.telemetry import logs

PLAN_SUFFIX: Final = ".plan.json"

_CONTROLS: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_PADDING: Final = re.compile(r" +(?=\n)")


class _PlainConsole(Console):
    """Replaces control characters: names and messages come from outside and may hold escape sequences.

    It also drops the blanks with which tables pad the ends of lines.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        blanks: list[Segment] = []  # held back until something follows in the same line
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
                continue
            text = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", _PADDING.sub("", segment.text))
            visible = text.rstrip(" ")
            if visible:
                if not visible.startswith("\n"):
                    yield from blanks
                blanks.clear()
                yield Segment(visible, segment.style)
            if visible != text:
                blanks.append(Segment(text[len(visible) :], segment.style))
        yield from blanks


out = _PlainConsole()
err = _PlainConsole(stderr=True)

# Python prints warnings that nobody handles. The SDK warns of failed calls, which the commands report themselves.
for _sdk in ("conductor", logs.SDK_LOGGERS):
    logging.getLogger(_sdk).addHandler(logging.NullHandler())


def settings_or_fail() -> Settings:
    """The settings from the environment. Ends the command if they are invalid."""
    try:
        return load_settings()
    except SettingsError as exc:
        fail(f"Invalid settings:\n{exc}", EXIT_USAGE)


def engine_failed(exc: EngineError, hint: str = "") -> NoReturn:
    """End the command because the engine rejected a request, or did not answer."""
    fail(f"{exc}{hint}", EXIT_NO_ENGINE if exc.unreachable else EXIT_FAILED)


def plural(count: int, noun: str) -> str:
    """A count of things, e.g. "1 change" or "2 changes"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def shell_command(*words: str | Path) -> str:
    """A command of ours to copy, quoted for a shell."""
    return shlex.join(["dialpad-ivr", *map(str, words)])


def progress_bar() -> Progress:
    """A progress bar on standard error; none where that is no terminal."""
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


def fail(message: str, code: int) -> NoReturn:
    """End the command with a message and an exit code."""
    print_error(message)
    raise typer.Exit(code)


def print_error(message: str) -> None:
    """Print on standard error what went wrong."""
    err.print(Text(message, style="red"), soft_wrap=True)


def notice(text: str) -> None:
    """Print a line about what goes on, on standard error."""
    err.print(Text(text, style="yellow"), soft_wrap=True)


def json_object(text: str, option: str = "--input") -> JsonObject:
    """The value of an option. Ends the command if it is no JSON object."""
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text("utf-8")
        value = json.loads(text, parse_float=_number)
    except OSError as exc:
        fail(f"{option}: {text[1:]} cannot be read: {exc.strerror}", EXIT_USAGE)
    except (ValueError, RecursionError) as exc:
        fail(f"{option} is not valid JSON: {exc}\nTo read a file: {option} @change.json", EXIT_USAGE)
    if not isinstance(value, dict):
        fail(f"{option} must be a JSON object.", EXIT_USAGE)
    return cast("JsonObject", value)


def _number(text: str) -> float | str:
    """A number that is no integer; an id with an exponent stays text, so that the validation says what it has lost."""
    number = float(text)
    return text if "e" in text.lower() and number.is_integer() else number


def confirm(question: str, *, yes: bool) -> None:
    """Ask before a change is made; without a terminal, end the command unless `--yes` was set."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"{question} Confirm with --yes.", EXIT_USAGE)
    typer.confirm(question, abort=True)
