"""State machines in virtual time: an event loop whose time passes only when nothing is left to do, and then at once."""

from __future__ import annotations

import asyncio
import gc
import selectors
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase
from hypothesis import settings as profile
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from support.windows import Clock


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a clock that moves to the next timer as soon as everything else waits.

    Args:
        clock: What `loop.time()` reads, and with it `asyncio.sleep` and every time-out.
        awaits_network: Whether somebody waits for a socket, so that time must stand still until it has answered.
    """

    def __init__(self, clock: Clock, awaits_network: Callable[[], bool] = lambda: False) -> None:
        gc.collect(0)  # what the run before has left; see `explore`
        self._clock = clock
        super().__init__(_Selector(clock, awaits_network))

    def time(self) -> float:
        return self._clock.now


class _Selector(selectors.DefaultSelector):
    def __init__(self, clock: Clock, awaits_network: Callable[[], bool]) -> None:
        super().__init__()
        self._clock = clock
        self._awaits_network = awaits_network

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(None if self._awaits_network() and timeout != 0 else 0)
        if not ready and timeout != 0:
            assert timeout is not None, "everything waits, and no timer is set: nobody would ever go on"
            self._clock.now += timeout
        return ready


def explore(machine: type[RuleBasedStateMachine], runs: int, *, shrink: bool = True) -> None:
    """Run a state machine that many times, 50 steps each.

    Args:
        machine: The machine.
        runs: How often.
        shrink: Whether to look for the shortest run that fails.
    """
    # What is collected may be reported with a traceback, for which Python 3.11 parses code. Hypothesis parses code,
    # too, and Python 3.11 fails if one happens within the other: so nothing is collected but between two runs.
    gc.disable()
    try:
        run_state_machine_as_test(
            machine,
            settings=profile(
                max_examples=runs,
                stateful_step_count=50,
                deadline=None,
                phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        gc.enable()
