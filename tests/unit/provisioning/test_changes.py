"""Validation of files of changes: values, names, conflicts between rows, limits, grouped violations."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dialpad_ivr.cli.render import show_violations
from dialpad_ivr.contract.validation import short
from dialpad_ivr.provisioning.changes import MAX_BYTES, MAX_ROWS, ChangesError, group_violations, read_changes
from support.bench import KEY
from support.changes import HEADER, PLAIN, ROW, only, rows_of, table, where

DAMAGED = [
    ("5.50252E+15", "scientific notation"),
    ("5,50252E+15", "scientific notation"),
    ("5502522e9", "scientific notation"),
    ("5,502,522", "thousands separators"),
    ("5.502.522", "thousands separators"),
    ("5 502 522", "thousands separators"),
    ("5\u202f502\u202f522", "thousands separators"),
    ("5_502_522", "thousands separators"),
    ("5502522061422592.0", "decimals"),
    ("5502522061422592,00", "decimals"),
    ("'5502522061422592", "apostrophe"),
]


@pytest.mark.parametrize("name", ["target_id", "ivr_id"])
@pytest.mark.parametrize(("value", "damage"), DAMAGED)
def test_id_damaged_by_a_spreadsheet_names_the_damage(read: Any, name: str, value: str, damage: str) -> None:
    quoted = json.dumps({**ROW, name: value})
    for content, suffix in ((f"[{quoted}]", ".json"), (PLAIN.replace(ROW[name], f'"{value}"'), ".csv")):
        violation = only(read(content, suffix))
        assert (violation.path, damage in violation.message, short(value) in violation.message) == (name, True, True)
        assert "text" in violation.hint or "Delete the apostrophe" in violation.hint


def test_numeric_credential_in_json_is_a_violation(read: Any) -> None:
    assert where(read(json.dumps([{**ROW, "credential": 5}]), ".json")) == [(1, "credential")]


def numbered(values: list[int]) -> str:
    return table(*(f"callcenter,{value},HOLD_MUSIC,5127493019721728,," for value in values))


def test_ids_rounded_to_15_digits_are_a_violation(read: Any) -> None:
    changes = read(numbered([5502522061422590 + 10 * n for n in range(8)]))
    assert where(changes) == [(2, "target_id")]
    assert "15 digits" in changes.violations[0].message


@pytest.mark.parametrize(
    "values",
    [
        [5502522061422590 + 10 * n for n in range(7)],  # may be chance
        [5502522061422592, *(5502522061422590 + 10 * n for n in range(20))],
        [10 * n for n in range(1, 20)],  # nothing to round
    ],
)
def test_ids_that_may_end_in_zeros_by_chance_are_valid(read: Any, values: list[int]) -> None:
    assert len(rows_of(read(numbered(values)))) == len(values)


@pytest.mark.parametrize(
    ("name", "value", "suggestion"),
    [
        ("ivr_type", "holdmusic", "HOLD_MUSIC"),
        ("ivr_type", "Hold_Music", "HOLD_MUSIC"),
        ("ivr_type", "Hold Musik", "HOLD_MUSIC"),
        ("target_type", "Call Center", "callcenter"),
        ("target_type", "call-centre", "callcenter"),
        ("select_option", "Inbound", "inbound"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".json", ".yaml"])
def test_misspelt_enum_value_is_a_violation_with_a_suggestion(
    read: Any, name: str, value: str, suggestion: str, suffix: str
) -> None:
    row = {**ROW, name: value}
    text = f"{','.join(row)}\n{','.join(row.values())}" if suffix == ".csv" else json.dumps([row])
    violation = only(read(text, suffix))
    assert (violation.path, violation.suggestion) == (name, suggestion)


@pytest.mark.parametrize(
    ("suffix", "text", "found"),
    [
        (".json", '{"target_id": 5, "target_id": 5, "Target_Type": 1, "mode": "apply", "__index": 0}',
         ["target_id", "Target_Type", "mode", "__index", "target_type", "ivr_type", "ivr_id"]),
        (".yaml", "{target_id: 5, target_id: 5, Target_Type: 1, mode: apply, [a]: 0}",
         ["target_id", "Target_Type", "mode", "?", "target_type", "ivr_type", "ivr_id"]),
        (".json", "5", ["$"]),
        (".yaml", "5", ["$"]),
        (".json", "[]", ["$"]),
        (".yaml", "[[a]]", ["$"]),
        (".json", '{"target_type": true, "target_id": false, "ivr_type": [], "ivr_id": {"a": 1}}',
         ["target_type", "target_id", "ivr_type", "ivr_id"]),
    ],
)  # fmt: skip
def test_every_violation_of_a_row_is_reported(read: Any, suffix: str, text: str, found: list[str]) -> None:
    assert where(read(f"[{text}]", suffix)) == [(1, path) for path in found]


INBOUND = {**ROW, "target_id": "7", "ivr_type": "AUTO_RECORDING", "select_option": "inbound"}


BOTH = {**INBOUND, "select_option": None}


OTHER = {"ivr_id": "9"}


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([ROW, ROW], [(2, "$", 1)]),
        ([ROW, {**ROW, "credential": "default"}], [(2, "$", 1)]),
        ([ROW, {**ROW, "target_id": 5502522061422592}], [(2, "$", 1)]),
        ([ROW, ROW | OTHER], [(2, "ivr_id", 1)]),
        ([ROW, ROW | OTHER, ROW | OTHER], [(2, "ivr_id", 1), (3, "ivr_id", 1)]),
        ([ROW, {**ROW, "credential": "emea"}], [(2, "credential", 1)]),
        ([ROW, {**ROW, **OTHER, "credential": "emea"}], [(2, "ivr_id", 1), (2, "credential", 1)]),
        ([INBOUND, {**INBOUND, **OTHER, "select_option": "outbound"}], []),
        ([INBOUND, BOTH | OTHER], [(2, "ivr_id", 1)]),
        ([BOTH | OTHER, INBOUND], [(2, "ivr_id", 1)]),
        ([BOTH, INBOUND], [(2, "$", 1)]),
        ([INBOUND, {**INBOUND, **OTHER, "select_option": "outbound"}, BOTH], [(3, "ivr_id", 2)]),
        ([ROW, {**ROW, **OTHER, "target_id": "1"}, {**ROW, **OTHER, "target_type": "user"}, ROW | OTHER],
         [(4, "ivr_id", 1)]),
        ([ROW, {**ROW, **OTHER, "credential": "NO NAME"}], [(2, "credential", None), (2, "ivr_id", 1)]),
        ([{**ROW, "credential": "NO NAME"}, ROW], [(1, "credential", None), (2, "$", 1)]),
        ([{**ROW, "colour": "red"}, ROW | OTHER], [(1, "colour", None), (2, "ivr_id", 1)]),
        ([ROW, {**BOTH, "ivr_type": "HOLD_MUSIC", "target_id": ROW["target_id"], "select_option": "IN"}],
         [(2, "select_option", None)]),
    ],
)  # fmt: skip
def test_second_row_for_a_slot_is_a_violation(
    read: Any, rows: list[dict[str, Any]], found: list[tuple[int, str, int | None]]
) -> None:
    changes = read("[" + ",\n".join(map(json.dumps, rows)) + "]", ".json")
    assert where(changes) == [(line, path) for line, path, _ in found]
    for violation, (_, _, earlier) in zip(changes.violations, found, strict=True):
        assert earlier is None or f"ine {earlier} " in violation.message
    assert [change.line for change in changes.changes] == [
        line for line in range(1, len(rows) + 1) if line not in {line for line, _, _ in found}
    ]


@pytest.mark.parametrize("credential", [KEY, KEY.lower().replace("-", "_")])  # the second is a valid name
@pytest.mark.parametrize("suffix", [".csv", ".json", ".yaml"])
def test_api_key_pasted_as_credential_is_never_echoed(read: Any, credential: str, suffix: str) -> None:
    rows = [
        {**ROW, "credential": "emea"},
        {**ROW, **OTHER, "credential": credential},
        {**ROW, "credential": credential},
    ]
    lines = [",".join(row.values()) for row in rows]
    text = table(*lines, header=",".join(rows[0])) if suffix == ".csv" else json.dumps(rows)
    changes = read(text, suffix)
    assert [path for _, path in where(changes)].count("credential") == 2
    assert credential not in str(changes.violations)


def test_messages_truncate_values_and_escape_control_characters(read: Any) -> None:
    changes = read(json.dumps([{**ROW, "target_id": "\x1b[31m" + "9" * 5000, "\x1b\ud800" + "k" * 5000: 1}]), ".json")
    assert len(changes.violations) == 2
    for violation in changes.violations:
        assert len(violation.message) < 200
        assert violation.message.isprintable()


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".csv", ""), (".csv", "\ufeff\r\n ,, \r\n"), (".csv", HEADER), (".csv", HEADER + "\n,,,,,\n"),
        (".json", " \n"), (".json", "[]"), (".json", '{"changes": []}'), (".json", '{"changes": null}'),
        (".json", "5"), (".json", "{}"), (".yaml", ""), (".yaml", "# later"), (".yaml", "changes:"),
        (".yaml", "---\n[]"), (".yaml", "x"),
    ],
)  # fmt: skip
def test_file_without_changes_shows_an_example(read: Any, suffix: str, text: str) -> None:
    violation = only(read(text, suffix))
    assert (violation.line, violation.path, violation.message) == (1, "$", "The file has no changes.")
    assert "5502522061422592" in violation.hint


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [
        (".xlsx", b"PK\x03\x04", "save as"),
        ("", PLAIN, "must end in .csv"),
        (".csv", b"PK\x03\x04\x00", "an Excel workbook"),
        (".csv", PLAIN.replace("callcenter", "caf\u00e9").encode("cp1252"), "not text in UTF-8 (line 2)"),
        (".csv", PLAIN.encode("utf-16-le"), "byte order mark"),
        (".csv", b"\xff\xfe\x00", "not text in UTF-8"),
    ],
)
def test_file_that_is_not_text_is_an_error_with_a_hint(
    read: Any, suffix: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(ChangesError) as caught:
        read(content, suffix)
    assert message in str(caught.value)
    assert f"changes{suffix}: " in str(caught.value)


def test_missing_file_and_directory_have_different_errors(tmp_path: Path) -> None:
    with pytest.raises(ChangesError, match="No such file"):
        read_changes(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ChangesError, match="Is a directory"):
        read_changes(tmp_path / "folder.csv")


@pytest.mark.long
def test_file_over_20_mb_is_an_error(read: Any) -> None:
    full = (PLAIN + (" " * 99 + "\n") * (MAX_BYTES // 100))[:MAX_BYTES]
    assert rows_of(read(full)) == [(2, ROW)]
    with pytest.raises(ChangesError, match="larger than 20 MB"):
        read(full + "\n")


def many(count: int, suffix: str, **changed: str) -> str:
    rows = [{**ROW, "target_id": str(5502522061422592 + n), **changed} for n in range(count)]
    if suffix == ".csv":
        return "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)])
    lines = [json.dumps(row) for row in rows]
    return "[" + ",\n".join(lines) + "]" if suffix == ".json" else "\n".join(f"- {line}" for line in lines)


@pytest.mark.parametrize(
    ("suffix", "line"),
    [
        (".csv", MAX_ROWS + 2),
        (".json", MAX_ROWS + 1),
        pytest.param(".yaml", MAX_ROWS + 1, marks=pytest.mark.long),
    ],
)
@pytest.mark.long
def test_row_over_the_limit_is_reported_with_its_line(read: Any, suffix: str, line: int) -> None:
    violation = only(read(many(MAX_ROWS + 1, suffix), suffix))
    assert (violation.line, "more than 10,000 rows" in violation.message) == (line, True)


@pytest.mark.long
@pytest.mark.parametrize("changed", [{}, {"ivr_type": "holdmusic", "target_type": "Call Center", "colour": "red"}])
@pytest.mark.parametrize("suffix", [".csv", ".json", ".yaml"])
def test_longest_file_is_read_within_seconds(read: Any, suffix: str, changed: dict[str, str]) -> None:
    text = many(MAX_ROWS, suffix, **changed)
    started_at = time.process_time()
    changes = read(text, suffix)
    seconds = time.process_time() - started_at
    print(f"{suffix} {'bad' if changed else 'good'}: {seconds:.2f} s")
    assert len(changes.changes) == (0 if changed else MAX_ROWS)
    assert seconds < 15  # about 2 on an idle machine


def test_same_violation_in_many_rows_is_one_group_with_its_lines(read: Any) -> None:
    rows = [f"callcenter,{n},{'hold music' if n == 2 or n > 4 else 'HOLD_MUSIC'},5" for n in range(2, 91)]
    rows.append("callcenter,x,HOLD_MUSIC,5")
    changes = read(table(*rows, header="target_type,target_id,ivr_type,ivr_id"))
    assert len(changes.violations) == 88
    first, second = group_violations(changes.violations)
    assert (first.violation.path, first.violation.suggestion) == ("ivr_type", "HOLD_MUSIC")
    assert first.lines == (2, *range(5, 91))
    assert (second.violation.path, second.lines) == ("target_id", (91,))


def test_violations_that_differ_in_the_value_are_not_grouped(read: Any) -> None:
    rows = ["callcenter,x,HOLD_MUSIC,5", "callcenter,y,HOLD_MUSIC,5"]
    changes = read(table(*rows, header="target_type,target_id,ivr_type,ivr_id"))
    assert [group.lines for group in group_violations(changes.violations)] == [(2,), (3,)]


def test_terminal_shows_grouped_violations_in_two_lines_and_a_suggestion_without_the_list(read: Any) -> None:
    rows = [f"callcenter,{n},{'hold music' if n == 2 or n > 4 else 'HOLD_MUSIC'},5" for n in range(2, 91)]
    changes = read(table(*rows, header="target_type,target_id,ivr_type,ivr_id"))
    shown = io.StringIO()
    show_violations(Console(file=shown, width=200), changes.violations)
    message, hint, *rest = shown.getvalue().splitlines()
    assert message == 'lines 2, 5-90: ivr_type is "hold music": not one of the documented values.'
    assert hint.strip() == 'Did you mean "HOLD_MUSIC"?'
    assert rest == ["87 validation errors. Nothing was read from Dialpad or changed."]


def test_single_validation_error_is_counted_in_the_singular(read: Any) -> None:
    shown = io.StringIO()
    show_violations(Console(file=shown, width=200), read("[{}]", ".json").violations[:1])
    assert shown.getvalue().splitlines()[-1] == "1 validation error. Nothing was read from Dialpad or changed."
