"""Local times to test with, many of them where clocks are changed, and the instants that they mean."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

LOCAL_TIMES = st.datetimes(datetime(2027, 1, 1), datetime(2031, 6, 1)).map(lambda at: at.replace(microsecond=0))
# Where clocks are changed: on any day, at any full or half hour up to four.
CHANGES_OF_CLOCKS = st.builds(
    lambda day, half_hours: day.replace(hour=half_hours // 2, minute=half_hours % 2 * 30, second=0),
    LOCAL_TIMES,
    st.integers(0, 8),
)


def instants(typed: datetime, zone: ZoneInfo) -> list[datetime]:
    """Read the other way round: the instants of UTC whose local time is the one typed."""
    in_utc = typed.replace(tzinfo=timezone.utc)
    offsets = {(in_utc + timedelta(hours=n)).astimezone(zone).utcoffset() or timedelta() for n in range(-26, 27)}
    return sorted(at for at in {in_utc - by for by in offsets} if at.astimezone(zone).replace(tzinfo=None) == typed)
