"""The command `plan`: exit codes, what it writes and shows, without an engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dialpad_ivr.provisioning.plan import read_plan
from dialpad_ivr.settings import load_settings
from dialpad_ivr.testing.double import DoubleControl
from support.invoke import Invoke
from support.runs import CHANGE, OLD


def test_offline_plan_of_a_valid_file_exits_0_and_writes_nothing(invoke: Invoke, changes: Path) -> None:
    assert invoke("plan", changes, "--offline", "--json").json == {"changes": 1, "violations": []}
    assert "1 change, all valid" in invoke("plan", changes, "--offline").out
    assert [path.name for path in Path().iterdir()] == [changes.name]


def test_plan_of_an_invalid_file_exits_1_and_reports_every_violation(invoke: Invoke) -> None:
    Path("changes.json").write_text(json.dumps([CHANGE, {**CHANGE, "target_id": "x", "ivr_type": "NOPE"}]))
    violations = invoke("plan", "changes.json", "--offline", "--json", code=1).json["violations"]
    assert {violation["path"] for violation in violations} == {"target_id", "ivr_type"}
    assert len({violation["line"] for violation in violations}) <= 2
    shown = invoke("plan", "changes.json", code=1).out
    assert "target_id" in shown
    assert "ivr_type" in shown


@pytest.mark.parametrize("name", ["missing.csv", "changes.xlsx"])
def test_plan_of_an_unusable_file_exits_2(invoke: Invoke, name: str) -> None:
    if name != "missing.csv":
        Path(name).write_bytes(b"PK\x03\x04")
    assert name in invoke("plan", name, "--offline", code=2).err


def test_plan_reads_the_selection_and_writes_the_plan_without_an_engine(
    invoke: Invoke, changes: Path, double: DoubleControl, no_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", double.url)
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    summary = invoke("plan", changes, "--json").json
    assert (summary["plan"], summary["actions"]) == ("changes.plan.json", {"change": 1})
    plan = read_plan(Path("changes.plan.json"))
    assert plan.hash == summary["hash"]
    assert [[ivr.id for ivr in row.previous] for row in plan.rows] == [[OLD]]
    assert {arrival["method"] for arrival in double.ledger()} == {"GET"}


CLOSED = {
    "target_type": "callcenter",
    "target_id": "5502522061422592",
    "ivr_type": "CLOSED",
    "ivr": "Closed for the holidays",
}
NOTE = "Callers cannot hear CLOSED now: the target is always open (hours_on is false)."


def test_plan_notes_what_callers_cannot_hear_and_still_exits_0(
    invoke: Invoke, double: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", double.url)
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    Path("changes.json").write_text(json.dumps([CLOSED]))
    assert f"\n    {NOTE}\nPlan: 1 to change.\n" in invoke("plan", "changes.json").out
    summary = invoke("plan", "changes.json", "--json").json
    assert [(note["line"], note["target_id"], note["note"]) for note in summary["notes"]] == [
        (1, CLOSED["target_id"], NOTE)
    ]
    assert [row.note for row in read_plan(Path("changes.plan.json")).changes] == [NOTE]


def test_plan_says_once_that_it_is_not_known_what_callers_hear(
    invoke: Invoke, double: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", double.url)
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    path = f"/api/v2/callcenters/{CLOSED['target_id']}"
    double.add_faults({"fault": "status", "status": 403, "times": None, "match": {"path": path}})
    Path("changes.json").write_text(json.dumps([CLOSED]))
    shown = invoke("plan", "changes.json").all
    assert "Plan: 1 to change. Whether callers can hear the changes is not known for 1 of 1 target" in shown
    assert shown.count("403 (Forbidden)") == 1
    summary = invoke("plan", "changes.json", "--json").json
    assert (summary["actions"], summary["notes"], len(summary["warnings"])) == ({"change": 1}, [], 1)


def test_plan_with_a_row_that_cannot_be_applied_exits_1_and_is_written(
    invoke: Invoke, double: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", double.url)
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    Path("changes.json").write_text(json.dumps([CHANGE, {**CHANGE, "target_id": "404"}]))
    actions = invoke("plan", "changes.json", "--out", "other.json", "--json", code=1).json["actions"]
    assert actions == {"change": 1, "unknown_target": 1}
    assert len(read_plan(Path("other.json")).blocked) == 1


def test_a_key_that_may_not_list_users_plans_the_rest_and_says_what_was_refused(
    invoke: Invoke, double: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", double.url)
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    double.add_faults({"fault": "status", "status": 403, "times": None, "match": {"path": "/api/v2/users"}})
    user = {"target_type": "user", "target": "Robin", "ivr_type": "VM_DROP_MESSAGE", "ivr": "Sorry I missed you"}
    Path("changes.json").write_text(json.dumps([user, CHANGE]))
    shown = invoke("plan", "changes.json", code=1).all
    assert "GET /api/v2/users: Dialpad answered 403 (Forbidden)." in shown
    assert "Plan: 1 to change, 1 not read." in shown
    assert "dialpad-ivr apply changes.plan.json --partial" in shown
    assert len(read_plan(Path("changes.plan.json")).changes) == 1
    Path("users.json").write_text(json.dumps([user]))
    alone = invoke("plan", "users.json", code=1)
    assert alone.out == ""
    assert "GET /api/v2/users: Dialpad answered 403 (Forbidden)." in alone.err
    assert not Path("users.plan.json").exists()


def test_plan_that_cannot_be_written_exits_2(
    invoke: Invoke, changes: Path, double: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", double.url)
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    assert "no/such/folder" in invoke("plan", changes, "--out", "no/such/folder/plan.json", code=2).err


def test_a_plan_is_no_file_of_changes(invoke: Invoke) -> None:
    for command in ("plan", "check"):
        shown = invoke(command, "changes.plan.json", code=2).err
        assert "changes.plan.json is a plan, not a file of changes." in shown
        assert "dialpad-ivr apply changes.plan.json" in shown


def test_a_violation_names_its_field_once(invoke: Invoke) -> None:
    Path("changes.json").write_text(json.dumps([{**CHANGE, "ivr_id": "Summer hold music"}]))
    shown = invoke("plan", "changes.json", code=1).out
    assert shown.splitlines()[0].count("ivr_id") == 1
    assert "1 validation error." in shown
    assert "Write a name into ivr instead." in shown


@pytest.mark.long
def test_without_dialpad_plan_says_so_once_exits_1_and_writes_nothing(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    monkeypatch.setenv("DIALPAD_IVR_COMPANY_LIMIT", "1000")
    monkeypatch.setattr("dialpad_ivr.provisioning.reader._RETRY_SECONDS", 0.01)
    targets = [{**CHANGE, "target_id": str(number)} for number in range(1, 40)]
    Path("changes.json").write_text(json.dumps(targets))
    shown = invoke("plan", "changes.json", code=1)
    url = load_settings().api_url
    assert (shown.all.count("could not be reached"), shown.all.count(url), shown.out) == (1, 1, "")
    assert "--partial" not in shown.all
    printed = invoke("plan", "changes.json", "--json", code=1).json
    assert (printed["plan"], printed["actions"], len(printed["reasons"])) == (None, {"unreadable": 39}, 1)
    assert [path.name for path in Path().iterdir()] == ["changes.json"]
