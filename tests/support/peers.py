"""What people use today in place of our worker, as processes (`bench/peers`); and what a process uses."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest
from support.worker import CREDENTIALS, clean_environ

_PROGRAMS = Path(__file__).parents[1] / "bench" / "peers"

PEER_TASK = "peer_set_custom_ivr"

# As somebody would write it who has our task's retries in mind: three, a second apart.
_DEFINITION = {
    "name": PEER_TASK,
    "ownerEmail": "peers@example.com",
    "retryCount": 3,
    "retryLogic": "FIXED",
    "retryDelaySeconds": 1,
    "responseTimeoutSeconds": 60,
    "timeoutSeconds": 600,
}
_FIELDS = ("target_type", "target_id", "ivr_type", "ivr_id")


def put_peer_definitions(engine: EngineRest) -> None:
    """Put the peers' task there, and a workflow of one such task."""
    engine.put_task_definition(_DEFINITION)
    engine.put_workflow_definition(one_task_workflow(PEER_TASK, {"name": PEER_TASK, "type": "SIMPLE"}))


def one_task_workflow(name: str, task: dict[str, Any]) -> dict[str, Any]:
    """The definition of a workflow that has this one task, with the change as the workflow's input."""
    inputs = {field: f"${{workflow.input.{field}}}" for field in _FIELDS}
    return {
        "name": name,
        "version": 1,
        "schemaVersion": 2,
        "ownerEmail": "peers@example.com",
        "tasks": [{"taskReferenceName": "set_ivr", "inputParameters": inputs, **task}],
    }


@contextlib.contextmanager
def running_peer(
    program: str,
    task_type: str,
    domain: str,
    engine: EngineRest,
    double: DoubleControl,
    log: Path,
    limits: Sequence[tuple[int, float]] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a peer while the context lasts.

    Args:
        program: Which.
        task_type: The task that it takes.
        domain: The domain that it polls.
        engine: Its engine.
        double: Its Dialpad.
        log: Where its output goes.
        limits: Calls and seconds, for the one that paces.
    """
    environ = clean_environ(
        CONDUCTOR_SERVER_URL=f"{engine.url}/api",
        DIALPAD_URL=double.url,
        DIALPAD_API_KEY=CREDENTIALS["DIALPAD_API_KEY"],
        TASK_TYPE=task_type,
        DOMAIN=domain,
        LIMITS=json.dumps(limits),
    )
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, _PROGRAMS / f"{program}.py"],
            env=environ,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        yield process
        assert process.poll() is None, log.read_text()
    finally:
        # Its whole group: the SDK's TaskHandler leaves its children behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, *, peak: bool = False) -> float:
    """The memory that a process is resident with, or was at most; in MiB."""
    found = re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024
