"""An outage of Dialpad on the real engine: every workflow waits for its end, and none fails."""

from __future__ import annotations

from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest, until
from support.fixtures import StartWorker
from support.provisioning import change

WORKFLOWS = 60
PROBES = 5


def test_an_outage_fails_no_workflow_and_costs_few_calls(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker
) -> None:
    double.set_state(synthetic=WORKFLOWS)
    double.add_faults({"fault": "status", "status": 503, "times": None})
    with start_worker(DIALPAD_IVR_DOMAIN="outage") as worker:
        ids = [engine.start("set_custom_ivr", change(number), domain="outage") for number in range(WORKFLOWS)]
        until(lambda: worker.log.count('"circuit_probe"') >= PROBES, what="some probes")
        double.clear_faults()
        ended = engine.ended(ids)
        assert worker.stop() == 0
        log = worker.log
    assert {workflow["status"] for workflow in ended} == {"COMPLETED"}
    # The first two failures may have been their targets' own.
    tasks = [task for workflow in ended for task in workflow["tasks"]]
    assert sum(task["retryCount"] > 0 for task in tasks) <= 2
    assert max(task["outputData"]["outage_ms"] for task in tasks) >= 1000
    failed = [line for line in double.ledger() if line["status"] == 503]
    # Those that were under way when the third failed had left within the round trip of the first.
    assert len(failed) <= PROBES + 10
    assert log.count('"circuit_opened"') == log.count('"circuit_closed"') == 1
