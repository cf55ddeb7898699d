"""Serves the double on loopback: in this process, or in one of its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.routing import Mount
from uvicorn.protocols.http.h11_impl import H11Protocol

from dialpad_ivr import http_server
from dialpad_ivr.local.child import Child
from dialpad_ivr.local.double.control import control_app
from dialpad_ivr.local.double.core import DEFAULT_COMPANY, DEFAULT_KEY, FakeDialpad
from dialpad_ivr.settings import is_loopback

KEYS_VARIABLE: Final = "DIALPAD_DOUBLE_KEYS"
"""The environment variable with the bearer keys: a JSON object, `{key: company}`."""

_DESCRIPTION: Final = """\
A local stand-in for Dialpad's API: it lists targets, lists and changes custom IVRs, enforces the rate limits, and
can inject faults. It needs no Dialpad account and changes nothing outside its own memory.
"""

_EPILOG: Final = f"""\
Once it listens, it prints the ready line, one line of JSON:
  {{"url": "http://127.0.0.1:45231", "host": "127.0.0.1", "port": 45231, "pid": 4711}}

API calls need a bearer key: {DEFAULT_KEY}, or the keys in {KEYS_VARIABLE}, a JSON object {{key: company}}.

Control API (no key needed):
  GET  /_double/state    targets and selections; PUT replaces them
  GET  /_double/ledger   the requests received
  POST /_double/faults   inject faults; DELETE removes them
  GET  /_double/config   settings; PUT changes them
  POST /_double/reset    initial state, no faults, empty ledger

Example:
  curl -X PATCH http://127.0.0.1:PORT/api/v2/customivrs/callcenter/5502522061422592/HOLD_MUSIC \\
    -H 'Authorization: Bearer {DEFAULT_KEY}' -H 'Content-Type: application/json' \\
    -d '{{"ivr_id": 5127493019721728}}'
"""


class DoubleError(Exception):
    """The double's process did not start."""


def create_app(double: FakeDialpad) -> Starlette:
    """The ASGI app: the control API below `/_double/`, and Dialpad's API."""
    return Starlette(routes=[Mount("/_double", control_app(double)), Mount("/", double)])


class ResettableProtocol(H11Protocol):
    """Puts the connection's transport into the scope's state, so that a fault can reset the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Set up the connection."""
        super().connection_made(transport)
        # asyncio does this only for sockets made with proto=IPPROTO_TCP. Without it a response, which is written in
        # two parts, takes 40 ms longer.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, "transport": transport}


@contextlib.asynccontextmanager
async def serving(double: FakeDialpad, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve a double while the context lasts; yields its URL, `http://127.0.0.1:PORT`, with a free port for 0.

    Raises:
        ValueError: The host is no literal loopback address.
        dialpad_ivr.http_server.PortError: The port is taken.
    """
    if not is_loopback(host):
        raise ValueError(f"the double listens on a loopback address only, not on {host}")
    async with http_server.serving(create_app(double), host, port, http=ResettableProtocol) as chosen:
        yield f"http://[{host}]:{chosen}" if ":" in host else f"http://{host}:{chosen}"


@contextlib.contextmanager
def running_double(port: int = 0, keys: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a double as a child process while the context lasts; yields its URL.

    Args:
        port: The port to listen on; 0 for a free one.
        keys: Bearer keys and their companies; `DEFAULT_KEY` alone if absent.

    Raises:
        DoubleError: It did not start; its standard error says why.
    """
    child = Child(
        [sys.executable, "-m", "dialpad_ivr.local.double", "--port", str(port)],
        {KEYS_VARIABLE: json.dumps(dict(keys or {DEFAULT_KEY: DEFAULT_COMPANY}))},
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
    """Run the double until SIGTERM or SIGINT; the exit code is then 0. See `--help`."""
    parser = argparse.ArgumentParser(
        "python -m dialpad_ivr.local.double",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: 0, a free one)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--ready-file", type=Path, help="write the ready line to this file instead")
    where.add_argument("--print-port", action="store_true", help="print the ready line (default)")
    args = parser.parse_args()
    if not is_loopback(args.host):
        parser.error(f"--host must be a loopback address, not {args.host}")
    try:
        asyncio.run(_run(FakeDialpad(keys=_keys(os.environ)), args.host, args.port, args.ready_file))
    except (ValueError, OSError, OverflowError) as exc:
        sys.exit(f"error: {exc}")
    except http_server.PortError as exc:
        sys.exit(f"error: cannot listen on {args.host}:{args.port}: {exc.__cause__}")


async def _run(double: FakeDialpad, host: str, port: int, ready_file: Path | None) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    async with serving(double, host, port) as url:
        chosen = int(url.rpartition(":")[2])
        line = json.dumps({"url": url, "host": host, "port": chosen, "pid": os.getpid()}) + "\n"
        if ready_file:
            # Renamed into place, so that nobody reads a partial line.
            part = ready_file.with_name(f"{ready_file.name}.part")
            part.write_text(line)
            part.replace(ready_file)
        else:
            sys.stdout.write(line)
            sys.stdout.flush()
        gc.freeze()  # the calls that wait for a collection of all modules would count as late
        await stop.wait()


def _keys(environ: Mapping[str, str]) -> dict[str, str] | None:
    """The keys from the environment; None if the variable is unset.

    Raises:
        ValueError: The variable is no JSON object of strings. The message does not repeat it: it holds keys.
    """
    text = environ.get(KEYS_VARIABLE)
    if not text:
        return None
    try:
        return TypeAdapter(dict[str, str]).validate_json(text)
    except ValidationError:
        raise ValueError(f"{KEYS_VARIABLE} must be a JSON object: {{key: company}}") from None
