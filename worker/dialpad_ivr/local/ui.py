"""The engine's own UI, which its jar on Maven Central lacks: found on this machine, or read out of the official jar.

The official jar is served over HTTPS but its checksum is published nowhere, so the UI is trusted on first use: its
digest is written beside it, and from then on another one is refused.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from dialpad_ivr.local.download import lock, private_folder
from dialpad_ivr.local.engine import VERSION, cache_folder
from dialpad_ivr.local.range_file import RangeFileError, open_in_time
from dialpad_ivr.local.ui_archive import UiError, extract_ui, opened_jar

_OFFICIAL_URL = f"https://conductor-server.s3.us-east-2.amazonaws.com/conductor-server-{VERSION}.jar"
_REMEDY = (
    "To have one, name a built UI (a folder or a .tar.gz) or a server's jar with it: dialpad-ivr dev --ui PATH; "
    "--ui none starts without."
)
# In bytes.
_READ_AHEAD = 2_000_000
_MAX_DIRECTORY = 4_000_000
_MAX_TRANSFER = 100_000_000

Report = Callable[[str], None]


class UiChangedError(Exception):
    """The UI is another one than the one that was trusted. The message says what to do."""


def find_ui(report: Report) -> Path:
    """The folder of the engine's UI: from the cache, the jar of the engine's own tool, or the official jar.

    The environment variable `DIALPAD_IVR_UI_URL` names a copy of the official jar.

    Args:
        report: Called with what is done, and where the UI was found.

    Raises:
        UiError: There is none to be had. It took three seconds at most, unless the transfer had begun.
        UiChangedError: It is not the one that was trusted.
        DownloadError: Other users can write to the cache.
        EngineStartError: The extra `local` is not installed.
    """
    cache = private_folder(cache_folder())
    target, pin = cache / f"conductor-ui-{VERSION}", cache / f"conductor-ui-{VERSION}.sha256"
    if _is_intact(target, pin):
        return target
    with lock(cache / f"conductor-ui-{VERSION}.lock"):
        if _is_intact(target, pin):  # another process has just done it
            return target
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            folder, source = _extract(Path(temporary), report)
            digest = digest_of(folder)
            pinned = _pinned(pin)
            if pinned is not None and pinned != digest:
                raise UiChangedError(
                    f"The UI from {source} is not the one used before: its SHA-256 is {digest}, not {pinned}.\n"
                    f"If you trust it, delete {pin} and start again; without the UI: --ui none."
                )
            if target.exists():  # damaged
                target.rename(Path(temporary, "damaged"))
            folder.rename(target)
            if pinned is None:
                new_pin = Path(temporary, "pin")
                new_pin.write_text(f"{digest}\n", "utf-8")
                new_pin.replace(pin)
        report(f"The workflow UI is from {source}. Its SHA-256 is {digest}; another one will be refused.")
        return target


def digest_of(folder: Path) -> str:
    """The SHA-256 of a folder's files and their names. It takes 50 ms for the UI."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        whole.update(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n".encode())
    return whole.hexdigest()


def _pinned(pin: Path) -> str | None:
    return pin.read_text("utf-8").strip() if pin.exists() else None


def _is_intact(target: Path, pin: Path) -> bool:
    return target.is_dir() and digest_of(target) == _pinned(pin)


def _extract(temporary: Path, report: Report) -> tuple[Path, str]:
    """Extract the UI from the first jar that has it, into a folder below that one; returns it and the jar's name."""
    for number, jar in enumerate(_jars_of_the_engines_tool()):
        folder = temporary / str(number)
        try:
            with jar.open("rb") as file, opened_jar(file) as archive:
                extract_ui(archive, folder, VERSION)
        except (UiError, OSError) as exc:
            report(f"{jar} has no UI that can be used: {exc}.")
        else:
            return folder, str(jar)
    url = os.environ.get("DIALPAD_IVR_UI_URL") or _OFFICIAL_URL
    shown = _without_credentials(url)
    report(f"Reading the workflow UI (11 MB) out of {shown} ...")
    folder = temporary / "official"
    try:
        with open_in_time(url, _MAX_DIRECTORY) as remote, opened_jar(io.BufferedReader(remote, _READ_AHEAD)) as archive:
            remote.budget = _MAX_TRANSFER
            extract_ui(archive, folder, VERSION)
    except (RangeFileError, UiError) as exc:
        raise UiError(f"There is no workflow UI: {shown} cannot be used ({exc}).\n{_REMEDY}") from None
    return folder, shown


def _jars_of_the_engines_tool() -> list[Path]:
    """The open-source servers' jars that `conductor server start` or `conductor_server.sh` have put on this machine."""
    home = Path.home() / ".conductor-cli"
    return [*sorted(home.glob("server/oss/*/conductor-server.jar")), *sorted(home.glob("conductor-server-*.jar"))]


def _without_credentials(url: str) -> str:
    """An address as it may be shown: a mirror's may hold a password, a signed one a signature."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
