"""Options that several commands have. Imported for completion too, so it imports nothing but Typer."""

from __future__ import annotations

from typing import Annotated

import typer

InputJson = Annotated[
    str, typer.Option("--input", help="The input: JSON, @FILE, or - for standard input.", metavar="JSON")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Timeout = Annotated[
    float, typer.Option(help="Stop following after this many seconds (the workflow keeps running).", min=0)
]
