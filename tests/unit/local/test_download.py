"""Downloads against a real server that cuts connections, ignores ranges or sends the wrong thing."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dialpad_ivr.local import download
from dialpad_ivr.local.download import Artifact, DownloadError, fetch

CONTENT = bytes(range(256)) * 20_000  # 5 MB


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `cut_after` bytes of an answer the connection breaks, as often as `cuts` says."""

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
        asked = self.headers.get("range")
        self.server.requests.append(asked)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.knows_ranges else 0
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
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_file_is_downloaded_once(server: Server, tmp_path: Path) -> None:
    path = fetch(server.artifact, tmp_path)
    assert path.read_bytes() == CONTENT
    assert fetch(server.artifact, tmp_path) == path
    assert server.requests == [None]


def test_a_cut_connection_is_continued_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.cuts = 2
    assert fetch(server.artifact, tmp_path).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=2000000-", "bytes=4000000-"]


def test_what_an_interrupted_run_left_is_continued(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.jar.part").write_bytes(CONTENT[:3_000_000])
    assert fetch(server.artifact, tmp_path).read_bytes() == CONTENT
    assert server.requests == ["bytes=3000000-"]


def test_a_whole_part_file_needs_no_request(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.jar.part").write_bytes(CONTENT)
    assert fetch(server.artifact, tmp_path).read_bytes() == CONTENT
    assert server.requests == []


def test_a_server_that_ignores_ranges_is_read_from_the_start(server: Server, tmp_path: Path) -> None:
    server.knows_ranges = False
    (tmp_path / "file.jar.part").write_bytes(b"x" * 1000)
    assert fetch(server.artifact, tmp_path).read_bytes() == CONTENT


def test_a_wrong_file_is_thrown_away_and_told(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(DownloadError, match="SHA-256"):
        fetch(server.artifact, tmp_path)
    assert not list(tmp_path.glob("*.part"))
    assert not (tmp_path / "file.jar").exists()


def test_a_file_that_is_longer_than_it_should_be_is_not_read_to_its_end(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT + bytes(50_000_000)
    with pytest.raises(DownloadError):
        fetch(server.artifact, tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 30_000_000


@pytest.mark.parametrize("status", [404, 503])
def test_a_server_that_has_it_not_is_told_with_what_to_do(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(DownloadError, match="DIALPAD_IVR_MAVEN_URL"):
        fetch(server.artifact, tmp_path)


def test_a_server_that_is_not_there_is_told_and_what_is_there_is_kept(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "file.jar.part"
    part.write_bytes(CONTENT[:1000])
    nowhere = Artifact("http://127.0.0.1:9/file.jar", server.artifact.sha256, server.artifact.size)
    with pytest.raises(DownloadError, match="goes on from it"):
        fetch(nowhere, tmp_path)
    assert part.read_bytes() == CONTENT[:1000]


def test_a_file_that_was_changed_afterwards_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    path = fetch(server.artifact, tmp_path)
    path.write_bytes(b"tampered")
    assert fetch(server.artifact, tmp_path).read_bytes() == CONTENT


def test_a_full_disk_is_told_before_anything_is_read(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(DownloadError, match="DIALPAD_IVR_CACHE_DIR"):
        fetch(server.artifact, tmp_path)
    assert server.requests == []


def test_two_processes_download_it_once(server: Server, tmp_path: Path) -> None:
    artifact = server.artifact
    code = (
        "import pathlib, sys; from dialpad_ivr.local.download import Artifact, fetch;"
        "fetch(Artifact(sys.argv[1], sys.argv[2], int(sys.argv[3])), pathlib.Path(sys.argv[4]))"
    )
    arguments = [sys.executable, "-c", code, artifact.url, artifact.sha256, str(artifact.size), str(tmp_path)]
    both = [subprocess.Popen(arguments, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(30) for process in both] == [0, 0]
    assert server.requests == [None]
