"""Stubs of Dialpad and of the engine, over real HTTP on a loopback port."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Received:
    """A request."""

    method: str
    path: str
    query: dict[str, str]
    body: Any


Respond = Callable[[Received], tuple[int, Any]]
"""Returns a status and what to answer: text, or what is then written as JSON. Status 0 closes the connection."""


def _indexed(run: JsonObject) -> JsonObject:
    """A run as the engine's index has it: with its end as text."""
    end = run.get("endTime")
    return {**run, "endTime": datetime.fromtimestamp(end / 1000, timezone.utc).isoformat()} if end else run


@dataclass
class Stub:
    """A server that answers by a function.

    Attributes:
        respond: The function.
        clock_skew_seconds: How far its `Date` header is ahead.
        received: The requests, oldest first.
    """

    respond: Respond
    clock_skew_seconds: float = 0
    received: list[Received] = field(default_factory=list)
    url: str = ""


@contextlib.contextmanager
def running_stub(respond: Respond) -> Iterator[Stub]:
    """Serve a stub while the context lasts."""
    stub = Stub(respond)

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            parts = urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            request = Received(self.command, parts.path, query, json.loads(content) if content else None)
            stub.received.append(request)
            status, answer = stub.respond(request)
            if status == 0:
                self.close_connection = True
                return
            text = isinstance(answer, str)
            body = (answer if text else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if text else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate((timestamp or time.time()) + stub.clock_skew_seconds, usegmt=True)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        stub.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()


class StubEngine:
    """As much of a Conductor server as the command uses, without running anything.

    Attributes:
        definitions: What is registered: task definitions by name, workflow definitions by name and version.
        runs: Each workflow's states by its id. A read takes the next one; the last one stays.
        outage: Statuses to answer before anything else, one a request; 0 closes the connection.
        terminated: What the runs are once one of them is terminated.
        completed_tasks: What was reported for tasks that wait.
        polled: What polls for tasks return, one after the other; then nothing.
        last_polls: When workers last polled, by task type and domain; in milliseconds since 1970.
        schedules: What is scheduled, by name; `None` for an engine without the scheduler. Its preview knows two cron
            expressions: that of every day at six, and that of a date which there is not.
        worker: Whether one polls the default queue and that of bulk work right now, for all task types.
        removed: The ids of workflows that are gone, though the index lists them.
    """

    def __init__(self) -> None:
        self.definitions: dict[tuple[str, ...], JsonObject] = {}
        self.runs: dict[str, list[JsonObject]] = {}
        self.terminated: dict[str, list[JsonObject]] = {}
        self.outage: list[int] = []
        self.completed_tasks: list[JsonObject] = []
        self.polled: list[list[JsonObject]] = []
        self.last_polls: dict[tuple[str, str | None], int] = {}
        self.schedules: dict[str, JsonObject] | None = {}
        self.worker = True
        self.removed: set[str] = set()
        self.stub: Stub

    @property
    def writes(self) -> list[Received]:
        """The requests that change something."""
        return [request for request in self.stub.received if request.method != "GET"]

    def respond(self, request: Received) -> tuple[int, Any]:
        """Answer a request."""
        if self.outage:
            return self.outage.pop(0), {"message": "outage"}
        parts = request.path.removeprefix("/api/").split("/")
        match (request.method, *parts):
            case ("GET", "version"):
                return 200, "3.32.3"
            case ("GET", "tasks", "poll", "batch", _):
                return 200, self.polled.pop(0) if self.polled else []
            case ("GET", "tasks", "queue", "polldata"):
                return 200, self._polls(request.query["taskType"])
            case ("GET", "metadata", "workflow", "names-and-versions"):
                versions: dict[str, list[JsonObject]] = {}
                for name, *version in self.definitions:
                    if version:
                        versions.setdefault(name, []).append({"name": name, "version": int(version[0])})
                return 200, versions
            case ("GET", "metadata", "taskdefs", name):
                return self._found(self.definitions.get((name,)))
            case ("GET", "metadata", "workflow", name):
                versions_of = [version[0] for named, *version in self.definitions if named == name and version]
                newest = max(versions_of, key=int, default="")
                return self._found(self.definitions.get((name, request.query.get("version", newest))))
            case ("DELETE", "metadata", "workflow", name, version_text):
                return self._found(self.definitions.pop((name, version_text), None))
            case ("POST", "metadata", "taskdefs"):
                self.definitions.update({(body["name"],): body for body in request.body})
                return 200, {}
            case ("PUT", "metadata", "workflow"):
                self.definitions.update({(body["name"], str(body["version"])): body for body in request.body})
                return 200, {}
            case ("POST", "workflow"):
                workflow_id = next(iter(self.runs), None)
                return (200, workflow_id) if workflow_id else (404, {"message": "no such workflow"})
            case ("POST", "tasks"):
                self.completed_tasks.append(request.body)
                return 200, request.body["taskId"]
            case ("PUT", "workflow", _, "pause") | ("PUT", "workflow", "decide", _):
                return 200, ""
            case ("DELETE", "workflow", workflow_id) if workflow_id in self.runs:
                self.runs.update(self.terminated)
                return 200, ""
            case ("GET" | "POST" | "DELETE", "scheduler", *path) if self.schedules is not None:
                return self._scheduler(request, path, self.schedules)
            case ("GET", "workflow", "search") if "search" not in self.runs:
                latest = [run[0] for run in self.runs.values()]
                named = "workflowType='{workflowName}' AND correlationId='{correlationId}'"
                blank = {"workflowName": "", "correlationId": ""}
                return 200, {"results": [s for s in latest if named.format_map(blank | s) == request.query["query"]]}
            case ("GET", "workflow", name, "correlated", correlation_id):
                wanted = (name, correlation_id)
                latest = [run[0] for run in self.runs.values()]
                return 200, [s for s in latest if (s.get("workflowName"), s.get("correlationId")) == wanted]
            case ("GET", "workflow", "running", name):
                return 200, [s["workflowId"] for s in self._latest(name) if s["status"] == "RUNNING"]
            case ("GET", "workflow", "search"):
                name = request.query["query"].split("'")[1]
                return 200, {"results": [_indexed(run) for run in self._latest(name)]}
            case ("DELETE", "workflow", workflow_id):
                reason = request.query.get("reason")
                ended = {"status": "TERMINATED", "reasonForIncompletion": reason}
                self.runs[workflow_id] = [{**self.runs[workflow_id][-1], **ended}]
                return 200, {}
            case ("GET", "workflow", workflow_id, *_) if workflow_id not in self.removed:
                states = self.runs.get(workflow_id) or []
                return self._found(states.pop(0) if len(states) > 1 else states[0] if states else None)
            case _:
                return 404, {"message": f"not stubbed: {request.method} {request.path}"}

    def _latest(self, name: str) -> list[JsonObject]:
        return [states[0] for states in self.runs.values() if states[0].get("workflowName") == name]

    def _polls(self, task_type: str) -> list[JsonObject]:
        if self.worker:
            now = int((time.time() + self.stub.clock_skew_seconds) * 1000)
            for domain in (None, "bulk"):
                self.last_polls[task_type, domain] = max(now, self.last_polls.get((task_type, domain), 0) + 1)
        return [
            {"queueName": task_type, "workerId": "w", "lastPollTime": at} | ({"domain": domain} if domain else {})
            for (polled, domain), at in self.last_polls.items()
            if polled == task_type
        ]

    def _scheduler(self, request: Received, path: list[str], schedules: dict[str, JsonObject]) -> tuple[int, Any]:
        match (request.method, *path):
            case ("GET", "schedules"):
                return 200, list(schedules.values())
            case ("POST", "schedules"):
                schedules[request.body["name"]] = request.body
                return 200, request.body
            case ("DELETE", "schedules", name):
                schedules.pop(name, None)
                return 200, ""
            case ("GET", "nextFewSchedules") if request.query["cronExpression"] == "0 0 6 * * *":
                start = datetime.fromtimestamp(int(request.query["scheduleStartTime"]) / 1000, timezone.utc)
                at_six = start.replace(hour=6, minute=0, second=0, microsecond=0)
                then = at_six if at_six >= start else at_six + timedelta(days=1)
                return 200, [int(then.timestamp() * 1000)]
            case ("GET", "nextFewSchedules") if request.query["cronExpression"] == "0 0 6 31 2 *":
                return 200, []
            case _:
                return 500, {"message": "Invalid cron expression"}

    @staticmethod
    def _found(found: JsonObject | None) -> tuple[int, Any]:
        return (404, {"message": "not found"}) if found is None else (200, found)


@contextlib.contextmanager
def running_stub_engine() -> Iterator[StubEngine]:
    """Serve a stub of the engine while the context lasts."""
    engine = StubEngine()
    with running_stub(engine.respond) as engine.stub:
        yield engine
