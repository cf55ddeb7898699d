"""A built Conductor UI in a folder, a .tar.gz archive, or a server's jar."""

from __future__ import annotations

import contextlib
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

_STATIC = "BOOT-INF/classes/static/"  # where a jar of Spring Boot has what it serves

# The UI of 3.32 has 391 files and 40 MB.
_MAX_FILES = 4_000
_MAX_BYTES = 200_000_000

_EXPECTED = "Name a folder with its index.html, a .tar.gz of one, or a server's jar with it."

# What zipfile raises for a damaged or hostile archive.
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OverflowError)


class UiError(Exception):
    """There is no UI, or it cannot be used. The message says why."""


@contextlib.contextmanager
def built_ui(path: Path) -> Iterator[Path]:
    """The folder with the UI's index.html: that folder, or a temporary one with what was in the archive or the jar.

    Raises:
        UiError: It is not a built UI.
    """
    if not path.is_file():
        if not (path / "index.html").is_file():
            raise UiError(f"{path} is not a built UI: it has no index.html.\n{_EXPECTED}")
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="dialpad-ivr-ui-") as temporary:
        folder = Path(temporary, "ui")
        if zipfile.is_zipfile(path):
            try:
                with path.open("rb") as file, opened_jar(file) as archive:
                    extract_ui(archive, folder)
            except UiError as exc:
                raise UiError(f"{path} is not a built UI: {exc}.\n{_EXPECTED}") from None
            yield folder
        else:
            yield _extract_tar(path, folder)


def _extract_tar(path: Path, folder: Path) -> Path:
    try:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as exc:
        raise UiError(f"{path} cannot be unpacked: {exc}.\n{_EXPECTED}") from None
    pages = sorted(folder.rglob("index.html"), key=lambda page: len(page.parts))
    if not pages:
        raise UiError(f"{path} is not a built UI: it has no index.html.\n{_EXPECTED}")
    return pages[0].parent


@contextlib.contextmanager
def opened_jar(file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """Open a jar, and translate what reading it raises while the context lasts.

    Raises:
        UiError: It is damaged, or the disk is full.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except _DAMAGED as exc:
        raise UiError(f"the jar is damaged: {exc or type(exc).__name__}") from None
    except OSError as exc:
        raise UiError(f"it cannot be unpacked: {exc.strerror or exc}") from None


def extract_ui(archive: zipfile.ZipFile, folder: Path, version: str | None = None) -> None:
    """Write the UI in a server's jar into a new folder. Each file's CRC is checked; names and sizes are bounded.

    Args:
        archive: The jar.
        folder: The folder to be made.
        version: The server's version that the jar must have; any if absent.

    Raises:
        UiError: The jar has no UI, another version, or is hostile.
    """
    for member in _ui_members(archive, version):
        target = folder / member.filename.removeprefix(_STATIC)
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as source, target.open("xb") as sink:
            shutil.copyfileobj(source, sink)  # not more than the directory says, and its CRC is checked at the end


def _ui_members(archive: zipfile.ZipFile, version: str | None) -> list[zipfile.ZipInfo]:
    """The UI's files, in the order in which they lie in the jar."""
    members = [member for member in archive.infolist() if member.filename.startswith(_STATIC) and not member.is_dir()]
    names = {member.filename for member in members}
    if f"{_STATIC}index.html" not in names:
        raise UiError("the jar has no UI in it")
    if version and f"BOOT-INF/lib/conductor-core-{version}.jar" not in archive.namelist():
        raise UiError(f"the jar is not that of Conductor {version}")
    if len(members) > _MAX_FILES or sum(member.file_size for member in members) > _MAX_BYTES:
        raise UiError(f"its UI is larger than {_MAX_FILES} files or {_MAX_BYTES / 1e6:.0f} MB")
    for name in names:
        if not _is_safe(name.removeprefix(_STATIC)):
            raise UiError(f"the jar has a file with an unsafe name ({name!r})")
    return sorted(members, key=lambda member: member.header_offset)


def _is_safe(name: str) -> bool:
    """Whether a name stays below the folder it is joined to, on every system."""
    path = PurePosixPath(name)
    return (
        ".." not in path.parts
        and not path.is_absolute()
        and str(path) == name
        and not PureWindowsPath(name).drive
        and "\\" not in name
        and name.isprintable()
    )
