"""Dialpad custom-IVR changes as a first-class task of the Conductor workflow engine.

The names in `__all__` are the public API. Each is imported when it is first used, so that importing the package loads
neither the SDK nor pydantic.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "Definition",
    "EngineApi",
    "EngineError",
    "FieldError",
    "ListCustomIvrsInput",
    "ListCustomIvrsOutput",
    "ListTargetsInput",
    "ListTargetsOutput",
    "SetCustomIvrInput",
    "SetCustomIvrOutput",
    "Settings",
    "SettingsError",
    "TaskOutput",
    "check_input",
    "compare",
    "follow",
    "input_schema",
    "load_settings",
    "output_schema",
    "register",
    "run_locally",
    "run_worker",
    "shipped",
]

if TYPE_CHECKING:
    from dialpad_ivr.contract.inputs import ListCustomIvrsInput, ListTargetsInput, SetCustomIvrInput
    from dialpad_ivr.contract.outputs import (
        FieldError,
        ListCustomIvrsOutput,
        ListTargetsOutput,
        SetCustomIvrOutput,
        TaskOutput,
    )
    from dialpad_ivr.contract.schema import input_schema, output_schema
    from dialpad_ivr.contract.validation import check_input
    from dialpad_ivr.engine.api import EngineApi, EngineError
    from dialpad_ivr.engine.definitions import Comparison, Definition, compare, register, shipped
    from dialpad_ivr.engine.follow import follow
    from dialpad_ivr.settings import Settings, SettingsError, load_settings
    from dialpad_ivr.tasks.local_run import run_locally
    from dialpad_ivr.worker.run import run_worker
else:
    # Not for type checkers: with a `__getattr__` they would accept any name.
    _MODULES = {
        "contract.inputs": ("ListCustomIvrsInput", "ListTargetsInput", "SetCustomIvrInput"),
        "contract.outputs": (
            "FieldError",
            "ListCustomIvrsOutput",
            "ListTargetsOutput",
            "SetCustomIvrOutput",
            "TaskOutput",
        ),
        "contract.schema": ("input_schema", "output_schema"),
        "contract.validation": ("check_input",),
        "engine.api": ("EngineApi", "EngineError"),
        "engine.definitions": ("Comparison", "Definition", "compare", "register", "shipped"),
        "engine.follow": ("follow",),
        "settings": ("Settings", "SettingsError", "load_settings"),
        "tasks.local_run": ("run_locally",),
        "worker.run": ("run_worker",),
    }
    _HOME = {name: module for module, names in _MODULES.items() for name in names}

    def __getattr__(name):
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
