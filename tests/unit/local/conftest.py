"""An empty home, and a jar with a UI in the official address's place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.finding_ui import FILES, PADDING
from support.jar_server import JarServer, jar_of, serving


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without the engine's own tool, and with an empty cache at home/cache."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DIALPAD_IVR_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(scope="session")
def jar() -> bytes:
    return jar_of(FILES, padding=PADDING)


@pytest.fixture
def server(home: Path, jar: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[JarServer]:
    with serving(jar) as running:
        monkeypatch.setenv("DIALPAD_IVR_UI_URL", running.url)
        yield running
