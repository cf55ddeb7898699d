"""The companies of the double: the seed, the synthetic targets, and a generated company of any size."""

from __future__ import annotations

from itertools import count
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dialpad_ivr.contract.values import IvrType, TargetType
from dialpad_ivr.local.double.state import FakeIvr, FakeSlot, FakeTarget, unique

_HEAD_OFFICE: Final = "5502522061422602"
_HEAD_OFFICE_ZONE: Final = "US/Pacific"  # as in the document
_CITIES: Final = {  # with their time zones
    "Berlin": "Europe/Berlin",
    "Hamburg": "Europe/Berlin",
    "Lisbon": "Europe/Lisbon",
    "Osaka": "Asia/Tokyo",
    "Toronto": "America/Toronto",
    "New York": "America/New_York",
    "Leeds": "Europe/London",
    "Nairobi": "Africa/Nairobi",
    "Lima": "America/Lima",
    "Oslo": "Europe/Oslo",
    "Delhi": "Asia/Kolkata",
    "Perth": "Australia/Perth",
}
_TOPICS: Final = ("Support", "Sales", "Billing", "Returns", "Orders", "Repairs", "Bookings", "Careers")


# Settings, as Dialpad shows them.
_WITH_HOURS: Final = {
    "hours_on": True,
    **{f"{day}_hours": ["08:00", "18:00"] for day in ("monday", "tuesday", "wednesday", "thursday", "friday")},
}
_RECORDS: Final = {
    "advanced_settings": {"auto_call_recording": {"call_recording_inbound": True, "call_recording_outbound": True}}
}


def _routing(open_action: str) -> dict[str, Any]:
    """What callers meet when no operator takes the call; in closed hours, voicemail."""
    actions = {"open": open_action, "closed": "voicemail"}
    return {
        "routing_options": {hours: {"action": action, "try_dial_operators": True} for hours, action in actions.items()}
    }


def _slot(ivr_type: IvrType, first_id: int, *names: str) -> FakeSlot:
    """A slot of IVRs with consecutive ids, the last one selected."""
    ivrs = [FakeIvr(id=str(first_id + i), name=name) for i, name in enumerate(names)]
    return FakeSlot(ivr_type=ivr_type, ivrs=ivrs, selected=ivrs[-1].id)


def seed_targets() -> list[FakeTarget]:
    """The targets used in the demo, the documentation and the example inputs."""
    return [
        _of(
            _HEAD_OFFICE,
            "callcenter",
            5502522061422592,
            "Support",
            numbers=["+14155551000"],
            settings={**_RECORDS, "availability_status": "open", "first_action": "operators", **_routing("voicemail")},
            slots=[
                _slot("HOLD_MUSIC", 5127493019721728, "Summer hold music", "Winter hold music"),
                _slot("AUTO_RECORDING", 5127493019721740, "This call is recorded", "Recorded for training"),
                _slot("GREETING", 5127493019721750, "Holiday greeting", "Welcome"),
                _slot("CLOSED", 5127493019721760, "Closed for the holidays", "We are closed"),
            ],
        ),
        _of(
            _HEAD_OFFICE,
            "department",
            5502522061422601,
            "Sales",
            slots=[_slot("DEPARTMENT_INTRO", 5127493019721770, "Welcome to Sales", "Sales")],
        ),
        _of(
            _HEAD_OFFICE,
            "office",
            int(_HEAD_OFFICE),
            "Head office",
            numbers=["+14155551001"],
            settings={"timezone": _HEAD_OFFICE_ZONE, "first_action": "menu", **_routing("menu")},
            slots=[
                _slot("MENU", 5127493019721780, "Main menu, new", "Main menu"),
                _slot("CLOSED", 5127493019721790, "Office closed, new", "Office closed"),
            ],
        ),
        _of(
            _HEAD_OFFICE,
            "user",
            5502522061422603,
            "Robin",
            numbers=["+14155551002"],
            emails=["robin@example.com"],
            slots=[_slot("VM_DROP_MESSAGE", 5127493019721800, "Sorry I missed you", "Call me back")],
        ),
        _of(
            _HEAD_OFFICE,
            "callcenter",
            9007199254740993,  # 2^53 + 1: JavaScript rounds it to 9007199254740992
            "An id that JavaScript cannot hold",
            slots=[_slot("HOLD_MUSIC", 9007199254740995, "Above 2^53", "Also above 2^53")],
        ),
        *_other_offices(),
    ]


def _other_offices() -> list[FakeTarget]:
    """Two more offices. What is in both has the same names, and "Sales" is in the head office too."""
    targets: list[FakeTarget] = []
    for number, city in enumerate(("Berlin", "Lisbon")):
        first = 5_502_522_061_422_610 + 20 * number
        office_id, ivr_id = str(first), 5_127_493_019_721_900 + 20 * number
        hotline = [_slot("HOLD_MUSIC", ivr_id, "Summer hold music", "Winter hold music")]
        intro = [_slot("DEPARTMENT_INTRO", ivr_id + 2, "Welcome to Sales", "Sales")]
        kim = {"numbers": [f"+1415555102{number}"], "emails": [f"kim.{city.lower()}@example.com"]}
        targets += [
            _office(office_id, city),
            _of(office_id, "callcenter", first + 1, "Hotline", slots=hotline, numbers=[f"+1415555101{number}"]),
            _of(office_id, "callcenter", first + 2, f"Support {city}"),
            _of(office_id, "department", first + 3, "Sales", slots=intro),
            _of(office_id, "user", first + 4, "Kim Novak", **kim),
            _of(office_id, "room", first + 5, f"Meeting room {city}"),
            _of(office_id, "coachingteam", first + 6, f"Trainees {city}"),
            _of(office_id, "callrouter", first + 7, f"By language, {city}"),
            FakeTarget(target_type="channel", target_id=str(first + 8), name=f"Channel {city}"),
        ]
    return targets


def _office(office_id: str, city: str) -> FakeTarget:
    return FakeTarget(
        target_type="office",
        target_id=office_id,
        name=city,
        office_id=office_id,
        settings={"timezone": _CITIES[city]},
    )


def _of(office_id: str, target_type: TargetType, target_id: int, name: str, **values: Any) -> FakeTarget:
    """A target of an office."""
    return FakeTarget(target_type=target_type, target_id=str(target_id), name=name, office_id=office_id, **values)


def company_targets(call_centers: int) -> list[FakeTarget]:
    """A company with that number of call centers, spread over 3 to 12 offices.

    Every office has the same names: a call center "Support" is in each of them, as are departments, users and so on.
    Every other call center has opening hours; the rest, and the departments, are always open.
    Ids are from 6100000000000000 on, those of IVRs from 7100000000000000 on.
    """
    ids, ivr_ids = count(6_100_000_000_000_000), count(7_100_000_000_000_000, 10)
    offices = {city: str(next(ids)) for city in [*_CITIES][: min(max(call_centers // 50, 3), len(_CITIES))]}
    targets = [_office(office_id, city) for city, office_id in offices.items()]
    office_ids = list(offices.values())
    for number in range(call_centers):
        again, topic = divmod(number // len(office_ids), len(_TOPICS))
        name = f"{_TOPICS[topic]} {again + 1}" if again else _TOPICS[topic]
        first = next(ivr_ids)
        slots = [
            _slot("HOLD_MUSIC", first, "Summer hold music", "Winter hold music"),
            _slot("GREETING", first + 2, "Holiday greeting", "Welcome"),
        ]
        values = {"numbers": [f"+1212{5_550_000 + number:07d}"], "settings": _WITH_HOURS if number % 2 else {}}
        office_id = office_ids[number % len(office_ids)]
        targets.append(_of(office_id, "callcenter", next(ids), name, slots=slots, **values))
    for city, office_id in offices.items():
        targets += [_of(office_id, "department", next(ids), topic) for topic in _TOPICS[:4]]
        for first_name in ("Kim", "Robin", "Ana"):
            emails = [f"{first_name}.{city}@example.com".lower().replace(" ", "-")]
            targets.append(_of(office_id, "user", next(ids), f"{first_name} Novak", emails=emails))
        targets += [
            _of(office_id, "room", next(ids), "Boardroom"),
            _of(office_id, "coachingteam", next(ids), "Trainees"),
            _of(office_id, "callrouter", next(ids), "By language"),
        ]
    targets += [FakeTarget(target_type="channel", target_id=str(next(ids)), name=name) for name in ("News", "On call")]
    return targets


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


class FakeStateBody(BaseModel):
    """The body of `PUT /_double/state`: these targets, that number of synthetic ones, and a company.

    Attributes:
        company: Call centers of a generated company (see `company_targets`); 0 for none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    targets: list[FakeTarget] = Field(default_factory=list)
    synthetic: int = Field(default=0, ge=0, le=100_000)
    company: int = Field(default=0, ge=0, le=100_000)

    @model_validator(mode="after")
    def _targets_are_unique(self) -> FakeStateBody:
        unique(((target.target_type, target.target_id) for target in self.all()), "targets")
        return self

    def all(self) -> list[FakeTarget]:
        """The listed targets, the synthetic ones, and the company."""
        company = company_targets(self.company) if self.company else []
        return [*self.targets, *map(synthetic_target, range(self.synthetic)), *company]
