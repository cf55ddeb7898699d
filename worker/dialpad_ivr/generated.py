"""The files of a checkout that are generated from the contract, and whether they still match it."""

from __future__ import annotations

import json

from dialpad_ivr.contract import TASK_TYPE
from dialpad_ivr.definitions import definitions_root, task_definition


def stale_files(*, write: bool) -> list[str]:
    """The generated files that do not match the contract.

    Args:
        write: Whether to write them anew.

    Returns:
        Their paths, relative to the root.
    """
    expected = {f"task_defs/{TASK_TYPE}.json": json.dumps(task_definition(), indent=2) + "\n"}
    stale = []
    for name, text in expected.items():
        path = definitions_root() / name
        if not path.is_file() or path.read_text("utf-8") != text:
            stale.append(name)
            if write:
                path.write_text(text, "utf-8")
    return stale
