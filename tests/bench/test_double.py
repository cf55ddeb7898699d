"""What a request costs the double: no bench and no demo may wait for it."""

from __future__ import annotations

import time

import httpx

from bench.conftest import Record
from dialpad_ivr.local.double import DEFAULT_KEY, FakeDialpad, serving
from support.provisioning import change

REQUESTS = 500


async def test_a_request_takes_little_of_the_processor(record: Record) -> None:
    double = FakeDialpad(keys={DEFAULT_KEY: "demo"})
    double.configure({"enforce": False})
    wanted = change(0)
    path = "/api/v2/customivrs/{target_type}/{target_id}/{ivr_type}".format_map(wanted)
    headers = {"authorization": f"Bearer {DEFAULT_KEY}"}
    async with serving(double) as url, httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
        await client.put("/_double/state", json={"synthetic": 1})
        started = time.process_time()
        for _ in range(REQUESTS):
            assert (await client.patch(path, json={"ivr_id": int(wanted["ivr_id"])})).status_code == 200
        took = (time.process_time() - started) / REQUESTS
    # The client shares this process, so its time counts too.
    record("double", "a request", {"processor ms": round(took * 1000, 2)})
    assert took < 0.01
