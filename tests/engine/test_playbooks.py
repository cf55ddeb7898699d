"""Playbooks on the real engine: started as its own UI starts them, and by the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dialpad_ivr.engine.definitions import shipped
from dialpad_ivr.testing.double import DoubleControl
from support.command import Command
from support.engine import EngineRest
from support.fixtures import StartWorker
from support.overrides import as_before, override_of, wait_until_active
from support.provisioning import UNPACED, ivr, old_ivr, target
from support.worker import WorkerProcess

WORKFLOW = "playbook_custom_ivrs"
HEADER = "target_type,target,ivr_type,ivr,target_id,ivr_id"
NEW = {"target_type": "callcenter", "target": "Call center 1", "ivr_type": "HOLD_MUSIC", "ivr": "New hold music"}


def saved(command: Command, folder: Path, *rows: str, lasts: str = "10s") -> str:
    """Save a playbook of these rows; returns its workflow."""
    file = folder / "snow.csv"
    file.write_text("\n".join([HEADER, *rows, ""]))
    workflow: str = command.json("playbook", "save", "snow-day", file, "--for", lasts)["workflow"]
    return workflow


def run_of(engine: EngineRest, name: str, **inputs: Any) -> dict[str, Any]:
    """What a run ended with, and why."""
    (ended,) = engine.ended([engine.start(name, inputs)])
    return {"status": ended["status"], "reason": ended.get("reasonForIncompletion"), **ended["output"]}


def opened(double: DoubleControl) -> dict[str, Any]:
    """A call center like the others, with ids of its own."""
    first = next(each for each in double.state() if each["target_id"] == target(1))
    (slot,) = first["slots"]
    ivrs = [{**each, "id": number} for each, number in zip(slot["ivrs"], ("78", "79"), strict=True)]
    slots = [{**slot, "ivrs": ivrs, "selected": {"inbound": "79", "outbound": "79"}}]
    return {**first, "target_id": "77", "name": "Call center 1, new", "slots": slots}


@pytest.mark.long
def test_started_as_the_ui_does_it_overrides_what_was_opened_since_it_was_saved_and_restores_it(
    command: Command, engine: EngineRest, targets: DoubleControl, start_worker: StartWorker, tmp_path: Path
) -> None:
    in_domain = {"DIALPAD_IVR_DOMAIN": "eu"}
    command.environ |= in_domain
    targets.set_state(synthetic=30)
    workflow = saved(command, tmp_path, "callcenter,Call center *,HOLD_MUSIC,New hold music,,")
    assert command.json("playbook", "rehearse", "snow-day", **UNPACED)["actions"] == {"change": 30}
    assert targets.summary()["applied"] == 0
    targets.set_state(*targets.state(), opened(targets))
    with start_worker(**UNPACED, **in_domain):
        started = run_of(engine, workflow, until="", reason="snow")
        assert (started["status"], started["outcome"], started["rows"]) == ("COMPLETED", "started", 31)
        (ended,) = engine.ended([started["override"]])
    assert (ended["status"], ended["output"]["outcome"]) == ("COMPLETED", "success")
    override = ended["output"]["override"]
    assert (override["reason"], override["requested_by"]) == ("snow", "playbook snow-day")
    patched = [str(line["body"]["ivr_id"]) for line in targets.ledger() if line["method"] == "PATCH"]
    assert sorted(patched[:31]) == sorted([*map(ivr, range(30)), "78"])
    assert sorted(patched[31:]) == sorted([*map(old_ivr, range(30)), "79"])
    assert as_before(targets, 30)
    assert targets.selected("callcenter", "77", "HOLD_MUSIC")["inbound"] == "79"


def test_what_cannot_be_looked_up_or_restored_is_refused_as_a_whole_with_its_lines(
    command: Command, engine: EngineRest, targets: DoubleControl, worker: WorkerProcess, tmp_path: Path
) -> None:
    right = "callcenter,Call center 2,HOLD_MUSIC,New hold music,,"
    workflow = saved(command, tmp_path, right, "callcenter,Call centre 3,HOLD_MUSIC,x,,")
    refused = run_of(engine, workflow, until="", reason="snow")
    assert (refused["status"], refused["outcome"]) == ("FAILED", "refused")
    (error,) = refused["errors"]
    assert error.startswith('line 3: There are no call centers called "Call centre 3".')
    assert 'line 3: There are no call centers called "Call centre 3"' in refused["reason"]

    state = targets.state()
    differing = next(each["slots"][0] for each in state if each["target_id"] == target(4))
    differing["selected"] = {"inbound": ivr(4), "outbound": old_ivr(4)}
    targets.set_state(*state)
    wrong = ("callcenter,Call center 3,HOLD_MUSIC,x,,", "callcenter,Call center 4,HOLD_MUSIC,New hold music,,")
    saved(command, tmp_path, right, *wrong, f"callcenter,,HOLD_MUSIC,,{target(5)},7")
    errors = run_of(engine, workflow, until="1h", reason="snow")["errors"]
    assert [error.split(":")[0] for error in errors] == [
        "line 3, callcenter Call center 3 HOLD_MUSIC",
        "line 4, callcenter Call center 4 HOLD_MUSIC",
        f"line 5, callcenter {target(5)} HOLD_MUSIC",
    ]
    for error, said in zip(errors, ('no IVR called "x"', "inbound and outbound differ", "no IVR 7"), strict=True):
        assert said in error
    assert targets.summary()["applied"] == 0


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"rows": []}, ["at least one row"]),
        ({"rows": "x"}, ["at least one row"]),
        ({"rows": [NEW] * 5001}, ["at most 5000"]),
        (
            {"rows": [{}, {**NEW, "target": None, "ivr": ""}]},
            ["line 1 has no target_type", "line 1 has no ivr_type", "line 1 names no", "line 1", "line 2 names no"],
        ),
        ({"until": "2027-12-24 18:00"}, ["until must be a duration such as 12h, or a time with its offset"]),
        ({"until": "2020-12-24T18:00:00Z", "reason": " "}, ["until is in the past", "reason is missing"]),
        ({"until": "0h"}, ["until must be after now"]),
    ],
    ids=["none", "text", "many", "empty", "local", "past", "zero"],
)
def test_every_mistake_in_its_input_is_told_at_once_and_nothing_is_read(
    engine: EngineRest, targets: DoubleControl, inputs: dict[str, Any], said: list[str]
) -> None:
    refused = run_of(engine, WORKFLOW, **{"rows": [NEW], "until": "1h", "reason": "snow", **inputs})
    assert (refused["status"], refused["outcome"]) == ("FAILED", "refused")
    for number, text in enumerate(said):
        assert text in refused["errors"][number]
    assert targets.summary()["arrivals"] == 0


def test_each_of_its_workflows_runs_on_its_own_example(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    examples = {each.name: each.body.get("metadata", {}).get("exampleInput") for each in shipped()}
    with start_worker(**UNPACED):
        targets, chunk, whole = (
            run_of(engine, name, **examples[name]) for name in (f"{WORKFLOW}_targets", f"{WORKFLOW}_chunk", WORKFLOW)
        )
        started = override_of(engine, whole["override"])
        wait_until_active(engine, started)
    found = [{target["name"] for target in result["targets"]} for result in targets["results"]]
    assert found == [{"Support", "Support Berlin", "Support Lisbon"}, {"Sales"}]
    (planned,) = chunk["changes"]
    assert (planned["ivr_id"], planned["if_selected"]) == ("5127493019721750", ["5127493019721751"])
    assert (chunk["slots"], chunk["errors"]) == (1, [])
    assert (whole["outcome"], whole["rows"], whole["message"]) == ("started", 1, "Started an override of 1 slot.")


def test_names_beside_ids_homonyms_and_rows_of_one_slot_are_compared_as_in_a_file(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    support = {"target_type": "callcenter", "target": "Support", "ivr_type": "HOLD_MUSIC", "ivr": "Summer hold music"}
    hotline, berlin = {**support, "target": "Hotline"}, "5502522061422611"

    def errors(*rows: dict[str, Any]) -> list[str]:
        found: list[str] = run_of(engine, WORKFLOW, rows=[*rows], reason="x", lasts="1h")["errors"]
        return found

    with start_worker(**UNPACED):
        of_name, of_slot = errors(
            hotline, {**hotline, "target_id": berlin}, {**hotline, "target": "Hot*", "office": "Berlin"}
        )
        assert of_name.startswith('line 1: 2 call centers called "Hotline"')
        assert of_slot == "line 3: line 2 sets HOLD_MUSIC of callcenter Hotline already."
        (error,) = errors({**support, "target_id": berlin})
        assert f"target_id is {berlin}, but the names beside it mean 5502522061422592" in error
        (error,) = errors({**support, "ivr_id": "5127493019721729"})
        assert "IVR 5127493019721729 has another name" in error
        row = {**support, "target_id": "5502522061422592", "ivr": "winter HOLD music", "ivr_id": "5127493019721729"}
        unchanged = run_of(engine, WORKFLOW, rows=[row], reason="x", lasts="1h")
    assert (unchanged["status"], unchanged["outcome"], unchanged["override"]) == ("COMPLETED", "unchanged", None)
    assert double.summary()["applied"] == 0


@pytest.mark.long
def test_the_command_starts_it_once_and_another_start_in_its_slots_is_refused(
    command: Command, engine: EngineRest, targets: DoubleControl, worker: WorkerProcess, tmp_path: Path
) -> None:
    workflow = saved(command, tmp_path, "callcenter,Call center 1,HOLD_MUSIC,New hold music,,", lasts="1h")
    start = ("playbook", "start", "snow-day", "--reason", "snow", "--yes")
    started = command.json(*start)["workflow_id"]
    wait_until_active(engine, started)
    assert f"Override {started} has callcenter Call center 1 ({target(1)}) HOLD_MUSIC" in command(*start, code=1)
    # In the engine's UI nobody looks; but what is selected already is not overridden again.
    again = run_of(engine, workflow, until="", reason="snow")
    assert (again["outcome"], again["override"]) == ("unchanged", None)
    assert "this run holds nothing. If another override has selected it, that one still restores" in again["message"]
    command("override", "end", started, "--yes")
    engine.ended([started])
    assert as_before(targets, 3)
    command("playbook", "delete", "snow-day", "--yes")
    assert command.json("playbook", "list") == []
