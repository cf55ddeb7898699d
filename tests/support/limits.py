"""What a worker's health port tells of a company."""

from __future__ import annotations

from typing import Any, Final

ACME: Final[dict[str, Any]] = {
    "company": "acme",
    "patch": {"used": 1100, "limit": 1200, "window_seconds": 60.0},
    "all": {"used": 19, "limit": 20, "window_seconds": 1.0},
    "waiting": {"single": 2, "bulk": 24},
    "pause_seconds": 0.0,
    "circuit": None,
}
OUTAGE: Final = {"cause": "http_503", "open_seconds": 61.2, "probe_in_seconds": 4.8}
