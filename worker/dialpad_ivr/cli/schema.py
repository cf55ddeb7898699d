"""The command `schema`."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any

import typer

from dialpad_ivr.contract.schema import input_schema, output_schema
from dialpad_ivr.contract.values import LIST_TASK_TYPE, TARGETS_TASK_TYPE, TASK_TYPE
from dialpad_ivr.engine.definitions import task_definition


class SchemaKind(str, Enum):
    """What `schema` prints."""

    INPUT = "input"
    OUTPUT = "output"
    TASK = "task"


class TaskType(str, Enum):
    """The tasks."""

    SET_CUSTOM_IVR = TASK_TYPE
    LIST_CUSTOM_IVRS = LIST_TASK_TYPE
    LIST_TARGETS = TARGETS_TASK_TYPE


def schema(
    kind: Annotated[SchemaKind, typer.Argument(help="What to print.")] = SchemaKind.INPUT,
    task: Annotated[TaskType, typer.Option(help="The task.")] = TaskType.SET_CUSTOM_IVR,
) -> None:
    """Print the JSON schema of a task's input or output, or its task definition.

    Examples:
    - `dialpad-ivr schema > set_custom_ivr.schema.json`
    - `dialpad-ivr schema task`
    - `dialpad-ivr schema --task list_custom_ivrs`
    """
    makers: dict[SchemaKind, Callable[[str], dict[str, Any]]] = {
        SchemaKind.INPUT: input_schema,
        SchemaKind.OUTPUT: output_schema,
        SchemaKind.TASK: task_definition,
    }
    typer.echo(json.dumps(makers[kind](task.value), indent=2))
