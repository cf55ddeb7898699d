"""The engine that tests of definitions run on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.engine.definitions import register, shipped
from dialpad_ivr.local.engine import running_engine
from dialpad_ivr.settings import Settings

_ANSWERS_WITHIN_SECONDS = 2.0


@dataclass(frozen=True)
class KitEngine:
    """An engine to run tests on.

    Attributes:
        api: A client of it.
        own: Whether it was started for the tests and nobody else uses it. Nothing is registered on another one.
    """

    api: EngineApi
    own: bool = False


@contextlib.contextmanager
def kit_engine(settings: Settings | None, report: Callable[[str], None] = lambda _: None) -> Iterator[KitEngine]:
    """The engine that the settings name if it answers, else one of our own while the context lasts.

    Args:
        settings: Name the engine to try first; `None` to start one at once.
        report: Called with a line of progress before one is started.

    Raises:
        EngineStartError: It did not start.
        DownloadError: It could not be downloaded.
    """
    if settings is not None and _answers(settings):
        yield KitEngine(EngineApi(settings))
        return
    report("Starting a Conductor server for the test (6 to 13 s; the first run downloads 458 MB) ...")
    with running_engine() as started:
        api = EngineApi(Settings(server_url=started.api_url))
        for definition in shipped():
            register(api, definition)
        yield KitEngine(api, own=True)


def _answers(settings: Settings) -> bool:
    """Whether an engine answers there; one that refuses our key does, and is not silently replaced by another."""
    try:
        EngineApi(settings, _ANSWERS_WITHIN_SECONDS).version()
    except EngineError as exc:
        return not exc.unreachable
    return True
