"""What tests of provisioning share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.provisioning.changes import Changes, read_changes


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def from_text(text: str | bytes, suffix: str = ".csv") -> Changes:
        path = tmp_path / f"changes{suffix}"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_changes(path)

    return from_text
