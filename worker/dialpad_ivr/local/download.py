"""Downloads that are verified, resumed where they broke off, and never made twice."""

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
    """It could not be downloaded. The message says what to do next."""


@dataclass(frozen=True)
class Artifact:
    """A file that is known before it is fetched.

    Attributes:
        url: Where it is.
        sha256: Its checksum, in hexadecimal.
        size: Its bytes.
    """

    url: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """Its file name."""
        return self.url.rsplit("/", 1)[-1]


def fetch(artifact: Artifact, folder: Path) -> Path:
    """Download an artifact into a folder, unless it is there already.

    What was downloaded before an interruption is kept, and continued from next time. Two processes may do this at once:
    the second waits for the first.

    Returns:
        The file.

    Raises:
        DownloadError: It cannot be reached, does not fit on the disk, or is not what it should be; or others can write
            to the folder.
    """
    target = folder / artifact.name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _only_ours(folder):
        raise DownloadError(
            f"{folder} can be written by others, who could have a program of theirs run in your name. "
            f"Try chmod go-w {folder}, or name a folder of your own with DIALPAD_IVR_CACHE_DIR."
        )
    if _verified(target, artifact):
        return target
    with _lock(folder / f"{artifact.name}.lock"):
        if _verified(target, artifact):  # by the process that we waited for
            return target
        part = target.with_name(f"{artifact.name}.part")
        missing = artifact.size - (part.stat().st_size if part.exists() else 0)
        if shutil.disk_usage(folder).free < missing:
            raise DownloadError(f"{folder} has no room for {missing / 1e6:.0f} MB. Set DIALPAD_IVR_CACHE_DIR.")
        with _progress(artifact) as report:
            _download(artifact, part, report)
        if _checksum(part) != artifact.sha256:
            part.unlink()
            raise DownloadError(f"{artifact.url} is not what it should be (SHA-256 differs). Nothing of it was kept.")
        part.replace(target)
        _seal(target).write_text(_stamp(target, artifact), "utf-8")
        return target


def _download(artifact: Artifact, part: Path, report: Callable[[int], None]) -> None:
    """Fill the part file, over as many connections as it takes."""
    failures = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        if have >= artifact.size:  # if it is too long, its checksum will tell
            return
        fault = "the answer is too short"
        try:
            _continue(artifact, part, have, report)
        except httpx.HTTPError as exc:
            fault = f"{type(exc).__name__}: {exc}"
        except OSError as exc:
            raise DownloadError(f"{part} cannot be written: {exc.strerror}. Set DIALPAD_IVR_CACHE_DIR.") from None
        size = part.stat().st_size if part.exists() else 0
        if size < artifact.size:
            failures = 1 if size > have else failures + 1
            if failures >= _TRIES:
                raise DownloadError(
                    f"{artifact.url} cannot be downloaded ({fault}). Check the network, or name a "
                    "mirror with DIALPAD_IVR_MAVEN_URL; what is there is kept, and the next try goes on from it."
                )
            time.sleep(0.2 * 2**failures)


def _continue(artifact: Artifact, part: Path, have: int, report: Callable[[int], None]) -> None:
    headers = {"range": f"bytes={have}-"} if have else {}
    with (
        httpx.stream("GET", artifact.url, headers=headers, follow_redirects=True, timeout=30) as response,
    ):
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
    """Whether the file is there, and still the one that was verified: to read it each time would take seconds."""
    try:
        return _seal(target).read_text("utf-8") == _stamp(target, artifact)
    except OSError:
        return False


def _only_ours(folder: Path) -> bool:
    """Whether nobody else, but the machine's administrator, can put a file there."""
    stat = folder.stat()
    return os.name != "posix" or (stat.st_uid in (0, os.geteuid()) and not stat.st_mode & 0o022)


def _seal(target: Path) -> Path:
    return target.with_name(f"{target.name}.verified")


def _stamp(target: Path, artifact: Artifact) -> str:
    stat = target.stat()
    return f"{artifact.sha256} {stat.st_size} {stat.st_mtime_ns}"


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold a lock that ends with the process."""
    with path.open("w") as file:
        if os.name == "posix":
            import fcntl  # noqa: PLC0415  # there is none on Windows

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _progress(artifact: Artifact) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, a line for each tenth elsewhere."""
    console = Console(stderr=True)
    label = f"Downloading {artifact.name}"
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(label, total=artifact.size)
            yield lambda have: bar.update(task, completed=have)
        return
    said = -1

    def say(have: int) -> None:
        nonlocal said
        tenth = 10 * have // artifact.size
        if tenth > said:
            said = tenth
            sys.stderr.write(f"{label}: {have / 1e6:.0f} of {artifact.size / 1e6:.0f} MB\n")

    yield say
