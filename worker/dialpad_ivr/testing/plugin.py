"""The fixtures for pytest, which loads this module in every session: so whatever a fixture needs it imports itself.

The entry point has this module's own name, so that naming it in `pytest_plugins` too does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dialpad_ivr.local.stack import LocalWorker
    from dialpad_ivr.testing.double import DoubleControl
    from dialpad_ivr.testing.engines import KitEngine
    from dialpad_ivr.testing.run import RunDefinition


@pytest.fixture(scope="session")
def dialpad_ivr_engine() -> Iterator[KitEngine]:
    """A real Conductor server with the shipped definitions, started once a session (6 to 13 s)."""
    from dialpad_ivr.testing.engines import kit_engine

    with kit_engine(None) as engine:
        yield engine


@pytest.fixture(scope="session")
def _dialpad_ivr_double() -> Iterator[DoubleControl]:
    from dialpad_ivr.testing.double import started_double

    with started_double() as double:
        yield double


@pytest.fixture
def dialpad_ivr_double(_dialpad_ivr_double: DoubleControl) -> DoubleControl:
    """A local stand-in for Dialpad's API, as freshly started: its targets, its faults, and the requests it received."""
    _dialpad_ivr_double.reset()
    return _dialpad_ivr_double


@pytest.fixture(scope="session")
def dialpad_ivr_worker(dialpad_ivr_engine: KitEngine, _dialpad_ivr_double: DoubleControl) -> Iterator[LocalWorker]:
    """A worker that takes the tasks of `dialpad_ivr_engine` and sends them to the double."""
    from dialpad_ivr.local.stack import double_environ, running_worker

    with running_worker(double_environ(dialpad_ivr_engine.api.url, _dialpad_ivr_double.url)) as worker:
        yield worker


@pytest.fixture
def run_definition(dialpad_ivr_engine: KitEngine) -> RunDefinition:
    """`dialpad_ivr.testing.run_definition` on `dialpad_ivr_engine`."""
    from functools import partial

    from dialpad_ivr.testing.run import run_definition

    return partial(run_definition, engine=dialpad_ivr_engine)
