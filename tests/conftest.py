"""What tests of every kind share; nothing is started before it is asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.redis import RedisServer, running_redis

pytest_plugins = ["support.fixtures", "support.browser"]

TESTS = Path(__file__).parent
# These folders are left out of `make test`.
LONG = {"browser", "faults"}
# Their tests share nothing, so pytest-xdist may deal them out one by one. All others stay together by module: a module
# may look at every process of the machine, or start something for all its tests.
INDEPENDENT = {"test_by_name", "test_command", "test_provisioning", "test_worker"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in LONG:
            item.add_marker(pytest.mark.long)
        if folder != "unit" and item.path.stem not in INDEPENDENT:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", folder, Path(__file__).parents[1]], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis that all tests may flush, and none may stop."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server
