"""What the worker uses of the SDK: public names, still called, that still do what the worker relies on."""

from __future__ import annotations

import ast
from collections import deque
from pathlib import Path

import pytest
from conductor.client.http.async_api_client import AsyncApiClient
from conductor.client.http.async_rest import ApiException, AsyncRESTClientObject
from conductor.client.http.models import Task, TaskResult
from pydantic import SecretStr
from starlette.responses import Response

import dialpad_ivr
from dialpad_ivr.settings import Settings
from dialpad_ivr.worker.engine_client import (
    evaluate,
    open_engine_client,
    previous_attempt,
    renew_token,
    workflow_status,
)
from support.fake_engine import running_fake_engine, task

PACKAGE = Path(dialpad_ivr.__file__).parent

# All that the package may import of the SDK. A name that is not used any more has to leave this list.
USED = {
    "conductor.client.configuration.configuration.Configuration",
    "conductor.client.configuration.settings.authentication_settings.AuthenticationSettings",
    "conductor.client.http.api.async_task_resource_api.AsyncTaskResourceApi",
    "conductor.client.http.api_client.ApiClient",
    "conductor.client.http.async_api_client.AsyncApiClient",
    "conductor.client.http.async_rest.ApiException",
    "conductor.client.http.async_rest.AsyncRESTClientObject",
    "conductor.client.http.models.Task",
    "conductor.client.http.models.TaskExecLog",
    "conductor.client.http.models.TaskResult",
    "conductor.client.http.rest.ApiException",
}
# And the methods and attributes of them, each called or read in worker/.
CALLED = {
    "batch_poll",
    "update_task",
    "update_task_v2",
    "call_api",
    "force_refresh_auth_token",
    "async_rest_client",
    "api_client",
    "configuration",
    "authentication_settings",
    "AUTH_TOKEN",
}


def trees(folder: str = "") -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text("utf-8")) for path in (PACKAGE / folder).rglob("*.py")}


def test_nothing_else_of_the_sdk_is_imported() -> None:
    imported = {
        f"{node.module}.{name.name}"
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("conductor")
        for name in node.names
    }
    assert imported == USED


def test_every_pinned_attribute_is_still_used() -> None:
    read = {
        node.attr for tree in trees("worker").values() for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }
    assert read >= CALLED


def test_no_private_attribute_of_another_object_is_read() -> None:
    private = [
        f"{path.name}:{node.lineno}: {ast.unparse(node)}"
        for folder in ("worker", "engine")
        for path, tree in trees(folder).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    ]
    assert private == []


async def test_a_poll_returns_tasks_with_all_that_a_delivery_is_made_of() -> None:
    async with running_fake_engine() as engine, open_engine_client(Settings(server_url=engine.url)) as client:
        engine.queue.append(
            task(
                "1",
                runtimeMetadata={"a": "b"},
                retriedTaskId="r",
                retryCount=2,
                pollCount=1,
                responseTimeoutSeconds=9,
                referenceTaskName="ref",
                outputData={"attempts": 1},
                taskDefinition={"name": "t", "retryCount": 3},
                workflowTask={"name": "t", "taskReferenceName": "ref", "retryCount": 4},
            )
        )
        (one,) = await client.batch_poll(tasktype="t", count=5, workerid="me", timeout=1, domain="d")
        assert engine.called("poll") == [{"count": "5", "workerid": "me", "timeout": "1", "domain": "d"}]
    assert (one.task_id, one.workflow_instance_id, one.scheduled_time, one.input_data) == ("1", "w", 7, {})
    assert (one.runtime_metadata, one.retried_task_id, one.output_data) == ({"a": "b"}, "r", {"attempts": 1})
    assert (one.retry_count, one.poll_count, one.response_timeout_seconds) == (2, 1, 9)
    assert (one.task_definition.retry_count, one.workflow_task.retry_count) == (3, 4)
    assert one.reference_task_name == "ref"


async def test_both_updates_send_the_result_and_the_newer_one_returns_the_next_task() -> None:
    async with running_fake_engine() as engine, open_engine_client(Settings(server_url=engine.url)) as client:
        result = TaskResult(
            task_id="1", workflow_instance_id="w", status="IN_PROGRESS", output_data={"a": 1}, callback_after_seconds=3
        )
        engine.next_tasks.append(task("2"))
        following = await client.update_task_v2(body=result)
        assert following.task_id == "2"
        assert await client.update_task_v2(body=result) is None
        await client.update_task(body=result)
        names = ("taskId", "status", "outputData", "callbackAfterSeconds")
        sent = [{name: body[name] for name in names} for body in engine.results]
        assert sent == [{"taskId": "1", "status": "IN_PROGRESS", "outputData": {"a": 1}, "callbackAfterSeconds": 3}] * 3
        assert [name for name, _ in engine.calls] == ["update-v2", "update-v2", "update"]


async def test_the_previous_attempt_is_read_and_one_that_is_gone_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialpad_ivr.worker.engine_client._READ_ATTEMPTS", 1)
    async with running_fake_engine() as engine, open_engine_client(Settings(server_url=engine.url)) as client:
        engine.previous["r"] = task("r", status="TIMED_OUT")
        found = await previous_attempt(client, Task(task_id="1", retried_task_id="r"))
        assert found is not None
        assert (found.task_id, found.status, found.input_data) == ("r", "TIMED_OUT", {})
        assert await previous_attempt(client, Task(task_id="1", retried_task_id="gone")) is None
        assert await previous_attempt(client, Task(task_id="1")) is None
        assert engine.called("read") == ["r", "gone"]


async def test_the_status_of_a_workflow_is_read_and_one_that_is_gone_has_none() -> None:
    async with running_fake_engine() as engine, open_engine_client(Settings(server_url=engine.url)) as client:
        engine.statuses["w"] = "TERMINATED"
        assert await workflow_status(client, "w") == "TERMINATED"
        assert await workflow_status(client, "gone") is None
        assert engine.called("status") == ["w", "gone"]


async def test_a_workflow_is_evaluated_and_an_engine_that_refuses_is_left_alone() -> None:
    async with running_fake_engine() as engine, open_engine_client(Settings(server_url=engine.url)) as client:
        engine.failures["evaluate"] = deque([Response(status_code=500)])
        for _ in range(2):
            await evaluate(client, "w")
        assert engine.called("evaluate") == ["w", "w"]


async def test_a_refused_request_raises_with_its_status_and_one_without_an_answer_with_none() -> None:
    async with running_fake_engine() as engine, open_engine_client(Settings(server_url=engine.url)) as client:
        engine.token = "t"
        with pytest.raises(ApiException) as refused:
            await client.batch_poll(tasktype="t", count=1)
        assert refused.value.status == 401
    async with open_engine_client(Settings(server_url="http://127.0.0.1:9/api")) as client:
        with pytest.raises(ApiException) as unanswered:
            await client.batch_poll(tasktype="t", count=1)
        assert not unanswered.value.status
        assert unanswered.value.reason


async def test_a_token_is_renewed_only_where_there_is_none() -> None:
    secret = SecretStr("s")
    async with (
        running_fake_engine() as engine,
        open_engine_client(Settings(server_url=engine.url, auth_key="k", auth_secret=secret)) as client,
    ):
        engine.token = "t"
        await renew_token(client)
        await renew_token(client)
        assert await client.batch_poll(tasktype="t", count=1) == []
        assert [name for name, _ in engine.calls] == ["token", "poll"]
    async with running_fake_engine() as engine, open_engine_client(Settings(server_url=engine.url)) as client:
        await renew_token(client)
        assert engine.calls == []


async def test_the_sdk_leaves_a_given_connection_pool_alone() -> None:
    async with open_engine_client(Settings(server_url="http://127.0.0.1:9/api")) as client:
        pool = client.api_client.async_rest_client.connection
        assert isinstance(client.api_client, AsyncApiClient)
        assert isinstance(client.api_client.async_rest_client, AsyncRESTClientObject)
        for _ in range(2):
            with pytest.raises(ApiException):
                await client.batch_poll(tasktype="t", count=1)
        await client.api_client.close()  # closes what it owns
        assert client.api_client.async_rest_client.connection is pool
        assert not pool.is_closed
    assert pool.is_closed
