"""What tests of provisioning share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.provisioning.changes import Changes, read_changes
from dialpad_ivr.provisioning.snapshot import Snapshot
from dialpad_ivr.settings import Settings
from dialpad_ivr.testing.double import DoubleControl, started_double
from support.changes import NAMED, ReadRows, snapshot_of, unpaced


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def from_text(text: str | bytes, suffix: str = ".csv") -> Changes:
        path = tmp_path / f"changes{suffix}"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_changes(path)

    return from_text


@pytest.fixture(scope="session")
def _double() -> Iterator[DoubleControl]:
    with started_double(enforce=False) as running:
        yield running


@pytest.fixture
def double(_double: DoubleControl, monkeypatch: pytest.MonkeyPatch) -> DoubleControl:
    """A double whose key is the default one, and whose faults are retried soon."""
    _double.reset()
    _double.configure(page_size=100)
    monkeypatch.setenv("DIALPAD_API_KEY", _double.key)
    monkeypatch.setattr("dialpad_ivr.provisioning.reader._RETRY_SECONDS", 0.01)
    return _double


@pytest.fixture
def company(double: DoubleControl, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings and keys to read the double, of a company whose lists have several pages."""
    double.configure(page_size=2)
    monkeypatch.setenv("DIALPAD_API_KEY_OTHER", double.key)
    return unpaced(double)


@pytest.fixture
def read_rows(company: Settings, tmp_path: Path) -> ReadRows:
    async def of(*rows: dict[str, Any]) -> Snapshot:
        file = tmp_path / "changes.json"
        file.write_text("[" + ",\n".join(json.dumps({**NAMED, **row}) for row in rows) + "]")
        changes = read_changes(file)
        assert not changes.violations
        return await snapshot_of(changes.changes, company)

    return of
