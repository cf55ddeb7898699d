"""A child process on a leash: it ends when we end, however we end.

`python -m dialpad_ivr.local.leash GRACE COMMAND ...` runs a command until it ends by itself, until SIGTERM, or until
standard input closes, which happens when whoever holds its other end is gone, killed with -9 included. A JVM has no way
of its own to notice that.
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

# What says where real engines and keys are: a local child must reach for neither.
_NOT_FOR_CHILDREN = ("CONDUCTOR_", "conductor", "DIALPAD_")


class Child:
    """A running child.

    Args:
        command: What to run.
        environ: Added to our own environment, without what says where real engines and keys are.
        log: Where its output goes; to our own standard error if left out.
        grace_seconds: Between SIGTERM and SIGKILL.
        capture: Whether its standard output can be read from `stdout` instead.
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
        ours = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_CHILDREN)}
        sink: IO[bytes] | None = log.open("ab") if log else None
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "dialpad_ivr.local.child", str(grace_seconds), *command],
            env={**ours, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if capture else sink or sys.stderr.fileno(),
            stderr=sink,
            start_new_session=True,  # Ctrl-C at the terminal is for us: we stop our children in order
        )
        if sink:
            sink.close()
        self.stdout = self._process.stdout

    @property
    def exit_code(self) -> int | None:
        """Its exit code; `None` while it runs."""
        return self._process.poll()

    def stop(self) -> int:
        """End it: SIGTERM, and after the grace time SIGKILL. Returns its exit code."""
        self._process.terminate()
        code = self._process.wait(self._grace + 10)
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()
        return code


def main() -> None:
    """Run the command line's command on a leash."""
    grace, command = float(sys.argv[1]), sys.argv[2:]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603

    def stop() -> None:
        child.terminate()
        killer = threading.Timer(grace, child.kill)
        killer.daemon = True
        killer.start()

    def stop_when_the_other_end_is_gone() -> None:
        sys.stdin.buffer.read()
        stop()

    signal.signal(signal.SIGTERM, lambda *_: stop())
    threading.Thread(target=stop_when_the_other_end_is_gone, daemon=True).start()
    code = child.wait()
    os._exit(code if code >= 0 else 128 - code)  # the thread still reads: an ordinary exit would wait for its lock


if __name__ == "__main__":
    main()
