"""What the Dialpad double knows: targets, their slots, the IVRs of each, and what is selected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DATE_ADDED = "1356998400000"  # the published document's own example, in milliseconds since 1970, as a string

TargetKey = tuple[str, str]


@dataclass
class SlotState:
    """One slot of a target.

    Attributes:
        names: The IVRs that it can use: name by id.
        inbound: The id selected for inbound calls.
        outbound: The id selected for outbound calls; both are set together unless `select_option` says otherwise.
    """

    names: dict[str, str]
    inbound: str | None = None
    outbound: str | None = None

    def select(self, ivr_id: str, select_option: str | None) -> None:
        """Select an IVR, for one direction or for both."""
        if select_option != "outbound":
            self.inbound = ivr_id
        if select_option != "inbound":
            self.outbound = ivr_id

    def as_json(self, ivr_type: str) -> dict[str, Any]:
        """In the API's shape: int64 as strings; it cannot tell inbound from outbound."""
        selected = {self.inbound, self.outbound}
        return {
            "ivr_type": ivr_type,
            "ivrs": [
                {"id": ivr_id, "name": name, "selected": ivr_id in selected, "date_added": DATE_ADDED}
                for ivr_id, name in self.names.items()
            ],
        }


@dataclass
class State:
    """All targets by type and id, with their slots by IVR type."""

    targets: dict[TargetKey, dict[str, SlotState]] = field(default_factory=dict)

    def as_json(self) -> list[dict[str, Any]]:
        """For the control port."""
        return [
            {
                "target_type": target_type,
                "target_id": target_id,
                "slots": {
                    ivr_type: {"names": slot.names, "inbound": slot.inbound, "outbound": slot.outbound}
                    for ivr_type, slot in slots.items()
                },
            }
            for (target_type, target_id), slots in self.targets.items()
        ]


def _slot(first_id: int, *names: str) -> SlotState:
    """A slot with IVRs of ids in a row, the last of them selected."""
    ids = [str(first_id + i) for i in range(len(names))]
    return SlotState(dict(zip(ids, names, strict=True)), ids[-1], ids[-1])


def seeded() -> State:
    """A small company: a call center, a department, an office, a user, and a target with an id above 2^53."""
    return State(
        {
            ("callcenter", "5502522061422592"): {
                "HOLD_MUSIC": _slot(5127493019721728, "Summer hold music", "Winter hold music"),
                "AUTO_RECORDING": _slot(5127493019721740, "This call is recorded", "Recorded for training"),
                "GREETING": _slot(5127493019721750, "Holiday greeting", "Welcome"),
                "CLOSED": _slot(5127493019721760, "Closed for the holidays", "We are closed"),
            },
            ("department", "5502522061422601"): {
                "DEPARTMENT_INTRO": _slot(5127493019721770, "Welcome to Sales", "Sales"),
            },
            ("office", "5502522061422602"): {
                "MENU": _slot(5127493019721780, "Main menu, new", "Main menu"),
                "CLOSED": _slot(5127493019721790, "Office closed, new", "Office closed"),
            },
            ("user", "5502522061422603"): {
                "VM_DROP_MESSAGE": _slot(5127493019721800, "Sorry I missed you", "Call me back"),
            },
            ("callcenter", "9007199254740993"): {
                "HOLD_MUSIC": _slot(9007199254740995, "Above 2^53", "Also above 2^53"),
            },
        }
    )


def synthetic(count: int) -> State:
    """So many call centers.

    The i-th, from 0, has the id 6000000000000000 + i, and HOLD_MUSIC IVRs 7000000000000000 + 2 i and one more, of which
    the second is selected.
    """
    return State(
        {
            ("callcenter", str(6_000_000_000_000_000 + i)): {
                "HOLD_MUSIC": _slot(7_000_000_000_000_000 + 2 * i, "New hold music", "Old hold music")
            }
            for i in range(count)
        }
    )
