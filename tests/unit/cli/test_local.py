"""The commands `dev` and `demo`: what they print, and what they refuse."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dialpad_ivr.cli.exit_codes import EXIT_NO_ENGINE
from dialpad_ivr.cli.local import own_command
from dialpad_ivr.local.engine import VERSION
from support.finding_ui import FILES, NAME
from support.invoke import Invoke
from support.jar_server import jar_of


def executable(folder: Path) -> Path:
    folder.mkdir(parents=True)
    file = folder / "dialpad-ivr"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def test_own_command_is_its_name_where_that_is_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = executable(tmp_path / "bin")
    monkeypatch.setattr(sys, "argv", [str(file), "dev"])
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin")
    assert own_command() == "dialpad-ivr"


def test_own_command_is_its_name_where_a_link_on_the_path_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = executable(tmp_path / "tool" / "bin")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dialpad-ivr").symlink_to(file)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "bin" / "dialpad-ivr"), "dev"])
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert own_command() == "dialpad-ivr"


@pytest.mark.parametrize("path", ["/nowhere", "{another}"])
def test_own_command_is_its_path_where_it_is_not_on_the_path_or_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    file, another = executable(tmp_path / ".venv" / "bin"), executable(tmp_path / "another")
    monkeypatch.setattr(sys, "argv", [str(file), "dev"])
    monkeypatch.setenv("PATH", path.format(another=another.parent))
    monkeypatch.chdir(tmp_path)
    assert own_command() == ".venv/bin/dialpad-ivr"


def test_own_command_does_not_rely_on_an_activated_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = executable(tmp_path / ".venv" / "bin")
    monkeypatch.setattr(sys, "argv", [str(file), "dev"])
    monkeypatch.setattr(sys, "executable", str(file.with_name("python")))
    monkeypatch.setenv("PATH", str(file.parent))
    monkeypatch.chdir(tmp_path)
    assert own_command() == ".venv/bin/dialpad-ivr"


def test_own_command_is_the_absolute_path_where_that_is_shorter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / "a" / "b" / "c" / "d" / "e" / "f" / "g" / "h" / "i" / "j"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    monkeypatch.setattr(sys, "argv", ["/usr/sbin/dialpad-ivr", "dev"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert own_command() == "/usr/sbin/dialpad-ivr"


def test_own_command_of_a_module_names_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/site-packages/dialpad_ivr/__main__.py", "dev"])
    assert own_command() == f"{sys.executable} -m dialpad_ivr"


@pytest.mark.parametrize("command", ["dev", "demo"])
def test_invalid_settings_exit_2_before_anything_starts(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_CONCURENCY", "5")
    assert "DIALPAD_IVR_CONCURRENCY" in invoke(command, code=2).err


@pytest.mark.parametrize("command", ["dev", "demo"])
def test_help_says_what_the_double_is(invoke: Invoke, command: str) -> None:
    shown = invoke(command, "--help").all
    assert "double" in shown
    assert "Dialpad's API" in shown


def test_path_without_a_ui_is_refused_with_what_is_expected(invoke: Invoke, tmp_path: Path) -> None:
    problem, remedy = invoke("dev", "--ui", tmp_path, code=EXIT_NO_ENGINE).err.strip().splitlines()[-2:]
    assert f"{tmp_path} is not a built UI" in problem
    assert "a .tar.gz" in remedy


def test_changed_ui_is_refused_before_anything_starts(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DIALPAD_IVR_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / ".conductor-cli").mkdir()
    (tmp_path / ".conductor-cli" / f"conductor-server-{VERSION}.jar").write_bytes(jar_of(FILES))
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "cache" / f"{NAME}.sha256").write_text("0" * 64)
    shown = invoke("dev", code=EXIT_NO_ENGINE)
    assert "not the one used before" in shown.all
    assert "--ui none" in shown.all
    assert "Starting" not in shown.all
