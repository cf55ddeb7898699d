"""Finds by name what Dialpad lists. Names are other people's texts: in a message each is cut and made printable."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

from dialpad_ivr.contract.validation import short
from dialpad_ivr.contract.values import LISTED_LIMIT
from dialpad_ivr.dialpad.parsing import Item

_NAMED = 5  # things that a message names
_SUGGESTED = 3
WILDCARD = "*"


def with_name(wanted: str, items: Sequence[Item], name_of: Callable[[Item], str | None]) -> tuple[list[Item], bool]:
    """What has a name, written the same, or else the same but for upper and lower case: names may differ by that alone.

    Args:
        wanted: The name, without blanks around it; `*` in it stands for any text.
        items: What to search.
        name_of: The name of each.

    Returns:
        What matches, and whether it is written the same.
    """
    named = [(item, (name_of(item) or "").strip()) for item in items]
    exact = [item for item, name in named if _matches(wanted, name)]
    folded = wanted.casefold()
    return exact or [item for item, name in named if _matches(folded, name.casefold())], bool(exact)


def _matches(pattern: str, name: str) -> bool:
    """Whether a name has what stands between the wildcards, in that order. Takes linear time, as a regex would not."""
    first, *others = pattern.split(WILDCARD)
    if not others:
        return name == pattern
    last = others.pop()
    if len(name) < len(first) + len(last) or not (name.startswith(first) and name.endswith(last)):
        return False
    position, end = len(first), len(name) - len(last)
    for part in others:
        found = name.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


def did_you_mean(wanted: str, names: Iterable[str | None]) -> str:
    """A sentence with the names nearest to a wrong one: those that contain it first; empty without any."""
    plain = wanted.replace(WILDCARD, "").strip().casefold()
    known = list(dict.fromkeys(name for name in names if name))
    near = [name for name in known if plain and plain in name.casefold()][:_SUGGESTED]
    # Of some only: comparing is slow, and other tasks wait meanwhile.
    near = near or difflib.get_close_matches(wanted, known[:LISTED_LIMIT], n=_SUGGESTED)
    return "Did you mean " + " or ".join(f'"{short(name)}"' for name in near) + "?" if near else ""


def listed_in_text(items: Sequence[str]) -> str:
    """The first items, and how many more there are."""
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(items[:_NAMED]) + more
