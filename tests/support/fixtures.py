"""The real engine, started once a session; the double, a process of its own; and workers as they run in production."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from dialpad_ivr.credentials import KEY_NAME
from dialpad_ivr.local.engine import LocalEngine, running_engine
from dialpad_ivr.testing.double import DoubleControl, started_double
from support.command import Command
from support.engine import EngineRest
from support.receiver import Receiver, running_receiver
from support.worker import CREDENTIALS, KEYS, SPARE_KEY, VAULT_KEY, WorkerProcess, running_worker


def built_ui() -> Path | None:
    """The engine's UI, which its jar lacks: what DIALPAD_IVR_TEST_UI names, or what lies beside the checkout."""
    named = os.environ.get("DIALPAD_IVR_TEST_UI")
    if named:
        return Path(named)
    beside = Path(__file__).parents[3] / "shared" / "conductor-ui.tar.gz"
    return beside if beside.is_file() else None


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    """What the engine's notifications go to."""
    with running_receiver() as running:
        yield running


@pytest.fixture(scope="session")
def local_engine(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[LocalEngine]:
    folder = tmp_path_factory.mktemp("engine")
    secrets = {"DIALPAD_API_KEY_VAULT": VAULT_KEY, "SPARE": SPARE_KEY}
    environment = {"OVERRIDE_NOTIFY_URL": receiver.url}
    with running_engine(data=folder, ui=built_ui(), secrets=secrets, environment=environment) as engine:
        yield engine


@pytest.fixture(scope="session")
def engine(local_engine: LocalEngine) -> Iterator[EngineRest]:
    """The engine with our definitions, the task's retries made few and quick."""
    with closing(EngineRest(local_engine.url)) as rest:
        put_quick_definitions(rest)
        yield rest


@pytest.fixture(autouse=True)
def _no_workflow_outlives_its_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """The next test's worker would make its change."""
    rest: EngineRest | None = request.getfixturevalue("engine") if "local_engine" in request.fixturenames else None
    yield
    if rest is not None:
        for workflow_id in rest.running():
            with contextlib.suppress(httpx.HTTPStatusError):  # it has ended meanwhile, with its parent perhaps
                rest.terminate(workflow_id)


# What a test may have changed.
UNTHROTTLED = {
    "enforce": False,
    "latency": 0,
    "answer_jitter": 0,
    "arrival_jitter": 0,
    "retry_after": "none",
    "revoked": [],
}


def put_quick_definitions(rest: EngineRest) -> None:
    quick = {"retryCount": 1, "retryLogic": "FIXED", "retryDelaySeconds": 1, "backoffJitterMs": 0}
    rest.put_shipped(**quick, runtimeMetadata=[KEY_NAME, "DIALPAD_API_KEY_VAULT"])


@pytest.fixture(scope="session")
def _double() -> Iterator[DoubleControl]:
    with started_double(KEYS, enforce=False) as double:
        yield double


@pytest.fixture
def double(_double: DoubleControl) -> DoubleControl:
    """The double, as freshly started, and unthrottled."""
    _double.reset()
    _double.configure(**UNTHROTTLED)
    return _double


StartWorker = Callable[..., AbstractContextManager[WorkerProcess]]


@pytest.fixture
def start_worker(engine: EngineRest, double: DoubleControl, tmp_path: Path) -> StartWorker:
    """Start a worker with these settings besides the tests' own."""
    numbers = itertools.count()

    def start(*command: Any, **settings: Any) -> AbstractContextManager[WorkerProcess]:
        log = tmp_path / f"worker-{next(numbers)}.log"
        return running_worker(engine.url, double.url, log, *command, **{**CREDENTIALS, **settings})

    return start


@pytest.fixture
def command(engine: EngineRest, double: DoubleControl) -> Iterator[Command]:
    """The command, with that engine and that double to talk to."""
    with Command(engine, double) as command:
        yield command
