"""What the tasks work with, built in one place for the worker, the commands and the console."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from dialpad_ivr.credentials import Credentials
from dialpad_ivr.dialpad.client import DialpadClient
from dialpad_ivr.pacing.limiter import Limiter
from dialpad_ivr.pacing.redis import open_limiter
from dialpad_ivr.settings import Settings
from dialpad_ivr.telemetry.metrics import Metrics
from dialpad_ivr.telemetry.tracing import Tracing


@dataclass(frozen=True)
class Tools:
    """What a task works with; one for a process."""

    settings: Settings
    client: DialpadClient
    credentials: Credentials
    limiter: Limiter
    metrics: Metrics
    tracing: Tracing = field(default_factory=Tracing)


@asynccontextmanager
async def open_tools(settings: Settings, tracing: Tracing | None = None) -> AsyncIterator[Tools]:
    """Open the client and the limiter that the settings describe; closed when the context ends.

    Raises:
        SettingsError: Redis is configured, and its client is not installed.
    """
    metrics = Metrics()
    async with DialpadClient(settings) as client, open_limiter(settings, metrics) as limiter:
        credentials = Credentials(settings.credentials_file)
        yield Tools(settings, client, credentials, limiter, metrics, tracing or Tracing())
