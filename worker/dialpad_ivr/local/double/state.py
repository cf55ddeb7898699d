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
        ids = unique((ivr.id for ivr in self.ivrs), "ivrs")
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
    """A target.

    Attributes:
        office_id: The office that it belongs to; an office belongs to itself.
        numbers: Its phone numbers, E.164.
        emails: A user's addresses.
        settings: More of what Dialpad shows of it, `hours_on` for one, in the published format.
    """

    target_type: TargetType
    target_id: Id
    name: str = ""
    office_id: Id | None = None
    numbers: list[str] = Field(default_factory=list)
    emails: list[str] = Field(default_factory=list)
    settings: dict[str, Any] = Field(default_factory=dict)
    slots: list[FakeSlot] = Field(default_factory=list)

    @model_validator(mode="after")
    def _slots_are_unique(self) -> FakeTarget:
        unique((slot.ivr_type for slot in self.slots), "slots")
        return self


def unique(values: Iterable[Any], where: str) -> set[Any]:
    """The values, as a set.

    Raises:
        ValueError: One is repeated.
    """
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
        self._by_type: dict[str, list[FakeTarget]] = {}
        for (target_type, _), target in self._targets.items():
            self._by_type.setdefault(target_type, []).append(target)

    def targets(self) -> list[FakeTarget]:
        """All targets with their current selections."""
        return [
            target.model_copy(update={"slots": list(self._slots[key].values())})
            for key, target in self._targets.items()
        ]

    def of_type(self, target_type: str) -> list[FakeTarget]:
        """The targets of a type, as they were set: with their initial selections."""
        return self._by_type.get(target_type, [])

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
