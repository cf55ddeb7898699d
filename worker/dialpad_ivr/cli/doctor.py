"""The command `doctor`: checks of the engine, definitions, proxy, keys, clocks and Redis, each with a fix."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.text import Text

from dialpad_ivr.cli.common import out, settings_or_fail
from dialpad_ivr.cli.exit_codes import EXIT_FAILED, EXIT_NO_ENGINE
from dialpad_ivr.cli.options import JsonFlag
from dialpad_ivr.contract.schema import INPUTS
from dialpad_ivr.credentials import CredentialError, Credentials
from dialpad_ivr.dialpad.client import CallError, DialpadClient
from dialpad_ivr.dialpad.verdict import error_verdict, http_date
from dialpad_ivr.engine.api import EngineApi, EngineError, JsonObject
from dialpad_ivr.engine.definitions import compare, shipped
from dialpad_ivr.engine.domains import bulk_domain
from dialpad_ivr.proxy_url import check_proxy
from dialpad_ivr.settings import Settings
from dialpad_ivr.worker.limits import health_url, limits_rows, read_limits

_TOLERATED_SKEW_SECONDS = 5.0
# A worker polls every second or more often, but not for a type whose slots are all in use: a task may take 69 s, three
# waits and calls of 3 + 20 s.
_TOLERATED_POLL_SECONDS, _TOLERATED_BUSY_SECONDS = 10, 90
# Any target will do: an invalid key is answered 401 before the target is looked up.
_ANY_TARGET = ("office", "1")


_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@dataclass(frozen=True)
class Check:
    """A check's result, and how to fix it."""

    name: str
    result: Literal["ok", "warning", "failed"]
    detail: str
    hint: str = ""
    no_engine: bool = False
    """Whether it failed because no engine answered."""


def doctor(
    profile: Annotated[
        list[str] | None,
        typer.Option(
            help="A credential profile to check, i.e. the name of a key: emea for DIALPAD_API_KEY_EMEA; repeatable."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check the engine, the definitions, the workers, the proxy, the keys, the clocks and Redis. Changes nothing.

    Examples:
    - `dialpad-ivr doctor`
    - `dialpad-ivr doctor --profile default --profile emea --json`
    """
    checks = asyncio.run(examine(settings_or_fail(), profile or ["default"]))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        show_checks(out, checks)
    failed = [check for check in checks if check.result == "failed"]
    if failed:
        raise typer.Exit(EXIT_NO_ENGINE if any(check.no_engine for check in failed) else EXIT_FAILED)


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    """The results of `doctor`, each with its fix."""
    for check in checks:
        console.print(
            Text(f"{check.result:<8}", style=_COLOURS[check.result]),
            Text(f"{check.name}: {check.detail}"),
            sep="",
            soft_wrap=True,
        )
        if check.hint and check.result != "ok":
            console.print(Text(f"         -> {check.hint}", style="dim"), soft_wrap=True)


async def examine(settings: Settings, profiles: list[str]) -> list[Check]:
    """Run all checks.

    Args:
        settings: The worker's settings.
        profiles: The credential profiles to check.
    """
    checks = list(_engine_checks(settings))
    async with DialpadClient(settings) as client:
        if settings.proxy_url is not None:
            checks.append(await _proxy_check(settings.proxy_url, settings.api_url, client))
        dates = []
        for profile in profiles:
            check, date = await _key_check(settings, client, profile)
            checks.append(check)
            dates += [date] if date else []
        checks += _skew("Dialpad's clock", dates[0]) if dates else []
    if settings.redis_url is not None:
        checks.append(await _redis_check(settings.redis_url))
    for report in (await read_limits([health_url(settings)])).values():
        checks += _limits_checks(report)
    return checks


def _engine_checks(settings: Settings) -> Iterator[Check]:
    engine = EngineApi(settings)
    try:
        yield Check("engine", "ok", f"Conductor {engine.version()} answers at {engine.url}")
    except EngineError as exc:
        hint = "Or start one on this machine with: dialpad-ivr dev" if exc.unreachable else ""
        yield Check("engine", "failed", str(exc), hint, no_engine=exc.unreachable)
        return
    hints = {
        "missing": "dialpad-ivr register",
        "outdated": "dialpad-ivr register",
        "edited": "See the differences with: dialpad-ivr register --dry-run",
        "newer": "Upgrade this package: a newer version registered it.",
    }
    for definition in shipped():
        try:
            state = compare(engine, definition).state
        except EngineError as exc:
            yield Check(definition.label, "failed", str(exc), no_engine=exc.unreachable)
            continue
        result: Literal["ok", "warning", "failed"] = (
            "ok" if state == "same" else "failed" if state == "missing" else "warning"
        )
        yield Check(definition.label, result, "up to date" if state == "same" else state, hints.get(state, ""))
    for domain in (settings.domain, bulk_domain(settings.domain)):
        yield from _worker_checks(engine, domain)
    yield from _skew("engine's clock", engine.date)


def _worker_checks(engine: EngineApi, domain: str | None) -> Iterator[Check]:
    """Whether a worker polls for each task type, by the engine's own clock."""
    where = f" in the domain {domain}" if domain else ""
    try:
        polls = {task_type: engine.last_polls(task_type).get(domain) for task_type in INPUTS}
    except EngineError as exc:
        yield Check(f"workers{where}", "warning", f"the engine does not show who polls: {exc}")
        return
    now = http_date(engine.date or "") or datetime.now(timezone.utc)
    ages = {name: max(0, round(now.timestamp() - at / 1000)) for name, at in polls.items() if at is not None}
    none_polls = min(ages.values(), default=0) > _TOLERATED_POLL_SECONDS
    hint = "Start one with: dialpad-ivr worker. Until then tasks wait, and nothing is changed."
    for task_type in INPUTS:
        name, age = f"worker of {task_type}{where}", ages.get(task_type)
        if age is None:
            yield Check(name, "warning", "no worker has ever polled", hint)
        elif none_polls or age > _TOLERATED_BUSY_SECONDS:
            yield Check(name, "warning", f"no worker has polled for {_duration(age)}", hint)
        else:
            yield Check(name, "ok", f"polled {age} s ago")


def _duration(seconds: int) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _limits_checks(report: JsonObject) -> Iterator[Check]:
    """What keeps calls back by this machine's worker; nothing if none answers: it may run elsewhere."""
    if "companies" not in report:
        return
    kept_back = [row for row in limits_rows(report) if row.kept_back_by]
    if not kept_back:
        yield Check("limits", "ok", "neither a pause nor an outage")
    for row in kept_back:
        hint = "Its tasks wait in the engine, and none is lost. How long yet: dialpad-ivr limits"
        yield Check(f"limits of {row.company}", "warning", row.state, hint)


async def _proxy_check(url: SecretStr, api_url: str, client: DialpadClient) -> Check:
    """Whether the proxy leads to Dialpad; no key is sent."""
    proxy = check_proxy(url, api_url)
    try:
        await client.check_proxy()
    except CallError as exc:
        return Check("proxy", "failed", str(exc), "Requests to Dialpad fail until it is fixed; none was sent.")
    return Check("proxy", "ok", f"{proxy} leads to {api_url}, whose certificate is trusted")


async def _key_check(settings: Settings, client: DialpadClient, profile: str) -> tuple[Check, str | None]:
    """Whether Dialpad accepts the key of a profile, and the answer's `Date` header."""
    name = f"key of profile {profile}"
    try:
        credential = Credentials(settings.credentials_file).find(profile)
    except CredentialError as exc:
        hint = "Fine if the key is a secret of the engine; only a running task shows that."
        return Check(name, "warning", str(exc), hint), None
    try:
        answer = await client.send(client.prepare_list_custom_ivrs(*_ANY_TARGET), credential.key)
    except CallError as exc:
        return Check(name, "failed", f"No answer from {settings.api_url}: {exc}", "Check the network."), None
    refusal = error_verdict(answer, profile)
    date = answer.headers.get("date")
    if refusal is not None and refusal.outcome in ("unauthorized", "forbidden", "unavailable"):
        return Check(name, "failed", f"from {credential.source}. {refusal.message}"), date
    if answer.status_code not in (200, 404):
        return Check(name, "warning", f"from {credential.source}. Dialpad answered {answer.status_code}"), date
    return Check(name, "ok", f"from {credential.source}; {settings.api_url} accepts it"), date


async def _redis_check(url: SecretStr) -> Check:
    """Whether Redis answers. Its URL may hold a password: only the host and the port are shown."""
    try:
        from redis.asyncio import Redis  # noqa: PLC0415  # an optional extra
        from redis.exceptions import RedisError  # noqa: PLC0415
    except ImportError:
        return Check("redis", "failed", "the client is not installed", "pip install 'dialpad-ivr[fleet]'")
    parts = urlsplit(url.get_secret_value())
    host = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
    try:
        async with Redis.from_url(url.get_secret_value(), socket_timeout=5, socket_connect_timeout=5) as redis:
            version = (await redis.info("server"))["redis_version"]
            memory = await redis.info("memory")
    except (RedisError, OSError, ValueError) as exc:
        reason = f"{type(exc).__name__}: {exc}"
        for secret in filter(None, (url.get_secret_value(), parts.password, unquote(parts.password or ""))):
            reason = reason.replace(secret, "***")
        return Check("redis", "failed", f"{host}: {reason}", "Check DIALPAD_IVR_REDIS_URL and the network.")
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and memory.get("maxmemory"):
        return Check(
            "redis",
            "warning",
            f"Redis {version} answers at {host}, but may evict the call counts ({policy})",
            "Set its maxmemory-policy to noeviction: when the counts are lost, workers wait for a whole window.",
        )
    return Check("redis", "ok", f"Redis {version} answers at {host}")


def _skew(name: str, date: str | None) -> Iterator[Check]:
    moment = http_date(date or "")
    if moment is None:
        return
    skew = (moment - datetime.now(timezone.utc)).total_seconds()
    if abs(skew) > _TOLERATED_SKEW_SECONDS:
        yield Check(name, "warning", f"{skew:+.0f} s from this machine's", "Synchronize both clocks with NTP.")
    else:
        yield Check(name, "ok", "agrees with this machine's")
