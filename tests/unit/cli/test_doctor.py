"""`doctor`: each check's result, and the exit code that follows from them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.cli.doctor import Check, examine
from dialpad_ivr.contract.schema import INPUTS
from dialpad_ivr.engine import definitions
from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.engine.definitions import Definition, register, shipped
from dialpad_ivr.settings import load_settings
from dialpad_ivr.testing.double import DoubleControl
from support.certificates import tls
from support.invoke import Invoke
from support.limits import ACME, OUTAGE
from support.redis import RedisServer
from support.stub import Stub, StubEngine, running_stub
from support.tunnel import running_proxy
from support.wire import response, wired

LABELS = [definition.label for definition in shipped()]
WORKERS = [f"worker of {task_type}" for task_type in INPUTS]
BULK_WORKERS = [f"{name} in the domain bulk" for name in WORKERS]
KEY_CHECK = "key of profile default"


@pytest.fixture(autouse=True)
def registered(api: EngineApi) -> None:
    for definition in shipped():
        register(api, definition)


@pytest.fixture
def dialpad(double: DoubleControl, monkeypatch: pytest.MonkeyPatch) -> DoubleControl:
    """A double that accepts the key of the profile `default`."""
    monkeypatch.setenv("DIALPAD_IVR_API_URL", double.url)
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    return double


@pytest.fixture
def stub_dialpad(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """A Dialpad of which a test sets the answer and the clock."""
    with running_stub(lambda _: (404, {"error": "no such office"})) as stub:
        monkeypatch.setenv("DIALPAD_IVR_API_URL", stub.url)
        monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
        yield stub


async def checks(*profiles: str) -> dict[str, Check]:
    found = await examine(load_settings(), list(profiles or ["default"]))
    assert len({check.name for check in found}) == len(found)
    return {check.name: check for check in found}


async def test_every_check_is_ok_when_everything_is_in_place(dialpad: DoubleControl) -> None:
    found = await checks()
    assert list(found) == ["engine", *LABELS, *WORKERS, *BULK_WORKERS, "engine's clock", KEY_CHECK, "Dialpad's clock"]
    assert {check.result for check in found.values()} == {"ok"}
    assert "3.32.3" in found["engine"].detail
    assert "DIALPAD_API_KEY" in found[KEY_CHECK].detail


async def test_checks_change_nothing(dialpad: DoubleControl, stub_engine: StubEngine) -> None:
    before = len(stub_engine.writes)
    await checks()
    assert len(stub_engine.writes) == before
    assert {arrival["method"] for arrival in dialpad.ledger()} == {"GET"}


@pytest.mark.parametrize(
    ("more", "result", "detail"),
    [
        ({}, "ok", "neither a pause nor an outage"),
        ({"pause_seconds": 12.5}, "warning", "paused for 12.5 s: Dialpad answered 429"),
        ({"circuit": OUTAGE}, "warning", "Dialpad has not worked for 61 s (http_503); next probe in 5 s"),
    ],
)
async def test_what_keeps_calls_back_is_a_warning(
    dialpad: DoubleControl, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], result: str, detail: str
) -> None:
    with running_stub(lambda _: (200, {"shared": False, "companies": [{**ACME, **more}]})) as worker:
        monkeypatch.setenv("DIALPAD_IVR_HEALTH_PORT", worker.url.rpartition(":")[2])
        check = (await checks())["limits of acme" if more else "limits"]
    assert (check.result, check.detail) == (result, detail)


async def test_proxy_that_leads_to_dialpad_is_ok_and_sees_no_key(
    monkeypatch: pytest.MonkeyPatch, certificates: dict[str, Path]
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates["127.0.0.1"]))
    not_found = response(b"{}", status="404 Not Found")
    async with wired(not_found, tls(certificates["127.0.0.1"])) as wire, running_proxy(login="ivr:hunter2") as proxy:
        monkeypatch.setenv("DIALPAD_IVR_API_URL", wire.url)
        monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
        monkeypatch.setenv("DIALPAD_IVR_PROXY_URL", proxy.with_login("ivr:hunter2"))
        found = await checks()
        assert found["proxy"].result == found[KEY_CHECK].result == "ok"
        assert proxy.address in found["proxy"].detail
        assert wire.url in found["proxy"].detail
        assert b"key-of-main" not in proxy.seen
    assert "hunter2" not in str(found)


async def test_proxy_that_refuses_is_a_failure_even_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_proxy(login="ivr:hunter2") as proxy:
        monkeypatch.setenv("DIALPAD_IVR_API_URL", "https://dialpad.com")
        monkeypatch.setenv("DIALPAD_IVR_PROXY_URL", proxy.with_login("ivr:hunter3"))
        check = (await checks())["proxy"]
    assert check.result == "failed"
    assert proxy.address in check.detail
    assert "407" in check.detail
    assert "hunter" not in str(check)


async def test_missing_definition_is_a_failure(dialpad: DoubleControl, stub_engine: StubEngine) -> None:
    del stub_engine.definitions[("set_custom_ivr",)]
    check = (await checks())["task set_custom_ivr"]
    assert (check.result, check.hint) == ("failed", "dialpad-ivr register")


@pytest.mark.parametrize("version", ["0.0.1", "99.0.0", None])
async def test_outdated_newer_or_edited_definition_is_a_warning_with_a_fix(
    dialpad: DoubleControl,
    api: EngineApi,
    stub_engine: StubEngine,
    version: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = Definition("task", {**shipped()[0].body, "retryCount": 1})
    with monkeypatch.context() as patched:
        patched.setattr(definitions, "__version__", version)
        register(api, other)
    if version is None:
        stub_engine.definitions[(other.name,)]["ownerApp"] = "somebody"
    check = (await checks())[other.label]
    state = {"0.0.1": "outdated", "99.0.0": "newer", None: "edited"}[version]
    assert (check.result, check.detail) == ("warning", state)
    assert check.hint


async def test_unreachable_engine_is_one_failure_and_the_keys_are_still_checked(
    dialpad: DoubleControl, no_engine: str
) -> None:
    found = await checks()
    assert list(found) == ["engine", KEY_CHECK, "Dialpad's clock"]
    assert (found["engine"].result, found["engine"].no_engine) == ("failed", True)
    assert no_engine in found["engine"].detail
    assert "dialpad-ivr dev" in found["engine"].hint
    assert found[KEY_CHECK].result == "ok"


@pytest.mark.parametrize(("status", "answer"), [(401, {}), (403, {}), (500, {})])
async def test_engine_that_rejects_the_request_is_a_failure_but_not_a_missing_engine(
    dialpad: DoubleControl, stub_engine: StubEngine, status: int, answer: Any
) -> None:
    stub_engine.outage = [status]
    check = (await checks())["engine"]
    assert (check.result, check.no_engine) == ("failed", False)
    assert str(status) in check.detail
    assert ("CONDUCTOR_AUTH_KEY" in check.detail) == (status in (401, 403))
    assert "dialpad-ivr dev" not in check.hint


@pytest.mark.parametrize(
    ("set_age", "list_age", "warned"),
    [
        (0, 0, []),
        (60, 1, []),  # its slots for that type are all in use
        (20, 30, WORKERS),
        (270, 9000, WORKERS),
        (270, 1, [WORKERS[0]]),  # a worker of an older version
    ],
)
@pytest.mark.parametrize("skew", [0, 3600])
async def test_worker_that_has_not_polled_for_long_by_the_engines_clock_is_a_warning(
    dialpad: DoubleControl, stub_engine: StubEngine, set_age: int, list_age: int, warned: list[str], skew: int
) -> None:
    stub_engine.worker = False
    stub_engine.stub.clock_skew_seconds = skew
    now = time.time() + skew
    ages = {"set_custom_ivr": set_age, "list_custom_ivrs": list_age, "list_targets": list_age}
    stub_engine.last_polls = {(name, None): int((now - age) * 1000) for name, age in ages.items()}
    found = await checks()
    assert {name for name in WORKERS if found[name].result != "ok"} == set(warned)
    assert all("dialpad-ivr worker" in found[name].hint for name in warned)
    if set_age == 270:
        assert "4 min" in found[WORKERS[0]].detail


async def test_worker_that_never_polled_is_a_warning_for_each_task_type(
    dialpad: DoubleControl, stub_engine: StubEngine
) -> None:
    stub_engine.worker = False
    found = await checks()
    assert [found[name].result for name in WORKERS] == ["warning"] * 3
    assert all("never" not in found[name].hint and "ever" in found[name].detail for name in WORKERS)


async def test_worker_of_the_set_domain_is_looked_for(
    dialpad: DoubleControl, stub_engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_DOMAIN", "emea")
    name = "worker of set_custom_ivr in the domain emea"
    assert (await checks())[name].result == "warning"  # one polls, but not in this domain
    stub_engine.last_polls["set_custom_ivr", "emea"] = int(time.time() * 1000)
    assert (await checks())[name].result == "ok"


async def test_worker_that_does_not_poll_for_bulk_work_is_a_warning(
    dialpad: DoubleControl, stub_engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_engine.worker = False
    now = int(time.time() * 1000)
    stub_engine.last_polls = {("set_custom_ivr", domain): now for domain in (None, "emea.bulk")}
    found = await checks()
    assert (found[WORKERS[0]].result, found[BULK_WORKERS[0]].result) == ("ok", "warning")
    monkeypatch.setenv("DIALPAD_IVR_DOMAIN", "emea")
    found = await checks()
    assert found["worker of set_custom_ivr in the domain emea"].result == "warning"
    assert found["worker of set_custom_ivr in the domain emea.bulk"].result == "ok"


async def test_engine_that_does_not_show_polls_is_a_warning(
    dialpad: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise EngineError("answered 404", 404)

    monkeypatch.setattr(EngineApi, "last_polls", refuse)
    assert (await checks())["workers"].result == "warning"


async def test_key_that_dialpad_rejects_is_a_failure(dialpad: DoubleControl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIALPAD_API_KEY_WRONG", "no-such-key")
    found = await checks("default", "wrong")
    assert found[KEY_CHECK].result == "ok"
    wrong = found["key of profile wrong"]
    assert wrong.result == "failed"
    assert "DIALPAD_API_KEY_WRONG" in wrong.detail
    assert "no-such-key" not in wrong.detail


async def test_missing_key_is_a_warning_since_the_engine_may_have_it(
    dialpad: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DIALPAD_API_KEY")
    check = (await checks())[KEY_CHECK]
    assert check.result == "warning"
    assert "DIALPAD_API_KEY" in check.detail
    assert dialpad.ledger() == []


async def test_unreachable_dialpad_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    check = (await checks())[KEY_CHECK]
    assert (check.result, check.no_engine) == ("failed", False)
    assert load_settings().api_url in check.detail


@pytest.mark.parametrize(
    ("status", "result"),
    [(200, "ok"), (404, "ok"), (401, "failed"), (403, "failed"), (503, "failed"), (429, "warning")],
)
async def test_key_check_follows_dialpads_status(stub_dialpad: Stub, status: int, result: str) -> None:
    stub_dialpad.respond = lambda _: (status, {})
    assert (await checks())[KEY_CHECK].result == result


@pytest.mark.parametrize(("skew", "result"), [(0, "ok"), (3, "ok"), (-3, "ok"), (120, "warning"), (-120, "warning")])
async def test_engine_clock_skew_of_more_than_five_seconds_is_a_warning(
    dialpad: DoubleControl, stub_engine: StubEngine, skew: int, result: str
) -> None:
    stub_engine.stub.clock_skew_seconds = skew
    assert (await checks())["engine's clock"].result == result


@pytest.mark.parametrize(("skew", "result"), [(0, "ok"), (90, "warning"), (-90, "warning")])
async def test_dialpad_clock_skew_is_a_warning_with_its_direction(stub_dialpad: Stub, skew: int, result: str) -> None:
    stub_dialpad.clock_skew_seconds = skew
    check = (await checks())["Dialpad's clock"]
    assert check.result == result
    if skew:
        assert skew - 3 <= int(check.detail.split()[0]) <= skew
        assert "NTP" in check.hint


async def test_clock_skew_is_measured_also_when_the_key_is_rejected(stub_dialpad: Stub) -> None:
    stub_dialpad.respond = lambda _: (401, {})
    stub_dialpad.clock_skew_seconds = 90
    found = await checks()
    assert (found[KEY_CHECK].result, found["Dialpad's clock"].result) == ("failed", "warning")


async def test_redis_that_answers_is_ok_and_one_that_may_evict_is_a_warning(
    dialpad: DoubleControl, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_REDIS_URL", redis_server.url)
    assert (await checks())["redis"].result == "ok"
    with redis_server.client() as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            check = (await checks())["redis"]
        finally:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "0")
    assert check.result == "warning"
    assert "allkeys-lru" in check.detail
    assert "noeviction" in check.hint


async def test_unreachable_redis_is_a_failure_without_its_password(
    dialpad: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_REDIS_URL", "redis://:PASS%2FWORD@127.0.0.1:9/0")
    check = (await checks())["redis"]
    assert (check.result, check.no_engine) == ("failed", False)
    assert check.detail.startswith("127.0.0.1:9: ConnectionError")
    assert "Connect call failed" in check.detail
    assert "WORD" not in str(check)


async def test_redis_that_rejects_the_password_is_a_failure_with_the_reason(
    dialpad: DoubleControl, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_REDIS_URL", f"redis://user:PASSWORD@127.0.0.1:{redis_server.port}/0")
    check = (await checks())["redis"]
    assert check.result == "failed"
    assert check.detail.startswith(f"127.0.0.1:{redis_server.port}: ")
    assert "invalid username-password pair" in check.detail
    assert "PASSWORD" not in str(check)


async def test_missing_redis_client_is_a_failure_that_names_the_extra(
    dialpad: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_REDIS_URL", "redis://127.0.0.1:9/0")
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    check = (await checks())["redis"]
    assert check.result == "failed"
    assert "dialpad-ivr[fleet]" in check.hint


def test_doctor_exits_0_when_there_are_only_warnings(
    invoke: Invoke, dialpad: DoubleControl, stub_engine: StubEngine
) -> None:
    stub_engine.stub.clock_skew_seconds = 120
    rows = invoke("doctor", "--json").json
    assert {row["result"] for row in rows} == {"ok", "warning"}


def test_doctor_exits_1_when_a_check_failed(
    invoke: Invoke, dialpad: DoubleControl, stub_engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    del stub_engine.definitions[("set_custom_ivr",)]
    monkeypatch.setenv("DIALPAD_API_KEY_WRONG", "no-such-key")
    shown = invoke("doctor", "--profile", "default", "--profile", "wrong", code=1)
    assert "task set_custom_ivr: missing" in shown.out
    assert "-> dialpad-ivr register" in shown.out
    assert "key of profile wrong" in shown.out
    assert "no-such-key" not in shown.out


def test_doctor_exits_1_when_the_engine_rejects_the_request(
    invoke: Invoke, dialpad: DoubleControl, stub_engine: StubEngine
) -> None:
    stub_engine.outage = [401]
    assert invoke("doctor", "--json", code=1).json[0]["no_engine"] is False
    stub_engine.outage = [403]
    shown = invoke("doctor", code=1)
    assert "CONDUCTOR_AUTH_KEY" in shown.all
    assert "dialpad-ivr dev" not in shown.all


def test_doctor_exits_4_when_no_engine_answers(invoke: Invoke, no_engine: str) -> None:
    row = invoke("doctor", "--json", code=4).json[0]
    assert (row["name"], row["result"], row["no_engine"]) == ("engine", "failed", True)
    assert no_engine in invoke("doctor", code=4).out


def test_doctor_exits_2_with_invalid_settings(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIALPAD_IVR_CONCURRENCY", "many")
    assert "DIALPAD_IVR_CONCURRENCY: " in invoke("doctor", code=2).err
