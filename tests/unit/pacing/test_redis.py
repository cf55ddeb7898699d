"""The window that a fleet shares, on a real Redis; `test_limiter.py` has the rules that both windows follow."""

from __future__ import annotations

import asyncio
import functools
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from dialpad_ivr.pacing import redis as fleet
from dialpad_ivr.pacing.circuit import Failure, Outage
from dialpad_ivr.pacing.limiter import CircuitOpenError, CompanyLimiter, Limiter, PermitDeferredError
from dialpad_ivr.pacing.redis import RedisLimiter, open_limiter
from dialpad_ivr.pacing.window import Usage, Wait
from dialpad_ivr.redis_client import open_redis
from dialpad_ivr.settings import Settings, SettingsError
from dialpad_ivr.telemetry.metrics import Metrics
from support.redis import RedisServer, running_redis
from support.windows import Clock, most_in_any_window, use_fake_redis_time

COMPANY = "acme"

MakePacer = Callable[..., Any]
MakeFleet = Callable[..., Awaitable[list[CompanyLimiter]]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test's own, which it may stop."""
    with running_redis(tmp_path) as running:
        yield running


@pytest.fixture
async def worker(server: RedisServer) -> AsyncIterator[MakePacer]:
    """Makes what one worker of the fleet has: a pacer with a connection of its own, and its metrics."""
    async with AsyncExitStack() as stack:

        async def make(**limits: Any) -> tuple[Limiter, Metrics]:
            metrics = Metrics()
            settings = Settings(**limits, redis_url=SecretStr(server.url))
            return await stack.enter_async_context(open_limiter(settings, metrics)), metrics

        yield make


@pytest.fixture
async def fleet_on_a_clock(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Clock, MakeFleet]]:
    """A clock that is Redis's too, and a function that makes the company's limiters of several workers on it."""
    use_fake_redis_time(monkeypatch)
    async with AsyncExitStack() as stack:
        with server.client() as client:
            clock = Clock(client)

            async def make(*ahead: float, **limits: Any) -> list[CompanyLimiter]:
                settings = Settings(**limits)
                limiters = []
                for seconds in ahead:
                    redis = await stack.enter_async_context(open_redis(SecretStr(server.url)))
                    own_clock = functools.partial(lambda offset: clock.now + offset, seconds)
                    shared = RedisLimiter(redis, settings, Metrics(), own_clock)
                    limiters.append(Limiter(settings, shared.window, own_clock, clock.sleep).company(COMPANY))
                return limiters

            yield clock, make


async def send(clock: Clock, limiters: list[CompanyLimiter], count: int) -> list[float]:
    """PATCHes of the workers in turn; returns when each was sent."""
    sent: list[float] = []
    while len(sent) < count:
        limiter = limiters[len(sent) % len(limiters)]
        try:
            permit = await limiter.permit(write=True)
        except PermitDeferredError as exc:
            clock.now += exc.seconds
            continue
        sent.append(clock.now)
        await permit.answered(limiter._clock() + 0.005)
    return sent


def assert_limits_hold(sent: list[float]) -> None:
    assert most_in_any_window(sent, 1) <= 20
    assert most_in_any_window(sent, 60) <= 1200


@pytest.mark.parametrize(
    "ahead",
    [pytest.param((0.0,) * 4, id="same clock", marks=pytest.mark.long), pytest.param((0.0, 30.0, -30.0), id="apart")],
)
async def test_workers_share_one_limit_whatever_their_clocks(
    fleet_on_a_clock: tuple[Clock, MakeFleet], ahead: tuple[float, ...]
) -> None:
    clock, make = fleet_on_a_clock
    sent = await send(clock, await make(*ahead), 400)
    assert_limits_hold(sent)
    assert len(sent) / 20 / (sent[-1] - sent[0]) > 0.95


def test_no_clock_of_the_worker_is_what_calls_are_stamped_with() -> None:
    source = Path(fleet.__file__).read_text("utf-8")
    assert "time.time" not in source
    assert "datetime" not in source


async def test_a_429_of_one_worker_pauses_the_others(worker: MakePacer) -> None:
    (first, _), (second, _) = await worker(), await worker()
    (await first.company(COMPANY).permit(write=True))
    assert await first.company(COMPANY).throttled(5) == pytest.approx(5, abs=0.5)
    with pytest.raises(PermitDeferredError) as caught:
        await second.company(COMPANY).permit(write=True)
    assert caught.value.pause_seconds == pytest.approx(5, abs=0.5)
    await second.company("another company").permit(write=True)


async def test_calls_that_several_workers_defer_return_one_after_another(
    fleet_on_a_clock: tuple[Clock, MakeFleet],
) -> None:
    _, make = fleet_on_a_clock
    workers = await make(0.0, 30.0, -30.0, max_inline_wait_seconds=0)
    await workers[0].throttled(2)
    waits = []
    for number in range(101):
        with pytest.raises(PermitDeferredError) as caught:
            await workers[number % len(workers)].permit(write=True)
        waits.append(caught.value.seconds)
    assert waits[100] == pytest.approx(2 + 0.9 * 100 * 0.05 - 1.5, abs=0.1)
    assert waits == sorted(waits)


async def test_a_pause_survives_a_flush(fleet_on_a_clock: tuple[Clock, MakeFleet], server: RedisServer) -> None:
    clock, make = fleet_on_a_clock
    (limiter,) = await make(0.0, max_inline_wait_seconds=10)
    await send(clock, [limiter], 1)
    await limiter.throttled(5)
    before = clock.now
    with server.client() as client:
        client.flushall()
    clock.now = before
    (sent,) = await send(clock, [limiter], 1)
    assert sent - before >= 5


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "fault",
    [
        "flush",
        "clock set back",
        *(pytest.param(fault, marks=LONG) for fault in ("restart", "calls lost", "marker lost", "restored")),
    ],
)
async def test_when_the_window_is_lost_the_limit_holds_and_work_goes_on(
    fleet_on_a_clock: tuple[Clock, MakeFleet], server: RedisServer, fault: str
) -> None:
    clock, make = fleet_on_a_clock
    limiters = await make(0.0, 0.0)
    before = await send(clock, limiters, 50)
    if fault == "restart":
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    with server.client() as client:
        states = client.keys("*:state")
        if fault == "restored":
            client.hset(states[0], "run", "the run id of the server that wrote the snapshot")
        elif fault == "clock set back":
            client.hset(states[0], "seen", round((clock.now + 3600) * 1_000_000))  # as if an hour later
        elif fault == "flush":
            client.flushall()
        elif fault != "restart":
            for key in states if fault == "marker lost" else client.keys("*:calls"):
                client.delete(key)
    clock.now += 0  # Redis has lost its time too
    after = await send(clock, limiters, 100)
    assert_limits_hold(before + after)
    assert 2 <= after[0] - before[-1] < 3.5  # a window, and the longest delay


async def failing(limiter: CompanyLimiter, target: str) -> CircuitOpenError | None:
    """Send a call that fails; returns what the circuit says to it."""
    permit = await limiter.permit(write=True)
    try:
        await limiter.failed(permit, Failure("http_500", target))
    except CircuitOpenError as exc:
        return exc
    return None


async def test_a_fleet_has_one_circuit_and_one_probe(fleet_on_a_clock: tuple[Clock, MakeFleet]) -> None:
    clock, make = fleet_on_a_clock
    workers = await make(0.0, 30.0, -30.0)
    await send(clock, workers[:1], 1)
    opened = [await failing(worker, target) for worker, target in zip(workers, "abc", strict=True)]
    assert [bool(exc and exc.outage.opened) for exc in opened] == [False, False, True]
    for worker in workers:
        with pytest.raises(CircuitOpenError, match="http_500"):
            await worker.permit(write=True)
    clock.now += 2
    probe = await workers[0].permit(write=True)
    assert probe.outage is not None
    clock.now += 2
    for worker in workers[1:]:
        with pytest.raises(CircuitOpenError):
            await worker.permit(write=True)
    await workers[0].succeeded(probe)
    for worker in workers:
        clock.now += 0.1
        assert (await worker.permit(write=True)).outage is None


async def test_a_success_of_another_worker_is_between_failures(fleet_on_a_clock: tuple[Clock, MakeFleet]) -> None:
    clock, make = fleet_on_a_clock
    first, second = await make(0.0, 30.0)
    await send(clock, [first], 1)
    for number in range(9):
        told = await failing(first, f"target {number}")
        assert bool(told and told.outage.suspected) == bool(number % 2)
        clock.now += 0.1
        if number % 2:
            await second.succeeded(await second.permit(write=True))
            clock.now += 0.1
            await second.permit(write=True)  # tells it
            clock.now += 0.1


async def test_an_open_circuit_that_is_flushed_opens_again(
    fleet_on_a_clock: tuple[Clock, MakeFleet], server: RedisServer
) -> None:
    clock, make = fleet_on_a_clock
    (limiter,) = await make(0.0)
    for _ in range(2):
        await send(clock, [limiter], 1)
        opened = [await failing(limiter, target) for target in "abc"]
        assert opened[-1] is not None
        now = clock.now
        with server.client() as client:
            client.flushall()
        clock.now = now


async def test_the_circuit_costs_a_call_that_succeeds_nothing(worker: MakePacer, server: RedisServer) -> None:
    pacer, _ = await worker()
    lane = pacer.company(COMPANY)
    await lane.permit(write=True)
    with server.client() as client:
        client.config_resetstat()
        for _ in range(10):
            await lane.succeeded(await lane.permit(write=True))
        calls = {name: stat["calls"] for name, stat in client.info("commandstats").items()}
    assert calls["cmdstat_evalsha"] < 2 * 10 + 5  # the permits, and some that were asked for a moment too early
    assert "cmdstat_hdel" not in calls


async def test_a_failure_that_redis_does_not_learn_of_is_the_tasks_own(worker: MakePacer, server: RedisServer) -> None:
    pacer, _ = await worker()
    lane = pacer.company(COMPANY)
    permits = [await lane.permit(write=True) for _ in range(3)]
    await gone(server, on=True)
    for permit, target in zip(permits, "abc", strict=True):
        await lane.failed(permit, Failure("http_500", target, retry_after_seconds=5))
    await lane.succeeded(permits[0])


async def test_limits_that_do_not_imply_each_other_wait_for_the_longer_window(worker: MakePacer) -> None:
    pacer, _ = await worker(patch_limit=50, patch_window_seconds=30)
    with pytest.raises(PermitDeferredError) as caught:
        await pacer.company(COMPANY).permit(write=True)
    assert 30 < caught.value.seconds < 32


def gauge(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(f"dialpad_ivr_redis_{name}")


async def out_of_memory(server: RedisServer, *, on: bool) -> None:
    with server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1kb" if on else "0")


async def gone(server: RedisServer, *, on: bool) -> None:
    await asyncio.to_thread(server.kill if on else server.start)


async def hangs(server: RedisServer, *, on: bool) -> None:
    server.suspend(on=on)


async def read_only(server: RedisServer, *, on: bool) -> None:
    with server.client() as client:
        client.execute_command("REPLICAOF", *(("127.0.0.1", "1") if on else ("NO", "ONE")))


@pytest.mark.parametrize(
    "fault", [pytest.param(gone, marks=LONG), hangs, out_of_memory, pytest.param(read_only, marks=LONG)]
)
async def test_calls_are_deferred_until_redis_responds_again(
    worker: MakePacer, server: RedisServer, fault: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pacer, metrics = await worker()
    lane = pacer.company(COMPANY)
    await lane.permit(write=True)
    await fault(server, on=True)
    for _ in range(3):
        before = time.monotonic()
        with pytest.raises(PermitDeferredError) as caught:
            await lane.permit(write=True)
        assert time.monotonic() - before < 2
        assert caught.value.pause_seconds == 0
        assert "Redis" in caught.value.why
    assert gauge(metrics, "up") == 0
    assert (gauge(metrics, "failures_total") or 0) >= 1
    await fault(server, on=False)
    ends = time.monotonic() + 10
    while True:
        try:
            await lane.permit(write=True)
            break
        except PermitDeferredError as exc:
            assert time.monotonic() < ends
            await asyncio.sleep(min(exc.seconds, 0.5))
    assert gauge(metrics, "up") == 1
    said = "".join(capsys.readouterr())
    assert "redis_unavailable" in said
    assert "redis_recovered" in said


async def test_attempts_on_a_redis_that_is_gone_are_spaced_out_and_logged_as_often_as_they_double(
    server: RedisServer,
) -> None:
    clock, metrics = Clock(), Metrics()
    async with open_redis(SecretStr(server.url)) as redis:
        shared = RedisLimiter(redis, Settings(), metrics, clock)
        window = shared.window(COMPANY)

        async def deferred() -> float:
            with pytest.raises(PermitDeferredError, match="the fleet's Redis does not answer") as caught:
                await window.take(write=True, waited_seconds=0, average_delay=0, assumed_delay=0)
            return caught.value.seconds

        await gone(server, on=True)
        with capture_logs() as logs:
            waits = []
            for _ in range(8):
                waits.append(await deferred())
                assert await deferred() == waits[-1]  # it is not asked again before
                clock.now += waits[-1] - 0.5
                assert await deferred() == 0.5
                clock.now += 0.5
        assert waits == [1, 2, 4, 5, 5, 5, 5, 5]
        assert [(entry["event"], entry["failures"]) for entry in logs] == [
            ("redis_unavailable", failures) for failures in (1, 2, 4, 8)
        ]
        assert all(entry["cause"].startswith("ConnectionError: ") for entry in logs)
        assert logs[0]["hint"] == "check DIALPAD_IVR_REDIS_URL and Redis itself; see: dialpad-ivr doctor"
        await gone(server, on=False)
        with capture_logs() as logs:
            await window.take(write=True, waited_seconds=0, average_delay=0, assumed_delay=0)
        assert (logs[0]["event"], logs[0]["failures"]) == ("redis_recovered", 8)
        await gone(server, on=True)
        assert await deferred() == 1  # they start anew


async def test_a_call_that_redis_has_dropped_is_not_counted_anew(server: RedisServer) -> None:
    async with open_redis(SecretStr(server.url)) as redis:
        await RedisLimiter(redis, Settings(), Metrics(), Clock()).move(["calls"], "dropped", 1)
        assert await redis.zcard("calls") == 0


async def test_a_late_patch_counts_later_for_both_limits(server: RedisServer) -> None:
    async with open_redis(SecretStr(server.url)) as redis:
        window = RedisLimiter(redis, Settings(), Metrics(), Clock()).window(COMPANY)
        window._hold = 0.0  # the hold of a new window has its own tests
        reservation = await window.take(write=True, waited_seconds=0, average_delay=0, assumed_delay=0)
        assert not isinstance(reservation, Wait | Outage)

        async def counted_from() -> list[float]:
            names = [name for name in sorted(await redis.keys("*")) if not name.endswith("state")]
            # The first: a marker of the window is the last.
            return [score for name in names for _, score in await redis.zrange(name, 0, 0, withscores=True)]

        before = await counted_from()
        await reservation.move(0.5)
        assert await counted_from() == [score + 500_000 for score in before]
        assert len(before) == 2


async def closed(limiter: RedisLimiter) -> None:
    await limiter.close("state")


async def moved(limiter: RedisLimiter) -> None:
    await limiter.move(["calls"], "call", 1)


async def counted(limiter: RedisLimiter) -> None:
    with pytest.raises(PermitDeferredError):
        await limiter.window(COMPANY).usage()


@pytest.mark.parametrize("lost", [closed, moved, counted])
async def test_what_does_not_reach_redis_is_logged(
    server: RedisServer, lost: Callable[[RedisLimiter], Awaitable[None]]
) -> None:
    async with open_redis(SecretStr(server.url)) as redis:
        await gone(server, on=True)
        with capture_logs() as logs:
            await lost(RedisLimiter(redis, Settings(), Metrics(), Clock()))
    (entry,) = logs
    assert entry["event"] == "redis_unavailable"
    assert entry["cause"].startswith("ConnectionError: ")


async def test_a_new_window_is_logged_with_its_wait(server: RedisServer) -> None:
    async with open_redis(SecretStr(server.url)) as redis:
        settings = Settings(company_window_seconds=1.2)
        window = RedisLimiter(redis, settings, Metrics(), Clock()).window(COMPANY)
        with capture_logs() as logs:
            await window.take(write=True, waited_seconds=0, average_delay=0, assumed_delay=0)
    assert logs == [
        {
            "event": "rate_log_reset",
            "log_level": "warning",
            "wait_seconds": 2.4,
            "hint": "expected at first use; otherwise Redis was restarted, flushed or restored",
        }
    ]


@pytest.mark.long
async def test_each_worker_knows_what_all_have_used(worker: MakePacer, server: RedisServer) -> None:
    (first, _), (second, _) = await worker(), await worker()
    before = (await first.company(COMPANY).state()).usage
    await first.company(COMPANY).permit(write=True)
    await second.company(COMPANY).permit(write=False)
    for pacer in (first, second):
        used = (await pacer.company(COMPANY).state()).usage
        assert (used.company, used.patch) == (before.company + 2, before.patch + 1)
    ends = time.monotonic() + 10
    while (await first.company(COMPANY).state()).usage != replace(before, patch=before.patch + 1):
        assert time.monotonic() < ends, "they have left the company's window"
        await asyncio.sleep(0.05)
    await gone(server, on=True)
    with pytest.raises(PermitDeferredError, match="Redis"):
        await first.company(COMPANY).state()


async def test_redis_lost_after_a_permit_harms_nothing(worker: MakePacer, server: RedisServer) -> None:
    pacer, _ = await worker()
    permit = await pacer.company(COMPANY).permit(write=True)
    await gone(server, on=True)
    await permit.answered(time.monotonic())
    assert await pacer.company(COMPANY).throttled(7) == pytest.approx(7, abs=1.5)


async def test_the_keys_name_no_company_and_no_credential(worker: MakePacer, server: RedisServer) -> None:
    pacer, _ = await worker()
    await pacer.company("key:SECRET-COMPANY").permit(write=True)
    await pacer.company("key:SECRET-COMPANY").throttled(60)
    with pytest.raises(PermitDeferredError):
        await pacer.company("key:SECRET-COMPANY").permit(write=True)
    with server.client() as client:
        names = client.keys("*")
        kept = [client.hgetall(name) if name.endswith("state") else client.zrange(name, 0, -1) for name in names]
    assert "SECRET" not in f"{names} {kept}"
    # Workers of several versions share them during an update.
    assert {re.sub("{[0-9a-f]{24}}", "", name) for name in names} == {
        "dialpad-ivr::calls",
        "dialpad-ivr::patches",
        "dialpad-ivr::state",
        "dialpad-ivr::turns",
    }


async def test_the_permissions_of_the_docs_are_all_that_a_worker_needs(
    worker: MakePacer, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = " ".join((Path(__file__).parents[3] / "deploy" / "README.md").read_text("utf-8").split())
    (permissions,) = re.findall(r"`(~dialpad-ivr:\* [^`]+)`", text)
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "worker", "on", ">secret", *permissions.split())
    monkeypatch.setattr(server, "url", server.url.replace("redis://", "redis://worker:secret@"))
    pacer, _ = await worker()
    company = pacer.company(COMPANY)
    with capture_logs() as logs:
        permit = await company.permit(write=True)
        await permit.answered(time.monotonic())
        await permit.reservation.failed(Failure("http_503", "a", retry_after_seconds=0.1))
        await permit.reservation._window.succeeded(probe=True)
        assert (await company.state()).usage == Usage(1, 1)
        await company.throttled(60)
        with pytest.raises(PermitDeferredError, match="rate limit"):
            await company.permit(write=True)
    assert [entry["event"] for entry in logs] == ["rate_log_reset"]  # nothing else was wrong


async def test_an_unused_window_expires(worker: MakePacer, server: RedisServer) -> None:
    pacer, _ = await worker()
    await pacer.company(COMPANY).permit(write=True)
    with server.client() as client:
        assert all(0 < client.ttl(name) <= 24 * 3600 for name in client.keys("*"))


async def test_without_the_client_of_redis_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(SettingsError, match=r"dialpad-ivr\[fleet\]"):
        async with open_limiter(Settings(redis_url=SecretStr("redis://127.0.0.1:1")), Metrics()):
            pass


@pytest.mark.parametrize(
    "url", ["http://h", "redis://", "redis://h:99999", "unix://", "h:6379", "redis://user:S3CRET@:1"]
)
def test_a_url_that_is_none_is_refused_without_being_shown(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dialpad_ivr.settings import load_settings

    monkeypatch.setenv("DIALPAD_IVR_REDIS_URL", url)
    with pytest.raises(SettingsError, match="DIALPAD_IVR_REDIS_URL: must be a URL") as caught:
        load_settings()
    assert "S3CRET" not in str(caught.value)
