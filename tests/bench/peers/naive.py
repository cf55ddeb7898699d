"""The naive peer: conductor-python and python-dialpad as their READMEs show them. It leaves all else to the retries."""

import os

from conductor.client.automator.task_handler import TaskHandler
from conductor.client.configuration.configuration import Configuration
from conductor.client.worker.worker_task import worker_task
from dialpad import DialpadClient

dialpad = DialpadClient(os.environ["DIALPAD_API_KEY"], base_url=os.environ["DIALPAD_URL"])


@worker_task(
    task_definition_name=os.environ["TASK_TYPE"],
    domain=os.environ["DOMAIN"],
    poll_interval_millis=100,
    thread_count=24,
)
def set_custom_ivr(target_type: str, target_id: str, ivr_type: str, ivr_id: str) -> dict:
    return dialpad.custom_ivrs.assign(ivr_type, int(target_id), target_type, {"ivr_id": int(ivr_id)})


if __name__ == "__main__":
    with TaskHandler(configuration=Configuration()) as handler:
        handler.start_processes()
        handler.join_processes()
