"""What tests of every kind share; nothing is started before it is asked for."""

from __future__ import annotations

import gc
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from support.redis import RedisServer, running_redis

pytest_plugins = ["support.fixtures", "support.browser", "support.leftovers"]

hypothesis.settings.register_profile("quick", max_examples=30)
hypothesis.settings.load_profile("quick")
hypothesis.settings.register_profile("thorough", max_examples=1000)  # `make test-all` names it

TESTS = Path(__file__).parent
# These folders are left out of `make test`.
LONG = {"browser", "faults", "image"}
UNTRACED = {"test_delivery_machine", "test_limiter_machine", "test_outage", "test_wire", "test_double_process"}
# Their tests can run one by one in any process. The other modules stay whole: they start something for all their tests,
# or look at every process of the machine.
INDEPENDENT = re.compile(r"tests/(unit/|engine/test_(by_name|command|provisioning|worker)\.py)")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    # pytest-cov starts twice in each process of pytest-xdist; `no_cover` pauses the second, and the first would go on.
    first = coverage.Coverage.current()
    if first and hasattr(session.config, "workerinput"):
        first.stop()


def pytest_collection_finish() -> None:
    gc.freeze()  # what has been imported lives until the end: looking at it again and again takes a tenth of the time


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # State machines run for minutes: begun last, one of them would be alone at the end.
    items.sort(key=lambda item: not item.path.stem.endswith("_machine"))
    for item in items:
        if item.path.relative_to(TESTS).parts[0] in LONG:
            item.add_marker(pytest.mark.long)
        if hypothesis.is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.examples)
        # Tracing them would take half of the time of `make check`, and the tests beside them reach the same lines.
        if item.get_closest_marker("examples") or item.path.stem in UNTRACED:
            item.add_marker(pytest.mark.no_cover)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests measured with `record_property`."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


class Scheduler(LoadScopeScheduling):  # type: ignore[misc]
    """Gives pytest-xdist's processes single tests where that can be, else whole modules."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if INDEPENDENT.match(nodeid) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduler:
    return Scheduler(config, log)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = Path(__file__).parents[1] / ".venv" / "bin" / "uv"  # `make matrix` runs other interpreters
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", folder, Path(__file__).parents[1]], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis that all tests may flush, and none may stop."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server
