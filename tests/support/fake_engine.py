"""The task endpoints of an engine, served over real HTTP: for the poller's unit tests, which need its failures."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dialpad_ivr.http_server import serving


class FakeEngine:
    """Queues tasks, takes results, and fails on demand.

    Attributes:
        queue: Tasks that the next polls return, as the engine writes them.
        domains: The same for polls in a task domain; one that is not here has the tasks of `queue`.
        types: The same for a task type, in any domain.
        next_tasks: Tasks that the next updates bring along.
        previous: Tasks that can be read by their id.
        statuses: The statuses of workflows by their id.
        failures: For each endpoint, the responses that its next requests get instead of its own.
        calls: Every request: the endpoint, and its query or body.
        hold: While it is not set, updates are not answered.
        token: What the endpoints ask for; `None` asks for nothing.
    """

    def __init__(self) -> None:
        self.url = ""
        self.queue: deque[dict[str, Any]] = deque()
        self.domains: dict[str, deque[dict[str, Any]]] = {}
        self.types: dict[str, deque[dict[str, Any]]] = {}
        self.next_tasks: deque[dict[str, Any]] = deque()
        self.previous: dict[str, dict[str, Any]] = {}
        self.statuses: dict[str, str] = {}
        self.failures: dict[str, deque[Response]] = {}
        self.calls: list[tuple[str, Any]] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.token: str | None = None

    def called(self, endpoint: str) -> list[Any]:
        """The queries or bodies that an endpoint got."""
        return [body for name, body in self.calls if name == endpoint]

    @property
    def results(self) -> list[dict[str, Any]]:
        """The results that were sent, accepted or not."""
        return [body for name, body in self.calls if name in ("update", "update-v2")]

    def _accepts(self, endpoint: str, request: Request) -> bool:
        return not self.failures.get(endpoint) and request.headers.get("x-authorization") == self.token

    def _respond(self, endpoint: str, request: Request, sent: Any, response: Response) -> Response:
        self.calls.append((endpoint, sent))
        if self.failures.get(endpoint):
            return self.failures[endpoint].popleft()
        if self.token and request.headers.get("x-authorization") != self.token:
            return JSONResponse({"message": "no token"}, 401)
        return response

    async def _poll(self, request: Request) -> Response:
        count = int(request.query_params["count"])
        tasks = []
        if self._accepts("poll", request):
            queue = self.domains.get(request.query_params.get("domain", ""), self.queue)
            queue = self.types.get(request.path_params["task_type"], queue)
            tasks = [queue.popleft() for _ in range(min(count, len(queue)))]
        return self._respond("poll", request, dict(request.query_params), JSONResponse(tasks))

    async def _update_v2(self, request: Request) -> Response:
        task = self.next_tasks.popleft() if self.next_tasks and self._accepts("update-v2", request) else None
        response = Response(status_code=204) if task is None else JSONResponse(task)
        answer = self._respond("update-v2", request, await request.json(), response)
        await self.hold.wait()
        return answer

    async def _update(self, request: Request) -> Response:
        return self._respond("update", request, await request.json(), Response("ok", media_type="text/plain"))

    async def _read(self, request: Request) -> Response:
        task_id = request.path_params["task_id"]
        task = self.previous.get(task_id)
        response = JSONResponse(task) if task else JSONResponse({"message": "no such task"}, 404)
        return self._respond("read", request, task_id, response)

    async def _status(self, request: Request) -> Response:
        workflow_id = request.path_params["workflow_id"]
        status = self.statuses.get(workflow_id)
        response = JSONResponse({"status": status}) if status else JSONResponse({"message": "no such workflow"}, 404)
        return self._respond("status", request, workflow_id, response)

    async def _evaluate(self, request: Request) -> Response:
        return self._respond("evaluate", request, request.path_params["workflow_id"], Response())

    async def _token(self, request: Request) -> Response:
        self.calls.append(("token", None))
        if self.failures.get("token"):
            return self.failures["token"].popleft()
        return JSONResponse({"token": self.token})

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/tasks/poll/batch/{task_type}", self._poll),
                Route("/api/tasks/update-v2", self._update_v2, methods=["POST"]),
                Route("/api/tasks", self._update, methods=["POST"]),
                Route("/api/tasks/{task_id}", self._read),
                Route("/api/workflow/{workflow_id}/status", self._status),
                Route("/api/workflow/decide/{workflow_id}", self._evaluate, methods=["PUT"]),
                Route("/api/token", self._token, methods=["POST"]),
            ]
        )


@contextlib.asynccontextmanager
async def running_fake_engine() -> AsyncIterator[FakeEngine]:
    """Serve one while the context lasts."""
    engine = FakeEngine()
    async with serving(engine.app, "127.0.0.1", 0) as port:
        engine.url = f"http://127.0.0.1:{port}/api"
        yield engine


def task(task_id: str = "1", **fields: Any) -> dict[str, Any]:
    """A task as the engine writes it."""
    return {
        "taskId": task_id,
        "taskType": "t",
        "workflowInstanceId": "w",
        "scheduledTime": 7,
        "inputData": {},
        "status": "IN_PROGRESS",
        **fields,
    }
