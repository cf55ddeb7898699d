"""The real engine, in the hands of somebody who means harm: what reaches it, and what reaches a worker through it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dialpad_ivr.local.engine import LocalEngine
from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest
from support.fixtures import StartWorker
from support.provisioning import change
from support.worker import KEYS


def _raw_start(engine: EngineRest, inputs: str, domain: str) -> str:
    """Start `set_custom_ivr` with an input as it is written."""
    body = f'{{"name": "set_custom_ivr", "input": {inputs}, "taskToDomain": {{"*": "{domain}"}}}}'
    headers = {"content-type": "application/json"}
    with httpx.Client(trust_env=False, timeout=30) as client:
        return client.post(f"{engine.url}/api/workflow", content=body, headers=headers).raise_for_status().text


@pytest.fixture
def _room_to_recurse() -> Iterator[None]:
    """For this process, which reads such a workflow too."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(5000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("_room_to_recurse")
def test_an_input_that_nests_as_deep_as_the_engine_allows_costs_only_its_own_task(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=1)
    domain = "deep"
    started = [_raw_start(engine, '{"target_id": ' + '{"a":' * 980 + "1" + "}" * 981, domain)]
    started.append(engine.start("set_custom_ivr", change(0), domain=domain))  # polled with it
    with start_worker(DIALPAD_IVR_DOMAIN=domain):
        deep, other = engine.ended(started)
    assert deep["tasks"][0]["outputData"]["outcome"] == "invalid_input"
    assert other["tasks"][0]["outputData"]["outcome"] == "updated"


def test_a_number_that_the_engine_would_refuse_does_not_keep_a_result_from_it(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=1)
    double.add_faults({"fault": "status", "status": 422, "body": f'{{"error": {"9" * 1100}}}'})
    with start_worker(DIALPAD_IVR_DOMAIN="number"):
        (ended,) = engine.ended([engine.start("set_custom_ivr", change(0), domain="number")])
    assert ended["tasks"][0]["status"] == "FAILED_WITH_TERMINAL_ERROR"
    assert "9" * 1100 in ended["tasks"][0]["outputData"]["response"]["body"]


def test_no_key_is_on_a_command_line(start_worker: StartWorker) -> None:
    with start_worker(DIALPAD_IVR_DOMAIN="arguments"):
        lines = [_bytes(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert any(b"conductor-server" in line for line in lines)
    assert any(b"dialpad_ivr.local.double" in line for line in lines)
    assert not [line for line in lines for key in KEYS if key.encode() in line]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""


def test_the_engine_is_reached_from_this_machine_only(local_engine: LocalEngine) -> None:
    port = int(local_engine.url.rpartition(":")[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing; chooses the address that would be used
        except OSError:
            pytest.skip("this machine has no address but loopback")
        address = sock.getsockname()[0]
    with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
        socket.create_connection((address, port), 2).close()


def test_a_web_page_can_neither_start_a_workflow_on_the_engine_nor_read_of_it(engine: EngineRest) -> None:
    """SECURITY.md says so, and what else a page can do."""
    page = {"origin": "https://evil.example"}
    with httpx.Client(base_url=f"{engine.url}/api", trust_env=False, timeout=30) as client:
        asked = {**page, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
        assert client.options("/workflow", headers=asked).status_code == 403
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            content = '{"name": "set_custom_ivr", "input": {}}'
            answer = client.post("/workflow", content=content, headers={**page, "content-type": kind})
            assert answer.is_error
        assert "access-control-allow-origin" not in client.get("/metadata/taskdefs", headers=page).headers
        assert client.get("/secrets/DIALPAD_API_KEY_VAULT").status_code == 404
        # What has no body can be sent by any page, and who names another host is not asked why.
        assert client.post("/tasks/queue/requeue/no_such_task", headers=page).is_success
        rebound = client.get("/metadata/taskdefs", headers={"host": "evil.example"})
        assert rebound.is_success
