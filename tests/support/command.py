"""The command as people run it: a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest, until
from support.worker import CREDENTIALS, KEYS, clean_environ


def lines_until(process: subprocess.Popen[str], text: str, timeout: float = 30) -> list[str]:
    """Read what a process prints on its standard error, up to the first line with this text."""
    lines: list[str] = []

    def found() -> bool:
        assert process.stderr is not None
        lines.append(process.stderr.readline())
        return text in lines[-1]

    until(found, timeout, f"a line with {text!r}")
    return lines


class Command:
    """Runs `dialpad-ivr` against an engine and a double. The processes it started end with its context."""

    def __init__(self, engine: EngineRest, double: DoubleControl) -> None:
        self.environ = clean_environ(
            CONDUCTOR_SERVER_URL=engine.url,
            DIALPAD_IVR_API_URL=double.url,
            DIALPAD_IVR_ALLOW_LOOPBACK="true",
            COLUMNS="200",
            **CREDENTIALS,
        )
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Command:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            with process:  # closes its pipes, and waits
                process.kill()

    def popen(self, *arguments: str | Path, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dialpad_ivr", *map(str, arguments)],
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def __call__(self, *arguments: str | Path, code: int = 0, **environ: str) -> str:
        """Run it; returns both outputs. No key may be in them."""
        return "".join(self.run(arguments, code, environ))

    def json(self, *arguments: str | Path, code: int = 0, timeout: float = 100, **environ: str) -> Any:
        """Run it with `--json`; returns what it prints on its standard output."""
        return json.loads(self.run((*arguments, "--json"), code, environ, timeout)[0])

    def run(
        self, arguments: tuple[str | Path, ...], code: int, environ: dict[str, str], timeout: float = 100
    ) -> tuple[str, str]:
        """Run it; returns its outputs."""
        process = self.popen(*arguments, **environ)
        out, err = process.communicate(timeout=timeout)
        assert process.returncode == code, (out, err)
        assert "Traceback" not in err
        assert not any(key in out + err for key in (*KEYS, "no-such-key"))
        return out, err
