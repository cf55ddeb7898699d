"""A test kit for workflow authors: run a definition on a real engine with mocked tasks, and see which branch it takes.

    mocks.py      the output and the status of a task of ours for each outcome
    isolation.py  a copy of a definition that reaches nothing outside of the engine
    run.py        runs that copy
    path.py       the path that the run took
    branches.py   one run per outcome, and the outcomes that no branch handles
    engines.py    the engine that it runs on
    double.py     a Dialpad double in a process of its own, and a client of its control API
    plugin.py     the fixtures for pytest

The names in `__all__` are public. Each is imported when it is first used: pytest loads the plugin, and with it this
package, in every session of an environment that it is installed in.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = [
    "BranchGap",
    "DoubleControl",
    "KitEngine",
    "LocalWorker",
    "Mock",
    "OutcomeReport",
    "OutcomeRun",
    "RunDefinition",
    "Step",
    "WorkflowRun",
    "WorkflowTestError",
    "check_outcomes",
    "kit_engine",
    "outcome_mock",
    "outcomes_of",
    "run_definition",
]

if TYPE_CHECKING:
    from dialpad_ivr.contract.outcomes import outcomes_of
    from dialpad_ivr.local.stack import LocalWorker
    from dialpad_ivr.testing.branches import BranchGap, OutcomeReport, OutcomeRun, check_outcomes
    from dialpad_ivr.testing.double import DoubleControl
    from dialpad_ivr.testing.engines import KitEngine, kit_engine
    from dialpad_ivr.testing.isolation import WorkflowTestError
    from dialpad_ivr.testing.mocks import Mock, outcome_mock
    from dialpad_ivr.testing.path import Step, WorkflowRun
    from dialpad_ivr.testing.run import RunDefinition, run_definition
else:
    # Not for type checkers: with a `__getattr__` they would accept any name.
    _MODULES = {
        "contract.outcomes": ("outcomes_of",),
        "local.stack": ("LocalWorker",),
        "testing.branches": ("BranchGap", "OutcomeReport", "OutcomeRun", "check_outcomes"),
        "testing.double": ("DoubleControl",),
        "testing.engines": ("KitEngine", "kit_engine"),
        "testing.isolation": ("WorkflowTestError",),
        "testing.mocks": ("Mock", "outcome_mock"),
        "testing.path": ("Step", "WorkflowRun"),
        "testing.run": ("RunDefinition", "run_definition"),
    }
    _HOME = {name: f"dialpad_ivr.{module}" for module, names in _MODULES.items() for name in names}

    def __getattr__(name):
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOME[name]), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
