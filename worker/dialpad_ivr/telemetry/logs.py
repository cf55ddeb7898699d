"""Structured logs on standard error: human-readable on a terminal, JSON lines elsewhere.

Every event is listed in `dialpad_ivr.telemetry.events`; what varies is in fields. What other libraries log goes through
the same formatter. No body and no key is ever logged. What the SDK logs below warnings contains task outputs, so it is
dropped whatever the level.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Literal

import structlog

# The SDK prefixes the names of its loggers with the process id.
_SDK_LOGGERS = f"[{os.getpid()}] conductor"

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def configure(level: str, log_format: Literal["auto", "human", "json"]) -> None:
    """Set up logging for this process.

    Args:
        level: The lowest level shown: debug, info, warning or error.
        log_format: `auto` is `human` on a terminal and `json` elsewhere.
    """
    human = log_format == "human" or (log_format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if human else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_compact_sdk_message)
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
    for name in (_SDK_LOGGERS, "httpx", "httpcore", "hpack", "urllib3", "uvicorn", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _compact_sdk_message(record: logging.LogRecord) -> bool:
    """Cut an SDK message to one line without a body: it writes tracebacks and responses into its messages."""
    if record.name.startswith(_SDK_LOGGERS):
        text = record.getMessage()
        if text.startswith("failed to deserialize data"):  # the data is a polled task, with the engine's secrets
            text = f"cannot read the engine's response: {text.rpartition(', reason:')[2].strip()[:200]}"
        record.msg, record.args = text.partition("Traceback (most recent call last)")[0].strip(), None
    return True


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """The logger."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
