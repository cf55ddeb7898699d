"""Parsing of CSV, JSON and YAML files of changes: separators, lines, headers, quotes, malformed files."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialpad_ivr.contract.values import INT64_MAX, IVR_TYPES, SELECT_OPTIONS, TARGET_TYPES
from dialpad_ivr.provisioning.changes import (
    ChangesError,
)
from support.bench import KEY
from support.changes import HEADER, PLAIN, ROW, SLOT, only, rows_of, table, where


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


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("target_type,target_id,ivr_type,ivr_id,mode", [("mode", "Unknown")]),
        ("target_type,target_id,ivr_type,ivr_id,__index", [("_index", "Unknown")]),
        ("target_type,target_id,ivr_type,ivr_id,ivr_id", [("ivr_id", "twice")]),
        ("target_type,targetid,ivr_type,ivr_id,credential", [("targetid", "Unknown")]),
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
    changes = read(table("callcenter,x,HOLD_MUSIC,y", header="target_type,target_id,ivr_type,ivrid"))
    assert where(changes) == [(1, "ivrid"), (2, "target_id")]
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


def test_a_part_of_a_column_s_name_suggests_the_column_that_is_not_there(read: Any) -> None:
    found = read("type,name,ivr_type,ivr_name\ncallcenter,Support,CLOSED,Sales\n").violations
    meant = {"type": "target_type", "name": "target", "ivr_name": "ivr"}
    assert {violation.path: violation.suggestion for violation in found} == meant


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


@pytest.mark.long
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


def test_row_with_very_many_keys_is_one_violation(read: Any) -> None:
    row = ROW | {f"k{n}": 1 for n in range(1000)}
    assert "1,004 names" in only(read(json.dumps([row]), ".json")).message


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [
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
def test_file_that_is_not_well_formed_is_an_error_with_its_place(
    read: Any, suffix: str, content: str, message: str
) -> None:
    with pytest.raises(ChangesError) as caught:
        read(content, suffix)
    assert message in str(caught.value)
    assert f"changes{suffix}: " in str(caught.value)


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
