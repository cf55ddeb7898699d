"""Everything on one machine: the engine with the shipped definitions, the Dialpad double, a worker, the console."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import httpx

from dialpad_ivr.credentials import KEY_NAME
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.engine.definitions import compare, register, shipped
from dialpad_ivr.local.child import Child, last_lines
from dialpad_ivr.local.double import DEFAULT_KEY, running_double
from dialpad_ivr.local.engine import EngineStartError, free_port, is_free, running_engine
from dialpad_ivr.local.ui_links import write_run_page
from dialpad_ivr.settings import Settings

_READY_SECONDS = 30

ENGINE_PORT = 8080
DOUBLE_PORT = 8090
CONSOLE_PORT = 8070


class PartEndedError(Exception):
    """A part of the stack ended by itself; the message has the end of its log."""


@dataclass(frozen=True)
class Stack:
    """A running stack.

    Attributes:
        engine_url: Base URL of the engine, and of its UI if one is served.
        double_url: Base URL of the Dialpad double.
        health_url: Base URL of the worker's health port.
        console_url: Base URL of the console; `None` without one.
        environ: Environment variables with which a command or another worker uses this stack.
        parts: The processes that it cannot do without, and their logs, by name.
    """

    engine_url: str
    double_url: str
    health_url: str
    console_url: str | None
    environ: dict[str, str]
    parts: dict[str, tuple[Child, Path]]

    @property
    def engine(self) -> EngineApi:
        """A client of the engine."""
        return EngineApi(Settings(server_url=f"{self.engine_url}/api"))

    def wait(self) -> NoReturn:
        """Wait for one of its parts to end, which none should before the stack is stopped.

        Raises:
            PartEndedError: One has.
        """
        while True:
            for name, (child, log) in self.parts.items():
                if child.exit_code is not None:
                    what = f"The {name} ended with exit code {child.exit_code}, so everything is stopped."
                    raise PartEndedError(f"{_end_of(log)}\n{what}")
            time.sleep(0.5)


@dataclass(frozen=True)
class LocalWorker:
    """A running worker.

    Attributes:
        health_url: Base URL of its health port.
        child: Its process.
        log: Its log file.
    """

    health_url: str
    child: Child
    log: Path


@contextlib.contextmanager
def running_stack(
    report: Callable[[str], None],
    *,
    engine_port: int = 0,
    double_port: int = 0,
    console_port: int | None = None,
    ui: Path | None = None,
    data: Path | None = None,
) -> Iterator[Stack]:
    """Run the stack while the context lasts. Everything listens on 127.0.0.1 and is stopped in reverse order.

    Args:
        report: Called with a line of progress before each step.
        engine_port: The engine's port; 0 for a free one.
        double_port: The double's port; 0 for a free one.
        console_port: The console's port; 0 for a free one, `None` for no console.
        ui: A built Conductor UI to serve: a folder, a .tar.gz of one, or a server's jar with it.
        data: The folder for the engine's database; a temporary one, removed at the end, if absent.

    Raises:
        EngineStartError: The engine, the worker or the console did not start.
        DoubleError: The double did not start.
        UiError: `ui` is not a built UI.
        DownloadError: The engine could not be downloaded.
    """
    with contextlib.ExitStack() as stack:
        report("Starting the Conductor server (6 to 13 s; the first run downloads 458 MB) ...")
        pages = None
        if ui:
            pages = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dialpad-ivr-pages-")))
            write_run_page(pages)
        engine = stack.enter_context(running_engine(engine_port, data, ui, pages))
        report("Starting the Dialpad double, a local stand-in for Dialpad's API ...")
        double_url = stack.enter_context(running_double(double_port))
        environ = double_environ(engine.api_url, double_url)
        health_port, console_port = free_port(), free_port() if console_port == 0 else console_port
        console_url = None if console_port is None else f"http://127.0.0.1:{console_port}"
        running = Stack(
            engine.url,
            double_url,
            f"http://127.0.0.1:{health_port}",
            console_url,
            environ,
            {"Conductor server": (engine.child, engine.log)},
        )
        report("Registering the task and workflow definitions ...")
        for definition in shipped():
            comparison = compare(running.engine, definition)
            if comparison.state != "same" and not comparison.needs_consent:
                register(running.engine, definition)
        report("Starting the worker ...")
        worker = stack.enter_context(running_worker(environ, health_port))
        running.parts["worker"] = worker.child, worker.log
        if console_url:
            report("Starting the console ...")
            log = stack.enter_context(_temporary_log())  # it would only print its address, which the caller prints
            command = [sys.executable, "-m", "dialpad_ivr", "console", "--port", str(console_port)]
            console = Child([*command, "--worker", running.health_url], environ, log)
            stack.callback(console.stop)
            _wait_until_ready("console", console_url, console, log)
            running.parts["console"] = console, log
        yield running


@contextlib.contextmanager
def running_worker(environ: Mapping[str, str], health_port: int = 0) -> Iterator[LocalWorker]:
    """Run a worker while the context lasts.

    Args:
        environ: Its settings.
        health_port: The port for its health and metrics; 0 for a free one.

    Raises:
        EngineStartError: It did not start.
    """
    url = f"http://127.0.0.1:{health_port or free_port()}"
    with _temporary_log() as log:
        settings = {"DIALPAD_IVR_HEALTH_PORT": url.rpartition(":")[2], "DIALPAD_IVR_LOG_FORMAT": "human"}
        child = Child([sys.executable, "-m", "dialpad_ivr", "worker"], {**environ, **settings}, log, grace_seconds=30)
        try:
            _wait_until_ready("worker", f"{url}/readyz", child, log)
            yield LocalWorker(url, child, log)
        finally:
            child.stop()


def double_environ(api_url: str, double_url: str) -> dict[str, str]:
    """The settings with which a worker or a command uses this engine and this double."""
    return {
        "CONDUCTOR_SERVER_URL": api_url,
        "DIALPAD_IVR_API_URL": double_url,
        "DIALPAD_IVR_ALLOW_LOOPBACK": "true",
        KEY_NAME: DEFAULT_KEY,
    }


def preferred_port(port: int) -> int:
    """That port if it is free, else 0 for any free one."""
    return port if is_free(port) else 0


@contextlib.contextmanager
def _temporary_log() -> Iterator[Path]:
    """A temporary log file."""
    with tempfile.TemporaryDirectory(prefix="dialpad-ivr-") as folder:
        yield Path(folder) / "log"


def _end_of(log: Path) -> str:
    lines = last_lines(log)
    return "\n".join(["The end of its log:", *lines]) if lines else "Its log is empty."


def _wait_until_ready(what: str, url: str, child: Child, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and child.exit_code is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, trust_env=False, follow_redirects=True).status_code == 200:
                return
        time.sleep(0.1)
    problem = f"was not ready within {_READY_SECONDS} s" if child.exit_code is None else "exited"
    raise EngineStartError(f"The {what} {problem}. {_end_of(log)}")
