"""A timed override at Dialpad's own rate: how long each half takes, and how late it begins."""

from __future__ import annotations

import time

import pytest

from bench.conftest import DIALPAD, PERMITTED, Record
from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest
from support.fixtures import StartWorker
from support.overrides import as_before, from_now, noted

CALLS = 2  # of each row in each half: what is selected is read first


@pytest.mark.timeout(400)
@pytest.mark.parametrize("count", [200, 500])
def test_each_half_begins_in_time_and_goes_at_the_rate_that_dialpad_permits(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, record: Record, count: int
) -> None:
    ideal = count * CALLS / PERMITTED
    delay, lasts = 10.0, 1.3 * ideal
    double.set_state(synthetic=count)
    double.configure(enforce=True, **DIALPAD, latency=0.05, answer_jitter=0.005)
    known = double.summary()["arrivals"]
    with start_worker():
        begins = time.time() + delay
        window = {"from": from_now(delay), "until": from_now(delay + lasts)}
        started = engine.start(
            "override_custom_ivrs", {"changes": [noted(number) for number in range(count)], **window}
        )
        (ended,) = engine.ended([started], timeout=300)
    calls = double.ledger()[known:]
    made, restored = calls[: count * CALLS], calls[count * CALLS :]
    took = [max(half) - min(half) for half in ([call["monotonic"] for call in half] for half in (made, restored))]
    late = [made[0]["wall"] - begins, restored[0]["wall"] - begins - lasts]
    refused = double.summary()["by_status"].get("429", 0)
    record(
        "overrides",
        f"{count} rows at 20/s",
        {
            "restored": ended["output"]["restored_rows"],
            "answers of 429": refused,
            "begins late s": late[0],
            "ends late s": late[1],
            "made / ideal": took[0] / ideal,
            "restored / ideal": took[1] / ideal,
        },
    )
    assert ended["output"]["outcome"] == "success"
    assert as_before(double, count)
    assert refused == 0
    assert min(late) >= 0
    assert max(late) <= 5
    assert max(took) <= 1.1 * ideal
