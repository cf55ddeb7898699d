"""Violations and warnings of task inputs."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from dialpad_ivr.contract import validation
from dialpad_ivr.contract.inputs import ListCustomIvrsInput, ListTargetsInput, SetCustomIvrInput
from dialpad_ivr.contract.outputs import FieldError
from dialpad_ivr.contract.validation import advice, alternatives, check_input, example_input, input_warnings, short
from dialpad_ivr.contract.values import INT64_MAX, IVR_TYPES, LIST_LIMIT, TARGET_TYPES
from support.bench import VALID


def violations(raw: Any) -> dict[str, FieldError]:
    result = check_input(raw, SetCustomIvrInput)
    assert isinstance(result, list)
    return {error.path: error for error in result}


def parsed(raw: Any) -> SetCustomIvrInput:
    result = check_input(raw, SetCustomIvrInput)
    assert isinstance(result, SetCustomIvrInput), result
    return result


def test_empty_input_reports_every_required_field_with_its_allowed_values_and_an_example() -> None:
    found = violations({})
    assert list(found) == ["target_type", "target_id", "ivr_type", "ivr_id"]
    assert found["target_type"].allowed == list(TARGET_TYPES)
    assert found["ivr_type"].allowed == list(IVR_TYPES)
    assert found["target_id"].allowed == found["ivr_id"].allowed == []
    assert {error.suggestion for error in found.values()} == {None}
    assert 'e.g. "5502522061422592"' in found["target_id"].hint
    assert {error.rule for error in found.values()} == {"required"}


def test_every_violation_is_reported_at_once() -> None:
    raw = {**VALID, "target_type": "room2", "target_id": -1, "ivr_id": "x", "mode": "go", "colour": 1}
    assert list(violations(raw)) == ["target_type", "target_id", "ivr_id", "mode", "colour"]


@pytest.mark.parametrize(
    ("field", "value", "suggestion"),
    [
        ("target_type", "CallCenter", "callcenter"),
        ("ivr_type", "hold_music", "HOLD_MUSIC"),
        ("ivr_type", "HOLD_MUSICS", "HOLD_MUSIC"),
        ("ivr_type", "holdmusic", "HOLD_MUSIC"),
        ("ivr_type", " Hold - Musik ", "HOLD_MUSIC"),
        ("target_type", "CALL CENTRE", "callcenter"),
        ("select_option", "Inbound", "inbound"),
    ],
)
def test_near_miss_has_a_suggestion(field: str, value: str, suggestion: str) -> None:
    error = violations({**VALID, field: value})[field]
    assert (error.rule, error.suggestion, suggestion in error.allowed) == ("enum", suggestion, True)
    assert advice(error.hint, error.suggestion, error.allowed) == f'Did you mean "{suggestion}"?'


def test_value_far_from_every_allowed_one_has_no_suggestion_and_says_where_the_list_is() -> None:
    error = violations({**VALID, "ivr_type": "zzz"})["ivr_type"]
    assert (error.suggestion, error.allowed) == (None, list(IVR_TYPES))
    said = 'One of 67 documented values, e.g. "HOLD_MUSIC". List them with: dialpad-ivr schema'
    assert advice(error.hint, error.suggestion, error.allowed) == said
    assert alternatives(error.suggestion, error.allowed, 2) == (
        "Allowed: ASK_FIRST_OPERATOR_NOT_AVAILABLE, AUTO_RECORDING and 65 more."
    )
    error = violations({**VALID, "target_type": "zzz"})["target_type"]
    assert ", ".join(error.allowed) in advice(error.hint, error.suggestion, error.allowed)


@pytest.mark.parametrize("raw", [{}, {**VALID, "ivr_type": "zzz", "target_type": "hold_music", "mode": 1, "zzz": 1}])
def test_message_and_hint_never_enumerate_the_allowed_values(raw: Any) -> None:
    for error in violations(raw).values():
        named = [value for value in error.allowed if f"{value}" in f"{error.message} {error.hint}".split('"')]
        assert len(named) <= 1, error


def test_unknown_key_has_a_suggestion_and_the_known_keys() -> None:
    error = violations({**VALID, "ivrid": 5})["ivrid"]
    assert (error.rule, error.suggestion) == ("additionalProperties", "ivr_id")
    assert error.allowed == [name for name in SetCustomIvrInput.model_fields if name != "fork_index"]


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (None, "an id is needed"),
        ("", "an id is needed"),
        (True, "not a number or a string of digits"),
        ([1], "not a number or a string of digits"),
        (1.5, "not a whole number"),
        (0, "ids start at 1"),
        (-7, "ids start at 1"),
        (2**63, f"too large: the largest id is {INT64_MAX}"),
        (str(2**63), f"too large: the largest id is {INT64_MAX}"),
        ("0", "ids start at 1"),
        ("000", "ids start at 1"),
        ("007", "leading zeros are not allowed"),
        ("1/../../users/2", "a string must hold digits only"),
        ("12\n", "blanks around it"),
        ("x", "a string must hold digits only"),
        ("https://dialpad.com/callcenters/12", "a string must hold digits only"),
        ("\u0661\u0662", "a string must hold digits only"),
    ],
)
def test_invalid_id_message_names_the_cause(value: Any, cause: str) -> None:
    error = violations({**VALID, "target_id": value})["target_id"]
    assert cause in error.message
    assert error.rule == "int64"


@pytest.mark.parametrize(
    ("value", "problem", "fix"),
    [
        ("5.50252E+15", "scientific notation", "format the column as text"),
        ("5,502,522,061,422,592", "thousands separators", "format the column as text"),
        ("5502522061422592.0", "decimals", "format the column as text"),
        ("'5502522061422592", "apostrophe", "Delete the apostrophe"),
        (" 5502522061422592", "blanks", "Delete the blanks"),
    ],
)
@pytest.mark.parametrize("field", ["target_id", "ivr_id", "if_selected"])
def test_an_id_that_a_spreadsheet_damaged_names_the_damage_and_its_fix(
    field: str, value: str, problem: str, fix: str
) -> None:
    error = violations({**VALID, field: [value] if field == "if_selected" else value})[field]
    assert problem in error.message
    assert fix in error.hint


@pytest.mark.parametrize("value", ["Summer hold music", "Caf\u00e9 24", "12 Main St.", "Bob's"])
def test_a_name_in_place_of_an_id_is_told_with_what_finds_the_id(value: str) -> None:
    found = violations({**VALID, "target_id": value, "ivr_id": value, "if_selected": [value]})
    assert all("a name" in error.message for error in found.values())
    _, _, command = found["target_id"].hint.partition(": ")
    assert shlex.split(command) == ["dialpad-ivr", "targets", "callcenter", "--name", value]
    for field in ("ivr_id", "if_selected"):
        assert "dialpad-ivr run list_custom_ivrs_test_request" in found[field].hint
        assert '"target_id": "TARGET_ID"' in found[field].hint


def test_the_command_that_finds_an_ivr_names_the_target_unless_that_is_wrong_too() -> None:
    valid = {"target_type": "department", "target_id": 77}
    assert (
        f"--input '{json.dumps({**valid, 'target_id': '77'})}'"
        in violations({**VALID, **valid, "ivr_id": "Tom"})["ivr_id"].hint
    )
    hostile = {"target_type": "x'; rm -rf ~ #", "target_id": "7'"}
    assert "rm" not in violations({**VALID, **hostile, "ivr_id": "Tom"})["ivr_id"].hint


@pytest.mark.parametrize(
    ("value", "rule", "message"),
    [
        ("5127493019721729", "type", 'if_selected is "5127493019721729": not a list of ids.'),
        ({"id": 1}, "type", "if_selected is an object: not a list of ids."),
        (list(range(1, 12)), "maxItems", "if_selected holds 11 ids: at most 10 are allowed."),
        (["1", "x", 0], "int64", 'if_selected[1] is "x": a string must hold digits only.'),
        (["1", None], "int64", "if_selected[1] is null: an id is needed."),
        (["1"] * 9 + [0], "int64", "if_selected[9] is 0: ids start at 1."),
        ([[]], "int64", "if_selected[0] is a list: not a number or a string of digits."),
    ],
)
def test_invalid_if_selected_names_rule_and_position(value: Any, rule: str, message: str) -> None:
    error = violations({**VALID, "if_selected": value})["if_selected"]
    assert (error.rule, error.message) == (rule, message)
    assert 'e.g. ["5127493019721729"]' in error.hint


@pytest.mark.parametrize(("value", "expected"), [(None, None), ("", None), ([], ()), ([7, "8", 9.0], ("7", "8", "9"))])
def test_empty_if_selected_differs_from_absent_if_selected(value: Any, expected: Any) -> None:
    assert parsed({**VALID, "if_selected": value}).if_selected == expected


def test_list_custom_ivrs_violations_name_its_own_fields() -> None:
    raw = {"target_type": "office", "target_id": 1, "name": "x" * 201, "ivr_id": "1", "ivr_type": "menu"}
    found = check_input(raw, ListCustomIvrsInput)
    assert isinstance(found, list)
    assert [(error.path, error.rule) for error in found] == [
        ("ivr_type", "enum"),
        ("name", "maxLength"),
        ("ivr_id", "additionalProperties"),
    ]
    assert found[0].suggestion == "MENU"
    assert "at most 200 characters" in found[1].hint
    assert found[2].allowed == ["target_type", "target_id", "ivr_type", "name", "credential"]


@pytest.mark.parametrize(
    ("field", "value", "message", "hint"),
    [
        (
            "office",
            True,
            "office is true: neither an office's id nor a name.",
            'An office\'s id or name, of at most 200 characters, e.g. "Head office".',
        ),
        (
            "number",
            "x",
            'number is "x": not a phone number.',
            'Digits, with a + before the country\'s code; spaces and ().- between them, e.g. "+14155551000".',
        ),
        ("email", "x", 'email is "x": not an email address.', 'An address of a user, e.g. "robin@example.com".'),
    ],
)
def test_a_field_that_is_neither_an_id_nor_a_choice_says_what_it_takes(
    field: str, value: Any, message: str, hint: str
) -> None:
    found = check_input({"target_type": "user", field: value}, ListTargetsInput)
    assert found == [FieldError(path=field, rule="pattern", message=message, hint=hint)]


@pytest.mark.parametrize("field", ["office", "number", "email"])
@pytest.mark.parametrize("blank", [None, ""])
def test_a_blank_field_of_a_list_of_targets_counts_as_absent(field: str, blank: Any) -> None:
    found = check_input({"target_type": "user", field: blank}, ListTargetsInput)
    assert found == ListTargetsInput(target_type="user")


@pytest.mark.parametrize(
    ("target_type", "problem", "suggestion", "hint"),
    [
        (
            "coachinggroup",
            "Dialpad documents no list of these.",
            None,
            "Use their ids: set_custom_ivr and list_custom_ivrs take them as target_id.",
        ),
        ("userr", "not one of the documented values.", "user", 'One of 8 documented values, e.g. "callcenter".'),
    ],
)
def test_documented_targets_without_a_list_are_told_from_a_slip(
    target_type: str, problem: str, suggestion: str | None, hint: str
) -> None:
    error = FieldError(
        path="target_type",
        rule="enum",
        message=f'target_type is "{target_type}": {problem}',
        allowed=[name for name in TARGET_TYPES if name not in ("coachinggroup", "staffgroup", "unknown")],
        suggestion=suggestion,
        hint=hint,
    )
    assert check_input({"target_type": target_type}, ListTargetsInput) == [error]


def test_numeric_and_string_ids_are_equal() -> None:
    assert parsed({**VALID, "target_id": 5502522061422592}) == parsed(VALID)
    assert parsed({**VALID, "target_id": 5502522061422592.0}) == parsed(VALID)


@pytest.mark.parametrize("blank", [None, ""])
def test_blank_optional_field_counts_as_absent(blank: Any) -> None:
    result = parsed({**VALID, "select_option": blank, "credential": blank, "mode": blank})
    assert (result.select_option, result.credential, result.mode) == (None, "default", "apply")


def test_fork_index_of_the_engine_is_allowed() -> None:
    assert parsed({**VALID, "__index": 3}) == parsed({**VALID, "__index": 3})


def test_invalid_credential_is_never_echoed() -> None:
    error = violations({**VALID, "credential": "SECRET-KEY-123"})["credential"]
    assert "SECRET" not in error.model_dump_json()


EXAMPLE = f"For example: {json.dumps({**VALID, 'mode': 'plan'})}"
ID_HINT = f"hole number from 1 to {INT64_MAX}, as a number or as a string of digits"
HINTS = {
    "target_type": 'One of 11 documented values, e.g. "callcenter".',
    "target_id": f'A w{ID_HINT}, e.g. "5502522061422592".',
    "ivr_type": 'One of 67 documented values, e.g. "HOLD_MUSIC".',
    "ivr_id": f'A w{ID_HINT}, e.g. "5127493019721728".',
    "if_selected": f'A list of ids, [] for none selected; each a w{ID_HINT}, e.g. ["5127493019721729"].',
    "credential": ('Lower-case letters, digits and _, at most 32; a profile\'s name, never a key, e.g. "default".'),
    "mode": 'One of 3 documented values, e.g. "plan".',
    "name": 'A text of at most 200 characters, e.g. "New hold music".',
}


@pytest.mark.parametrize(
    ("field", "value", "rule", "message"),
    [
        ("target_type", 5, "enum", "target_type is 5: not a text."),
        ("target_type", None, "enum", "target_type is null: a value is needed."),
        ("target_type", [1], "enum", "target_type is a list: not a text."),
        ("ivr_type", {"a": 1}, "enum", "ivr_type is an object: not a text."),
        ("ivr_type", False, "enum", "ivr_type is false: not a text."),
        ("ivr_type", "", "enum", 'ivr_type is "": a value is needed.'),
        ("ivr_type", "zzz", "enum", 'ivr_type is "zzz": not one of the documented values.'),
        ("mode", "go", "enum", 'mode is "go": not one of the documented values.'),
        ("credential", "A B", "pattern", "credential is not the name of a credential profile."),
        ("target_id", 1.5, "int64", "target_id is 1.5: not a whole number."),
        ("ivr_id", 10**60, "int64", f"ivr_id is {10**60}...: too large: the largest id is {INT64_MAX}."),
        ("ivr_id", 10**60 + 1, "int64", f"ivr_id is a huge number: too large: the largest id is {INT64_MAX}."),
        ("ivr_id", -(10**61), "int64", "ivr_id is a huge number: ids start at 1."),
        ("if_selected", 5, "type", "if_selected is 5: not a list of ids."),
    ],
)
def test_a_violation_names_the_field_its_value_the_rule_and_what_is_allowed(
    field: str, value: Any, rule: str, message: str
) -> None:
    error = violations({**VALID, field: value})[field]
    shown = message.replace(f"{10**60}...", f"{str(10**60)[:60]}...")
    assert (error.rule, error.message, error.hint) == (rule, shown, HINTS[field])


@pytest.mark.parametrize(
    ("name", "rule", "message"),
    [
        (5, "type", "name is 5: not a text."),
        ("x" * 201, "maxLength", f'name is "{"x" * 60}...": longer than a name can be.'),
    ],
)
def test_a_name_that_no_ivr_can_have_is_a_violation(name: Any, rule: str, message: str) -> None:
    found = check_input({"target_type": "office", "target_id": 1, "name": name}, ListCustomIvrsInput)
    assert found == [FieldError(path="name", rule=rule, message=message, hint=HINTS["name"])]


def test_a_missing_field_has_its_hint() -> None:
    for name, error in violations({}).items():
        assert (error.message, error.hint) == (f"{name} is missing.", HINTS[name])


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (None, "null"),
        ([1], "a list"),
        (5, "5"),
        (True, "true"),
        ("x" * 60, f'"{"x" * 60}"'),
        ("x" * 61, f'"{"x" * 60}..."'),
    ],
)
def test_an_input_that_is_no_object_is_answered_with_an_example(raw: Any, what: str) -> None:
    error = FieldError(path="$", rule="type", message=f"The input must be a JSON object, not {what}.", hint=EXAMPLE)
    assert check_input(raw, SetCustomIvrInput) == [error]


def test_an_example_is_one_of_the_task_that_was_meant() -> None:
    found = check_input(None, ListCustomIvrsInput)
    assert isinstance(found, list)
    assert found[0].hint == 'For example: {"target_type": "callcenter", "target_id": "5502522061422592"}'


def test_an_unknown_key_is_told_with_the_nearest_known_one() -> None:
    known = [name for name in SetCustomIvrInput.model_fields if name != "fork_index"]
    hint = "Rename the key or remove it."
    assert violations({**VALID, "ivrid": 5, "\x1bq" + "x" * 99: 1}) == {
        "ivrid": FieldError(
            path="ivrid",
            rule="additionalProperties",
            message='Unknown key "ivrid".',
            allowed=known,
            suggestion="ivr_id",
            hint=hint,
        ),
        f"\N{REPLACEMENT CHARACTER}q{'x' * 58}...": FieldError(
            path=f"\N{REPLACEMENT CHARACTER}q{'x' * 58}...",
            rule="additionalProperties",
            message=f'Unknown key "\N{REPLACEMENT CHARACTER}q{"x" * 58}...".',
            allowed=known,
            hint=hint,
        ),
    }


def test_more_keys_than_can_be_explained_are_one_violation() -> None:
    error = FieldError(path="$", rule="maxProperties", message="The input has 1,001 keys, far too many.", hint=EXAMPLE)
    assert check_input({f"key{i}": i for i in range(1001)}, SetCustomIvrInput) == [error]
    assert len(violations({f"key{i}": i for i in range(1000)})) == LIST_LIMIT


def test_what_only_the_model_refuses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should model and schema ever disagree."""
    monkeypatch.setattr(validation, "_violations", lambda *_: [])
    hint = "See the input schema: dialpad-ivr schema."

    def refused(path: str, rule: str, message: str) -> FieldError:
        return FieldError(path=path, rule=rule, message=message, hint=hint)

    assert check_input({**VALID, "if_selected": ["1", 0], "colour": 1}, SetCustomIvrInput) == [
        refused("if_selected.1", "value_error", "Value error, not a whole number from 1 to 922337203685477580..."),
        refused("colour", "extra_forbidden", "Extra inputs are not permitted"),
    ]
    assert check_input(None, SetCustomIvrInput) == [
        refused("$", "model_type", "Input should be a valid dictionary or instance of SetCustomI...")
    ]


def test_a_value_nested_too_deep_is_one_violation() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    message = "The input holds a value that is nested too deep or a number that is too long."
    assert check_input({**VALID, "ivr_id": deep}, SetCustomIvrInput) == [
        FieldError(path="$", rule="size", message=message, hint=EXAMPLE)
    ]


def test_as_many_violations_as_the_list_holds_are_all_listed() -> None:
    def last(count: int) -> FieldError:
        found = check_input({**VALID, **{f"key{i}": i for i in range(count)}}, SetCustomIvrInput)
        assert isinstance(found, list)
        assert len(found) == LIST_LIMIT
        return found[-1]

    assert last(LIST_LIMIT).rule == "additionalProperties"
    assert last(LIST_LIMIT + 1) == FieldError(
        path="$", rule="and_more", message="2 more violations", hint="Correct the listed ones first."
    )


def test_the_longest_list_of_expected_ids_is_valid() -> None:
    ids = [str(number) for number in range(1, 11)]
    assert parsed({**VALID, "if_selected": ids}).if_selected == tuple(ids)


def test_what_is_allowed_is_offered_in_one_sentence() -> None:
    assert alternatives("b", ["a", "b"]) == 'Did you mean "b"?'
    assert alternatives(None, []) == ""
    assert alternatives(None, ["a", "b"]) == "Allowed: a, b."
    assert alternatives(None, ["a", "b"], 2) == "Allowed: a, b."
    assert alternatives(None, ["a", "b", "c"], 2) == "Allowed: a, b and 1 more."
    assert advice("Write one.", None, []) == "Write one."
    assert advice("Write one.", None, ["a"]) == "Write one. Allowed: a."
    assert advice("Write one.", "a", ["a"]) == 'Did you mean "a"?'
    assert advice("Write one.", None, ["a"] * 20).endswith(" a, a.")
    assert advice("Write one.", None, ["a"] * 21) == "Write one. List them with: dialpad-ivr schema"


def test_a_text_from_outside_is_cut_and_steers_no_terminal() -> None:
    assert short("x" * 60) == "x" * 60
    assert short("x" * 61) == "x" * 60 + "..."
    assert short("a\x1b[0m\u202e") == "a\N{REPLACEMENT CHARACTER}[0m\N{REPLACEMENT CHARACTER}"


def test_violations_over_the_limit_are_counted() -> None:
    found = check_input({f"key{i}": i for i in range(500)}, SetCustomIvrInput)
    assert isinstance(found, list)
    assert len(found) == LIST_LIMIT
    assert (found[-1].rule, found[-1].message) == ("and_more", "455 more violations")


def test_huge_value_is_truncated_and_printable_in_the_message() -> None:
    error = violations({**VALID, "ivr_type": "\x1b[31m" + "x" * 1_000_000})["ivr_type"]
    assert len(error.message) < 200
    assert "\x1b" not in error.message


def test_example_input_is_valid_in_plan_mode() -> None:
    assert parsed(example_input()).mode == "plan"


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"select_option": "inbound"}, "call center auto recording only"),
        ({"ivr_type": "VM_DROP_MESSAGE"}, "described for target_type user"),
        ({"ivr_id": 2**53}, "2^53 or more"),
        ({"if_selected": ["1", 2**53 + 2]}, "if_selected came as a number of 2^53 or more"),
    ],
)
def test_suspicious_but_valid_input_is_a_warning(change: dict[str, Any], warning: str) -> None:
    raw = {**VALID, **change}
    (found,) = input_warnings(raw, parsed(raw))
    assert warning in found


LOST_DIGITS = (
    "{} came as a number of 2^53 or more ({}): JavaScript, the engine's UI included, may have changed its last digits. "
    "Write it as a string of digits."
)


NO_DIRECTIONS = (
    "select_option is documented for call center auto recording only (target_type callcenter, "
    "ivr_type AUTO_RECORDING); elsewhere it may have no meaning."
)


@pytest.mark.parametrize(
    ("change", "warnings"),
    [
        ({"target_id": 2**53 - 1, "ivr_id": str(2**53)}, []),
        (
            {"target_id": 2**53, "ivr_id": 2**53 + 2},
            [LOST_DIGITS.format("target_id", 2**53), LOST_DIGITS.format("ivr_id", 2**53 + 2)],
        ),
        ({"if_selected": [1, 2**53]}, [LOST_DIGITS.format("if_selected", 2**53)]),
        ({"if_selected": None}, []),
        (
            {"target_type": "office", "ivr_type": "AUTO_RECORDING", "select_option": "inbound"},
            [NO_DIRECTIONS, "AUTO_RECORDING is described for target_type callcenter, not for office."],
        ),
        ({"select_option": "inbound"}, [NO_DIRECTIONS]),
        ({"ivr_type": "VM_DROP_MESSAGE"}, ["VM_DROP_MESSAGE is described for target_type user, not for callcenter."]),
        ({"ivr_type": "VM_DROP_MESSAGE", "target_type": "user"}, []),
    ],
)
def test_what_is_probably_not_meant_is_a_warning_each(change: dict[str, Any], warnings: list[str]) -> None:
    raw = {**VALID, **change}
    assert input_warnings(raw, parsed(raw)) == warnings


def test_the_ids_of_a_list_are_warned_of_too() -> None:
    raw = {"target_type": "office", "target_id": 2**53}
    listed = check_input(raw, ListCustomIvrsInput)
    assert isinstance(listed, ListCustomIvrsInput)
    assert input_warnings(raw, listed) == [LOST_DIGITS.format("target_id", 2**53)]


@pytest.mark.parametrize(
    ("office", "warnings"),
    [
        (2**53, [LOST_DIGITS.format("office", 2**53)]),
        (float(2**53), [LOST_DIGITS.format("office", 2**53)]),
        (2**53 - 1, []),
        (str(2**53), []),
        ("Head office", []),
        (None, []),
    ],
)
def test_the_id_of_an_office_is_warned_of_too(office: Any, warnings: list[str]) -> None:
    raw = {"target_type": "user", "office": office}
    listed = check_input(raw, ListTargetsInput)
    assert isinstance(listed, ListTargetsInput)
    assert input_warnings(raw, listed) == warnings


def test_call_center_auto_recording_with_select_option_has_no_warning() -> None:
    raw = {**VALID, "ivr_type": "AUTO_RECORDING", "select_option": "outbound"}
    assert input_warnings(raw, parsed(raw)) == []
