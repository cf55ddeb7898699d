"""The task `set_custom_ivr`: validate -> credential -> permit -> call -> outcome -> result."""

from __future__ import annotations

from typing import Any

from dialpad_ivr.contract.inputs import SetCustomIvrInput
from dialpad_ivr.contract.outputs import IvrState, SetCustomIvrOutput
from dialpad_ivr.contract.validation import check_input, input_warnings
from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.credentials import Credential
from dialpad_ivr.dialpad.client import CallError, Response
from dialpad_ivr.dialpad.parsing import ListedIvr, Slot
from dialpad_ivr.dialpad.verdict import (
    Verdict,
    already_selected,
    no_answer_verdict,
    patch_verdict,
    precondition_verdict,
)
from dialpad_ivr.pacing.limiter import PermitDeferredError
from dialpad_ivr.tasks.run import Delivery, Result, Run, Tools, invalid, named


async def set_custom_ivr(call: Delivery, tools: Tools) -> Result:
    """Run the task once.

    Returns:
        The result, for every input and every fault: only a bug, and a cancellation, raise.
    """
    asked = check_input(call.raw_input, SetCustomIvrInput)
    if isinstance(asked, list):
        return invalid(call, asked, TASK_TYPE)
    run = _SetRun(call, tools, asked)
    if asked.mode == "validate":
        return run.end("valid")
    return await run.with_credential(run.plan if asked.mode == "plan" else run.apply)


class _SetRun(Run):
    output = SetCustomIvrOutput

    def __init__(self, call: Delivery, tools: Tools, asked: SetCustomIvrInput) -> None:
        request = tools.client.prepare_set_custom_ivr(
            asked.target_type, asked.target_id, asked.ivr_type, asked.ivr_id, asked.select_option
        )
        super().__init__(call, tools, asked, request)
        self._asked = asked
        self._selected: ListedIvr | None = None
        self._previous: ListedIvr | None = None
        self.warnings = input_warnings(call.raw_input, asked)

    async def apply(self, credential: Credential) -> Result:
        """Make the change; where its fate stays open and no retry follows, read what is selected now."""
        if self._asked.if_selected is not None:
            verdict = await self._check_expectation(credential)
            if verdict is not None:
                return self.conclude(verdict)
        try:
            self.answer = await self.send(self.request, credential)
            verdict = patch_verdict(self.answer, self._asked)
        except CallError as exc:
            self.answer = None
            verdict = no_answer_verdict(exc)
        self._selected = verdict.selected
        self.warnings += verdict.warnings
        if verdict.may_have_changed and self.call.last_attempt:
            verdict = await self._settle(verdict, credential)
        return self.conclude(verdict)

    async def plan(self, credential: Credential) -> Result:
        """Read what is selected now; never write."""
        found, verdict, self.answer = await self._read_slot(credential)
        if verdict is not None:
            return self.conclude(verdict)
        asked, ours = self._asked, found.find(self._asked.ivr_id)
        self._previous = self._selected = found.selected()
        if ours is None:
            self.warnings.append(
                f"The target lists no IVR {asked.ivr_id} for {asked.ivr_type}: Dialpad may well refuse it."
            )
        elif ours.selected:
            if already_selected(found, asked):
                return self.end("unchanged")
            self.warnings.append("The IVR is selected, but the list cannot tell inbound from outbound.")
        moved = precondition_verdict(found, self._asked)
        if moved is not None:
            self.warnings.append(moved.message)
        return self.end("planned")

    async def _check_expectation(self, credential: Credential) -> Verdict | None:
        """Read the slot before anything is sent; a verdict ends the task, `None` lets it go on."""
        found, refusal, self.answer = await self._read_slot(credential)
        if refusal is not None:
            return refusal
        self._previous = self._selected = found.selected()
        verdict = precondition_verdict(found, self._asked)
        if not self.attempts:
            return verdict
        # An earlier attempt of this task sent the PATCH, and never saw its answer: ours was not there before it.
        self._previous = next((ivr for ivr in found.ivrs if ivr.selected and ivr.id != self._asked.ivr_id), None)
        if verdict is not None and verdict.outcome == "unchanged":
            self.warnings.append("Read afterwards: the IVR is selected.")
            return Verdict("updated")
        if verdict is not None:
            self.warnings.append("An earlier attempt sent the change: it may have been made, and undone since.")
        return verdict

    async def _settle(self, verdict: Verdict, credential: Credential) -> Verdict:
        """Let the current selection decide what became of a PATCH whose answer never came."""
        try:
            found, refusal, _ = await self._read_slot(credential)
        except PermitDeferredError:
            found, refusal = Slot(None, ()), verdict
        if refusal is not None or not found.ivrs:
            # Where Dialpad itself said that it failed, that stands; where it said nothing, nothing is known.
            unknown = self.answer is None or self.answer.status_code < 300
            message = f"{verdict.message} What is selected now could not be read either."
            return Verdict("unconfirmed" if unknown else verdict.outcome, verdict.code, message)
        ours, self._selected = found.find(self._asked.ivr_id), found.selected()
        if ours is None or not ours.selected:
            return Verdict("unavailable", verdict.code, f"{verdict.message} The change is not there.")
        self._selected = ours
        if self._asked.select_option is not None:
            message = f"{verdict.message} The IVR is selected, but the list cannot tell inbound from outbound."
            return Verdict("unconfirmed", verdict.code, message)
        self.warnings.append(f"{verdict.message} Read afterwards: the IVR is selected.")
        return Verdict("updated")

    async def _read_slot(self, credential: Credential) -> tuple[Slot, Verdict | None, Response | None]:
        """The slot as it is now (without IVRs: the target has none), or the verdict on a list that was not read."""
        asked = self._asked
        slots, refusal, answer = await self.read_slots(
            asked.target_type, asked.target_id, credential, only=asked.ivr_type
        )
        found = next((slot for slot in slots if slot.ivr_type == asked.ivr_type), Slot(asked.ivr_type, ()))
        return found, refusal, answer

    def details(self) -> dict[str, Any]:
        """What is selected in the slot, and was."""
        state = IvrState(ivr_type=self._asked.ivr_type, selected=named(self._selected), previous=named(self._previous))
        return {"ivr": state}
