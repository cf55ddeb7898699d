"""No process outlives the test that started it, even if that test fails: what is left is killed, and fails the test.

A process is known by what it inherits: pytest names the current test in the environment. Linux only.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from support.engine import until

_SESSION = ("PYTEST_PROCESS", str(os.getpid()))
# The processes that were there when a test ended: none of the next test's.
_earlier: set[str] = set()
# A child that ends with its parent needs a moment to notice; an engine that shuts down needs more.
_GRACE_SECONDS = 25


def pytest_configure() -> None:
    os.environ.update([_SESSION])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """After the test's own fixtures; after the last test, also what the shared fixtures started."""
    try:
        yield
    finally:
        marks = {"=".join(_SESSION)}
        if nextitem is not None:
            marks.add(f"PYTEST_CURRENT_TEST={item.nodeid} (call)")
        else:
            _earlier.clear()
        try:
            until(lambda: not _processes(marks), _GRACE_SECONDS, "the test's processes to end")
        except AssertionError:
            left = _processes(marks)
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            pytest.fail("Left running, and killed now:\n" + "\n".join(left.values()), pytrace=False)
        _earlier.clear()
        _earlier.update(_pids())


def _pids() -> set[str]:
    # After each test: a Path for each entry would take five times as long.
    return {name for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208


def _processes(marks: set[str]) -> dict[int, str]:
    """The other processes with all these in their environment: their commands, by id."""
    found = {}
    for pid in _pids() - _earlier - {str(os.getpid())}:
        with contextlib.suppress(OSError):  # another user's, or one that has just ended
            environ = Path("/proc", pid, "environ").read_bytes().decode(errors="replace").split("\0")
            if marks <= set(environ):
                command = Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(pid)] = command.decode(errors="replace")
    return found
