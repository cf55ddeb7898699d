"""The command `worker`. A long-running process: it does without the command line's imports (4 MB)."""

from __future__ import annotations

import asyncio
import sys
from typing import NoReturn

from dialpad_ivr.cli.exit_codes import EXIT_USAGE
from dialpad_ivr.http_server import PortError
from dialpad_ivr.settings import SettingsError, load_settings
from dialpad_ivr.telemetry import logs
from dialpad_ivr.telemetry.tracing import tracing
from dialpad_ivr.worker.process import run_process


def worker() -> None:
    """Poll the engine and run tasks until SIGTERM or Ctrl-C.

    Tasks in flight are finished first; a second signal stops the worker immediately.

    Examples:
    - `DIALPAD_API_KEY=... dialpad-ivr worker`
    - `CONDUCTOR_SERVER_URL=https://conductor.example.com/api dialpad-ivr worker`
    """
    try:
        settings = load_settings()
    except SettingsError as exc:
        _fail(f"Invalid settings:\n{exc}")
    logs.configure(settings.log_level, settings.log_format)
    try:
        with tracing() as traces:
            code = asyncio.run(run_process(settings, traces))
    except PortError as exc:
        _fail(f"{exc} Set DIALPAD_IVR_HEALTH_PORT.")
    except SettingsError as exc:
        _fail(str(exc))
    sys.exit(code)


def _fail(message: str) -> NoReturn:
    """End the command because a setting cannot be used."""
    from dialpad_ivr.cli.common import print_error  # noqa: PLC0415  # see above

    print_error(message)
    sys.exit(EXIT_USAGE)
