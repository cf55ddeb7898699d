"""`python -m dialpad_ivr` is the command `dialpad-ivr`."""

from dialpad_ivr.cli import app

app(prog_name="dialpad-ivr")
