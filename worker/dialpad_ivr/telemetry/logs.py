"""Structured logs on standard error: for people on a terminal, JSON lines elsewhere.

What other libraries log goes through the same formatter. Nothing here is handed a body or a key; what the SDK logs
below its warnings holds task outputs, so it is never let through, whatever the level.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Literal

import structlog

# The SDK puts the process id before its loggers' names.
_SDK = f"[{os.getpid()}] conductor"

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def configure(level: str, log_format: Literal["auto", "human", "json"]) -> None:
    """Set logging up for this process.

    Args:
        level: The lowest level shown: debug, info, warning or error.
        log_format: `auto` is human on a terminal and JSON elsewhere.
    """
    human = log_format == "human" or (log_format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if human else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_tidy)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        cache_logger_on_first_use=False,
    )
    for name in (_SDK, "httpx", "httpcore", "hpack", "urllib3", "uvicorn", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _tidy(record: logging.LogRecord) -> bool:
    """Keep what the SDK says to a line: it writes tracebacks, and answers' bodies, into its messages."""
    if record.name.startswith(_SDK):
        text = record.getMessage()
        if text.startswith("failed to deserialize data"):  # the data is a polled task, with the engine's secrets
            text = f"cannot read the engine's answer: {text.rpartition(', reason:')[2].strip()[:200]}"
        record.msg, record.args = text.partition("Traceback (most recent call last)")[0].strip(), None
        return not text.startswith("Failed to batch poll")  # the worker tells that itself, and not each time
    return True


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """The logger."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
