"""The command `worker`. A long-running process: it does without the imports of the other commands (5 MB)."""

from __future__ import annotations

import asyncio

import typer

from dialpad_ivr.cli.common import fail, settings_or_fail
from dialpad_ivr.cli.exit_codes import EXIT_USAGE
from dialpad_ivr.http_server import PortError
from dialpad_ivr.settings import SettingsError
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
    settings = settings_or_fail()
    logs.configure(settings.log_level, settings.log_format)
    try:
        with tracing() as traces:
            code = asyncio.run(run_process(settings, traces))
    except PortError as exc:
        fail(f"{exc} Set DIALPAD_IVR_HEALTH_PORT.", EXIT_USAGE)
    except SettingsError as exc:
        fail(str(exc), EXIT_USAGE)
    raise typer.Exit(code)
