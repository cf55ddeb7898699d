"""podman with a storage of its own, which nothing outside of a test sees, and nothing of which stays."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.browser import not_at_hand
from support.engine import until
from tools.image import IMAGE, base_image

ROOT = Path(__file__).parents[2]
_INSTALL = "apt-get install --no-install-recommends podman runc catatonit mmdebstrap"


class Podman:
    """Runs podman's commands, and what calls podman, with that storage.

    Containers have the host's network: what listens on its loopback interface is theirs too, and no bridge or packet
    filter of the host is touched.
    """

    def __init__(self, folder: Path) -> None:
        storage, settings = folder / "storage.conf", folder / "containers.conf"
        places = {"graphroot": folder / "graph", "runroot": folder / "run"}
        storage.write_text(_toml("storage", {"driver": "overlay", **places}))
        # Above the limits of this process, the kernel would refuse them; podman itself stays below the last process id.
        last_pid = int(Path("/proc/sys/kernel/pid_max").read_text())
        limits = {"nofile": _hard(resource.RLIMIT_NOFILE), "nproc": min(_hard(resource.RLIMIT_NPROC), last_pid)}
        ulimits = [f"{name}={limit}:{limit}" for name, limit in limits.items()]
        engine = {
            # crun refuses machines on which both versions of cgroups are mounted.
            **({"runtime": "runc"} if shutil.which("runc") else {}),
            "cgroup_manager": "cgroupfs",  # nor is there a systemd
            "events_logger": "file",
            "tmp_dir": folder / "tmp",
            "static_dir": folder / "static",
            "volume_path": folder / "volumes",
        }
        settings.write_text(
            _toml("containers", {"default_ulimits": ulimits, "netns": "host"})
            + _toml("engine", engine)
            + _toml("network", {"network_config_dir": folder / "networks"})
        )
        self.environ = {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage), "CONTAINERS_CONF": str(settings)}

    def attempt(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command of podman; it may fail."""
        return self.call("podman", *command, **environ)

    def __call__(self, *command: str) -> str:
        """Run a command of podman; returns what it prints."""
        done = self.attempt(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def call(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run any command, with podman's settings in its environment."""
        return subprocess.run(
            command,
            env={**self.environ, **environ},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def ended(self, name: str, timeout: float = 60) -> tuple[int, str]:
        """Wait for a container to end; returns its exit code and what it printed.

        `podman wait` and `podman run` in the foreground wait for conmon, too: 20 s if process 1 does not reap it.
        """

        def exit_code() -> tuple[int] | None:
            state = self.container(name)["State"]
            return (state["ExitCode"],) if state["Status"] in ("exited", "stopped") else None

        (code,) = until(exit_code, timeout, f"the container {name}")
        logs = self.attempt("logs", name)
        return code, logs.stdout + logs.stderr

    def container(self, name: str) -> dict[str, Any]:
        """What there is to know of a container."""
        (found,) = json.loads(self("container", "inspect", name))
        assert isinstance(found, dict)
        return found


@contextmanager
def own_podman() -> Iterator[Podman]:
    """A podman with an empty storage, removed at the end."""
    if not shutil.which("podman"):
        not_at_hand("No podman on the PATH.", _INSTALL)
    # Of a short name: the paths of its sockets must not be long.
    with tempfile.TemporaryDirectory(prefix="ivr-") as folder:
        podman = Podman(Path(folder))
        try:
            yield podman
        finally:
            podman("rm", "--all", "--force", "--time", "0")
            # The clean-up of a container that has ended may still write its event into a folder that this removes.
            until(lambda: podman.attempt("system", "reset", "--force").returncode == 0, what="podman to be reset")


def build_image(podman: Podman) -> str:
    """Build the image as `make image` does, from the real base if a registry is reached; returns what that prints."""
    registry = podman.attempt("pull", "--quiet", base_image()).returncode == 0
    if not registry and not shutil.which("mmdebstrap"):
        not_at_hand("No container registry is reached, and no mmdebstrap is on the PATH.", _INSTALL)
    base = "registry" if registry else "debian"
    done = podman.call(sys.executable, "-m", "tools.image", "--engine", "podman", "--base", base)
    assert done.returncode == 0, done.stdout + done.stderr
    assert IMAGE in done.stdout
    return done.stdout


def options_of(settings: Mapping[str, str]) -> list[str]:
    """Options that give a container these environment variables."""
    return [f"--env={name}={value}" for name, value in settings.items()]


def _hard(limit: int) -> int:
    hard = resource.getrlimit(limit)[1]
    return 1 << 20 if hard == resource.RLIM_INFINITY else hard


def _toml(table: str, values: Mapping[str, object]) -> str:
    """A table; JSON's strings and lists of them are TOML's."""
    lines = [f"{name} = {json.dumps(value, default=str)}" for name, value in values.items()]
    return "\n".join([f"[{table}]", *lines, ""])
