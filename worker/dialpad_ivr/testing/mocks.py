"""The mock of a task for each of its outcomes, made from the contract.

It has the form that the engine's `POST /api/workflow/test` takes: `{"status": ..., "output": {...}}`.
"""

from __future__ import annotations

from typing import Any, Final, TypedDict

from dialpad_ivr.contract.outcomes import OK_OUTCOMES, OUTCOME_MEANINGS, outcomes_of
from dialpad_ivr.contract.outputs import (
    FieldError,
    FoundIvr,
    FoundOffice,
    FoundTarget,
    IvrState,
    PreparedRequest,
    ResponseSummary,
    SelectedIvr,
    TaskError,
)
from dialpad_ivr.contract.schema import ENDPOINTS, INPUTS, OUTPUTS
from dialpad_ivr.contract.validation import check_input, example_input
from dialpad_ivr.contract.values import API_URLS, TARGETS_TASK_TYPE, TASK_TYPE
from dialpad_ivr.dialpad.verdict import engine_status


class Mock(TypedDict):
    """The mocked end of one execution of a task: its status, such as COMPLETED, and its output."""

    status: str
    output: dict[str, Any]


_NEW: Final = ("5127493019721728", "Summer hold music")
_OLD: Final = ("5127493019721700", "Old hold music")
_TARGET: Final = ("5502522061422592", "Support")
_OFFICE: Final = ("5502522061422602", "Head office")

# The response to the task's own call; the outcomes without one are of requests that were not sent.
_RESPONSES: Final[dict[str, tuple[int, Any]]] = {
    "listed": (200, {"items": []}),
    "unauthorized": (401, {"error": {"message": "Invalid key."}}),
    "forbidden": (403, {"error": {"message": "Not allowed."}}),
    "not_found": (404, {"error": {"message": "Not found."}}),
    "conflict": (409, {"error": {"message": "Conflict."}}),
    "rejected": (400, {"error": {"message": "Bad request."}}),
    "rate_limited": (429, {"error": {"message": "Too many requests."}}),
    "unavailable": (503, {"error": {"message": "Service unavailable."}}),
}


def outcome_mock(outcome: str, task_type: str | None = None, **changes: Any) -> Mock:
    """The mock of a task that ends with this outcome, after all retries that it would have had.

    Args:
        outcome: One of `outcomes_of(task_type)`.
        task_type: `set_custom_ivr`, `list_custom_ivrs` or `list_targets`; the first with that outcome, if absent.
        changes: Fields of the output to have other values, e.g. `warnings=["..."]`.

    Returns:
        The status that the worker would report, and an output that is valid against the task's output schema.

    Raises:
        ValueError: The task has no such outcome, or a change breaks the schema.
    """
    if task_type is None:
        task_type = next((each for each in OUTPUTS if outcome in outcomes_of(each)), TASK_TYPE)
    if task_type not in OUTPUTS:
        raise ValueError(f"There is no task {task_type!r}. Use one of {', '.join(OUTPUTS)}.")
    possible = outcomes_of(task_type)
    if outcome not in possible:
        raise ValueError(f"{task_type} has no outcome {outcome!r}. Use one of {', '.join(possible)}.")
    fields = {**_fields(outcome, task_type), **changes}
    output = OUTPUTS[task_type].model_validate(fields).model_dump(mode="json")
    return {"status": engine_status(outcome), "output": output}


def _fields(outcome: str, task_type: str) -> dict[str, Any]:
    example = example_input(task_type)
    method, path = ENDPOINTS[task_type]
    new, old = (SelectedIvr(id=number, name=name) for number, name in (_NEW, _OLD))
    body = {"ivr_id": int(example["ivr_id"])} if method == "PATCH" else None
    sent = outcome in _RESPONSES or outcome in ("updated", "unconfirmed")
    selected = {"updated": new, "unchanged": new, "planned": old, "unconfirmed": old}.get(outcome)
    read = outcome in ("unchanged", "planned")
    fields: dict[str, Any] = {
        "outcome": outcome,
        "ok": outcome in OK_OUTCOMES,
        "ivr": IvrState(
            ivr_type=example.get("ivr_type"),
            selected=selected,
            previous=old if outcome == "updated" else None,
            previous_ids=[selected.id] if read and selected else None,
            listed=read or None,
        ),
        "request": PreparedRequest(method=method, url=_url(path, example), body=body),
        "response": _response(outcome, example, selected) if sent else None,
        "error": _error(outcome, task_type),
        "attempts": int(sent),
    }
    if outcome == "invalid_input":
        fields["request"] = None
    if outcome == "listed":
        ivr = FoundIvr(id=new.id, name=new.name, ivr_type="HOLD_MUSIC", selected=False)
        target = FoundTarget(id=_TARGET[0], name=_TARGET[1], office=FoundOffice(id=_OFFICE[0], name=_OFFICE[1]))
        of_targets = task_type == TARGETS_TASK_TYPE
        fields |= {"found": target, "targets": [target]} if of_targets else {"found": ivr, "ivrs": [ivr]}
    return fields


def _url(path: str, example: dict[str, str]) -> str:
    query = (
        ""
        if "target_id" not in example or "{target_type}" in path
        else "?target_type={target_type}&target_id={target_id}"
    )
    return API_URLS[0] + f"{path}{query}".format_map(example)


def _response(outcome: str, example: dict[str, str], selected: SelectedIvr | None) -> ResponseSummary:
    if selected is None:
        status, body = _RESPONSES[outcome]
    else:  # the whole slot, as Dialpad answers a PATCH
        ivrs = [{"id": number, "name": name, "selected": number == selected.id} for number, name in (_NEW, _OLD)]
        status, body = 200, {"ivr_type": example["ivr_type"], "ivrs": ivrs}
    return ResponseSummary(status_code=status, elapsed_ms=80.0, body=body)


def _error(outcome: str, task_type: str) -> TaskError | None:
    if outcome in OK_OUTCOMES:
        return None
    if outcome == "invalid_input":
        violations = check_input({}, INPUTS[task_type])
        field_errors: list[FieldError] = violations if isinstance(violations, list) else []
        message = f"{len(field_errors)} violations of the input schema; nothing was sent."
        return TaskError(code=outcome, message=message, example=example_input(task_type), field_errors=field_errors)
    code = f"http_{_RESPONSES[outcome][0]}" if outcome in _RESPONSES else "another_selected"
    return TaskError(code=code, message=OUTCOME_MEANINGS[outcome])
