"""Audit what uv.lock names for use at run time (`make audit`): fails if OSV knows of a vulnerability in any of it.

Where OSV cannot be asked it says so in a line and passes. `OSV_URL` names another service of the same kind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

URL = os.environ.get("OSV_URL", "https://api.osv.dev/v1/query")
NOTHING = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "0"}


def main() -> int:
    """Export the lock's run-time part, and hand it to pip-audit; returns the exit code."""
    try:
        httpx.post(URL, json=NOTHING, timeout=5).raise_for_status()
    except httpx.HTTPError as exc:
        sys.stdout.write(f"audit: skipped, since {URL} cannot be asked ({type(exc).__name__})\n")
        return 0
    tools, root = Path(sys.executable).parent, Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        locked = Path(folder) / "requirements.txt"
        uv = [
            tools / "uv",
            "export",
            "--quiet",
            "--frozen",
            "--no-dev",
            "--all-extras",
            "--no-emit-project",
            "--no-hashes",
        ]
        subprocess.run([*uv, "--output-file", locked], cwd=root, check=True)  # noqa: S603
        audit = [tools / "pip-audit", "--requirement", locked, "--disable-pip", "--no-deps"]
        audit += ["--vulnerability-service", "osv", "--osv-url", URL, "--progress-spinner", "off"]
        return subprocess.run(audit, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
