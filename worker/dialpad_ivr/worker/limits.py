"""What stands between each company's calls and Dialpad: as a worker's health port tells it, and as others read it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Literal, NamedTuple, cast

import httpx

from dialpad_ivr.credentials import company_label
from dialpad_ivr.engine.api import JsonObject
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.tools import Tools

_TIMEOUT_SECONDS = 5.0


def health_url(settings: Settings) -> str:
    """The health port of the worker that has these settings."""
    host = f"[{settings.health_host}]" if ":" in settings.health_host else settings.health_host
    return f"http://{host}:{settings.health_port}"


async def limits_report(tools: Tools) -> JsonObject:
    """What stands between each company's calls and Dialpad, as `/limits` and the command `limits` show it.

    Raises:
        PermitDeferredError: The fleet's Redis does not respond.
    """
    settings = tools.settings
    companies = []
    for name, limiter in tools.limiter.companies.items():
        state = await limiter.state()
        outage = state.outage
        companies.append(
            {
                "company": company_label(name),
                "patch": {
                    "used": state.usage.patch,
                    "limit": settings.patch_limit,
                    "window_seconds": settings.patch_window_seconds,
                },
                "all": {
                    "used": state.usage.company,
                    "limit": settings.company_limit,
                    "window_seconds": settings.company_window_seconds,
                },
                "waiting": {"single": state.waiting, "bulk": state.waiting_bulk},
                "pause_seconds": round(state.pause_seconds, 1),
                "circuit": None
                if outage is None
                else {
                    "cause": outage.cause,
                    "open_seconds": round(outage.age_seconds, 1),
                    "probe_in_seconds": round(outage.wait_seconds, 1),
                },
            }
        )
    return {"shared": settings.redis_url is not None, "companies": companies}


async def read_limits(urls: Iterable[str]) -> dict[str, JsonObject]:
    """What each worker reports at its health port, or under `error` why it does not."""
    urls = list(dict.fromkeys(urls))
    return dict(zip(urls, await asyncio.gather(*map(_read, urls)), strict=True))


async def _read(url: str) -> JsonObject:
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
            response = await client.get(f"{url.rstrip('/')}/limits")
        report = response.json()
    except httpx.InvalidURL as exc:
        return {"error": f"not a URL: {exc}"}
    except httpx.HTTPError:
        return {"error": "no worker answers. Name the health port of one that runs: --worker URL"}
    except ValueError:
        report = None
    if not isinstance(report, dict) or not {"companies", "error"} & report.keys():
        return {"error": f"HTTP {response.status_code}: not a worker's health port."}
    return cast("JsonObject", report)


class LimitsRow(NamedTuple):
    """A company's part of a report, in words."""

    company: str
    patches: str
    calls: str
    waiting: str
    state: str
    kept_back_by: Literal["outage", "pause"] | None


def limits_rows(report: JsonObject) -> list[LimitsRow]:
    """A report as a table."""
    return [
        LimitsRow(
            company["company"], _used(company["patch"]), _used(company["all"]), _waiting(company), *_state(company)
        )
        for company in report["companies"]
    ]


def _used(limit: JsonObject) -> str:
    return f"{limit['used']:,} of {limit['limit']:,} in {limit['window_seconds']:g} s"


def _waiting(company: JsonObject) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in company["waiting"].items() if count) or "none"


def _state(company: JsonObject) -> tuple[str, Literal["outage", "pause"] | None]:
    """What keeps calls back."""
    circuit = company["circuit"]
    if circuit:
        since, probe = (round(circuit[name]) for name in ("open_seconds", "probe_in_seconds"))
        return f"Dialpad has not worked for {since} s ({circuit['cause']}); next probe in {probe} s", "outage"
    if company["pause_seconds"]:
        return f"paused for {company['pause_seconds']:g} s: Dialpad answered 429", "pause"
    return "open", None
