"""Entry point of `dialpad-ivr` and `python -m dialpad_ivr`."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run the command."""
    # A container's first process ignores SIGTERM until it has a handler, and the imports take a while.
    if sys.argv[1:] == ["worker"]:
        # The worker later sets handlers of its own, which drain; until then nothing is in flight. No exception, which
        # an import might turn into another one.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: os._exit(128 + number))
        # It has no options: it does without what reads them.
        from dialpad_ivr.cli.worker import worker  # noqa: PLC0415

        worker()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    from dialpad_ivr.cli.app import app  # noqa: PLC0415

    app(prog_name="dialpad-ivr")


if __name__ == "__main__":
    main()
