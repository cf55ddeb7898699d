"""What `deploy/` says: valid by the schemas and linters of each format, and in agreement with the code and itself."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose

from dialpad_ivr import __version__
from dialpad_ivr.health import health_app
from dialpad_ivr.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
MANIFESTS = [
    (path.name, document)
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text("utf-8"))
]
RESOURCES = [(name, document) for name, document in MANIFESTS if document["kind"] != "Kustomization"]
PODS = [document["spec"]["template"]["spec"] for _, document in RESOURCES if "template" in document.get("spec", {})]
WORKER = next(document for _, document in RESOURCES if document["kind"] == "Deployment")
GRACE = Settings.model_fields["grace_seconds"].default
PORT = Settings.model_fields["health_port"].default


def test_the_dockerfile_passes_its_linter() -> None:
    told = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stdout) == (0, "")


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


def variables() -> Iterator[str]:
    """Every variable that our own containers are given."""
    for service in COMPOSE["services"].values():
        if service["image"].startswith("dialpad-ivr:"):
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
    paths = {route.path for route in health_app(None, lambda: None).routes}  # type: ignore[arg-type,attr-defined]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in paths
    assert container["ports"][0]["containerPort"] == PORT
    assert f"EXPOSE {PORT}" in DOCKERFILE
    assert f":{PORT}/healthz" in DOCKERFILE


def test_the_grace_period_outlasts_the_drain() -> None:
    assert WORKER["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > GRACE
    for name in ("worker-1", "worker-2"):
        assert int(COMPOSE["services"][name]["stop_grace_period"].removesuffix("s")) > GRACE


def test_nothing_runs_as_root_or_may_write() -> None:
    (uid,) = set(re.findall(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE))
    assert f"--uid {uid}" in DOCKERFILE
    for pod in PODS:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == int(uid)
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    for name in ("worker-1", "worker-2", "register"):
        assert COMPOSE["services"][name]["read_only"] is True


def test_every_image_is_pinned() -> None:
    images = [service["image"] for service in COMPOSE["services"].values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    for image in images:
        assert re.search(r":\d+\.\d+", image), image
    assert f"dialpad-ivr:{__version__}" in images


def test_ports_are_published_on_the_loopback_interface_only() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_engine_has_its_ai_integration_off_and_redis_forgets_nothing() -> None:
    assert "conductor.integrations.ai.enabled=false" in (DEPLOY / "conductor.properties").read_text("utf-8")
    assert "noeviction" in COMPOSE["services"]["redis"]["command"]


def test_no_secret_is_written_down() -> None:
    assert not any(document["kind"] == "Secret" for _, document in RESOURCES)
    for service in COMPOSE["services"].values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name or "KEY" in name:
                assert value.startswith("${"), name
