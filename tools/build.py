"""Build the wheel, the source distribution and an SBOM into dist/, the first two twice: they must be the same.

python -m tools.build

The time in the archives is SOURCE_DATE_EPOCH, by default that of the last commit, so that a checkout of the same commit
gives the same files anywhere. https://reproducible-builds.org/specs/source-date-epoch/
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from dialpad_ivr import __version__

ROOT: Final = Path(__file__).parents[1]
UV: Final = ROOT / ".venv" / "bin" / "uv"  # as the Makefile installs it


class BuildError(Exception):
    """What was built cannot be published: what is wrong, and what to do next."""


def source_date() -> str:
    """The time of the sources, in seconds since 1970.

    Raises:
        BuildError: Nothing says when that was.
    """
    named = os.environ.get("SOURCE_DATE_EPOCH")
    if named:
        return named
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    logged = subprocess.run(command, capture_output=True, text=True, check=False)
    if logged.returncode != 0:
        raise BuildError(
            "The time of the last commit is unknown: this is no git checkout, or git is not installed.\n"
            "Name a time, in seconds since 1970: make build SOURCE_DATE_EPOCH=1700000000"
        )
    return logged.stdout.strip()


def build(folder: Path, epoch: str, *, umask: int = 0o022, timezone_name: str = "UTC") -> dict[str, str]:
    """Build both archives in a folder; returns their SHA-256 digests by name."""
    command = [str(UV), "build", "--quiet", "--out-dir", str(folder), str(ROOT)]
    environ = {**os.environ, "SOURCE_DATE_EPOCH": epoch, "TZ": timezone_name}
    subprocess.run(command, env=environ, umask=umask, check=True)
    archives = [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(archives)}


def build_twice(folder: Path, epoch: str) -> dict[str, str]:
    """Build both archives in a folder, and again where umask and time zone differ; returns their digests by name.

    Raises:
        BuildError: The two builds differ.
    """
    digests = build(folder, epoch)
    with tempfile.TemporaryDirectory() as other:
        again = build(Path(other), epoch, umask=0o077, timezone_name="Pacific/Auckland")
    differing = [name for name in digests if digests[name] != again.get(name)]
    if differing:
        raise BuildError(
            f"Built twice, and not the same: {', '.join(differing)}\n"
            "Compare the two with diffoscope, and look for a file that the build makes or that changes meanwhile."
        )
    return digests


def sbom(wheel_digest: str, epoch: str) -> dict[str, Any]:
    """The CycloneDX document of what the wheel installs without an extra, as uv.lock has it.

    uv makes up a new serial number and takes the current time; both follow from the wheel here.
    """
    export = ["export", "--frozen", "--no-dev", "--format", "cyclonedx1.5", "--preview-features", "sbom-export"]
    exported = subprocess.run([UV, *export, "--quiet", "--project", ROOT], capture_output=True, check=True)
    document: dict[str, Any] = json.loads(exported.stdout)
    document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_OID, wheel_digest).urn
    document["metadata"]["timestamp"] = datetime.fromtimestamp(int(epoch), timezone.utc).isoformat()
    document["metadata"]["component"] |= {
        "version": __version__,
        "purl": f"pkg:pypi/dialpad-ivr@{__version__}",
        "hashes": [{"alg": "SHA-256", "content": wheel_digest}],
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }
    return document


def main() -> int:
    """Build into `dist/`, and print the digests; returns the exit code."""
    dist = ROOT / "dist"
    try:
        epoch = source_date()
        shutil.rmtree(dist, ignore_errors=True)
        digests = build_twice(dist, epoch)
    except BuildError as exc:
        print(exc, file=sys.stderr)
        return 1
    (wheel,) = (name for name in digests if name.endswith(".whl"))
    document = json.dumps(sbom(digests[wheel], epoch), indent=2) + "\n"
    path = dist / f"dialpad_ivr-{__version__}.cdx.json"
    path.write_text(document, "utf-8")
    digests[path.name] = hashlib.sha256(document.encode()).hexdigest()
    for name, digest in digests.items():
        print(f"{digest}  dist/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
