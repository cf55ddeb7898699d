"""A worker that nothing paces, and many targets, for the runs of many changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dialpad_ivr.testing.double import DoubleControl
from support.fixtures import StartWorker
from support.provisioning import UNPACED
from support.worker import WorkerProcess


@pytest.fixture
def worker(start_worker: StartWorker) -> Iterator[WorkerProcess]:
    with start_worker(**UNPACED) as running:
        yield running


@pytest.fixture
def targets(double: DoubleControl) -> DoubleControl:
    """The double with 400 targets, each with another IVR selected than the tests ask for."""
    double.set_state(synthetic=400)
    return double
