"""Which container engine builds the image, and how; `tests/image` really builds and runs it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import image

# Stands for an engine's command: notes how it was called, and answers as the case demands.
FAKE = """#!/bin/sh
echo "{name} $*" >> {log}
case "$1" in info) exit {info} ;; build) exit {build} ;; images) echo "199 MB" ;; esac
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a container engine on the PATH, on which is no other."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def add(name: str, *, info: int = 0, build: int = 0) -> None:
        command = tmp_path / name
        command.write_text(FAKE.format(name=name, log=tmp_path / "log", info=info, build=build))
        command.chmod(0o755)

    return add


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Runs the command, which must succeed or not; returns what the engines were called with."""

    def run(*arguments: str, code: int = 0) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["image", *arguments])
        assert image.main() == code
        return (tmp_path / "log").read_text().splitlines() if (tmp_path / "log").exists() else []

    return run


@pytest.mark.parametrize(
    ("engine", "options"), [("docker", ""), ("podman", "--format docker "), ("buildah", "--format docker ")]
)
def test_it_is_built_with_the_engine_that_there_is(
    fake: Callable[..., None],
    run: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    engine: str,
    options: str,
) -> None:
    fake(engine)
    asked, built, _ = run()
    assert asked == f"{engine} info"
    assert built == f"{engine} build {options}--file {image.DOCKERFILE} --tag {image.IMAGE} {image.ROOT}"
    assert capsys.readouterr().out == f"Built {image.IMAGE} with {engine}: 199 MB\n"


def test_an_engine_that_does_not_answer_is_passed_over(
    fake: Callable[..., None], run: Callable[..., list[str]]
) -> None:
    fake("docker", info=1)
    fake("podman")
    assert [line.split()[0] for line in run()] == ["docker", "podman", "podman", "podman"]


def test_without_an_engine_it_says_how_to_get_one(
    fake: Callable[..., None], run: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    fake("docker", info=1)
    run(code=1)
    assert re.fullmatch(r"No container engine works here: .*\n.*apt-get install podman\n", capsys.readouterr().err)


def test_a_failed_build_names_the_way_without_a_registry(
    fake: Callable[..., None], run: Callable[..., list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    fake("podman", build=125)
    assert len(run("--engine", "podman", code=1)) == 1
    assert "make image BASE=debian" in capfd.readouterr().err


def test_without_mmdebstrap_there_is_no_base_of_debians(
    fake: Callable[..., None], run: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    fake("podman")
    assert run("--base", "debian", code=1) == ["podman info"]
    assert "apt-get install mmdebstrap" in capsys.readouterr().err
