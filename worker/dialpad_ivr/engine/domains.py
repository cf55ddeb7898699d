"""The task domains of bulk work: queues beside the one for what somebody waits for.

A worker polls its own queue, which is the engine's default one or that of `DIALPAD_IVR_DOMAIN`, and one for the bulk
work of each credential profile. The engine puts a task into the first domain of its list that a worker has polled in
the last 10 s, else into the last one: the default profile's, so that a profile that no worker knows by name, as when
its key is a secret of the engine, is served there.
"""

from __future__ import annotations

import re
from typing import Final

BULK: Final = "bulk"
_BULK: Final = re.compile(rf"(?:(.*)\.)?{BULK}(?:\.[a-z0-9_]+)?")


def bulk_domain(domain: str | None, profile: str = "default") -> str:
    """Where a profile's bulk work waits: `bulk`, `bulk.PROFILE`, `DOMAIN.bulk` or `DOMAIN.bulk.PROFILE`.

    Args:
        domain: The workers' `DIALPAD_IVR_DOMAIN`; `None` for those of the default queue.
        profile: The credential profile.
    """
    return ".".join(filter(None, (domain, BULK, profile if profile != "default" else None)))


def is_bulk(domain: str | None) -> bool:
    """Whether a domain is one of bulk work."""
    return _BULK.fullmatch(domain or "") is not None


def worker_domain(domain: str | None) -> str | None:
    """The `DIALPAD_IVR_DOMAIN` of the workers that poll a domain, be it their own or one of their bulk work."""
    bulk = _BULK.fullmatch(domain or "")
    return bulk.group(1) if bulk else domain
