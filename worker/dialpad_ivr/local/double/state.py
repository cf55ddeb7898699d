"""Targets, their custom IVRs and the selections.

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
    """A custom IVR. Ids and dates are strings of digits, as in Dialpad's responses."""

    id: Id
    name: str
    date_added: Id = _ADDED
    description: str | None = None
    text: str | None = None


class FakeSelection(_Model):
    """The ids of the IVRs that a slot uses. They differ only for the auto recording of call centers."""

    inbound: Id | None = None
    outbound: Id | None = None


def _both(value: Any) -> Any:
    """A bare id, or null, selects for both inbound and outbound."""
    return value if isinstance(value, dict | FakeSelection) else {"inbound": value, "outbound": value}


class FakeSlot(_Model):
    """A target's IVRs of one IVR type. `selected` also takes a bare id, for inbound and outbound."""

    ivr_type: IvrType
    ivrs: list[FakeIvr] = Field(default_factory=list)
    selected: Annotated[FakeSelection, BeforeValidator(_both)] = FakeSelection()

    @model_validator(mode="after")
    def _selected_is_one_of_the_ivrs(self) -> FakeSlot:
        ids = _unique((ivr.id for ivr in self.ivrs), "ivrs")
        if not {self.selected.inbound, self.selected.outbound} <= {*ids, None}:
            raise ValueError("selected is not one of ivrs")
        return self

    def select(self, ivr_id: str | None, option: str | None = None) -> FakeSlot:
        """The slot with another selection; without an `option`, for inbound and outbound."""
        chosen = dict.fromkeys((option,) if option else ("inbound", "outbound"), ivr_id)
        return self.model_copy(update={"selected": self.selected.model_copy(update=chosen)})

    def to_dialpad(self) -> dict[str, Any]:
        """As Dialpad returns it: every IVR of the slot, `selected` if it is for inbound or outbound."""
        selected = (self.selected.inbound, self.selected.outbound)
        return {
            "ivr_type": self.ivr_type,
            "ivrs": [{**ivr.model_dump(exclude_none=True), "selected": ivr.id in selected} for ivr in self.ivrs],
        }


class FakeTarget(_Model):
    """A target. No call returns its name."""

    target_type: TargetType
    target_id: Id
    name: str = ""
    slots: list[FakeSlot] = Field(default_factory=list)

    @model_validator(mode="after")
    def _slots_are_unique(self) -> FakeTarget:
        _unique((slot.ivr_type for slot in self.slots), "slots")
        return self


class FakeStateBody(_Model):
    """The body of `PUT /_double/state`: these targets, then that number of synthetic ones."""

    targets: list[FakeTarget] = Field(default_factory=list)
    synthetic: int = Field(default=0, ge=0, le=100_000)

    @model_validator(mode="after")
    def _targets_are_unique(self) -> FakeStateBody:
        _unique(((target.target_type, target.target_id) for target in self.all()), "targets")
        return self

    def all(self) -> list[FakeTarget]:
        """The listed targets, then the synthetic ones."""
        return [*self.targets, *map(synthetic_target, range(self.synthetic))]


def _unique(values: Iterable[Any], where: str) -> set[Any]:
    listed = list(values)
    if len(set(listed)) < len(listed):
        raise ValueError(f"{where} has a duplicate")
    return set(listed)


class FakeNotFoundError(Exception):
    """No such target, slot or IVR."""


class FakeState:
    """The targets and their selections. All companies see the same targets.

    Args:
        targets: The initial targets.
    """

    def __init__(self, targets: Iterable[FakeTarget]) -> None:
        self.replace(targets)

    def replace(self, targets: Iterable[FakeTarget]) -> None:
        """Replace all targets."""
        self._targets = {(target.target_type, target.target_id): target for target in targets}
        self._slots: dict[tuple[str, str], dict[str, FakeSlot]] = {
            key: {slot.ivr_type: slot for slot in sorted(target.slots, key=lambda slot: slot.ivr_type)}
            for key, target in self._targets.items()
        }

    def targets(self) -> list[FakeTarget]:
        """All targets with their current selections."""
        return [
            target.model_copy(update={"slots": list(self._slots[key].values())})
            for key, target in self._targets.items()
        ]

    def slots(self, target_type: str, target_id: str) -> list[FakeSlot]:
        """A target's slots, by IVR type.

        Raises:
            FakeNotFoundError: There is no such target.
        """
        return list(self._find(target_type, target_id).values())

    def slot(self, target_type: str, target_id: str, ivr_type: str, ivr_id: str) -> FakeSlot:
        """The slot of a target that holds the IVR.

        Raises:
            FakeNotFoundError: There is no such target, or the IVR is not in that slot of it.
        """
        slot = self._find(target_type, target_id).get(ivr_type)
        if slot is None or all(ivr.id != ivr_id for ivr in slot.ivrs):
            raise FakeNotFoundError("The target has no such custom IVR of this type.")
        return slot

    def assign(
        self, target_type: str, target_id: str, ivr_type: str, ivr_id: str, select_option: str | None = None
    ) -> FakeSlot:
        """Select an IVR for inbound, for outbound, or (None) for both.

        The option applies only to the auto recording of call centers (reference page); elsewhere it is ignored.

        Raises:
            FakeNotFoundError: As `slot`.
        """
        applies = (target_type, ivr_type) == SELECT_OPTION_APPLIES_TO
        slot = self.slot(target_type, target_id, ivr_type, ivr_id).select(ivr_id, select_option if applies else None)
        self._slots[target_type, target_id][ivr_type] = slot
        return slot

    def _find(self, target_type: str, target_id: str) -> dict[str, FakeSlot]:
        try:
            return self._slots[target_type, target_id]
        except KeyError:
            raise FakeNotFoundError("There is no such target.") from None


def _slot(ivr_type: IvrType, first_id: int, *names: str) -> FakeSlot:
    """A slot of IVRs with consecutive ids, the last one selected."""
    ivrs = [FakeIvr(id=str(first_id + i), name=name) for i, name in enumerate(names)]
    return FakeSlot(ivr_type=ivr_type, ivrs=ivrs, selected=ivrs[-1].id)


def seed_targets() -> list[FakeTarget]:
    """The targets used in the demo, the documentation and the example inputs."""
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
            slots=[_slot("VM_DROP_MESSAGE", 5127493019721800, "Sorry I missed you", "Call me back")],
        ),
        FakeTarget(
            target_type="callcenter",
            target_id="9007199254740993",  # 2^53 + 1: JavaScript rounds it to 9007199254740992
            name="An id that JavaScript cannot hold",
            slots=[_slot("HOLD_MUSIC", 9007199254740995, "Above 2^53", "Also above 2^53")],
        ),
    ]


def synthetic_target(number: int) -> FakeTarget:
    """The n-th call center, from 0, for provisioning tests.

    Its id is 6000000000000000 + number. It has two HOLD_MUSIC IVRs, 7000000000000000 + 2 * number and the next id; the
    second is selected.
    """
    return FakeTarget(
        target_type="callcenter",
        target_id=str(6_000_000_000_000_000 + number),
        name=f"Call center {number}",
        slots=[_slot("HOLD_MUSIC", 7_000_000_000_000_000 + 2 * number, "New hold music", "Old hold music")],
    )
