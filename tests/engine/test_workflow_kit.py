"""The test kit for workflow authors on the real engine, and our own workflows tested with it."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from dialpad_ivr.contract.outcomes import outcomes_of
from dialpad_ivr.contract.schema import OUTPUTS
from dialpad_ivr.engine.api import EngineApi, EngineError
from dialpad_ivr.engine.definitions import definitions_root, shipped
from dialpad_ivr.settings import Settings
from dialpad_ivr.testing import (
    BranchGap,
    KitEngine,
    Mock,
    WorkflowTestError,
    check_outcomes,
    outcome_mock,
    run_definition,
)
from dialpad_ivr.testing.isolation import OwnEngineNeededError
from support.command import Command
from support.definitions import set_ivr, task
from support.engine import EngineRest

# Overrides wait until somebody ends them: test_override_kit.py has mocks for that.
WORKFLOWS = sorted(
    file for file in (definitions_root() / "workflows").glob("*.json") if not file.stem.startswith("override")
)
STARTS_OTHERS = ("check", "playbook", "provision")
DONE: Mock = {"status": "COMPLETED", "output": {}}


@pytest.fixture
def kit(engine: EngineRest) -> KitEngine:
    return KitEngine(EngineApi(Settings(server_url=f"{engine.url}/api")), own=True)


def workflow(*tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "kit_tested", "version": 1, "tasks": list(tasks), **more}


def by_outcome(cases: tuple[str, ...], **more: Any) -> dict[str, Any]:
    return task(
        "by_outcome",
        "SWITCH",
        evaluatorType="value-param",
        expression="outcome",
        inputParameters={"outcome": "${set_ivr.output.outcome}"},
        decisionCases={case: [note(case)] for case in cases},
        **more,
    )


def note(what: str) -> dict[str, Any]:
    return task(f"note_{what}", "SET_VARIABLE", inputParameters={"noted": what})


# ---- our own workflows


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, id=file.stem, marks=pytest.mark.long if file.stem.startswith(STARTS_OTHERS) else ())
        for file in WORKFLOWS
    ],
)
def test_every_outcome_ends_in_a_branch_of_every_shipped_workflow(kit: KitEngine, file: Path) -> None:
    definition = json.loads(file.read_text("utf-8"))
    report = check_outcomes(file, definition["metadata"]["exampleInput"], {}, kit)
    assert (report.gaps, report.unreached) == ([], []), report.all_ok
    tested = {(result.task, result.outcome) for result in report.runs}
    lists = {"look_up": "list_custom_ivrs", "list_ivrs": "list_custom_ivrs", "find_targets": "list_targets"}
    lists |= {"find_target": "list_targets", **{name: name for name in ("list_custom_ivrs", "list_targets")}}
    types = {result.task: lists.get(result.task, "set_custom_ivr") for result in report.runs}
    assert types
    assert tested == {(name, outcome) for name, kind in types.items() for outcome in outcomes_of(kind)}


def test_each_outcome_takes_its_own_branch_of_the_branching_workflow(kit: KitEngine) -> None:
    report = check_outcomes(
        definitions_root() / "workflows" / "set_custom_ivr_branching.json", {}, {}, kit, task="set_ivr"
    )
    for result in report.runs:
        ok = result.run.status == "COMPLETED"
        assert result.run.branches == {"by_outcome": result.outcome, "end_by_ok": "true" if ok else "default"}
        assert result.run.output["branch"] == result.outcome


# ---- mocks


@pytest.mark.parametrize("task_type", OUTPUTS)
def test_the_engines_own_test_call_takes_the_mock_of_every_outcome(engine: EngineRest, task_type: str) -> None:
    for outcome in outcomes_of(task_type):
        mock = outcome_mock(outcome, task_type)
        definition = workflow({**set_ivr(optional=True, retryCount=0), "name": task_type})
        body = {
            "name": "kit_tested",
            "version": 1,
            "workflowDef": {**definition, "ownerEmail": "a@example.com"},
            "taskRefToMockOutput": {"set_ivr": [mock]},
        }
        answer = httpx.post(f"{engine.url}/api/workflow/test", json=body, timeout=30).raise_for_status().json()
        assert answer["status"] == "COMPLETED"
        assert answer["tasks"][0]["outputData"] == mock["output"]


def test_each_execution_takes_the_next_mock_and_retries_do_not_wait(kit: KitEngine) -> None:
    mocks = {"set_ivr": [outcome_mock("unavailable"), outcome_mock("updated")]}
    run = run_definition(workflow(set_ivr()), {}, mocks, kit)
    assert (run.status, run.path, run.steps[0].attempts) == ("COMPLETED", ["set_ivr"], 2)
    failed = run_definition(workflow(set_ivr()), {}, {"set_ivr": outcome_mock("unavailable")}, kit)
    assert failed.status == "FAILED"
    assert "unavailable: Dialpad could not be reached" in (failed.reason or "")


def test_a_loop_a_fork_a_sub_workflow_and_tasks_that_wait_run_through(kit: KitEngine) -> None:
    fork = task("fork", "FORK_JOIN", forkTasks=[[set_ivr("left")], [task("right", "HUMAN")]])
    child = workflow(task("wait", "WAIT", inputParameters={"duration": "1 days"}), set_ivr("inside"))
    param = {"name": "child", "version": 1}
    loop = task(
        "loop", "DO_WHILE", evaluatorType="graaljs", loopCondition="$.loop.iteration < 2", inputParameters={},
        loopOver=[set_ivr("repeated")],
    )  # fmt: skip
    definition = workflow(
        fork,
        task("join", "JOIN", joinOn=["left", "right"]),
        loop,
        task("sub", "SUB_WORKFLOW", subWorkflowParam=param),
        outputParameters={"approved": "${right.output.approved}"},
    )
    mocks = {
        "set_custom_ivr": outcome_mock("updated"),
        "right": Mock(status="COMPLETED", output={"approved": True}),
    }
    run = run_definition(definition, {}, mocks, kit, [{**child, "name": "child"}])
    assert run.status == "COMPLETED"
    assert run.output == {"approved": True}
    assert run.path == ["fork", "left", "right", "join", "loop", "repeated__1", "repeated__2", "sub", "wait", "inside"]
    assert [step.depth for step in run.steps] == [0, 1, 1, 0, 0, 1, 1, 0, 1, 1]


def test_a_task_without_a_mock_is_named(kit: KitEngine) -> None:
    with pytest.raises(WorkflowTestError, match=r"ask \(ask\) was reached, and has no mock"):
        run_definition(workflow(task("ask", "HUMAN")), {}, {}, kit)


@pytest.mark.parametrize("mock", [{"output": {}}, {"status": "DONE"}, {"status": "COMPLETED", "executionTime": 5}, 1])
def test_a_mock_of_another_form_is_rejected(kit: KitEngine, mock: Any) -> None:
    with pytest.raises(WorkflowTestError, match="The mock of set_ivr"):
        run_definition(workflow(set_ivr()), {}, {"set_ivr": [mock]}, kit)


# ---- nothing outside is reached, nothing is left behind


@pytest.fixture
def web() -> Iterator[tuple[str, list[str]]]:
    """A web server, and the paths that were requested of it."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()
        thread.join()


def test_no_request_is_sent_and_no_execution_is_left(
    kit: KitEngine, engine: EngineRest, web: tuple[str, list[str]]
) -> None:
    url, paths = web
    call = task("call", "HTTP", inputParameters={"http_request": {"uri": f"{url}/alarm", "method": "POST"}})
    child = workflow(call)
    sub = task("sub", "SUB_WORKFLOW", subWorkflowParam={"name": "kit_child", "version": 1})
    run = run_definition(
        workflow(set_ivr(optional=True), sub, name="kit_traceless"),
        {},
        {"*": DONE, "set_ivr": outcome_mock("not_found")},
        kit,
        [{**child, "name": "kit_child"}],
    )
    assert run.path == ["set_ivr", "sub", "call"]
    assert paths == []
    assert kit.api.newest("kit_traceless", 1) == []
    assert kit.api.workflow_definition("kit_traceless", None) is None
    assert not engine.running()


@pytest.mark.long
def test_executions_of_many_tasks_can_be_removed_side_by_side(kit: KitEngine) -> None:
    """The engine removes a task from its index by two connections at once, in ten threads."""
    many = workflow(*(note(str(number)) for number in range(30)), name="kit_removed")
    executions = [kit.api.start_definition(many, {}, f"removed-{number}") for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(kit.api.remove, executions))
    for execution in executions:
        with pytest.raises(EngineError, match="answered 404"):
            kit.api.workflow(execution)


def test_a_dynamic_fork_of_workflows_is_refused_on_an_engine_that_others_use(kit: KitEngine) -> None:
    ours = next(d.body for d in shipped() if d.name == "provision_custom_ivrs")
    before = kit.api.workflow_versions()
    with pytest.raises(OwnEngineNeededError, match="starts provision_custom_ivrs_chunk"):
        run_definition(ours, {}, {}, KitEngine(kit.api))
    assert kit.api.workflow_versions() == before


# ---- outcomes without a branch


def test_an_outcome_without_a_case_and_a_default_takes_no_branch(kit: KitEngine) -> None:
    definition = workflow(set_ivr(optional=True), by_outcome(("updated", "not_found")))
    report = check_outcomes(definition, {}, {}, kit)
    missing = {result.outcome for result in report.runs if result.gap}
    assert missing == set(outcomes_of("set_custom_ivr")) - {"updated", "not_found"}
    assert {result.gap for result in report.gaps} == {BranchGap("no_case", "by_outcome")}


@pytest.mark.parametrize("default", [[], [note("else")]])
def test_a_default_case_is_a_branch_even_if_it_is_empty(kit: KitEngine, default: list[dict[str, Any]]) -> None:
    definition = workflow(set_ivr(optional=True), by_outcome(("updated",), defaultCase=default))
    report = check_outcomes(definition, {}, {}, kit, outcome="not_found")
    assert [(result.run.branches, result.gap) for result in report.runs] == [({"by_outcome": "default"}, None)]


def test_a_switch_that_a_failure_never_reaches_is_reported(kit: KitEngine) -> None:
    definition = workflow(set_ivr(), by_outcome(("updated", "not_found")))
    report = check_outcomes(definition, {}, {}, kit, outcome="not_found")
    assert [result.gap for result in report.gaps] == [BranchGap("not_reached", "by_outcome")]
    assert report.problems() == [
        'set_ivr ends the workflow before by_outcome: not_found.\nMark set_ivr "optional": true.'
    ]


def test_a_task_in_a_branch_is_tested_after_the_outcome_that_leads_to_it(kit: KitEngine) -> None:
    switch = by_outcome(("updated",), defaultCase=[])
    switch["decisionCases"]["conflict"] = [set_ivr("again", optional=True)]
    definition = workflow(set_ivr(optional=True), switch, set_ivr("last", optional=True))
    report = check_outcomes(definition, {}, {}, kit, task="again", outcome="planned")
    (result,) = report.runs
    assert result.run.path == ["set_ivr", "by_outcome", "again", "last"]
    assert [step.output["outcome"] for step in result.run.steps if step.type == "SIMPLE"] == [
        "conflict",
        "planned",
        "updated",
    ]


def test_a_task_that_nothing_leads_to_is_named(kit: KitEngine) -> None:
    never = task("never", "SWITCH", evaluatorType="value-param", expression="x", inputParameters={"x": 1},
                 decisionCases={"2": [set_ivr("hidden")]})  # fmt: skip
    report = check_outcomes(workflow(never), {}, {}, kit)
    assert (report.runs, report.unreached) == ([], ["hidden"])


# ---- the command


def test_the_command_exits_with_1_where_an_outcome_takes_no_branch(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "flow.json"
    file.write_text(json.dumps(workflow(set_ivr(optional=True), by_outcome(("updated",)))), "utf-8")
    shown = command.json("workflow", "test", file, code=1)
    assert (shown["ok"], shown["workflow"], len(shown["runs"])) == (False, "kit_tested", 13)
    assert {run["outcome"] for run in shown["runs"] if not run["gap"]} == {"updated"}
    text = command("workflow", "test", file, "--outcome", "not_found", code=1)
    assert 'no case for "not_found", and no defaultCase' in text
    assert "by_outcome has no case for these outcomes of set_ivr, and no defaultCase: not_found." in text


@pytest.mark.long
def test_the_command_starts_an_engine_where_the_test_needs_one_of_its_own(command: Command) -> None:
    file = definitions_root() / "workflows" / "provision_custom_ivrs.json"
    out, err = command.run(("workflow", "test", file, "--outcome", "not_found", "--json"), 0, {})
    assert "Starting a Conductor server for the test" in err
    (run,) = json.loads(out)["runs"]
    assert run["branches"] == {"if_approval": None, "by_outcome": "default"}
