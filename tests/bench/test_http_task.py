"""The engine's own HTTP task doing the same PATCH, beside ours: what each makes of a refusal, an error and a reset."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.conftest import Record
from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest
from support.fixtures import StartWorker
from support.peers import one_task_workflow
from support.provisioning import UNPACED, change, ivr, selected

KEY = "key-of-vault"  # the engine's secret DIALPAD_API_KEY_VAULT
HTTP_WORKFLOW = "http_set_custom_ivr"
# As many and as quick as those of our task in these tests.
RETRIES = {"name": "HTTP", "retryCount": 1, "retryLogic": "FIXED", "retryDelaySeconds": 1}


def put_http_workflow(engine: EngineRest, double: DoubleControl) -> None:
    path = "/api/v2/customivrs/${workflow.input.target_type}/${workflow.input.target_id}/${workflow.input.ivr_type}"
    request = {
        "uri": double.url + path,
        "method": "PATCH",
        "accept": "application/json",
        "contentType": "application/json",
        "headers": {"Authorization": "Bearer ${workflow.secrets.DIALPAD_API_KEY_VAULT}"},
        "body": {"ivr_id": "${workflow.input.ivr_id}"},
        "connectionTimeOut": 5000,
        "readTimeOut": 10000,
    }
    task = {"name": "HTTP", "type": "HTTP", "inputParameters": {"http_request": request}, "taskDefinition": RETRIES}
    engine.put_workflow_definition(one_task_workflow(HTTP_WORKFLOW, task))


# The fault, and how our task ends: the workflow's status, the outcome, and whether the change is there.
FAULTS: dict[str, tuple[list[dict[str, Any]], tuple[str, str, bool]]] = {
    "none": ([], ("COMPLETED", "updated", True)),
    "429 three times": ([{"fault": "rate_limited", "retry_after": 1, "times": 3}], ("COMPLETED", "updated", True)),
    "404": ([{"fault": "status", "status": 404, "times": None}], ("FAILED", "not_found", False)),
    "reset before the change": ([{"fault": "reset_before"}], ("COMPLETED", "updated", True)),
    "reset after the change, twice": ([{"fault": "reset_after", "times": 2}], ("COMPLETED", "updated", True)),
    "200, another IVR selected": ([{"fault": "not_applied", "times": None}], ("FAILED", "unconfirmed", False)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_at_a_fault_our_task_ends_as_things_are(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, record: Record, fault: str
) -> None:
    rules, expected = FAULTS[fault]
    put_http_workflow(engine, double)
    found = {}
    with start_worker(DIALPAD_IVR_DOMAIN="beside", **UNPACED):
        for name, workflow, domain in (("HTTP task", HTTP_WORKFLOW, None), ("ours", TASK_TYPE, "beside")):
            double.reset()
            double.set_state(synthetic=1)
            double.add_faults(*rules)
            # The HTTP task sends the id as it is: a number, as Dialpad wants it.
            (ended,) = engine.ended([engine.start(workflow, change(0, ivr_id=int(ivr(0))), domain)])
            task = ended["tasks"][-1]
            output, response = task["outputData"], task["outputData"].get("response")
            found[name] = {
                "workflow": ended["status"],
                "outcome": output.get("outcome")
                or (response["statusCode"] if isinstance(response, dict) else str(response).partition(" on ")[0]),
                "change made": selected(double, range(1)) == [ivr(0)],
                "tries": len(ended["tasks"]),
                "PATCHes": sum(arrival["method"] == "PATCH" for arrival in double.ledger()),
                "key kept by the engine": KEY in json.dumps(ended),
                "seconds": (ended["endTime"] - ended["startTime"]) / 1000,
            }
            record(f"fault: {fault}", name, found[name])
    assert (found["ours"]["workflow"], found["ours"]["outcome"], found["ours"]["change made"]) == expected
