"""Tasks of workflow definitions, as an author would write them."""

from __future__ import annotations

from typing import Any


def task(reference: str, kind: str = "SIMPLE", **more: Any) -> dict[str, Any]:
    return {"name": reference, "taskReferenceName": reference, "type": kind, **more}


def set_ivr(reference: str = "set_ivr", **more: Any) -> dict[str, Any]:
    return {**task(reference, **more), "name": "set_custom_ivr"}
