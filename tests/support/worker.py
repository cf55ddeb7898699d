"""A worker as it runs in production: a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from dialpad_ivr.local.engine import free_port
from support.engine import until

# What the engine's own secret holds: a text of which no part is anywhere by chance.
VAULT_KEY = "vlt/4hTq9+ZrX2=mWc7~Ky5.Nb8"
SPARE_KEY = "spr/8kWq2+VxR6=nUd3~Jt7.Lc4"  # another secret of the engine, which a test shows to leak

# The double's keys, and the companies that they belong to.
KEYS = {"key-of-main": "main", "key-of-limited": "limited", "key-of-odd": "odd", VAULT_KEY: "vault"}

# What a worker of these tests knows: profiles of companies of their own, and one that Dialpad does not accept.
CREDENTIALS: dict[str, Any] = {
    "DIALPAD_API_KEY": "key-of-main",
    "DIALPAD_API_KEY_LIMITED": "key-of-limited",
    "DIALPAD_API_KEY_ODD": "key-of-odd",
    "DIALPAD_API_KEY_WRONG": "no-such-key",
}

# What a developer has in the environment must not decide a test.
_OURS = ("DIALPAD_", "CONDUCTOR_")


def clean_environ(**added: str) -> dict[str, str]:
    return {**{k: v for k, v in os.environ.items() if not k.startswith(_OURS)}, **added}


class WorkerProcess:
    """A running worker."""

    def __init__(self, process: subprocess.Popen[bytes], health_url: str, log: Path) -> None:
        self.process = process
        self.health_url = health_url
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.health_url}{path}", trust_env=False, timeout=10)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 40) -> int:
        """Send a signal and wait; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout)


@contextlib.contextmanager
def running_worker(
    engine_url: str,
    double_url: str,
    log: Path,
    command: tuple[str, ...] = (sys.executable, "-m", "dialpad_ivr", "worker"),
    *,
    ready: bool = True,
    folder: Path | None = None,
    **settings: str,
) -> Iterator[WorkerProcess]:
    """Run a worker while the context lasts, in a folder; `settings` are environment variables."""
    ours = {
        "CONDUCTOR_SERVER_URL": engine_url,
        "DIALPAD_IVR_API_URL": double_url,
        "DIALPAD_IVR_ALLOW_LOOPBACK": "true",
        "DIALPAD_IVR_HEALTH_PORT": str(free_port()),
    }
    environ = clean_environ(**{**ours, **settings})
    port = environ["DIALPAD_IVR_HEALTH_PORT"]
    with log.open("wb") as sink:
        process = subprocess.Popen(command, env=environ, cwd=folder, stdout=sink, stderr=sink, start_new_session=True)
    worker = WorkerProcess(process, f"http://127.0.0.1:{port}", log)

    def is_ready() -> bool:
        assert process.poll() is None, worker.log
        with contextlib.suppress(httpx.HTTPError):
            return worker.get("/readyz").status_code == 200
        return False

    try:
        if ready:
            until(is_ready, 30, "the worker")
        yield worker
    finally:
        # Told to stop, not killed: an update in flight brings the next task along, and the engine would give a task of
        # the next test to a worker that is no more.
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def running_console(
    engine_url: str,
    double_url: str,
    log: Path,
    command: tuple[str, ...] = (sys.executable, "-m", "dialpad_ivr", "console", "--port"),
) -> Iterator[str]:
    """A console as people run it; yields its URL. Its command ends with where the port is named."""
    port = free_port()
    environ = clean_environ(
        CONDUCTOR_SERVER_URL=engine_url,
        DIALPAD_IVR_API_URL=double_url,
        DIALPAD_IVR_ALLOW_LOOPBACK="true",
        **CREDENTIALS,
    )
    with log.open("wb") as sink:
        process = subprocess.Popen([*command, str(port)], env=environ, stdout=sink, stderr=sink)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{url}/tasks/set_custom_ivr", trust_env=False).status_code == 200
        return False

    try:
        until(answers, 30, "the console")
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(20) == 0, log.read_text()
        finally:
            process.kill()
        text = log.read_text()
        assert url in text
        assert "Traceback" not in text
        assert not any(key in text for key in KEYS)
