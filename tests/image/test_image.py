"""The container image, really built and run: what `deploy/Dockerfile` and the compose file promise of it."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from dialpad_ivr.local.engine import free_port
from dialpad_ivr.testing.double import DoubleControl
from support.containers import ROOT, Podman, build_image, options_of, own_podman
from support.engine import EngineRest, until
from support.fixtures import put_quick_definitions
from support.redis import RedisServer
from tools.image import IMAGE

# The first test waits for the image, which takes a minute or two.
pytestmark = pytest.mark.timeout(900)

# podman would mount writable folders over /tmp and /run; docker does not.
HARDENED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges")
CALLS = 4
# What a process may do is what the kernel says of it.
LOOK_AROUND = """
import json, os, pathlib
status = dict(line.split(":\\t") for line in pathlib.Path("/proc/1/status").read_text().splitlines())
refused = []
for folder in ("/", "/tmp", "/opt/dialpad-ivr"):
    try:
        pathlib.Path(folder, "new").touch()
    except OSError as exc:
        refused.append(os.strerror(exc.errno))
print(json.dumps({"status": status, "refused": refused, "uid": os.getuid()}))
"""


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    with own_podman() as podman:
        yield podman


@pytest.fixture(scope="module")
def built(podman: Podman) -> str:
    """What the build printed, and how long it took."""
    started = time.monotonic()
    printed = build_image(podman)
    return f"{printed.splitlines()[-1]}, in {time.monotonic() - started:.0f} s"


@pytest.fixture
def settings(built: str, engine: EngineRest, double: DoubleControl) -> dict[str, str]:
    """The variables of a container that is to reach the tests' engine and double."""
    return {
        "CONDUCTOR_SERVER_URL": f"{engine.url}/api",
        "DIALPAD_IVR_API_URL": double.url,
        "DIALPAD_IVR_ALLOW_LOOPBACK": "true",
        # On the host's own network, so no other machine may reach it.
        "DIALPAD_IVR_HEALTH_HOST": "127.0.0.1",
        "DIALPAD_IVR_HEALTH_PORT": str(free_port()),
    }


def wait_until_ready(podman: Podman, name: str, settings: dict[str, str]) -> str:
    """Wait for a container's worker; returns the URL of its health port."""
    url = f"http://127.0.0.1:{settings['DIALPAD_IVR_HEALTH_PORT']}"

    def ready() -> bool:
        assert podman.container(name)["State"]["Running"], podman("logs", name)
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
        return False

    until(ready, 60, "the container's worker")
    return url


def drain(engine: EngineRest, double: DoubleControl, stop: Callable[[], object], latency: float) -> float:
    """Stop a worker while calls of that many seconds are in flight, all of which complete; returns how long it took."""
    double.reset()  # doctor has called it
    double.configure(latency=latency)
    change = {"target_type": "user", "ivr_type": "VM_DROP_MESSAGE", "ivr_id": "5127493019721800"}
    ids = [engine.start("set_custom_ivr", {**change, "target_id": "5502522061422603"}) for _ in range(CALLS)]
    double.wait_for_arrivals(CALLS)
    started = time.monotonic()
    stop()
    took = time.monotonic() - started
    assert [workflow["output"]["outcome"] for workflow in engine.ended(ids)] == ["updated"] * CALLS
    assert [call["status"] for call in double.ledger() if call["method"] == "PATCH"] == [200] * CALLS  # none twice
    return took


def test_the_image_is_built_from_the_dockerfile_and_is_small(
    podman: Podman, built: str, record_property: Callable[[str, object], None]
) -> None:
    record_property("image", built)
    assert re.fullmatch(rf"Built {re.escape(IMAGE)} with podman: \d+ MB, in \d+ s", built)
    (image,) = json.loads(podman("image", "inspect", IMAGE))
    assert image["Size"] < 300e6
    assert image["Config"]["Labels"]["org.opencontainers.image.version"] == IMAGE.rpartition(":")[2]
    assert image["Config"]["StopSignal"] == "SIGTERM"
    assert "DIALPAD_IVR_HEALTH_HOST=0.0.0.0" in image["Config"]["Env"]


@pytest.mark.parametrize(
    ("argument", "code", "text"),
    [("--help", 0, "dialpad-ivr [OPTIONS] COMMAND"), ("no-such-command", 2, "No such command")],
)
def test_its_command_is_dialpad_ivr(podman: Podman, built: str, argument: str, code: int, text: str) -> None:
    name = podman("run", "--detach", *HARDENED, IMAGE, argument)
    ended, printed = podman.ended(name)
    assert ended == code
    assert text in printed


def test_a_worker_in_it_is_healthy_confined_and_drains_on_sigterm(
    podman: Podman,
    settings: dict[str, str],
    engine: EngineRest,
    double: DoubleControl,
    record_property: Callable[[str, object], None],
) -> None:
    environ = options_of({**settings, "DIALPAD_API_KEY": double.key})
    podman("run", "--detach", "--name=worker", "--stop-timeout=30", *HARDENED, *environ, IMAGE)
    url = wait_until_ready(podman, "worker", settings)
    # There is no systemd to run it every 15 s.
    podman("healthcheck", "run", "worker")
    assert podman.container("worker")["State"]["Health"]["Status"] == "healthy"
    assert httpx.get(f"{url}/metrics", trust_env=False).text.startswith("# HELP dialpad_ivr_")

    seen = json.loads(podman("exec", "worker", "python", "-c", LOOK_AROUND))
    status = seen["status"]
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"10001"}
    assert {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert seen["refused"] == ["Read-only file system"] * 3

    checked = podman.attempt("exec", "worker", "dialpad-ivr", "doctor")
    assert checked.returncode == 0, checked.stdout + checked.stderr

    took = drain(engine, double, lambda: podman("stop", "worker"), latency=8)
    record_property("image drained", f"{CALLS} calls in flight completed, and exit 0, {took:.1f} s after SIGTERM")
    assert podman.container("worker")["State"]["ExitCode"] == 0
    logs = podman.attempt("logs", "worker")
    assert double.key not in logs.stdout + logs.stderr


@pytest.fixture
def compose(
    podman: Podman, settings: dict[str, str], double: DoubleControl, redis_server: RedisServer, tmp_path: Path
) -> Iterator[Callable[..., str]]:
    """Run a command of podman-compose on the compose file, whose other services are the tests' own."""
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"default": double.key}))
    # Calls that take longer than podman's own 10 s until it kills.
    environment = {**settings, "DIALPAD_IVR_REDIS_URL": redis_server.url, "DIALPAD_IVR_READ_TIMEOUT_SECONDS": "20"}
    services = {name: {"network_mode": "host", "environment": environment} for name in ("register", "worker-1")}
    override = tmp_path / "override.yaml"
    text = yaml.safe_dump({"services": services})
    override.write_text(re.sub(r"^( +)network_mode: host$", r"\g<0>\n\1networks: !reset []", text, flags=re.MULTILINE))
    files = ["--file", str(ROOT / "deploy/compose.yaml"), "--file", str(override)]
    # Of `stop_grace_period`, podman-compose makes no stop time-out of the container.
    options = ["--podman-run-args=--stop-timeout=30", "--project-name", "ivr-test", *files]

    def run(*command: str) -> str:
        done = podman.call(
            *(sys.executable, "-m", "podman_compose", *options, *command),
            POSTGRES_PASSWORD="not used",
            DIALPAD_KEYS_FILE=str(keys),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    yield run
    run("down")


def test_the_services_of_the_compose_file_run_in_it(
    podman: Podman,
    compose: Callable[..., str],
    settings: dict[str, str],
    engine: EngineRest,
    double: DoubleControl,
) -> None:
    engine.put_shipped()
    engine.delete_workflow_definition("set_custom_ivr_test_request", 1)
    try:
        compose("up", "--detach", "--no-deps", "--no-build", "register")
        code, printed = podman.ended("ivr-test_register_1")
        assert code == 0, printed
        engine.terminate(engine.start("set_custom_ivr_test_request", {}, version=1))  # it is there again
    finally:
        put_quick_definitions(engine)

    compose("up", "--detach", "--no-deps", "--no-build", "worker-1")
    name = "ivr-test_worker-1_1"
    wait_until_ready(podman, name, settings)
    container = podman.container(name)
    assert container["Config"]["StopTimeout"] == 30
    assert container["HostConfig"]["ReadonlyRootfs"] is True
    assert container["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
    assert not container["EffectiveCaps"]
    assert container["HostConfig"]["Init"] is True
    # podman itself, not podman-compose: as when the machine shuts down.
    assert drain(engine, double, lambda: podman("stop", name), latency=12) > 10
    assert podman.container(name)["State"]["ExitCode"] == 0
