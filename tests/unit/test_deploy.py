"""What `deploy/` says: valid by the schemas and linters of each format, and in agreement with the code and itself."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose
from prometheus_client import CollectorRegistry

from dialpad_ivr import __version__
from dialpad_ivr.cli.app import COMMANDS
from dialpad_ivr.http_server import serving
from dialpad_ivr.settings import Settings
from dialpad_ivr.worker.health import health_app

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
MANIFESTS = [
    (path.name, document)
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text("utf-8"))
]
RESOURCES = [(name, document) for name, document in MANIFESTS if document["kind"] != "Kustomization"]
PODS = [document["spec"]["template"]["spec"] for _, document in RESOURCES if "template" in document.get("spec", {})]
OF_KIND = {document["kind"]: document for _, document in RESOURCES}
WORKER = OF_KIND["Deployment"]
GRACE = Settings.model_fields["grace_seconds"].default
PORT = Settings.model_fields["health_port"].default


def test_the_dockerfile_passes_its_linter() -> None:
    completed = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (completed.returncode, completed.stdout) == (0, "")


def test_the_compose_file_keeps_to_the_compose_specification() -> None:
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    # Variables are filled in before a file is read by the specification.
    filled = re.sub(r"\$\{[A-Z_]+(?::[-?]([^}]*))?\}", r"\1", text)
    parsed = PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(filled)))
    assert set(parsed.service_names()) == {"conductor", "postgres", "redis", "register", "worker-1", "worker-2"}


@pytest.mark.parametrize(("name", "document"), RESOURCES, ids=[f"{n} {d['kind']}" for n, d in RESOURCES])
def test_every_manifest_keeps_to_the_schema_of_its_kind(name: str, document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, "1.31", strict=True)


def test_kustomize_names_every_manifest() -> None:
    (kustomization,) = (document for _, document in MANIFESTS if document["kind"] == "Kustomization")
    assert set(kustomization["resources"]) == {name for name, _ in RESOURCES}
    assert kustomization["images"][0]["newTag"] == __version__


def test_a_job_of_a_new_version_has_a_new_name() -> None:
    assert OF_KIND["Job"]["metadata"]["name"] == f"register-{__version__.replace('.', '-')}"


def test_everything_that_the_image_is_made_of_is_in_the_build_context() -> None:
    context = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()}
    copied = {name for line in re.findall(r"^COPY ([^-].*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()}
    assert {"pyproject.toml", "uv.lock", "worker"} <= copied <= context
    assert all((ROOT / name).exists() for name in copied)


def test_containers_run_commands_that_there_are() -> None:
    assert 'ENTRYPOINT ["dialpad-ivr"]' in DOCKERFILE
    assert importlib.metadata.entry_points(group="console_scripts", name="dialpad-ivr")
    (default,) = re.findall(r"^CMD (.+)$", DOCKERFILE, re.MULTILINE)
    assert json.loads(default) == ["worker"]
    run = [service["command"] for service in ours() if "command" in service]
    run += [container["args"] for pod in PODS for container in pod["containers"] if "args" in container]
    assert run == [["register"], ["register"]]
    assert {command for command, *_ in run} | {"worker"} <= set(COMMANDS)


def ours() -> list[dict[str, Any]]:
    """The services that run our image."""
    return [service for service in COMPOSE["services"].values() if service["image"].startswith("dialpad-ivr:")]


def variables() -> Iterator[str]:
    """Every variable that our own containers are given."""
    for service in ours():
        yield from service["environment"]
    for _, document in RESOURCES:
        yield from document.get("data", {})
    yield from re.findall(r"^\s+(?:ENV )?([A-Z_]+)=", DOCKERFILE.split("FROM")[-1], re.MULTILINE)


def test_every_variable_is_one_that_the_worker_reads() -> None:
    known = {f"DIALPAD_IVR_{name.upper()}" for name in Settings.model_fields} | {"CONDUCTOR_SERVER_URL"}
    given = {name for name in variables() if not name.startswith(("PYTHON", "PATH"))}
    assert given
    assert given <= known
    text = "".join(path.read_text("utf-8") for path in DEPLOY.rglob("*") if path.is_file())
    assert set(re.findall(r"DIALPAD_IVR_[A-Z_]*[A-Z]", text)) <= known


def test_probes_and_ports_are_those_of_the_worker() -> None:
    (container,) = WORKER["spec"]["template"]["spec"]["containers"]
    paths = {route.path for route in health_app(None, lambda: None, AsyncMock()).routes}  # type: ignore[arg-type,attr-defined]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in paths
    assert container["ports"][0]["containerPort"] == PORT
    assert container["ports"][0]["name"] == container["livenessProbe"]["httpGet"]["port"]
    assert WORKER["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"] == str(PORT)
    assert OF_KIND["NetworkPolicy"]["spec"]["ingress"] == [{"ports": [{"port": PORT, "protocol": "TCP"}]}]
    assert f"EXPOSE {PORT}" in DOCKERFILE
    assert f"or {PORT};" in DOCKERFILE


async def test_the_images_health_check_asks_a_running_worker_and_no_proxy() -> None:
    (check,) = re.findall(r"^HEALTHCHECK .*?CMD (\[.*?\])$", DOCKERFILE.replace("\\\n", ""), re.MULTILINE)
    _, *arguments = json.loads(check)

    async def checked(port: int) -> int:
        environment = {**os.environ, "DIALPAD_IVR_HEALTH_PORT": str(port), "HTTP_PROXY": "http://127.0.0.1:9"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=environment, stderr=asyncio.subprocess.DEVNULL
        )
        return await process.wait()

    async with serving(health_app(CollectorRegistry(), lambda: "no engine", AsyncMock()), "127.0.0.1", 0) as port:
        assert await checked(port) == 0  # alive, though not ready
    assert await checked(port) == 1


def test_the_grace_period_outlasts_the_drain() -> None:
    assert WORKER["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > GRACE
    assert float(OF_KIND["ConfigMap"]["data"]["DIALPAD_IVR_GRACE_SECONDS"]) == GRACE
    for service in ours():
        assert int(service["stop_grace_period"].removesuffix("s")) > GRACE
    assert "STOPSIGNAL SIGTERM" in DOCKERFILE


def test_two_workers_share_their_limits_and_outlive_a_node() -> None:
    assert WORKER["spec"]["replicas"] > OF_KIND["PodDisruptionBudget"]["spec"]["minAvailable"]
    selected = OF_KIND["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
    assert selected.items() <= WORKER["spec"]["template"]["metadata"]["labels"].items()
    one, two = COMPOSE["services"]["worker-1"], COMPOSE["services"]["worker-2"]
    assert one["environment"]["DIALPAD_IVR_REDIS_URL"] == two["environment"]["DIALPAD_IVR_REDIS_URL"]


def test_keys_are_read_from_where_they_are_mounted() -> None:
    for service in ours():
        assert service["environment"]["DIALPAD_IVR_CREDENTIALS_FILE"] == f"/run/secrets/{service['secrets'][0]}"
        assert set(service["secrets"]) == set(COMPOSE["secrets"])
    (container,) = WORKER["spec"]["template"]["spec"]["containers"]
    (mount,) = container["volumeMounts"]
    assert str(Path(OF_KIND["ConfigMap"]["data"]["DIALPAD_IVR_CREDENTIALS_FILE"]).parent) == mount["mountPath"]
    assert "subPath" not in mount  # a rotated key would not arrive


def test_nothing_runs_as_root_or_may_write() -> None:
    (uid,) = set(re.findall(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE))
    assert f"--uid {uid}" in DOCKERFILE
    for pod in PODS:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == int(uid)
        assert pod["automountServiceAccountToken"] is False
        assert pod["serviceAccountName"] == OF_KIND["ServiceAccount"]["metadata"]["name"]
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    for service in ours():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_every_image_is_pinned() -> None:
    images = [service["image"] for service in COMPOSE["services"].values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    for image in images:
        assert re.search(r":\d+\.\d+", image), image
    assert f"dialpad-ivr:{__version__}" in images
    assert f'image.version="{__version__}"' in DOCKERFILE


def test_ports_are_published_on_the_loopback_interface_only() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_only_workers_reach_redis_and_only_the_engine_reaches_the_database() -> None:
    members = {
        network: {name for name, service in COMPOSE["services"].items() if network in service["networks"]}
        for network in COMPOSE["networks"]
    }
    assert members["limits"] == {"redis", "register", "worker-1", "worker-2"}
    assert members["database"] == {"postgres", "conductor"}
    assert all(COMPOSE["networks"][network]["internal"] for network in ("limits", "database"))


def test_the_engine_has_its_ai_integration_off_its_scheduler_on_and_redis_forgets_nothing() -> None:
    properties = (DEPLOY / "conductor.properties").read_text("utf-8").splitlines()
    assert {"conductor.integrations.ai.enabled=false", "conductor.scheduler.enabled=true"} <= {*properties}
    assert "noeviction" in COMPOSE["services"]["redis"]["command"]


def test_no_secret_is_written_down() -> None:
    assert not any(document["kind"] == "Secret" for _, document in RESOURCES)
    for service in COMPOSE["services"].values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name or "KEY" in name:
                assert value.startswith("${"), name
                assert ":?" in value, name  # no default either
    assert "POSTGRES_PASSWORD=\n" in (DEPLOY / ".env.example").read_text("utf-8")


def test_the_readme_names_files_that_there_are() -> None:
    named = set(re.findall(r"deploy/[\w./-]*\w", (DEPLOY / "README.md").read_text("utf-8")))
    missing = {name for name in named if not (ROOT / name).exists()}
    assert missing <= {"deploy/.env", "deploy/worker"}  # the reader's own file, and kubectl's name of a Deployment
