"""Log lines: each has a documented event."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest
import structlog

from dialpad_ivr.telemetry import logs
from dialpad_ivr.telemetry.events import EVENTS
from tools.reference import log_calls


def test_every_log_call_uses_a_documented_event_and_every_event_is_used() -> None:
    calls = log_calls()
    assert {call.place: call.event for call in calls if call.event not in EVENTS} == {}
    assert set(EVENTS) - {call.event for call in calls} == set()


def test_the_log_calls_are_found_with_their_levels_and_fields() -> None:
    calls = {call.event: call for call in log_calls()}
    assert calls["rate_log_reset"].level == "warning"
    assert calls["rate_log_reset"].fields == ["wait_seconds", "hint"]
    assert calls["result_lost"].fields == ["task_id", "workflow_id", "status", "cause", "failures"]
    assert calls["task_bug"].level == "error"
    assert {"task_done", "task_deferred"} <= set(calls)


def test_events_are_snake_case() -> None:
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)+", event) for event in EVENTS)


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, config = list(root.handlers), root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**config)


@pytest.mark.usefixtures("restored_logging")
def test_lines_of_other_libraries_are_formatted_too_but_none_of_the_sdks_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("info", "json")
    logs.get_logger().info("worker_started", concurrency=3)
    logging.getLogger("uvicorn.error").warning("from %s", "uvicorn")
    logging.getLogger(f"{logs.SDK_LOGGERS}.client").error(
        "failed to deserialize data {'secret': 'S3CRET'} into class Task, reason: bad"
    )
    logging.getLogger(f"{logs.SDK_LOGGERS}.client").critical("token {'token': 'S3CRET'}")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("worker_started", "info"),
        ("from uvicorn", "warning"),
    ]
    assert lines[0]["concurrency"] == 3
