"""Validation of files of changes: values, names, conflicts between rows, limits, grouped violations."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from dialpad_ivr.cli.render import show_violations
from dialpad_ivr.contract.validation import short
from dialpad_ivr.contract.values import INT64_MAX, IVR_TYPES, SELECT_OPTIONS, TARGET_TYPES
from dialpad_ivr.provisioning.changes import (
    MAX_BYTES,
    MAX_ROWS,
    Changes,
    ChangesError,
    Violation,
    group_violations,
    read_changes,
)
from support.bench import KEY

HEADER = "target_type,target_id,ivr_type,ivr_id,select_option,credential"
SLOT = {"target_type": "callcenter", "target_id": "5502522061422592", "ivr_type": "HOLD_MUSIC"}
ROW = {**SLOT, "ivr_id": "5127493019721728"}


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def from_text(text: str | bytes, suffix: str = ".csv") -> Changes:
        path = tmp_path / f"changes{suffix}"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_changes(path)

    return from_text


def table(*rows: str, header: str = HEADER) -> str:
    return "\r\n".join([header, *rows, ""])


def rows_of(changes: Changes) -> list[tuple[int, dict[str, Any]]]:
    assert not changes.violations
    return [(change.line, change.params.model_dump(exclude_defaults=True)) for change in changes.changes]


def where(changes: Changes) -> list[tuple[int, str]]:
    return [(violation.line, violation.path) for violation in changes.violations]


def only(changes: Changes) -> Violation:
    (violation,) = changes.violations
    return violation


PLAIN = table("callcenter,5502522061422592,HOLD_MUSIC,5127493019721728,,")


@pytest.mark.parametrize(
    ("suffix", "content", "line"),
    [
        (".csv", PLAIN, 2),
        (".CSV", PLAIN.replace("\r\n", "\n"), 2),
        (".csv", PLAIN.replace("\r\n", "\r"), 2),
        (".csv", PLAIN.replace(",", ";"), 2),
        (".tsv", PLAIN.replace(",", "\t"), 2),
        (".txt", PLAIN.replace(",", "\t").encode("utf-16"), 2),
        (".csv", b"\xfe\xff" + PLAIN.encode("utf-16-be"), 2),
        (".csv", "\ufeff" + PLAIN, 2),
        (".csv", "sep=;\r\n" + PLAIN.replace(",", ";"), 3),
        (".csv", "\r\n,,,,,\r\n" + PLAIN.replace("callcenter", "\r\n,,,,,\r\n , \r\ncallcenter"), 7),
        (".csv", "\r\n".join(line + ",,," for line in PLAIN.split("\r\n")), 2),
        (".csv", PLAIN.replace("target_type,target_id", "Target Type, TARGET-ID "), 2),
        (".csv", PLAIN.replace("target_id", '"Target\nID"'), 3),
        (".csv", PLAIN.replace(",", ";").replace("target_type", '"Target\nType"'), 3),
        (".csv", PLAIN.replace("callcenter,5502522061422592", '  callcenter\u00a0,"\n5502522061422592 "'), 2),
        (".csv", PLAIN.replace("5502522061422592", '="5502522061422592"'), 2),
        (".csv", PLAIN.replace("5502522061422592", '"=""5502522061422592"""'), 2),
        (".csv", "ivr_id,ivr_type,target_id,target_type\n" + ",".join(reversed([*SLOT.values(), ROW["ivr_id"]])), 2),
        (".json", json.dumps([ROW]), 1),
        (".json", "\n" + json.dumps({"changes": [ROW]}, indent=1), 4),
        (".json", json.dumps([{**ROW, "target_id": 5502522061422592, "credential": None, "select_option": ""}]), 1),
        (
            ".json",
            '[\t{"target_type": "call\\u0063enter", ' + json.dumps(ROW)[len('{"target_type": "callcenter", ') :] + "]",
            1,
        ),
        (".json", "\ufeff" + json.dumps([ROW]), 1),
        (".yaml", yaml.safe_dump([ROW]), 1),
        (".yml", "# changes\n---\nchanges:\n" + yaml.safe_dump([ROW]), 4),
        (".yaml", json.dumps([ROW]), 1),
        (".yaml", yaml.safe_dump([ROW]).replace("'", "").encode("utf-16"), 1),
        (".yaml", yaml.safe_dump([{**ROW, "credential": None}]), 1),
        (".yaml", yaml.safe_dump([ROW]).replace("ivr_type: HOLD", "credential: ~\n  ivr_type: &t !!str HOLD"), 1),
    ],
)
def test_equivalent_files_yield_the_same_change(read: Any, suffix: str, content: str | bytes, line: int) -> None:
    assert rows_of(read(content, suffix)) == [(line, ROW)]


def test_line_numbers_count_quoted_line_breaks(read: Any) -> None:
    text = table('callcenter,"1\n\n",HOLD_MUSIC,5,,', "user,2,GREETING,5,,", "", "user,3,GREETING,5,inbound,emea")
    assert rows_of(read(text)) == [
        (2, {**SLOT, "target_id": "1", "ivr_id": "5"}),
        (5, {"target_type": "user", "target_id": "2", "ivr_type": "GREETING", "ivr_id": "5"}),
        (7, {"target_type": "user", "target_id": "3", "ivr_type": "GREETING", "ivr_id": "5"}
            | {"select_option": "inbound", "credential": "emea"}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("suffix", "text", "lines"),
    [
        (".json", '[\n\n  {"target_id": "x [{\\n,"},\n 5, {\n"ivr_id": {"a": [{}]}}\n]', (3, 4, 4)),
        (".json", '{"changes":\n[{"target_id": "x"},\n5,{}]}', (2, 3, 3)),
        (".yaml", "-\n\n  target_id: |\n    x\n\n- 5\n\n- ivr_id: {a: [{}]}\n", (3, 6, 8)),
        (".yaml", "- &a {target_id: x}\n- *a\n# so\n- {\n}\n", (1, 2, 4)),
    ],
)
def test_json_and_yaml_rows_have_the_line_where_they_begin(
    read: Any, suffix: str, text: str, lines: tuple[int, int, int]
) -> None:
    first, second, third = lines
    every = ["target_type", "target_id", "ivr_type", "ivr_id"]
    assert where(read(text, suffix)) == [
        *((first, path) for path in every),
        (second, "$"),
        *((third, path) for path in every),
    ]


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


@pytest.mark.parametrize(
    "value", ["5.50252E+15", "5.50252e15", "5502522061422592.0", "1e2", "NaN", "-Infinity", "-5", "0"]
)
def test_json_number_that_is_not_an_id_is_a_violation(read: Any, value: str) -> None:
    text = json.dumps([ROW]).replace('"5502522061422592"', value)
    assert where(read(text, ".json")) == [(1, "target_id")]


@pytest.mark.parametrize("digits", [25, 5000])
def test_json_number_with_very_many_digits_is_a_violation(read: Any, digits: int) -> None:
    text = json.dumps([ROW]).replace('"5502522061422592"', "1" * digits)
    assert where(read(text, ".json")) == [(1, "target_id")]


@pytest.mark.parametrize(
    "value", ["017", "0o17", "0x1F", "1_000", "1:30", "5.5e+15", "+5", "1.0", ".inf", "2026-11-01", "yes"]
)
def test_yaml_id_that_is_not_digits_only_is_a_violation(read: Any, value: str) -> None:
    text = yaml.safe_dump([ROW]).replace("'5502522061422592'", value)
    assert where(read(text, ".yaml")) == [(1, "target_id")]


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
    ("header", "found"),
    [
        ("target_type,target_id,ivr_type,ivr_id,mode", [("mode", "Unknown")]),
        ("target_type,target_id,ivr_type,ivr_id,__index", [("_index", "Unknown")]),
        ("target_type,target_id,ivr_type,ivr_id,ivr_id", [("ivr_id", "twice")]),
        ("target_type,targetid,ivr_type,ivr_id,credential", [("targetid", "Unknown"), ("target_id", "missing")]),
        ("target_type,,ivr_type,ivr_id,credential", [("", "Unknown"), ("target_id", "missing")]),
    ],
)
def test_unknown_duplicate_or_missing_column_is_one_violation_of_the_header(
    read: Any, header: str, found: list[tuple[str, str]]
) -> None:
    rows = [f"callcenter,{n},HOLD_MUSIC,5,a" for n in range(1, 4)]
    changes = read(table(*rows, header=header).replace(",a", ",5" if header.endswith("ivr_id") else ",a"))
    assert [(v.line, v.path) for v in changes.violations] == [(1, path) for path, _ in found]
    assert all(word in v.message for v, (_, word) in zip(changes.violations, found, strict=True))


def test_rows_are_validated_despite_an_unknown_column(read: Any) -> None:
    changes = read(table("callcenter,x,HOLD_MUSIC,y", header="target_type,target_id,ivr_type,ivr"))
    assert where(changes) == [(1, "ivr"), (1, "ivr_id"), (2, "target_id")]
    assert changes.violations[0].suggestion == "ivr_id"


def test_missing_header_shows_an_example_without_echoing_values(read: Any) -> None:
    violation = only(read(f"callcenter,1,HOLD_MUSIC,2,inbound,{KEY}\n"))
    assert (violation.line, "target_type,target_id,ivr_type,ivr_id" in violation.hint) == (1, True)
    assert KEY not in str(violation)


@pytest.mark.parametrize(
    ("row", "cells"), [("callcenter,1,HOLD_MUSIC,5", 4), ("callcenter,1,HOLD_MUSIC,5,inbound,default,x", 7)]
)
def test_row_with_the_wrong_number_of_cells_is_a_violation_and_others_are_read(read: Any, row: str, cells: int) -> None:
    changes = read(table(row, "callcenter,1,HOLD_MUSIC,5,,"))
    assert f"{cells} cells, but the header has 6" in only(changes).message
    assert (where(changes), [change.line for change in changes.changes]) == ([(2, "$")], [3])


@pytest.mark.parametrize("bad", ['"callcenter"x,1,HOLD_MUSIC,5,,', '"' + "x" * 200_000 + '",1,HOLD_MUSIC,5,,'])
def test_malformed_quotes_in_a_row_do_not_hide_later_rows(read: Any, bad: str) -> None:
    changes = read(table(bad, "callcenter,1,HOLD_MUSIC,5,,", "callcenter,2,HOLD_MUSIC,x,,"))
    assert where(changes) == [(2, "$"), (4, "ivr_id")]
    assert [change.line for change in changes.changes] == [3]


def test_unclosed_quote_is_reported_at_the_line_where_its_row_begins(read: Any) -> None:
    changes = read(table("callcenter,1,HOLD_MUSIC,5,,", '"callcenter,2,HOLD_MUSIC,5,,', "callcenter,3,HOLD_MUSIC,5,,"))
    assert (where(changes), 'Close every opening "' in only(changes).hint) == ([(3, "$")], True)


@pytest.mark.parametrize("text", ['"target_type,target_id\n1,2\n', "x" * 200_000 + ",target_id\n1,2\n"])
def test_malformed_header_is_the_only_violation(read: Any, text: str) -> None:
    assert where(read(text)) == [(1, "$")]


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


def test_misspelt_key_has_a_suggestion(read: Any) -> None:
    first, _ = read(json.dumps([{**SLOT, "IVR_ID": 5}]), ".json").violations
    assert first.suggestion == "ivr_id"
    assert "mode" not in first.allowed


@pytest.mark.parametrize(
    ("suffix", "text", "found"),
    [
        (".json", '{"change": %s}', [(1, "change"), None]),
        (".json", '{"changes": %s, "changes": []}', [(1, "changes")]),
        (".yaml", "\nchanges: %s\nchanges: []", [(2, "changes")]),
        (".yaml", "\nnotes: [a, {b: c}]\nchanges: %s", [(2, "notes")]),
    ],
)
def test_unknown_or_duplicate_top_level_key_is_a_violation(read: Any, suffix: str, text: str, found: list[Any]) -> None:
    changes = read(text % json.dumps([ROW]), suffix)
    assert where(changes) == [place for place in found if place]
    assert len(changes.changes) == (0 if None in found else 1)


def test_yaml_alias_of_a_scalar_is_resolved(read: Any) -> None:
    text = (
        "- {target_type: &t callcenter, target_id: 1, ivr_type: HOLD_MUSIC, ivr_id: &holiday 5}\n"
        "- {target_type: *t, target_id: 2, ivr_type: HOLD_MUSIC, ivr_id: *holiday}\n"
    )
    assert rows_of(read(text, ".yaml")) == [
        (line, {**SLOT, "target_id": str(line), "ivr_id": "5"}) for line in (1, 2)
    ]  # fmt: skip


def test_yaml_merge_key_is_refused_with_a_hint(read: Any) -> None:
    changes = read("- &a {target_type: callcenter}\n- {<<: *a, target_id: 5}\n", ".yaml")
    assert "Write the fields out" in next(v for v in changes.violations if v.path == "<<").hint


@pytest.mark.parametrize(
    "text",
    [
        "- &a ["
        + "x," * 9
        + "]\n"
        + "".join(f"- &{b} [{f'*{a},' * 9}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "- &a {" + ",".join(f"k{n}: 1" for n in range(50_000)) + "}\n" + "- *a\n" * 20_000,
        "- &a " + "9" * 1_000_000 + "\n" + "- {target_id: *a, ivr_id: *a}\n" * 9_000,
        "[" * 100_000,
        "- {target_id: " + "[" * 100_000,
    ],
    ids=["lists of lists", "a wide row again and again", "a long value again and again", "deep", "deep in a row"],
)
def test_yaml_bomb_is_rejected_in_bounded_time(read: Any, text: str) -> None:
    started_at = time.monotonic()
    with contextlib.suppress(ChangesError):  # an equally good rejection
        assert read(text, ".yaml").violations
    assert time.monotonic() - started_at < 30


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


def test_row_with_very_many_keys_is_one_violation(read: Any) -> None:
    row = ROW | {f"k{n}": 1 for n in range(1000)}
    assert "1,004 names" in only(read(json.dumps([row]), ".json")).message


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
        (".json", '[\n{"target_type": callcenter}]', "line 2, column 17"),
        (".json", "[{},]", "not valid JSON: line 1"),
        (".json", "[{}] x", "not valid JSON: line 1, column 6"),
        (".json", "[" * 200_000, "nested too deeply"),
        (".json", '["\t"]', "not valid JSON"),
        (".yaml", "- target_type: callcenter\n\ttarget_id: 5", "line 2, column 1"),
        (".yaml", "- a: 1\n  b", "not valid YAML: line"),
        (".yaml", "- a: \x07", "not valid YAML"),
        (".yaml", "- target_id: 1\n  ivr_id: *holiday", 'line 2: undefined anchor "holiday"'),
        (".yaml", "[]\n---\n[]", "several YAML documents"),
    ],
)
def test_unparsable_file_is_an_error_with_a_hint(read: Any, suffix: str, content: str | bytes, message: str) -> None:
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


@pytest.mark.parametrize(("suffix", "line"), [(".csv", MAX_ROWS + 2), (".json", MAX_ROWS + 1), (".yaml", MAX_ROWS + 1)])
def test_row_over_the_limit_is_reported_with_its_line(read: Any, suffix: str, line: int) -> None:
    violation = only(read(many(MAX_ROWS + 1, suffix), suffix))
    assert (violation.line, "more than 10,000 rows" in violation.message) == (line, True)


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


ids = st.integers(1, INT64_MAX).map(str)
good_rows = st.lists(
    st.fixed_dictionaries(
        {
            "target_type": st.sampled_from(TARGET_TYPES),
            "target_id": ids,
            "ivr_type": st.sampled_from(IVR_TYPES),
            "ivr_id": ids,
            "select_option": st.sampled_from(["", *SELECT_OPTIONS]),
            "credential": st.from_regex("[a-z0-9][a-z0-9_]{0,31}", fullmatch=True),
        }
    ),
    min_size=1,
    max_size=7,
    unique_by=lambda row: row["target_id"],
)


def as_csv(rows: list[dict[str, str]], dialect: str) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), dialect=dialect)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=good_rows)
def test_changes_round_trip_through_every_format(read: Any, rows: list[dict[str, str]]) -> None:
    numbers = [{name: int(value) if name.endswith("_id") else value for name, value in row.items()} for row in rows]
    written = [
        (as_csv(rows, "excel"), ".csv"),
        (as_csv(rows, "excel-tab"), ".tsv"),
        (as_csv(rows, "unix"), ".csv"),
        (json.dumps(rows), ".json"),
        (json.dumps({"changes": numbers}, indent=2), ".json"),
        (yaml.safe_dump(rows), ".yaml"),
        (yaml.safe_dump({"changes": numbers}), ".yaml"),
        (yaml.safe_dump(rows, default_flow_style=True), ".yml"),
    ]
    for text, suffix in written:
        changes = read(text, suffix)
        assert not changes.violations
        assert [change.params.model_dump() for change in changes.changes] == [
            {**row, "select_option": row["select_option"] or None, "if_selected": None, "mode": "apply"} for row in rows
        ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text() | st.binary(), suffix=st.sampled_from([".csv", ".json", ".yaml"]), header=st.booleans())
def test_arbitrary_file_yields_violations_or_changes_error(
    read: Any, text: str | bytes, suffix: str, header: bool
) -> None:
    data = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    with contextlib.suppress(ChangesError):
        assert read((HEADER.encode() + b"\n" if header else b"") + data, suffix).violations


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
    assert message == 'lines 2, 5-90 ivr_type: ivr_type is "hold music": not one of the documented values.'
    assert hint.strip() == 'Did you mean "HOLD_MUSIC"?'
    assert rest == ["87 validation errors. Nothing was read from Dialpad or changed."]


def test_single_validation_error_is_counted_in_the_singular(read: Any) -> None:
    shown = io.StringIO()
    show_violations(Console(file=shown, width=200), read("[{}]", ".json").violations[:1])
    assert shown.getvalue().splitlines()[-1] == "1 validation error. Nothing was read from Dialpad or changed."
