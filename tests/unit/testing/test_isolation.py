"""The copy of a definition that reaches nothing outside of the engine."""

from __future__ import annotations

from typing import Any

import pytest

from dialpad_ivr.testing.isolation import WorkflowTestError, isolate
from support.definitions import task


def workflow(*tasks: dict[str, Any], name: str = "tested", **more: Any) -> dict[str, Any]:
    return {"name": name, "version": 3, "tasks": list(tasks), **more}


def nothing(name: str, version: int | None) -> None:
    """No other workflows are known."""


@pytest.mark.parametrize("kind", ["HTTP", "EVENT", "WAIT", "HUMAN", "START_WORKFLOW", "DYNAMIC", "ONE_OF_TOMORROW"])
def test_a_task_that_acts_or_waits_becomes_one_that_a_mock_ends(kind: str) -> None:
    (copy,) = isolate(workflow(task("act", kind, inputParameters={"a": 1})), {}, nothing).definition["tasks"]
    assert (copy["type"], copy["taskReferenceName"], copy["inputParameters"]) == ("SIMPLE", "act", {"a": 1})
    assert copy["taskDefinition"]["retryCount"] == 0


def test_tasks_are_replaced_wherever_they_are_nested() -> None:
    http = task("call", "HTTP")
    switch = task("switch", "SWITCH", decisionCases={"a": [http]}, defaultCase=[task("wait", "WAIT")])
    nested = task("loop", "DO_WHILE", loopOver=[task("fork", "FORK_JOIN", forkTasks=[[switch]])])
    isolated = isolate(workflow(nested), {}, nothing)
    copied = isolated.definition["tasks"][0]["loopOver"][0]["forkTasks"][0][0]
    assert copied["decisionCases"]["a"][0]["type"] == copied["defaultCase"][0]["type"] == "SIMPLE"
    assert http["type"] == isolated.specs["call"].task["type"] == "HTTP"
    assert [isolated.specs[name].depth for name in ("loop", "fork", "switch", "call")] == [0, 1, 2, 3]


def test_what_the_engine_would_start_or_call_at_the_end_is_left_out() -> None:
    reaching: dict[str, Any] = {
        "failureWorkflow": "alarm",
        "workflowStatusListenerEnabled": True,
        "workflowStatusListenerSink": "x",
    }
    given = workflow(task("set", onStateChange={"onStart": []}, cacheConfig={"key": "k"}, sink="x"), **reaching)
    copy = isolate(given, {}, nothing).definition
    assert not set(reaching) & set(copy)
    assert not {"onStateChange", "cacheConfig", "sink"} & set(copy["tasks"][0])


def test_a_sub_workflow_is_copied_into_its_task_without_task_domains() -> None:
    child = workflow(task("call", "HTTP"), name="child")
    param = {"name": "child", "version": 1, "taskToDomain": {"*": "real_workers"}}
    given = workflow(task("sub", "SUB_WORKFLOW", subWorkflowParam=param))
    (copy,) = isolate(given, {}, lambda name, _: child if name == "child" else None).definition["tasks"]
    assert copy["subWorkflowParam"]["workflowDefinition"]["tasks"][0]["type"] == "SIMPLE"
    assert "taskToDomain" not in copy["subWorkflowParam"]


def test_a_sub_workflow_with_a_mock_is_not_looked_up() -> None:
    given = workflow(task("sub", "SUB_WORKFLOW", subWorkflowParam={"name": "unknown"}))
    (copy,) = isolate(given, {"sub"}, nothing).definition["tasks"]
    assert copy["type"] == "SIMPLE"


def test_a_dynamic_fork_starts_a_copy_of_its_workflow_without_task_domains() -> None:
    inputs = {"forkTaskWorkflow": "child", "forkTaskWorkflowVersion": "2", "forkTaskInputs": "${list.output.result}"}
    given = workflow(task("fork", "FORK_JOIN_DYNAMIC", inputParameters=inputs))
    asked: list[tuple[str, int | None]] = []

    def find(name: str, version: int | None) -> dict[str, Any]:
        asked.append((name, version))
        return workflow(task("call", "HTTP"), name=name)

    isolated = isolate(given, {}, find)
    removal, fork = isolated.definition["tasks"]
    assert asked == [("child", 2)]
    assert removal["inputParameters"]["given"] == "${list.output.result}"
    assert fork["inputParameters"]["forkTaskInputs"] == f"${{{removal['taskReferenceName']}.output.result}}"
    assert fork["inputParameters"]["forkTaskWorkflow"] == isolated.forked[0]["name"] != "child"
    assert isolated.forked[0]["tasks"][0]["type"] == "SIMPLE"


def test_a_missing_sub_workflow_and_one_that_starts_itself_are_reported() -> None:
    again = workflow(task("sub", "SUB_WORKFLOW", subWorkflowParam={"name": "tested"}))
    with pytest.raises(WorkflowTestError, match="sub starts tested, which it is part of"):
        isolate(again, {}, nothing)
    unknown = workflow(task("sub", "SUB_WORKFLOW", subWorkflowParam={"name": "unknown"}))
    with pytest.raises(WorkflowTestError, match="neither beside the definition nor on the engine"):
        isolate(unknown, {}, nothing)
