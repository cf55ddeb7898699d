"""What is filled in, checked; and the same as an HTTP request, as a curl command and as a task of a workflow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from dialpad_ivr.contract.inputs import SetCustomIvrInput
from dialpad_ivr.contract.outputs import FieldError, PreparedRequest
from dialpad_ivr.contract.schema import INPUTS, TaskInput
from dialpad_ivr.contract.validation import check_input, input_warnings
from dialpad_ivr.contract.values import LIST_TASK_TYPE
from dialpad_ivr.dialpad.client import DialpadClient
from dialpad_ivr.tasks.local_run import as_curl


@dataclass(frozen=True)
class Preview:
    """What became of an input.

    Attributes:
        errors: Its violations, by field; then there is no request.
        warnings: What is allowed, but probably not meant.
        http: The request as HTTP/1.1 has it, without the key.
        curl: The same for a shell, the key left to a variable.
        task: A task of a workflow definition with this input, as JSON.
        writes: Whether a test request would change something.
    """

    errors: dict[str, FieldError]
    warnings: list[str]
    http: str = ""
    curl: str = ""
    task: str = ""
    writes: bool = False


def prepare(task_type: str, given: dict[str, Any], client: DialpadClient) -> Preview:
    """Check an input, and prepare its request; nothing is sent."""
    asked = check_input(given, INPUTS[task_type])
    if isinstance(asked, list):
        return Preview({error.path: error for error in asked}, [])
    if isinstance(asked, SetCustomIvrInput):
        request = client.prepare_set_custom_ivr(
            asked.target_type, asked.target_id, asked.ivr_type, asked.ivr_id, asked.select_option
        )
        writes = asked.mode == "apply"
    else:
        request = client.prepare_list_custom_ivrs(asked.target_type, asked.target_id)
        writes = False
    prepared = PreparedRequest(method=request.method, url=request.url, body=request.body)
    return Preview(
        errors={},
        warnings=input_warnings(given, asked),
        http=_http(prepared),
        curl=as_curl(prepared, asked.credential),
        task=_task(task_type, given, asked),
        writes=writes,
    )


def _http(request: PreparedRequest) -> str:
    url = urlsplit(request.url)
    target = f"{url.path}?{url.query}" if url.query else url.path
    lines = [f"{request.method} {target} HTTP/1.1", f"Host: {url.netloc}", "Accept: application/json"]
    lines.append("Authorization: Bearer (not shown)")
    if request.body is not None:
        lines += ["Content-Type: application/json", "", json.dumps(request.body)]
    return "\n".join(lines)


def _task(task_type: str, given: dict[str, Any], asked: TaskInput) -> str:
    reference = "list_ivrs" if task_type == LIST_TASK_TYPE else f"set_{asked.ivr_type}".lower()
    task = {"name": task_type, "taskReferenceName": reference, "type": "SIMPLE", "inputParameters": given}
    return json.dumps(task, indent=2)
