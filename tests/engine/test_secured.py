"""An engine that asks for key and secret: the real one, behind a gate that deals out tokens as Orkes' server does."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest
from support.proxy import FaultyEngine, running_proxy
from support.worker import CREDENTIALS, clean_environ, running_worker

KEY, SECRET = "key-id-of-a-test", "secret-of-a-test"
CHANGE = {
    "target_type": "callcenter",
    "target_id": "5502522061422592",
    "ivr_type": "HOLD_MUSIC",
    "ivr_id": "5127493019721728",
}


class Gate(FaultyEngine):
    """Lets a request through that has a token, and each token for so many requests only."""

    REQUESTS = 15

    def __init__(self, engine_url: str) -> None:
        super().__init__(engine_url, seed=0)
        self._left: dict[str, int] = {}
        self._numbers = itertools.count(1)

    @property
    def tokens(self) -> int:
        """How many it has dealt out."""
        return len(self._left)

    async def check(self, request: Request) -> Response | None:
        if request.url.path == "/api/token":
            if await request.json() != {"keyId": KEY, "keySecret": SECRET}:
                return JSONResponse({"message": "unknown key"}, 401)
            token = f"token-{next(self._numbers)}"
            self._left[token] = self.REQUESTS
            return JSONResponse({"token": token})
        token = request.headers.get("x-authorization", "")
        if self._left.get(token, 0) <= 0:
            return JSONResponse({"error": "EXPIRED_TOKEN" if token in self._left else "INVALID_TOKEN"}, 401)
        self._left[token] -= 1
        return None


@pytest.fixture
def gate(engine: EngineRest) -> Iterator[Gate]:
    with running_proxy(Gate(engine.url)) as gate:
        yield gate


def test_a_worker_with_key_and_secret_renews_its_token_and_gets_its_tasks(
    gate: Gate, engine: EngineRest, double: DoubleControl, tmp_path: Path
) -> None:
    auth: dict[str, Any] = {"CONDUCTOR_AUTH_KEY": KEY, "CONDUCTOR_AUTH_SECRET": SECRET}
    with running_worker(gate.url, double.url, tmp_path / "log", **CREDENTIALS, **auth) as worker:
        ended = engine.ended([engine.start("set_custom_ivr", CHANGE) for _ in range(2 * Gate.REQUESTS)])
        assert worker.stop() == 0
    assert {workflow["output"]["outcome"] for workflow in ended} == {"updated"}
    assert gate.tokens > 2
    assert SECRET not in worker.log


@pytest.mark.parametrize(("secret", "code"), [(SECRET, 0), ("wrong-secret", 1), (None, 1)])
def test_commands_authenticate_and_name_the_variable_when_refused(secret: str | None, code: int, gate: Gate) -> None:
    auth = {"CONDUCTOR_AUTH_KEY": KEY, "CONDUCTOR_AUTH_SECRET": secret} if secret else {}
    completed = subprocess.run(
        [sys.executable, "-m", "dialpad_ivr", "register", "--overwrite", "--dry-run"],
        env=clean_environ(CONDUCTOR_SERVER_URL=gate.url, **auth),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert completed.returncode == code, completed.stderr
    assert ("CONDUCTOR_AUTH_KEY" in completed.stderr) == (code != 0)
    assert not secret or secret not in completed.stdout + completed.stderr
