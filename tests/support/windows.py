"""The peak of a sliding window."""

from __future__ import annotations

from collections import deque


def most_in_any_window(moments: list[float], seconds: float) -> int:
    """The most arrivals in any half-open window of that length."""
    window: deque[float] = deque()
    most = 0
    for moment in sorted(moments):
        window.append(moment)
        while window[0] <= moment - seconds:
            window.popleft()
        most = max(most, len(window))
    return most
