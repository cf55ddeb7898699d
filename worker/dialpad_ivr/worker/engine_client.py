"""The SDK's asynchronous client, as the worker uses it: public names only, pinned by `test_sdk_contract`."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
import httpx
from conductor.client.http.api.async_task_resource_api import AsyncTaskResourceApi
from conductor.client.http.async_api_client import AsyncApiClient
from conductor.client.http.async_rest import ApiException, AsyncRESTClientObject
from conductor.client.http.models import Task

from dialpad_ivr.engine.api import configuration
from dialpad_ivr.ordered_transport import OrderedTransport
from dialpad_ivr.settings import Settings
from dialpad_ivr.telemetry.logs import get_logger

# A healthy engine responds in a fraction of a second; the SDK would wait for two minutes.
_TIMEOUT_SECONDS: Final = 20.0
_CONNECTIONS: Final = 100
_CONNECT_RETRIES: Final = 3  # a second and a half of an engine that starts again
_READ_ATTEMPTS: Final = 3


@asynccontextmanager
async def open_engine_client(settings: Settings) -> AsyncIterator[AsyncTaskResourceApi]:
    """The SDK's task API over a connection pool of our own.

    The SDK's own keeps 20 connections, and opens one for each request beyond. When a connection breaks, it replaces
    the pool, and loses what other connections are about to bring: the tasks of a poll, which then wait for their
    response timeout. It leaves alone a pool that it was given.
    """
    client = AsyncApiClient(configuration(settings))
    limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
    transport = OrderedTransport(httpx.AsyncHTTPTransport(limits=limits, retries=_CONNECT_RETRIES))
    async with httpx.AsyncClient(transport=transport, timeout=_TIMEOUT_SECONDS, follow_redirects=True) as pool:
        client.async_rest_client = AsyncRESTClientObject(pool)
        yield AsyncTaskResourceApi(client)


async def renew_token(client: AsyncTaskResourceApi) -> None:
    """Ask for an access token where the engine wants one and there is none.

    After five failures the SDK would never ask again. A caller backs off between two calls of this.
    """
    api = client.api_client
    if api.configuration.authentication_settings is not None and api.configuration.AUTH_TOKEN is None:
        await api.force_refresh_auth_token()


async def previous_attempt(client: AsyncTaskResourceApi, task: Task) -> Task | None:
    """The attempt that a task is the retry of; `None` if it is none, or the engine cannot say."""
    if not task.retried_task_id:
        return None
    for attempt in range(_READ_ATTEMPTS):
        if attempt:
            await anyio.sleep(random.uniform(0.5, 1))  # noqa: S311
        try:
            previous: Task | None = await client.api_client.call_api(
                "/tasks/{taskId}",
                "GET",
                {"taskId": task.retried_task_id},
                response_type="Task",
                _return_http_data_only=True,
            )
        except ApiException as exc:
            get_logger().warning(
                "previous_attempt_unreadable", previous_task_id=task.retried_task_id, cause=describe_error(exc)
            )
        else:
            return previous
    return None


async def workflow_status(client: AsyncTaskResourceApi, workflow_id: str) -> str | None:
    """A workflow's status; `None` if the engine does not say."""
    try:
        summary = await client.api_client.call_api(
            "/workflow/{workflowId}/status",
            "GET",
            {"workflowId": workflow_id},
            response_type="object",
            _return_http_data_only=True,
        )
        status = summary.get("status") if isinstance(summary, dict) else None
        cause = None if status else "no status"
    except ApiException as exc:
        status, cause = None, describe_error(exc)
    if cause:
        get_logger().warning("workflow_status_unreadable", cause=cause)
    return status


async def evaluate(client: AsyncTaskResourceApi, workflow_id: str) -> None:
    """Let the engine look at a workflow now."""
    with suppress(ApiException):
        await client.api_client.call_api("/workflow/decide/{workflowId}", "PUT", {"workflowId": workflow_id})


def describe_error(error: Exception) -> str:
    """What went wrong, without the response's body: it may repeat what was sent."""
    status = getattr(error, "status", None)
    return f"HTTP {status}" if status else str(getattr(error, "reason", None) or type(error).__name__)[:200]
