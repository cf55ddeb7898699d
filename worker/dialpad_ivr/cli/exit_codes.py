"""The exit codes of all commands."""

from __future__ import annotations

EXIT_FAILED, EXIT_USAGE, EXIT_CONSENT, EXIT_NO_ENGINE, EXIT_DIFFERS, EXIT_INTERRUPTED = 1, 2, 3, 4, 5, 130
EXIT_CODES = {
    0: "success",
    EXIT_FAILED: "a change failed, or a check failed",
    EXIT_USAGE: "invalid usage or settings",
    EXIT_CONSENT: "a definition on the server was edited, or is newer",
    EXIT_NO_ENGINE: "no engine answers",
    EXIT_DIFFERS: "what is selected differs from the file, and a plan of it would repair that",
    EXIT_INTERRUPTED: "interrupted",
}
