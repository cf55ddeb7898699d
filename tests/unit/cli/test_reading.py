"""The commands that read Dialpad, `targets`, `export` and `check`: exit codes, what they print, write and keep."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from dialpad_ivr.cli.common import out
from dialpad_ivr.provisioning import reader
from dialpad_ivr.provisioning.kept import KeptReads
from dialpad_ivr.testing.double import DoubleControl
from support.invoke import Invoke

BERLIN, LISBON = "5502522061422611", "5502522061422631"
NAMES = "target_type,target,office,ivr_type,ivr\n"


@pytest.fixture(autouse=True)
def dialpad(double: DoubleControl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DoubleControl:
    """A company to read, without pacing; and a state directory."""
    double.configure(enforce=False)
    double.reset()
    monkeypatch.setenv("DIALPAD_IVR_API_URL", double.url)
    monkeypatch.setenv("DIALPAD_API_KEY", "key-of-main")
    for name in ("COMPANY", "PATCH"):
        monkeypatch.setenv(f"DIALPAD_IVR_{name}_LIMIT", "100000")
    monkeypatch.setenv("DIALPAD_IVR_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(reader, "_RETRY_SECONDS", 0.01)
    return double


def kept() -> list[Path]:
    return [*Path("state").glob("reads-*.jsonl")]


def interrupt_after(reads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C once that many targets were read."""
    real, seen = KeptReads.keep, []

    def keep(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type] # its own
        seen.append(1)
        if len(seen) == reads:
            raise KeyboardInterrupt

    monkeypatch.setattr(KeptReads, "keep", keep)


def test_targets_are_a_table_json_and_csv(invoke: Invoke) -> None:
    shown = invoke("targets", "callcenter", "--name", "hotline")
    assert [line.split() for line in shown.out.splitlines()[2:]] == [
        ["callcenter", "\u2502", BERLIN, "\u2502", "Hotline", "\u2502", "Berlin"],
        ["callcenter", "\u2502", LISBON, "\u2502", "Hotline", "\u2502", "Lisbon"],
        ["2", "targets."],
    ]
    (found,) = invoke("targets", "--number", "+1 415 555 1010", "--json").json["targets"]
    office = {"id": "5502522061422610", "name": "Berlin"}
    assert found == {"target_type": "callcenter", "id": BERLIN, "name": "Hotline", "office": office}
    rows = invoke("targets", "--email", "robin@example.com", "--csv").out
    assert rows == "target_type,target_id,target,office\nuser,5502522061422603,Robin,Head office\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["user", "--name", "Robn"], 1, 'Did you mean "Robin"?'),
        (["--name", "Nobody"], 1, "There are no such targets. Give a TYPE"),
        (["--office", "Berln"], 1, 'Did you mean "Berlin"?'),
        (["--number", "+49301234567"], 1, "No target has the number"),
        (["staffgroup"], 2, "Dialpad documents no list of these. Use their ids"),
        (["callcenter", "--email", "robin@example.com"], 2, "email finds users, not call centers."),
        (["channel", "--office", "Berlin"], 2, "channels belong to no office"),
        (["--json", "--csv"], 2, "Use one of them."),
        (["--number", "x"], 2, "not a phone number"),
    ],
)
def test_targets_that_are_not_found_say_what_was_meant(
    invoke: Invoke, arguments: list[str], code: int, said: str
) -> None:
    shown = invoke("targets", *arguments, code=code)
    assert said in shown.all
    assert shown.out == ""
    assert len(shown.err.strip().splitlines()) <= 2


def test_targets_that_a_key_may_not_list_are_named_and_the_others_shown(invoke: Invoke, double: DoubleControl) -> None:
    double.add_faults({"fault": "status", "status": 403, "times": None, "match": {"path": "/api/v2/users"}})
    shown = invoke("targets", code=1)
    assert "GET /api/v2/users" in shown.err
    assert "21" not in shown.err
    assert "Hotline" in shown.out


def test_an_export_goes_to_standard_output_and_what_is_missing_in_it_to_standard_error(invoke: Invoke) -> None:
    shown = invoke("export", "--office", "Berlin")
    rows = list(csv.DictReader(io.StringIO(shown.out)))
    assert [(row["target_type"], row["target"], row["ivr"]) for row in rows] == [
        ("callcenter", "Hotline", "Winter hold music"),
        ("department", "Sales", "Sales"),
    ]
    assert "2 selections of 8 targets." in shown.err
    assert "no list of them: coachinggroup, staffgroup." in shown.err
    assert not kept()


@pytest.mark.parametrize("suffix", ["csv", "json", "yaml", "yml"])
def test_planning_and_checking_an_export_finds_nothing_to_change(invoke: Invoke, suffix: str) -> None:
    file = f"selections.{suffix}"
    assert f"Plan it with: dialpad-ivr plan {file}" in invoke("export", "callcenter", "user", "--out", file).err
    assert invoke("plan", file, "--json").json["actions"] == {"unchanged": 8}
    assert "Check: 8 in sync." in invoke("check", file).out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "selections.xlsx"], "the name must end in .csv, .json, .yaml, .yml."),
        (["--ivr-type", "MUSIC"], 'ivr_type is "MUSIC"'),
        (["coachinggroup"], "Dialpad documents no list of these."),
        (["--out", "no/such/folder/x.csv"], "there is no folder no/such/folder."),
    ],
)
def test_an_export_that_cannot_be_made_exits_2(invoke: Invoke, arguments: list[str], said: str) -> None:
    assert said in invoke("export", *arguments, code=2).err


def test_an_ivr_type_in_lower_case_gets_a_suggestion(invoke: Invoke) -> None:
    assert 'Did you mean "HOLD_MUSIC"?' in invoke("export", "--ivr-type", "hold_music", code=2).err


def test_a_file_that_is_there_is_replaced_only_after_a_yes(invoke: Invoke) -> None:
    Path("x.csv").write_text("edited by hand")
    refused = invoke("export", "callcenter", "--out", "x.csv", code=2).err
    assert "x.csv is there already. Replace it? Confirm with --yes." in refused
    assert Path("x.csv").read_text() == "edited by hand"
    invoke("export", "callcenter", "--out", "x.csv", "--yes")
    assert Path("x.csv").read_text().startswith("target_type,")


def test_an_export_without_a_selection_advises_no_plan(invoke: Invoke, double: DoubleControl) -> None:
    double.set_state({"target_type": "callcenter", "target_id": "7", "name": "New", "slots": []})
    shown = invoke("export", "callcenter", "--out", "x.csv").err
    assert "0 selections of 1 target. Written to x.csv." in shown
    assert "plan" not in shown


def test_an_export_of_nothing_exits_1_and_writes_nothing(invoke: Invoke) -> None:
    shown = invoke("export", "callcenter", "--name", "Suport", "--out", "x.csv", code=1)
    assert 'Did you mean "Support' in shown.err
    assert not Path("x.csv").exists()


def test_names_that_steer_a_terminal_are_printed_as_they_are_only_into_a_file(
    invoke: Invoke, double: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = {"ivr_type": "MENU", "ivrs": [{"id": "9", "name": "x"}], "selected": "9"}
    double.set_state({"target_type": "callcenter", "target_id": "7", "name": "a\x1b[2Jb", "slots": [slot]})
    assert "a\x1b[2Jb" in invoke("export", "callcenter").out
    monkeypatch.setattr(out, "_force_terminal", True)
    assert "\x1b[2J" not in invoke("export", "callcenter").out


def test_an_interrupted_export_goes_on_where_it_was(
    invoke: Invoke, double: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        interrupt_after(3, context)
        shown = invoke("export", "callcenter", "--out", "x.csv", code=130)
    assert "Nothing was written. Run it again with --resume: what was read is kept for 15 minutes." in shown.all
    (file,) = kept()
    read = len(file.read_text().splitlines())
    assert read >= 3
    known = len(double.ledger())
    resumed = invoke("export", "callcenter", "--out", "x.csv", "--resume")
    assert f"{read} targets read by an interrupted command" in resumed.err
    # Of the interrupted command a call that was under way may arrive only now: its target is read again.
    reads = {line["target_id"] for line in double.ledger()[known:] if line["path"] == "/api/v2/customivrs"}
    assert len(reads) == 6 - read
    assert "Check: 7 in sync." in invoke("check", "x.csv").out
    assert not kept()


def test_a_check_after_an_interruption_reads_everything_again_unless_it_is_told_to_resume(
    invoke: Invoke, double: DoubleControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("export", "callcenter", "--out", "x.csv")
    with monkeypatch.context() as context:
        interrupt_after(4, context)
        invoke("check", "x.csv", code=130)
    changed = [{**target, "slots": []} for target in double.state()]
    double.set_state(*changed)
    assert invoke("check", "x.csv", "--json", code=1).json["counts"] == {"missing_ivr": 7}
    stale = invoke("check", "x.csv", "--resume", "--json")
    assert (stale.json["counts"], stale.json["read_earlier"]["targets"]) == ({"in_sync": 7}, 4)
    assert "a change since then does not show" in stale.err


def test_without_a_state_directory_nothing_is_kept_and_an_interruption_says_how_it_would_be(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.delenv("DIALPAD_IVR_STATE_DIR")
    assert "DIALPAD_IVR_STATE_DIR" in invoke("export", "--resume", code=2).err
    monkeypatch.setattr("dialpad_ivr.cli.export.read_export", interrupted)
    assert "With DIALPAD_IVR_STATE_DIR, what was read would be kept." in invoke("export", code=130).all


def test_an_export_that_could_not_read_a_target_says_so_and_keeps_the_rest(
    invoke: Invoke, double: DoubleControl
) -> None:
    double.add_faults({"fault": "status", "status": 404, "times": 1, "match": {"path": "/api/v2/customivrs"}})
    shown = invoke("export", "callcenter", "--out", "x.csv", code=1)
    assert "1 read failed: their targets are not in it. Run it again with --resume" in shown.all
    assert Path("x.csv").exists()
    assert len(kept()) == 1
    assert (
        "5 targets read by an interrupted command" in invoke("export", "callcenter", "--out", "x.csv", "--resume").err
    )


@pytest.mark.parametrize(
    ("rows", "code", "said"),
    [
        (["callcenter,Hotline,Berlin,HOLD_MUSIC,Winter hold music"], 0, "Check: 1 in sync."),
        (["callcenter,Hot*,,HOLD_MUSIC,Summer hold music"], 5, "To repair it: dialpad-ivr plan names.csv"),
        (
            ["callcenter,Hot*,,HOLD_MUSIC,Summer hold music", "user,Robn,,MENU,x"],
            1,
            "2 different, 1 with a missing target",
        ),
        (["callcenter,Hotline,,HOLD_MUSIC,Winter hold music"], 1, "several targets of that name"),
    ],
)
def test_check_exits_0_only_if_all_is_in_sync_and_5_if_a_plan_would_repair_it(
    invoke: Invoke, rows: list[str], code: int, said: str
) -> None:
    Path("names.csv").write_text(NAMES + "\n".join(rows) + "\n")
    assert said in invoke("check", "names.csv", code=code).all


def test_check_writes_a_report_and_prints_it(invoke: Invoke) -> None:
    Path("names.csv").write_text(f"{NAMES}callcenter,Hot*,,HOLD_MUSIC,Summer hold music\n")
    printed = invoke("check", "names.csv", "--report", "monday", "--json", code=5).json
    assert (printed["in_sync"], printed["counts"], printed["source"]) == (False, {"differs": 2}, "names.csv")
    assert json.loads(Path("monday.check.json").read_text()) == printed
    rows = list(csv.DictReader(io.StringIO(Path("monday.check.csv").read_text())))
    assert [(row["target_id"], row["state"]) for row in rows] == [(BERLIN, "differs"), (LISBON, "differs")]


def test_check_of_an_invalid_file_is_a_violation(invoke: Invoke) -> None:
    Path("names.csv").write_text(f"{NAMES}callcentre,Hotline,,HOLD_MUSIC,x\n")
    shown = invoke("check", "names.csv", code=1)
    assert "target_type" in shown.out
    assert "1 validation error." in shown.out


def test_check_without_an_answer_compares_nothing(invoke: Invoke, double: DoubleControl) -> None:
    double.add_faults({"fault": "status", "status": 401, "times": None})
    Path("names.csv").write_text(f"{NAMES}callcenter,Hot*,,HOLD_MUSIC,x\n")
    shown = invoke("check", "names.csv", code=1)
    assert "No row could be compared" in shown.err
    assert shown.out == ""
