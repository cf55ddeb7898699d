"""How long a command and a worker take to start, and the memory of an idle worker: beside bare ones, in turns."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.conftest import Record, abba
from support.engine import until
from support.peers import memory_mb
from support.worker import CREDENTIALS, clean_environ

PEERS = Path(__file__).parent / "peers"
OURS = [sys.executable, "-m", "dialpad_ivr"]
_COMPLETE = {"_DIALPAD_IVR_COMPLETE": "complete_bash", "COMP_WORDS": "dialpad-ivr test-request --mode "}

COMMANDS = {
    "bare --help": ([sys.executable, str(PEERS / "bare_command.py"), "--help"], {}),
    "ours --help": ([*OURS, "--help"], {}),
    "ours --version": ([*OURS, "--version"], {}),
    "ours completion": (OURS, {**_COMPLETE, "COMP_CWORD": "3"}),
}
WORKERS = {"bare": [sys.executable, str(PEERS / "bare.py")], "ours": [*OURS, "worker"]}
_IDLE_POLLS = 40  # after which a worker has imported and connected all that it needs to be idle


def test_help_version_and_completion_take_as_long_as_the_help_of_a_bare_command(record: Record) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(6):
        for name in [*COMMANDS, *reversed(COMMANDS)]:
            command, environ = COMMANDS[name]
            began = time.monotonic()
            shown = subprocess.run(command, env=clean_environ(**environ), capture_output=True, check=True).stdout
            seconds[name].append(time.monotonic() - began)
            assert shown
    least = {name: min(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        ratio = least[name] / least["bare --help"]
        figures = {"least s": least[name], "median s": statistics.median(values), "ratio of the least": ratio}
        record("start of a command", name, figures, raw=values)
    assert max(least.values()) <= 1.5 * least["bare --help"]


class IdleEngine:
    """Answers polls with no task, and notes when the first came."""

    def __init__(self) -> None:
        self.polls = 0
        self.first_poll = 0.0

    def handler(self) -> type[BaseHTTPRequestHandler]:
        engine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):  # the worker was killed
                    super().handle()

            def do_GET(self) -> None:
                engine.first_poll = engine.first_poll or time.monotonic()
                engine.polls += 1
                time.sleep(0.05)  # as an engine holds an empty poll
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"[]")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        return Handler


@contextlib.contextmanager
def idle_engine() -> Iterator[tuple[IdleEngine, str]]:
    """Serve one while the context lasts; yields its URL, too."""
    engine = IdleEngine()
    with ThreadingHTTPServer(("127.0.0.1", 0), engine.handler()) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield engine, f"http://127.0.0.1:{server.server_port}/api"
        finally:
            server.shutdown()
            serving.join()


def start_worker(name: str, log: Path) -> tuple[float, float]:
    """Start a worker and end it again; returns the seconds from exec to its first poll, and its MB once it is idle."""
    with idle_engine() as (engine, url), log.open("wb") as sink:
        environ = clean_environ(
            CONDUCTOR_SERVER_URL=url,
            DIALPAD_URL=url,
            TASK_TYPE="t",
            DOMAIN="d",
            DIALPAD_IVR_HEALTH_PORT="0",
            DIALPAD_API_KEY=CREDENTIALS["DIALPAD_API_KEY"],
        )
        began = time.monotonic()
        process = subprocess.Popen(WORKERS[name], env=environ, stdout=sink, stderr=sink)
        try:
            until(lambda: engine.polls >= _IDLE_POLLS, 60, lambda: f"polls; its log: {log.read_text()}")
            return engine.first_poll - began, memory_mb(process.pid)
        finally:
            process.kill()
            process.wait()


@pytest.mark.timeout(600)
def test_a_worker_starts_nearly_as_soon_as_a_bare_one_and_needs_little_more_memory(
    record: Record, tmp_path: Path
) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in WORKERS}
    memory: dict[str, list[float]] = {name: [] for name in WORKERS}
    for _ in range(5):
        for name in abba("ours", "bare"):
            took, resident = start_worker(name, tmp_path / f"{name}.log")
            seconds[name].append(took)
            memory[name].append(resident)
    for name in WORKERS:
        figures = {"least s to first poll": min(seconds[name]), "MB idle": statistics.median(memory[name])}
        record("start of a worker", name, figures, raw={"seconds": seconds[name], "MB": memory[name]})
    start = min(seconds["ours"]) / min(seconds["bare"])
    size = statistics.median(memory["ours"]) / statistics.median(memory["bare"])
    record("start of a worker", "ours / bare", {"to first poll": start, "MB idle": size})
    assert start <= 1.6
    assert size <= 1.25
