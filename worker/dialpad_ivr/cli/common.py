"""What all commands share: exit codes, consoles, settings, and how to fail."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from dialpad_ivr.engine.api import EngineError
from dialpad_ivr.settings import Settings, SettingsError, load_settings

EXIT_FAILED, EXIT_USAGE, EXIT_CONSENT, EXIT_NO_ENGINE, EXIT_INTERRUPTED = 1, 2, 3, 4, 130
EXIT_CODES = {
    0: "all is as asked",
    EXIT_FAILED: "it is not (a change not made, a check failed)",
    EXIT_USAGE: "wrong usage or settings",
    EXIT_CONSENT: "somebody edited a definition on the server",
    EXIT_NO_ENGINE: "no engine answers",
    EXIT_INTERRUPTED: "interrupted",
}

_CONTROLS: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class _PlainConsole(Console):
    """A console that text cannot steer: names and messages come from outside, escape sequences and all."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", segment.text)
            yield Segment(text, segment.style, segment.control)


out = _PlainConsole()
err = _PlainConsole(stderr=True)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def settings_or_fail() -> Settings:
    """The settings; with a fault in them the command ends."""
    try:
        return load_settings()
    except SettingsError as exc:
        fail(f"Settings:\n{exc}", EXIT_USAGE)


def engine_failed(exc: EngineError, hint: str = "") -> NoReturn:
    """End the command because the engine refuses, or does not answer."""
    fail(f"{exc}{hint}", EXIT_NO_ENGINE if exc.unreachable else EXIT_FAILED)


def fail(message: str, code: int) -> NoReturn:
    """End the command with a message and an exit code."""
    err.print(Text(message, style="red"), soft_wrap=True)
    raise typer.Exit(code)
