"""From a raw input to the model of the contract, or to every violation at once in a workflow author's words."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel
from pydantic import ValidationError as ModelError

from dialpad_ivr.contract.ids import id_problem
from dialpad_ivr.contract.inputs import ID_SCHEMA, ListCustomIvrsInput, ListTargetsInput
from dialpad_ivr.contract.outputs import FieldError
from dialpad_ivr.contract.schema import INPUTS, TaskInput, choices, input_fields, input_schema
from dialpad_ivr.contract.values import (
    EXACT_IN_JAVASCRIPT,
    EXPECTED_LIMIT,
    INT64_MAX,
    LIST_LIMIT,
    NAME_LIMIT,
    SELECT_OPTION_APPLIES_TO,
    TARGET_TYPES,
    TASK_TYPE,
    USUAL_TARGET_OF,
)

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

_SHOWN = 60  # characters of a wrong value that a message repeats
_MOST_LISTED = 20  # allowed values in a line that a person reads: all lists but that of the 67 IVR types
_MOST_KEYS = 1000  # of an input; to explain each of more takes long, and other tasks wait meanwhile


_Input = TypeVar("_Input", bound=BaseModel)


def check_input(raw: Any, model: type[_Input]) -> _Input | list[FieldError]:
    """Check a task's input.

    Args:
        raw: Whatever the engine, a file or a command line gave: any JSON value.
        model: The task's input.

    Returns:
        The parsed input, or all violations (at least one), in the schema's order of fields, unknown keys last, at most
        `LIST_LIMIT` of them. Never raises for any JSON value.
    """
    task_type = next(name for name, known in INPUTS.items() if known is model)
    if isinstance(raw, dict) and len(raw) > _MOST_KEYS:
        message, hint = f"The input has {len(raw):,} keys, far too many.", f"For example: {_example(task_type)}"
        return [FieldError(path="$", rule="maxProperties", message=message, hint=hint)]
    try:
        return model.model_validate(raw)
    except ModelError as exc:
        # What the model refuses the schema explains: to ask the model first saves a valid input the slower check.
        return (
            _violations(raw, task_type)
            or [
                # The two agree (a property test shows it); should they ever not, nothing may be sent.
                FieldError(
                    path=short(".".join(str(part) for part in error["loc"]) or "$"),
                    rule=short(error["type"]),
                    message=short(error["msg"]),
                    hint="See the input schema: dialpad-ivr schema.",
                )
                for error in exc.errors(include_input=False, include_url=False, include_context=False)
            ][:LIST_LIMIT]
        )


def _violations(raw: Any, task_type: str) -> list[FieldError]:
    """What the schema finds wrong, in order; nothing if it finds the input valid."""
    try:
        required = input_schema(task_type)["required"] if isinstance(raw, dict) else []
        found = [
            _field_error(name, "required", f"{name} is missing.", None, task_type)
            for name in required
            if name not in raw
        ]
        found += [
            field_error
            for error in _validator(task_type).iter_errors(_cut(raw))
            if error.validator != "required"  # one error a field, which names the field in its message only
            for field_error in _explain(error, raw, task_type)
        ]
    except (RecursionError, ValueError):  # jsonschema writes the value out: too deep, or an integer of 4,301 digits
        found = [
            FieldError(
                path="$",
                rule="size",
                message="The input holds a value that is nested too deep or a number that is too long.",
                hint=f"For example: {_example(task_type)}",
            )
        ]
    errors = list({error.path: error for error in reversed(found)}.values())  # the first of each field says enough
    order = [*_properties(task_type), "$"]
    errors.sort(key=lambda e: order.index(e.path) if e.path in order else len(order))
    if len(errors) > LIST_LIMIT:
        more = len(errors) - LIST_LIMIT + 1
        summary = FieldError(
            path="$", rule="and_more", message=f"{more} more violations", hint="Correct the listed ones first."
        )
        return [*errors[: LIST_LIMIT - 1], summary]
    return errors


def _id_warnings(ids: Iterable[tuple[str, Any, str]]) -> list[str]:
    """Of ids that may have lost digits on the way.

    Args:
        ids: The name of each, as it came, and parsed.
    """
    return [
        f"{name} came as a number of 2^53 or more ({parsed}): JavaScript, the engine's UI included, may have changed "
        "its last digits. Write it as a string of digits."
        for name, raw, parsed in ids
        if not isinstance(raw, str) and int(parsed) >= EXACT_IN_JAVASCRIPT
    ]


def input_warnings(raw: dict[str, Any], parsed: TaskInput) -> list[str]:
    """What is allowed by the documentation, but probably not meant.

    Args:
        raw: The input as it came, to see which ids were numbers.
        parsed: The same input, parsed.
    """
    if isinstance(parsed, ListTargetsInput):
        return _id_warnings([("office", raw["office"], parsed.office)] if parsed.office else ())
    if isinstance(parsed, ListCustomIvrsInput):
        return _id_warnings([("target_id", raw["target_id"], parsed.target_id)])
    expected = zip(raw.get("if_selected") or (), parsed.if_selected or (), strict=True)
    warnings = _id_warnings(
        [
            *((name, raw[name], getattr(parsed, name)) for name in ("target_id", "ivr_id")),
            *(("if_selected", raw_id, parsed_id) for raw_id, parsed_id in expected),
        ]
    )
    slot = (parsed.target_type, parsed.ivr_type)
    if parsed.select_option and slot != SELECT_OPTION_APPLIES_TO:
        warnings.append(
            "select_option is documented for call center auto recording only "
            f"(target_type {SELECT_OPTION_APPLIES_TO[0]}, ivr_type {SELECT_OPTION_APPLIES_TO[1]}); "
            "elsewhere it may have no meaning."
        )
    usual = USUAL_TARGET_OF.get(parsed.ivr_type)
    if usual and usual != parsed.target_type:
        warnings.append(f"{parsed.ivr_type} is described for target_type {usual}, not for {parsed.target_type}.")
    return warnings


@cache
def _validator(task_type: str | None) -> Draft202012Validator:
    """The validator of a task's input; without a task, that of one id."""
    # Only the first invalid input needs it: a worker that never sees one saves 3 MB, and starts sooner.
    from jsonschema import Draft202012Validator  # noqa: PLC0415

    return Draft202012Validator(ID_SCHEMA if task_type is None else input_schema(task_type))


def _cut(raw: Any) -> Any:
    """The input with lists that break a limit as they would with one item too many: jsonschema looks at all of them."""
    if not isinstance(raw, dict):
        return raw
    return {name: v[: EXPECTED_LIMIT + 1] if isinstance(v, list) else v for name, v in raw.items()}


def _properties(task_type: str) -> dict[str, Any]:
    properties: dict[str, Any] = input_schema(task_type)["properties"]
    return properties


def _explain(error: ValidationError, raw: Any, task_type: str) -> Iterable[FieldError]:
    """One error of jsonschema as field errors."""
    if error.validator == "additionalProperties":
        known = list(input_fields(task_type))
        for key in raw:
            if key not in _properties(task_type):
                yield FieldError(
                    path=short(str(key)),
                    rule="additionalProperties",
                    message=f"Unknown key {_show(key)}.",
                    allowed=known,
                    suggestion=next(iter(difflib.get_close_matches(short(str(key)), known, n=1)), None),
                    hint="Rename the key or remove it.",
                )
    elif not error.path:
        yield FieldError(
            path="$",
            rule=str(error.validator),
            message=f"The input must be a JSON object, not {_show(raw)}.",
            hint=f"For example: {_example(task_type)}",
        )
    else:
        name = str(error.path[0])
        rule, message, fix = _violation(name, raw, str(error.validator))
        yield _field_error(name, rule, message, raw[name], task_type, fix)


def _field_error(name: str, rule: str, message: str, value: Any, task_type: str, fix: str | None = None) -> FieldError:
    schema = _properties(task_type)[name]
    allowed = choices(schema)
    # Only of an enum: a wrong credential may be a key, and the cache of suggestions must not hold it.
    # Nor of a documented value: that something has no list does not make it another thing.
    near = allowed and isinstance(value, str) and not _has_no_list(name, value)
    return FieldError(
        path=name,
        rule=rule,
        message=message,
        hint=fix or _hint(name, schema),
        suggestion=_suggestion(name, _plain(value.strip()[:_SHOWN]), task_type) if near else None,
        allowed=allowed,
    )


def _violation(name: str, raw: Mapping[str, Any], rule: str) -> tuple[str, str, str | None]:
    """The rule that a field's value breaks, what is wrong with it, and how to fix it if the hint does not say so."""
    value = raw[name]
    if name == "credential":  # whatever stands there may be a key: it is not repeated
        return "pattern", "credential is not the name of a credential profile.", None
    if name == "if_selected":
        return _list_violation(name, value, raw)
    if name.endswith("_id"):
        problem, fix = id_problem(name, value, raw)
        return "int64", f"{name} is {_show(value)}: {problem}.", fix
    if _has_no_list(name, value):
        return rule, f'{name} is "{value}": Dialpad documents no list of these.', _WITHOUT_A_LIST
    if name in _SHAPES:
        return "pattern", f"{name} is {_show(value)}: {_SHAPES[name][0]}.", None
    if not isinstance(value, str):
        problem = "a value is needed" if value is None else "not a text"
    elif rule == "maxLength":
        problem = "longer than a name can be"
    else:
        problem = "not one of the documented values" if value else "a value is needed"
    return rule, f"{name} is {_show(value)}: {problem}.", None


def _list_violation(name: str, value: Any, raw: Mapping[str, Any]) -> tuple[str, str, str | None]:
    """The same of a list of ids; of several wrong ones, the first."""
    if not isinstance(value, list):
        return "type", f"{name} is {_show(value)}: not a list of ids.", None
    if len(value) > EXPECTED_LIMIT:
        return "maxItems", f"{name} holds {len(value)} ids: at most {EXPECTED_LIMIT} are allowed.", None
    position, wrong = next((i, item) for i, item in enumerate(value) if not _validator(None).is_valid(item))
    problem, fix = id_problem(name, wrong, raw)
    return "int64", f"{name}[{position}] is {_show(wrong)}: {problem}.", fix


def _has_no_list(name: str, value: Any) -> bool:
    """Whether a value that is refused is a documented type of targets, which only `list_targets` refuses."""
    return name == "target_type" and isinstance(value, str) and value in TARGET_TYPES


_WITHOUT_A_LIST = "Use their ids: set_custom_ivr and list_custom_ivrs take them as target_id."

# Fields that are neither ids nor choices: what is wrong with any other value, and what is allowed.
_SHAPES = {
    "office": (
        "neither an office's id nor a name",
        f"An office's id or name, of at most {NAME_LIMIT} characters",
    ),
    "number": ("not a phone number", "Digits, with a + before the country's code; spaces and ().- between them"),
    "email": ("not an email address", "An address of a user"),
}

_ID_HINT = f"A whole number from 1 to {INT64_MAX}, as a number or as a string of digits"


def _hint(name: str, schema: dict[str, Any]) -> str:
    """What is allowed for a field, with an example."""
    listed = choices(schema)
    if listed:
        what = f"One of {len(listed)} documented values"
    else:
        what = {
            **{field: allowed for field, (_, allowed) in _SHAPES.items()},
            "if_selected": f"A list of ids, [] for none selected; each {_ID_HINT[0].lower()}{_ID_HINT[1:]}",
            "name": f"A text of at most {schema.get('maxLength')} characters",
            "credential": "Lower-case letters, digits and _, at most 32; a profile's name, never a key",
        }.get(name, _ID_HINT)
    return f"{what}, e.g. {json.dumps(schema['examples'][0])}."


def alternatives(suggestion: str | None, allowed: Sequence[str], most: int | None = None) -> str:
    """The sentence that offers what is allowed: the suggestion alone, else the list; empty where there is neither.

    Args:
        suggestion: The near miss of a `FieldError`.
        allowed: Its documented values or known keys.
        most: How many of them are listed; `None`: all.
    """
    if suggestion is not None:
        return f'Did you mean "{suggestion}"?'
    if not allowed:
        return ""
    more = f" and {len(allowed) - most} more" if most is not None and len(allowed) > most else ""
    return f"Allowed: {', '.join(allowed[:most])}{more}."


def advice(hint: str, suggestion: str | None, allowed: Sequence[str]) -> str:
    """What to do about a violation, in one line: the suggestion alone, else what is allowed, or where that list is."""
    if suggestion is None and len(allowed) > _MOST_LISTED:
        return f"{hint} List them with: dialpad-ivr schema"
    offer = alternatives(suggestion, allowed)
    return offer if suggestion is not None else f"{hint} {offer}".rstrip()


def _plain(text: str) -> str:
    """Without what people get wrong first: case, spaces, dashes and underscores."""
    return "".join(c for c in text.lower() if c.isalnum())


@lru_cache(maxsize=1024)  # a file of changes may repeat one slip in thousands of rows
def _suggestion(name: str, plain: str, task_type: str) -> str | None:
    allowed = {_plain(choice): choice for choice in choices(_properties(task_type)[name])}
    near = [plain] if plain in allowed else difflib.get_close_matches(plain, allowed, n=1)
    return allowed[near[0]] if near else None


def example_input(task_type: str = TASK_TYPE) -> dict[str, str]:
    """A complete example: every required field with the schema's own example, in plan mode if there are modes."""
    properties = _properties(task_type)
    examples = {name: properties[name]["examples"][0] for name in input_schema(task_type)["required"]}
    return {**examples, "mode": "plan"} if "mode" in properties else examples


def _example(task_type: str) -> str:
    return json.dumps(example_input(task_type))


def _show(value: Any) -> str:
    """A wrong value as it may appear in a message: short, in JSON's words."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f'"{short(value)}"'
        case dict():
            return "an object"
        case list():
            return "a list"
        case int() if abs(value) > 10**_SHOWN:
            return "a huge number"
        case _:
            return short(str(value))


def short(text: str) -> str:
    """A text from outside as it may appear in a message: cut, and without characters that steer a terminal."""
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:_SHOWN])
    return printable + "..." if len(text) > _SHOWN else printable
