"""Keys that are marked, and a search for what is left of them: whole, encoded, or in parts."""

from __future__ import annotations

import base64
import contextlib
import random
import re
import string
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

PART = 8  # characters: as little as this is a leak

_BETWEEN = re.compile(rb'["\x00-\x1f]+')


def marked_key(name: str) -> str:
    """A key of which no part is anywhere by chance, with characters that encodings change."""
    dice = random.Random(name)
    letters = string.ascii_letters + string.digits
    parts = ["".join(dice.choices(letters, k=5)) for _ in range(6)]
    return "".join(part + sign for part, sign in zip(parts, "/+=~.-", strict=True))


def forms(key: str) -> dict[str, set[str]]:
    """Every part of a key that must be nowhere, by the form that it is in."""
    # Where a key begins in what is encoded decides which of three forms it takes; its first and last characters mix
    # with their neighbours.
    encoded = [base64.b64encode(b"x" * offset + key.encode()).decode().rstrip("=")[4:-2] for offset in range(3)]
    texts = {
        "plain": [key],
        "base64": encoded,
        "base64 for URLs": [text.translate(str.maketrans("+/", "-_")) for text in encoded],
        "URL-encoded": [quote(key, safe="")],
    }
    parts = {form: {part for text in found for part in _parts(text)} for form, found in texts.items()}
    # As many characters of the key, so twice as many digits: eight of those are in some id or time by chance.
    return {**parts, "hexadecimal": {part.encode().hex() for part in _parts(key)}}


def _parts(text: str) -> Iterable[str]:
    return (text[start : start + PART] for start in range(len(text) - PART + 1))


def leaks(keys: Mapping[str, str], places: Mapping[str, bytes]) -> list[str]:
    """What is found of keys: a line for each key, form and place."""
    wanted = {(name, form): parts for name, key in keys.items() for form, parts in forms(key).items()}
    told = []
    for place, content in places.items():
        # A database says the same thing thousands of times; no key holds a quote or a control character.
        once = b"\n".join(set(_BETWEEN.split(content)))
        told += [
            f"{name}, {form}: in {place}"
            for (name, form), parts in wanted.items()
            if any(part.encode() in once for part in parts)
        ]
    return told


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder, names included."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            found[str(path)] = str(path).encode() + (path.read_bytes() if path.is_file() else b"")
    return found


def process_list() -> bytes:
    """What everyone on the machine can see of its processes."""
    seen = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            seen.append(path.read_bytes())
    return b"\n".join(seen)
