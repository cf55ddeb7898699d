"""The command `workflow test`, as far as it needs no engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.invoke import Invoke


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is no workflow definition"),
        ('{"name": "set_custom_ivr", "retryCount": 3}', "needs a name and a list of tasks"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_is_no_definition_is_reported(
    invoke: Invoke, tmp_path: Path, text: str | None, message: str
) -> None:
    file = tmp_path / "flow.json"
    if text is not None:
        file.write_text(text, "utf-8")
    assert message in invoke("workflow", "test", file, code=2).all


def test_an_unknown_outcome_is_reported_with_those_that_there_are(invoke: Invoke) -> None:
    shown = invoke("workflow", "test", "flow.json", "--outcome", "gone", code=2).all
    assert "no outcome gone. Use one of updated, unchanged" in shown


def test_mocks_that_are_no_json_are_reported(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "flow.json").write_text('{"name": "flow", "tasks": []}', "utf-8")
    assert "--mocks" in invoke("workflow", "test", tmp_path / "flow.json", "--mocks", "{", code=2).all


def test_the_group_lists_its_commands(invoke: Invoke) -> None:
    assert "which branch of a workflow definition each outcome takes" in invoke("workflow", "--help").all
