"""The command `console`."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated

import typer
from rich.text import Text
from uvicorn.protocols.http.h11_impl import H11Protocol

from dialpad_ivr.cli.common import err, fail, settings_or_fail
from dialpad_ivr.cli.exit_codes import EXIT_USAGE
from dialpad_ivr.console.app import console_app
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.http_server import PortError, serving
from dialpad_ivr.local.stack import CONSOLE_PORT
from dialpad_ivr.settings import Settings, SettingsError
from dialpad_ivr.tasks.tools import open_tools
from dialpad_ivr.telemetry import logs
from dialpad_ivr.worker.limits import health_url


def console(
    port: Annotated[
        int, typer.Option(help="The port on 127.0.0.1; 0 picks a free one.", min=0, max=65535)
    ] = CONSOLE_PORT,
    workers: Annotated[
        list[str] | None,
        typer.Option(
            "--worker",
            help="A worker's health port, for the page of limits; this machine's by default. Repeatable.",
            metavar="URL",
        ),
    ] = None,
) -> None:
    """Serve the web console until Ctrl-C: reference, targets, test requests, runs, overrides, limits.

    Test requests go through the engine if one answers, otherwise directly to Dialpad with the key from this
    environment. The console listens on loopback only; for remote access, forward its port with ssh.

    Examples:
    - `dialpad-ivr console`
    - `CONDUCTOR_SERVER_URL=https://conductor.example.com/api dialpad-ivr console --port 0`
    """
    settings = settings_or_fail()
    logs.configure("warning", settings.log_format)
    try:
        asyncio.run(_serve(settings, port, workers or [health_url(settings)]))
    except PortError as exc:
        fail(f"{exc} Choose another one with --port, or a free one with --port 0.", EXIT_USAGE)
    except SettingsError as exc:
        fail(str(exc), EXIT_USAGE)


async def _serve(settings: Settings, port: int, workers: list[str]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # Nothing delivers a test request again: it does not wait for an outage to end.
    async with open_tools(settings.model_copy(update={"outage_budget_seconds": 0})) as tools:
        app = console_app(tools, EngineApi(settings), workers)
        async with serving(app, "127.0.0.1", port, http=H11Protocol, pages=True) as chosen:
            err.print(Text(f"Console: http://127.0.0.1:{chosen}  (Ctrl-C stops it)"))
            await stop.wait()
