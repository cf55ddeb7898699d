"""The task `list_custom_ivrs`: validate -> credential -> permit -> call -> outcome -> result.

It reads a target's IVRs, and finds one by its name, so that a definition can hand its id to `set_custom_ivr`. A list of
several pages takes as many calls; one that is interrupted by a wait is read from its beginning again.
"""

from __future__ import annotations

import difflib
from typing import Any

from dialpad_ivr.contract.inputs import ListCustomIvrsInput
from dialpad_ivr.contract.outputs import FoundIvr, IvrState, ListCustomIvrsOutput
from dialpad_ivr.contract.validation import check_input, input_warnings
from dialpad_ivr.contract.values import LIST_TASK_TYPE, LISTED_LIMIT
from dialpad_ivr.credentials import Credential
from dialpad_ivr.dialpad.verdict import Verdict
from dialpad_ivr.tasks.run import Delivery, Result, Run, Tools, invalid, named

_NAMED = 5  # IVRs that a message names


async def list_custom_ivrs(call: Delivery, tools: Tools) -> Result:
    """Run the task once.

    Returns:
        The result, for every input and every fault: only a bug, and a cancellation, raise.
    """
    asked = check_input(call.raw_input, ListCustomIvrsInput)
    if isinstance(asked, list):
        return invalid(call, asked, LIST_TASK_TYPE)
    run = _ListRun(call, tools, asked)
    return await run.with_credential(run.read)


class _ListRun(Run):
    output = ListCustomIvrsOutput

    def __init__(self, call: Delivery, tools: Tools, asked: ListCustomIvrsInput) -> None:
        super().__init__(call, tools, asked, tools.client.prepare_list_custom_ivrs(asked.target_type, asked.target_id))
        self._asked = asked
        self._ivrs: list[FoundIvr] = []
        self._found: FoundIvr | None = None
        self.warnings = input_warnings(call.raw_input, asked)

    async def read(self, credential: Credential) -> Result:
        """Read all pages, and look for the name."""
        asked = self._asked
        slots, refusal, self.answer = await self.read_slots(
            asked.target_type, asked.target_id, credential, only=asked.ivr_type
        )
        if refusal is not None:
            return self.conclude(refusal)
        self._ivrs = [
            FoundIvr(id=ivr.id, name=ivr.name, ivr_type=slot.ivr_type, selected=ivr.selected)
            for slot in slots
            if asked.ivr_type in (None, slot.ivr_type)
            for ivr in slot.ivrs
        ]
        if len(self._ivrs) > LISTED_LIMIT:
            self.warnings.append(
                f"The target has {len(self._ivrs)} IVRs; the first {LISTED_LIMIT} are listed. Ask for one ivr_type."
            )
        return self.conclude(Verdict("listed") if asked.name is None else self._find(asked.name))

    def _find(self, name: str) -> Verdict:
        exact = [ivr for ivr in self._ivrs if (ivr.name or "").strip() == name]
        # Only where nothing is written the same: names may differ by case alone.
        same = exact or [ivr for ivr in self._ivrs if (ivr.name or "").strip().casefold() == name.casefold()]
        if len(same) == 1:
            self._found = same[0]
            if not exact:
                self.warnings.append(f'The IVR is called "{same[0].name}": the same but for upper and lower case.')
            return Verdict("listed")
        where = f"{self._asked.target_type} {self._asked.target_id}"
        if same:
            shown = ", ".join(f"{ivr.id} ({ivr.ivr_type})" for ivr in same[:_NAMED])
            more = f" and {len(same) - _NAMED} more" if len(same) > _NAMED else ""
            message = f'{len(same)} IVRs of {where} are called "{name}": {shown}{more}. Give ivr_type, or use an id.'
            return Verdict("conflict", "several_of_that_name", message)
        # Of those listed only: comparing is slow, and other tasks wait meanwhile.
        names = dict.fromkeys(ivr.name for ivr in self._ivrs[:LISTED_LIMIT] if ivr.name)
        near = difflib.get_close_matches(name, names, n=3)
        meant = "Did you mean " + " or ".join(f'"{one}"' for one in near) + "?" if near else "Look at its list of IVRs."
        return Verdict("not_found", "no_such_name", f'{where} has no IVR called "{name}". {meant}')

    def details(self) -> dict[str, Any]:
        """What was read, and found."""
        selected = next((ivr for ivr in self._ivrs if self._asked.ivr_type and ivr.selected), None)
        state = IvrState(ivr_type=self._asked.ivr_type, selected=named(selected))
        return {"ivr": state, "found": self._found, "ivrs": self._ivrs[:LISTED_LIMIT]}
