"""Results that the engine has not accepted: what is stored of them, where, for how long, and whom it answers."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from conductor.client.http.models import Task, TaskResult
from pydantic import SecretStr
from structlog.testing import capture_logs

from dialpad_ivr.contract.outputs import IvrState, SelectedIvr, SetCustomIvrOutput
from dialpad_ivr.contract.values import LIST_LIMIT
from dialpad_ivr.pacing.limiter import PermitDeferredError
from dialpad_ivr.redis_client import open_redis
from dialpad_ivr.settings import Settings, SettingsError
from dialpad_ivr.worker.undelivered import STORED_SECONDS, UndeliveredResults, undelivered_results
from support.redis import running_redis

SELECTED = SelectedIvr(id="7", name="Grüße")
OUTPUT = SetCustomIvrOutput(outcome="updated", ok=True, ivr=IvrState(selected=SELECTED)).model_dump(mode="json")
NOTE = "The previous attempt already made this change, but its result reached the engine too late. No request was sent."
RESULT = TaskResult(task_id="first", workflow_instance_id="w", status="COMPLETED", output_data=OUTPUT)


def attempt(status: str = "TIMED_OUT", **fields: Any) -> Task:
    """The attempt whose result the engine did not accept."""
    return Task(**{"task_id": "first", "scheduled_time": 1, "input_data": {"ivr_id": "7"}, "status": status, **fields})


def retry(input_data: Any = None) -> Task:
    return Task(task_id="second", scheduled_time=2, input_data=input_data or {"ivr_id": "7"}, retried_task_id="first")


async def answered(store: UndeliveredResults, previous: Task | None = None, input_data: Any = None) -> bool:
    """Whether the retry is answered with the stored output and a warning."""
    output = await store.answer(retry(input_data), previous or attempt())
    if output is None:
        return False
    assert output == {**OUTPUT, "warnings": [NOTE]}
    return True


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_a_retry_is_answered_with_the_stored_result_and_that_is_logged() -> None:
    store = UndeliveredResults()
    await store.store(attempt(), RESULT)
    with capture_logs() as logs:
        assert await answered(store)
    assert [entry["event"] for entry in logs] == ["duplicate_delivery_answered"]


@pytest.mark.parametrize("other", [{"task_id": "other"}, {"scheduled_time": 2}, {"status": "FAILED"}])
async def test_no_other_attempt_is_answered(other: dict[str, Any]) -> None:
    store = UndeliveredResults()
    await store.store(attempt(), RESULT)
    assert not await answered(store, attempt(**other))


async def test_a_retry_with_another_input_is_not_answered() -> None:
    store = UndeliveredResults()
    await store.store(attempt(), RESULT)
    assert not await answered(store, input_data={"ivr_id": "8"})
    assert not await answered(store, attempt("COMPLETED", output_data=OUTPUT), {"ivr_id": "8"})
    assert await store.answer(retry(), None) is None


async def test_a_result_that_the_engine_accepted_too_late_answers_without_having_been_stored() -> None:
    assert await answered(UndeliveredResults(), attempt("COMPLETED", output_data=OUTPUT))


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [(["w"], ["w", NOTE]), (["w"] * LIST_LIMIT, ["w"] * LIST_LIMIT), (None, [NOTE])],
)
async def test_the_earlier_warnings_stay_as_far_as_the_list_holds_them(
    earlier: list[str] | None, expected: list[str]
) -> None:
    output = {name: value for name, value in OUTPUT.items() if name != "warnings"}
    previous = attempt("COMPLETED", output_data=output if earlier is None else {**output, "warnings": earlier})
    answer = await UndeliveredResults().answer(retry(), previous)
    assert answer is not None
    assert answer["warnings"] == expected


async def test_the_order_of_the_inputs_keys_is_no_difference() -> None:
    store = UndeliveredResults()
    await store.store(attempt(input_data={"ivr_id": "7", "mode": "apply"}), RESULT)
    assert await answered(store, attempt(), {"mode": "apply", "ivr_id": "7"})


async def test_a_result_answers_within_the_tick_of_the_clock_in_which_it_was_stored() -> None:
    store = UndeliveredResults(clock=Clock())
    await store.store(attempt(), RESULT)
    assert await answered(store)


@pytest.mark.parametrize("outcome", ["unchanged", "planned", "not_found", None])
async def test_only_changes_that_were_made_are_stored(outcome: str | None) -> None:
    store = UndeliveredResults()
    output = {**OUTPUT, "outcome": outcome}
    await store.store(attempt(), TaskResult(task_id="first", workflow_instance_id="w", output_data=output))
    assert not await answered(store)
    assert not await answered(store, attempt("COMPLETED", output_data=output))


async def test_a_result_expires_and_is_ignored_when_the_clock_was_set_back() -> None:
    clock = Clock()
    store = UndeliveredResults(clock=clock)
    await store.store(attempt(), RESULT)
    clock.now += STORED_SECONDS - 1
    assert await answered(store)
    clock.now += 1
    assert not await answered(store)
    clock.now -= STORED_SECONDS + 1
    assert not await answered(store)


@pytest.mark.long
async def test_memory_does_not_grow_with_expired_results() -> None:
    clock = Clock()
    store = UndeliveredResults(clock=clock)
    for number in range(5):
        await store.store(attempt(task_id=str(number)), RESULT)
        clock.now += STORED_SECONDS
    assert len(store._memory) == 1


async def test_the_state_directory_outlives_the_process_and_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    async with undelivered_results(Settings(state_dir=folder)) as store:
        await store.store(attempt(), RESULT)
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    async with undelivered_results(Settings(state_dir=folder)) as successor:
        assert await answered(successor)
        old = path.stat().st_mtime - STORED_SECONDS
        os.utime(path, (old, old))
        assert not await answered(successor)
        await successor.store(attempt(task_id="another"), RESULT)
    (left,) = folder.iterdir()
    assert left != path


@pytest.mark.parametrize("text", ["", '{"outcome": "upd', "[]", "7"])
async def test_a_damaged_file_is_ignored(tmp_path: Path, text: str) -> None:
    await UndeliveredResults(tmp_path).store(attempt(), RESULT)
    (path,) = tmp_path.iterdir()
    path.write_text(text)
    assert not await answered(UndeliveredResults(tmp_path))


async def test_a_missing_state_directory_is_logged_and_memory_answers(tmp_path: Path) -> None:
    store = UndeliveredResults(tmp_path / "gone")
    with capture_logs() as logs:
        await store.store(attempt(), RESULT)
    (entry,) = logs
    assert (entry["event"], entry["folder"]) == ("undelivered_not_stored", str(tmp_path / "gone"))
    assert "No such file or directory" in entry["cause"]
    assert await answered(store)


async def test_redis_answers_for_other_workers_and_an_outage_defers_the_task(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        async with open_redis(SecretStr(server.url)) as redis:
            first, second = UndeliveredResults(redis=redis), UndeliveredResults(redis=redis)
            await first.store(attempt(), RESULT)
            assert await answered(second)
            (key,) = await redis.keys()
            assert 0 < await redis.ttl(key) <= STORED_SECONDS
            await redis.set(key, '{"outcome": "updated", "warnings": 7}')
            assert not await answered(second)
            server.kill()
            with capture_logs() as logs:
                await first.store(attempt(task_id="another"), RESULT)
            (entry,) = logs
            assert (entry["event"], entry["folder"]) == ("undelivered_not_stored", None)
            assert entry["cause"] == "ConnectionError"
            assert await answered(first, attempt(task_id="another"))
            with pytest.raises(PermitDeferredError, match=r"s: the fleet's Redis does not respond$"):  # Redis may know
                await second.answer(retry(), attempt(task_id="another"))


async def test_a_state_directory_that_cannot_be_made_is_a_settings_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"DIALPAD_IVR_STATE_DIR: cannot write to .*: Not a directory"):
        async with undelivered_results(Settings(state_dir=tmp_path / "file" / "state")):
            pass
