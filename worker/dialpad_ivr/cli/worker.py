"""The command `worker`. A long-running process: it does without the command line's imports (8 MB)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, NoReturn

from dialpad_ivr.cli.exit_codes import EXIT_USAGE
from dialpad_ivr.http_server import PortError
from dialpad_ivr.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from dialpad_ivr.provisioning.override_figures import OverrideWatch
    from dialpad_ivr.telemetry.metrics import OverrideFigures


def worker() -> None:
    """Poll the engine and run tasks until SIGTERM or Ctrl-C.

    Tasks in flight are finished first; a second signal stops the worker immediately.

    Examples:
    - `DIALPAD_API_KEY=... dialpad-ivr worker`
    - `CONDUCTOR_SERVER_URL=https://conductor.example.com/api dialpad-ivr worker`
    """
    # What httpx (its own command line) and structlog import where it is installed, and no worker uses.
    with _not_installed("httpx._main", "rich", "colorama", "greenlet"):
        from dialpad_ivr.telemetry import logs  # noqa: PLC0415
        from dialpad_ivr.telemetry.tracing import tracing  # noqa: PLC0415
        from dialpad_ivr.worker.process import run_process  # noqa: PLC0415
    try:
        settings = load_settings()
    except SettingsError as exc:
        _fail(f"Invalid settings:\n{exc}")
    logs.configure(settings.log_level, settings.log_format)
    try:
        with tracing() as traces:
            code = asyncio.run(run_process(settings, traces, _override_reader(settings)))
    except PortError as exc:
        _fail(f"{exc} Set DIALPAD_IVR_HEALTH_PORT.")
    except SettingsError as exc:
        _fail(str(exc))
    sys.exit(code)


def _override_reader(settings: Settings) -> Callable[[], OverrideFigures]:
    """What reads the overrides for the metrics.

    It is made when they are first scraped: its imports take 2 MB, and a secured engine is asked for a token.
    """

    @cache
    def watch() -> OverrideWatch:
        from dialpad_ivr.engine.api import EngineApi  # noqa: PLC0415
        from dialpad_ivr.provisioning.override_figures import OverrideWatch  # noqa: PLC0415

        return OverrideWatch(EngineApi(settings))

    return lambda: watch().read()


@contextmanager
def _not_installed(*modules: str) -> Iterator[None]:
    """Let an import of these modules fail meanwhile, as if they were not installed."""
    missing = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(missing))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


def _fail(message: str) -> NoReturn:
    """End the command because a setting cannot be used."""
    from dialpad_ivr.cli.common import print_error  # noqa: PLC0415  # see above

    print_error(message)
    sys.exit(EXIT_USAGE)
