"""Structured logs on standard error: human-readable on a terminal, JSON lines elsewhere.

Every event is listed in `dialpad_ivr.telemetry.events`; what varies is in fields. What other libraries log goes through
the same formatter. The SDK's lines are dropped: they contain inputs, outputs and the engine's secrets. No body and no
key is ever logged.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Literal

import structlog

# The SDK prefixes the names of its loggers with the process id.
SDK_LOGGERS = f"[{os.getpid()}] conductor"

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
    silence_sdk()
    for name in ("httpx", "httpcore", "hpack", "urllib3", "uvicorn", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


def silence_sdk() -> None:
    """Drop the SDK's lines.

    It writes whole responses into its messages, the engine's secrets included; the worker logs what failed itself.
    """
    logging.getLogger(SDK_LOGGERS).setLevel(logging.CRITICAL + 1)


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """The logger."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
