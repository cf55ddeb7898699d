"""How the engine is started: bound to loopback, its AI integration off, and no secret on its command line."""

from __future__ import annotations

import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from dialpad_ivr.local.child import Child
from dialpad_ivr.local.engine import EngineStartError, command, free_port, jar, java, running_engine
from support.engine import until


def test_the_server_is_bound_to_loopback_and_gives_no_secrets_out(tmp_path: Path) -> None:
    line = command("java", tmp_path / "server.jar", 8080, tmp_path, None)
    assert "--server.address=127.0.0.1" in line
    assert "--conductor.integrations.ai.enabled=false" in line
    assert not any("static-locations" in part for part in line)


def test_a_ui_is_served_from_its_folder(tmp_path: Path) -> None:
    line = command("java", tmp_path / "server.jar", 8080, tmp_path, tmp_path)
    assert f"--spring.web.resources.static-locations=file:{tmp_path}/" in line


def test_a_folder_without_a_ui_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(EngineStartError, match=r"index\.html"), running_engine(ui=tmp_path):
        pass


@pytest.mark.parametrize(("named", "told"), [("page.html", "index.html"), (None, "neither a folder nor an archive")])
def test_an_archive_without_a_ui_is_told_before_anything_starts(tmp_path: Path, named: str | None, told: str) -> None:
    archive = tmp_path / "ui.tar.gz"
    if named is None:
        archive.write_text("no archive")
    else:
        (tmp_path / named).write_text("<html>")
        with tarfile.open(archive, "w:gz") as writing:
            writing.add(tmp_path / named, named)
    with pytest.raises(EngineStartError, match=told), running_engine(ui=archive):
        pass


def test_a_mirror_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert jar().url.startswith("https://")
    monkeypatch.setenv("DIALPAD_IVR_MAVEN_URL", "https://mirror.example/maven/")
    assert jar().url == (
        "https://mirror.example/maven/org/conductoross/conductor-server/3.32.3/conductor-server-3.32.3-boot.jar"
    )


def test_the_jre_comes_as_a_package() -> None:
    assert Path(java()).is_file()


def alive(pid: int) -> bool:
    try:
        # A zombie that nobody has waited for yet is gone for all that matters.
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_child_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from dialpad_ivr.local.child import Child;"
        "Child([sys.executable, '-c', 'import os, sys, time; open(sys.argv[1], \"w\").write(str(os.getpid()));"
        " time.sleep(60)', sys.argv[1]], {}); time.sleep(60)"
    )
    file = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", code, str(file)])
    pid = until(lambda: file.exists() and file.read_text() and int(file.read_text()), what="the child")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(lambda: not alive(pid), 10, "the end of the child")


def test_a_child_does_not_inherit_real_engines_and_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIALPAD_API_KEY_EMEA", "real")
    monkeypatch.setenv("CONDUCTOR_SERVER_URL", "https://real")
    log = tmp_path / "log"
    code = "import os; print(sorted(n for n in os.environ if n.startswith(('DIALPAD', 'CONDUCTOR'))))"
    child = Child([sys.executable, "-c", code], {"DIALPAD_API_KEY": "double"}, log)
    until(lambda: child.exit_code is not None, what="the child")
    child.stop()
    assert log.read_text().strip() == "['DIALPAD_API_KEY']"


def test_a_free_port_is_free() -> None:
    assert free_port() != free_port()
