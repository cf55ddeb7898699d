"""What the console's unit tests share."""

from __future__ import annotations

import html
import re

from dialpad_ivr.contract.validation import example_input
from dialpad_ivr.contract.values import TASK_TYPE

PAGE = f"/tasks/{TASK_TYPE}"
EXAMPLE = example_input()
APPLY = {**EXAMPLE, "mode": "apply", "do": "test"}
PART = {"x-part": "response"}
CONFIRMATION = re.compile(r'name="confirmed" value="(\w+)"')


def text_of(page: str) -> str:
    """A page's text, without tags."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page.replace("<wbr>", ""))))
