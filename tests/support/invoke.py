"""The command in this process: quicker than a process of its own, and with the test's own patches."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from dialpad_ivr.cli.app import app
from support.worker import KEYS


@dataclass(frozen=True)
class Shown:
    """What a command printed."""

    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def all(self) -> str:
        return " ".join((self.out + self.err).split())


class Invoke:
    """Runs a command in this process."""

    def __call__(self, *arguments: object, code: int = 0, input: str | None = None) -> Shown:  # noqa: A002
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=input)
        shown = Shown(result.stdout, result.stderr)
        assert result.exit_code == code, (result, shown)
        assert not any(key in shown.out + shown.err for key in KEYS)
        return shown
