"""Bulk work beside single changes, and beside the bulk work of another company, on each of the engine's databases."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from bench.conftest import AS_DIALPAD, Record, utilisation
from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.local.engine import LocalEngine, running_engine
from dialpad_ivr.provisioning.workflow import WORKFLOW
from dialpad_ivr.testing.double import DoubleControl
from support.engine import EngineRest, until
from support.fixtures import StartWorker, put_quick_definitions
from support.postgres import engine_on_postgres, postgres_folder
from support.provisioning import change, target

BULK, SINGLES = 5000, 20
EACH = 1000  # of two companies

pytestmark = pytest.mark.usefixtures("warm_engine")


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "postgres" and postgres_folder() is None:
        pytest.skip("PostgreSQL is not installed")
    return name


@pytest.fixture(scope="module")
def local_engine(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    folder = tmp_path_factory.mktemp(database)
    with running_engine(data=folder) if database == "sqlite" else engine_on_postgres(folder) as engine:
        yield engine


@pytest.fixture(scope="module")
def engine(local_engine: LocalEngine) -> Iterator[EngineRest]:
    with closing(EngineRest(local_engine.url)) as rest:
        put_quick_definitions(rest)
        yield rest


def arrivals(double: DoubleControl) -> dict[str, float]:
    """When the PATCH of each target arrived."""
    return {call["path"].split("/")[-2]: call["monotonic"] for call in double.ledger() if call["method"] == "PATCH"}


def used(moments: list[float]) -> float:
    return utilisation(len(moments), max(moments) - min(moments))


@pytest.mark.timeout(900)
def test_single_changes_overtake_five_thousand_bulk_rows(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, record: Record, database: str
) -> None:
    double.set_state(synthetic=BULK + 2 * SINGLES)
    double.configure(**AS_DIALPAD)
    started: dict[str, tuple[str, float]] = {}
    with start_worker():
        run = engine.start(WORKFLOW, {"changes": [change(number) for number in range(BULK)]})
        double.wait_for_arrivals(200, timeout=120)
        for number in range(BULK, BULK + 2 * SINGLES):
            company = "default" if number % 2 else "limited"
            started[target(number)] = company, time.monotonic()
            engine.start(TASK_TYPE, change(number, credential=company))
            time.sleep(4)  # the load that is measured: singles come now and then
        until(lambda: double.summary()["applied"] >= BULK + 2 * SINGLES, 300, "all changes")
        (ended,) = engine.ended([run], timeout=120)
    seen = arrivals(double)
    waited = {
        company: [seen[name] - moment for name, (whose, moment) in started.items() if whose == company]
        for company in ("default", "limited")
    }
    of_a = [moment for name, moment in seen.items() if started.get(name, ("default",))[0] == "default"]
    row = {
        "completed": ended["output"]["counts"].get("updated"),
        "answers of 429": double.summary()["by_status"].get("429", 0),
        "utilisation": used(of_a),
        "worst wait, same company": max(waited["default"]),
        "median": statistics.median(waited["default"]),
        "worst wait, another company": max(waited["limited"]),
    }
    record("bulk", f"{BULK} rows, {SINGLES} singles each, {database}", row)
    assert row["completed"] == BULK
    assert row["answers of 429"] == 0
    assert row["worst wait, same company"] <= 3
    assert row["worst wait, another company"] <= 2
    assert row["utilisation"] >= 0.97


@pytest.mark.timeout(600)
def test_two_companies_provision_at_their_own_limits(
    engine: EngineRest, double: DoubleControl, start_worker: StartWorker, record: Record, database: str
) -> None:
    double.set_state(synthetic=2 * EACH)
    double.configure(**AS_DIALPAD)
    changes = {
        company: [change(number, credential=company) for number in range(first, first + EACH)]
        for company, first in (("default", 0), ("limited", EACH))
    }
    with start_worker():
        ended = engine.ended([engine.start(WORKFLOW, {"changes": rows}) for rows in changes.values()], timeout=300)
    seen = arrivals(double)
    shares = {company: used([seen[row["target_id"]] for row in rows]) for company, rows in changes.items()}
    row = {
        "completed": sum(run["output"]["counts"].get("updated", 0) for run in ended),
        "answers of 429": double.summary()["by_status"].get("429", 0),
        **{f"utilisation of {company}": share for company, share in shares.items()},
    }
    record("bulk", f"{EACH} rows of two companies each, {database}", row)
    assert row["completed"] == 2 * EACH
    assert row["answers of 429"] == 0
    assert min(shares.values()) >= 0.95
