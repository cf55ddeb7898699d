"""Whatever is wrong with a remote jar, or with who serves it, is refused with the reason and a remedy."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path

import pytest

from dialpad_ivr.local.engine import VERSION
from support.certificates import make_certificate, tls
from support.finding_ui import FILES, PADDING, contents, find, refused
from support.jar_server import STATIC, JarServer, jar_of, serving


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
    server.content = jar_of({**FILES, "index.htmX": b"<script>"}).replace(b"index.htmX", b"index.html")
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.parametrize("trusted", [True, False])
def test_certificate_is_verified(home: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool) -> None:
    certificate = make_certificate(home, "127.0.0.1", "IP")
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(jar_of(FILES), tls(certificate)) as server:
        monkeypatch.setenv("DIALPAD_IVR_UI_URL", server.url)
        if trusted:
            assert contents(find()[0]) == FILES
        else:
            assert "CERTIFICATE_VERIFY_FAILED" in refused(home)
            assert server.ranges == []


@pytest.mark.long
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
