"""A test request without an engine: the same code as the worker's, and the same output."""

from __future__ import annotations

import json
import shlex
from typing import Any

from dialpad_ivr.contract.outputs import PreparedRequest
from dialpad_ivr.credentials import KEY_NAME, variable
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.result import Result
from dialpad_ivr.tasks.set_custom_ivr import set_custom_ivr
from dialpad_ivr.tasks.tools import open_tools


async def run_locally(payload: dict[str, Any], settings: Settings, *, send: bool) -> Result:
    """Prepare one request, and send it on demand.

    Args:
        payload: The task's input.
        settings: The host, the time limits and where the keys are.
        send: Whether to follow the input's `mode`; else nothing leaves this machine.
    """
    # Nothing delivers the task again: it does not wait for an outage to end.
    async with open_tools(settings.model_copy(update={"outage_budget_seconds": 0})) as tools:
        return await set_custom_ivr(Delivery(payload if send else {**payload, "mode": "validate"}), tools)


def as_curl(request: PreparedRequest, profile: str) -> str:
    """The same request for a shell, with the key left to a variable."""
    # By a pipe: what stands on curl's command line can be read by everyone on the machine.
    parts = ["printf", "'Authorization: Bearer %s'", f'"${variable(KEY_NAME, profile)}"', "|", "curl", "--header", "@-"]
    parts += ["--request", request.method, shlex.quote(request.url)]
    if request.body is not None:
        parts += ["--header", "'Content-Type: application/json'", "--data", shlex.quote(json.dumps(request.body))]
    return " ".join(parts)
