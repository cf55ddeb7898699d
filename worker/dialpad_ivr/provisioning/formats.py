"""Parsers for files of changes: from CSV, JSON or YAML text to rows of names and values, with line numbers.

Values are read as text, never as the format's numbers: spreadsheets, YAML 1.1 and JavaScript all silently alter some
ids.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import yaml

from dialpad_ivr.contract.validation import short
from dialpad_ivr.contract.values import LIST_LIMIT
from dialpad_ivr.provisioning.columns import COLUMNS, EXAMPLE, EXAMPLE_JSON, FIELDS, INSTEAD_OF, REQUIRED

_MAX_VALUE_LENGTH: Final = (
    1000  # characters; longer values are truncated, to bound the work. Valid ones are far shorter
)


@dataclass(frozen=True)
class Violation:
    """A validation error of a row or of the file, with a hint on how to fix it."""

    line: int  # 1-based, where the row begins
    path: str  # the field; $ for the row or the file
    message: str
    hint: str
    allowed: tuple[str, ...] = ()  # as in `FieldError`
    suggestion: str | None = None


class ChangesError(Exception):
    """The file cannot be parsed. The message says how to fix it."""


class Row(NamedTuple):
    """A row before validation: its name-value pairs, or why it could not be parsed."""

    line: int
    pairs: Iterable[tuple[Any, Any]]
    problem: Violation | None = None


def check_names(line: int, names: list[Any], allowed: tuple[str, ...]) -> Iterator[Violation]:
    """Report unknown and duplicate names among a row's fields, the file's top-level keys, or its columns."""
    if len(names) > LIST_LIMIT:
        message = f"{len(names):,} names are too many."
        yield Violation(line, "$", message, "Use only the known names.", allowed)
        return
    missing = [each for each in allowed if each not in names]
    seen = set()
    for name in ("?" if not isinstance(name, str) else name for name in names):
        if name in seen:
            yield Violation(line, short(name), f'"{short(name)}" occurs twice.', "Remove one of them.")
        elif name not in allowed:
            suggestion = _meant(short(name).lower(), missing)
            hint = "Rename it or remove it."
            if name == "<<":
                hint = "YAML merge keys are not supported. Write the fields out."
            yield Violation(line, short(name), f'Unknown name "{short(name)}".', hint, allowed, suggestion)
        seen.add(name)


def _meant(name: str, missing: list[str]) -> str | None:
    """The name that was perhaps meant, of those that are not there: "type" is short for one, "ivr_name" long."""
    if name == "name" and "target" in missing:
        return "target"
    if name in missing:
        return name
    near = [each for each in missing if each in name.split("_") or name in each.split("_")]
    return next(iter(near or difflib.get_close_matches(name, missing, n=1)), None)


def clean(value: Any) -> Any:
    """Trim and truncate a string; turn a JSON object (a tuple of pairs) into a dict, so that it is reported as one."""
    if isinstance(value, str):
        return value.strip()[:_MAX_VALUE_LENGTH]
    return {} if isinstance(value, tuple) else value


_FORMULA_TEXT: Final = re.compile('="([^"]*)"')  # makes a spreadsheet treat digits as text
# What a spreadsheet takes for a formula, also in full width. An apostrophe keeps a name from being one.
FORMULA_SIGNS: Final = "=+@\uff1d\uff0b\uff0d\uff20-"
_GUARDED_TEXT: Final = re.compile(f"'('*[{FORMULA_SIGNS}].*)", re.DOTALL)
_SEPARATOR_LINE: Final = re.compile("sep=.?[,;\t]*")  # Excel's delimiter hint


def delimited_rows(text: str, violations: list[Violation]) -> Iterator[Row]:
    """Rows of a delimited file. The delimiter is the one that yields the most known column names in the header."""
    lines = list(io.StringIO(text, newline=""))
    bare = (line.strip(' ,;\t\r\n"') for line in lines)
    start = next((n for n, line in enumerate(bare) if line and not _SEPARATOR_LINE.fullmatch(line)), len(lines))

    def columns(cells: list[str]) -> list[str]:
        return [re.sub(r"[\s_-]+", "_", cell.strip().lower()) for cell in cells]

    def known(delimiter: str) -> int:
        try:  # a quoted header cell may span lines, so pass several
            return len({*COLUMNS} & {*columns(next(csv.reader(lines[start : start + 20], delimiter=delimiter), []))})
        except csv.Error:
            return 0

    reader = csv.reader(lines[start:], delimiter=max(",;\t", key=known), strict=True)
    header: list[str] = []
    while True:
        line = start + reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as exc:
            message = f"Malformed quotes in the row that begins here ({exc})."
            hint = 'Close every opening ", and write "" for a quote inside a cell. Rows may have been skipped.'
            yield Row(line, (), Violation(line, "$", message, hint))
            if not header:  # the next row is not the header
                return
            continue
        if not any(cells):
            continue
        if not header:
            header = columns(cells)
            while not header[-1]:  # spreadsheets pad rows with empty cells
                header.pop()
            if not {*COLUMNS} & {*header}:  # do not echo the values: one may be an API key
                message = "The first row must be the header, but it has no known column name."
                violations.append(Violation(line, "$", message, f"For example: {EXAMPLE}"))
                return
            unknown = list(check_names(line, header, COLUMNS))
            violations += unknown
            meant = {violation.suggestion for violation in unknown}
            for name in REQUIRED:
                instead = INSTEAD_OF.get(name, ())
                if not {name, *instead} & {*header, *meant}:
                    message = f"The column {name} is missing."
                    names = f", or {instead[0]} with names" if instead else ""
                    violations.append(Violation(line, name, message, f"Add a column named {name}{names}."))
        elif len(cells) < len(header) or any(cells[len(header) :]):
            message = f"This row has {len(cells)} cells, but the header has {len(header)}."
            hint = 'Leave the cells of absent values empty, and put a cell that contains the separator in "quotes".'
            yield Row(line, (), Violation(line, "$", message, hint))
        else:
            values: dict[str, str] = {}
            for name, cell in zip(header, cells, strict=False):
                quoted = _FORMULA_TEXT.fullmatch(cell) or (name not in FIELDS and _GUARDED_TEXT.fullmatch(cell))
                if name in COLUMNS:  # unknown and duplicate columns are reported for the header
                    values.setdefault(name, quoted[1] if quoted else cell)
            yield Row(line, values.items())


_BETWEEN: Final = re.compile(r"[ \t\r\n,:]*")


def _json_rows(text: str, violations: list[Violation]) -> Iterator[Row]:
    # Objects become tuples of pairs, to preserve duplicate keys. Fractions, exponents and NaN become text, which no
    # field accepts: 5.5E+15 would pass as an integer. Integers are truncated well beyond int64.
    decoder = json.JSONDecoder(
        object_pairs_hook=tuple, parse_int=lambda text: int(text[:30]), parse_float=str, parse_constant=str
    )

    def items(start: int) -> Iterator[tuple[int, Any]]:
        """Elements of the list or object at `start` with their positions; keys and values alternate in an object."""
        at = _BETWEEN.match(text, start + 1).end()  # type: ignore[union-attr] # always matches
        while text[at] not in "]}":
            value, end = decoder.raw_decode(text, at)
            yield at, value
            at = _BETWEEN.match(text, end).end()  # type: ignore[union-attr]

    if not text.strip():
        return
    try:
        top = decoder.decode(text)  # validates the syntax, which the rest relies on
    except json.JSONDecodeError as exc:
        message = f"not valid JSON: line {exc.lineno}, column {exc.colno}: {exc.msg}."
        raise ChangesError(f"{message} Expected e.g. {EXAMPLE_JSON}") from exc
    except RecursionError as exc:
        raise ChangesError(f"nested too deeply. Expected e.g. {EXAMPLE_JSON}") from exc
    start = _BETWEEN.match(text).end()  # type: ignore[union-attr]
    lists = [start] if isinstance(top, list) else []
    if isinstance(top, tuple):
        violations += check_names(1 + text.count("\n", 0, start), [key for key, _ in top], ("changes",))
        members = list(items(start))
        lists = [
            at
            for (_, key), (at, _) in zip(members[::2], members[1::2], strict=True)
            if key == "changes" and text[at] == "["
        ]
    line, counted = 1, 0
    for at, value in (item for start in lists for item in items(start)):
        line, counted = line + text.count("\n", counted, at), at
        yield Row(line, value) if isinstance(value, tuple) else _not_a_row(line)


def _not_a_row(line: int) -> Row:
    message = "Not an object with the fields of a change."
    return Row(line, (), Violation(line, "$", message, f"For example: {EXAMPLE_JSON}"))


_YAML_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, where available
_YAML_NULLS: Final = ("", "~", "null", "Null", "NULL")


def _yaml_rows(text: str, violations: list[Violation]) -> Iterator[Row]:
    """Rows from YAML's events, which have line numbers and aliases, construct nothing, and preserve values as text.

    Not `yaml.compose`: libyaml's crashes on deep nesting, needs memory for the whole document (150 bytes per byte of a
    wide row), and rejects an anchor that is defined again.
    """
    events: Iterator[Any] = yaml.parse(text, Loader=_YAML_LOADER)
    anchors: dict[str, Any] = {}
    try:
        yield from _yaml_document(events, anchors, violations)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f": line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(exc, "problem", None) or "it has characters that YAML does not allow"
        raise ChangesError(f"not valid YAML{where}: {problem}. Expected e.g. {EXAMPLE_JSON}") from exc
    except RecursionError as exc:
        raise ChangesError(f"nested too deeply. Expected e.g. {EXAMPLE_JSON}") from exc


def _yaml_document(events: Iterator[Any], anchors: dict[str, Any], violations: list[Violation]) -> Iterator[Row]:
    next(events)  # the stream's start
    if isinstance(next(events), yaml.StreamEndEvent):
        return  # only comments
    top = next(events)
    if isinstance(top, yaml.SequenceStartEvent):
        yield from _yaml_list(events, anchors)
    elif isinstance(top, yaml.MappingStartEvent):
        keys = []
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            keys.append(_yaml_value(event, events, anchors))
            event = next(events)
            if keys[-1] == "changes" and isinstance(event, yaml.SequenceStartEvent):
                yield from _yaml_list(events, anchors)
            else:
                _yaml_value(event, events, anchors)
        violations += check_names(_line(top), keys, ("changes",))
    next(events)  # the document's end
    if not isinstance(next(events), yaml.StreamEndEvent):
        raise ChangesError("several YAML documents (---) in one file. Merge them into one list of changes.")


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _yaml_list(events: Iterator[Any], anchors: dict[str, Any]) -> Iterator[Row]:
    while not isinstance(event := next(events), yaml.SequenceEndEvent):
        line = _line(event)
        if isinstance(event, yaml.MappingStartEvent):
            pairs = []
            while not isinstance(key := next(events), yaml.MappingEndEvent):
                pairs.append((_yaml_value(key, events, anchors), _yaml_value(next(events), events, anchors)))
            if event.anchor:
                anchors[event.anchor] = {}
            yield Row(line, pairs)
        else:
            _yaml_value(event, events, anchors)
            yield _not_a_row(line)


def _yaml_value(event: Any, events: Iterator[Any], anchors: dict[str, Any]) -> Any:
    """A scalar as text or `None`; an empty list or dict for a collection, whose events are skipped.

    An alias resolves to at most one scalar, so aliases cannot expand.
    """
    if isinstance(event, yaml.AliasEvent):
        if event.anchor not in anchors:
            name = short(str(event.anchor))
            raise ChangesError(f'not valid YAML: line {_line(event)}: undefined anchor "{name}".')
        return anchors[event.anchor]
    value: Any = [] if isinstance(event, yaml.SequenceStartEvent) else {}
    if isinstance(event, yaml.ScalarEvent):
        plain = event.implicit[0]
        value = None if plain and event.value in _YAML_NULLS else event.value.strip()[:_MAX_VALUE_LENGTH]
    else:
        end = yaml.SequenceEndEvent if isinstance(event, yaml.SequenceStartEvent) else yaml.MappingEndEvent
        while not isinstance(inner := next(events), end):
            _yaml_value(inner, events, anchors)
    if event.anchor:
        anchors[event.anchor] = value
    return value


READERS: Final[dict[str, Callable[[str, list[Violation]], Iterator[Row]]]] = {
    ".csv": delimited_rows,
    ".tsv": delimited_rows,
    ".txt": delimited_rows,  # Excel's "Unicode Text"
    ".json": _json_rows,
    ".yaml": _yaml_rows,
    ".yml": _yaml_rows,
}
