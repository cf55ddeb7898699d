"""`make dev`, run as a person runs it, with a cache that has the engine but no UI yet."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from dialpad_ivr.local.download import fetch
from dialpad_ivr.local.engine import cache_folder, jar, java, unpacked
from support.docs import ROOT
from support.engine import until
from support.worker import clean_environ


def cache_without_ui(folder: Path) -> Path:
    """A cache in which the engine need not be downloaded again."""
    unpacked(fetch(jar(), cache_folder()), java())
    folder.mkdir(mode=0o700)
    for path in cache_folder().glob(f"{jar().name.removesuffix('.jar')}*"):
        (folder / path.name).symlink_to(path)
    return folder


@contextlib.contextmanager
def make_dev(folder: Path, ui_url: str) -> Iterator[str]:
    """Run it with an empty home while the context lasts; yields what it has printed until it was ready.

    Args:
        folder: For its log, its home and its cache.
        ui_url: In the place of the official jar's address.
    """
    log = folder / "dev.log"
    environ = clean_environ(
        DIALPAD_IVR_CACHE_DIR=str(cache_without_ui(folder / "cache")), DIALPAD_IVR_UI_URL=ui_url, HOME=str(folder)
    )
    with log.open("wb") as sink:
        process = subprocess.Popen(
            ["make", "dev"], cwd=ROOT, env=environ, stderr=sink, stdout=sink, start_new_session=True
        )
    try:
        until(lambda: "Ctrl-C stops everything" in log.read_text() or process.poll() is not None, 120, "the stack")
        assert process.poll() is None, log.read_text()
        yield log.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        try:
            process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert "Traceback" not in log.read_text()
