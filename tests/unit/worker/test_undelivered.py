"""What is kept of changes whose result the engine has not taken."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dialpad_ivr.contract.outputs import IvrState, SelectedIvr, SetCustomIvrOutput
from dialpad_ivr.pacing.limiter import PermitDeferredError
from dialpad_ivr.redis_client import open_redis
from dialpad_ivr.settings import Settings, SettingsError
from dialpad_ivr.worker.undelivered import KEPT_SECONDS, UndeliveredResults, delivery_id, undelivered_results
from support.redis import running_redis

SELECTED = SelectedIvr(id="7", name="Grüße")
OUTPUT = SetCustomIvrOutput(outcome="updated", ok=True, ivr=IvrState(selected=SELECTED)).model_dump(mode="json")
THIS = delivery_id("task", 1, {"ivr_id": "7"})


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("other", [("other", 1, {"ivr_id": "7"}), ("task", 2, {"ivr_id": "7"}), ("task", 1, {})])
async def test_it_answers_for_the_same_delivery_and_the_same_input_only(other: tuple[str, int, Any]) -> None:
    kept = UndeliveredResults()
    await kept.keep(THIS, OUTPUT)
    assert await kept.find(delivery_id("task", 1, {"ivr_id": "7"})) == OUTPUT
    assert await kept.find(delivery_id(*other)) is None


async def test_it_is_forgotten_after_a_while_and_when_the_clock_was_set_back() -> None:
    clock = Clock()
    kept = UndeliveredResults(clock=clock)
    await kept.keep(THIS, OUTPUT)
    clock.now += KEPT_SECONDS - 1
    assert await kept.find(THIS) == OUTPUT
    clock.now += 1
    assert await kept.find(THIS) is None
    clock.now -= KEPT_SECONDS + 1
    assert await kept.find(THIS) is None


async def test_memory_does_not_grow_with_what_is_forgotten() -> None:
    clock = Clock()
    kept = UndeliveredResults(clock=clock)
    for number in range(5):
        await kept.keep(str(number), OUTPUT)
        clock.now += KEPT_SECONDS
    assert len(kept._memory) == 1


async def test_a_folder_outlives_the_process_and_is_for_its_user_only(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    async with undelivered_results(Settings(state_dir=folder)) as kept:
        await kept.keep(THIS, OUTPUT)
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    async with undelivered_results(Settings(state_dir=folder)) as successor:
        assert await successor.find(THIS) == OUTPUT
        old = path.stat().st_mtime - KEPT_SECONDS
        os.utime(path, (old, old))
        assert await successor.find(THIS) is None
        await successor.keep("another", OUTPUT)
    assert [path.name for path in folder.iterdir()] == ["another.json"]


@pytest.mark.parametrize("text", ["", '{"outcome": "upd', "[]", "7"])
async def test_a_damaged_file_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / f"{THIS}.json").write_text(text)
    assert await UndeliveredResults(tmp_path).find(THIS) is None


async def test_a_folder_that_is_gone_is_told_and_memory_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = UndeliveredResults(tmp_path / "gone")
    await kept.keep(THIS, OUTPUT)
    assert "cannot keep a change over a restart" in capsys.readouterr().out
    assert await kept.find(THIS) == OUTPUT


async def test_a_redis_tells_the_others_and_one_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        async with open_redis(SecretStr(server.url)) as redis:
            await redis.set(f"dialpad-ivr:kept:{THIS}", '{"outcome": "updated", "warnings": 7}')
            assert await UndeliveredResults(redis=redis).find(THIS) is None
            first, second = UndeliveredResults(redis=redis), UndeliveredResults(redis=redis)
            await first.keep(THIS, OUTPUT)
            assert await second.find(THIS) == OUTPUT
            (key,) = await redis.keys()
            assert 0 < await redis.ttl(key) <= KEPT_SECONDS
            server.kill()
            await first.keep("another", OUTPUT)
            assert await first.find("another") == OUTPUT
            with pytest.raises(PermitDeferredError, match="Redis"):  # it may know
                await second.find("another")


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"state_dir: cannot write to .*: Not a directory"):
        async with undelivered_results(Settings(state_dir=tmp_path / "file" / "kept")):
            pass
