"""Prometheus metrics. Labels hold outcomes, methods and statuses: never a key, an id or a name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import product
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from dialpad_ivr.contract.outcomes import OUTCOMES
from dialpad_ivr.contract.schema import INPUTS

WAITING: Final = "waiting"
"""The outcome label of a deferred task."""

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60)


class Metrics:
    """The metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._tasks = Counter(
            "dialpad_ivr_tasks", "Task results by task and outcome.", ["task", "outcome"], registry=self.registry
        )
        # Present from the start, as 0, so that an alert sees the first one as an increase.
        for task, outcome in product(INPUTS, (*OUTCOMES, WAITING)):
            self._tasks.labels(task, outcome)
        self._calls = Counter(
            "dialpad_ivr_calls", "Calls to Dialpad by method and status.", ["method", "status"], registry=self.registry
        )
        self._latency = Histogram(
            "dialpad_ivr_call_seconds",
            "Time a call to Dialpad took.",
            ["method"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._permit_wait = Histogram(
            "dialpad_ivr_permit_wait_seconds", "Time waited for a permit.", buckets=_SECONDS, registry=self.registry
        )
        self._in_flight = Gauge("dialpad_ivr_calls_in_flight", "Calls under way.", registry=self.registry)
        self._permitted = Gauge(
            "dialpad_ivr_permitted_calls_per_second",
            "What Dialpad allows a company, by what counts: PATCHes (`patch`), or calls of any kind (`company`).",
            ["limit"],
            registry=self.registry,
        )
        self._pauses = Counter("dialpad_ivr_pauses", "Pauses caused by a 429.", registry=self.registry)
        self._circuit_open = Gauge(
            "dialpad_ivr_circuit_open",
            "Whether Dialpad does not work for a company, which it was seen not to do at least once.",
            ["company"],
            registry=self.registry,
        )
        self._circuits_opened = Counter(
            "dialpad_ivr_circuits_opened", "Outages of Dialpad that this worker noticed first.", registry=self.registry
        )
        self._probes = Counter(
            "dialpad_ivr_probes", "Calls sent to find out whether an outage is over.", registry=self.registry
        )
        self._poll_failures = Counter("dialpad_ivr_poll_failures", "Failed polls.", registry=self.registry)
        self._update_failures = Counter(
            "dialpad_ivr_update_failures", "Results that the engine never accepted.", registry=self.registry
        )
        self._undelivered = Gauge(
            "dialpad_ivr_undelivered_results", "Results that the engine has not accepted yet.", registry=self.registry
        )
        self._redis_failures = Counter(
            "dialpad_ivr_redis_failures", "Times that the fleet's Redis did not answer.", registry=self.registry
        )
        self._redis_up = Gauge(
            "dialpad_ivr_redis_up",
            "Whether the fleet's Redis answered last time; 1 without one.",
            registry=self.registry,
        )
        self._redis_up.set(1)
        # Where there is a /proc: memory, processor time and open files, under the standard names.
        ProcessCollector(registry=self.registry)

    def permitted(self, *, patch: float, company: float) -> None:
        """Set the limits, in calls a second."""
        self._permitted.labels("patch").set(patch)
        self._permitted.labels("company").set(company)

    def shared_limit(self, *, answered: bool) -> None:
        """Record whether the fleet's Redis responded."""
        self._redis_up.set(answered)
        if not answered:
            self._redis_failures.inc()

    @contextmanager
    def calling(self, method: str, permit_wait_seconds: float) -> Iterator[Callable[[int], None]]:
        """Count one call; yields a function for the response's status. Without one it counts as `none`."""
        self._permit_wait.observe(permit_wait_seconds)
        status = "none"

        def answered(code: int) -> None:
            nonlocal status
            status = str(code)

        started = time.perf_counter()
        with self._in_flight.track_inprogress():
            try:
                yield answered
            finally:
                self._latency.labels(method).observe(time.perf_counter() - started)
                self._calls.labels(method, status).inc()

    def task_done(self, task_type: str, outcome: str | None) -> None:
        """Count a result; an outcome of `None` is a deferred task."""
        self._tasks.labels(task_type, outcome or WAITING).inc()

    def paused(self) -> None:
        """Count a pause."""
        self._pauses.inc()

    def circuit(self, company: str, is_open: Callable[[], bool], *, opened: bool) -> None:
        """Show the state of a company's circuit from now on; count it if it was opened just now."""
        self._circuit_open.labels(company).set_function(is_open)
        self._circuits_opened.inc(opened)

    def probed(self) -> None:
        """Count a probe."""
        self._probes.inc()

    def poll_failed(self) -> None:
        """Count a failed poll."""
        self._poll_failures.inc()

    def undelivered(self) -> AbstractContextManager[None]:
        """Count a result for as long as it cannot be delivered."""
        return self._undelivered.track_inprogress()

    def update_failed(self) -> None:
        """Count a lost result."""
        self._update_failures.inc()
