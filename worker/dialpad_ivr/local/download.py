"""Cached, resumable, checksum-verified downloads."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

_CHUNK = 1024 * 1024
_TRIES = 5


class DownloadError(Exception):
    """The download failed. The message says what to do next."""


@dataclass(frozen=True)
class Artifact:
    """A file with a known checksum.

    Attributes:
        url: Its URL.
        sha256: Its checksum, in hexadecimal.
        size: Its size in bytes.
    """

    url: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """The file name."""
        return self.url.rsplit("/", 1)[-1]


def fetch(artifact: Artifact, folder: Path) -> Path:
    """Download an artifact into a folder, unless it is cached there.

    An interrupted download is resumed by the next call. If two processes download at once, the second waits for the
    first.

    Returns:
        The path of the file.

    Raises:
        DownloadError: The server cannot be reached, the disk is full, the checksum differs, or other users can write to
            the folder.
    """
    target = folder / artifact.name
    private_folder(folder)
    if _verified(target, artifact):
        return target
    with lock(folder / f"{artifact.name}.lock"):
        if _verified(target, artifact):  # downloaded by the process that held the lock
            return target
        part = target.with_name(f"{artifact.name}.part")
        missing = artifact.size - (part.stat().st_size if part.exists() else 0)
        if shutil.disk_usage(folder).free < missing:
            raise DownloadError(
                f"Not enough disk space: {folder} needs {missing / 1e6:.0f} MB. Set DIALPAD_IVR_CACHE_DIR."
            )
        with _progress(artifact) as report:
            _download(artifact, part, report)
        if _checksum(part) != artifact.sha256:
            part.unlink()
            raise DownloadError(f"{artifact.url} does not have the expected SHA-256, so the download was deleted.")
        part.replace(target)
        _seal(target).write_text(_stamp(target, artifact), "utf-8")
        return target


def _download(artifact: Artifact, part: Path, report: Callable[[int], None]) -> None:
    """Complete the part file, over as many connections as it takes."""
    failures = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        if have >= artifact.size:  # if it is too long, its checksum will differ
            return
        fault = "the response is too short"
        try:
            _resume(artifact, part, have, report)
        except httpx.HTTPError as exc:
            fault = f"{type(exc).__name__}: {exc}"
        except OSError as exc:
            raise DownloadError(f"Cannot write to {part}: {exc.strerror}. Set DIALPAD_IVR_CACHE_DIR.") from None
        size = part.stat().st_size if part.exists() else 0
        if size < artifact.size:
            failures = 1 if size > have else failures + 1
            if failures >= _TRIES:
                raise DownloadError(
                    f"Cannot download {artifact.url} ({fault}). Check the network, or set DIALPAD_IVR_MAVEN_URL to a "
                    "mirror. The next attempt resumes this download."
                )
            time.sleep(0.2 * 2**failures)


def _resume(artifact: Artifact, part: Path, have: int, report: Callable[[int], None]) -> None:
    headers = {"range": f"bytes={have}-"} if have else {}
    with httpx.stream("GET", artifact.url, headers=headers, follow_redirects=True, timeout=30) as response:
        response.raise_for_status()
        resumed = response.status_code == 206 and response.headers.get("content-range", "").startswith(f"bytes {have}-")
        if not resumed:
            have = 0
        with part.open("ab" if resumed else "wb") as file:
            report(have)
            for chunk in response.iter_raw():
                file.write(chunk)
                have += len(chunk)
                report(have)
                if have > artifact.size:
                    return


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _verified(target: Path, artifact: Artifact) -> bool:
    """Whether the file is there, and unchanged since it was verified. Hashing it each time would take seconds."""
    try:
        return _seal(target).read_text("utf-8") == _stamp(target, artifact)
    except OSError:
        return False


def private_folder(folder: Path) -> Path:
    """Make a folder for programs, unless it is there.

    Raises:
        DownloadError: Other users can write to it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _only_owner_writes(folder):
        raise DownloadError(
            f"Other users can write to {folder}, so they could replace the program that runs from it. "
            f"Run chmod go-w {folder}, or set DIALPAD_IVR_CACHE_DIR to a folder of your own."
        )
    return folder


def _only_owner_writes(folder: Path) -> bool:
    """Whether only this user and root can write to the folder."""
    stat = folder.stat()
    return os.name != "posix" or (stat.st_uid in (0, os.geteuid()) and not stat.st_mode & 0o022)


def _seal(target: Path) -> Path:
    return target.with_name(f"{target.name}.verified")


def _stamp(target: Path, artifact: Artifact) -> str:
    stat = target.stat()
    return f"{artifact.sha256} {stat.st_size} {stat.st_mtime_ns}"


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a file lock; it is released if the process dies."""
    with path.open("w") as file:
        if os.name == "posix":
            import fcntl  # noqa: PLC0415  # not on Windows

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _progress(artifact: Artifact) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal, else a line for each 10 percent."""
    console = Console(stderr=True)
    label = f"Downloading {artifact.name}"
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(label, total=artifact.size)
            yield lambda have: bar.update(task, completed=have)
        return
    reported = -1

    def report(have: int) -> None:
        nonlocal reported
        tenth = 10 * have // artifact.size
        if tenth > reported:
            reported = tenth
            sys.stderr.write(f"{label}: {have / 1e6:.0f} of {artifact.size / 1e6:.0f} MB\n")

    yield report
