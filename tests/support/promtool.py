"""Prometheus's own tool, which knows what a rule and an expression may be, and when an alert fires."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.browser import not_at_hand


def promtool(*arguments: str | Path) -> str:
    """Run it; returns what it says. A test that needs it is skipped, and in CI fails, where it is not installed."""
    path = shutil.which("promtool")
    if path is None:
        not_at_hand("No promtool on the PATH.", "apt-get install --no-install-recommends prometheus")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_expressions(expressions: Mapping[str, str], folder: Path) -> None:
    """Parse expressions, by name, as Prometheus does: each as a recording rule."""
    rules = [
        {"record": f"e{i}", "expr": text, "labels": {"name": n}} for i, (n, text) in enumerate(expressions.items())
    ]
    promtool("check", "rules", as_yaml({"groups": [{"name": "all", "rules": rules}]}, folder / "rules.yml"))


def as_yaml(value: Any, path: Path) -> Path:
    """A file of it; JSON is YAML."""
    path.write_text(json.dumps(value), "utf-8")
    return path
