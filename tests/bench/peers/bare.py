"""The bare peer: the SDK's `AsyncTaskRunner` and httpx, the same PATCH, unpaced and unchecked. What a worker costs."""

import asyncio
import os

import httpx
from conductor.client.automator.async_task_runner import AsyncTaskRunner
from conductor.client.configuration.configuration import Configuration
from conductor.client.worker.worker import Worker


async def main() -> None:
    headers = {"authorization": f"Bearer {os.environ['DIALPAD_API_KEY']}"}
    async with httpx.AsyncClient(base_url=os.environ["DIALPAD_URL"], headers=headers) as dialpad:

        async def set_custom_ivr(target_type: str, target_id: str, ivr_type: str, ivr_id: str) -> dict:
            path = f"/api/v2/customivrs/{target_type}/{target_id}/{ivr_type}"
            answer = await dialpad.patch(path, json={"ivr_id": int(ivr_id)})
            return answer.raise_for_status().json()

        worker = Worker(
            task_definition_name=os.environ["TASK_TYPE"],
            execute_function=set_custom_ivr,
            poll_interval=100,
            thread_count=24,
            domain=os.environ["DOMAIN"],
        )
        await AsyncTaskRunner(worker, Configuration()).run()


if __name__ == "__main__":
    asyncio.run(main())
