"""What people are told of an override, and that telling them never disturbs it, nor shows a secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.local.engine import LocalEngine
from dialpad_ivr.testing.double import DoubleControl
from support.canary import Leak, files, leaks, marked_key
from support.command import Command
from support.engine import EngineRest, until
from support.overrides import as_before, change_by_a_person, noted, override_of, phase
from support.provisioning import change, planned
from support.receiver import Receiver, running_receiver
from support.worker import SPARE_KEY, VAULT_KEY, WorkerProcess

WORKFLOW = "override_custom_ivrs"
NOTIFY = "override_custom_ivrs_notify"
SECRET = "${workflow.secrets.DIALPAD_API_KEY_VAULT}"
ROWS = 3


def told(engine: EngineRest, started: str, reference: str) -> dict[str, Any]:
    """The notification that a task of a workflow has started, once it has ended."""
    (task,) = (task for task in engine.workflow(started)["tasks"] if task["referenceTaskName"] == reference)
    (ended,) = engine.ended([task["outputData"]["workflowId"]], timeout=90)
    return ended


def test_people_are_told_what_was_made_and_what_was_restored(
    command: Command,
    engine: EngineRest,
    targets: DoubleControl,
    worker: WorkerProcess,
    receiver: Receiver,
    tmp_path: Path,
) -> None:
    plan = planned(command, tmp_path, [change(number) for number in range(ROWS)])
    options = ("--for", "1h", "--reason", "<!channel> snow\n", "--notify", "ops_chat", "--yes")
    started = command.json("override", "start", plan, *options)["workflow_id"]
    receiver.wait_for("ops_chat", 1)
    again = {"changes": [noted(number) for number in range(ROWS)], "until": "1h", "notify": "again"}
    (unchanged,) = engine.ended([engine.start(WORKFLOW, again)])
    assert (unchanged["status"], unchanged["output"]["outcome"]) == ("COMPLETED", "unchanged")
    assert "selected already, so nothing is held and nothing will be restored" in unchanged["output"]["message"]
    (held_nothing,) = receiver.wait_for("again", 1)
    assert held_nothing["event"] == "unchanged"
    assert unchanged["output"]["message"] in held_nothing["text"]
    assert "until" not in held_nothing["text"]
    command("override", "end", started, "--yes")
    first, second = receiver.wait_for("ops_chat", 2)
    assert (first["event"], first["rows"], first["ok_rows"]) == ("started", ROWS, ROWS)
    assert (second["event"], second["ok_rows"], second["left_rows"]) == ("restored", ROWS, 0)
    assert second["counts"] == {"updated": ROWS}
    until_ = command.json("override", "show", started)["until"]
    for each in (first, second):
        assert (each["override_id"], each["reason"]) == (started, "(!channel) snow ")
        assert each["requested_by"] in each["text"]
        assert each["until"][:19] == until_[:19]
        assert f"\nAs of {each['at'][:10]} {each['at'][11:16]} UTC: {ROWS} of {ROWS}" in each["text"]
    assert first["text"].startswith("Override started: (!channel) snow")
    assert f"{ROWS} of {ROWS} changes made, until {until_[:10]} {until_[11:16]} UTC." in first["text"]
    assert told(engine, started, "notify_made")["output"] == {"sent": True, "event": "started", "message": "Sent: 200."}


def test_people_are_told_of_what_was_not_made_and_of_what_was_not_restored(
    command: Command, engine: EngineRest, targets: DoubleControl, worker: WorkerProcess, receiver: Receiver
) -> None:
    rows = [noted(0), {**noted(1), "note": {"previous": [{"id": "7", "name": None}]}}]  # the second has another one now
    started = engine.start(WORKFLOW, {"changes": rows, "reason": "snow", "notify": "conflicts"})
    assert [each["event"] for each in receiver.wait_for("conflicts", 1)] == ["partly_started"]
    change_by_a_person(targets, 0)
    command("override", "end", started, "--yes")
    (ended,) = engine.ended([started])
    assert ended["output"]["outcome"] == "not_restored"
    last = receiver.wait_for("conflicts", 2)[1]
    assert (last["event"], last["left_rows"], last["counts"]) == ("not_restored", 1, {"conflict": 1})
    assert last["text"].startswith("Override NOT restored: snow\nAs of ")
    assert ": 1 of 2 changes made; 0 of 1 restored, 1 not" in last["text"]


def test_people_are_told_once_what_the_guard_restored(
    engine: EngineRest, targets: DoubleControl, worker: WorkerProcess, receiver: Receiver
) -> None:
    inputs = {"changes": [noted(number) for number in range(ROWS)], "reason": "snow", "notify": "guarded"}
    guard = engine.start("override_custom_ivrs_guard", inputs)
    started = override_of(engine, guard)
    receiver.wait_for("guarded", 1)
    engine.terminate(started)
    engine.ended([guard])
    last = receiver.wait_for("guarded", 2)[1]
    assert (last["event"], last["override_id"], last["reason"]) == ("restored", started, "snow")
    assert f"did not end by itself. {ROWS} of {ROWS} restored" in last["message"]
    assert as_before(targets, ROWS)


@pytest.mark.long
def test_an_override_is_not_disturbed_by_a_connection_that_does_not_work(
    command: Command, engine: EngineRest, targets: DoubleControl, worker: WorkerProcess, receiver: Receiver
) -> None:
    started = {
        connection: engine.start(WORKFLOW, {"changes": [noted(number)], "until": "1h", "notify": connection})
        for number, connection in enumerate(("down", "fails", "hangs"))
    }
    until(lambda: {phase(engine, each) for each in started.values()} == {"active"}, 60, "all to be active")
    for workflow_id in started.values():
        command("override", "end", workflow_id, "--yes")
    for ended in engine.ended(started.values(), timeout=20):  # before the first try of the second has timed out
        assert ended["output"]["outcome"] == "success"
    assert as_before(targets, len(started))
    for connection, workflow_id in started.items():
        for reference in ("notify_made", "notify_restored"):
            notification = told(engine, workflow_id, reference)
            assert (notification["status"], notification["output"]["sent"]) == ("FAILED", False)
        assert len(receiver.received[connection]) == 2 * 3


def test_a_name_that_is_none_is_refused_by_the_command_and_by_the_workflow(
    command: Command, engine: EngineRest, targets: DoubleControl, tmp_path: Path
) -> None:
    plan = planned(command, tmp_path, [change(0)])
    options = ("--for", "1h", "--reason", "snow", "--yes")
    assert "no name of a connection" in command("override", "start", plan, *options, "--notify", "../x", code=2)
    (ended,) = engine.ended([engine.start(WORKFLOW, {"changes": [noted(0)], "notify": "a/b"})])
    assert (ended["output"]["outcome"], len(ended["output"]["errors"])) == ("invalid_input", 1)
    assert "notify must be" in ended["output"]["message"]
    assert targets.summary()["applied"] == 0


def test_neither_the_address_of_a_chat_nor_a_secret_in_a_reason_gets_into_the_engine_or_a_message(
    command: Command,
    engine: EngineRest,
    local_engine: LocalEngine,
    targets: DoubleControl,
    worker: WorkerProcess,
    receiver: Receiver,
    tmp_path: Path,
) -> None:
    key = re.sub("[^A-Za-z0-9]", "", marked_key("a chat"))
    with running_receiver() as chat:
        receiver.chats["secret_chat"] = f"{chat.url}/{key}"
        plan = planned(command, tmp_path, [change(number) for number in range(ROWS)])
        options = ("--for", "1h", "--reason", f"snow {SECRET}", "--notify", "secret_chat", "--yes")
        started = command.json("override", "start", plan, *options)["workflow_id"]
        chat.wait_for(key, 1)
        command("override", "end", started, "--yes", "--reason", SECRET)
        engine.ended([started])
        messages = chat.wait_for(key, 2)
    assert [message["event"] for message in messages] == ["started", "restored"]
    assert "workflow.secrets" in messages[0]["reason"]
    places = {**files(local_engine.log.parent), "messages": str(messages).encode()}
    assert leaks({"chat": key, "vault": VAULT_KEY}, places) == []


def test_the_engine_stores_a_secret_that_its_http_task_is_given(engine: EngineRest, local_engine: LocalEngine) -> None:
    """Why the address must hold none: a URL that fails is stored for good, and any secret of the task for a while."""
    spare = "${workflow.secrets.SPARE}"
    post = {"uri": spare, "method": "POST", "connectionTimeOut": 100}
    task = {"name": "post", "taskReferenceName": "post", "type": "HTTP", "inputParameters": post}
    definition = {"name": "post_to_a_secret", "version": 1, "schemaVersion": 2, "ownerEmail": "t@example.com"}
    engine.put_workflow_definition({**definition, "timeoutSeconds": 60, "tasks": [task]})
    (ended,) = engine.ended([engine.start("post_to_a_secret", {})])
    assert ended["tasks"][0]["inputData"]["uri"] == spare
    found = leaks({"spare": SPARE_KEY}, files(local_engine.log.parent))
    assert Leak("spare", "plain", str(local_engine.log.parent / "conductor.db-wal")) in found
