"""The list of mutants that survive: it must not outlive the code that it is about."""

from __future__ import annotations

import pytest

from tools.mutants import ACCEPTED, MODULES, PACKAGE, accepted


def test_the_list_is_of_modules_that_are_mutated() -> None:
    assert set(accepted()) <= set(MODULES)
    assert sum(mutants.total() for mutants in accepted().values()) == ACCEPTED.read_text("utf-8").count("\n@@ ")


@pytest.mark.parametrize("module", MODULES)
def test_each_listed_mutant_changes_lines_that_are_there(module: str) -> None:
    lines = {line.strip() for line in (PACKAGE / module).read_text("utf-8").splitlines()}
    changed = [
        line.removeprefix("- ")
        for mutant in accepted().get(module, ())
        for line in mutant.split("\n")
        if line.startswith("- ")
    ]
    assert [line for line in changed if line not in lines] == []
