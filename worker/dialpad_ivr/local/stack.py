"""All of it on one machine: the engine, the Dialpad double, our definitions, and a worker."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from dialpad_ivr.credentials import KEY_NAME
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.engine.definitions import compare, register, shipped
from dialpad_ivr.local.child import Child
from dialpad_ivr.local.double import DEFAULT_KEY, running_double
from dialpad_ivr.local.engine import EngineStartError, free_port, is_free, running_engine
from dialpad_ivr.settings import Settings

_READY_SECONDS = 30

ENGINE_PORT = 8080
DOUBLE_PORT = 8090
CONSOLE_PORT = 8070


@dataclass(frozen=True)
class Stack:
    """What runs.

    Attributes:
        engine_url: The engine, and its UI if one is served.
        double_url: The Dialpad double.
        health_url: The worker's health port.
        console_url: The console; `None` without one.
        environ: What a command or another worker must have in its environment to use this stack.
    """

    engine_url: str
    double_url: str
    health_url: str
    console_url: str | None
    environ: dict[str, str]

    @property
    def engine(self) -> EngineApi:
        """A client of the engine."""
        return EngineApi(Settings(server_url=f"{self.engine_url}/api"))


@contextlib.contextmanager
def running_stack(
    say: Callable[[str], None],
    *,
    engine_port: int = 0,
    double_port: int = 0,
    console_port: int | None = None,
    ui: Path | None = None,
    data: Path | None = None,
    worker_log: Path | None = None,
) -> Iterator[Stack]:
    """Run all of it while the context lasts; everything listens on 127.0.0.1 and is stopped in order.

    Args:
        say: Told what is being done.
        engine_port: Where the engine listens; 0 takes a free port.
        double_port: Where the double listens; 0 takes a free port.
        console_port: Where the console listens; 0 takes a free port, and `None` leaves it out.
        ui: A built Conductor UI to serve: a folder, or a .tar.gz of one.
        data: Where the engine keeps its database; a temporary folder, removed at the end, if left out.
        worker_log: Where the worker logs; to standard error if left out.

    Raises:
        EngineStartError: The engine or the worker did not start.
        DoubleError: The double did not.
        DownloadError: The engine could not be downloaded.
    """
    with contextlib.ExitStack() as stack:
        say("Starting the Conductor server (about 15 seconds; the first time it is downloaded, 458 MB) ...")
        engine = stack.enter_context(running_engine(engine_port, data, ui))
        say("Starting the Dialpad double ...")
        double_url = stack.enter_context(running_double(double_port))
        environ = {
            "CONDUCTOR_SERVER_URL": engine.api_url,
            "DIALPAD_IVR_API_URL": double_url,
            "DIALPAD_IVR_ALLOW_LOOPBACK": "true",
            KEY_NAME: DEFAULT_KEY,
        }
        health_port, console_port = free_port(), free_port() if console_port == 0 else console_port
        console_url = None if console_port is None else f"http://127.0.0.1:{console_port}"
        running = Stack(engine.url, double_url, f"http://127.0.0.1:{health_port}", console_url, environ)
        say("Registering the task definition and the workflows ...")
        for definition in shipped():
            comparison = compare(running.engine, definition)
            if comparison.state != "same" and not comparison.needs_consent:
                register(running.engine, definition)
        say("Starting the worker ...")
        worker = Child(
            [sys.executable, "-m", "dialpad_ivr", "worker"],
            {**environ, "DIALPAD_IVR_HEALTH_PORT": str(health_port)},
            worker_log,
            grace_seconds=30,
        )
        stack.callback(worker.stop)
        _wait_until_ready("worker", f"{running.health_url}/readyz", worker, worker_log)
        if console_url:
            say("Starting the console ...")
            log = stack.enter_context(temporary_log())  # it would only tell its address, as we do
            command = [sys.executable, "-m", "dialpad_ivr", "console", "--port", str(console_port)]
            console = Child(command, environ, log)
            stack.callback(console.stop)
            _wait_until_ready("console", console_url, console, log)
        yield running


def preferred_port(port: int) -> int:
    """That port if it is free, else 0, which stands for any free one."""
    return port if is_free(port) else 0


@contextlib.contextmanager
def temporary_log() -> Iterator[Path]:
    """A log file that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="dialpad-ivr-") as folder:
        yield Path(folder) / "log"


def _wait_until_ready(what: str, url: str, child: Child, log: Path | None) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and child.exit_code is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, trust_env=False, follow_redirects=True).status_code == 200:
                return
        time.sleep(0.1)
    told = log.read_text("utf-8", "replace")[-1000:] if log else ""
    raise EngineStartError(f"The {what} did not become ready. {told}")
