"""The Dialpad double as a process of its own, and the test client for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from dialpad_ivr.contract.values import LIST_PATH
from dialpad_ivr.local.double import DoubleError, running_double
from dialpad_ivr.testing.double import DoubleControl, started_double

COMMAND = [sys.executable, "-m", "dialpad_ivr.local.double"]
MUSIC = f"{LIST_PATH}/callcenter/5502522061422592/HOLD_MUSIC"


@contextmanager
def process(*arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def ended(*arguments: str, environ: Mapping[str, str] = os.environ) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=20, env=environ, check=False)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_ready_line_names_the_port_and_signal_exits_with_0(signum: signal.Signals) -> None:
    with process("--print-port") as running:
        assert running.stdout
        ready = json.loads(running.stdout.readline())
        assert ready == {
            "url": f"http://127.0.0.1:{ready['port']}",
            "host": "127.0.0.1",
            "port": ready["port"],
            "pid": running.pid,
        }
        assert httpx.get(f"{ready['url']}/_double/health", trust_env=False).json() == {"ok": True}
        running.send_signal(signum)
        assert running.communicate(timeout=10) == ("", "")
        assert running.returncode == 0


def test_ready_file_is_renamed_into_place(tmp_path: Path) -> None:
    file = tmp_path / "ready.json"
    os.mkfifo(tmp_path / "ready.json.part")  # reading it waits for the write
    with process("--ready-file", str(file)) as running:
        ready = json.loads((tmp_path / "ready.json.part").read_text())
        assert ready["pid"] == running.pid
        running.terminate()
        assert running.wait(timeout=10) == 0


def test_host_other_than_loopback_is_a_usage_error() -> None:
    result = ended("--host", "0.0.0.0")
    assert result.returncode == 2
    assert "--host" in result.stderr


@pytest.mark.parametrize("keys", ["not JSON", '["secret-key"]', '{"secret key": "demo"}'])
def test_invalid_keys_are_rejected_and_not_repeated(keys: str) -> None:
    result = ended(environ={**os.environ, "DIALPAD_DOUBLE_KEYS": keys})
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "secret" not in result.stderr


@pytest.mark.long
def test_port_in_use_raises_double_error() -> None:
    with (
        running_double() as url,
        pytest.raises(DoubleError),
        running_double(int(url.rpartition(":")[2])),
    ):
        pass


@pytest.fixture(scope="module")
def double() -> Iterator[DoubleControl]:
    with started_double({"key-one": "one", "key-two": "two"}, retry_after="seconds") as control:
        yield control


def test_double_control_covers_the_control_api(double: DoubleControl) -> None:
    assert double.config()["retry_after"] == "seconds"
    assert double.add_faults({"fault": "status", "status": 503}, {"fault": "reset_before"}) == 2
    headers = {"authorization": f"Bearer {double.key}"}
    with httpx.Client(base_url=double.url, headers=headers, trust_env=False) as client:
        assert client.patch(MUSIC, json={"ivr_id": 5127493019721728}).status_code == 503
        with pytest.raises(httpx.ReadError):
            client.patch(MUSIC, json={"ivr_id": 5127493019721728})
        assert client.patch(MUSIC, json={"ivr_id": 5127493019721728}).status_code == 200
    assert double.wait_for_arrivals(3)["by_status"] == {"200": 1, "503": 1, "none": 1}
    assert [arrival["fault"] for arrival in double.ledger()] == ["status", "reset_before", None]
    assert double.selected("callcenter", "5502522061422592", "HOLD_MUSIC")["inbound"] == "5127493019721728"
    double.clear_faults()
    double.reset()
    assert double.selected("callcenter", "5502522061422592", "HOLD_MUSIC")["inbound"] == "5127493019721729"
    assert double.set_state(synthetic=3) == 3
    assert len(double.state()) == 3
    assert double.summary()["arrivals"] == 0
