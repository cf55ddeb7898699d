"""The command on the real engine: register, run, doctor, test-request; exit codes and what is printed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.engine.definitions import shipped, task_definition
from dialpad_ivr.testing.double import DoubleControl
from support.command import Command, lines_until
from support.engine import EngineRest, until
from support.fixtures import StartWorker, put_quick_definitions
from support.proxy import Fault, FaultyEngine, running_proxy
from support.redis import running_redis
from support.worker import CREDENTIALS

CHANGE = {
    "target_type": "callcenter",
    "target_id": "5502522061422592",
    "ivr_type": "HOLD_MUSIC",
    "ivr_id": "5127493019721728",
}
FLAGS = [part for name, value in CHANGE.items() for part in (f"--{name.replace('_', '-')}", value)]


@pytest.fixture
def registry(engine: EngineRest, command: Command) -> Iterator[Command]:
    """The command, on an engine with definitions exactly as we ship them; the tests' own are put back afterwards."""
    command("register", "--overwrite")
    yield command
    put_quick_definitions(engine)


def states(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {f"{row['kind']} {row['name']}": row["state"] for row in rows}


def test_registering_again_does_nothing(registry: Command) -> None:
    rows = registry.json("register")
    assert set(states(rows).values()) == {"same"}
    assert {row["action"] for row in rows} == {"none"}
    assert len(rows) == len(shipped()) == 20


def test_a_missing_definition_is_registered(registry: Command, engine: EngineRest) -> None:
    engine.delete_workflow_definition("set_custom_ivr", 1)
    assert states(registry.json("register", "--dry-run"))["workflow set_custom_ivr"] == "missing"
    assert states(registry.json("register", "--dry-run"))["workflow set_custom_ivr"] == "missing"
    registry("register")
    assert states(registry.json("register"))["workflow set_custom_ivr"] == "same"


def test_register_shows_and_keeps_an_edited_definition(registry: Command, engine: EngineRest) -> None:
    engine.put_task_definition({**engine.task_definition("set_custom_ivr"), "retryCount": 9, "concurrentExecLimit": 5})
    skipped = [row for row in registry.json("register", code=3) if row["action"] == "skipped"]
    assert states(skipped) == {"task set_custom_ivr": "edited"}
    shown = registry("register", code=3)
    assert "task set_custom_ivr: edited" in shown
    assert '-  "retryCount": 9' in shown
    assert '+  "retryCount": 6' in shown
    assert '-  "concurrentExecLimit": 5' in shown
    assert engine.task_definition("set_custom_ivr")["retryCount"] == 9
    registry("register", "--overwrite")
    assert engine.task_definition("set_custom_ivr")["retryCount"] == 6
    assert "concurrentExecLimit" not in engine.task_definition("set_custom_ivr")


def test_register_upgrades_an_older_definition_and_keeps_a_newer_one(
    registry: Command, engine: EngineRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dialpad_ivr.engine import definitions
    from dialpad_ivr.engine.api import EngineApi
    from dialpad_ivr.settings import Settings

    api = EngineApi(Settings(server_url=f"{engine.url}/api"))
    other = definitions.Definition("task", {**task_definition(), "retryCount": 1})
    for version, state, code in (("0.0.9", "outdated", 0), ("99.0.0", "newer", 3)):
        monkeypatch.setattr(definitions, "__version__", version)
        definitions.register(api, other)
        assert states(registry.json("register", "--dry-run", code=code))["task set_custom_ivr"] == state
        registry("register", code=code)
    assert engine.task_definition("set_custom_ivr")["retryCount"] == 1


def test_register_keeps_fields_that_the_sdk_drops(registry: Command, engine: EngineRest) -> None:
    there = engine.task_definition("set_custom_ivr")
    assert registry
    for field in (
        "maxRetryDelaySeconds",
        "backoffJitterMs",
        "runtimeMetadata",
        "responseTimeoutSeconds",
        "inputSchema",
    ):
        assert there[field] == task_definition()[field] or field == "inputSchema"
    assert there["inputSchema"]["data"] == task_definition()["inputSchema"]["data"]


def test_run_follows_a_workflow_to_its_outcome(command: Command, start_worker: StartWorker) -> None:
    with start_worker():
        done = command.json("run", "set_custom_ivr", "--input", json.dumps(CHANGE))
        assert (done["status"], done["output"]["outcome"]) == ("COMPLETED", "updated")
        shown = command("run", "set_custom_ivr_branching", "--input", json.dumps({**CHANGE, "ivr_id": "1"}), code=1)
        assert "not_found" in shown
        assert "FAILED" in shown


def test_a_test_request_workflow_without_input_plans_its_example_and_is_not_retried(
    command: Command, double: DoubleControl, start_worker: StartWorker
) -> None:
    with start_worker():
        done = command.json("run", "set_custom_ivr_test_request")
        assert done["output"]["outcome"] == "planned"
        assert done["output"]["request"]["method"] == "PATCH"
        assert done["output"]["response"]["status_code"] == 200
        double.add_faults({"fault": "status", "status": 503, "times": None})
        applied = json.dumps({**CHANGE, "mode": "apply"})
        failed = command.json("run", "set_custom_ivr_test_request", "--input", applied, code=1)
        assert (failed["status"], failed["output"]["outcome"]) == ("COMPLETED", "unavailable")
        assert failed["output"]["attempts"] == 1
    assert [line["method"] for line in double.ledger()] == ["GET", "PATCH", "GET"]


def test_a_test_request_warns_when_the_selection_moved(engine: EngineRest, start_worker: StartWorker) -> None:
    moved: list[tuple[Any, bool]] = [
        (["5127493019721729"], False),
        (["1"], True),
        ([], True),
        ("", False),
        (None, False),
    ]
    with start_worker():
        ended = engine.ended(
            engine.start("set_custom_ivr_test_request", {**CHANGE, "if_selected": expected}) for expected, _ in moved
        )
    for (expected, has_moved), workflow in zip(moved, ended, strict=True):
        assert workflow["output"]["outcome"] == "planned"
        assert ("The selection moved" in " ".join(workflow["output"]["warnings"])) == has_moved, expected


def test_a_test_request_without_mode_apply_changes_nothing(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    modes: list[dict[str, Any]] = [{}, {"mode": ""}, {"mode": None}, {"mode": "plan"}]
    empty = dict.fromkeys(CHANGE, "") | {"mode": "apply"}  # as the engine's UI sends it
    with start_worker():
        ended = engine.ended(
            engine.start("set_custom_ivr_test_request", inputs)
            for inputs in (*({**CHANGE, **mode} for mode in modes), empty)
        )
    assert [workflow["output"]["outcome"] for workflow in ended] == ["planned"] * 5
    assert {line["method"] for line in double.ledger()} == {"GET"}


def test_every_shipped_workflow_runs_on_its_own_example(command: Command, start_worker: StartWorker) -> None:
    with start_worker():
        for definition in shipped():
            # Overrides wait until a time, see test_overrides.py and test_playbooks.py; a repair for a person, see
            # test_check_workflow.py.
            if definition.kind == "workflow" and not definition.name.startswith(("override_", "playbook_")):
                example = definition.body["metadata"]["exampleInput"]
                if "repair" in example:
                    example = {**example, "repair": "never"}
                output = command.json("run", definition.name, "--input", json.dumps(example))["output"]
                assert output["counts"] if "check" in definition.name else output["ok"], definition.name


def test_ctrl_c_stops_following_and_prints_how_to_resume(command: Command) -> None:
    process = command.popen("run", "set_custom_ivr", "--input", json.dumps(CHANGE), PYTHONUNBUFFERED="1")
    lines = lines_until(process, "SCHEDULED")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert f"dialpad-ivr run --follow {lines[0].split()[-1]}" in err


def test_a_followed_workflow_can_be_left_and_found_again(
    command: Command, engine: EngineRest, start_worker: StartWorker
) -> None:
    workflow_id = engine.start("set_custom_ivr", CHANGE)
    assert "RUNNING" in command("run", "--follow", workflow_id, "--timeout", "0.1", code=1)
    with start_worker():
        assert command.json("run", "--follow", workflow_id)["status"] == "COMPLETED"


def test_run_of_an_unknown_workflow_names_the_nearest_and_suggests_register_only_for_ours(
    registry: Command, engine: EngineRest
) -> None:
    shown = registry("run", "set_custom_ivr_test_requests", code=1)
    assert "set_custom_ivr_test_request" in shown.splitlines()[-1]
    assert "register" not in shown
    assert "version 1" in registry("run", "set_custom_ivr", "--version", "9", code=1)
    engine.delete_workflow_definition("set_custom_ivr", 1)
    assert "dialpad-ivr register" in registry("run", "set_custom_ivr", code=1)


@pytest.mark.long
def test_run_without_a_worker_says_so_and_goes_on_when_one_is_started(
    command: Command, start_worker: StartWorker
) -> None:
    process = command.popen("run", "set_custom_ivr", "--input", json.dumps(CHANGE), PYTHONUNBUFFERED="1")
    lines_until(process, "dialpad-ivr worker")
    with start_worker():
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.splitlines()[-1] == "updated: Summer hold music"
    assert "dialpad-ivr worker" not in err  # only once


@pytest.mark.long
def test_run_says_nothing_of_a_missing_worker_while_one_is_busy(
    command: Command, engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.configure(latency=9)
    with start_worker(DIALPAD_IVR_CONCURRENCY="1"):
        other = engine.start("set_custom_ivr", {**CHANGE, "ivr_type": "GREETING", "ivr_id": "5127493019721750"})
        until(lambda: engine.workflow(other)["tasks"][0]["status"] == "IN_PROGRESS", what="the other task to be taken")
        _, err = command.run(("run", "set_custom_ivr", "--input", json.dumps(CHANGE)), 0, {})
    assert "worker" not in err


@pytest.mark.long
def test_an_outage_is_reported_and_ends_with_the_timeout(command: Command, engine: EngineRest) -> None:
    workflow_id = engine.start("set_custom_ivr", CHANGE)
    with running_proxy(FaultyEngine(engine.url, seed=0)) as proxy:
        process = command.popen(
            "run", "--follow", workflow_id, "--timeout", "20", CONDUCTOR_SERVER_URL=proxy.url, PYTHONUNBUFFERED="1"
        )
        lines_until(process, "SCHEDULED")
        proxy.add(Fault("reset"))
        _, err = process.communicate(timeout=60)
    engine.terminate(workflow_id)
    assert process.returncode == 4
    assert len([line for line in err.splitlines() if "still trying" in line]) == 2
    assert f"dialpad-ivr run --follow {workflow_id}" in err


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "--follow", "ID"], ["status", "ID"], ["register"], ["doctor"]], ids=" ".join
)
def test_commands_report_an_engine_that_does_not_answer(command: Command, arguments: list[str]) -> None:
    shown = command(*arguments, code=4, CONDUCTOR_SERVER_URL="http://127.0.0.1:9")
    assert "No Conductor server answers at http://127.0.0.1:9/api" in shown


def test_doctor_finds_everything_in_place(registry: Command, start_worker: StartWorker) -> None:
    with start_worker():
        checks = {check["name"]: check for check in registry.json("doctor")}
    assert {check["result"] for check in checks.values()} == {"ok"}
    assert "3.32.3" in checks["engine"]["detail"]
    assert "DIALPAD_API_KEY" in checks["key of profile default"]["detail"]


@pytest.mark.long
def test_doctor_warns_of_a_worker_that_stopped_and_of_one_that_never_was(
    registry: Command, start_worker: StartWorker
) -> None:
    def shown(domain: str) -> list[str]:
        checks = registry.json("doctor", DIALPAD_IVR_DOMAIN=domain)
        return [check["detail"] for check in checks if check["name"].startswith("worker")]

    with start_worker(DIALPAD_IVR_DOMAIN="stopped"):
        assert all("s ago" in detail for detail in shown("stopped"))
    until(lambda: all("no worker has polled for" in detail for detail in shown("stopped")), 60)
    assert all("ever" in detail for detail in shown("nobody"))


def test_doctor_reports_a_missing_workflow_and_bad_credentials(registry: Command, engine: EngineRest) -> None:
    engine.delete_workflow_definition("set_custom_ivr", 1)
    shown = registry("doctor", "--profile", "wrong", "--profile", "nobody", code=1)
    assert "workflow set_custom_ivr v1: missing" in shown
    assert "-> dialpad-ivr register" in shown
    assert "does not accept the key of credential profile 'wrong'" in " ".join(shown.split())
    assert "No API key for credential profile 'nobody'" in shown


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A real redis-server with a password, which may evict what it holds."""
    with running_redis(tmp_path) as server, server.client() as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("requirepass", "key-of-redis")
        yield f"redis://:key-of-redis@127.0.0.1:{server.port}/0"


def test_doctor_checks_a_redis_that_is_set(registry: Command, redis_url: str) -> None:
    shown = registry("doctor", DIALPAD_IVR_REDIS_URL=redis_url)
    assert "redis: Redis " in shown
    assert "(allkeys-lru)" in shown
    assert "key-of-redis" not in shown
    wrong = redis_url.replace("key-of-redis", "another")
    assert "AuthenticationError" in registry("doctor", code=1, DIALPAD_IVR_REDIS_URL=wrong)
    gone = "redis://127.0.0.1:9"
    assert "redis: 127.0.0.1:9: ConnectionError: " in registry("doctor", code=1, DIALPAD_IVR_REDIS_URL=gone)


def test_a_test_request_is_shown_and_not_sent(command: Command, double: DoubleControl) -> None:
    shown = command("test-request", *FLAGS)
    assert f"PATCH {double.url}/api/v2/customivrs/callcenter/5502522061422592/HOLD_MUSIC" in shown
    assert """printf 'Authorization: Bearer %s' "$DIALPAD_API_KEY" | curl --header @-""" in shown
    assert "Nothing was sent" in shown
    assert double.summary()["arrivals"] == 0


def test_the_printed_curl_command_applies_the_change(command: Command, double: DoubleControl, tmp_path: Path) -> None:
    curl = command.json("test-request", *FLAGS)["curl"]
    key = {"DIALPAD_API_KEY": CREDENTIALS["DIALPAD_API_KEY"], "PATH": os.environ["PATH"]}
    subprocess.run(["sh", "-c", f"{curl} --silent --fail"], env=key, cwd=tmp_path, check=True, capture_output=True)
    assert double.selected("callcenter", CHANGE["target_id"], "HOLD_MUSIC")["inbound"] == CHANGE["ivr_id"]


def test_a_sent_test_request_only_reads_without_mode_apply(command: Command, double: DoubleControl) -> None:
    assert command.json("test-request", *FLAGS, "--send")["outcome"] == "planned"
    assert [line["method"] for line in double.ledger()] == ["GET"]
    assert "--yes" in command("test-request", *FLAGS, "--send", "--mode", "apply", code=2)
    assert command.json("test-request", *FLAGS, "--send", "--mode", "apply", "--yes")["outcome"] == "updated"
    assert [line["method"] for line in double.ledger()] == ["GET", "PATCH"]


def test_a_test_request_with_mistakes_tells_them_all(command: Command) -> None:
    shown = command("test-request", "--input", '{"target_type": "CallCenter", "ivrid": 1}', code=1)
    for text in ('Did you mean "callcenter"?', "target_id is missing", "ivr_type is missing", 'Unknown key "ivrid"'):
        assert text in shown


@pytest.mark.parametrize("payload", ["[]", "{", "@/no/such/file", "nonsense"])
def test_an_input_that_is_no_object_is_wrong_usage(command: Command, payload: str) -> None:
    assert "--input" in command("run", "--input", payload, code=2)


def test_invalid_settings_are_reported_together_without_their_values(command: Command) -> None:
    wrong = {"DIALPAD_IVR_API_URL": "https://key-of-main@evil.example", "DIALPAD_IVR_CONCURRENCY": "many"}
    shown = command("worker", code=2, **wrong)
    assert "DIALPAD_IVR_CONCURRENCY: " in shown
    assert "a key is sent to no other host" in shown


@pytest.mark.parametrize(
    "name", ["worker", "register", "run", "test-request", "doctor", "schema", "dev", "demo", "console"]
)
def test_every_command_has_help_with_an_example(command: Command, name: str) -> None:
    shown = command(name, "--help")
    assert "Example" in shown
    assert "dialpad-ivr" in shown


def test_schema_prints_the_task_definition(command: Command) -> None:
    assert json.loads(command("schema", "task")) == task_definition()
    listing = json.loads(command("schema", "task", "--task", "list_custom_ivrs"))
    assert listing == task_definition("list_custom_ivrs")
    assert json.loads(command("schema"))["title"] == "Input of set_custom_ivr"
    assert json.loads(command("schema", "output"))["title"] == "Output of set_custom_ivr"
