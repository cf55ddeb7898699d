"""The contract matches Dialpad's published document, and its schema and models agree."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from dialpad_ivr.contract.inputs import SetCustomIvrInput
from dialpad_ivr.contract.outcomes import OUTCOME_MEANINGS, OUTCOMES
from dialpad_ivr.contract.schema import ENDPOINTS, INPUTS, input_fields, input_schema, output_schema, registered_schema
from dialpad_ivr.contract.validation import check_input
from dialpad_ivr.contract.values import IVR_TYPES, LIST_PATH, PATCH_PATH, SELECT_OPTIONS, TARGET_TYPES
from dialpad_ivr.credentials import Credentials
from dialpad_ivr.dialpad.client import DialpadClient
from dialpad_ivr.engine.definitions import shipped, task_definition
from dialpad_ivr.pacing.limiter import Limiter
from dialpad_ivr.settings import Settings
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.result import Result
from dialpad_ivr.tasks.set_custom_ivr import set_custom_ivr
from dialpad_ivr.tasks.tools import Tools
from dialpad_ivr.telemetry.metrics import Metrics
from support.bench import KEY, VALID

DATA = Path(__file__).parents[2] / "data"
OPENAPI = json.loads((DATA / "dialpad-customivrs.openapi.json").read_text())
TARGETS = json.loads((DATA / "dialpad-targets.openapi.json").read_text())


def test_path_and_enums_match_the_published_document() -> None:
    patch = OPENAPI["paths"][PATCH_PATH]["patch"]
    documented = {parameter["name"]: parameter["schema"] for parameter in patch["parameters"]}
    assert set(TARGET_TYPES) == set(documented["target_type"]["enum"])
    assert set(IVR_TYPES) == set(documented["ivr_type"]["enum"])
    assert "Rate limit: 1200 per minute." in patch["description"]
    assert "get" in OPENAPI["paths"][LIST_PATH]


def test_there_are_11_target_types_and_67_ivr_types() -> None:
    assert (len(set(TARGET_TYPES)), len(set(IVR_TYPES))) == (11, 67)


def test_body_fields_match_the_published_document() -> None:
    body = OPENAPI["components"]["schemas"]["schemas.custom_ivr.UpdateCustomIvrMessage"]
    assert set(body["properties"]) == {"ivr_id", "select_option"}
    assert body["required"] == ["ivr_id"]
    assert set(SELECT_OPTIONS) == set(body["properties"]["select_option"]["enum"])


@pytest.mark.parametrize("task_type", INPUTS)
def test_every_field_has_a_description_and_an_example(task_type: str) -> None:
    schema = input_schema(task_type)
    for name, rule in schema["properties"].items():
        assert rule["description"], name
        assert name == "__index" or rule["examples"], name


@pytest.mark.parametrize(
    ("task_type", "places"),
    [
        (
            "set_custom_ivr",
            {
                "target_type": "path",
                "target_id": "path",
                "ivr_type": "path",
                "ivr_id": "body",
                "select_option": "body",
                "if_selected": "plugin",
                "credential": "plugin",
                "mode": "plugin",
            },
        ),
        (
            "list_custom_ivrs",
            {
                "target_type": "query",
                "target_id": "query",
                "ivr_type": "plugin",
                "name": "plugin",
                "credential": "plugin",
            },
        ),
        ("list_targets", dict.fromkeys(("target_type", "office", "name", "number", "email", "credential"), "plugin")),
    ],
)
def test_place_of_a_field_is_schema_metadata_and_matches_the_published_document(
    task_type: str, places: dict[str, str]
) -> None:
    assert {name: rule["x-in"] for name, rule in input_fields(task_type).items()} == places
    method, path = ENDPOINTS[task_type]
    call = {**TARGETS["paths"], **OPENAPI["paths"]}[path][method.lower()]
    documented = {p["name"]: p["in"] for p in call["parameters"] if p["name"] in places}
    assert documented == {name: place for name, place in places.items() if place in ("path", "query")}
    for name, rule in input_fields(task_type).items():
        assert not rule["description"].lower().startswith(("path", "query", "body", "plugin")), name


@pytest.mark.parametrize("task_type", INPUTS)
def test_schemas_are_valid_json_schemas(task_type: str) -> None:
    Draft202012Validator.check_schema(input_schema(task_type))
    Draft202012Validator.check_schema(output_schema(task_type))
    Draft202012Validator.check_schema(registered_schema(task_type))


def test_every_outcome_has_a_meaning_and_a_branch() -> None:
    assert set(OUTCOME_MEANINGS) == set(OUTCOMES)
    branching = next(d.body for d in shipped() if d.name == "set_custom_ivr_branching")
    switch = next(task for task in branching["tasks"] if task["taskReferenceName"] == "by_outcome")
    assert set(switch["decisionCases"]) == set(OUTCOMES) - {"listed"}
    assert all(switch["decisionCases"].values())


def test_task_timeouts_exceed_the_longest_run_with_default_settings() -> None:
    definition, worker = task_definition(), Settings()
    longest_run = 3 * (worker.max_inline_wait_seconds + worker.deadline_seconds) + 60
    assert longest_run < definition["responseTimeoutSeconds"] < definition["timeoutSeconds"]
    assert worker.waiting_budget_seconds + worker.outage_budget_seconds + longest_run < definition["timeoutSeconds"]
    assert definition["pollTimeoutSeconds"] == 0


# --- schema and model agree on any input ----------------------------------------------------------------------------

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**53 - 2, max_value=2**63 + 2)
    | st.floats()
    | st.text()
    | st.sampled_from(
        ["", " ", "../", "%2f", "1/../../users/2", "1%2F..", "1\n", "\u0661", "1e3", "0x1", "-1", "+1", "007", "NaN"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
digits = st.integers(min_value=-2, max_value=2**64).map(str)
near_miss = st.fixed_dictionaries(
    {},
    optional={
        "target_type": st.sampled_from([*TARGET_TYPES, "CallCenter", "callcenter "]) | junk,
        "target_id": st.integers(min_value=-1, max_value=2**64) | digits | junk,
        "ivr_type": st.sampled_from([*IVR_TYPES, "hold_music"]) | junk,
        "ivr_id": st.integers(min_value=-1, max_value=2**64) | digits | st.floats(min_value=0, max_value=1e19) | junk,
        "select_option": st.sampled_from([*SELECT_OPTIONS, None, "", "both"]) | junk,
        "if_selected": st.lists(st.integers(min_value=-1, max_value=2**64) | digits, max_size=12) | junk,
        "name": st.text(max_size=220) | junk,
        "office": st.text(max_size=220) | st.integers(min_value=-1, max_value=2**64) | digits | junk,
        "number": st.sampled_from(["+14155551000", "+1 (415) 555-1000", "1", "+", "", None]) | junk,
        "email": st.sampled_from(["robin@example.com", "robin", "@", "", None]) | junk,
        "credential": st.sampled_from(["default", "emea", "", None, "Bearer x", "a" * 33]) | junk,
        "mode": st.sampled_from(["apply", "plan", "validate", "", None, "APPLY"]) | junk,
        "__index": junk,
    },
)
nearly_valid = st.builds(lambda base, change: {**base, **change}, st.just(VALID), near_miss)
anything = st.one_of(junk, near_miss, nearly_valid, st.dictionaries(st.text(), junk, max_size=12))


class SentError(Exception):
    """A request was sent."""


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[[Any], Result | None]]:
    """Runs the task on a payload; returns `None` if it would have sent a request."""

    def send(request: httpx.Request) -> httpx.Response:
        raise SentError(str(request.url))

    unpaced = Settings(patch_limit=10**6, company_limit=10**6)
    loop = asyncio.new_event_loop()
    client = DialpadClient(unpaced, httpx.MockTransport(send))
    tools = Tools(unpaced, client, Credentials(environ={"DIALPAD_API_KEY": KEY}), Limiter(unpaced), Metrics())

    def run_once(raw: Any) -> Result | None:
        try:
            return loop.run_until_complete(set_custom_ivr(Delivery(raw), tools))
        except SentError:
            return None

    yield run_once
    loop.run_until_complete(client.__aexit__(None, None, None))
    loop.close()


@pytest.mark.parametrize("task_type", INPUTS)
def test_a_definition_carries_every_value_but_no_texts(task_type: str) -> None:
    """The engine copies it twice into every task."""
    fields = registered_schema(task_type)["properties"]
    for name, rule in input_schema(task_type)["properties"].items():
        assert fields[name].get("enum") == rule.get("enum"), name
    definition = task_definition(task_type)
    assert definition["inputSchema"]["data"] == registered_schema(task_type)
    assert "outputSchema" not in definition
    assert not re.search('"(description|examples|title)": ', json.dumps(definition["inputSchema"]))
    assert len(json.dumps(definition)) < 5000
    # With true, an engine that enforces would fail the task before the worker can list every violation.
    assert definition["enforceSchema"] is False
    offered = {
        "set_custom_ivr": {"credential": "default", "mode": "apply"},
        "list_custom_ivrs": {"credential": "default"},
        "list_targets": {"credential": "default"},
    }
    assert definition["inputTemplate"] == offered[task_type]


@hypothesis_settings(
    max_examples=5 * hypothesis_settings().max_examples, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(anything)
@example(VALID)
@example({**VALID, "ivr_id": True})
@example({**VALID, "target_id": 5502522061422592.0})
@example({**VALID, "target_id": math.nan})
@example({**VALID, "target_id": math.inf})
@example({**VALID, "target_id": "9223372036854775808"})
@example({**VALID, "target_id": "9223372036854775807"})
@example({**VALID, "target_id": 9.223372036854775807e18})
@example({**VALID, "target_id": 10**5000})
@example({**VALID, "target_type": ["callcenter"]})
@example([[[[[[]]]]]])
@example({**VALID, "if_selected": []})
@example({**VALID, "if_selected": ["1"] * 11})
@example({"target_type": "user", "target_id": "1", "name": "x" * 201})
@example({"target_type": "user", "office": 5.0, "number": "+14155551000", "email": "robin@example.com"})
@example({"target_type": "user", "office": True})
@example({"target_type": "user", "office": 5.5})
@example({"target_type": "user", "office": 2**63})
@example({"target_type": "user", "target_id": "1", "name": " ", "ivr_type": ""})
def test_schema_and_model_agree_and_no_invalid_input_is_sent(run: Callable[[Any], Result | None], raw: Any) -> None:
    for task_type, model in INPUTS.items():
        result: Any = check_input(raw, model)
        try:
            model.model_validate(raw)
            model_accepts = True
        except ValidationError:
            model_accepts = False
        try:
            schema_accepts = Draft202012Validator(input_schema(task_type)).is_valid(raw)
        except ValueError:  # an integer too long to print
            schema_accepts = False
        assert schema_accepts == model_accepts == isinstance(result, model)
        assert not schema_accepts or Draft202012Validator(registered_schema(task_type)).is_valid(raw)
    result = check_input(raw, SetCustomIvrInput)
    task_result = run(raw)
    if isinstance(result, list):
        assert result
        assert task_result is not None, "a request was sent"
        assert (task_result.output.outcome, task_result.status) == ("invalid_input", "FAILED_WITH_TERMINAL_ERROR")
        assert len(task_result.output.model_dump_json()) < 100_000
        for error in result:
            assert error.message
            assert error.hint
            assert len(error.model_dump_json()) < 4000
    else:
        assert result.target_id.isdecimal()
        assert result.ivr_id.isdecimal()
        assert 1 <= int(result.target_id) < 2**63
        if task_result is not None:
            assert task_result.output.outcome in ("valid", "unauthorized")


def test_deeply_nested_input_is_a_violation() -> None:
    raw: Any = "x"
    for _ in range(100_000):
        raw = [raw]
    result = check_input({**VALID, "target_type": raw}, SetCustomIvrInput)
    assert isinstance(result, list)
    assert check_input(raw, SetCustomIvrInput) != []
