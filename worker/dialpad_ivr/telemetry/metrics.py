"""Prometheus metrics. Labels hold outcomes, methods and statuses: never a key, an id or a name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import product
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from dialpad_ivr.contract.outcomes import OUTCOMES
from dialpad_ivr.contract.schema import INPUTS
from dialpad_ivr.telemetry.logs import get_logger

WAITING: Final = "waiting"
"""The outcome label of a deferred task."""

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60)


_REFRESHED_SECONDS: Final = 60.0


class OverrideFigures(NamedTuple):
    """What the engine's overrides do.

    Attributes:
        overrides: How many there are, by state.
        rows: How many of their changes there are, by what has become of them.
    """

    overrides: Mapping[str, int]
    rows: Mapping[str, int]


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
        # Nothing until the engine was asked: every worker shows the same, so take the highest.
        self._overrides = Gauge(
            "dialpad_ivr_overrides",
            "Timed overrides on the engine, read at most once a minute: `planned`, `active`, or `overdue`: it should "
            "have been restored by now. Every worker of a fleet shows the same.",
            ["state"],
            registry=self.registry,
        )
        self._override_rows = Gauge(
            "dialpad_ivr_override_rows",
            "Slots that overrides have changed now (`overridden`), and those that overrides which ended in the last 24 "
            "hours have not restored (`left`): a person changed them meanwhile, or restoring failed.",
            ["state"],
            registry=self.registry,
        )
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

    def overrides(self, figures: OverrideFigures) -> None:
        """Show what overrides do, in place of what was shown before."""
        for gauge, values in ((self._overrides, figures.overrides), (self._override_rows, figures.rows)):
            gauge.clear()
            for state, value in values.items():
                gauge.labels(state).set(value)

    def watch_overrides(self, read: Callable[[], OverrideFigures]) -> None:
        """Show what overrides do from now on.

        Args:
            read: Reads it, in a thread of its own: it may block and fail. It is called on a scrape, at most once a
                minute; what it finds is shown from the next scrape on. Nothing is shown after it has failed.
        """

        def refresh() -> None:
            try:
                self.overrides(read())
            except Exception as exc:  # noqa: BLE001  # no fault here may harm the worker
                get_logger().debug("overrides_not_read", error=str(exc))
                self.overrides(OverrideFigures({}, {}))

        self.registry.register(_OnScrape(refresh))


class _OnScrape(Collector):
    """Calls a function in a thread when metrics are read, at most once a minute, and one at a time."""

    def __init__(self, refresh: Callable[[], None]) -> None:
        self._refresh = refresh
        self._thread: threading.Thread | None = None
        self._due = 0.0

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        now = time.monotonic()
        if now >= self._due and not (self._thread and self._thread.is_alive()):
            self._due = now + _REFRESHED_SECONDS
            self._thread = threading.Thread(target=self._refresh, name="overrides", daemon=True)
            self._thread.start()
        return ()
