"""The worker as a process of its own, which signals stop."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable

from dialpad_ivr.settings import Settings
from dialpad_ivr.telemetry.metrics import OverrideFigures
from dialpad_ivr.telemetry.tracing import Tracing
from dialpad_ivr.worker.run import started_worker


async def run_process(settings: Settings, tracing: Tracing, overrides: Callable[[], OverrideFigures]) -> int:
    """Run until told to stop.

    SIGTERM and SIGINT drain: polling stops, calls in flight finish and their results are reported, for at most the
    grace time. A second signal ends at once.

    Args:
        settings: All of them.
        tracing: What makes spans of tasks and calls.
        overrides: Reads what overrides do, for the metrics.

    Returns:
        The exit code: 0 when everything in flight was reported, 1 when the grace time ran out, 130 after a second
        signal.

    Raises:
        PortError: The health port cannot be listened on.
        SettingsError: Redis is configured, and its client is not installed.
    """
    # httpcore asks sniffio which event loop runs, twenty times a task. Failed imports are not cached, so it would hit
    # the disk on every call. No sniffio means asyncio, which is so.
    sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]
    # The handlers come first: a signal while the worker starts drains it, too.
    received: list[signal.Signals] = []
    first_signal, second_signal = asyncio.Event(), asyncio.Event()

    def stop(number: signal.Signals) -> None:
        received.append(number)
        (second_signal if first_signal.is_set() else first_signal).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    async with started_worker(settings, tracing, overrides) as worker:
        await worker.until(first_signal)
        if received:
            worker.drain(received[0].name)
        if await worker.drained(second_signal):
            return 0
        return 130 if second_signal.is_set() else 1
