"""Downloads from a real server that cuts connections, ignores ranges or sends the wrong file."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dialpad_ivr.local.download import Artifact, DownloadError, fetch

CONTENT = bytes(range(256)) * 20_000  # 5 MB


class Server(ThreadingHTTPServer):
    """Serves CONTENT; the first `cuts` responses break off after `cut_after` bytes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str | None] = []
        self.content = CONTENT
        self.cuts = 0
        self.cut_after = 2_000_000
        self.knows_ranges = True
        self.status = 200

    @property
    def artifact(self) -> Artifact:
        url = f"http://127.0.0.1:{self.server_port}/some/file.jar"
        return Artifact(url, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        requested = self.headers.get("range")
        self.server.requests.append(requested)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        start = int(requested.removeprefix("bytes=").rstrip("-")) if requested and self.server.knows_ranges else 0
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header(
                "content-range", f"bytes {start}-{len(self.server.content) - 1}/{len(self.server.content)}"
            )
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.server.cuts:
            self.server.cuts -= 1
            self.wfile.write(body[: self.server.cut_after])
            self.close_connection = True
            return
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("dialpad_ivr.local.download.time.sleep", lambda _: None)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


def test_cached_file_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    path = fetch(server.artifact, tmp_path)
    assert path.read_bytes() == CONTENT
    assert fetch(server.artifact, tmp_path) == path
    assert server.requests == [None]


def test_broken_connection_is_resumed_with_a_range_request(server: Server, tmp_path: Path) -> None:
    server.cuts = 2
    assert fetch(server.artifact, tmp_path).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=2000000-", "bytes=4000000-"]


def test_partial_file_of_an_interrupted_run_is_resumed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.jar.part").write_bytes(CONTENT[:3_000_000])
    assert fetch(server.artifact, tmp_path).read_bytes() == CONTENT
    assert server.requests == ["bytes=3000000-"]


def test_complete_part_file_needs_no_request(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.jar.part").write_bytes(CONTENT)
    assert fetch(server.artifact, tmp_path).read_bytes() == CONTENT
    assert server.requests == []


def test_server_without_range_support_restarts_the_download(server: Server, tmp_path: Path) -> None:
    server.knows_ranges = False
    (tmp_path / "file.jar.part").write_bytes(b"x" * 1000)
    assert fetch(server.artifact, tmp_path).read_bytes() == CONTENT


def test_checksum_mismatch_deletes_the_download(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(DownloadError, match="SHA-256"):
        fetch(server.artifact, tmp_path)
    assert not list(tmp_path.glob("*.part"))
    assert not (tmp_path / "file.jar").exists()


def test_oversized_response_is_not_read_to_its_end(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT + bytes(50_000_000)
    with pytest.raises(DownloadError):
        fetch(server.artifact, tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 30_000_000


@pytest.mark.parametrize("status", [404, 503])
def test_http_error_suggests_a_mirror(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(DownloadError, match="DIALPAD_IVR_MAVEN_URL"):
        fetch(server.artifact, tmp_path)


def test_unreachable_server_keeps_the_part_file(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "file.jar.part"
    part.write_bytes(CONTENT[:1000])
    nowhere = Artifact("http://127.0.0.1:9/file.jar", server.artifact.sha256, server.artifact.size)
    with pytest.raises(DownloadError, match="DIALPAD_IVR_MAVEN_URL"):
        fetch(nowhere, tmp_path)
    assert part.read_bytes() == CONTENT[:1000]


def test_modified_cached_file_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    path = fetch(server.artifact, tmp_path)
    path.write_bytes(b"tampered")
    assert fetch(server.artifact, tmp_path).read_bytes() == CONTENT


def test_full_disk_is_reported_before_any_request(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dialpad_ivr.local.download.shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(DownloadError, match="DIALPAD_IVR_CACHE_DIR"):
        fetch(server.artifact, tmp_path)
    assert server.requests == []


@pytest.mark.long
def test_concurrent_processes_download_once(server: Server, tmp_path: Path) -> None:
    artifact = server.artifact
    code = (
        "import pathlib, sys; from dialpad_ivr.local.download import Artifact, fetch;"
        "fetch(Artifact(sys.argv[1], sys.argv[2], int(sys.argv[3])), pathlib.Path(sys.argv[4]))"
    )
    arguments = [sys.executable, "-c", code, artifact.url, artifact.sha256, str(artifact.size), str(tmp_path)]
    with (
        subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as first,
        subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as second,
    ):
        try:
            assert [first.wait(30), second.wait(30)] == [0, 0]
        finally:
            first.kill()
            second.kill()
    assert server.requests == [None]
