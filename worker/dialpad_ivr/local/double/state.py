"""Targets, their custom IVRs and what is selected.

Every model here is also the JSON of `GET` and `PUT /_double/state`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from dialpad_ivr.contract.inputs import Id
from dialpad_ivr.contract.values import SELECT_OPTION_APPLIES_TO, IvrType, TargetType

_ADDED: Final = "1356998400000"  # milliseconds since 1970; the published examples have this one


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FakeIvr(_Model):
    """A custom IVR. Ids and dates are strings of digits, as everywhere in Dialpad's answers."""

    id: Id
    name: str
    date_added: Id = _ADDED
    description: str | None = None
    text: str | None = None


class FakeSelection(_Model):
    """The ids of the IVRs that a slot uses; both the same but for the auto recording of call centers."""

    inbound: Id | None = None
    outbound: Id | None = None


def _both(value: Any) -> Any:
    """An id alone, or null, is the selection for inbound and outbound."""
    return value if isinstance(value, dict | FakeSelection) else {"inbound": value, "outbound": value}


class FakeSlot(_Model):
    """The IVRs that a target has for one IVR type. `selected` takes an id alone, too: it is then both."""

    ivr_type: IvrType
    ivrs: list[FakeIvr] = Field(default_factory=list)
    selected: Annotated[FakeSelection, BeforeValidator(_both)] = FakeSelection()

    @model_validator(mode="after")
    def _selected_is_among_the_ivrs(self) -> FakeSlot:
        ids = _unique((ivr.id for ivr in self.ivrs), "ivrs")
        if not {self.selected.inbound, self.selected.outbound} <= {*ids, None}:
            raise ValueError("selected names an IVR that is not among ivrs")
        return self

    def select(self, ivr_id: str | None, option: str | None = None) -> FakeSlot:
        """The slot with another selection; an `option` of None is both."""
        chosen = dict.fromkeys((option,) if option else ("inbound", "outbound"), ivr_id)
        return self.model_copy(update={"selected": self.selected.model_copy(update=chosen)})

    def shown(self) -> dict[str, Any]:
        """As Dialpad shows it: every IVR of the slot, selected if it is so for inbound or for outbound."""
        selected = (self.selected.inbound, self.selected.outbound)
        return {
            "ivr_type": self.ivr_type,
            "ivrs": [{**ivr.model_dump(exclude_none=True), "selected": ivr.id in selected} for ivr in self.ivrs],
        }


class FakeTarget(_Model):
    """A target. Its name is for people: no call answers it."""

    target_type: TargetType
    target_id: Id
    name: str = ""
    slots: list[FakeSlot] = Field(default_factory=list)

    @model_validator(mode="after")
    def _a_slot_is_named_once(self) -> FakeTarget:
        _unique((slot.ivr_type for slot in self.slots), "slots")
        return self


class NewState(_Model):
    """The body of `PUT /_double/state`: exactly these targets, then so many synthetic ones."""

    targets: list[FakeTarget] = Field(default_factory=list)
    synthetic: int = Field(default=0, ge=0, le=100_000)

    @model_validator(mode="after")
    def _a_target_is_named_once(self) -> NewState:
        _unique(((target.target_type, target.target_id) for target in self.all()), "targets")
        return self

    def all(self) -> list[FakeTarget]:
        """The targets named, then the synthetic ones."""
        return [*self.targets, *map(synthetic_target, range(self.synthetic))]


def _unique(values: Iterable[Any], where: str) -> set[Any]:
    listed = list(values)
    if len(set(listed)) < len(listed):
        raise ValueError(f"{where} names the same one twice")
    return set(listed)


class NotFoundError(Exception):
    """No such target, slot or IVR."""


class FakeState:
    """What is selected, target by target. All companies see the same targets.

    Args:
        targets: The state to begin with.
    """

    def __init__(self, targets: Iterable[FakeTarget]) -> None:
        self.replace(targets)

    def replace(self, targets: Iterable[FakeTarget]) -> None:
        """Forget all targets, and hold these."""
        self._targets = {(target.target_type, target.target_id): target for target in targets}
        self._slots: dict[tuple[str, str], dict[str, FakeSlot]] = {
            key: {slot.ivr_type: slot for slot in sorted(target.slots, key=lambda slot: slot.ivr_type)}
            for key, target in self._targets.items()
        }

    def targets(self) -> list[FakeTarget]:
        """All targets with what is selected now."""
        return [
            target.model_copy(update={"slots": list(self._slots[key].values())})
            for key, target in self._targets.items()
        ]

    def slots(self, target_type: str, target_id: str) -> list[FakeSlot]:
        """A target's slots, by IVR type.

        Raises:
            NotFoundError: There is no such target.
        """
        return list(self._find(target_type, target_id).values())

    def slot(self, target_type: str, target_id: str, ivr_type: str, ivr_id: str) -> FakeSlot:
        """The slot of a target that holds an IVR.

        Raises:
            NotFoundError: There is no such target, or the IVR is not in that slot of it.
        """
        slot = self._find(target_type, target_id).get(ivr_type)
        if slot is None or all(ivr.id != ivr_id for ivr in slot.ivrs):
            raise NotFoundError("The target has no such custom IVR of this type.")
        return slot

    def assign(
        self, target_type: str, target_id: str, ivr_type: str, ivr_id: str, select_option: str | None = None
    ) -> FakeSlot:
        """Select an IVR in place of the slot's others, for inbound, for outbound, or (None) for both.

        Outside the auto recording of call centers the option has no meaning (reference page), so it is both there.

        Raises:
            NotFoundError: As `slot`.
        """
        applies = (target_type, ivr_type) == SELECT_OPTION_APPLIES_TO
        slot = self.slot(target_type, target_id, ivr_type, ivr_id).select(ivr_id, select_option if applies else None)
        self._slots[target_type, target_id][ivr_type] = slot
        return slot

    def _find(self, target_type: str, target_id: str) -> dict[str, FakeSlot]:
        try:
            return self._slots[target_type, target_id]
        except KeyError:
            raise NotFoundError("There is no such target.") from None


def _slot(ivr_type: IvrType, first_id: int, *names: str) -> FakeSlot:
    """A slot of IVRs whose ids follow each other; the last one is selected."""
    ivrs = [FakeIvr(id=str(first_id + i), name=name) for i, name in enumerate(names)]
    return FakeSlot(ivr_type=ivr_type, ivrs=ivrs, selected=ivrs[-1].id)


def seed_targets() -> list[FakeTarget]:
    """The targets that the demo, the documentation and the example inputs speak of."""
    return [
        FakeTarget(
            target_type="callcenter",
            target_id="5502522061422592",
            name="Support",
            slots=[
                _slot("HOLD_MUSIC", 5127493019721728, "Summer hold music", "Winter hold music"),
                _slot("AUTO_RECORDING", 5127493019721740, "This call is recorded", "Recorded for training"),
                _slot("GREETING", 5127493019721750, "Holiday greeting", "Welcome"),
                _slot("CLOSED", 5127493019721760, "Closed for the holidays", "We are closed"),
            ],
        ),
        FakeTarget(
            target_type="department",
            target_id="5502522061422601",
            name="Sales",
            slots=[_slot("DEPARTMENT_INTRO", 5127493019721770, "Welcome to Sales", "Sales")],
        ),
        FakeTarget(
            target_type="office",
            target_id="5502522061422602",
            name="Head office",
            slots=[
                _slot("MENU", 5127493019721780, "Main menu, new", "Main menu"),
                _slot("CLOSED", 5127493019721790, "Office closed, new", "Office closed"),
            ],
        ),
        FakeTarget(
            target_type="user",
            target_id="5502522061422603",
            name="Robin",
            slots=[_slot("VM_DROP_MESSAGE", 5127493019721800, "Sorry I missed you", "FakeCall me back")],
        ),
        FakeTarget(
            target_type="callcenter",
            target_id="9007199254740993",  # 2^53 + 1: JavaScript makes 9007199254740992 of it
            name="An id that JavaScript cannot hold",
            slots=[_slot("HOLD_MUSIC", 9007199254740995, "Above 2^53", "Also above 2^53")],
        ),
    ]


def synthetic_target(number: int) -> FakeTarget:
    """The call center of that number, from 0, for provisioning tests.

    Its id is 6000000000000000 + number. It has two HOLD_MUSIC IVRs, 7000000000000000 + 2 * number and the next one, of
    which the second is selected.
    """
    return FakeTarget(
        target_type="callcenter",
        target_id=str(6_000_000_000_000_000 + number),
        name=f"FakeCall center {number}",
        slots=[_slot("HOLD_MUSIC", 7_000_000_000_000_000 + 2 * number, "New hold music", "Old hold music")],
    )
