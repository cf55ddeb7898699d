"""The definitions: compared with an engine's, and registered with a stamp that tells edits from older versions."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from dialpad_ivr import __version__
from dialpad_ivr.engine import definitions
from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.engine.definitions import Definition, compare, register, shipped
from dialpad_ivr.local.engine import free_port
from dialpad_ivr.settings import Settings
from support.stub import StubEngine

SHIPPED = shipped()
OTHER = Definition("task", {**SHIPPED[0].body, "retryCount": 1})


def all_tasks(found: object) -> list[dict[str, Any]]:
    """The tasks of a definition, or a part of it, each before those that follow it and those within it."""
    if isinstance(found, list):
        return [task for part in found for task in all_tasks(part)]
    if not isinstance(found, dict):
        return []
    own = [found] if "taskReferenceName" in found else []
    return own + [task for part in found.values() for task in all_tasks(part)]


def test_tasks_are_shipped_before_the_workflows_that_use_them() -> None:
    kinds = [definition.kind for definition in SHIPPED]
    assert kinds == sorted(kinds)
    assert set(kinds) == {"task", "workflow"}


@pytest.mark.parametrize("definition", SHIPPED, ids=lambda definition: definition.label)
def test_missing_definition_is_the_same_after_it_was_registered(api: EngineApi, definition: Definition) -> None:
    assert compare(api, definition).state == "missing"
    register(api, definition)
    comparison = compare(api, definition)
    assert (comparison.state, comparison.diff, comparison.needs_consent) == ("same", (), False)


@pytest.mark.parametrize("definition", SHIPPED, ids=lambda definition: definition.label)
def test_a_join_is_evaluated_all_the_time_only_where_it_would_be_late(definition: Definition) -> None:
    """The engine evaluates one when a sub-workflow ends, but after a task perhaps 30 s later. It reads it all then."""
    for fork, join in itertools.pairwise(all_tasks(definition.body)):
        if join["type"] == "JOIN":
            of_tasks = "forkTaskWorkflow" not in fork["inputParameters"]
            assert join.get("joinMode") == ("SYNC" if of_tasks else None)


def test_fields_set_by_the_engine_and_defaults_make_no_difference(stub_engine: StubEngine, api: EngineApi) -> None:
    register(api, SHIPPED[0])
    added = {"createTime": 1, "updatedBy": "somebody", "concurrentExecLimit": 0, "isolationGroupId": None}
    stub_engine.definitions[(SHIPPED[0].name,)].update(added)
    assert compare(api, SHIPPED[0]).state == "same"


@pytest.mark.parametrize(
    ("version", "state", "consent"),
    [("0.0.9", "outdated", False), ("99.0.0", "newer", True), ("0.1.10", "newer", True)],
)
def test_unedited_definition_of_another_version_is_outdated_or_newer(
    api: EngineApi, monkeypatch: pytest.MonkeyPatch, version: str, state: str, consent: bool
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(definitions, "__version__", version)
        register(api, OTHER)
    monkeypatch.setattr(definitions, "__version__", "0.1.2")
    comparison = compare(api, SHIPPED[0])
    assert (comparison.state, comparison.needs_consent) == (state, consent)


@pytest.mark.parametrize("stamp", [None, "", "somebody", "dialpad-ivr 0.0.9 0123456789abcdef", "dialpad-ivr"])
def test_definition_without_a_matching_stamp_is_edited(
    stub_engine: StubEngine, api: EngineApi, stamp: str | None
) -> None:
    register(api, OTHER)
    stub_engine.definitions[(OTHER.name,)]["ownerApp"] = stamp
    comparison = compare(api, SHIPPED[0])
    assert (comparison.state, comparison.needs_consent) == ("edited", True)


def test_diff_goes_from_the_remote_to_the_local_definition(api: EngineApi) -> None:
    register(api, OTHER)
    diff = compare(api, SHIPPED[0]).diff
    assert diff[:2] == ("--- remote", "+++ local")
    assert [line for line in diff[2:] if line.startswith("-")] == ['-  "retryCount": 1,']
    assert [line for line in diff[2:] if line.startswith("+")] == ['+  "retryCount": 6,']


def test_registered_definition_names_the_version_in_its_stamp(stub_engine: StubEngine, api: EngineApi) -> None:
    register(api, SHIPPED[0])
    name, version, digest = stub_engine.definitions[(SHIPPED[0].name,)]["ownerApp"].split()
    assert (name, version) == ("dialpad-ivr", __version__)
    assert len(digest) == 16


def test_unreachable_engine_raises() -> None:
    with pytest.raises(EngineError) as caught:
        compare(EngineApi(Settings(server_url=f"http://127.0.0.1:{free_port()}")), SHIPPED[0])
    assert caught.value.unreachable
