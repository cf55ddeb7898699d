"""Build the container image with what this machine has: docker, podman or buildah.

python -m tools.image                   what `make image` runs
python -m tools.image --engine podman   with that one
python -m tools.image --base debian     first make the base image from Debian's packages, where no registry is reached
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from dialpad_ivr import __version__

ROOT: Final = Path(__file__).parents[1]
DOCKERFILE: Final = ROOT / "deploy" / "Dockerfile"
IMAGE: Final = f"dialpad-ivr:{__version__}"
ENGINES: Final = ("docker", "podman", "buildah")
# Debian's release with the Python that the base image is named after.
_SUITE: Final = "trixie"
# What Debian's packages have and the official image has not. uv and pip then trust what this machine trusts.
_LIKE_THE_OFFICIAL_IMAGE: Final = (
    'rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED',
    'mkdir -p "$1"/etc/uv && echo "system-certs = true" >"$1"/etc/uv/uv.toml',
)
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ImageError(Exception):
    """The image cannot be built: what is wrong, and what to do next."""


def working_engine() -> str:
    """The first that answers: the docker command may be there without its daemon."""
    for engine in ENGINES:
        if shutil.which(engine) and _run(engine, "info", quiet=True) == 0:
            return engine
    raise ImageError(
        "No container engine works here: docker, podman and buildah are not installed, or do not answer.\n"
        "Start the Docker daemon, or install one: apt-get install podman"
    )


def base_image() -> str:
    """The image that ours is made from, by its full name."""
    (name,) = set(re.findall(r"^FROM (\S+)", DOCKERFILE.read_text("utf-8"), re.MULTILINE))
    return f"docker.io/library/{name}"


def make_base(engine: str) -> None:
    """Make an image like the base from Debian's packages, and give it the name of the base.

    Raises:
        ImageError: A command is missing or fails.
    """
    if engine == "buildah" or not shutil.which("mmdebstrap"):
        raise ImageError(
            "The base image is made with mmdebstrap, and imported by docker or podman: one of them is not installed.\n"
            "Install them: apt-get install mmdebstrap podman"
        )
    base = base_image()
    (python,) = re.findall(r"python:(\d+\.\d+)", base)
    hooks = list(_LIKE_THE_OFFICIAL_IMAGE)
    if _CERTIFICATES.is_file():
        hooks.append(f'cp {_CERTIFICATES} "$1"{_CERTIFICATES}')
    packages = f"python{python},python3,python3-pip,python-is-python3,ca-certificates,passwd"
    # Documentation and translations are not in the official image either.
    options = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
    options += [f"--customize-hook={hook}" for hook in hooks]
    with tempfile.TemporaryDirectory() as folder:
        archive = f"{folder}/base.tar"
        _check("mmdebstrap", "--quiet", "--variant=essential", f"--include={packages}", *options, _SUITE, archive)
        _check(engine, "import", "--change", f"ENV PATH={_PATH}", "--message", "from Debian's packages", archive, base)


def build(engine: str) -> str:
    """Build the image; returns its size, its base included, as the engine words it.

    Raises:
        ImageError: The build fails.
    """
    # OCI's own format has no HEALTHCHECK.
    options = [] if engine == "docker" else ["--format", "docker"]
    _check(engine, "build", *options, "--file", str(DOCKERFILE), "--tag", IMAGE, str(ROOT))
    listed = subprocess.run([engine, "images", "--format", "{{.Size}}", IMAGE], capture_output=True, check=True)
    return listed.stdout.decode().strip()


def _run(*command: str, quiet: bool = False) -> int:
    sink = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, check=False).returncode


def _check(*command: str) -> None:
    if _run(*command) != 0:
        raise ImageError(
            f"This command failed: {' '.join(command)}\n"
            "Its output above says why. If no registry can be reached: make image BASE=debian"
        )


def main() -> int:
    """Build as the arguments say; returns the exit code."""
    parser = argparse.ArgumentParser(description="Build the container image.")
    parser.add_argument("--engine", choices=ENGINES, help="instead of the first of these that works")
    parser.add_argument(
        "--base",
        choices=("registry", "debian"),
        default="registry",
        help="debian: make an image like the base from Debian's packages, and give it the name of the base",
    )
    arguments = parser.parse_args()
    try:
        engine = arguments.engine or working_engine()
        if arguments.base == "debian":
            make_base(engine)
        size = build(engine)
    except ImageError as exc:
        print(exc, file=sys.stderr)
        return 1
    print(f"Built {IMAGE} with {engine}: {size}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
