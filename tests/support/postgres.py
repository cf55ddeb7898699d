"""A real PostgreSQL server, from the PATH or where Debian puts it, and the engine on it as `deploy/` configures it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dialpad_ivr.local import engine as local
from dialpad_ivr.local.download import fetch
from dialpad_ivr.local.engine import LocalEngine, free_port
from support.engine import until

PROPERTIES = Path(__file__).parents[2] / "deploy" / "conductor.properties"


def postgres_folder() -> Path | None:
    """The folder of the server's programs."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    on_path = shutil.which("initdb")
    return max(found) if found else Path(on_path).parent if on_path else None


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server with an empty database; yields its JDBC URL. It knows no password, and listens on loopback only."""
    programs, port = postgres_folder(), free_port()
    assert programs is not None, "PostgreSQL is not installed"
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    options: dict[str, Any] = {"user": user, "cwd": "/", "stdin": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory(prefix="dialpad-ivr-postgres-") as folder:
        if user:
            shutil.chown(folder, user)
        data = f"{folder}/data"
        initdb = [f"{programs}/initdb", "--pgdata", data, "--username", "conductor", "--auth", "trust"]
        subprocess.run(initdb, check=True, capture_output=True, **options)
        settings = ("listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", "fsync=on")
        server = [f"{programs}/postgres", "-D", data, *(part for setting in settings for part in ("-c", setting))]
        process = subprocess.Popen(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        try:
            create = [f"{programs}/createdb", "--host=127.0.0.1", f"--port={port}", "--username=conductor", "conductor"]
            options["capture_output"] = True
            until(lambda: subprocess.run(create, check=False, **options).returncode == 0, 30, "PostgreSQL")
            yield f"jdbc:postgresql://127.0.0.1:{port}/conductor"
        finally:
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def engine_on_postgres(folder: Path) -> Iterator[LocalEngine]:
    """Run the engine with the properties of `deploy/`, but on a database and an address of its own."""
    with running_postgres() as url, engine_on_database(url, free_port(), folder) as engine:
        yield engine


@contextlib.contextmanager
def engine_on_database(url: str, port: int, folder: Path) -> Iterator[LocalEngine]:
    """Run the engine with the properties of `deploy/`, but on this database and this port of loopback."""
    java, log = local.java(), folder / "conductor.log"
    jar = local.unpacked(fetch(local.jar(), local.cache_folder()), java)
    deployed = ("datasource", "scheduler", "taskWorkerConfigs")  # are not of the command line there
    line = local.command(java, jar, port, Path(), options=local.aot_options(java, jar))
    command = [
        *(part for part in line if not any(word in part for word in deployed)),
        f"--spring.config.additional-location=file:{PROPERTIES}",
        f"--spring.datasource.url={url}",
    ]
    with local.serving(command, port, {"POSTGRES_PASSWORD": ""}, log) as engine:
        yield engine
