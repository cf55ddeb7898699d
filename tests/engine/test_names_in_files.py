"""A file with names only, from its plan over its application and its check to the rollback, on the real engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dialpad_ivr.provisioning.plan import read_plan
from dialpad_ivr.testing.double import DoubleControl
from support.command import Command
from support.fixtures import StartWorker
from support.provisioning import UNPACED

NAMES = """\
target_type,target,office,number,email,ivr_type,ivr
callcenter,Support,Head office,,,HOLD_MUSIC,Summer hold music
callcenter,Hot*,,,,HOLD_MUSIC,summer hold music
department,Sales,Berlin,,,DEPARTMENT_INTRO,Welcome to Sales
user,,,,robin@example.com,VM_DROP_MESSAGE,Sorry I missed you
office,,,+1 415 555 1001,,MENU,"Main menu, new"
"""
SLOTS = [
    ("callcenter", "5502522061422592", "HOLD_MUSIC"),
    ("callcenter", "5502522061422611", "HOLD_MUSIC"),
    ("callcenter", "5502522061422631", "HOLD_MUSIC"),
    ("department", "5502522061422613", "DEPARTMENT_INTRO"),
    ("office", "5502522061422602", "MENU"),
    ("user", "5502522061422603", "VM_DROP_MESSAGE"),
]


def test_names_go_from_plan_to_apply_to_check_to_rollback(
    command: Command, double: DoubleControl, start_worker: StartWorker, tmp_path: Path
) -> None:
    def selected() -> list[str | None]:
        return [double.selected(*slot)["inbound"] for slot in SLOTS]

    before = selected()
    file, plan = tmp_path / "names.csv", tmp_path / "names.plan.json"
    file.write_text(NAMES)
    shown = command("plan", file, **UNPACED)
    for said in (
        "callcenter Support, Head office (5502522061422592) HOLD_MUSIC  (line 2)",
        "callcenter Hotline, Berlin (5502522061422611) HOLD_MUSIC  (line 3)",
        "callcenter Hotline, Lisbon (5502522061422631) HOLD_MUSIC  (line 3)",
        "department Sales, Berlin (5502522061422613) DEPARTMENT_INTRO  (line 4)",
        "Plan: 6 to change.",
    ):
        assert said in shown
    assert [(row.target_type, row.target_id, row.ivr_type) for row in read_plan(plan).changes] == SLOTS
    wanted = [row.ivr_id for row in read_plan(plan).changes]
    assert selected() == before

    def rename(new_name: Callable[[str], str]) -> None:
        double.set_state(*({**target, "name": new_name(target["name"])} for target in double.state()))

    # What is renamed after the plan is still the target of the plan.
    rename(lambda name: f"{name} (renamed)")
    with start_worker(**UNPACED):
        report = command.json("apply", plan, "--yes", "--report", tmp_path / "run")
        assert report["counts"] == {"updated": 6}
        assert [row["line"] for row in report["rows"]] == [2, 3, 3, 4, 5, 6]
        assert selected() == wanted
        rename(lambda name: name.removesuffix(" (renamed)"))
        checked = command.json("check", file, **UNPACED)
        assert (checked["in_sync"], checked["counts"]) == (True, {"in_sync": 6})
        undone = command.json("apply", tmp_path / "run.rollback.plan.json", "--yes", "--report", tmp_path / "undo")
    assert undone["counts"] == {"updated": 6}
    assert selected() == before
    differing = command.json("check", file, code=5, **UNPACED)
    assert [(row["line"], row["state"]) for row in differing["rows"]] == [
        (line, "differs") for line in (2, 3, 3, 4, 5, 6)
    ]

    # The names of the file mean nothing any more, and nothing is planned.
    rename(lambda name: f"{name} (renamed)")
    violations = command.json("plan", file, code=1, **UNPACED)["violations"]
    assert {line for violation in violations for line in violation["lines"]} == {2, 4}
