"""A child process that ends with its parent, even if the parent is killed with SIGKILL.

`python -m dialpad_ivr.local.child GRACE COMMAND ...` runs a command until it exits, until SIGTERM, or until standard
input closes, which happens when the parent is gone. A JVM cannot notice that by itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_LOG_LINES = 15
# Settings of real engines and real keys: a local child must use neither.
_NOT_INHERITED = ("CONDUCTOR_", "conductor", "DIALPAD_")


class Child:
    """A running child.

    Args:
        command: The command to run.
        environ: Environment variables, added to this process's own without its `CONDUCTOR_` and `DIALPAD_` settings.
        log: File for its output; this process's standard error if absent.
        grace_seconds: Seconds between SIGTERM and SIGKILL.
        capture: Whether its standard output goes to `stdout` instead.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        log: Path | None = None,
        grace_seconds: float = 20,
        *,
        capture: bool = False,
    ) -> None:
        self._grace = grace_seconds
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        sink: IO[bytes] | None = log.open("ab") if log else None
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "dialpad_ivr.local.child", str(grace_seconds), *command],
            env={**inherited, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if capture else sink or sys.stderr.fileno(),
            stderr=sink,
            start_new_session=True,  # Ctrl-C is for the parent, which stops its children in order
        )
        if sink:
            sink.close()
        self.stdout = self._process.stdout

    @property
    def exit_code(self) -> int | None:
        """Its exit code; `None` while it runs."""
        return self._process.poll()

    def stop(self) -> int:
        """Stop it: SIGTERM, then SIGKILL after the grace period. Returns its exit code."""
        self._process.terminate()
        code = self._process.wait(self._grace + 10)
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()
        return code


def last_lines(log: Path) -> list[str]:
    """The end of a child's log."""
    return log.read_text("utf-8", "replace").splitlines()[-_LOG_LINES:]


def main() -> None:
    """Run the command named by the arguments."""
    grace, command = float(sys.argv[1]), sys.argv[2:]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603

    def stop() -> None:
        child.terminate()
        killer = threading.Timer(grace, child.kill)
        killer.daemon = True
        killer.start()

    def stop_when_the_parent_is_gone() -> None:
        sys.stdin.buffer.read()
        stop()

    signal.signal(signal.SIGTERM, lambda *_: stop())
    threading.Thread(target=stop_when_the_parent_is_gone, daemon=True).start()
    code = child.wait()
    os._exit(code if code >= 0 else 128 - code)  # the thread still reads: an ordinary exit would wait for its lock


if __name__ == "__main__":
    main()
