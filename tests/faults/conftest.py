"""A faulty network in front of the real engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dialpad_ivr.local.engine import LocalEngine
from support.proxy import FaultyEngine, faulty_engine


@pytest.fixture
def proxy(local_engine: LocalEngine) -> Iterator[FaultyEngine]:
    with faulty_engine(local_engine.url) as faulty:
        yield faulty
