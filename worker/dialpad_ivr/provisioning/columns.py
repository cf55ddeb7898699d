"""The columns of a file of changes: ids, and names beside them or in their place; and the check of a row's values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dialpad_ivr.contract.ids import is_name
from dialpad_ivr.contract.inputs import ListCustomIvrsInput, ListTargetsInput, SetCustomIvrInput
from dialpad_ivr.contract.outputs import FieldError
from dialpad_ivr.contract.validation import check_input, example_input
from dialpad_ivr.tasks.target_search import contradictions

# `mode` is not a field of a change: the command decides whether to plan or to apply.
FIELDS: Final = ("target_type", "target_id", "ivr_type", "ivr_id", "select_option", "credential")
TARGET_COLUMNS: Final = ("target", "number", "email")  # each says which target it is
WINDOW_COLUMNS: Final = ("from", "until", "zone")  # of the override that the row belongs to
COLUMNS: Final = (*FIELDS, *TARGET_COLUMNS, "office", "ivr", *WINDOW_COLUMNS)
REQUIRED: Final = tuple(name for name in FIELDS if SetCustomIvrInput.model_fields[name].is_required())
INSTEAD_OF: Final[dict[str, tuple[str, ...]]] = {"target_id": TARGET_COLUMNS, "ivr_id": ("ivr",)}
"""The columns that can stand in place of a required one."""
_NAMES: Final = (*TARGET_COLUMNS, "office", "ivr")

_EXAMPLE_ROW: Final = {name: value for name, value in example_input().items() if name in FIELDS}
EXAMPLE: Final = f"{','.join(_EXAMPLE_ROW)} followed by {','.join(_EXAMPLE_ROW.values())}"
EXAMPLE_JSON: Final = json.dumps([_EXAMPLE_ROW])

# In place of an id that is looked up later, so that the rest of a row can be checked as the task's input.
_STAND_IN: Final = "1"
_NO_TARGET: Final = FieldError(
    path="target",
    rule="required",
    message="The row names no target.",
    hint="Fill in target (its name, or * for all), target_id, number or email.",
)
_NO_IVR: Final = FieldError(
    path="ivr", rule="required", message="The row names no IVR.", hint="Fill in ivr (its name) or ivr_id."
)


@dataclass(frozen=True)
class RowValues:
    """The valid values of a row.

    Attributes:
        params: The input of the task. An id that the row does not have is a stand-in: see `has_target_id`.
        has_target_id: Whether `target_id` is the row's own.
        has_ivr_id: The same of `ivr_id`.
        wanted: What to look for as the target; `None` if the row has its id only.
        ivr: The IVR's name; `None` if the row has its id only.
    """

    params: SetCustomIvrInput
    has_target_id: bool
    has_ivr_id: bool
    wanted: ListTargetsInput | None
    ivr: str | None


def check_values(values: Mapping[str, Any]) -> RowValues | list[FieldError]:
    """Check the values of a row.

    Args:
        values: The row's values by column; of known columns only. Null and "" count as absent.

    Returns:
        The valid values, or every violation, by column.
    """
    given = {name for name, value in values.items() if value is not None and value != ""}
    by_name, by_ivr = bool(given & {*TARGET_COLUMNS, "office"}), "ivr" in given
    fields = {name: value for name, value in values.items() if name in FIELDS}
    for name, instead in (("target_id", by_name), ("ivr_id", by_ivr)):
        if instead and name not in given:
            fields[name] = _STAND_IN
    params = check_input(fields, SetCustomIvrInput)
    errors = [] if isinstance(params, SetCustomIvrInput) else [_with_column(error, fields) for error in params]
    for name, missing in (("target_id", _NO_TARGET), ("ivr_id", _NO_IVR)):
        # Where the file uses names, an empty row lacks either.
        if fields.get(name) in (None, "") and any(column in values for column in _NAMES):
            errors = [error for error in errors if error.path != name] + [missing]
    if given & {*TARGET_COLUMNS, "office", "target_id"} == {"office"}:
        errors.append(_NO_TARGET.model_copy(update={"message": "office alone names no target."}))
    wanted = _wanted(values, given) if by_name else None
    ivr = _ivr(values) if by_ivr else None
    reported = {error.path for error in errors}
    for found in (wanted, ivr):
        errors += [error for error in found if error.path not in reported] if isinstance(found, list) else []
    if errors or isinstance(params, list) or isinstance(wanted, list) or isinstance(ivr, list):
        return errors
    return RowValues(params, not by_name or "target_id" in given, not by_ivr or "ivr_id" in given, wanted, ivr)


def _with_column(error: FieldError, fields: Mapping[str, Any]) -> FieldError:
    """An error of the task's input; of a name in place of an id, with the column that takes names."""
    column, value = {"target_id": "target", "ivr_id": "ivr"}.get(error.path), fields.get(error.path)
    if column is None or not isinstance(value, str) or not is_name(value):
        return error
    return error.model_copy(update={"hint": f"Write a name into {column} instead."})


def _wanted(values: Mapping[str, Any], given: set[str]) -> ListTargetsInput | list[FieldError]:
    """What to look for as the target, as the input of the task that looks for one."""
    names = {"target_type": "target_type", "target": "name"} | {
        name: name for name in ("office", "number", "email", "credential")
    }
    payload = {field: values[column] for column, field in names.items() if column in given}
    params = check_input(payload, ListTargetsInput)
    errors = params if isinstance(params, list) else contradictions(params)
    return _of_column("target", errors) if errors or isinstance(params, list) else params


def _ivr(values: Mapping[str, Any]) -> str | list[FieldError] | None:
    payload = {"target_type": "callcenter", "target_id": _STAND_IN, "name": values["ivr"]}
    params = check_input(payload, ListCustomIvrsInput)
    return _of_column("ivr", params) if isinstance(params, list) else params.name


def _of_column(column: str, errors: Iterable[FieldError]) -> list[FieldError]:
    """Errors of a task's input, with its field `name` called as the file's column is."""
    return [
        error.model_copy(update={"path": column, "message": error.message.replace("name", column, 1)})
        if error.path == "name"
        else error
        for error in errors
    ]
