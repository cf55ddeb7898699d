"""The health port: its metrics, and what `/limits` reports."""

from __future__ import annotations

from typing import Any
from unittest.mock import AsyncMock

import httpx
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from dialpad_ivr.credentials import Credentials
from dialpad_ivr.dialpad.client import DialpadClient
from dialpad_ivr.pacing.limiter import Limiter, PermitDeferredError
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.set_custom_ivr import set_custom_ivr
from dialpad_ivr.tasks.tools import Tools
from dialpad_ivr.telemetry.metrics import Metrics
from dialpad_ivr.worker.health import health_app
from dialpad_ivr.worker.limits import limits_report
from support.bench import KEY, VALID, streamed
from support.windows import Clock


async def report_of(settings: Settings, response: httpx.Response, count: int) -> dict[str, Any]:
    """What is reported after that many changes were answered so."""
    clock = Clock()
    transport = httpx.MockTransport(lambda _: streamed(response))
    async with DialpadClient(settings, transport) as client:
        limiter = Limiter(settings, clock=clock, sleep=clock.sleep)
        tools = Tools(settings, client, Credentials(environ={"DIALPAD_API_KEY": KEY}), limiter, Metrics())
        for number in range(count):
            await set_custom_ivr(Delivery({**VALID, "target_id": str(number + 1)}), tools)
        return await limits_report(tools)


async def test_what_is_used_is_reported_without_the_key(settings: Settings, key: SecretStr) -> None:
    report = await report_of(settings, httpx.Response(404), 3)
    (company,) = report["companies"]
    assert company["patch"] == {"used": 3, "limit": 1200, "window_seconds": 60}
    assert company["all"]["limit"] == 20
    assert 1 <= company["all"]["used"] <= 3
    assert company["waiting"] == {"single": 0, "bulk": 0}
    assert (company["pause_seconds"], company["circuit"]) == (0, None)
    assert company["company"].startswith("key:")
    assert len(company["company"]) == 12
    assert key.get_secret_value() not in str(report)


async def test_a_pause_and_an_outage_are_reported(settings: Settings) -> None:
    (paused,) = (await report_of(settings, httpx.Response(429, headers={"retry-after": "7"}), 1))["companies"]
    assert 6 <= paused["pause_seconds"] <= 7
    (down,) = (await report_of(settings, httpx.Response(503, headers={"retry-after": "9"}), 1))["companies"]
    assert down["circuit"] == {"cause": "http_503", "open_seconds": 0, "probe_in_seconds": 9}


async def test_what_cannot_be_found_out_is_unavailable() -> None:
    async def unknown() -> dict[str, Any]:
        raise PermitDeferredError(1, why="the fleet's Redis does not answer")

    transport = httpx.ASGITransport(health_app(CollectorRegistry(), lambda: None, unknown))
    async with httpx.AsyncClient(transport=transport, base_url="http://worker") as client:
        response = await client.get("/limits")
    assert (response.status_code, response.json()) == (503, {"error": "the fleet's Redis does not answer"})


async def test_metrics_are_read_without_a_redirect() -> None:
    metrics = Metrics()
    app = health_app(metrics.registry, lambda: None, AsyncMock())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        response = await client.get("/metrics", follow_redirects=False)
        assert response.status_code == 200
        assert "dialpad_ivr_" in response.text
        assert (await client.head("/metrics")).status_code == 200
