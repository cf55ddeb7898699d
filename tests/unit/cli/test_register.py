"""`register`: what it does with each state of a definition, and its exit codes."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.cli.register import RegisterAction
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.engine.definitions import Definition, register, shipped
from support.invoke import Invoke
from support.stub import StubEngine

TASK = next(definition for definition in shipped() if definition.label == "task set_custom_ivr")


@pytest.fixture
def edited(api: EngineApi, stub_engine: StubEngine) -> StubEngine:
    """An engine with all definitions, one of which was edited on the server."""
    for definition in shipped():
        register(api, definition)
    stub_engine.definitions[(TASK.name,)]["retryCount"] = 9
    stub_engine.stub.received.clear()
    return stub_engine


def actions(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {f"{row['kind']} {row['name']}": row["action"] for row in rows}


def test_missing_definitions_are_registered(invoke: Invoke, stub_engine: StubEngine) -> None:
    rows = invoke("register", "--json").json
    assert {row["state"] for row in rows} == {"missing"}
    assert set(actions(rows).values()) == {RegisterAction.REGISTERED.value} == {"registered"}
    assert len(stub_engine.definitions) == len(shipped()) == len(rows)


def test_registering_again_does_nothing(invoke: Invoke, stub_engine: StubEngine) -> None:
    invoke("register")
    writes = len(stub_engine.writes)
    rows = invoke("register", "--json").json
    assert {(row["state"], row["action"]) for row in rows} == {("same", "none")}
    assert len(stub_engine.writes) == writes


def test_dry_run_writes_nothing(invoke: Invoke, stub_engine: StubEngine) -> None:
    rows = invoke("register", "--dry-run", "--json").json
    assert set(actions(rows).values()) == {"would_register"}
    assert stub_engine.writes == []


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_definition_edited_on_the_server_is_skipped_with_exit_code_3(
    invoke: Invoke, edited: StubEngine, options: list[str]
) -> None:
    rows = invoke("register", *options, "--json", code=3).json
    assert actions(rows)["task set_custom_ivr"] == "skipped"
    assert [action for action in actions(rows).values() if action != "none"] == ["skipped"]
    assert edited.writes == []
    assert edited.definitions[(TASK.name,)]["retryCount"] == 9


def test_overwrite_replaces_an_edited_definition(invoke: Invoke, edited: StubEngine) -> None:
    rows = invoke("register", "--overwrite", "--json").json
    assert actions(rows)["task set_custom_ivr"] == "registered"
    assert edited.definitions[(TASK.name,)]["retryCount"] == TASK.body["retryCount"]


def test_overwrite_with_dry_run_writes_nothing(invoke: Invoke, edited: StubEngine) -> None:
    rows = invoke("register", "--overwrite", "--dry-run", "--json").json
    assert actions(rows)["task set_custom_ivr"] == "would_register"
    assert edited.writes == []


def test_skipped_definition_does_not_keep_others_from_being_registered(invoke: Invoke, edited: StubEngine) -> None:
    del edited.definitions[("list_custom_ivrs",)]
    rows = invoke("register", "--json", code=3).json
    assert actions(rows)["task list_custom_ivrs"] == "registered"
    assert ("list_custom_ivrs",) in edited.definitions


def test_diff_and_the_way_to_overwrite_are_shown(invoke: Invoke, edited: StubEngine) -> None:
    shown = invoke("register", code=3).out
    assert "task set_custom_ivr: edited" in shown
    assert '-  "retryCount": 9' in shown
    assert '+  "retryCount": 6' in shown
    assert "--overwrite" in shown


def test_newer_definition_is_skipped(invoke: Invoke, api: EngineApi, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("dialpad_ivr.engine.definitions.__version__", "99.0.0")
        register(api, Definition("task", {**TASK.body, "retryCount": 1}))
    rows = invoke("register", "--json", code=3).json
    assert [row["state"] for row in rows if row["action"] == "skipped"] == ["newer"]


def test_register_exits_4_without_an_engine(invoke: Invoke, no_engine: str) -> None:
    assert no_engine in invoke("register", code=4).err


def test_register_exits_1_when_the_engine_rejects_a_request(invoke: Invoke, stub_engine: StubEngine) -> None:
    stub_engine.outage = [403]
    assert "CONDUCTOR_AUTH_KEY" in invoke("register", code=1).err
