"""A storm of faults over a real engine, real workers, a real Redis and the double, from a seeded script.

The load is chains: workflows that set one slot repeatedly, to its two IVRs in turn, so that a change that is lost,
repeated too late or overtaken shows in the final selection. The rules (`storm_rules`) judge the double's ledger and the
engine's database, not what the worker itself counts.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.local.engine import free_port, running_engine
from dialpad_ivr.provisioning.override_report import OverrideRun
from dialpad_ivr.provisioning.overrides import GUARD, read_override
from dialpad_ivr.settings import Settings
from dialpad_ivr.testing.double import DoubleControl, started_double
from support.engine import TERMINAL, EngineRest, until
from support.overrides import noted, override_of, phase
from support.provisioning import ivr, old_ivr, target
from support.proxy import Fault, FaultyEngine, faulty_engine
from support.redis import RedisServer, running_redis
from support.storm_rules import CONCURRENCY, LIMITS, STEPS, StormRun, repeats
from support.worker import CREDENTIALS, KEYS, WorkerProcess, running_worker

WORKFLOW = "storm"
OVERRIDE_ROWS = 4
MOST_OVERRIDES = 50
OVERRIDES_LAST = ("5s", "15s", "25s")
BACKLOG = 500  # changes started ahead of the workers
SETTLE_SECONDS = 20  # by which a change of a terminated override has been made, or never is
RESPONSE_SECONDS = 12  # after which the engine redelivers the tasks of a killed worker
SETTINGS: dict[str, Any] = {
    "DIALPAD_IVR_COMPANY_LIMIT": "60",
    "DIALPAD_IVR_PATCH_LIMIT": "600",
    "DIALPAD_IVR_PATCH_WINDOW_SECONDS": "10",
    "DIALPAD_IVR_CONCURRENCY": str(CONCURRENCY),
    "DIALPAD_IVR_READ_TIMEOUT_SECONDS": "2",
    "DIALPAD_IVR_DEADLINE_SECONDS": "4",
    "DIALPAD_IVR_DEFAULT_PAUSE_SECONDS": "0.2",
    "DIALPAD_IVR_LOG_LEVEL": "debug",
}

# One in five calls fails. Each probability applies to the calls that the faults above let pass.
DIALPAD_FAULTS: list[dict[str, Any]] = [
    {"fault": "status", "status": 503, "probability": 0.06},
    {"fault": "status", "status": 500, "probability": 0.04},
    {"fault": "rate_limited", "retry_after": 0.2, "probability": 0.05},
    {"fault": "reset_before", "probability": 0.02},
    {"fault": "reset_after", "probability": 0.02},
    {"fault": "slow", "seconds": 1, "probability": 0.02},
    {"fault": "slow", "seconds": 3, "probability": 0.01},
    {"fault": "broken_json", "probability": 0.01},
    {"fault": "wrong_content_type", "probability": 0.01},
    {"fault": "not_applied", "probability": 0.01},
]
# A worker whose wall clock is shifted by the seconds in a file, with few file descriptors and little memory.
_RESTRICTED_WORKER = """
import pathlib, resource, runpy, sys, time
real, jump = time.time, pathlib.Path(sys.argv[1])
time.time = lambda: real() + float(jump.read_text() or 0)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
sys.argv = ["dialpad-ivr", "worker"]
runpy.run_module("dialpad_ivr", run_name="__main__", alter_sys=True)
"""


def chain_definition() -> dict[str, Any]:
    step = {"target_type": "callcenter", "ivr_type": "HOLD_MUSIC", "target_id": "${workflow.input.target_id}"}
    return {
        "name": WORKFLOW,
        "version": 1,
        "schemaVersion": 2,
        "ownerEmail": "dialpad-ivr@example.com",
        "timeoutSeconds": 0,
        "tasks": [
            {
                "name": TASK_TYPE,
                "taskReferenceName": f"step{number}",
                "type": "SIMPLE",
                "inputParameters": {**step, "ivr_id": f"${{workflow.input.{'old' if number % 2 else 'new'}}}"},
            }
            for number in range(STEPS)
        ],
    }


class Storm:
    """The processes of a run."""

    def __init__(self, folder: Path, seed: int, stack: contextlib.ExitStack) -> None:
        self.dice = random.Random(seed)
        self.folder = folder
        self._port, self._data = free_port(), folder / "engine"
        self._numbers = itertools.count()
        self._jump = folder / "jump"
        self._jump.write_text("0")
        self.proxy: FaultyEngine = stack.enter_context(faulty_engine(f"http://127.0.0.1:{self._port}", seed))
        self._engine = stack.enter_context(contextlib.ExitStack())
        self.start_engine()
        self.rest = stack.enter_context(contextlib.closing(EngineRest(f"http://127.0.0.1:{self._port}")))
        self.double: DoubleControl = stack.enter_context(started_double(KEYS, random_seed=seed, enforce=True, **LIMITS))
        self.redis: RedisServer = stack.enter_context(running_redis(folder))
        self._stack = stack
        self.guards: list[str] = []
        self.first_overridden = 0
        self.workers: list[WorkerProcess] = []

    def start_engine(self) -> None:
        self._engine.enter_context(running_engine(self._port, self._data))

    def stop_engine(self) -> None:
        self._engine.close()

    def start_worker(self) -> WorkerProcess:
        """Start a worker; every other one reaches the engine through the faulty network."""
        number = next(self._numbers)
        url = self.proxy.url if number % 2 else f"http://127.0.0.1:{self._port}"
        worker = self._stack.enter_context(
            running_worker(
                url,
                self.double.url,
                self.folder / f"worker-{number}.log",
                (sys.executable, "-c", _RESTRICTED_WORKER, str(self._jump)),
                ready=False,
                **CREDENTIALS,
                **SETTINGS,
                DIALPAD_IVR_REDIS_URL=self.redis.url,
                DIALPAD_IVR_STATE_DIR=str(self.folder / "state"),
            )
        )
        self.workers.append(worker)
        return worker

    def start_override(self, lasts: str) -> str:
        """Start an override of targets of its own; returns the id of its guard."""
        first = self.first_overridden + len(self.guards) * OVERRIDE_ROWS
        changes = [noted(number) for number in range(first, first + OVERRIDE_ROWS)]
        inputs = {"changes": changes, "until": lasts, "reason": "storm", "settle_seconds": SETTLE_SECONDS}
        self.guards.append(self.rest.start(GUARD, inputs))
        return self.guards[-1]

    def add_dialpad_faults(self) -> None:
        self.double.add_faults(*({"times": None, **rule} for rule in DIALPAD_FAULTS))

    def jump(self, seconds: float) -> None:
        """Shift the workers' wall clocks."""
        part = self._jump.with_suffix(".part")
        part.write_text(str(seconds))
        part.replace(self._jump)


def _worker_killed(storm: Storm, run: StormRun) -> None:
    worker = storm.dice.choice(storm.workers)
    storm.workers.remove(worker)
    worker.stop(signal.SIGKILL)
    run.kills += 1
    storm.start_worker()


def _worker_suspended(storm: Storm, run: StormRun) -> None:
    worker = storm.dice.choice(storm.workers)
    worker.process.send_signal(signal.SIGSTOP)
    run.kills += 1
    time.sleep(storm.dice.uniform(1, 5))
    worker.process.send_signal(signal.SIGCONT)


def _worker_drained(storm: Storm, run: StormRun) -> None:
    worker = storm.dice.choice(storm.workers)
    storm.workers.remove(worker)
    until(lambda: "worker_started" in worker.log, what="a worker that knows what SIGTERM means")
    run.exit_codes.append(worker.stop(signal.SIGTERM))
    storm.start_worker()


def _engine_restarted(storm: Storm, run: StormRun) -> None:
    storm.stop_engine()
    time.sleep(storm.dice.uniform(0, 3))
    storm.start_engine()


def _network_faulty(storm: Storm, run: StormRun) -> None:
    every: list[Literal["refuse", "reset", "lose", "hang"]] = ["refuse", "reset", "lose", "hang"]
    kinds = storm.dice.sample(every, 2)
    storm.proxy.add(*(Fault(kind, "/tasks", probability=0.3, seconds=2) for kind in kinds))
    time.sleep(storm.dice.uniform(2, 4))
    storm.proxy.clear()


def _results_rejected_past_the_lease(storm: Storm, run: StormRun) -> None:
    storm.proxy.add(Fault("reset", "/tasks(/update-v2)?$"))
    time.sleep(RESPONSE_SECONDS + 3)
    storm.proxy.clear()


def _redis_lost(storm: Storm, run: StormRun) -> None:
    storm.redis.kill()
    time.sleep(storm.dice.uniform(0, 2))
    storm.redis.start()


def _clock_jumps(storm: Storm, run: StormRun) -> None:
    storm.jump(storm.dice.choice([-3600, 3600]))
    time.sleep(1)
    storm.jump(0)


def _dialpad_down(storm: Storm, run: StormRun) -> None:
    storm.double.clear_faults()
    storm.double.add_faults({"fault": "status", "status": 503, "times": None})
    time.sleep(storm.dice.uniform(3, 8))
    storm.double.clear_faults()
    storm.add_dialpad_faults()


def _overrides_started(storm: Storm, run: StormRun) -> None:
    """They begin now, and end while other faults happen."""
    for lasts in OVERRIDES_LAST[: MOST_OVERRIDES - len(storm.guards)]:
        storm.start_override(lasts)


def _override_terminated(storm: Storm, run: StormRun) -> None:
    if len(storm.guards) < MOST_OVERRIDES:
        started = override_of(storm.rest, storm.start_override("30s"))
        with contextlib.suppress(AssertionError):  # the faults may be too many for it to begin
            until(lambda: phase(storm.rest, started) in ("applying", "active"), 5)
        time.sleep(storm.dice.uniform(0, 2))
        storm.rest.terminate(started)


EVENTS: dict[str, Callable[[Storm, StormRun], None]] = {
    "worker killed": _worker_killed,
    "worker suspended": _worker_suspended,
    "worker drained": _worker_drained,
    "engine restarted": _engine_restarted,
    "network faulty": _network_faulty,
    "results rejected past the lease": _results_rejected_past_the_lease,
    "redis lost": _redis_lost,
    "clock jumps": _clock_jumps,
    "Dialpad down": _dialpad_down,
    "overrides started": _overrides_started,
    "override terminated": _override_terminated,
}


def script(dice: random.Random) -> Iterator[str]:
    """Every event, in a random order, again and again."""
    while True:
        yield from dice.sample(list(EVENTS), len(EVENTS))


def run_storm(folder: Path, *, chains: int, workers: int, seed: int, longest_seconds: float) -> StormRun:
    """Run a storm until all workflows have ended and each event has happened.

    Args:
        folder: The folder for its files.
        chains: The number of workflows; each makes `STEPS` changes of a target of its own.
        workers: The number of workers at a time.
        seed: The seed of the faults and of the script.
        longest_seconds: After this time no more workflows are started.
    """
    run = StormRun(range(chains))
    with contextlib.ExitStack() as stack:
        storm = Storm(folder, seed, stack)
        storm.rest.put_shipped(
            retryCount=12,
            retryLogic="FIXED",
            retryDelaySeconds=1,
            backoffJitterMs=0,
            responseTimeoutSeconds=RESPONSE_SECONDS,
        )
        storm.rest.put_workflow_definition(chain_definition())
        storm.first_overridden = chains
        storm.double.set_state(synthetic=chains + MOST_OVERRIDES * OVERRIDE_ROWS)
        storm.add_dialpad_faults()
        for _ in range(workers):
            storm.start_worker()
        ids: list[str] = []
        started = time.monotonic()
        for event in script(storm.dice):
            _feed(storm, ids, chains)
            if len(ids) == chains and len(run.events) >= len(EVENTS):
                break
            if time.monotonic() - started > longest_seconds:
                run.chains = range(len(ids))
                break
            run.events.append((round(time.monotonic() - started, 1), event))
            EVENTS[event](storm, run)
            run.memory.append(_resident_mb(storm.workers))
            time.sleep(storm.dice.uniform(0.5, 2))
        storm.double.clear_faults()
        for workflow_id in (*ids, *storm.guards):
            until(lambda i=workflow_id: storm.rest.workflow(i)["status"] in TERMINAL, 300, f"the end of {workflow_id}")  # type: ignore[misc]
        run.overridden = range(chains, chains + len(storm.guards) * OVERRIDE_ROWS)
        run.reported = _reported(storm)
        run.exit_codes += [worker.stop() for worker in storm.workers]
        storm.stop_engine()
        run.ledger = storm.double.ledger()
        run.worst = storm.double.summary()["worst"]["company"]["all"]
        slots = {found["target_id"]: found["slots"][0]["selected"]["inbound"] for found in storm.double.state()}
        run.selected = {target(number): slots[target(number)] for number in (*run.chains, *run.overridden)}
    run.tasks, run.workflows, run.override_workflows = _read_database(folder / "engine" / "conductor.db")
    run.logs = "\n".join(path.read_text("utf-8", "replace") for path in folder.glob("worker-*.log"))
    run.seconds = time.monotonic() - started
    return run


def _feed(storm: Storm, ids: list[str], chains: int) -> None:
    """Start workflows, so that the workers are busy during the next event."""
    until(lambda: len(ids) * STEPS - storm.double.summary()["applied"] < BACKLOG, 120, "room in the backlog")
    for number in range(len(ids), min(len(ids) + max(chains // len(EVENTS), 1), len(ids) + BACKLOG // STEPS, chains)):
        inputs = {"target_id": target(number), "new": ivr(number), "old": old_ivr(number)}
        ids.append(storm.rest.start(WORKFLOW, inputs))


def _resident_mb(workers: list[WorkerProcess]) -> float:
    """The resident memory of the oldest worker."""
    with contextlib.suppress(OSError, StopIteration):
        status = Path(f"/proc/{workers[0].process.pid}/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024
    return 0


def _reported(storm: Storm) -> set[str]:
    """The targets that `override report` names as not restored."""
    engine = EngineApi(Settings(server_url=f"{storm.rest.url}/api"))
    reports = [OverrideRun(engine, read_override(engine, guard)) for guard in storm.guards]
    return {row.target_id for report in reports for row in report.rows if row.left}


def _read_database(path: Path) -> tuple[list[dict[str, Any]], dict[str, str], dict[str, str]]:
    """All tasks, and the statuses of the chains' workflows and of the others."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tasks = [json.loads(row[0]) for row in database.execute("select json_data from task")]
        workflows = [json.loads(row[0]) for row in database.execute("select json_data from workflow")]
    chains, others = (
        {each["workflowId"]: each["status"] for each in workflows if (_name(each) == WORKFLOW) == ours}
        for ours in (True, False)
    )
    return tasks, chains, others


def _name(workflow: dict[str, Any]) -> str:
    return str(workflow.get("workflowName") or workflow["workflowDefinition"]["name"])


def summary(run: StormRun) -> dict[str, Any]:
    """The run's figures."""
    steps = Counter(task["status"] for task in run.tasks if task["referenceTaskName"].startswith("step"))
    faults = Counter(arrival["fault"] for arrival in run.ledger if arrival["fault"])
    repeated, events = repeats(run), Counter(run.log_events)
    return {
        "tasks": len(run.chains) * STEPS,
        "attempts": dict(steps),
        "calls": len(run.ledger),
        "injected faults": dict(faults),
        "events": dict(Counter(event for _, event in run.events)),
        "workflows": dict(Counter(run.workflows.values())),
        "overridden targets, and those reported as not restored": [len(run.overridden), len(run.reported)],
        "repeated after a hidden response": repeated["explained"],
        "repeated otherwise": repeated["unexplained"],
        "workers killed or suspended": run.kills,
        "most calls in 1 s": run.worst,
        "circuits opened and closed": [events["circuit_opened"], events["circuit_closed"]],
        "duplicate deliveries answered": events["duplicate_delivery_answered"],
        "results not accepted at first": events["result_not_accepted"],
        "resident MB, first and last": [round(value) for value in (*run.memory[:1], *run.memory[-1:])],
        "seconds": round(run.seconds),
        "processor cores": os.cpu_count(),
    }
