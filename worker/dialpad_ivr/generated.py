"""The files of a checkout that are generated from the code, and whether they still match it."""

from __future__ import annotations

import json
import re
from typing import get_args

from pydantic import AliasChoices
from pydantic_core import PydanticUndefined

from dialpad_ivr.contract import INPUTS
from dialpad_ivr.definitions import definitions_root, task_definition
from dialpad_ivr.settings import Settings


def stale_files(*, write: bool) -> list[str]:
    """The generated files, and parts of files, that do not match the code.

    Args:
        write: Whether to write them anew.

    Returns:
        Their paths, relative to the root.
    """
    readme = (definitions_root() / "README.md").read_text("utf-8")
    marked = re.compile(r"(<!-- settings:.*?-->\n).*?(<!-- /settings -->)", re.DOTALL)
    expected = {
        **{f"task_defs/{name}.json": json.dumps(task_definition(name), indent=2) + "\n" for name in INPUTS},
        "README.md": marked.sub(lambda part: part[1] + settings_table() + part[2], readme),
    }
    stale = []
    for name, text in expected.items():
        path = definitions_root() / name
        if not path.is_file() or path.read_text("utf-8") != text:
            stale.append(name)
            if write:
                path.write_text(text, "utf-8")
    return stale


def settings_table() -> str:
    """Every setting as a table in Markdown: its variable, its default, and what it is."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        if alias is None:
            variable = f"DIALPAD_IVR_{name.upper()}"
        else:
            variable = str(alias.choices[0] if isinstance(alias, AliasChoices) else alias)
        default = "" if field.default in (None, PydanticUndefined) else f"`{field.default}`".lower()
        choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
        meaning = (field.description or "") + (f" One of: {', '.join(choices)}." if choices else "")
        rows.append(f"| `{variable}` | {default} | {meaning} |")
    return "\n".join(rows) + "\n"
