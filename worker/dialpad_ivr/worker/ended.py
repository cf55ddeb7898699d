"""Whether the workflow of a polled task has ended.

The engine ends a workflow by what it had read before it got the workflow's lock (3.32.3). Tasks that an evaluation
scheduled meanwhile, such as all those of a chunk, stay in their queue. Run, they would be changes made after a workflow
was terminated, and perhaps after an override was restored.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from conductor.client.http.api.async_task_resource_api import AsyncTaskResourceApi

from dialpad_ivr.engine.api import TERMINAL_STATUSES
from dialpad_ivr.worker.engine_client import evaluate, workflow_status

_VALID_SECONDS: Final = 1.0  # a chunk's tasks come many a second


class EndedWorkflows:
    """Asks the engine, for each workflow once a second at most.

    Args:
        client: The SDK's task API.
    """

    def __init__(self, client: AsyncTaskResourceApi) -> None:
        self._client = client
        self._asked: dict[str, tuple[float, asyncio.Future[bool]]] = {}

    async def includes(self, workflow_id: str) -> bool:
        """Whether a workflow has ended. One whose status cannot be read is taken for running."""
        now = time.monotonic()
        self._asked = {name: asked for name, asked in self._asked.items() if now - asked[0] < _VALID_SECONDS}
        if workflow_id not in self._asked:
            self._asked[workflow_id] = now, asyncio.ensure_future(self._ask(workflow_id))
        return await asyncio.shield(self._asked[workflow_id][1])

    async def _ask(self, workflow_id: str) -> bool:
        ended = await workflow_status(self._client, workflow_id) in TERMINAL_STATUSES
        if ended:
            await evaluate(self._client, workflow_id)  # this time, it cancels all that is left
        return ended
