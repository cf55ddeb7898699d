"""Marked keys, and a search for leaks of them: whole, encoded, or in part."""

from __future__ import annotations

import base64
import contextlib
import random
import re
import string
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

PART = 8  # characters; the shortest part of a key that counts as a leak

_BETWEEN = re.compile(rb'["\x00-\x1f]+')


def marked_key(name: str) -> str:
    """A key no part of which occurs anywhere by chance, with characters that encodings change."""
    dice = random.Random(name)
    letters = string.ascii_letters + string.digits
    parts = ["".join(dice.choices(letters, k=5)) for _ in range(6)]
    return "".join(part + sign for part, sign in zip(parts, "/+=~.-", strict=True))


def forms(key: str) -> dict[str, set[str]]:
    """Every part of a key that must not occur anywhere, by its encoding."""
    # The key's offset in the encoded text decides which of three encodings it has; its first and last characters mix
    # with their neighbours.
    encoded = [base64.b64encode(b"x" * offset + key.encode()).decode().rstrip("=")[4:-2] for offset in range(3)]
    texts = {
        "plain": [key],
        "base64": encoded,
        "base64 for URLs": [text.translate(str.maketrans("+/", "-_")) for text in encoded],
        "URL-encoded": [quote(key, safe="")],
    }
    parts = {form: {part for text in found for part in _parts(text)} for form, found in texts.items()}
    # Twice as many digits for the same number of characters: eight digits occur in some id or time by chance.
    return {**parts, "hexadecimal": {part.encode().hex() for part in _parts(key)}}


def _parts(text: str) -> Iterable[str]:
    return (text[start : start + PART] for start in range(len(text) - PART + 1))


class Leak(NamedTuple):
    """A part of a key in a place.

    Attributes:
        key: The key's name.
        form: Its encoding.
        place: The place's name.
    """

    key: str
    form: str
    place: str


def leaks(keys: Mapping[str, str], places: Mapping[str, bytes]) -> list[Leak]:
    """Every key, form and place of a leak."""
    wanted = {(name, form): parts for name, key in keys.items() for form, parts in forms(key).items()}
    found = []
    for place, content in places.items():
        # A database repeats the same text thousands of times; no key holds a quote or a control character.
        unique = b"\n".join(set(_BETWEEN.split(content)))
        found += [
            Leak(name, form, place)
            for (name, form), parts in wanted.items()
            if any(part.encode() in unique for part in parts)
        ]
    return found


def files(folder: Path) -> dict[str, bytes]:
    """The names and contents of all files below a folder."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            found[str(path)] = str(path).encode() + (path.read_bytes() if path.is_file() else b"")
    return found


def process_list() -> bytes:
    """The command lines of all processes."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes())
    return b"\n".join(lines)
