"""The files of a checkout that are generated from the code, and whether they still match it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from dialpad_ivr.contract import INPUTS
from dialpad_ivr.definitions import definitions_root, task_definition


def stale_files(reference: Mapping[str, str], *, write: bool) -> list[str]:
    """The generated files that do not match the code.

    Args:
        reference: The pages of `docs/reference/`, by name.
        write: Whether to write them anew.

    Returns:
        Their paths, relative to the root.
    """
    expected = {
        **{f"task_defs/{name}.json": json.dumps(task_definition(name), indent=2) + "\n" for name in INPUTS},
        **{f"docs/reference/{name}": text for name, text in reference.items()},
    }
    stale = []
    for name, text in expected.items():
        path = definitions_root() / name
        if not path.is_file() or path.read_text("utf-8") != text:
            stale.append(name)
            if write:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
    return stale
