"""The log that a fleet shares, on a real Redis and in real time; `test_pacing.py` has the rules both logs obey."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dialpad_ivr.pacing import redis as fleet
from dialpad_ivr.pacing.limiter import CompanyLimiter, Limiter, PermitDeferredError
from dialpad_ivr.pacing.redis import RedisLimiter, open_limiter
from dialpad_ivr.settings import Settings, SettingsError
from dialpad_ivr.telemetry.metrics import Metrics
from support.redis import RedisServer, running_redis
from support.windows import most_in_any_window

# A window of Dialpad's, scaled down; the company's limit implies the PATCHes', as theirs do.
LIMITS = {
    "company_limit": 20,
    "company_window_seconds": 0.2,
    "patch_limit": 200,
    "patch_window_seconds": 2,
    "max_inline_wait_seconds": 1,
}
COMPANY = "acme"

MakePacer = Callable[..., Any]


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
            settings = Settings(**{**LIMITS, **limits}, redis_url=SecretStr(server.url))
            return await stack.enter_async_context(open_limiter(settings, metrics)), metrics

        yield make


async def calls(lane: CompanyLimiter, until: float, sent: list[float]) -> None:
    """Send as many PATCHes as there are permits for; what is handed back comes again, as from the engine."""
    while time.monotonic() < until:
        try:
            permit = await lane.permit(write=True)
        except PermitDeferredError as exc:
            await asyncio.sleep(min(exc.seconds, 0.2))
            continue
        sent.append(time.monotonic())
        await asyncio.sleep(0.005)
        await permit.answered(time.monotonic())


async def test_several_workers_share_one_limit(worker: MakePacer) -> None:
    lanes = [(await worker())[0].company(COMPANY) for _ in range(4)]
    sent: list[float] = []
    ends = time.monotonic() + 3
    await asyncio.gather(*(calls(lane, ends, sent) for lane in lanes for _ in range(4)))
    assert most_in_any_window(sent, 0.2) <= 20
    assert most_in_any_window(sent, 2) <= 200
    assert len(sent) > 0.5 * 100 * (sent[-1] - sent[0])


async def test_workers_whose_clocks_are_30_seconds_apart_keep_the_limit(server: RedisServer) -> None:
    from redis.asyncio import Redis

    sent: list[float] = []
    ends = time.monotonic() + 2
    async with Redis.from_url(server.url, decode_responses=True) as redis:
        lanes = []
        for ahead in (0.0, 30.0, -30.0):

            def clock(ahead: float = ahead) -> float:
                return time.monotonic() + ahead

            settings = Settings(**LIMITS)
            shared = RedisLimiter(redis, settings, Metrics(), clock)
            lanes.append(Limiter(settings, shared.window, clock).company(COMPANY))

        async def use(lane: CompanyLimiter) -> None:
            while time.monotonic() < ends:
                permit = await lane.permit(write=True)
                sent.append(time.monotonic())
                await permit.answered(lane._clock() + 0.005)

        await asyncio.gather(*(use(lane) for lane in lanes))
    assert most_in_any_window(sent, 0.2) <= 20
    assert len(sent) > 100


def test_no_clock_of_the_worker_is_what_calls_are_stamped_with() -> None:
    source = Path(fleet.__file__).read_text("utf-8")
    assert "time.time" not in source
    assert "datetime" not in source


async def test_a_429_of_one_worker_pauses_the_others(worker: MakePacer) -> None:
    (first, _), (second, _) = await worker(), await worker()
    (await first.company(COMPANY).permit(write=True))
    assert await first.company(COMPANY).throttled(5) == pytest.approx(5, abs=0.1)
    with pytest.raises(PermitDeferredError) as caught:
        await second.company(COMPANY).permit(write=True)
    assert caught.value.pause_seconds == pytest.approx(5, abs=0.5)
    await second.company("another company").permit(write=True)


async def test_a_pause_survives_a_flush(worker: MakePacer, server: RedisServer) -> None:
    pacer, _ = await worker()
    await pacer.company(COMPANY).permit(write=True)
    await pacer.company(COMPANY).throttled(0.9)
    with server.client() as client:
        client.flushall()
    before = time.monotonic()
    await pacer.company(COMPANY).permit(write=True)
    assert time.monotonic() - before > 0.8


@pytest.mark.parametrize("fault", ["flush", "restart", "calls lost", "marker lost"])
async def test_when_the_log_is_lost_the_limit_holds_and_work_goes_on(
    worker: MakePacer, server: RedisServer, fault: str
) -> None:
    lanes = [(await worker())[0].company(COMPANY) for _ in range(2)]
    sent: list[float] = []
    ends = time.monotonic() + 4
    running = [asyncio.create_task(calls(lane, ends, sent)) for lane in lanes for _ in range(4)]
    await asyncio.sleep(0.9)
    with server.client() as client:
        if fault == "restart":
            await asyncio.to_thread(server.kill)
            lost = time.monotonic()
            await asyncio.to_thread(server.start)
        else:
            lost = time.monotonic()
            for key in client.keys("*:state" if fault == "marker lost" else "*:calls"):
                client.delete(key)
            if fault == "flush":
                client.flushall()
    await asyncio.gather(*running)
    assert most_in_any_window(sent, 0.2) <= 20
    assert most_in_any_window(sent, 2) <= 200
    assert any(moment > lost + 2 for moment in sent)


async def test_what_is_restored_from_a_snapshot_is_no_whole_log(worker: MakePacer, server: RedisServer) -> None:
    pacer, _ = await worker()
    await pacer.company(COMPANY).permit(write=True)
    with server.client() as client:
        (state,) = client.keys("*:state")
        client.hset(state, "run", "the run id of the server that wrote the snapshot")
    before = time.monotonic()
    await pacer.company(COMPANY).permit(write=True)
    assert time.monotonic() - before > 0.25


async def test_a_clock_set_back_is_noticed(worker: MakePacer, server: RedisServer) -> None:
    pacer, _ = await worker()
    await pacer.company(COMPANY).permit(write=True)
    with server.client() as client:
        (state,) = client.keys("*:state")
        seconds, _ = client.time()
        client.hset(state, "seen", (seconds + 3600) * 1_000_000)  # as if an hour later
    before = time.monotonic()
    await pacer.company(COMPANY).permit(write=True)
    assert 0.25 < time.monotonic() - before < 2


async def test_limits_that_do_not_imply_each_other_wait_for_the_longer_window(worker: MakePacer) -> None:
    pacer, _ = await worker(patch_limit=50, patch_window_seconds=30)
    with pytest.raises(PermitDeferredError) as caught:
        await pacer.company(COMPANY).permit(write=True)
    assert 44 < caught.value.seconds < 46


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


@pytest.mark.parametrize("fault", [gone, hangs, out_of_memory, read_only])
async def test_a_redis_that_cannot_be_asked_holds_everybody_back_until_it_can(
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
    assert "the shared limit cannot be asked" in said
    assert "the shared limit can be asked again" in said


async def test_a_permit_that_redis_lost_after_it_was_given_harms_nothing(
    worker: MakePacer, server: RedisServer
) -> None:
    pacer, _ = await worker()
    permit = await pacer.company(COMPANY).permit(write=True)
    await gone(server, on=True)
    await permit.answered(time.monotonic())
    assert await pacer.company(COMPANY).throttled(7) == pytest.approx(7, abs=1.5)


async def test_the_keys_name_no_company_and_no_credential(worker: MakePacer, server: RedisServer) -> None:
    pacer, _ = await worker()
    await pacer.company("key:SECRET-COMPANY").permit(write=True)
    with server.client() as client:
        names = client.keys("*")
        kept = [client.hgetall(name) if name.endswith("state") else client.zrange(name, 0, -1) for name in names]
    assert len(names) == 3
    assert "SECRET" not in f"{names} {kept}"


async def test_a_log_that_nobody_uses_goes_away(worker: MakePacer, server: RedisServer) -> None:
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
    with pytest.raises(SettingsError, match="redis_url: must be a URL") as caught:
        load_settings()
    assert "S3CRET" not in str(caught.value)
