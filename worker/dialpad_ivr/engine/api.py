"""A client of the engine's REST API: definitions as raw JSON, workflows started and read.

It uses the SDK's HTTP client, so that the key and secret of a secured server work as they do for the worker. It avoids
the SDK's models: `TaskDef` drops `maxRetryDelaySeconds` and `backoffJitterMs`.
"""

from __future__ import annotations

import getpass
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import quote

import httpx
from conductor.client.configuration.configuration import Configuration
from conductor.client.configuration.settings.authentication_settings import AuthenticationSettings
from conductor.client.http.api_client import ApiClient
from conductor.client.http.rest import ApiException

from dialpad_ivr.settings import Settings

TERMINAL_STATUSES = ("COMPLETED", "FAILED", "TIMED_OUT", "TERMINATED")
"""The statuses of a workflow that has ended."""

JsonObject = dict[str, Any]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CONNECT_SECONDS: Final = 5.0
_READ_SECONDS: Final = 10.0  # the 8 MB of a run of 5,000 changes took 1.3 s
_WRITE_SECONDS: Final = 30.0  # longer: what times out may have been done all the same
# The engine waits a minute for the lock of each sub-workflow that ended just then: it may have discarded that lock.
_TERMINATE_SECONDS: Final = 150.0
_INDEXED_WITHIN_SECONDS: Final = 5.0


class EngineError(Exception):
    """The engine rejected a request, or did not answer.

    Attributes:
        status: The HTTP status; 0 if the engine did not answer.
        perhaps_done: Whether what was asked for may have been done all the same.
    """

    def __init__(self, message: str, status: int, *, perhaps_done: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.perhaps_done = perhaps_done

    @property
    def unreachable(self) -> bool:
        """Whether no engine answered."""
        return self.status == 0

    @property
    def transient(self) -> bool:
        """Whether a retry may succeed: no answer, or a server error."""
        return self.unreachable or self.status >= 500


def current_user() -> str:
    """Who acts, as `user@host`, for what the engine keeps of it."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def configuration(settings: Settings) -> Configuration:
    """The SDK's configuration: the engine's URL, and the key and secret of a secured server."""
    auth = None
    if settings.auth_key and settings.auth_secret:
        auth = AuthenticationSettings(key_id=settings.auth_key, key_secret=settings.auth_secret.get_secret_value())
    return Configuration(server_api_url=settings.server_url, authentication_settings=auth)


class EngineApi:
    """A client of one engine. Every method raises `EngineError`.

    Args:
        settings: The engine's URL and its key.
        patience_seconds: How long any call may take; by default a read 10 s, a write 30 s, and to terminate 150 s.

    Attributes:
        url: The base URL of its API.
        answered: Whether the engine has answered this client.
        date: The `Date` header of its last answer, if that was a success.
    """

    def __init__(self, settings: Settings, patience_seconds: float | None = None) -> None:
        self.url = settings.server_url
        self.answered = False
        self.date: str | None = None
        connect_seconds = patience_seconds or _CONNECT_SECONDS
        self._read_timeout = (connect_seconds, patience_seconds or _READ_SECONDS)
        self._terminate_timeout = (connect_seconds, patience_seconds or _TERMINATE_SECONDS)
        config = configuration(settings)
        # The SDK's own client would retry a refused connection for 1.5 s, and one that nobody answers for 40 s.
        config.http_connection = httpx.Client(
            transport=httpx.HTTPTransport(),
            timeout=httpx.Timeout(patience_seconds or _WRITE_SECONDS, connect=connect_seconds),
            follow_redirects=True,
        )
        weakref.finalize(self, config.http_connection.close)  # the SDK closes only what it made itself
        self._client = ApiClient(config)

    def version(self) -> str:
        """The server's version, e.g. `3.32.3`."""
        return str(self._call("GET", "/version", response_type="str"))

    def task_definition(self, name: str) -> JsonObject | None:
        """A registered task definition; `None` if there is none of that name."""
        return self._find(f"/metadata/taskdefs/{quote(name, safe='')}")

    def workflow_definition(self, name: str, version: int | None) -> JsonObject | None:
        """A registered workflow definition, in its newest version by default; `None` if there is none."""
        query = [("version", version)] if version else []
        return self._find(f"/metadata/workflow/{quote(name, safe='')}", query)

    def put_task_definition(self, definition: JsonObject) -> None:
        """Create or replace a task definition."""
        self._call("POST", "/metadata/taskdefs", body=[definition])

    def put_workflow_definition(self, definition: JsonObject) -> None:
        """Create or replace this version of a workflow definition."""
        self._call("PUT", "/metadata/workflow", body=[definition])

    def delete_workflow_definition(self, name: str, version: int) -> None:
        """Delete a version of a workflow definition. Its executions go on."""
        self._call("DELETE", f"/metadata/workflow/{quote(name, safe='')}/{version}", response_type="str")

    def start_workflow(
        self, name: str, inputs: JsonObject, version: int | None = None, correlation_id: str | None = None
    ) -> str:
        """Start a workflow, by default in its newest version; returns its id."""
        optional = {"version": version, "correlationId": correlation_id}
        body = {"name": name, "input": _harmless(inputs), **{key: value for key, value in optional.items() if value}}
        return str(self._call("POST", "/workflow", body=body, response_type="str"))

    def start_definition(self, definition: JsonObject, inputs: JsonObject, domain: str) -> str:
        """Start a definition without registering it, all of its tasks in a task domain; returns the workflow's id."""
        names = {"name": definition["name"], "version": definition.get("version") or 1}
        body = {**names, "workflowDef": definition, "input": _harmless(inputs), "taskToDomain": {"*": domain}}
        return str(self._call("POST", "/workflow", body=body, response_type="str"))

    def workflow(self, workflow_id: str, *, tasks: bool = True) -> JsonObject:
        """A workflow's current state, with its tasks or without."""
        query = [("includeTasks", str(tasks).lower())]
        found: JsonObject = self._call("GET", f"/workflow/{quote(workflow_id, safe='')}", query)
        return found

    def workflow_status(self, workflow_id: str, *, output: bool = False) -> JsonObject:
        """A workflow's `status` and `variables`, perhaps its `output`, without its input and its tasks."""
        path = f"/workflow/{quote(workflow_id, safe='')}/status"
        query = [("includeOutput", str(output).lower()), ("includeVariables", "true")]
        found: JsonObject = self._call("GET", path, query)
        return found

    def correlated(self, name: str, correlation_id: str, *, ended: bool = False) -> list[JsonObject]:
        """The running, or also the `ended`, workflows of that name with that correlation id; without their tasks."""
        path = f"/workflow/{quote(name, safe='')}/correlated/{quote(correlation_id, safe='')}"
        query = [("includeClosed", str(ended).lower()), ("includeTasks", "false")]
        found: list[JsonObject] = self._call("GET", path, query)
        return found

    def running(self, name: str) -> list[str]:
        """The ids of the running workflows of that name, in any version, from the engine's store."""
        versions = self.workflow_versions().get(name, [])
        path = f"/workflow/running/{quote(name, safe='')}"
        found = [self._call("GET", path, [("version", version)]) for version in versions]
        return [workflow_id for ids in found for workflow_id in ids]

    def newest(self, name: str, count: int, correlation_id: str | None = None) -> list[JsonObject]:
        """Summaries of the `count` most recently started workflows of that name, newest first."""
        query = f"workflowType='{name}'" + (f" AND correlationId='{correlation_id}'" if correlation_id else "")
        return self._search(query, ("sort", "startTime:DESC"), ("start", 0), ("size", count))

    def last_polls(self, task_type: str) -> dict[str | None, int]:
        """When workers last polled for tasks of this type.

        Returns:
            By task domain (`None` for the default queue), in the engine's milliseconds since 1970. A domain that was
            never polled is missing.
        """
        found: list[JsonObject] = self._call("GET", "/tasks/queue/polldata", [("taskType", task_type)])
        return {poll.get("domain") or None: poll["lastPollTime"] for poll in found}

    def workflow_versions(self) -> dict[str, list[int]]:
        """The versions of each registered workflow, by its name."""
        found: dict[str, list[JsonObject]] = self._call("GET", "/metadata/workflow/names-and-versions")
        return {name: [entry["version"] for entry in entries] for name, entries in found.items()}

    def complete_task(self, workflow_id: str, task_id: str, output: JsonObject) -> None:
        """Complete a waiting task with this output."""
        self.update_task(workflow_id, task_id, "COMPLETED", output)

    def update_task(
        self, workflow_id: str, task_id: str, status: str, output: JsonObject, reason: str | None = None
    ) -> None:
        """Report a task's status, output and perhaps the reason of its failure, as a worker does."""
        body = {"workflowInstanceId": workflow_id, "taskId": task_id, "status": status, "outputData": _harmless(output)}
        body |= {"reasonForIncompletion": reason} if reason else {}
        self._call("POST", "/tasks", body=body, response_type="str")

    def poll(self, task_type: str, worker_id: str, count: int, domain: str | None = None) -> list[JsonObject]:
        """Take up to `count` tasks out of their queue; they are then in progress under this worker id."""
        query = [("workerid", worker_id), ("count", count), *([("domain", domain)] if domain else [])]
        found: list[JsonObject] | None = self._call("GET", f"/tasks/poll/batch/{quote(task_type, safe='')}", query)
        return found or []

    def return_task(self, task: JsonObject, output: JsonObject) -> None:
        """Put a task back into its queue at once, with this output."""
        body = {
            "workflowInstanceId": task["workflowInstanceId"],
            "taskId": task["taskId"],
            "status": "IN_PROGRESS",
            "outputData": output,
            "callbackAfterSeconds": 0,
        }
        self._call("POST", "/tasks", body=body, response_type="str")

    def evaluate(self, workflow_id: str) -> None:
        """Look for what has changed in a running workflow now, and go on with it."""
        self._call("PUT", f"/workflow/decide/{quote(workflow_id, safe='')}", response_type="str")

    def pause(self, workflow_id: str) -> None:
        """Pause a running workflow: its scheduled tasks run, but none is scheduled after them."""
        self._call("PUT", f"/workflow/{quote(workflow_id, safe='')}/pause", response_type="str")

    def terminate(self, workflow_id: str, reason: str) -> None:
        """End a workflow and its sub-workflows as TERMINATED. Their tasks are canceled, and later results ignored."""
        path = f"/workflow/{quote(workflow_id, safe='')}"
        self._call("DELETE", path, [("reason", reason)], response_type="str", timeout=self._terminate_timeout)

    def remove(self, workflow_id: str) -> None:
        """Delete an execution, which is ended first if it is running."""
        if self.workflow(workflow_id, tasks=False)["status"] not in TERMINAL_STATUSES:
            self.terminate(workflow_id, "removed")
        # The index learns of the end a moment later, and would then list an execution that is no longer there.
        deadline = time.monotonic() + _INDEXED_WITHIN_SECONDS
        while time.monotonic() < deadline:
            found = self._search(f"workflowId='{workflow_id}'")
            if any(summary.get("status") in TERMINAL_STATUSES for summary in found):
                break
            time.sleep(0.02)
        path = f"/workflow/{quote(workflow_id, safe='')}/remove"
        self._call("DELETE", path, [("archiveWorkflow", "false")], response_type="str")

    def scheduler(self, method: str, path: str, query: list[tuple[str, Any]] | None = None, body: Any = None) -> Any:
        """Call the engine's scheduler; see `engine/schedules.py`."""
        return self._call(method, f"/scheduler{path}", query, body)

    def _search(self, query: str, *more: tuple[str, Any]) -> list[JsonObject]:
        """Summaries of workflows, from the engine's index."""
        found: JsonObject = self._call("GET", "/workflow/search", [("query", query), *more])
        results: list[JsonObject] = found.get("results") or []
        return results

    def _find(self, path: str, query: list[tuple[str, Any]] | None = None) -> JsonObject | None:
        found: JsonObject | None = unless_missing(self._call, "GET", path, query)
        return found

    def _call(
        self,
        method: str,
        path: str,
        query: list[tuple[str, Any]] | None = None,
        body: Any = None,
        response_type: str = "object",
        timeout: tuple[float, float] | None = None,
    ) -> Any:
        try:
            with _interrupt_raised():
                response, _, headers = self._client.call_api(
                    path,
                    method,
                    query_params=query or [],
                    header_params={"Accept": "*/*", "Content-Type": "application/json"},
                    body=body,
                    response_type=response_type,
                    _request_timeout=timeout or (self._read_timeout if method == "GET" else None),
                )
            self.answered, self.date = True, headers.get("date")
            if response_type == "object" and isinstance(response, str) and response:
                raise EngineError(
                    f"{self.url} does not answer like a Conductor server. Check CONDUCTOR_SERVER_URL.", 200
                )
            return response
        except ApiException as exc:
            status = exc.status or 0
            self.answered = self.answered or status > 0
            refused = isinstance(exc.__context__, httpx.ConnectError | httpx.ConnectTimeout)
            reason = " ".join(str(exc.reason).split())[:200]
            if status == 0 and not refused:
                message = f"The Conductor server at {self.url} did not answer ({reason})."
            elif status == 0:
                message = f"No Conductor server answers at {self.url} ({reason}). Set CONDUCTOR_SERVER_URL."
            elif status in (401, 403):
                message = f"{self.url} answered {status}: check CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET."
            else:
                message = f"{self.url} answered {status} to {method} {path}: {str(exc.message or exc.reason)[:300]}"
            perhaps_done = status == 0 and not refused and method != "GET"
            raise EngineError(message, status, perhaps_done=perhaps_done) from None


def _harmless(value: Any) -> Any:
    """A workflow's input, or a task's output, in which no text names a secret of the engine.

    The engine would put the secret there wherever a task of its own is given that text, and store what that makes of
    it. A reason, or the name of an IVR, comes from people who must not read secrets.
    """
    if isinstance(value, str):
        return value.replace("${workflow.secrets.", "$ {workflow.secrets.")
    if isinstance(value, dict):
        return {key: _harmless(each) for key, each in value.items()}
    return [_harmless(each) for each in value] if isinstance(value, list | tuple) else value


def unless_missing(read: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
    """What the engine has, or `None` where it answers 404: its index also lists workflows that were removed since.

    Raises:
        EngineError: Any other refusal, or no answer.
    """
    try:
        return read(*args, **kwargs)
    except EngineError as exc:
        if exc.status == 404:
            return None
        raise


@contextmanager
def _interrupt_raised() -> Iterator[None]:
    """Raise KeyboardInterrupt after the block if Ctrl-C came within it: the SDK's bare `except:` may swallow it."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    interrupted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if interrupted:
        raise KeyboardInterrupt
