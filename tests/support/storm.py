"""A storm of faults over a real engine, real workers, a real Redis and the double, from a seeded script.

What is asked for is chains: workflows that set one slot again and again, to one IVR and to the other in turns, so that
a change that is lost, repeated too late or overtaken shows in what is selected in the end. What happened is then read
from the double's ledger and the engine's database; nothing that our own code counts is believed.
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
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.local.engine import free_port, running_engine
from support.double import DoubleControl, started_double
from support.engine import TERMINAL, EngineRest, until
from support.provisioning import ivr, old_ivr, target
from support.proxy import Fault, FaultyEngine, faulty_engine
from support.redis import RedisServer, running_redis
from support.worker import CREDENTIALS, KEYS, WorkerProcess, running_worker

STEPS = 5
WORKFLOW = "storm"
LIMITS = {"company": {"calls": 60, "window_seconds": 1}, "patch": {"calls": 600, "window_seconds": 10}}
CONCURRENCY = 8
BACKLOG = 500  # changes asked for ahead
# What a killed worker had in hand, or a lost answer brought, is handed out again after this.
RESPONSE_SECONDS = 12
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

# One in five calls goes wrong. Each chance is that of a call that the faults before it let pass.
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
# After these the worker cannot know that the change was made, and makes it once more.
_HIDING = ("reset_after", "slow", "broken_json", "wrong_content_type")

# Started in a worker's place: its wall clock jumps with what a file says, and it has little to live on.
_HANDICAPPED = """
import pathlib, resource, runpy, sys, time
real, jump = time.time, pathlib.Path(sys.argv[1])
time.time = lambda: real() + float(jump.read_text() or 0)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
sys.argv = ["dialpad-ivr", "worker"]
runpy.run_module("dialpad_ivr", run_name="__main__", alter_sys=True)
"""


@dataclass
class StormRun:
    """What was done, and what is to be judged.

    Attributes:
        chains: The targets' numbers.
        events: What happened when, in seconds.
        kills: Workers killed, or stopped for a while: what each had in flight may be sent once more.
        tasks: The engine's tasks, as its database has them.
        workflows: Its workflows' statuses by id.
        ledger: What arrived at the double.
        selected: What each target has selected at the end.
        worst: The most calls in any window of the company's limit.
        logs: What the workers logged.
        exit_codes: Of the workers that were there at the end.
        memory: What the longest-lived worker had resident over time, in MB.
        seconds: How long it took.
    """

    chains: range
    events: list[tuple[float, str]] = field(default_factory=list)
    kills: int = 0
    tasks: list[dict[str, Any]] = field(default_factory=list)
    workflows: dict[str, str] = field(default_factory=dict)
    ledger: list[dict[str, Any]] = field(default_factory=list)
    selected: dict[str, str | None] = field(default_factory=dict)
    worst: int = 0
    logs: str = ""
    exit_codes: list[int] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    seconds: float = 0


def asked(number: int, step: int) -> str:
    """The IVR that a step of a chain selects; at first the old one is selected, and in the end the new one."""
    return old_ivr(number) if step % 2 else ivr(number)


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
    """The stage, and what can happen on it."""

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
                (sys.executable, "-c", _HANDICAPPED, str(self._jump)),
                ready=False,
                **CREDENTIALS,
                **SETTINGS,
                DIALPAD_IVR_REDIS_URL=self.redis.url,
                DIALPAD_IVR_STATE_DIR=str(self.folder / "kept"),
            )
        )
        self.workers.append(worker)
        return worker

    def jump(self, seconds: float) -> None:
        part = self._jump.with_suffix(".part")
        part.write_text(str(seconds))
        part.replace(self._jump)


def _worker_killed(storm: Storm, run: StormRun) -> None:
    worker = storm.dice.choice(storm.workers)
    storm.workers.remove(worker)
    worker.stop(signal.SIGKILL)
    run.kills += 1
    storm.start_worker()


def _worker_stopped_for_a_while(storm: Storm, run: StormRun) -> None:
    worker = storm.dice.choice(storm.workers)
    worker.process.send_signal(signal.SIGSTOP)
    run.kills += 1
    time.sleep(storm.dice.uniform(1, 5))
    worker.process.send_signal(signal.SIGCONT)


def _worker_drained(storm: Storm, run: StormRun) -> None:
    worker = storm.dice.choice(storm.workers)
    storm.workers.remove(worker)
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


def _results_refused_for_long(storm: Storm, run: StormRun) -> None:
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


EVENTS: dict[str, Callable[[Storm, StormRun], None]] = {
    "worker killed": _worker_killed,
    "worker stopped for a while": _worker_stopped_for_a_while,
    "worker drained": _worker_drained,
    "engine restarted": _engine_restarted,
    "network faulty": _network_faulty,
    "results refused for long": _results_refused_for_long,
    "redis lost": _redis_lost,
    "clock jumps": _clock_jumps,
}


def script(dice: random.Random) -> Iterator[str]:
    """Every event, in a random order, again and again."""
    while True:
        yield from dice.sample(list(EVENTS), len(EVENTS))


def blow(folder: Path, *, chains: int, workers: int, seed: int, longest_seconds: float) -> StormRun:
    """Let a storm blow until all is done, and each event has happened.

    Args:
        folder: Where all its files are.
        chains: How many workflows are run; each has `STEPS` changes of a target of its own.
        workers: How many workers there are at a time.
        seed: Of the faults, and of what happens when.
        longest_seconds: After so long no more is begun.
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
        storm.double.set_state(synthetic=chains)
        storm.double.add_faults(*({"times": None, **rule} for rule in DIALPAD_FAULTS))
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
        for workflow_id in ids:
            until(lambda i=workflow_id: storm.rest.workflow(i)["status"] in TERMINAL, 300, f"the end of {workflow_id}")  # type: ignore[misc]
        run.exit_codes += [worker.stop() for worker in storm.workers]
        storm.stop_engine()
        run.ledger = storm.double.ledger()
        run.worst = storm.double.summary()["worst"]["company"]["all"]
        slots = {found["target_id"]: found["slots"][0]["selected"]["inbound"] for found in storm.double.state()}
        run.selected = {target(number): slots[target(number)] for number in run.chains}
    run.tasks, run.workflows = _read_database(folder / "engine" / "conductor.db")
    run.logs = "".join(path.read_text("utf-8", "replace") for path in folder.glob("worker-*.log"))
    run.seconds = time.monotonic() - started
    return run


def _feed(storm: Storm, ids: list[str], chains: int) -> None:
    """Start workflows, so that there is enough to do while the next event happens."""
    until(lambda: len(ids) * STEPS - storm.double.summary()["applied"] < BACKLOG, 120, "the work to be done")
    for number in range(len(ids), min(len(ids) + max(chains // len(EVENTS), 1), len(ids) + BACKLOG // STEPS, chains)):
        inputs = {"target_id": target(number), "new": ivr(number), "old": old_ivr(number)}
        ids.append(storm.rest.start(WORKFLOW, inputs))


def _resident_mb(workers: list[WorkerProcess]) -> float:
    """What the worker that has lived longest has in memory."""
    with contextlib.suppress(OSError, StopIteration):
        status = Path(f"/proc/{workers[0].process.pid}/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024
    return 0


def _read_database(path: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tasks = [json.loads(row[0]) for row in database.execute("select json_data from task")]
        workflows = (json.loads(row[0]) for row in database.execute("select json_data from workflow"))
        return tasks, {found["workflowId"]: found["status"] for found in workflows}


def violations(run: StormRun) -> list[str]:
    """Every promise that was not kept. An empty list is a good end."""
    told = [f"workflow {i} is {status}" for i, status in run.workflows.items() if status not in TERMINAL]
    told += [
        f"task {task['taskId']} is {task['status']}"
        for task in run.tasks
        if task["status"] in ("SCHEDULED", "IN_PROGRESS")
    ]
    if len(run.workflows) != len(run.chains):
        told.append(f"{len(run.workflows)} workflows for {len(run.chains)} chains")
    attempts: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for task in run.tasks:
        attempts[task["inputData"]["target_id"], int(task["referenceTaskName"].removeprefix("step"))].append(task)
    made: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for arrival in run.ledger:
        if arrival["applied"]:
            made[arrival["target_id"]].append(arrival)
    for number in run.chains:
        told += _violations_of_chain(number, attempts, made[target(number)], run.selected[target(number)])
    refused = [line for line in run.ledger if line["status"] == 429 and line["fault"] is None]
    if refused or run.worst > LIMITS["company"]["calls"]:
        told.append(f"over the limit: {run.worst} calls in a second, {len(refused)} refused")
    unexplained = repeated(run)["unexplained"]
    if unexplained > run.kills * CONCURRENCY:
        told.append(f"{unexplained} changes were repeated, with {run.kills} workers killed or stopped")
    told += [f"a bug: {line[:500]}" for line in run.logs.splitlines() if "Traceback" in line or "bug in the" in line]
    if set(run.exit_codes) - {0}:
        told.append(f"exit codes of drained workers: {run.exit_codes}")
    told += [f"a key in the logs: {key}" for key in KEYS if key in run.logs]
    return told


def _violations_of_chain(
    number: int,
    attempts: dict[tuple[str, int], list[dict[str, Any]]],
    made: list[dict[str, Any]],
    selected: str | None,
) -> list[str]:
    told = []
    possible = {old_ivr(number)}
    for step in range(STEPS):
        tries = attempts.get((target(number), step), [])
        if not tries:
            continue
        last = max(tries, key=lambda task: task["retryCount"])
        wanted = asked(number, step)
        if last["status"] != "COMPLETED":
            possible |= {wanted}  # nobody promised anything
            continue
        possible = {wanted}
        output = last["outputData"]
        if not output["ok"] or output["ivr"]["selected"]["id"] != wanted:
            told.append(f"{target(number)} step {step}: completed with {output['outcome']}, {output['ivr']}")
        # The clock is the same one; the engine's is in whole milliseconds.
        since, by = min(task["scheduledTime"] for task in tries) / 1000 - 0.01, last["endTime"] / 1000 + 0.01
        if not any(since <= arrival["wall"] <= by and arrival["after"]["inbound"] == wanted for arrival in made):
            told.append(f"{target(number)} step {step}: {output['outcome']}, but there was no such change")
    if selected not in possible:
        told.append(f"{target(number)} has {selected} in the end, not {possible}")
    return told


def repeated(run: StormRun) -> dict[str, int]:
    """How many changes were made more than once in a row, and for how many of them the double gave no cause."""
    explained = unexplained = 0
    before: dict[str, dict[str, Any]] = {}
    for arrival in run.ledger:
        if not arrival["applied"]:
            continue
        earlier = before.get(arrival["target_id"])
        if earlier is not None and earlier["after"] == arrival["after"]:
            # What the caller no longer waited for is as good as unanswered.
            hidden = earlier["fault"] in _HIDING or earlier["status"] is None
            explained += hidden
            unexplained += not hidden
        before[arrival["target_id"]] = arrival
    return {"explained": explained, "unexplained": unexplained}


def summary(run: StormRun) -> dict[str, Any]:
    """The run in figures."""
    steps = Counter(task["status"] for task in run.tasks)
    faults = Counter(arrival["fault"] for arrival in run.ledger if arrival["fault"])
    again = repeated(run)
    return {
        "tasks asked for": len(run.chains) * STEPS,
        "attempts": dict(steps),
        "calls": len(run.ledger),
        "Dialpad's faults": dict(faults),
        "events": dict(Counter(event for _, event in run.events)),
        "workflows": dict(Counter(run.workflows.values())),
        "made twice, the answer hidden": again["explained"],
        "made twice otherwise": again["unexplained"],
        "workers killed or stopped": run.kills,
        "most calls in 1 s": run.worst,
        "answered from what was kept": run.logs.count("made already"),
        "results that had to wait": run.logs.count("did not take a result"),
        "resident MB, first and last": [round(value) for value in (*run.memory[:1], *run.memory[-1:])],
        "seconds": round(run.seconds),
        "processor cores": os.cpu_count(),
    }
