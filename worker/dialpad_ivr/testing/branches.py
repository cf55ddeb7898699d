"""One run per outcome of each of our tasks in a definition, and the outcomes that no branch handles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from dialpad_ivr.contract.outcomes import outcomes_of
from dialpad_ivr.contract.schema import INPUTS
from dialpad_ivr.testing.engines import KitEngine
from dialpad_ivr.testing.isolation import SWITCHES, Spec, WorkflowTestError, isolate, reads
from dialpad_ivr.testing.mocks import Mock, outcome_mock
from dialpad_ivr.testing.path import WorkflowRun
from dialpad_ivr.testing.run import Mocks, definition_finder, load_definition, run_definition

# What a SWITCH may read in place of the task itself.
_TRANSFORMS: Final = ("INLINE", "LAMBDA", "JSON_JQ_TRANSFORM")


class BranchGap(NamedTuple):
    """Why an outcome is handled by no branch.

    Attributes:
        kind: `no_case` if a SWITCH on the task has no case for it and no default; `not_reached` if the outcome ended
            the workflow before a SWITCH on the task.
        switch: The reference name of the SWITCH.
    """

    kind: Literal["no_case", "not_reached"]
    switch: str


@dataclass(frozen=True)
class OutcomeRun:
    """The run of a definition in which one of our tasks had this outcome.

    Attributes:
        task: The task's reference name; the task's type for those that a dynamic fork makes.
        outcome: Its outcome.
        run: What happened.
        gap: Why no branch handles the outcome; `None` if one does, or if the definition does not branch on the task.
    """

    task: str
    outcome: str
    run: WorkflowRun
    gap: BranchGap | None


class OutcomeReport(NamedTuple):
    """All runs of a definition.

    Attributes:
        runs: Ordered by task, as the tasks are reached.
        unreached: The tasks of ours that no run reached, so that they are not tested.
        all_ok: The run in which every task succeeded.
    """

    runs: list[OutcomeRun]
    unreached: list[str]
    all_ok: WorkflowRun

    @property
    def gaps(self) -> list[OutcomeRun]:
        """The runs whose outcome is handled by no branch."""
        return [result for result in self.runs if result.gap]

    def problems(self) -> list[str]:
        """What is wrong and what to do, in two lines for each task and SWITCH."""
        outcomes: dict[tuple[str, BranchGap], list[str]] = {}
        for result in self.runs:
            if result.gap:
                outcomes.setdefault((result.task, result.gap), []).append(result.outcome)
        return [_problem(task, gap, ", ".join(names)) for (task, gap), names in outcomes.items()]


def _problem(task: str, gap: BranchGap, outcomes: str) -> str:
    if gap.kind == "not_reached":
        return f'{task} ends the workflow before {gap.switch}: {outcomes}.\nMark {task} "optional": true.'
    return (
        f"{gap.switch} has no case for these outcomes of {task}, and no defaultCase: {outcomes}.\n"
        "Add one; an empty defaultCase ([]) says that nothing is to be done."
    )


def check_outcomes(
    definition: Mapping[str, Any] | str | Path,
    input: Mapping[str, Any],  # noqa: A002  # what the engine calls it
    mocks: Mocks,
    engine: KitEngine,
    definitions: Iterable[Mapping[str, Any]] = (),
    *,
    task: str | None = None,
    outcome: str | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> OutcomeReport:
    """Run a definition once for every outcome of each of our tasks in it.

    The outcome is that of one task at a time. The others succeed, except where the task is reached only after another
    outcome of theirs: then they have the first one that leads to it.

    Args:
        definition: The definition in the engine's format, or a file with it.
        input: The workflow's input.
        mocks: Those of other tasks; see `Mocks`. A task without one completes with an empty output.
        engine: The engine.
        definitions: Definitions of sub-workflows.
        task: Only this task of ours, by its reference name.
        outcome: Only this outcome. Without `task`: of the tasks that are reached when all succeed.
        report: Called before each run with what is run.

    Raises:
        WorkflowTestError: There is no such task, none has that outcome, or the definition cannot be tested.
        EngineError: The engine rejects the definition, or does not answer.
    """
    definition, definitions = load_definition(definition), list(definitions)
    specs = isolate(definition, mocks, definition_finder(engine.api, definitions)).specs
    units = _units(specs)
    if not units:
        raise WorkflowTestError(f"The definition has no task of ours ({', '.join(INPUTS)}).")
    if task is not None and task not in units:
        raise WorkflowTestError(f"The definition has no task of ours named {task}. It has {', '.join(units)}.")
    others: dict[str, Mock] = {"*": {"status": "COMPLETED", "output": {}}}
    succeed = {**others, **{unit: outcome_mock(outcomes_of(kind)[0], kind) for unit, kind in units.items()}, **mocks}

    def run(given: Mocks) -> WorkflowRun:
        return run_definition(definition, input, given, engine, definitions)

    report("all succeed")
    leads_to: dict[str, Mocks] = {}
    all_ok = run(succeed)
    _note_reached(all_ok, units, succeed, leads_to)
    wanted = [task] if task else list(leads_to) if outcome else list(units)
    if not wanted:
        raise WorkflowTestError(
            f"With every task ok the workflow ends as {all_ok.status} and reaches no task of ours: {all_ok.reason}\n"
            "Check the input and the mocks."
        )
    if outcome and not any(outcome in outcomes_of(units[unit]) for unit in wanted):
        raise WorkflowTestError(f"No task that is reached has the outcome {outcome}: {', '.join(wanted)}.")
    results: list[OutcomeRun] = []
    done: set[str] = set()
    while remaining := [unit for unit in leads_to if unit not in done]:
        unit = remaining[0]
        done.add(unit)
        only_wanted = outcome is not None and all(each in leads_to for each in wanted)
        for each in outcomes_of(units[unit]):
            is_wanted = unit in wanted and outcome in (None, each)
            if not is_wanted and (only_wanted or (task in leads_to)):
                continue
            report(f"{unit}: {each}")
            given = {**leads_to[unit], unit: outcome_mock(each, units[unit])}
            finished = run(given)
            _note_reached(finished, units, given, leads_to)
            if is_wanted:
                results.append(OutcomeRun(unit, each, finished, _gap(unit, finished, specs)))
    return OutcomeReport(results, [unit for unit in wanted if unit not in leads_to], all_ok)


def _units(specs: Mapping[str, Spec]) -> dict[str, str]:
    """Our tasks in a definition, with their types: by reference name, those of dynamic forks by their type."""
    units: dict[str, str] = {}
    for reference, spec in specs.items():
        forked = (spec.task.get("inputParameters") or {}).get("forkTaskName")
        if spec.task.get("type") == "FORK_JOIN_DYNAMIC" and forked in INPUTS:
            units[forked] = forked
        elif spec.task.get("type", "SIMPLE") == "SIMPLE" and spec.task["name"] in INPUTS:
            units[reference] = spec.task["name"]
    return units


def _note_reached(run: WorkflowRun, units: Mapping[str, str], given: Mocks, leads_to: dict[str, Mocks]) -> None:
    for step in run.steps:
        for unit in (step.base_reference, step.name):
            if unit in units:
                leads_to.setdefault(unit, given)
                break


def _gap(unit: str, run: WorkflowRun, specs: Mapping[str, Spec]) -> BranchGap | None:
    switches = _switches_on(unit, specs)
    taken = {step.base_reference: step for step in run.steps if step.is_switch}
    for switch in switches:
        if switch in taken and taken[switch].case is None:
            return BranchGap("no_case", switch)
    ended = any(step.base_reference == unit and step.status.startswith("FAILED") for step in run.steps)
    if ended and switches and not taken.keys() & set(switches):
        return BranchGap("not_reached", switches[0])
    return None


def _switches_on(unit: str, specs: Mapping[str, Spec]) -> list[str]:
    """The SWITCH tasks that read the output of a task, or what a script makes of it."""
    sources = [unit]
    for reference, spec in specs.items():
        if spec.task.get("type") in _TRANSFORMS and any(reads(spec.task, source) for source in sources):
            sources.append(reference)
    return [
        reference
        for reference, spec in specs.items()
        if spec.task.get("type") in SWITCHES and any(reads(spec.task, source) for source in sources)
    ]
