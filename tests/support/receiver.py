"""What an override's notifications go to: a relay, which holds the address of a chat, and sends them on to it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from support.engine import until


@dataclass
class Receiver:
    """A running relay. What it does depends on the connection's name: "down..." closes the connection, "fails..."
    answers 500, "hangs..." does not answer while the test lasts; any other name takes it.

    Attributes:
        url: The address of all its connections.
        chats: The addresses that it sends on to, by connection; they are secret.
        received: What came, by connection.
        over: Ends what hangs.
    """

    url: str
    chats: dict[str, str] = field(default_factory=dict)
    received: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def wait_for(self, connection: str, count: int) -> list[dict[str, Any]]:
        """The documents of a connection, once there are that many."""
        until(
            lambda: len(self.received.get(connection, [])) >= count,
            60,
            lambda: f"{count} notifications, not {self.received.get(connection)}",
        )
        return self.received[connection]


@contextlib.contextmanager
def running_receiver() -> Iterator[Receiver]:
    """Run a relay while the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            connection = self.path.rpartition("/")[2]
            content = self._content()
            receiver.received.setdefault(connection, []).append(json.loads(content))
            if connection.startswith("down"):
                return
            if connection.startswith("hangs"):
                receiver.over.wait(60)
                return
            if connection in receiver.chats:
                httpx.post(receiver.chats[connection], content=content, trust_env=False)
            self.send_response(500 if connection.startswith("fails") else 200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def _content(self) -> bytes:
            if "Content-Length" in self.headers:
                return self.rfile.read(int(self.headers["Content-Length"]))
            content = b""  # the engine sends it in chunks
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/notify")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
