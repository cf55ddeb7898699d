"""Terminal output of checks, plans and runs: it is bounded, and text from outside stays text."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dialpad_ivr.cli import render
from dialpad_ivr.cli.doctor import Check, show_checks
from dialpad_ivr.contract.outcomes import OK_OUTCOMES, OUTCOMES
from dialpad_ivr.contract.outputs import FoundOffice, FoundTarget, SelectedIvr
from dialpad_ivr.contract.validation import short
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.engine.definitions import Comparison, shipped
from dialpad_ivr.provisioning.changes import Violation
from dialpad_ivr.provisioning.drift import STATES, CheckedRow
from dialpad_ivr.provisioning.listing import Target
from dialpad_ivr.provisioning.plan import PlannedChange, make_plan
from dialpad_ivr.provisioning.workflow import ChangeResult, ProvisioningRun
from dialpad_ivr.settings import Settings
from support.screen import CONTROLS, HOSTILE, Screen


def change(number: int, action: Any = "change", **more: Any) -> PlannedChange:
    return PlannedChange(
        line=number,
        target_type="callcenter",
        target_id=str(1000 + number),
        ivr_type="HOLD_MUSIC",
        ivr_id=str(7000 + number),
        action=action,
        **more,
    )


def row(number: int, outcome: str | None, message: str = "") -> dict[str, Any]:
    return {
        "line": number,
        "target_type": "callcenter",
        "target_id": str(1000 + number),
        "ivr_type": "HOLD_MUSIC",
        "select_option": None,
        "outcome": outcome,
        "ok": outcome in OK_OUTCOMES,
        "message": message,
    }


def a_run(status: str, **attributes: Any) -> ProvisioningRun:
    run = ProvisioningRun(EngineApi(Settings()), "WORKFLOW-ID")
    for name, value in {"status": status, **attributes}.items():
        setattr(run, name, value)
    return run


@pytest.mark.parametrize("outcome", [*OUTCOMES, None])
def test_outcome_is_green_if_ok_red_if_not_and_yellow_while_it_waits(outcome: str | None) -> None:
    colour = "green" if outcome in OK_OUTCOMES else "red" if outcome else "yellow"
    text = render.outcome_text(outcome)
    assert (text.plain, text.style) == (outcome or "pending", f"bold {colour}")


# ---- what comes from outside


def test_control_characters_and_markup_from_outside_stay_text() -> None:
    screen = Screen(force_terminal=True)
    selected = SelectedIvr(id="1", name=HOSTILE)
    show_checks(screen.console, [Check(HOSTILE, "failed", HOSTILE, HOSTILE)])
    render.show_comparison(screen.console, Comparison(shipped()[0], "edited", (HOSTILE,)))
    render.show_plan(
        screen.console, make_plan([change(2, ivr_name=HOSTILE, previous=(selected,), note=HOSTILE)], "u", "f")
    )
    render.show_run(screen.console, a_run("FAILED", reason=HOSTILE), [row(2, "rejected", HOSTILE)])
    render.show_unrestorable(screen.console, [(ChangeResult({"target_id": HOSTILE}, 2, None), HOSTILE)])
    assert screen.text.count("[red]x") == 11  # none was taken for markup
    without_colours = re.sub(r"\x1b\[[\d;]*m", "", screen.text)
    assert not CONTROLS & set(without_colours)


# ---- doctor, register


@pytest.mark.parametrize("result", ["ok", "warning", "failed"])
def test_check_shows_its_fix_only_when_it_is_not_ok(screen: Screen, result: Any) -> None:
    show_checks(screen.console, [Check("engine", result, "the detail", "the fix")])
    assert result in screen.text
    assert "engine: the detail" in screen.text
    assert ("-> the fix" in screen.text) == (result != "ok")


def test_comparison_shows_state_and_diff(screen: Screen) -> None:
    definition = shipped()[0]
    render.show_comparison(screen.console, Comparison(definition, "edited", ("-  1", "+  2")))
    assert screen.text.splitlines() == [f"{definition.label}: edited", "    -  1", "    +  2"]


# ---- plans and runs


def test_plan_shows_changes_and_blocked_rows_and_counts_the_rest(screen: Screen) -> None:
    rows = [
        change(2, previous=(SelectedIvr(id="1", name="Winter"),), ivr_name="Summer"),
        change(3),
        change(4, "unchanged"),
        change(5, "missing_ivr", note="No such IVR."),
        change(6, "unreadable", note="Dialpad answered 403."),
    ]
    render.show_plan(screen.console, make_plan(rows, "https://dialpad.com", "changes.csv"))
    assert "~ callcenter 1002 HOLD_MUSIC  (line 2)" in screen.text
    assert "Winter (1) -> Summer (7002)" in screen.text
    assert "nothing -> 7003" in screen.text
    assert "(line 4)" not in screen.text
    assert "! callcenter 1005 HOLD_MUSIC  (line 5)" in screen.text
    assert "No such IVR." in screen.text
    assert "Plan: 2 to change, 1 unchanged, 1 with a missing IVR, 1 not read." in screen.text


def test_plan_shows_no_selection_for_what_was_not_read(screen: Screen) -> None:
    rows = [change(2, "unreadable", note="Dialpad answered 503."), change(3, "unknown_target", note="Check target_id.")]
    render.show_plan(screen.console, make_plan(rows, "https://dialpad.com", "changes.csv"))
    assert "not read" in screen.text
    assert "unknown target" in screen.text
    assert "nothing" not in screen.text
    assert "->" not in screen.text
    assert "Plan: 1 with an unknown target, 1 not read." in screen.text


@pytest.mark.parametrize("terminal", [False, True])
def test_no_line_ends_with_a_blank(terminal: bool) -> None:
    screen = Screen(force_terminal=terminal)
    rows = [row(n, outcome, "reason " * n) for n, outcome in enumerate(["updated", "not_found", "unknown"], start=20)]
    render.show_run(screen.console, a_run("FAILED"), rows)
    render.show_plan(screen.console, make_plan([change(2, note="a note " * 40)], "https://dialpad.com", "changes.csv"))
    without_colours = re.sub(r"\x1b\[[\d;]*m", "", screen.text)
    assert [line for line in without_colours.splitlines() if line != line.rstrip()] == []


def test_plan_without_rows_has_nothing_to_change(screen: Screen) -> None:
    render.show_plan(screen.console, make_plan([], "https://dialpad.com", "changes.csv"))
    assert screen.text == "Plan: nothing to change.\n"


def test_long_plan_is_shown_in_part(screen: Screen) -> None:
    render.show_plan(screen.console, make_plan([change(n) for n in range(60)], "https://dialpad.com", "changes.csv"))
    assert screen.text.count("~ callcenter") == 50
    assert "and 10 more" in screen.text


def test_a_long_plan_shows_what_is_noted_after_what_cannot_be_applied_and_before_the_rest(screen: Screen) -> None:
    rows = [change(n) for n in range(60)]
    rows[58] = change(58, note="Callers cannot hear it.")
    rows[59] = change(59, "unreadable", note="Dialpad answered 503.")
    render.show_plan(screen.console, make_plan(rows, "https://dialpad.com", "changes.csv"))
    shown = [line for line in screen.text.splitlines() if line.endswith(")") and "(line " in line]
    assert [line.rsplit("(", 1)[1] for line in shown[:3]] == ["line 59)", "line 58)", "line 0)"]


def test_run_shows_the_count_of_each_outcome_and_the_failed_rows(screen: Screen) -> None:
    rows = [row(2, "updated"), row(3, "updated"), row(4, "not_found", "No such target."), row(5, None)]
    rows += [row(6, "not_sent"), row(7, "unknown", "Its result was lost.")]
    results = [ChangeResult({}, one["line"], None, one["outcome"]) for one in rows if one["outcome"]]
    run = a_run("FAILED", rows=results, reason="Stopped by Ann.")
    render.show_run(screen.console, run, rows)
    lines = [line.replace("\u2502", " ").split() for line in screen.text.splitlines()]
    for expected in (["updated", "2"], ["not_found", "1"], ["pending", "1"], ["not", "sent", "1"]):
        assert expected in lines
    assert ["4", "callcenter", "1004", "HOLD_MUSIC", "not_found", "No", "such", "target."] in lines
    assert ["7", "callcenter", "1007", "HOLD_MUSIC", "unknown", "Its", "result", "was", "lost."] in lines
    assert not any(line[:1] in (["2"], ["3"], ["5"], ["6"]) for line in lines)
    assert f"Workflow WORKFLOW-ID: FAILED. {run.summary}" in screen.text
    assert "Stopped by Ann." in screen.text


def test_run_with_many_failures_is_shown_in_part(screen: Screen) -> None:
    render.show_run(screen.console, a_run("FAILED"), [row(n, "rejected") for n in range(60)])
    assert screen.text.count("callcenter") == 50
    assert "and 10 more" in screen.text


def test_rows_that_cannot_be_restored_are_shown_with_the_reason(screen: Screen) -> None:
    results = [
        (ChangeResult({"target_type": "office", "target_id": str(n)}, n, None), f"reason {n}") for n in range(60)
    ]
    render.show_unrestorable(screen.console, results)
    assert "office 0" in screen.text
    assert "reason 49" in screen.text
    assert "reason 50" not in screen.text
    assert "and 10 more" in screen.text


# What would clear the screen, and pretend to be another line.
NAME = f"{HOSTILE}\n~ callcenter Forged (7) MENU"


def show_named(what: str, screen: Screen) -> None:
    """Show something in which everything has that name."""
    named = {"target_name": NAME, "office_name": NAME, "ivr_name": NAME, "note": "a note"}
    row = change(1, "missing_ivr", previous=(SelectedIvr(id="5", name=NAME),), **named)
    match what:
        case "plan":
            render.show_plan(screen.console, make_plan([row], "https://dialpad.com", "changes.csv"))
        case "check":
            render.show_check(screen.console, [CheckedRow("missing_ivr", row)])
        case "targets":
            office = FoundOffice(id="8", name=NAME)
            render.show_targets(screen.console, [Target("callcenter", FoundTarget(id="7", name=NAME, office=office))])
        case _:
            violation = Violation(2, "target", f'There are no call centers called "{short(NAME)}".', "Look.")
            render.show_violations(screen.console, [violation])


@pytest.mark.parametrize("what", ["plan", "check", "targets", "violations"])
def test_names_neither_steer_the_terminal_nor_pretend_to_be_a_line(screen: Screen, what: str) -> None:
    show_named(what, screen)
    assert not CONTROLS & {*screen.text}
    assert "[red]x[/red]" in screen.text
    assert not [line for line in screen.text.splitlines() if line.strip().startswith("~ callcenter Forged")]


def test_a_check_shows_what_no_plan_would_repair_first_and_counts_every_state(screen: Screen) -> None:
    checked = [CheckedRow("differs", change(number)) for number in range(60)]
    checked += [CheckedRow(state, change(100 + n, note="why")) for n, state in enumerate(STATES)]
    render.show_check(screen.console, checked)
    lines = screen.text.splitlines()
    assert lines[0].startswith("! ")
    assert "61 different" in lines[-1]
    assert lines[-1].count("1 ") == len(STATES)
    assert "... and 17 more" in screen.text


def test_a_check_of_rows_in_sync_is_one_line(screen: Screen) -> None:
    render.show_check(screen.console, [CheckedRow("in_sync", change(1, "unchanged"))] * 3)
    assert screen.text == "Check: 3 in sync.\n"
