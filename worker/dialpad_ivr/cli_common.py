"""What all commands share: exit codes, consoles, settings, and how to fail."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from dialpad_ivr.engine_api import EngineError
from dialpad_ivr.settings import Settings, SettingsError, load_settings

EXIT_FAILED, EXIT_USAGE, EXIT_CONSENT, EXIT_NO_ENGINE, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

out = Console()
err = Console(stderr=True)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def settings_or_fail() -> Settings:
    """The settings; with a fault in them the command ends."""
    try:
        return load_settings()
    except SettingsError as exc:
        fail(f"Settings:\n{exc}", EXIT_USAGE)


def engine_failed(exc: EngineError, hint: str = "") -> NoReturn:
    """End the command because the engine refuses, or does not answer."""
    fail(f"{exc}{hint}", EXIT_NO_ENGINE if exc.status == 0 else EXIT_FAILED)


def fail(message: str, code: int) -> NoReturn:
    """End the command with a message and an exit code."""
    err.print(Text(message, style="red"), soft_wrap=True)
    raise typer.Exit(code)
