"""A console of the command that keeps what is printed."""

from __future__ import annotations

import io
from typing import Any

from dialpad_ivr.cli.common import _PlainConsole

HOSTILE = "\x1b]0;title\x07[red]x[/red]\r\u202e"
CONTROLS = {"\x1b", "\x07", "\r", "\u202e"}


class Screen:
    """A console that keeps what is printed."""

    def __init__(self, **options: Any) -> None:
        self._file = io.StringIO()
        self.console = _PlainConsole(file=self._file, width=200, **options)

    @property
    def text(self) -> str:
        return self._file.getvalue()
