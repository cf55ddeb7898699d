"""Java's cache for a quick start of the server, made by a stand-in for Java."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dialpad_ivr.local.engine import running_engine

# Writes down its options; as a server it is healthy at once, and writes its cache, if asked to, when it is stopped.
JAVA = """#!{python}
import json, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
options = dict(word.partition("=")[::2] for word in sys.argv[1:])
if "-Djarmode" in options:
    Path(sys.argv[-1]).mkdir()
    sys.exit()
with Path(sys.argv[0]).with_name("options").open("a") as file:
    file.write(json.dumps({{name: value for name, value in options.items() if "AOT" in name}}) + "\\n")
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{{"healthy": true}}')
def stop(*_):
    if "-XX:AOTCacheOutput" in options and {writes}:
        Path(options["-XX:AOTCacheOutput"]).write_text("classes")
    sys.exit()
signal.signal(signal.SIGTERM, stop)
HTTPServer(("127.0.0.1", int(options["--server.port"])), Handler).serve_forever()
"""


@pytest.fixture
def java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Java 25 that is no other program's, beside a jar that is downloaded already."""
    path = tmp_path / "java" / "bin" / "java"
    for folder in (path.parent, path.parents[1] / "lib", tmp_path / "cache"):
        folder.mkdir(parents=True)
    (path.parents[1] / "lib" / "modules").write_text("modules")
    monkeypatch.setattr("dialpad_ivr.local.engine.java", lambda: str(path))
    monkeypatch.setattr("dialpad_ivr.local.engine.fetch", lambda *_: tmp_path / "cache" / "server.jar")
    is_java(path, "25.0.2")
    return path


def is_java(path: Path, version: str, *, writes: bool = True) -> None:
    path.write_text(JAVA.format(python=sys.executable, writes=writes))
    path.chmod(0o755)
    (path.parents[1] / "release").write_text(f'JAVA_VERSION="{version}"\n')


def starts(count: int, java: Path) -> list[str]:
    """Start the server that often; returns the options of each run, and of the training run, that are about caches."""
    for _ in range(count):
        with running_engine():
            pass
    return (java.with_name("options")).read_text().splitlines()


def test_it_is_made_before_the_second_start_and_used_from_then_on(
    java: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    starts(1, java)
    (tmp_path / "cache" / "server" / "training-killed").mkdir()
    first, training, second, third = starts(2, java)
    (made,) = (tmp_path / "cache" / "server").glob("*.aot")
    assert made.read_text() == "classes"
    assert first == "{}"
    assert "AOTCacheOutput" in training
    assert second == third == f'{{"-XX:AOTCache": "{made}"}}'
    assert capsys.readouterr().err.count("Preparing the Conductor server") == 1
    assert {path.suffix for path in made.parent.iterdir()} == {".aot", ".lock"}


def test_another_build_of_java_makes_one_of_its_own(java: Path, tmp_path: Path) -> None:
    starts(2, java)
    (java.parents[1] / "lib" / "modules").write_text("other modules")
    assert "AOTCacheOutput" in starts(1, java)[-2]
    assert len(list((tmp_path / "cache" / "server").glob("*.aot"))) == 2


@pytest.mark.parametrize("version", ["21.0.5", "24", "unknown"])
def test_a_java_that_has_no_such_cache_starts_without(java: Path, version: str) -> None:
    is_java(java, version)
    assert starts(2, java) == ["{}", "{}"]


def test_a_java_that_does_not_say_its_version_starts_without(java: Path) -> None:
    (java.parents[1] / "release").unlink()
    assert starts(2, java) == ["{}", "{}"]


def test_a_folder_that_can_only_be_read_is_no_hindrance(
    java: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts(1, java)

    def refused(*_: Path) -> None:
        raise PermissionError

    monkeypatch.setattr("dialpad_ivr.local.engine.lock", refused)
    assert starts(1, java) == ["{}", "{}"]


def test_one_that_cannot_be_made_is_not_tried_again(java: Path) -> None:
    is_java(java, "25", writes=False)
    first, training, second, third = starts(3, java)
    assert "AOTCacheOutput" in training
    assert first == second == third == "{}"
