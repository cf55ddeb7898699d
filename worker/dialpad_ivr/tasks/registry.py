"""The tasks by type."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from dialpad_ivr.contract.values import LIST_TASK_TYPE, TARGETS_TASK_TYPE, TASK_TYPE
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.list_custom_ivrs import list_custom_ivrs
from dialpad_ivr.tasks.list_targets import list_targets
from dialpad_ivr.tasks.result import Result
from dialpad_ivr.tasks.set_custom_ivr import set_custom_ivr
from dialpad_ivr.tasks.tools import Tools

TASKS: Final[dict[str, Callable[[Delivery, Tools], Awaitable[Result]]]] = {
    TASK_TYPE: set_custom_ivr,
    LIST_TASK_TYPE: list_custom_ivrs,
    TARGETS_TASK_TYPE: list_targets,
}
