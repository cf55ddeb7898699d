"""The command in this process, with a stub of the engine behind it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dialpad_ivr.cli.common import err, out
from dialpad_ivr.local.engine import free_port
from dialpad_ivr.telemetry import logs
from support.invoke import Invoke
from support.runs import CHANGE
from support.screen import Screen
from support.stub import StubEngine


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stub_engine: StubEngine) -> None:
    for name in os.environ:
        if name.startswith(("DIALPAD_", "CONDUCTOR_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    for console in (out, err):
        monkeypatch.setattr(console, "width", 200)  # xdist sets COLUMNS before these are made
    monkeypatch.setenv("CONDUCTOR_SERVER_URL", stub_engine.stub.url)
    # Nothing is sent to Dialpad itself.
    monkeypatch.setenv("DIALPAD_IVR_API_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("DIALPAD_IVR_ALLOW_LOOPBACK", "true")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logs, "configure", lambda *_: None)  # other tests have logging of their own


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> str:
    """Names an engine that does not answer; returns its URL."""
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("CONDUCTOR_SERVER_URL", url)
    return url


@pytest.fixture
def changes() -> Path:
    """A file of one change, in the current folder."""
    file = Path("changes.json")
    file.write_text(json.dumps([CHANGE]))
    return file


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def invoke() -> Invoke:
    return Invoke()
