"""The command `dialpad-ivr`."""
