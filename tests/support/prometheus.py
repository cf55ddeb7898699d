"""A real Prometheus that scrapes a worker and evaluates the shipped alert rules, in less time than they say.

with running_prometheus(folder, [port], minute=1) as prometheus:
    until(lambda: "DialpadIvrOutage" in prometheus.firing())
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from dialpad_ivr.local.engine import free_port
from support.browser import not_at_hand
from support.docs import ROOT
from support.engine import until
from support.promtool import as_yaml

RULES_FILE: Final = ROOT / "deploy/prometheus/alerts.yml"
RULES: Final[dict[str, dict[str, Any]]] = {
    rule["alert"]: rule for group in yaml.safe_load(RULES_FILE.read_text("utf-8"))["groups"] for rule in group["rules"]
}

_INTERVAL: Final = "500ms"  # of scrapes and of evaluations


class Prometheus:
    """A running server."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/api/v1", trust_env=False, timeout=10)

    def close(self) -> None:
        self._http.close()

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        alerts = self._http.get("/alerts").raise_for_status().json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def scraped(self) -> bool:
        """Whether every target was scraped the last time."""
        targets = self._http.get("/targets").raise_for_status().json()["data"]["activeTargets"]
        return bool(targets) and all(target["health"] == "up" for target in targets)


_WORK_OF_A_MINUTE: Final = 1200  # what a company's queue may hold by a rule


def quick_rules(minute: float) -> dict[str, Any]:
    """The shipped rules, in which a minute is that many seconds; the work of one, too."""

    def quick(minutes: str) -> str:
        return f"{int(minutes) * minute * 1000:.0f}ms"

    def rule(shipped: dict[str, Any]) -> dict[str, Any]:
        expr = re.sub(r"\[(\d+)m\]", lambda found: f"[{quick(found[1])}]", shipped["expr"])
        expr = re.sub(rf"> {_WORK_OF_A_MINUTE}\b", f"> {_WORK_OF_A_MINUTE * minute / 60:g}", expr)
        waits = {"for": quick(shipped["for"].removesuffix("m"))} if "for" in shipped else {}
        return {**shipped, "expr": expr, **waits}

    return {"groups": [{"name": "quick", "rules": [rule(shipped) for shipped in RULES.values()]}]}


@contextlib.contextmanager
def running_prometheus(folder: Path, ports: Sequence[str], minute: float, engine: str = "") -> Iterator[Prometheus]:
    """Run one while the context lasts, with the shipped rules.

    Args:
        folder: Where its files go.
        ports: The ports of workers to scrape.
        minute: How many seconds a minute of the rules lasts.
        engine: The URL of an engine to scrape.
    """
    program = shutil.which("prometheus")
    if program is None:
        not_at_hand("No prometheus on the PATH.", "apt-get install --no-install-recommends prometheus")
    folder.mkdir()
    jobs: list[dict[str, Any]] = [
        {"job_name": "dialpad-ivr", "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
    ]
    if engine:
        targets = [engine.removeprefix("http://")]
        jobs.append(
            {
                "job_name": "conductor",
                "metrics_path": "/actuator/prometheus",
                "scrape_timeout": "2s",
                "scrape_interval": "2s",
                "static_configs": [{"targets": targets}],
            }
        )
    config = {
        "global": {"scrape_interval": _INTERVAL, "scrape_timeout": _INTERVAL, "evaluation_interval": _INTERVAL},
        "rule_files": [str(as_yaml(quick_rules(minute), folder / "rules.yml"))],
        "scrape_configs": jobs,
    }
    address = f"127.0.0.1:{free_port()}"
    command = [
        *(program, f"--config.file={as_yaml(config, folder / 'prometheus.yml')}"),
        *(f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"),
    ]
    log = folder / "prometheus.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink)
    prometheus = Prometheus(f"http://{address}")

    def scrapes() -> bool:
        assert process.poll() is None, log.read_text("utf-8")
        with contextlib.suppress(httpx.HTTPError):
            return prometheus.scraped() and not prometheus.firing()
        return False

    try:
        until(scrapes, 30, "Prometheus to scrape the worker, and no alert to fire")
        yield prometheus
    finally:
        prometheus.close()
        process.terminate()
        process.wait(20)
