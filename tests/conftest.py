"""What tests of every kind share; nothing is started before it is asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.redis import RedisServer, running_redis

pytest_plugins = ["support.fixtures", "support.browser"]


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
