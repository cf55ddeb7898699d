"""What the browser tests of the console share: the console of a real engine, with a worker and the Dialpad double."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest
from support.provisioning import UNPACED
from support.worker import CREDENTIALS, running_console, running_worker


@pytest.fixture(scope="module")
def console(engine: EngineRest, _double: DoubleControl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a console, whose engine has a worker."""
    folder = tmp_path_factory.mktemp("console")
    with (
        running_worker(engine.url, _double.url, folder / "worker.log", **CREDENTIALS, **UNPACED),
        running_console(engine.url, _double.url, folder / "console.log") as url,
    ):
        yield url
