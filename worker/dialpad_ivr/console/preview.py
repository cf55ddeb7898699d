"""A preview of a test request: validation errors, or the HTTP request, curl command and workflow task."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from dialpad_ivr.contract.inputs import ListTargetsInput, SetCustomIvrInput
from dialpad_ivr.contract.outputs import FieldError, PreparedRequest
from dialpad_ivr.contract.schema import INPUTS, TaskInput
from dialpad_ivr.contract.validation import check_input, input_warnings
from dialpad_ivr.dialpad.client import DialpadClient
from dialpad_ivr.tasks.list_targets import first_call
from dialpad_ivr.tasks.local_run import as_curl


@dataclass(frozen=True)
class Preview:
    """What a test request would send.

    Attributes:
        errors: Validation errors by field; if any, the rest is empty.
        warnings: Valid input that is probably a mistake.
        http: The request as HTTP/1.1 text, without the key.
        curl: The same as a shell command; the key comes from a variable.
        task: A workflow task with this input, as JSON.
        writes: Whether the test request would change something.
    """

    errors: dict[str, FieldError]
    warnings: list[str]
    http: str = ""
    curl: str = ""
    task: str = ""
    writes: bool = False


def preview(task_type: str, payload: dict[str, Any], client: DialpadClient) -> Preview:
    """Validate a payload and build its request, without sending it."""
    params = check_input(payload, INPUTS[task_type])
    if isinstance(params, list):
        return Preview({error.path: error for error in params}, [])
    if isinstance(params, SetCustomIvrInput):
        request = client.prepare_set_custom_ivr(
            params.target_type, params.target_id, params.ivr_type, params.ivr_id, params.select_option
        )
        writes = params.mode == "apply"
    elif isinstance(params, ListTargetsInput):
        request = first_call(params, client)
        writes = False
    else:
        request = client.prepare_list_custom_ivrs(params.target_type, params.target_id, ivr_type=params.ivr_type)
        writes = False
    prepared = PreparedRequest(method=request.method, url=request.url, body=request.body)
    return Preview(
        errors={},
        warnings=input_warnings(payload, params),
        http=_http(prepared),
        curl=as_curl(prepared, params.credential),
        task=_task(task_type, payload, params),
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


def _task(task_type: str, payload: dict[str, Any], params: TaskInput) -> str:
    if isinstance(params, SetCustomIvrInput):
        reference = f"set_{params.ivr_type}".lower()
    else:
        reference = "find_targets" if isinstance(params, ListTargetsInput) else "list_ivrs"
    task = {"name": task_type, "taskReferenceName": reference, "type": "SIMPLE", "inputParameters": payload}
    return json.dumps(task, indent=2)
