"""The workflow UI is found or read out of a remote jar, and whatever is wrong with that jar is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dialpad_ivr.local.download import DownloadError
from dialpad_ivr.local.engine import VERSION
from dialpad_ivr.local.ui import UiChangedError, digest_of
from dialpad_ivr.local.ui_archive import UiError, built_ui
from support.finding_ui import FILES, NAME, PADDING, contents, find
from support.jar_server import JarServer, jar_of


def test_only_the_ui_is_transferred(server: JarServer) -> None:
    folder, _ = find()
    assert contents(folder) == FILES
    assert server.sent < PADDING / 5
    assert None not in server.ranges
    assert len(server.ranges) < 6


def test_digest_is_shown_on_first_use(server: JarServer) -> None:
    folder, lines = find()
    assert server.url in lines[-1]
    assert digest_of(folder) in lines[-1]


def test_cached_ui_needs_no_request_and_reports_nothing(server: JarServer) -> None:
    folder, _ = find()
    server.ranges.clear()
    assert find() == (folder, [])
    assert server.ranges == []


@pytest.mark.parametrize("damage", ["changed", "missing", "added"])
def test_damaged_cache_is_replaced(server: JarServer, damage: str) -> None:
    folder, _ = find()
    if damage == "changed":
        (folder / "index.html").write_text("<script>")
    elif damage == "missing":
        (folder / "assets" / "app.js").unlink()
    else:
        (folder / "more.html").write_text("<script>")
    assert contents(find()[0]) == FILES


def test_another_ui_than_the_first_is_refused_until_its_digest_is_deleted(home: Path, server: JarServer) -> None:
    folder, _ = find()
    pin = home / "cache" / f"{NAME}.sha256"
    first = pin.read_text().strip()
    (folder / "index.html").unlink()
    server.content = jar_of({**FILES, "index.html": b"<script>"})
    with pytest.raises(UiChangedError) as caught:
        find()
    problem, remedy = str(caught.value).splitlines()
    assert first in problem
    assert str(pin) in remedy
    assert "--ui none" in remedy
    assert pin.read_text().strip() == first
    pin.unlink()
    assert (find()[0] / "index.html").read_bytes() == b"<script>"
    assert pin.read_text().strip() != first


def test_password_and_signature_of_the_address_are_not_shown(
    home: Path, server: JarServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url.replace("//", "//me:hunter2@") + "?signature=hunter3"
    monkeypatch.setenv("DIALPAD_IVR_UI_URL", url)
    _, lines = find()
    assert server.url in "".join(lines)
    assert "hunter" not in "".join(lines)


@pytest.mark.parametrize(
    "place", [f"server/oss/{VERSION}/conductor-server.jar", "server/oss/latest/conductor-server.jar"]
)
def test_jar_of_the_engines_own_tool_is_preferred(home: Path, server: JarServer, place: str) -> None:
    jar = home / ".conductor-cli" / place
    jar.parent.mkdir(parents=True)
    jar.write_bytes(server.content)
    folder, lines = find()
    assert contents(folder) == FILES
    assert str(jar) in lines[-1]
    assert server.ranges == []


@pytest.mark.parametrize("content", [jar_of(FILES, version="3.21.0"), b"half a downl"])
def test_jar_of_the_engines_own_tool_that_is_of_no_use_is_passed_over(
    home: Path, server: JarServer, content: bytes
) -> None:
    jar = home / ".conductor-cli" / "server" / "oss" / "latest" / "conductor-server.jar"
    jar.parent.mkdir(parents=True)
    jar.write_bytes(content)
    folder, lines = find()
    assert contents(folder) == FILES
    assert lines[0].startswith(str(jar))


def test_cache_that_others_can_write_to_is_refused(home: Path, server: JarServer) -> None:
    (home / "cache").mkdir()
    (home / "cache").chmod(0o777)
    with pytest.raises(DownloadError, match="Other users can write"):
        find()


@pytest.mark.long
def test_concurrent_processes_transfer_once(home: Path, server: JarServer) -> None:
    command = [sys.executable, "-c", "from dialpad_ivr.local.ui import find_ui; print(find_ui(lambda _: None))"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second,
    ):
        printed = {first.communicate(timeout=60)[0], second.communicate(timeout=60)[0]}
    assert printed == {f"{home / 'cache' / NAME}\n"}
    assert len([byte_range for byte_range in server.ranges if byte_range and byte_range.startswith("bytes=-")]) == 1


def test_named_jar_is_used_as_it_is(home: Path) -> None:
    jar = home / "server.jar"
    jar.write_bytes(jar_of(FILES, version="3.21.0"))
    with built_ui(jar) as folder:
        assert contents(folder) == FILES
    assert not folder.exists()


def test_named_jar_without_a_ui_is_refused(home: Path) -> None:
    jar = home / "server.jar"
    jar.write_bytes(jar_of({}))
    with pytest.raises(UiError, match="no UI"), built_ui(jar):
        pass
