"""The Dialpad double as a process of its own: `python -m dialpad_ivr.local.twin_process`.

It listens on loopback, prints one JSON line with its URL once it does, and ends on SIGTERM or SIGINT. Its keys come
from the environment, never from the command line, which other users can read.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator

import uvicorn

from dialpad_ivr.local.leash import Child
from dialpad_ivr.local.twin import DEFAULT_KEY, Double

KEYS_VARIABLE = "DIALPAD_DOUBLE_KEYS"
"""A JSON object of companies by key."""


class DoubleError(Exception):
    """The double did not start."""


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        port = sockets[0].getsockname()[1] if sockets else 0
        sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{port}"}) + "\n")
        sys.stdout.flush()


@contextlib.contextmanager
def running_double(port: int = 0, keys: dict[str, str] | None = None) -> Iterator[str]:
    """Run a double as a child process while the context lasts; yields its URL.

    Args:
        port: Where it listens; 0 takes a free port.
        keys: Companies by key.

    Raises:
        DoubleError: It did not start, e.g. since the port is taken.
    """
    child = Child(
        [sys.executable, "-m", "dialpad_ivr.local.twin_process", str(port)],
        {KEYS_VARIABLE: json.dumps(keys or {DEFAULT_KEY: "demo"})},
        grace_seconds=5,
        capture=True,
    )
    try:
        line = child.stdout.readline() if child.stdout else b""
        if not line:
            raise DoubleError(f"The Dialpad double did not start on port {port}: is the port taken?")
        yield json.loads(line)["url"]
    finally:
        child.stop()


def main() -> None:
    """Serve until told to stop."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    try:
        sock = socket.create_server(("127.0.0.1", port))
    except OSError as exc:
        sys.exit(f"cannot listen on 127.0.0.1:{port}: {exc.strerror}")
    keys = json.loads(os.environ.get(KEYS_VARIABLE) or json.dumps({DEFAULT_KEY: "demo"}))
    config = uvicorn.Config(
        Double(keys), http="h11", log_level="critical", access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    _Server(config).run([sock])


if __name__ == "__main__":
    main()
