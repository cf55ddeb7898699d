"""No key, and no part of one, leaks: after every outcome and every fault, with the most verbose logs.

The search covers logs, metrics, spans, health pages, the commands' output and files, task outputs, the engine's
database and log, Redis, the process list and the worker's folder. Deliberate leaks show that the search works.
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from dialpad_ivr.local.engine import LocalEngine
from dialpad_ivr.testing.double import started_double
from support.canary import Leak, files, forms, leaks, marked_key, process_list
from support.collector import running_collector
from support.engine import EngineRest, until
from support.outcomes import QUICK, prepared, profiles
from support.provisioning import change, write_csv
from support.proxy import Fault, faulty_engine
from support.redis import running_redis
from support.worker import VAULT_KEY, WorkerProcess, clean_environ, running_worker

# One key for each place that a key can come from.
KEYS = {name: marked_key(name) for name in ("default", "limited", "odd", "wrong", "file")}
ENVIRONMENT = {
    "DIALPAD_API_KEY": KEYS["default"],
    "DIALPAD_API_KEY_LIMITED": KEYS["limited"],
    "DIALPAD_API_KEY_ODD": KEYS["odd"],
    "DIALPAD_API_KEY_WRONG": KEYS["wrong"],
}
ALL_KEYS = {**KEYS, "engine": VAULT_KEY}

# A worker with a bug where keys are in scope: its traceback is logged.
BUGGY = """
import runpy, sys
from dialpad_ivr.tasks import set_custom_ivr as set_task
judge = set_task.patch_verdict
def buggy(response, params):
    if params.credential == "file":
        raise RuntimeError("a bug")
    return judge(response, params)
set_task.patch_verdict = buggy
sys.argv = ["dialpad-ivr", "worker"]
runpy.run_module("dialpad_ivr", run_name="__main__", alter_sys=True)
"""

LEAKY = """
import runpy, sys
from dialpad_ivr.credentials import Credentials
find = Credentials.find
def leaky(self, *args):
    credential = find(self, *args)
    print("using", credential.key.get_secret_value()[5:13], file=sys.stderr)
    return credential
Credentials.find = leaky
sys.argv = ["dialpad-ivr", "worker"]
runpy.run_module("dialpad_ivr", run_name="__main__", alter_sys=True)
"""


def pages_of(worker: WorkerProcess) -> dict[str, bytes]:
    pages = {path: worker.get(path) for path in ("/healthz", "/readyz", "/metrics", "/nowhere")}
    return {path: f"{page.headers} {page.text}".encode() for path, page in pages.items()}


@pytest.fixture
def credentials_file(tmp_path: Path) -> Path:
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps({"file": {"api_key": KEYS["file"], "company": "file"}}))
    return path


@pytest.mark.parametrize("log_format", ["json", "human"])
def test_worker_leaks_no_key(
    engine: EngineRest, local_engine: LocalEngine, credentials_file: Path, tmp_path: Path, log_format: str
) -> None:
    folder, log = tmp_path / "work", tmp_path / "worker.log"
    folder.mkdir()
    keys = {key: name for name, key in ALL_KEYS.items() if name != "wrong"}
    places: dict[str, bytes] = {}
    with (
        started_double(keys, enforce=False) as double,
        faulty_engine(local_engine.url) as proxy,
        running_redis(tmp_path) as redis,
        running_collector() as collector,
    ):
        inputs = [*prepared(double), change(0, credential="file")]
        settings = {
            **ENVIRONMENT,
            **QUICK,
            **profiles(ENVIRONMENT["DIALPAD_API_KEY"]),
            "DIALPAD_IVR_DOMAIN": f"canary-{log_format}",
            "DIALPAD_IVR_CREDENTIALS_FILE": str(credentials_file),
            "DIALPAD_IVR_LOG_LEVEL": "debug",
            "DIALPAD_IVR_LOG_FORMAT": log_format,
            "DIALPAD_IVR_REDIS_URL": redis.url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "DIALPAD_IVR_STATE_DIR": str(folder / "state"),
            "PYTHONDEVMODE": "1",
        }
        with running_worker(
            proxy.url, double.url, log, (sys.executable, "-c", BUGGY), folder=folder, **settings
        ) as worker:
            proxy.add(Fault("reset", "/tasks(/update-v2)?$", probability=0.45))
            ids = [
                engine.start("set_custom_ivr_branching", payload, domain=settings["DIALPAD_IVR_DOMAIN"])
                for payload in inputs
            ]
            ended = engine.ended(ids, timeout=120)
            proxy.clear()
            double.configure(latency=2)
            engine.start("set_custom_ivr", change(1), domain=settings["DIALPAD_IVR_DOMAIN"])
            until(lambda: double.summary()["in_flight"], what="a call under way")
            places |= {"processes": process_list(), **pages_of(worker)}
            places["Redis"] = repr(_dump(redis.url)).encode()
            assert worker.stop() == 0
        places["spans"] = b"\n".join(collector.raw)
        assert len(collector.spans) > len(inputs)
        places["the double's ledger"] = json.dumps(double.ledger()).encode()
    assert {workflow["status"] for workflow in ended} >= {"COMPLETED", "FAILED"}
    assert "task_bug" in log.read_text()
    assert "Traceback" in log.read_text()
    assert list((folder / "state").iterdir())
    places |= {str(log): log.read_bytes(), "outputs": json.dumps(ended).encode()}
    places |= files(folder) | files(local_engine.log.parent)
    assert leaks(ALL_KEYS, places) == []


def _dump(url: str) -> dict[str, Any]:
    import redis

    with contextlib.closing(redis.Redis.from_url(url)) as client:
        return {key: (client.type(key), client.dump(key)) for key in client.scan_iter()}


def test_commands_leak_no_key(engine: EngineRest, credentials_file: Path, tmp_path: Path) -> None:
    """Valid commands, and commands with keys where they do not belong."""
    folder = tmp_path / "work"
    folder.mkdir()
    with started_double({KEYS["default"]: "main"}, enforce=False) as double:
        double.set_state(synthetic=10)
        outputs = _command_outputs(engine, double.url, folder, credentials_file)
    assert leaks(ALL_KEYS, outputs | files(folder)) == []


def _command_outputs(engine: EngineRest, double_url: str, folder: Path, credentials: Path) -> dict[str, bytes]:
    environ = clean_environ(
        CONDUCTOR_SERVER_URL=engine.url,
        DIALPAD_IVR_API_URL=double_url,
        DIALPAD_IVR_ALLOW_LOOPBACK="true",
        DIALPAD_IVR_CREDENTIALS_FILE=str(credentials),
        DIALPAD_IVR_LOG_LEVEL="debug",
        **ENVIRONMENT,
    )
    key = KEYS["default"]
    broken = folder.parent / "broken.json"
    broken.write_text(f'{{"default": "{key}", }}')
    rows = write_csv(folder / "changes.csv", [change(5), change(6, credential="x")])
    one = json.dumps(change(3))
    sent = ("test-request", "--input", one, "--send", "--mode", "apply", "--yes")
    commands: list[tuple[dict[str, str], tuple[str, ...]]] = [
        ({}, ("doctor",)),
        ({}, ("doctor", "--json")),
        ({}, sent),
        ({}, ("test-request", "--input", one, "--json")),
        ({}, ("plan", str(rows))),
        ({}, ("run", "set_custom_ivr", "--input", one, "--timeout", "1")),
        ({"DIALPAD_API_KEY": f"{key}\n{key}"}, sent),
        ({"DIALPAD_API_KEY": f"{key}\u00e9"}, sent),
        ({"DIALPAD_IVR_API_URL": f"https://user:{quote(key, safe='')}@dialpad.com"}, ("doctor",)),
        ({"CONDUCTOR_SERVER_URL": f"http://user:{quote(key, safe='')}@127.0.0.1/api"}, ("worker",)),
        ({"DIALPAD_IVR_REDIS_URL": f"redis://:{quote(key, safe='')}@127.0.0.1:9/0"}, ("doctor",)),
        ({"DIALPAD_IVR_REDIS_URL": f"{key}://127.0.0.1"}, ("worker",)),
        ({"CONDUCTOR_AUTH_KEY": "id", "CONDUCTOR_AUTH_SECRET": key}, ("doctor",)),
        ({"DIALPAD_IVR_CREDENTIALS_FILE": str(broken), "DIALPAD_API_KEY": ""}, sent),
        ({"DIALPAD_IVR_CONCURRENCY": key}, ("worker",)),
    ]
    outputs = {}
    for number, (changed, arguments) in enumerate(commands):
        process = subprocess.run(
            [sys.executable, "-m", "dialpad_ivr", *arguments],
            env={**environ, **changed},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        outputs[f"{number}: {' '.join(arguments)}"] = process.stdout + process.stderr
        assert b"Traceback" not in process.stderr, process.stderr
    assert "updated" in str(outputs)
    assert str(outputs).count("unauthorized") >= 3  # a key that no header can hold, twice, and a broken file
    return outputs


# Deliberate leaks that the search must find.


@pytest.mark.parametrize("form", forms(KEYS["default"]))
@pytest.mark.parametrize("where", ["a log", "the database"])
def test_search_finds_any_part_in_any_form(
    form: str, where: str, engine: EngineRest, local_engine: LocalEngine
) -> None:
    key = marked_key(f"{form} {where}")
    part = sorted(forms(key)[form])[3]
    if where == "a log":
        places = {"log": f'{{"event": "x", "hint": "a{part}b"}}'.encode()}
    else:
        engine.start("set_custom_ivr", {"note": f"a{part}b"}, domain="nobody")
        places = files(local_engine.log.parent)
    found = leaks({"key": key}, places)
    assert ("key", form) in {(leak.key, leak.form) for leak in found}


def test_search_finds_a_key_inside_an_encoded_text() -> None:
    for before in ("", "u", "us", "user:"):
        text = base64.b64encode(f"{before}{KEYS['default']}@host".encode())
        assert leaks(KEYS, {"header": text})


def test_search_finds_eight_logged_characters_of_a_key(
    engine: EngineRest, tmp_path: Path, credentials_file: Path
) -> None:
    log = tmp_path / "worker.log"
    with started_double({KEYS["default"]: "main"}) as double:
        double.set_state(synthetic=1)
        settings: dict[str, Any] = {**ENVIRONMENT, "DIALPAD_IVR_DOMAIN": "leaky"}
        with running_worker(engine.url, double.url, log, (sys.executable, "-c", LEAKY), **settings) as worker:
            (ended,) = engine.ended([engine.start("set_custom_ivr", change(0), domain="leaky")])
            assert worker.stop() == 0
    assert ended["status"] == "COMPLETED"
    assert Leak("default", "plain", "log") in leaks(KEYS, {"log": log.read_bytes()})


@contextlib.contextmanager
def _process(*arguments: str) -> Iterator[None]:
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE)
    try:
        yield
    finally:
        process.communicate()


def test_search_finds_a_key_on_a_command_line() -> None:
    key = marked_key("a command line")
    with _process("sh", "-c", "read _", f"--key={key}"):
        until(
            lambda: Leak("key", "plain", "processes") in leaks({"key": key}, {"processes": process_list()}),
            10,
            "the hit",
        )
    assert leaks({"key": key}, {"processes": process_list()}) == []


def test_search_finds_a_key_in_the_name_or_content_of_a_file(tmp_path: Path) -> None:
    name, content = marked_key("a name"), marked_key("content")
    (tmp_path / name[7:15].replace("/", "")).write_text(content)
    for key in (name, content):
        assert "plain" in {leak.form for leak in leaks({"key": key}, files(tmp_path))}


def test_search_finds_a_key_in_a_page() -> None:
    page = httpx.Response(200, headers={"x": quote(KEYS["odd"], safe="")})
    assert Leak("odd", "URL-encoded", "page") in leaks(KEYS, {"page": str(page.headers).encode()})
