"""Many synthetic targets of the double: changes for them, what they have selected, and a run that is interrupted."""

from __future__ import annotations

import contextlib
import csv
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dialpad_ivr.local.engine import free_port, running_engine
from dialpad_ivr.testing.double import DoubleControl, started_double
from support.command import Command
from support.engine import EngineRest, until
from support.worker import CREDENTIALS, KEYS, running_worker

# Settings of a worker and a command where nothing shall wait.
UNPACED: dict[str, Any] = {"DIALPAD_IVR_PATCH_LIMIT": "1000000", "DIALPAD_IVR_COMPANY_LIMIT": "1000000"}


def target(number: int) -> str:
    return str(6_000_000_000_000_000 + number)


def ivr(number: int) -> str:
    """A synthetic target has two IVRs for its slot; at first the other one is selected."""
    return str(7_000_000_000_000_000 + 2 * number)


def old_ivr(number: int) -> str:
    """The one that is selected at first."""
    return str(int(ivr(number)) + 1)


def change(number: int, **more: Any) -> dict[str, Any]:
    row = {"target_type": "callcenter", "target_id": target(number), "ivr_type": "HOLD_MUSIC", "ivr_id": ivr(number)}
    return {**row, **more}


def unknown(number: int) -> dict[str, Any]:
    """A change of a target that there is not."""
    return change(number, target_id=str(9_000_000_000_000_000 + number))


def selected(double: DoubleControl, numbers: range) -> list[str | None]:
    by_id = {found["target_id"]: found for found in double.state()}
    return [by_id[target(number)]["slots"][0]["selected"]["inbound"] for number in numbers]


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["target_type", "target_id", "ivr_type", "ivr_id", "select_option", "credential"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def planned(command: Command, folder: Path, rows: list[dict[str, Any]]) -> Path:
    """The file of a plan of these changes."""
    command("plan", write_csv(folder / "changes.csv", rows), **UNPACED)
    return folder / "changes.plan.json"


class Interrupted(NamedTuple):
    """What came of a run that was interrupted.

    Attributes:
        report: What `status` reported in the end.
        right: Whether each target has what was asked for.
        sums: The double's sums.
        recovered: How long its tasks were still the killed worker's after both their lease had expired and the engine
            was back, in seconds.
    """

    report: dict[str, Any]
    right: list[bool]
    sums: dict[str, Any]
    recovered: float


# After which a killed worker's tasks are delivered again.
RESPONSE_SECONDS = 20


def interrupted_run(count: int, folder: Path) -> Interrupted:
    """Apply a plan, and half-way kill the command, kill the worker with -9, and restart the engine; then follow it."""
    port, data = free_port(), folder / "engine"

    @contextlib.contextmanager
    def engine() -> Iterator[EngineRest]:
        with running_engine(port, data) as local, contextlib.closing(EngineRest(local.url)) as rest:
            yield rest

    with started_double(KEYS, enforce=False) as double:
        double.set_state(synthetic=count)
        with engine() as rest, Command(rest, double) as command:
            rest.put_shipped(responseTimeoutSeconds=RESPONSE_SECONDS)
            plan = planned(command, folder, [change(number) for number in range(count)])
            with running_worker(rest.url, double.url, folder / "killed.log", **CREDENTIALS, **UNPACED) as worker:
                apply = command.popen("apply", plan, "--yes")
                assert apply.stderr is not None
                started = apply.stderr.readline().split()[-1]
                # Each change is a read and a PATCH.
                double.wait_for_arrivals(double.summary()["arrivals"] + count, timeout=60)
                apply.kill()
                apply.communicate()
                worker.stop(signal.SIGKILL)
                killed = time.monotonic()
        with engine() as rest, Command(rest, double) as command:
            # On a busy machine, an engine may take longer to start than the lease lasts.
            due = max(killed + RESPONSE_SECONDS, time.monotonic())
            abandoned = [task["taskId"] for task in _in_progress(rest, started)]
            with running_worker(rest.url, double.url, folder / "second.log", **CREDENTIALS, **UNPACED):
                follower = command.popen("status", started, "--report", folder / "after", "--json")

                def recovered() -> bool:
                    return all(rest.task(task_id)["status"] != "IN_PROGRESS" for task_id in abandoned)

                until(recovered, 240, f"the engine to time out the {len(abandoned)} tasks of the killed worker")
                seconds = time.monotonic() - due
                report, _ = follower.communicate(timeout=240)
            right = [now == ivr(number) for number, now in enumerate(selected(double, range(count)))]
            return Interrupted(json.loads(report), right, double.summary(), seconds)


def _in_progress(rest: EngineRest, workflow_id: str) -> list[dict[str, Any]]:
    """The tasks of a provisioning workflow's chunks that a worker has and has not reported."""
    chunks = [task for task in rest.workflow(workflow_id)["tasks"] if task["taskType"] == "SUB_WORKFLOW"]
    tasks = [
        task for chunk in chunks if "subWorkflowId" in chunk for task in rest.workflow(chunk["subWorkflowId"])["tasks"]
    ]
    return [task for task in tasks if (task["taskType"], task["status"]) == ("set_custom_ivr", "IN_PROGRESS")]
