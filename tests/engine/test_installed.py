"""The wheel, installed in an empty environment elsewhere: the command and the worker work from it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from packaging.markers import Marker

from dialpad_ivr import __all__, shipped
from dialpad_ivr.testing.double import DoubleControl
from support.docs import ROOT, blocks
from support.engine import EngineRest
from support.fixtures import put_quick_definitions
from support.worker import CREDENTIALS, clean_environ, running_console, running_worker
from tools.build import sbom

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a fresh environment, in a folder that is no checkout."""
    folder = tmp_path_factory.mktemp("installed")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, wheel], check=True)
    return python.with_name("dialpad-ivr")


def test_the_sbom_lists_what_the_wheel_installs(installed: Path) -> None:
    uv, python = Path(sys.executable).with_name("uv"), installed.with_name("python")
    command = [str(uv), "pip", "list", "--quiet", "--format=json", "--python", str(python)]
    listed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    # It lists the packages for each version of Python and each platform, those that some lack with a marker.
    expected = {
        component["name"]
        for component in sbom("0" * 64, "0")["components"]
        if all(Marker(marker["value"]).evaluate() for marker in component.get("properties", []))
    }
    assert len(expected) > 30
    assert {package["name"] for package in listed} == expected | {"dialpad-ivr"}


def test_register_and_worker_work_from_an_installed_wheel(
    installed: Path, engine: EngineRest, double: DoubleControl, tmp_path: Path
) -> None:
    environ = clean_environ(CONDUCTOR_SERVER_URL=engine.url)
    completed = subprocess.run(
        [installed, "register", "--overwrite", "--json"], env=environ, cwd=tmp_path, capture_output=True, check=True
    )
    assert {row["name"] for row in json.loads(completed.stdout)} == {definition.name for definition in shipped()}
    put_quick_definitions(engine)
    command = (str(installed), "worker")
    with running_worker(engine.url, double.url, tmp_path / "log", command, **CREDENTIALS) as worker:
        change = {
            "target_type": "user",
            "target_id": "5502522061422603",
            "ivr_type": "VM_DROP_MESSAGE",
            "ivr_id": "5127493019721800",
        }
        (ended,) = engine.ended([engine.start("set_custom_ivr", change)])
        assert worker.stop() == 0
    assert ended["output"]["outcome"] == "updated"


def test_the_console_works_from_an_installed_wheel_with_its_extra(
    installed: Path, wheel: Path, engine: EngineRest, double: DoubleControl, tmp_path: Path
) -> None:
    command = [str(installed), "console"]
    environ = clean_environ(CONDUCTOR_SERVER_URL=engine.url)
    without = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert without.returncode == 2
    assert "pip install 'dialpad-ivr[console]'" in without.stderr
    uv, python = Path(sys.executable).with_name("uv"), installed.with_name("python")
    wanted = f"dialpad-ivr[console] @ {wheel.as_uri()}"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, wanted], check=True)
    with running_console(engine.url, double.url, tmp_path / "console.log", (*command, "--port")) as url:
        for path in ("/tasks/set_custom_ivr", "/static/console.css", "/static/console.js", "/static/icon.svg"):
            assert httpx.get(f"{url}{path}", trust_env=False).status_code == 200


def test_public_modules_are_typed_for_users(installed: Path, tmp_path: Path) -> None:
    """The Python of the docs, as a user's own strictly checked code: with the wheel's types, not this checkout's."""
    page = ROOT / "docs/how-to/use-from-python.md"
    snippets = [block.text for block in blocks(page) if block.kind == "python"]
    assert snippets
    # One file each, and one that imports every public name.
    for number, text in enumerate([*snippets, "".join(f"from dialpad_ivr import {n} as {n}\n" for n in __all__)]):
        (tmp_path / f"snippet_{number}.py").write_text(text, "utf-8")
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\nwarn_unused_configs = false\n")
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--python-executable"]
    completed = subprocess.run(
        [*command, installed.with_name("python"), *sorted(tmp_path.glob("*.py"))],
        env={k: v for k, v in clean_environ().items() if k != "MYPYPATH"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_without_the_extra_the_embedded_engine_says_how_to_get_it(installed: Path, tmp_path: Path) -> None:
    environ = clean_environ(PATH="/nowhere")
    completed = subprocess.run(
        [installed, "demo"], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 4
    assert "pip install 'dialpad-ivr[local]'" in completed.stderr
