"""This machine's time zone."""

from __future__ import annotations

import os
from pathlib import Path
from zoneinfo import ZoneInfo

from dialpad_ivr.provisioning.times import read_zone


def local_zone() -> str:
    """The IANA name of this machine's time zone: from TZ, else from the link that /etc/localtime is; else UTC."""
    linked = str(Path("/etc/localtime").resolve()).partition("zoneinfo/")[2]
    named = (name for name in (os.environ.get("TZ", "").lstrip(":"), linked) if name)
    return next((name for name in named if isinstance(read_zone(name), ZoneInfo)), "UTC")
