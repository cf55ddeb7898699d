"""Each alert and its fault: a real Prometheus scrapes a real worker; the alert fires, and clears after the fault.

The rules are the shipped ones with shorter minutes; `tests/unit/telemetry/test_metrics.py` checks them in full length.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.local.engine import free_port, running_engine
from dialpad_ivr.provisioning.overrides import WORKFLOW
from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest, until
from support.fixtures import StartWorker
from support.overrides import noted, wait_until_active
from support.prometheus import RULES, Prometheus, running_prometheus
from support.provisioning import change, target, unknown
from support.proxy import Fault, FaultyEngine
from support.redis import RedisServer, running_redis
from support.worker import WorkerProcess

SYNTHETIC = 1000
UPDATES = "/tasks(/update-v2)?$"
LEAKED_BYTES = 250_000_000
LEAKING = (
    f"import runpy, sys; leaked = b'x' * {LEAKED_BYTES}; sys.argv = ['dialpad-ivr', 'worker']; "
    "runpy.run_module('dialpad_ivr', run_name='__main__', alter_sys=True)"
)


# A worker that reads the overrides whenever it is scraped, and allows them no time to be restored in.
PROMPT = """
import datetime, runpy, sys
from dialpad_ivr.provisioning import overrides
from dialpad_ivr.telemetry import metrics
metrics._REFRESHED_SECONDS, overrides.gap = 0, lambda rows: datetime.timedelta(0)
sys.argv = ["dialpad-ivr", "worker"]
runpy.run_module("dialpad_ivr", run_name="__main__", alter_sys=True)
"""


class Stage:
    """A worker between an engine and a Dialpad that can both fail, with a Redis."""

    def __init__(
        self,
        engine: EngineRest,
        proxy: FaultyEngine,
        double: DoubleControl,
        redis: RedisServer,
        start_worker: StartWorker,
        settings: dict[str, str],
    ) -> None:
        self.engine, self.proxy, self.double, self.redis = engine, proxy, double, redis
        self.port = str(free_port())
        self.worker: WorkerProcess | None = None
        self.overrides: list[str] = []
        self._start_worker = start_worker
        self._settings = {
            "CONDUCTOR_SERVER_URL": proxy.url,
            "DIALPAD_IVR_REDIS_URL": redis.url,
            "DIALPAD_IVR_DOMAIN": "alerts",
            "DIALPAD_IVR_HEALTH_PORT": self.port,
            **settings,
        }
        self._workers = ExitStack()

    def start_worker(self, *command: Any) -> None:
        """Start a worker; the one before has ended."""
        self.worker = self._workers.enter_context(self._start_worker(*command, **self._settings))

    def stop_worker(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self.worker is not None
        self.worker.stop(number)

    def change(self, number: int, **more: Any) -> str:
        """Start a workflow that makes a change; returns its id."""
        return self.engine.start("set_custom_ivr", change(number, **more), domain="alerts")

    def override(self, number: int) -> str:
        """Start an override that ends soon; returns its id when it is active.

        It takes seconds: the worker has just started, and waits until its Redis knows the calls of a window.
        """
        inputs = {"changes": [noted(number)], "until": "12s", "domain": "alerts"}
        self.overrides.append(self.engine.start(WORKFLOW, inputs))
        wait_until_active(self.engine, self.overrides[-1])
        return self.overrides[-1]

    def close(self) -> None:
        self._workers.close()
        for workflow_id in self.overrides:
            self.engine.remove(workflow_id)  # what it has left would be told of by the next test's worker


@dataclass(frozen=True)
class Trouble:
    """What an alert is about.

    Attributes:
        cause: Causes it.
        changes: How many are then started.
        load: Called again and again with 0, 1, 2, ... until the alert fires: what the fault shows in.
        end: Ends it. By default time does: the alert looks back for some minutes.
        settings: The worker's.
        minute: How many seconds a minute of the rules lasts.
    """

    cause: Callable[[Stage], Any] = lambda stage: None
    changes: int = 0
    load: Callable[[Stage, int], Any] = lambda stage, number: None
    end: Callable[[Stage], Any] = lambda stage: stage.double.clear_faults()
    settings: dict[str, str] = field(default_factory=dict)
    minute: float = 1


def fault(name: str, number: int | None = None, **parameters: Any) -> Callable[[Stage], Any]:
    """Dialpad has a fault, for one target or for all."""
    match = {} if number is None else {"match": {"target_id": target(number)}}
    return lambda stage: stage.double.add_faults({"fault": name, "times": None, **match, **parameters})


def forget_a_running_workflow(stage: Stage) -> None:
    fault("slow", 0, seconds=3)(stage)
    workflow_id = stage.change(0)
    stage.double.wait_for_arrivals(1)
    stage.engine.terminate(workflow_id)
    stage.engine.remove(workflow_id)


def replace_worker(stage: Stage, *command: Any) -> None:
    stage.stop_worker()
    stage.start_worker(*command)


def pause_an_override(stage: Stage) -> None:
    replace_worker(stage, (sys.executable, "-c", PROMPT))
    stage.engine.pause(stage.override(0))


def refuse_to_restore(stage: Stage) -> None:
    stage.engine.forget(WORKFLOW)  # what other tests have left
    replace_worker(stage, (sys.executable, "-c", PROMPT))
    stage.override(0)
    fault("status", 0, status=403)(stage)


def forget_overrides(stage: Stage) -> None:
    """Time would end it: what is left is shown for a day."""
    stage.engine.ended(stage.overrides)
    while stage.overrides:
        stage.engine.remove(stage.overrides.pop())
    replace_worker(stage)


TROUBLES: dict[str, Trouble] = {
    "DialpadIvrNoWorker": Trouble(
        lambda stage: stage.stop_worker(signal.SIGKILL), end=lambda stage: stage.start_worker()
    ),
    # A worker polls every 30 s at the least, which the rule's two minutes must span.
    "DialpadIvrEngineUnreachable": Trouble(
        lambda stage: stage.proxy.add(Fault("reset", "/tasks/poll")), end=lambda stage: stage.proxy.clear(), minute=16
    ),
    "DialpadIvrResultsNotDelivered": Trouble(
        lambda stage: stage.proxy.add(Fault("refuse", UPDATES)), changes=1, end=lambda stage: stage.proxy.clear()
    ),
    "DialpadIvrResultsLost": Trouble(forget_a_running_workflow),
    "DialpadIvrRedisDown": Trouble(lambda stage: stage.redis.kill(), changes=1, end=lambda stage: stage.redis.start()),
    "DialpadIvrRateLimited": Trouble(
        fault("rate_limited", retry_after=0.2), load=lambda stage, number: stage.change(number) if number < 40 else None
    ),
    "DialpadIvrWaitingBudgetUsedUp": Trouble(
        fault("rate_limited", retry_after=3),
        changes=1,
        settings={"DIALPAD_IVR_WAITING_BUDGET_SECONDS": "4"},
    ),
    "DialpadIvrKeyRefused": Trouble(lambda stage: stage.change(0, credential="wrong")),
    "DialpadIvrTasksFail": Trouble(
        load=lambda stage, number: stage.engine.start("set_custom_ivr", unknown(number), domain="alerts"), minute=2
    ),
    "DialpadIvrChangesUnconfirmed": Trouble(fault("not_applied"), changes=1),
    # Some targets fail: Dialpad works, so no circuit opens.
    "DialpadIvrDialpadFails": Trouble(
        lambda stage: [fault("status", number, status=500)(stage) for number in range(0, SYNTHETIC, 4)],
        load=lambda stage, number: stage.change(number % SYNTHETIC),
    ),
    "DialpadIvrOutage": Trouble(fault("status", status=503), changes=5),
    "DialpadIvrSlow": Trouble(
        fault("slow", seconds=6), load=lambda stage, number: stage.change(number % SYNTHETIC), minute=1.5
    ),
    "DialpadIvrMemory": Trouble(
        lambda stage: replace_worker(stage, (sys.executable, "-c", LEAKING)), end=replace_worker
    ),
    "DialpadIvrOverrideOverdue": Trouble(pause_an_override, end=lambda stage: stage.engine.resume(stage.overrides[0])),
    "DialpadIvrOverrideNotRestored": Trouble(refuse_to_restore, end=forget_overrides),
}


@pytest.fixture
def stage(
    request: pytest.FixtureRequest,
    engine: EngineRest,
    proxy: FaultyEngine,
    double: DoubleControl,
    start_worker: StartWorker,
    tmp_path: Path,
) -> Iterator[Stage]:
    with running_redis(tmp_path) as redis:
        stage = Stage(engine, proxy, double, redis, start_worker, TROUBLES[request.param].settings)
        with contextlib.closing(stage):
            yield stage


@pytest.mark.parametrize(("stage", "name"), [(name, name) for name in TROUBLES], indirect=["stage"], ids=TROUBLES)
def test_alert_fires_during_its_fault_and_clears_after_it(stage: Stage, name: str, tmp_path: Path) -> None:
    trouble = TROUBLES[name]
    stage.double.set_state(synthetic=SYNTHETIC)
    stage.start_worker()
    with running_prometheus(tmp_path / "prometheus", [stage.port], trouble.minute) as prometheus:
        trouble.cause(stage)
        for number in range(trouble.changes):
            stage.change(number)
        fires_under(prometheus, name, lambda number: trouble.load(stage, number), 60 + 10 * trouble.minute)
        trouble.end(stage)
        until(lambda: name not in prometheus.firing(), 60 + 30 * trouble.minute, f"{name} to clear")


def fires_under(prometheus: Prometheus, name: str, load: Callable[[int], Any], timeout: float) -> None:
    numbers = itertools.count()

    def fires() -> bool:
        load(next(numbers))
        return name in prometheus.firing()

    until(fires, timeout, f"{name} to fire")


@pytest.mark.timeout(600)
def test_queue_alert_fires_while_an_engines_queue_grows_and_clears_when_it_is_worked_off(
    double: DoubleControl, start_worker: StartWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert = "DialpadIvrQueueGrows"
    double.set_state(synthetic=SYNTHETIC)
    # The engine measures its queues once a minute.
    quick = [f"-Dconductor.workflow-monitor.stats.{name}=1000" for name in ("initial-delay", "delay")]
    monkeypatch.setenv("JDK_JAVA_OPTIONS", " ".join([os.environ.get("JDK_JAVA_OPTIONS", ""), *quick]))
    with running_engine(data=tmp_path / "engine") as local, contextlib.closing(EngineRest(local.url)) as engine:
        engine.put_shipped()
        with start_worker(CONDUCTOR_SERVER_URL=f"{local.url}/api", DIALPAD_IVR_DOMAIN="elsewhere") as worker:
            ports = [worker.health_url.rpartition(":")[2]]
            with running_prometheus(tmp_path / "prometheus", ports, 2, engine=local.url) as prometheus:
                fires_under(prometheus, alert, lambda number: engine.start("set_custom_ivr", change(number)), 90)
                with start_worker(CONDUCTOR_SERVER_URL=f"{local.url}/api"):
                    until(lambda: alert not in prometheus.firing(), 90, f"{alert} to clear")


def test_every_alert_has_its_fault() -> None:
    assert {*TROUBLES, "DialpadIvrQueueGrows"} == set(RULES)
