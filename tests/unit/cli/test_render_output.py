"""Terminal output of tasks and workflows: in order, with the answer last, and text from outside stays text."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

from dialpad_ivr.cli.render_output import answer, show_output, show_workflow
from dialpad_ivr.contract.outcomes import OK_OUTCOMES, OUTCOME_MEANINGS, OUTCOMES, Outcome
from dialpad_ivr.contract.outputs import (
    FieldError,
    FoundIvr,
    FoundOffice,
    FoundTarget,
    IvrState,
    ListCustomIvrsOutput,
    ListTargetsOutput,
    PreparedRequest,
    ResponseSummary,
    SelectedIvr,
    SetCustomIvrOutput,
    TaskError,
)
from dialpad_ivr.settings import Settings
from support.bench import KEY, Bench
from support.screen import CONTROLS, HOSTILE, Screen

WINTER, SUMMER = SelectedIvr(id="1", name="Winter"), SelectedIvr(id="2", name="Summer")
PATCH = PreparedRequest(method="PATCH", url="https://dialpad.com/api", body={"ivr_id": 2})


def output(outcome: Outcome, **more: Any) -> SetCustomIvrOutput:
    return SetCustomIvrOutput(outcome=outcome, ok=outcome in OK_OUTCOMES, **more)


def response(body: Any) -> ResponseSummary:
    return ResponseSummary(status_code=200, elapsed_ms=1, body=body)


def ended(output: Any = None, **more: Any) -> dict[str, Any]:
    return {"workflowId": "ID", "status": "COMPLETED", "output": output, **more}


def task(output: Any, **more: Any) -> tuple[int, dict[str, Any]]:
    return 0, {
        "referenceTaskName": "set_ivr",
        "taskType": "set_custom_ivr",
        "status": "COMPLETED",
        "outputData": output,
        **more,
    }


SLOT = {"ivr_type": "HOLD_MUSIC", "ivrs": [{"id": "2", "name": "Summer", "selected": False}]}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_is_shown_with_its_meaning(screen: Screen, outcome: Outcome) -> None:
    show_output(screen.console, output(outcome))
    assert f"Outcome: {outcome}" in screen.text
    assert OUTCOME_MEANINGS[outcome] in screen.text.replace("\n", " ")


def test_outcome_selection_request_curl_and_response_are_shown_in_this_order(screen: Screen) -> None:
    shown = output(
        "updated",
        ivr=IvrState(previous=SelectedIvr(id="1", name="Winter"), selected=SelectedIvr(id="2")),
        request=PreparedRequest(method="PATCH", url="https://dialpad.com/api", body={"ivr_id": 2}),
        response=ResponseSummary(
            status_code=200, elapsed_ms=12.5, headers={"x-request-id": "abc"}, body={"name": "Summer"}
        ),
        warnings=["Something to think of"],
    )
    show_output(screen.console, shown, "curl --request PATCH")
    parts = [
        "Outcome: updated",
        "Selected before: Winter (1)",
        "Selected now: IVR (2)",
        "Something to think of",
        "PATCH https://dialpad.com/api",
        '"ivr_id": 2',
        "curl --request PATCH",
        "200  in 12.5 ms",
        "x-request-id: abc",
        '"name": "Summer"',
    ]
    positions = [screen.text.index(part) for part in parts]
    assert positions == sorted(positions)


def test_truncated_body_is_marked(screen: Screen) -> None:
    response = ResponseSummary(status_code=200, elapsed_ms=1, body="x" * 10, body_truncated=True)
    show_output(screen.console, output("updated", response=response))
    assert "(truncated)" in screen.text


@pytest.mark.parametrize("echo", [KEY, f"Bearer {KEY}", {"authorization": KEY}])
def test_key_is_never_shown_even_if_dialpad_echoes_it(screen: Screen, settings: Settings, echo: Any) -> None:
    bench = Bench(settings)
    bench.handler = lambda _: httpx.Response(400, json={"error": {"message": echo}}, headers={"x-request-id": KEY})
    result = asyncio.run(bench.run())
    show_output(screen.console, result.output)
    assert "Authorization: Bearer (not shown)" in screen.text
    assert KEY not in screen.text


def test_field_error_does_not_repeat_the_field(screen: Screen) -> None:
    errors = [
        FieldError(path="ivr_id", rule="required", message="ivr_id is missing.", hint="A number."),
        FieldError(path="$", rule="x", message="Something else.", hint="A hint."),
    ]
    shown = output("invalid_input", error=TaskError(code="invalid_input", message="2 violations", field_errors=errors))
    show_output(screen.console, shown)
    assert "\nivr_id is missing.\n" in screen.text
    assert "\n$: Something else.\n" in screen.text
    assert answer(shown).plain == "invalid_input: 2 validation errors; nothing was sent"


# ---- the answer


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (output("planned", ivr=IvrState(previous=WINTER), request=PATCH, response=response({"items": [SLOT]})),
         "planned: Winter -> Summer"),
        (output("planned", ivr=IvrState(previous=SelectedIvr(id="1")), request=PATCH, response=response("text")),
         "planned: 1 -> 2"),
        (output("planned", request=PATCH, response=response({"items": [SLOT]})), "planned: Summer"),
        (output("updated", ivr=IvrState(selected=SUMMER), request=PATCH, response=response(SLOT)), "updated: Summer"),
        (output("updated", ivr=IvrState(previous=WINTER, selected=SUMMER), request=PATCH), "updated: Winter -> Summer"),
        (output("unchanged", ivr=IvrState(selected=SUMMER), request=PATCH), "unchanged: Summer"),
        (output("valid", request=PATCH), "valid"),
        (output("not_found", error=TaskError(code="http_404", message="No such IVR.")), "not_found: No such IVR."),
        (ListCustomIvrsOutput(outcome="listed", ok=True, ivrs=[FoundIvr(id="1")] * 3), "listed: 3 IVRs"),
        (ListCustomIvrsOutput(outcome="listed", ok=True, ivrs=[FoundIvr(id="1")]), "listed: 1 IVR"),
        (ListCustomIvrsOutput(outcome="listed", ok=True, found=FoundIvr(id="2", name="Summer")),
         "listed: Summer (2)"),
        (ListTargetsOutput(outcome="listed", ok=True, targets=[FoundTarget(id="1")] * 2), "listed: 2 targets"),
        (ListTargetsOutput(outcome="listed", ok=True, found=FoundTarget(id="1", name="Berlin")), "listed: Berlin (1)"),
    ],
)  # fmt: skip
def test_answer_names_the_ivrs_where_they_are_known(shown: SetCustomIvrOutput, text: str) -> None:
    assert answer(shown).plain == text


def test_targets_are_a_table_below_the_response_with_their_offices_and_a_count_of_the_rest(screen: Screen) -> None:
    office = FoundOffice(id="7", name=HOSTILE)
    first = FoundTarget(id="1", name="Support", office=office)
    others = [FoundTarget(id=str(n), office=FoundOffice(id="8")) for n in range(2, 50)]
    read = response({"items": []})
    show_output(screen.console, ListTargetsOutput(outcome="listed", ok=True, response=read, targets=[first, *others]))
    text = screen.text
    assert text.index("Response") < text.index("Support")
    assert re.search(r"Support +│ 1 +│ .*\[red\]x\[/red\]", text)
    assert re.search(r"│ 40 +│ 8\b", text)
    assert "│ 41" not in text
    assert "and 9 more; --json shows all" in " ".join(text.split())
    assert not CONTROLS & set(text)


# ---- workflows


def test_workflow_with_our_output_shows_it_and_ends_with_the_answer(screen: Screen) -> None:
    shown = output("planned", ivr=IvrState(previous=WINTER, selected=WINTER), request=PATCH, response=response(SLOT))
    outputs = {**shown.model_dump(mode="json"), "branch": "planned", "advice": "Do more.", "unset": None}
    show_workflow(screen.console, ended(outputs), [task(outputs)])
    lines = screen.text.splitlines()
    assert lines[-2:] == ["Workflow ID: COMPLETED", "planned: Winter -> Summer"]
    assert '"advice": "Do more."' in screen.text
    assert "waited_ms" not in screen.text
    assert "unset" not in screen.text
    assert "Selected before" not in screen.text  # it is what is selected now


def test_output_of_somebody_else_is_shown_as_json_and_the_answer_of_its_one_task_last(screen: Screen) -> None:
    show_workflow(
        screen.console,
        ended({"now": "Summer"}),
        [task(output("unchanged", ivr=IvrState(selected=SUMMER)).model_dump())],
    )
    shown = ["{", '  "now": "Summer"', "}", "Workflow ID: COMPLETED", "unchanged: Summer"]
    assert screen.text.splitlines()[-5:] == shown


def test_retried_attempt_is_no_second_answer(screen: Screen) -> None:
    failed = task(output("unavailable").model_dump(), retried=True)
    show_workflow(screen.console, ended(), [failed, task(output("unchanged").model_dump())])
    assert screen.text.splitlines()[-1] == "unchanged"


@pytest.mark.parametrize("outputs", [[], [{"a": 1}], [output("updated").model_dump(), output("updated").model_dump()]])
def test_workflow_without_one_answer_ends_with_its_status(screen: Screen, outputs: list[Any]) -> None:
    failed = ended(status="FAILED", reasonForIncompletion="The reason")
    show_workflow(screen.console, failed, [task(each) for each in outputs])
    assert screen.text.splitlines()[-1] == "Workflow ID: FAILED The reason"


def test_long_json_is_shown_in_part(screen: Screen) -> None:
    show_workflow(screen.console, ended({"rows": [{"number": number, "of": {}} for number in range(1000)]}), [])
    assert len(screen.text.splitlines()) < 60
    assert "more lines" in screen.text
    assert "--json" in screen.text


@pytest.mark.parametrize("value", [{"a": 1, "b": ["x", "\u00e9"]}, {"a": {"b": {"c": [[], {}]}}}, {"a": []}])
def test_json_is_shown_as_it_is(screen: Screen, value: Any) -> None:
    show_workflow(screen.console, ended(value), [])
    shown = screen.text[screen.text.index("{") : screen.text.rindex("}") + 1]
    assert json.loads(shown) == value


def test_deep_output_is_shown(screen: Screen) -> None:
    deep: Any = "bottom"
    for _ in range(400):
        deep = {"a": [deep]}
    show_workflow(screen.console, ended({"deep": deep}), [])
    assert "bottom" in screen.text


def test_workflow_shows_each_task_with_its_outcome_and_attempts(screen: Screen) -> None:
    tasks: list[dict[str, Any]] = [
        {"referenceTaskName": "set_ivr", "taskType": "set_custom_ivr", "status": "COMPLETED",
         "outputData": {"outcome": "updated", "attempts": 2}},
        {"referenceTaskName": "branch", "taskType": "SWITCH", "status": "COMPLETED", "outputData": None},
        {"referenceTaskName": "waiting", "taskType": "set_custom_ivr", "status": "IN_PROGRESS",
         "outputData": {"outcome": None}},
    ]  # fmt: skip
    show_workflow(screen.console, {"workflowId": "ID", "status": "RUNNING"}, [(0, task) for task in tasks])
    lines = [line.replace("\u2502", " ").split() for line in screen.text.splitlines()]
    assert ["set_ivr", "set_custom_ivr", "COMPLETED", "updated", "2"] in lines
    assert ["branch", "SWITCH", "COMPLETED"] in lines
    assert ["waiting", "set_custom_ivr", "IN_PROGRESS", "pending"] in lines


def test_control_characters_and_markup_from_outside_stay_text() -> None:
    screen = Screen(force_terminal=True)
    shown = output(
        "unavailable",
        error=TaskError(code="x", message=HOSTILE),
        ivr=IvrState(selected=SelectedIvr(id="1", name=HOSTILE)),
        response=ResponseSummary(status_code=500, elapsed_ms=1, headers={"x-request-id": HOSTILE}, body=HOSTILE),
        warnings=[HOSTILE],
    )
    show_output(screen.console, shown)
    screen.console.print(answer(shown))
    hostile_task = task({"outcome": HOSTILE}, referenceTaskName=HOSTILE, taskType=HOSTILE, status=HOSTILE)
    show_workflow(
        screen.console, ended({HOSTILE: HOSTILE}, status=HOSTILE, reasonForIncompletion=HOSTILE), [hostile_task]
    )
    assert screen.text.count("[red]x") == 13  # none was taken for markup
    without_colours = re.sub(r"\x1b\[[\d;]*m", "", screen.text)
    assert not CONTROLS & set(without_colours)
