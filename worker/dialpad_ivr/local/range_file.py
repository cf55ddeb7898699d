"""A file on an HTTP server as a seekable file: only the parts that are read are transferred."""

from __future__ import annotations

import contextlib
import io
import queue
import re
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import httpx

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_TAIL = 64 * 1024  # read first: it holds the end of a zip's directory
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_REDIRECTS = 3
_REACH_SECONDS = 3
_STALL_SECONDS = 10
_TOTAL_SECONDS = 120
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class RangeFileError(Exception):
    """The file, or a part of it, could not be read. The message says why."""


class RangeFile(io.RawIOBase):
    """A remote file. It is to be read through `io.BufferedReader`, whose buffer size is the size of its requests.

    If the file changes on the server while it is read, reading fails.

    Args:
        url: Its address: HTTPS, or HTTP on this machine.
        budget: The number of bytes that may be transferred; it can be raised later.

    Attributes:
        budget: How many bytes may still be transferred.

    Raises:
        RangeFileError: From the constructor and on reading.
    """

    def __init__(self, url: str, budget: int) -> None:
        super().__init__()
        self.budget = budget
        self._deadline = time.monotonic() + _TOTAL_SECONDS
        self._url = url
        self._tag: str | None = None
        self._size = 0
        self._position = 0
        # Proxies and certificates from the environment, as for the other downloads.
        self._client = httpx.Client(timeout=httpx.Timeout(_STALL_SECONDS, connect=_REACH_SECONDS))
        try:
            _check_address(url, url)
            self._tail = self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close its connections."""
        self._client.close()
        super().close()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset from the start, the position or the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read into a buffer, by one request at most; returns the number of bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")
        start, stop = self._position, min(self._position + len(view), self._size)
        if start >= stop:
            return 0
        tail_start = self._size - len(self._tail)
        if start < tail_start:
            stop = min(stop, tail_start)
            body = self._read(start, stop)
        else:
            body = self._tail[start - tail_start : stop - tail_start]
        view[: len(body)] = body
        self._position += len(body)
        return len(body)

    def _open(self) -> bytes:
        """Follow redirects to where the file is, and read its end."""
        for _ in range(_REDIRECTS + 1):
            with self._requested(f"bytes=-{_TAIL}") as response:
                target = response.headers.get("location")
                if response.is_redirect and target:
                    target = urljoin(self._url, target)
                    _check_address(target, self._url)
                    self._url = target
                    continue
                start, end, self._size = _content_range(response)
                if end != self._size - 1 or end - start >= _TAIL:
                    raise RangeFileError("the server sent another range than the one requested")
                tag = response.headers.get("etag")
                self._tag = tag if tag and not tag.startswith("W/") else None
                return self._body(response, end + 1 - start)
        raise RangeFileError("it is redirected too often")

    def _read(self, start: int, stop: int) -> bytes:
        with self._requested(f"bytes={start}-{stop - 1}") as response:
            if _content_range(response) != (start, stop - 1, self._size):
                raise RangeFileError("the server sent another range than the one requested")
            return self._body(response, stop - start)

    @contextlib.contextmanager
    def _requested(self, byte_range: str) -> Iterator[httpx.Response]:
        headers = {"range": byte_range, "accept-encoding": "identity"}
        if self._tag:
            headers["if-range"] = self._tag  # a changed file is then sent whole, with 200
        try:
            with self._client.stream("GET", self._url, headers=headers) as response:
                yield response
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise RangeFileError(str(exc) or type(exc).__name__) from None

    def _body(self, response: httpx.Response, size: int) -> bytes:
        self.budget -= size
        if self.budget < 0:
            raise RangeFileError("more of it would have to be transferred than is sensible")
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > size:
                break
            if time.monotonic() > self._deadline:
                raise RangeFileError(f"the transfer took more than {_TOTAL_SECONDS} s")
        if len(body) != size:
            raise RangeFileError("the server sent a range of another length than it said")
        return bytes(body)


def open_in_time(url: str, budget: int) -> RangeFile:
    """Open a remote file, or give up after three seconds, whatever the network does: a name server can hang, too.

    Raises:
        RangeFileError: It could not be opened.
    """
    results: queue.SimpleQueue[RangeFile | Exception] = queue.SimpleQueue()

    def attempt() -> None:
        try:
            results.put(RangeFile(url, budget))
        except Exception as exc:  # noqa: BLE001  # raised by whoever waits
            results.put(exc)

    threading.Thread(target=attempt, daemon=True).start()
    try:
        result = results.get(timeout=_REACH_SECONDS)
    except queue.Empty:
        raise RangeFileError(f"there was no answer within {_REACH_SECONDS} s") from None
    if isinstance(result, Exception):
        raise result
    return result


def _check_address(url: str, previous: str) -> None:
    """Only HTTPS, whose certificate is verified; HTTP from this machine, if that is where the caller pointed."""
    try:
        target, source = urlsplit(url), urlsplit(previous)
    except ValueError:
        raise RangeFileError("it has no valid address") from None
    local = target.hostname in _LOOPBACK and source.hostname in _LOOPBACK
    if not target.hostname or not (target.scheme == "https" or (target.scheme == "http" and local)):
        raise RangeFileError("it is not at an HTTPS address")


def _content_range(response: httpx.Response) -> tuple[int, int, int]:
    """The first and the last byte of a response, and the size of the whole file."""
    if response.status_code == 200:
        raise RangeFileError("the server sends it as a whole only (no range requests), or it has just changed")
    if response.status_code != 206:
        raise RangeFileError(f"the server answered {response.status_code}")
    found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if found is None:
        raise RangeFileError("the server does not say which range it sent")
    start, end, size = (int(number) for number in found.groups())
    return start, end, size
