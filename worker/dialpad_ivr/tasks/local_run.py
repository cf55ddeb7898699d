"""A test request without an engine: the same code as the worker's, and the same output."""

from __future__ import annotations

import json
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dialpad_ivr.contract.outputs import PreparedRequest
from dialpad_ivr.credentials import KEY_NAME, Credentials, variable
from dialpad_ivr.dialpad.client import DialpadClient
from dialpad_ivr.pacing.redis import open_limiter
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.run import Delivery, Result, Tools
from dialpad_ivr.tasks.set_custom_ivr import set_custom_ivr
from dialpad_ivr.telemetry.metrics import Metrics


async def run_locally(raw_input: dict[str, Any], settings: Settings, *, send: bool) -> Result:
    """Prepare one request, and send it when asked to.

    Args:
        raw_input: The task's input.
        settings: The host, the time limits and where the keys are.
        send: Whether to go by the input's `mode`; else nothing leaves this machine.
    """
    asked = raw_input if send else {**raw_input, "mode": "validate"}
    async with tools(settings) as its_tools:
        return await set_custom_ivr(Delivery(asked), its_tools)


@asynccontextmanager
async def tools(settings: Settings) -> AsyncIterator[Tools]:
    """What a task works with where no worker is: one client, and pacing of its own or the fleet's.

    Raises:
        SettingsError: Redis is named, and its client is not installed.
    """
    metrics = Metrics()
    async with DialpadClient(settings) as client, open_limiter(settings, metrics) as pacer:
        yield Tools(settings, client, Credentials(settings.credentials_file), pacer, metrics)


def as_curl(request: PreparedRequest, profile: str) -> str:
    """The same request for a shell, with the key left to a variable."""
    # By a pipe: what stands on curl's command line can be read by everyone on the machine.
    parts = ["printf", "'Authorization: Bearer %s'", f'"${variable(KEY_NAME, profile)}"', "|", "curl", "--header", "@-"]
    parts += ["--request", request.method, shlex.quote(request.url)]
    if request.body is not None:
        parts += ["--header", "'Content-Type: application/json'", "--data", shlex.quote(json.dumps(request.body))]
    return " ".join(parts)
