"""Options that several commands have. Imported for completion too, so it imports nothing but Typer."""

from __future__ import annotations

from typing import Annotated

import typer

InputJson = Annotated[
    str, typer.Option("--input", help="The input: JSON, @FILE, or - for standard input.", metavar="JSON")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Credential = Annotated[
    str, typer.Option(help="The credential profile: the name of an API key, e.g. emea for DIALPAD_API_KEY_EMEA.")
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Use what an interrupted command has read within 15 minutes. Needs DIALPAD_IVR_STATE_DIR."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without confirmation.")]
Timeout = Annotated[
    float, typer.Option(help="Stop following after this many seconds (the workflow keeps running).", min=0)
]
