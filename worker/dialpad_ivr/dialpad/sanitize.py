"""Making a response safe to store: redaction of the key, and JSON that the engine can hold."""

from __future__ import annotations

import json
import math
from typing import Any
from urllib.parse import quote


def parse_body(raw: bytes, *, cut: bool, hidden: set[str]) -> tuple[Any, str]:
    """The body as JSON (`None` if it is none that the engine can store) and as text, both without the key.

    A byte order mark before it is dropped, as RFC 8259 allows.
    """
    text = _storable(redact(raw.decode("utf-8-sig", "replace"), hidden))
    if cut:
        return None, text
    try:
        parsed = json.loads(text, parse_constant=_reject_constant, parse_float=_parse_float, parse_int=_parse_int)
        return (_redact_within(parsed, hidden) if _nests_within(parsed, _MAX_DEPTH) else None), text
    except (ValueError, RecursionError):
        return None, text


# The engine's JSON parser rejects a whole result for one value nested deeper than 1,000, or one number of more than
# 1,000 digits; nothing useful is near either. Python takes quadratic time to parse a long number.
_MAX_DEPTH = 32


_MAX_DIGITS = 100


def _nests_within(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    items = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_nests_within(item, depth - 1) for item in items)


def _redact_within(value: Any, hidden: set[str]) -> Any:
    """The parsed value without the secret, which JSON can express in many ways."""
    if isinstance(value, dict):
        return {_storable(redact(key, hidden)): _redact_within(item, hidden) for key, item in value.items()}
    if isinstance(value, list):
        return [_redact_within(item, hidden) for item in value]
    return _storable(redact(value, hidden)) if isinstance(value, str) else value


def _storable(text: str) -> str:
    """The text without lone surrogates and NUL, which JSON can express and files and databases cannot store.

    Nor may it name a secret of a workflow engine, as the name of an IVR can: where a task is given that text, the
    engine puts the secret there, and stores what comes of it.
    """
    text = text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text.replace("${workflow.secrets.", "$ {workflow.secrets.")


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _parse_int(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError("a number of too many digits")
    return int(text)


def _parse_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large a number")
    return number


def secret_forms(secret: str) -> set[str]:
    """The forms in which a secret may be echoed: verbatim, URL-encoded or escaped for JSON."""
    escaped = json.dumps(secret)[1:-1]
    return {secret, quote(secret, safe=""), quote(secret), escaped, escaped.replace("/", "\\/")}


def redact(text: str, hidden: set[str]) -> str:
    """The text with every form of the secret replaced."""
    for form in hidden:
        text = text.replace(form, "[redacted]")
    return text
