"""The docs, run page by page as a reader would: files written, commands and Python run, their output as shown."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.testing.double import DoubleControl, started_double
from support.docs import NAVIGATION, PAGES, ROOT, Shown, blocks, shown
from support.engine import EngineRest
from support.fixtures import put_quick_definitions
from support.overrides import wait_until_active
from support.worker import KEYS, clean_environ, running_worker


def is_run(page: Path) -> bool:
    """Whether a page has something to run."""
    return any(block.kind in ("console", "python") for block in blocks(page))


# The keys in the page on rotating one; the other pages use the worker's own.
KEYS_IN_THE_DOCS = {"KEY-OF-MONDAY": "acme", "KEY-OF-TUESDAY": "acme"}
# In one folder, from the last page to the first: a page that needs what an earlier one has made fails, as does one that
# minds what another has left.
RUN = [page for page in reversed([ROOT / "README.md", *NAVIGATION]) if is_run(page)]
# `make test` runs this; `make demo` and `make dev` have tests in test_readme.py.
RUN_ELSEWHERE = ("make dev", "make demo", "make test")
WORKFLOW_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


@pytest.fixture(scope="module")
def double() -> Iterator[DoubleControl]:
    with started_double({**KEYS, **KEYS_IN_THE_DOCS}, enforce=False) as double:
        yield double


class Reader:
    """Somebody who has the command at hand, and does what a page says in a folder."""

    def __init__(self, folder: Path, engine: EngineRest, double: DoubleControl) -> None:
        self.folder = folder
        self._engine = engine
        self._last_id = "none was printed yet"
        self.environ = clean_environ(
            CONDUCTOR_SERVER_URL=f"{engine.url}/api",
            DIALPAD_IVR_API_URL=double.url,
            DIALPAD_IVR_ALLOW_LOOPBACK="true",
            DIALPAD_API_KEY="key-of-main",
            DIALPAD_IVR_CREDENTIALS_FILE=str(folder / "keys.json"),
            PATH=f"{ROOT / '.venv/bin'}:/usr/local/bin:/usr/bin:/bin",
            COLUMNS="400",  # no line is wrapped
        )

    def run(self, example: Shown) -> None:
        """Run it; `ID` stands for the last workflow's id that was printed, and of several for the one that fits."""
        command = re.sub(r"\bID\b", self._last_id, example.command)
        if " override end " in command:  # nobody is so quick that it is not on yet
            wait_until_active(self._engine, self._last_id)
        completed = subprocess.run(
            ["bash", "-c", command],
            env=self.environ,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert completed.returncode == example.code, (command, completed.stdout, completed.stderr)
        output = completed.stdout + completed.stderr

        def missing(workflow_id: str) -> list[str]:
            lines = tuple(re.sub(r"\bID\b", workflow_id, line) for line in example.lines)
            return Shown(command, example.code, lines).missing_in(output)

        found = WORKFLOW_ID.findall(output)[::-1] or [self._last_id]
        self._last_id = next((each for each in found if not missing(each)), found[0])
        assert not missing(self._last_id), output

    def run_python(self, text: str) -> None:
        completed = subprocess.run(
            [sys.executable, "-W", "error", "-c", text],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert completed.returncode == 0, (text, completed.stderr)

    def follow(self, page: Path) -> None:
        """Do everything that the page shows, from its first line to its last."""
        for block in blocks(page):
            if block.title:
                (self.folder / block.title).write_text(block.text, "utf-8")
            elif block.kind == "console":
                for example in shown(block):
                    if example.command not in RUN_ELSEWHERE:
                        self.run(example)
            elif block.kind == "python":
                self.run_python(block.text)


@pytest.fixture(scope="module")
def reader(engine: EngineRest, double: DoubleControl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Somebody with an engine and a double as they are shipped, a running worker, and a folder."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / ".venv").symlink_to(ROOT / ".venv")
    reader = Reader(folder, engine, double)
    # As it is shipped, not as other tests have it: `doctor` compares.
    subprocess.run(["dialpad-ivr", "register", "--overwrite"], env=reader.environ, check=True, capture_output=True)
    keys: dict[str, Any] = {"DIALPAD_API_KEY": "key-of-main", "DIALPAD_IVR_CREDENTIALS_FILE": str(folder / "keys.json")}
    try:
        with running_worker(engine.url, double.url, tmp_path_factory.mktemp("worker") / "log", **keys):
            yield reader
    finally:
        put_quick_definitions(engine)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page, id=page.relative_to(ROOT).as_posix(), marks=[] if page.name == "README.md" else pytest.mark.long
        )
        for page in RUN
    ],
)
def test_a_page_works_as_shown(page: Path, reader: Reader, double: DoubleControl) -> None:
    double.reset()  # what a page plans, another may have applied
    reader.follow(page)


def test_pages_are_run() -> None:
    assert set(RUN) == {page for page in PAGES if is_run(page)}
    how_to = {"branch-on-outcomes.md", "provision.md", "rotate-a-key.md", "use-from-python.md"}
    assert {"README.md", "tutorial.md", *how_to} <= {page.name for page in RUN}
