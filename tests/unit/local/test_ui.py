"""The workflow UI is found or read out of a remote jar, and whatever is wrong with that jar is refused."""

from __future__ import annotations

import http.server
import io
import ssl
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dialpad_ivr.local.download import DownloadError
from dialpad_ivr.local.engine import VERSION
from dialpad_ivr.local.ui import UiChangedError, digest_of, find_ui
from dialpad_ivr.local.ui_archive import UiError, built_ui
from support.jar_server import STATIC, JarServer, jar_of, serving

FILES = {
    "index.html": b"<html>",
    "assets/app.js": bytes(range(256)) * 400,
    **{f"icons/{i}.svg": b"<svg/>" * i for i in range(200)},
}
PADDING = 20_000_000
NAME = f"conductor-ui-{VERSION}"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without the engine's own tool, and with an empty cache at home/cache."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DIALPAD_IVR_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JarServer]:
    with serving(jar_of(FILES, padding=PADDING)) as running:
        monkeypatch.setenv("DIALPAD_IVR_UI_URL", running.url)
        yield running


def find() -> tuple[Path, list[str]]:
    """The UI, and what was reported."""
    lines: list[str] = []
    return find_ui(lines.append), lines


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def refused(home: Path) -> str:
    """The reason why there is no UI; nothing but a lock is left in the cache."""
    with pytest.raises(UiError) as caught:
        find()
    assert [path.name for path in (home / "cache").iterdir()] == [f"{NAME}.lock"]
    reason, remedy = str(caught.value).splitlines()
    assert "dialpad-ivr dev --ui PATH" in remedy
    return reason


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


def test_server_without_ranges_is_not_read_to_its_end(home: Path, server: JarServer) -> None:
    server.knows_ranges = False
    assert "no range requests" in refused(home)
    assert server.sent < PADDING


@pytest.mark.parametrize("cut_after", [0, 1_000, 100_000])
def test_truncated_response_is_refused(home: Path, server: JarServer, cut_after: int) -> None:
    server.cut_after = cut_after
    refused(home)


def test_truncated_jar_is_refused(home: Path, server: JarServer) -> None:
    server.content = server.content[:-100]
    assert "damaged" in refused(home)


def test_wrong_crc_is_refused(home: Path, server: JarServer) -> None:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as jar:
        jar.writestr(f"{STATIC}index.html", b"<html>intact</html>")
        jar.writestr(f"BOOT-INF/lib/conductor-core-{VERSION}.jar", b"")
    server.content = stored.getvalue().replace(b"intact", b"forged")
    assert "CRC" in refused(home)


@pytest.mark.parametrize("name", ["../evil.html", "a/../../../evil.html", "/evil.html", "a//b", "..\\evil", "C:evil"])
def test_name_that_could_lead_elsewhere_is_refused(home: Path, server: JarServer, name: str) -> None:
    server.content = jar_of({**FILES, name: b"<script>"})
    assert "unsafe name" in refused(home)
    assert not list(home.rglob("evil*"))


def test_same_name_twice_is_refused(home: Path, server: JarServer) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        jar = io.BytesIO(server.content)
        with zipfile.ZipFile(jar, "a") as archive:
            archive.writestr(f"{STATIC}index.html", b"<script>")
    server.content = jar.getvalue()
    refused(home)


def test_symbolic_link_is_written_as_a_file(server: JarServer) -> None:
    jar = io.BytesIO(jar_of(FILES))
    with zipfile.ZipFile(jar, "a") as archive:
        link = zipfile.ZipInfo(f"{STATIC}link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    server.content = jar.getvalue()
    link_path = find()[0] / "link"
    assert not link_path.is_symlink()
    assert link_path.read_text() == "/etc/passwd"


def test_zip_bomb_is_refused_before_it_is_unpacked(home: Path, server: JarServer) -> None:
    server.content = jar_of({**FILES, "bomb": bytes(201_000_000)})
    assert "larger than" in refused(home)


def test_zip_bomb_that_understates_its_size_is_cut_off(home: Path, server: JarServer) -> None:
    size = 50_000_000
    jar = jar_of({**FILES, "bomb": bytes(size)})
    server.content = jar.replace(size.to_bytes(4, "little"), (1_000).to_bytes(4, "little"))
    assert "damaged" in refused(home)


def test_huge_directory_is_not_transferred(home: Path, server: JarServer) -> None:
    jar = io.BytesIO()
    with zipfile.ZipFile(jar, "w") as archive:
        for i in range(70):
            archive.writestr(zipfile.ZipInfo(f"{i}{'x' * 60_000}"), b"")
    server.content = jar.getvalue()
    assert "more of it would have to be transferred" in refused(home)
    assert server.sent < 4_000_000


def test_zip64_directory_is_read(server: JarServer) -> None:
    jar = io.BytesIO()
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr(f"{STATIC}index.html", b"<html>")
        archive.writestr(f"BOOT-INF/lib/conductor-core-{VERSION}.jar", b"")
        for i in range(65_536):  # more than a directory of the old kind can count
            archive.writestr(zipfile.ZipInfo(str(i)), b"")
    server.content = jar.getvalue()
    assert contents(find()[0]) == {"index.html": b"<html>"}


def test_redirect_is_followed(server: JarServer) -> None:
    server.redirect = "/elsewhere"
    assert contents(find()[0]) == FILES


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://example.com/jar", "not at an HTTPS address"),
        ("file:///etc/passwd", "not at an HTTPS address"),
        ("ftp://127.0.0.1/jar", "not at an HTTPS address"),
        ("/jar", "redirected too often"),
    ],
)
def test_unsafe_redirect_is_refused(home: Path, server: JarServer, target: str, reason: str) -> None:
    server.redirect = target
    assert reason in refused(home)


def test_plain_http_from_another_machine_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIALPAD_IVR_UI_URL", "http://example.com/jar")
    assert "not at an HTTPS address" in refused(home)


def test_untrusted_certificate_is_refused(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", certificate]
        + ["-out", certificate.with_suffix(".crt")],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.with_suffix(".crt"), certificate)
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as running:
        running.socket = context.wrap_socket(running.socket, server_side=True)
        running.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            monkeypatch.setenv("DIALPAD_IVR_UI_URL", f"https://localhost:{running.server_port}/jar")
            assert "CERTIFICATE_VERIFY_FAILED" in refused(home)
        finally:
            running.shutdown()
            thread.join()


def test_silent_server_is_given_up_after_three_seconds(home: Path, server: JarServer) -> None:
    server.answers.clear()
    began = time.monotonic()
    assert "no answer within 3 s" in refused(home)
    assert 2.9 < time.monotonic() - began < 4


def test_unreachable_server_is_given_up_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIALPAD_IVR_UI_URL", "https://127.0.0.1:9/jar")
    began = time.monotonic()
    refused(home)
    assert time.monotonic() - began < 3


def test_transfer_has_a_time_limit(home: Path, server: JarServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialpad_ivr.local.range_file._TOTAL_SECONDS", 0)
    assert "the transfer took more than" in refused(home)


def test_jar_that_changes_while_it_is_read_is_refused(home: Path, server: JarServer) -> None:
    server.changes = True
    assert "just changed" in refused(home)


def test_jar_of_another_version_is_refused(home: Path, server: JarServer) -> None:
    server.content = jar_of(FILES, version="3.21.0")
    assert f"not that of Conductor {VERSION}" in refused(home)


def test_jar_without_a_ui_is_refused(home: Path, server: JarServer) -> None:
    server.content = jar_of({"other.html": b""})
    assert "no UI" in refused(home)


def test_password_and_signature_of_the_address_are_not_shown(
    home: Path, server: JarServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url.replace("//", "//me:hunter2@") + "?signature=hunter3"
    monkeypatch.setenv("DIALPAD_IVR_UI_URL", url)
    _, lines = find()
    assert server.url in "".join(lines)
    assert "hunter" not in "".join(lines)


@pytest.mark.parametrize("place", [f"server/oss/{VERSION}/conductor-server.jar", "server/oss/latest/conductor-server.jar"])
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
