"""Every rule of the storm catches a run that breaks it, and that rule alone does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dialpad_ivr.contract.values import TASK_TYPE
from support.provisioning import ivr, old_ivr, target
from support.storm_rules import CONCURRENCY, LIMITS, STEPS, Rule, StormRun, repeats, requested_ivr, violations
from support.worker import KEYS

CHAINS = range(2)
STEP_SECONDS = 10


def task(number: int, step: int, status: str = "COMPLETED", retry: int = 0) -> dict[str, Any]:
    start = 1000 * (STEP_SECONDS * step + 1)
    return {
        "taskId": f"{number}-{step}-{retry}",
        "workflowInstanceId": f"workflow-{number}",
        "taskType": TASK_TYPE,
        "referenceTaskName": f"step{step}",
        "inputData": {"target_id": target(number)},
        "status": status,
        "retryCount": retry,
        "scheduledTime": start,
        "endTime": start + 2000,
        "outputData": {"ok": True, "outcome": "updated", "ivr": {"selected": {"id": requested_ivr(number, step)}}},
    }


def arrival(number: int, step: int, **fields: Any) -> dict[str, Any]:
    selection = dict.fromkeys(("inbound", "outbound"), requested_ivr(number, step))
    row = {"seq": STEPS * number + step, "target_id": target(number), "wall": STEP_SECONDS * step + 2.0}
    return {**row, "applied": True, "after": selection, "status": 200, "fault": None, **fields}


OVERRIDDEN = range(2, 4)


def good_run() -> StormRun:
    """Each chain made its changes, one a step; one overridden target was restored, and another one reported."""
    return StormRun(
        CHAINS,
        tasks=[task(number, step) for number in CHAINS for step in range(STEPS)],
        workflows={f"workflow-{number}": "COMPLETED" for number in CHAINS},
        ledger=[arrival(number, step) for step in range(STEPS) for number in CHAINS],
        override_workflows={"override": "FAILED"},
        overridden=OVERRIDDEN,
        reported={target(3)},
        selected={
            **{target(number): ivr(number) for number in CHAINS},
            target(2): old_ivr(2),
            target(3): ivr(3),
        },
        worst=LIMITS["company"]["calls"],
        logs=json.dumps({"event": "task_done"}) + "\n",
        exit_codes=[0, 0],
    )


def running_workflow(run: StormRun) -> None:
    run.workflows["workflow-1"] = "RUNNING"


def scheduled_retry(run: StormRun) -> None:
    run.tasks.append(task(1, STEPS - 1, "SCHEDULED", retry=1))


def task_in_progress(run: StormRun) -> None:
    run.tasks.append(task(1, STEPS - 1, "IN_PROGRESS", retry=1))


def scheduled_task_of_a_terminated_override(run: StormRun) -> None:
    run.override_workflows["override"] = "TERMINATED"
    run.tasks.append({**task(2, STEPS - 1, "SCHEDULED"), "workflowInstanceId": "override", "referenceTaskName": "row"})


def lost_workflow(run: StormRun) -> None:
    del run.workflows["workflow-1"]


def workflow_started_twice(run: StormRun) -> None:
    run.workflows["workflow-again"] = "COMPLETED"


def success_with_another_ivr(run: StormRun) -> None:
    run.tasks[0]["outputData"]["ivr"]["selected"]["id"] = old_ivr(0)


def success_that_is_not_ok(run: StormRun) -> None:
    run.tasks[0]["outputData"]["ok"] = False


def change_never_made(run: StormRun) -> None:
    run.ledger = [row for row in run.ledger if row["seq"] != STEPS - 1]


def change_made_before_the_task(run: StormRun) -> None:
    run.ledger[0]["wall"] = 0.5


def change_made_after_the_task(run: StormRun) -> None:
    run.ledger[0]["wall"] = 3.5


def change_of_another_ivr(run: StormRun) -> None:
    run.ledger[-1]["after"] = {"inbound": "1", "outbound": "1"}


def old_ivr_selected(run: StormRun) -> None:
    run.selected[target(1)] = old_ivr(1)


def nothing_selected(run: StormRun) -> None:
    run.selected[target(1)] = None


def override_not_ended(run: StormRun) -> None:
    run.override_workflows["override"] = "RUNNING"


def left_but_not_reported(run: StormRun) -> None:
    run.reported.clear()


def not_restored(run: StormRun) -> None:
    run.selected[target(2)] = ivr(2)


def one_call_too_many(run: StormRun) -> None:
    run.worst += 1


def throttled_call(run: StormRun) -> None:
    run.ledger.append(arrival(0, 0, applied=False, after=None, status=429))


def repeated_change(run: StormRun) -> None:
    run.ledger.append(arrival(0, STEPS - 1))


def more_repeats_than_kills_explain(run: StormRun) -> None:
    run.kills = 1
    run.ledger += [arrival(0, STEPS - 1) for _ in range(CONCURRENCY + 1)]


def traceback_logged(run: StormRun) -> None:
    run.logs += "Traceback (most recent call last):\n"


def task_bug_logged(run: StormRun) -> None:
    run.logs += json.dumps({"event": "task_bug"}) + "\n"


def failed_drain(run: StormRun) -> None:
    run.exit_codes.append(1)


def key_logged(run: StormRun) -> None:
    run.logs += json.dumps({"event": "task_done", "hint": next(iter(KEYS))}) + "\n"


DOCTORED: dict[Rule, tuple[Callable[[StormRun], None], ...]] = {
    Rule.EVERY_WORKFLOW_ENDED: (running_workflow, override_not_ended),
    Rule.EVERY_TASK_ENDED: (scheduled_retry, task_in_progress, scheduled_task_of_a_terminated_override),
    Rule.ONE_WORKFLOW_PER_CHAIN: (lost_workflow, workflow_started_twice),
    Rule.SUCCESS_SHOWS_THE_REQUESTED_IVR: (success_with_another_ivr, success_that_is_not_ok),
    Rule.SUCCESS_HAS_ITS_CHANGE: (
        change_never_made,
        change_made_before_the_task,
        change_made_after_the_task,
        change_of_another_ivr,
    ),
    Rule.LAST_CHANGE_IS_SELECTED: (old_ivr_selected, nothing_selected),
    Rule.OVERRIDES_RESTORE_OR_REPORT: (left_but_not_reported, not_restored),
    Rule.LIMIT_NOT_EXCEEDED: (one_call_too_many,),
    Rule.NEVER_THROTTLED: (throttled_call,),
    Rule.NO_UNEXPLAINED_REPEATS: (repeated_change, more_repeats_than_kills_explain),
    Rule.NO_BUG_IN_THE_LOGS: (traceback_logged, task_bug_logged),
    Rule.DRAINED_WORKERS_EXIT_WITH_0: (failed_drain,),
    Rule.NO_KEY_IN_THE_LOGS: (key_logged,),
}


def test_good_run_has_no_violation() -> None:
    assert violations(good_run()) == []


@pytest.mark.parametrize(
    ("rule", "doctor"),
    [(rule, doctor) for rule in Rule for doctor in DOCTORED[rule]],
    ids=lambda value: value.value if isinstance(value, Rule) else value.__name__,
)
def test_doctored_run_violates_its_rule_only(rule: Rule, doctor: Callable[[StormRun], None]) -> None:
    run = good_run()
    doctor(run)
    assert [violation.rule for violation in violations(run)] == [rule]


def test_failed_step_allows_either_selection() -> None:
    run = good_run()
    run.tasks[STEPS - 1] = task(0, STEPS - 1, "FAILED_WITH_TERMINAL_ERROR")
    for selected in (ivr(0), old_ivr(0)):
        run.selected[target(0)] = selected
        assert violations(run) == []


def test_retry_after_a_timed_out_attempt_is_judged_as_one_step() -> None:
    run = good_run()
    timed_out = {**task(0, 0, "TIMED_OUT"), "scheduledTime": 500, "endTime": 900}
    run.tasks[0] = task(0, 0, retry=1)
    run.tasks.append(timed_out)
    run.ledger[0]["wall"] = 0.7  # made by the first attempt
    assert violations(run) == []


@pytest.mark.parametrize("status", ["FAILED", "TERMINATED"])
def test_task_in_progress_that_a_canceled_workflow_left_does_nothing(status: str) -> None:
    run = good_run()
    run.override_workflows["override"] = status
    left = {"workflowInstanceId": "override", "taskType": "DO_WHILE", "referenceTaskName": "waves"}
    run.tasks.append({**task(2, 0, "IN_PROGRESS"), **left})
    assert violations(run) == []


@pytest.mark.parametrize("hidden", [{"fault": "reset_after"}, {"fault": "slow"}, {"status": None}])
def test_repeat_after_a_hidden_response_is_explained(hidden: dict[str, Any]) -> None:
    run = good_run()
    run.ledger += [arrival(0, STEPS - 1, **hidden), arrival(0, STEPS - 1)]
    run.ledger = [row for row in run.ledger if row["seq"] != STEPS - 1] + run.ledger[-2:]
    assert violations(run) == []
    assert repeats(run) == {"explained": 1, "unexplained": 0}


def test_each_kill_explains_the_repeats_of_a_worker() -> None:
    run = good_run()
    run.kills = 1
    run.ledger += [arrival(0, STEPS - 1) for _ in range(CONCURRENCY)]
    assert violations(run) == []


def test_injected_429_is_not_throttling() -> None:
    run = good_run()
    run.ledger.append(arrival(0, 0, applied=False, after=None, status=429, fault="rate_limited"))
    assert violations(run) == []
