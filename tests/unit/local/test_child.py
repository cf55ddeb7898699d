"""Starting the local engine and other child processes."""

from __future__ import annotations

import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from dialpad_ivr.local.child import Child
from dialpad_ivr.local.engine import (
    EngineStartError,
    command,
    free_port,
    is_free,
    jar,
    java,
    running_engine,
    unpacked,
)
from dialpad_ivr.local.ui_archive import UiError
from support.engine import until


def test_server_listens_on_loopback_with_ai_integration_off(tmp_path: Path) -> None:
    line = command("java", tmp_path / "server.jar", 8080, tmp_path / "db", [])
    assert "--server.address=127.0.0.1" in line
    assert "--conductor.integrations.ai.enabled=false" in line
    assert not any("static-locations" in part for part in line)


def test_server_command_serves_the_ui_and_the_page_beside_it(tmp_path: Path) -> None:
    line = command("java", tmp_path / "server.jar", 8080, tmp_path / "db", [tmp_path, tmp_path / "more"])
    assert f"--spring.web.resources.static-locations=file:{tmp_path}/,file:{tmp_path}/more/" in line


def test_ui_folder_without_index_html_is_rejected_before_start(tmp_path: Path) -> None:
    with pytest.raises(UiError, match="not a built UI"), running_engine(ui=tmp_path):
        pass


@pytest.mark.parametrize("page", ["page.html", None])
def test_ui_archive_without_index_html_is_rejected_before_start(tmp_path: Path, page: str | None) -> None:
    archive = tmp_path / "ui.tar.gz"
    if page is None:
        archive.write_text("not an archive")
    else:
        (tmp_path / page).write_text("<html>")
        with tarfile.open(archive, "w:gz") as writing:
            writing.add(tmp_path / page, page)
    with pytest.raises(UiError, match=r"index\.html|cannot be unpacked"), running_engine(ui=archive):
        pass


def test_maven_mirror_setting_replaces_the_jar_url(monkeypatch: pytest.MonkeyPatch) -> None:
    assert jar().url.startswith("https://")
    monkeypatch.setenv("DIALPAD_IVR_MAVEN_URL", "https://mirror.example/maven/")
    assert jar().url == (
        "https://mirror.example/maven/org/conductoross/conductor-server/3.32.3/conductor-server-3.32.3-boot.jar"
    )


def test_a_server_that_cannot_be_unpacked_says_why_and_what_to_do(tmp_path: Path) -> None:
    failing = tmp_path / "java"
    failing.write_text("#!/bin/sh\necho No space left on device >&2\nexit 1\n")
    failing.chmod(0o755)
    with pytest.raises(EngineStartError, match=r"No space left on device.*DIALPAD_IVR_CACHE_DIR"):
        unpacked(tmp_path / "server.jar", str(failing))
    assert list(tmp_path.iterdir()) == [failing]


@pytest.mark.parametrize(
    ("java_does", "seconds", "what_to_do"),
    [
        ("exit 1", 60, "exited while it started; its last lines should say why."),
        ("exec sleep 60", 0, "try again when the machine is less busy, or has more memory free."),
    ],
)
def test_a_server_that_does_not_start_says_what_to_do_after_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, java_does: str, seconds: int, what_to_do: str
) -> None:
    failing = tmp_path / "java"
    failing.write_text(f"#!/bin/sh\n{java_does}\n")
    failing.chmod(0o755)
    monkeypatch.setattr("dialpad_ivr.local.engine.java", lambda: str(failing))
    monkeypatch.setattr("dialpad_ivr.local.engine.fetch", lambda *_: tmp_path / "server.jar")
    monkeypatch.setattr("dialpad_ivr.local.engine.unpacked", lambda path, _: path)
    monkeypatch.setattr("dialpad_ivr.local.engine._READY_SECONDS", seconds)
    with pytest.raises(EngineStartError) as caught, running_engine(data=tmp_path / "data"):
        pass
    assert str(caught.value).startswith("The end of the Conductor server's log:\n")
    assert str(caught.value).endswith(what_to_do)


def test_java_is_found() -> None:
    assert Path(java()).is_file()


def alive(pid: int) -> bool:
    try:
        # A zombie counts as ended.
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from dialpad_ivr.local.child import Child;"
        "Child([sys.executable, '-c', 'import os, sys, time; open(sys.argv[1], \"w\").write(str(os.getpid()));"
        " time.sleep(60)', sys.argv[1]], {}); time.sleep(60)"
    )
    file = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", code, str(file)]) as parent:
        try:
            pid = until(lambda: file.exists() and file.read_text() and int(file.read_text()), what="the child")
        finally:
            parent.kill()
    until(lambda: not alive(pid), 10, "the end of the child")


def test_child_does_not_inherit_engine_and_key_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIALPAD_API_KEY_EMEA", "real")
    monkeypatch.setenv("CONDUCTOR_SERVER_URL", "https://real")
    log = tmp_path / "log"
    code = "import os; print(sorted(n for n in os.environ if n.startswith(('DIALPAD', 'CONDUCTOR'))))"
    child = Child([sys.executable, "-c", code], {"DIALPAD_API_KEY": "double"}, log)
    try:
        until(lambda: child.exit_code is not None, what="the child")
    finally:
        child.stop()
    assert log.read_text().strip() == "['DIALPAD_API_KEY']"


def test_free_port_is_free_until_taken() -> None:
    port = free_port()
    assert is_free(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
