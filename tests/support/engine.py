"""Thin REST helpers for tests on the real engine. They use the API as anybody would, not our own client of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import httpx

from dialpad_ivr.engine.definitions import shipped

_UNUSUALLY_LONG_SECONDS = 30
TERMINAL = ("COMPLETED", "FAILED", "TIMED_OUT", "TERMINATED")


class EngineRest:
    """The engine's REST API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=f"{url}/api", timeout=30, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def put_task_definition(self, definition: dict[str, Any]) -> None:
        self._http.post("/metadata/taskdefs", json=[definition]).raise_for_status()

    def task_definition(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._http.get(f"/metadata/taskdefs/{name}").raise_for_status().json()
        return found

    def put_workflow_definition(self, definition: dict[str, Any]) -> None:
        self._http.put("/metadata/workflow", json=[definition]).raise_for_status()

    def put_shipped(self, **changes: Any) -> None:
        """Put all our definitions there, with these changes to the task definitions."""
        for definition in shipped():
            if definition.kind == "workflow":
                self.put_workflow_definition(definition.body)
            else:
                self.put_task_definition({**definition.body, **changes})

    def delete_workflow_definition(self, name: str, version: int) -> None:
        self._http.delete(f"/metadata/workflow/{name}/{version}").raise_for_status()

    def start(self, name: str, inputs: dict[str, Any], domain: str | None = None, version: int | None = None) -> str:
        body = {"name": name, "version": version, "input": inputs, "taskToDomain": {"*": domain} if domain else {}}
        return self._http.post("/workflow", json=body).raise_for_status().text

    def poll(self, task_type: str, domain: str, count: int) -> list[dict[str, Any]]:
        params: dict[str, Any] = {"workerid": "test", "domain": domain, "count": count}
        tasks: list[dict[str, Any]] = (
            self._http.get(f"/tasks/poll/batch/{task_type}", params=params).raise_for_status().json()
        )
        return tasks

    def workflow(self, workflow_id: str, *, tasks: bool = True) -> dict[str, Any]:
        found = self._http.get(f"/workflow/{workflow_id}", params={"includeTasks": tasks}).raise_for_status()
        workflow: dict[str, Any] = found.json()
        return workflow

    def task(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._http.get(f"/tasks/{task_id}").raise_for_status().json()
        return found

    def update_task(self, workflow_id: str, task_id: str, status: str) -> None:
        body = {"workflowInstanceId": workflow_id, "taskId": task_id, "status": status}
        self._http.post("/tasks", json=body).raise_for_status()

    def evaluate(self, workflow_id: str) -> None:
        """Let the engine look for timed-out tasks in a running workflow now.

        Its sweeper takes a workflow from a queue to do so. If it is stopped then, or does not get the workflow's lock,
        the entry stays taken: the SQLite queue puts it back after 60 s, and looks for such entries every 60 s. If a
        task ends while the sweeper looks, its entry is postponed by the response timeout all the same.
        """
        self._http.put(f"/workflow/decide/{workflow_id}").raise_for_status()

    def terminate(self, workflow_id: str) -> None:
        """End a workflow with its sub-workflows.

        The engine forgets the lock of a workflow that ends, while others wait for it: whoever gets it never gives it
        back to the next one. If that is this call, it waits a minute for the lock, and goes on without.
        """
        self._http.delete(f"/workflow/{workflow_id}", timeout=150).raise_for_status()

    def pause(self, workflow_id: str) -> None:
        self._http.put(f"/workflow/{workflow_id}/pause").raise_for_status()

    def resume(self, workflow_id: str) -> None:
        self._http.put(f"/workflow/{workflow_id}/resume").raise_for_status()

    def running(self) -> list[str]:
        """The ids of the workflows that have not ended."""
        query: dict[str, Any] = {"query": "status='RUNNING'", "size": 1000}
        found = self._http.get("/workflow/search", params=query).raise_for_status().json()
        return [summary["workflowId"] for summary in found["results"]]

    def correlated(self, name: str, correlation_id: str) -> list[dict[str, Any]]:
        """The workflows of that name with that correlation id, running or ended, in the order of their start."""
        path, query = f"/workflow/{name}/correlated/{correlation_id}", {"includeClosed": "true"}
        found: list[dict[str, Any]] = self._http.get(path, params=query).raise_for_status().json()
        return sorted(found, key=lambda workflow: int(workflow["startTime"]))

    def remove(self, workflow_id: str) -> None:
        """Let the engine forget a workflow, its tasks included."""
        self._http.delete(f"/workflow/{workflow_id}/remove").raise_for_status()

    def forget(self, name: str) -> None:
        """Remove all workflows of that name, which have ended."""
        query: dict[str, Any] = {"query": f"workflowType='{name}'", "size": 1000}
        for summary in self._http.get("/workflow/search", params=query).raise_for_status().json()["results"]:
            with contextlib.suppress(httpx.HTTPStatusError):  # the index lists some that are gone
                self.remove(summary["workflowId"])

    def task_log(self, task_id: str) -> list[str]:
        return [line["log"] for line in self._http.get(f"/tasks/{task_id}/log").raise_for_status().json()]

    def ended(self, workflow_ids: Iterable[str], timeout: float = 120) -> list[dict[str, Any]]:
        """Wait until all of them have ended; returns them with their tasks, in order.

        On a busy machine the engine may miss the last change of a workflow, and would look at it minutes later: one
        that takes long is evaluated, with its sub-workflows.
        """
        evaluate_at = time.monotonic() + _UNUSUALLY_LONG_SECONDS

        def ended(workflow_id: str) -> dict[str, Any] | None:
            nonlocal evaluate_at
            if self.workflow(workflow_id, tasks=False)["status"] in TERMINAL:
                return self.workflow(workflow_id)
            if time.monotonic() > evaluate_at:
                evaluate_at = time.monotonic() + _UNUSUALLY_LONG_SECONDS
                tasks = self.workflow(workflow_id)["tasks"]
                for each in (workflow_id, *(task.get("subWorkflowId") for task in tasks)):
                    if each:
                        self.evaluate(each)
            return None

        def unended(workflow_id: str) -> str:
            return f"workflow {workflow_id} to end, with its tasks {self._unfinished(workflow_id)}"

        return [until(partial(ended, i), timeout, partial(unended, i)) for i in workflow_ids]

    def _unfinished(self, workflow_id: str) -> list[str]:
        """The tasks of a workflow and its sub-workflows that have not ended."""
        unfinished: list[str] = []
        for task in self.workflow(workflow_id)["tasks"]:
            if task["status"] in ("SCHEDULED", "IN_PROGRESS"):
                unfinished.append(f"{task['referenceTaskName']} {task['status']}, polled {task['pollCount']} times")
                if task.get("subWorkflowId"):
                    unfinished += self._unfinished(task["subWorkflowId"])
        return unfinished


def until(condition: Callable[[], Any], timeout: float = 30, what: str | Callable[[], str] = "the condition") -> Any:
    """Wait for a condition to hold; returns its value. `what` is said on giving up."""
    began = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - began
        assert waited < timeout, f"waited {timeout:g} s for {what() if callable(what) else what}"
        time.sleep(min(max(0.02, waited / 10), 0.25))  # what takes long is looked at less often: that costs, too
