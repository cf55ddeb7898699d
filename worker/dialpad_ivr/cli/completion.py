"""What the shell completes besides commands and options. Only the names of workflows need the engine's client."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

_ENGINE_SECONDS = 0.3


def shipped_workflows() -> list[str]:
    """The names of the workflows that this package ships."""
    from dialpad_ivr.engine.definitions import shipped

    return [definition.name for definition in shipped() if definition.kind == "workflow"]


def workflow_names(incomplete: str) -> list[str]:
    """The shipped workflows that begin like this, and the engine's if it answers quickly."""
    from dialpad_ivr.engine.api import EngineApi, EngineError
    from dialpad_ivr.settings import SettingsError, load_settings

    names = set(shipped_workflows())
    with contextlib.suppress(EngineError, SettingsError):
        names.update(EngineApi(load_settings(), patience_seconds=_ENGINE_SECONDS).workflow_versions())
    return sorted(name for name in names if name.startswith(incomplete))


def one_of(values: tuple[str, ...]) -> Callable[[str], list[str]]:
    """Completes one of these values."""
    return lambda incomplete: [value for value in values if value.startswith(incomplete)]
