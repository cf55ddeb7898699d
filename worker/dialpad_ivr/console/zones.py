"""The zone in which a page shows its times: chosen by its address, else this machine's."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, available_timezones

from starlette.requests import Request

from dialpad_ivr.provisioning.times import Problem, read_zone
from dialpad_ivr.provisioning.zone import local_zone

ZONE_LIMIT = 100  # characters of a name


def chosen_zone(request: Request) -> tuple[ZoneInfo, str | None]:
    """The zone of the address, this machine's by default; and what is wrong with that of the address."""
    name = request.query_params.get("zone", "").strip()[:ZONE_LIMIT]
    zone = read_zone(name or local_zone())
    if isinstance(zone, Problem):
        return ZoneInfo(local_zone()), zone.message
    return zone, None


def shown_in(zone: ZoneInfo) -> dict[str, Any]:
    """What a template needs to show times in a zone, which links pass on."""
    return {"zone": zone.key, "in_zone": zone, "zone_query": urlencode({"zone": zone.key})}


@cache
def zone_names() -> list[str]:
    """The zones to choose from."""
    return sorted(available_timezones())
