"""The window of a row: the columns `from`, `until` and `zone` of a file of changes, as written and as read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from dialpad_ivr.provisioning.columns import WINDOW_COLUMNS
from dialpad_ivr.provisioning.formats import Violation
from dialpad_ivr.provisioning.times import Problem, Window, read_window

_REQUIRED: Final = {
    "from": 'Write when it begins, as in "2026-12-24 18:00", or "now".',
    "until": 'Write when it ends, as in "2026-12-27 08:00".',
}


@dataclass(frozen=True)
class RowWindow:
    """When a row's change is made and when it ends, as the file says it; `None` where a cell is empty.

    Attributes:
        start: A local time, one with its offset from UTC, or "now".
        until: A time, as `start`.
        zone: The IANA zone of local times.
    """

    start: str | None
    until: str | None
    zone: str | None

    def read(self, zone: str | None, rows: int, now: datetime) -> Window | tuple[Problem, ...]:
        """The window, or all that is wrong with it.

        Args:
            zone: The zone of a row that names none; `None` while it is not known: there is no window then.
            rows: The changes to be made within the window.
            now: The time now, in UTC.
        """
        return read_window(
            start=self.start, until=self.until, lasts=None, zone=self.zone or zone, rows=rows, now=now, prefix=""
        )


def row_window(values: Mapping[str, Any]) -> RowWindow | None:
    """The window in the values of a row, by column; `None` if it has none."""
    start, until, zone = (None if (value := values.get(name)) in (None, "") else str(value) for name in WINDOW_COLUMNS)
    return RowWindow(start, until, zone) if start or until or zone else None


def window_violations(windows: Iterable[tuple[int, RowWindow | None]], now: datetime) -> list[Violation]:
    """What is wrong with the windows of a file, as far as that is known without the zones of the offices.

    Args:
        windows: Of each row its line and its window. A file in which no row has one has no violations.
        now: The time now, in UTC.
    """
    rows = list(windows)
    if not any(window for _, window in rows):
        return []
    known: dict[RowWindow | None, list[tuple[str, str, str]]] = {}
    for window in {window for _, window in rows}:
        known[window] = _missing(window)
        found = window.read(None, 0, now) if window else ()
        if isinstance(found, tuple):
            known[window] += [(problem.option, problem.message, "") for problem in found]
    return [Violation(line, *wrong) for line, window in rows for wrong in known[window]]


def _missing(window: RowWindow | None) -> list[tuple[str, str, str]]:
    given = {"from": window and window.start, "until": window and window.until}
    # A change without an end is easily made by mistake, and closes an office for good.
    return [(name, f"The row has no {name}.", hint) for name, hint in _REQUIRED.items() if not given[name]]
