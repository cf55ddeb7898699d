"""A server of one jar, in the official address's place: it serves ranges, or misbehaves as it is told."""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dialpad_ivr.local.engine import VERSION

STATIC = "BOOT-INF/classes/static/"


def jar_of(files: Mapping[str, bytes], version: str = VERSION, padding: int = 0) -> bytes:
    """A server's jar with these files as its UI, and a library of that many bytes after them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as jar:
        for name, content in files.items():
            jar.writestr(f"{STATIC}{name}", content)
        jar.writestr(zipfile.ZipInfo(f"BOOT-INF/lib/conductor-core-{version}.jar"), bytes(padding))
    return buffer.getvalue()


def files_of(archive: Path) -> dict[str, bytes]:
    """The files of a .tar.gz with a built UI."""
    with tarfile.open(archive) as tar:
        members = {member.name.removeprefix("./"): tar.extractfile(member) for member in tar if member.isfile()}
        return {name: file.read() for name, file in members.items() if file}


class JarServer(ThreadingHTTPServer):
    """Serves a jar at /jar, and at any other path.

    Attributes:
        content: The jar.
        ranges: The ranges that were requested.
        sent: How many bytes of bodies were sent.
        knows_ranges: Whether it serves them.
        cut_after: After how many bytes of a body it closes the connection.
        redirect: Where /jar redirects to.
        answers: Set unless it shall keep everybody waiting.
        changes: Whether each response is of another jar, with an ETag of its own.
    """

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        # Left to itself the kernel takes up to 4 MB, which nobody may ever read, and `sent` would count them.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        self.content = content
        self.ranges: list[str | None] = []
        self.sent = 0
        self.knows_ranges = True
        self.cut_after: int | None = None
        self.redirect: str | None = None
        self.answers = threading.Event()
        self.answers.set()
        self.changes = False

    @property
    def url(self) -> str:
        scheme = "https" if isinstance(self.socket, ssl.SSLSocket) else "http"
        return f"{scheme}://127.0.0.1:{self.server_port}/jar"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has had enough, or that does not trust it."""


class _Handler(BaseHTTPRequestHandler):
    server: JarServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        requested, server = self.headers.get("range"), self.server
        server.ranges.append(requested)
        server.answers.wait(30)
        if server.redirect and self.path == "/jar":
            self.send_response(302)
            self.send_header("location", server.redirect)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        tag = f'"{len(server.ranges) if server.changes else 0}"'
        size = len(server.content)
        start, end = 0, size - 1
        partial = bool(requested) and server.knows_ranges and self.headers.get("if-range") in (None, tag)
        if requested and partial:
            first, last = requested.removeprefix("bytes=").split("-")
            start, end = (int(first), min(int(last), size - 1)) if first else (max(0, size - int(last)), size - 1)
        body = server.content[start : end + 1]
        self.send_response(206 if partial else 200)
        self.send_header("content-length", str(len(body)))
        self.send_header("etag", tag)
        if partial:
            self.send_header("content-range", f"bytes {start}-{end}/{size}")
        self.end_headers()
        if server.cut_after is not None:
            body = body[: server.cut_after]
            self.close_connection = True
        with contextlib.suppress(OSError):  # the client has had enough
            for position in range(0, len(body), 65_536):
                self.wfile.write(body[position : position + 65_536])
                server.sent += len(body[position : position + 65_536])

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(content: bytes, tls: ssl.SSLContext | None = None) -> Iterator[JarServer]:
    """Serve a jar while the context lasts."""
    with JarServer(content) as running:
        if tls:
            running.socket = tls.wrap_socket(running.socket, server_side=True)
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            running.answers.set()
            running.shutdown()
            thread.join()
