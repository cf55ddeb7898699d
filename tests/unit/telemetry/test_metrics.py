"""The dashboard and the alerts: valid, about metrics that there are; alerts fire when they should, and only then."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics_core import Metric

from dialpad_ivr.contract.outcomes import OK_OUTCOMES, OUTCOMES
from dialpad_ivr.contract.schema import INPUTS
from dialpad_ivr.engine.api import EngineError
from dialpad_ivr.pacing.redis import open_limiter
from dialpad_ivr.settings import Settings
from dialpad_ivr.telemetry.metrics import WAITING, Metrics, OverrideFigures
from support.docs import ROOT, blocks
from support.engine import until
from support.prometheus import RULES, RULES_FILE
from support.promtool import as_yaml, check_expressions, promtool

DASHBOARD = json.loads((ROOT / "deploy/grafana/dialpad-ivr.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression, by where it is; variables of the dashboard are filled in as Grafana does."""
    yield from ((name, rule["expr"]) for name, rule in RULES.items())
    for panel in PANELS:
        for target in panel["targets"]:
            text = target["expr"].replace("$__rate_interval", "1m")
            yield f"{panel['title']} {target['refId']}", re.sub(r"\$(job|instance)\b", ".*", text)


EXPRESSIONS = dict(expressions())


@pytest.fixture
async def exported() -> list[Metric]:
    """What a worker exports once it has made a call."""
    metrics = Metrics()
    async with open_limiter(Settings(), metrics):
        for method in ("PATCH", "GET"):
            with metrics.calling(method, 0.1) as counted:
                counted(200)
    metrics.circuit("acme", lambda: True, opened=True)
    metrics.overrides(OverrideFigures({"planned": 0, "active": 1, "overdue": 0}, {"overridden": 4, "left": 0}))
    return list(metrics.registry.collect())


# What the engine exports, and we use.
QUEUE = "task_queue_depth"


@pytest.fixture
def labels(exported: list[Metric]) -> dict[str, dict[str, set[str]]]:
    """The labels of every sample, and their values; what Prometheus adds to each included."""
    found: dict[str, dict[str, set[str]]] = {QUEUE: {"taskType": set(INPUTS), "ownerApp": set()}}
    for sample in itertools.chain.from_iterable(family.samples for family in exported):
        names = found.setdefault(sample.name, {"job": set(), "instance": set()})
        for name, value in sample.labels.items():
            names.setdefault(name, set()).add(value)
    return found


# Of PromQL: what the expressions use besides metrics and labels.
LANGUAGE = {
    "sum",
    "by",
    "on",
    "and",
    "or",
    "max",
    "min",
    "count",
    "rate",
    "deriv",
    "increase",
    "absent",
    "histogram_quantile",
    "vector",
}


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_every_metric_and_label_is_one_that_the_worker_exports(
    where: str, labels: dict[str, dict[str, set[str]]]
) -> None:
    text = EXPRESSIONS[where]
    bare = re.sub(r"\[\w+\]", "", re.sub(r'"[^"]*"', "", text))
    metrics = {
        name for name in re.findall(r"[a-zA-Z_]\w*", bare) if name.startswith(("dialpad_ivr_", "process_", QUEUE))
    }
    assert metrics
    assert metrics <= set(labels)
    ours = set().union(*(labels[name] for name in metrics))
    assert set(re.findall(r"[a-zA-Z_]\w*", bare)) <= metrics | ours | LANGUAGE
    for metric, matchers in re.findall(r"(\w+)\{([^}]*)\}", text):
        for name, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
            assert name in labels[metric]
            values = value.split("|") if "~" in operator else [value]
            if name in ("outcome", "limit", "method", "task", "taskType", "state"):
                assert set(values) <= labels[metric][name]
            if name == "outcome" and operator == "!~":
                assert set(values) == {*OK_OUTCOMES, WAITING}


def test_outcomes_are_counted_from_the_start_so_that_the_first_is_an_increase() -> None:
    samples = {
        (sample.labels["task"], sample.labels["outcome"]): sample.value
        for family in Metrics().registry.collect()
        for sample in family.samples
        if sample.name == "dialpad_ivr_tasks_total"
    }
    assert samples == dict.fromkeys(itertools.product(INPUTS, (*OUTCOMES, WAITING)), 0)


def test_prometheus_can_parse_every_expression(tmp_path: Path) -> None:
    check_expressions(EXPRESSIONS, tmp_path)
    assert f"{len(RULES)} rules found" in promtool("check", "rules", RULES_FILE)


def test_the_configuration_of_the_docs_finds_the_rules(tmp_path: Path) -> None:
    block, engine = (block for block in blocks(ROOT / "docs/how-to/observe.md") if block.kind == "yaml")
    (tmp_path / RULES_FILE.name).write_text(RULES_FILE.read_text("utf-8"), "utf-8")
    (tmp_path / "prometheus.yml").write_text(block.text, "utf-8")
    assert "1 rule files found" in promtool("check", "config", tmp_path / "prometheus.yml")
    (tmp_path / "engine.yml").write_text(engine.text, "utf-8")
    promtool("check", "config", tmp_path / "engine.yml")
    (job,) = yaml.safe_load(block.text)["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"127.0.0.1:{Settings().health_port}"]


# The dashboard


def test_the_dashboard_is_complete() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert "id" not in DASHBOARD  # of the installation that it is put into
    assert DASHBOARD["uid"]
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references)) > 0


def test_the_dashboard_asks_for_a_data_source_and_nothing_is_bound_to_one() -> None:
    assert VARIABLES["datasource"]["type"] == "datasource"
    assert VARIABLES["datasource"]["query"] == "prometheus"
    asking = [*PANELS, *(target for panel in PANELS for target in panel["targets"])]
    asking += [variable for variable in VARIABLES.values() if variable["type"] == "query"]
    assert {json.dumps(one["datasource"]) for one in asking} == {'{"type": "prometheus", "uid": "${datasource}"}'}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used == set(VARIABLES)


def test_the_dashboard_shows_every_metric(exported: list[Metric]) -> None:
    shown = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    assert [family.name for family in exported if family.name not in shown and "process_" not in family.name] == []
    assert "process_resident_memory_bytes" in shown


# The alerts: series, a sample a minute, and what comes of them.

BY = 'job="dialpad-ivr", instance="w1"'
CALLS, TASKS = "dialpad_ivr_calls_total", "dialpad_ivr_tasks_total"


def tasks(**outcomes: str) -> dict[str, str]:
    return {f'{TASKS}{{{BY}, task="set_custom_ivr", outcome="{name}"}}': text for name, text in outcomes.items()}


def calls(**statuses: str) -> dict[str, str]:
    return {f'{CALLS}{{{BY}, method="PATCH", status="{name.strip("_")}"}}': text for name, text in statuses.items()}


def one(metric: str, text: str) -> dict[str, str]:
    return {f"dialpad_ivr_{metric}{{{BY}}}": text}


def seconds(**buckets: str) -> dict[str, str]:
    """Calls by how long they took at most: `_5` is 5 s, `_Inf` no bound."""
    return {
        f'dialpad_ivr_call_seconds_bucket{{{BY}, method="PATCH", le="{"+" * (name == "_Inf")}{name[1:]}"}}': text
        for name, text in buckets.items()
    }


def queue(text: str) -> dict[str, str]:
    return {f'{QUEUE}{{job="conductor", instance="e1", ownerApp="unknown", taskType="set_custom_ivr"}}': text}


def overrides(metric: str, **states: str) -> dict[str, str]:
    return {f'dialpad_ivr_{metric}{{{BY}, state="{state}"}}': text for state, text in states.items()}


def memory(size: str, job: str = "dialpad-ivr") -> dict[str, str]:
    return {f'process_resident_memory_bytes{{job="{job}", instance="w1"}}': f"{size}x30"}


# Each alert: when it fires, by the minute; with what value, as it is shown; and series that it must not fire for.
CASES: dict[str, tuple[int, str, dict[str, str], list[dict[str, str]]]] = {
    "DialpadIvrNoWorker": (6, "", {"up": "1x30"}, [one("redis_up", "0x30"), one("redis_up", "_x3 1x30")]),
    "DialpadIvrEngineUnreachable": (
        8,
        "",
        one("poll_failures_total", "0+4x30"),
        [one("poll_failures_total", "0x5 7x30"), one("poll_failures_total", "50x30")],
    ),
    "DialpadIvrResultsNotDelivered": (
        4,
        "2",
        one("undelivered_results", "2x30"),
        [one("undelivered_results", "0x1 3x1 0x30")],
    ),
    "DialpadIvrResultsLost": (5, "", one("update_failures_total", "0x2 1x30"), [one("update_failures_total", "3x30")]),
    "DialpadIvrRedisDown": (3, "", one("redis_up", "0x30"), [one("redis_up", "1 0 1x30")]),
    "DialpadIvrQueueGrows": (
        24,
        "2.4k",
        queue("0+100x30"),
        # one that is worked off, one that is long but does not grow, and one that is short
        [queue("9000-100x30"), queue("5000x30"), queue("0+30x30")],
    ),
    "DialpadIvrRateLimited": (20, "15", one("pauses_total", "0+1x30"), [one("pauses_total", "0x5 2x30")]),
    "DialpadIvrWaitingBudgetUsedUp": (20, "3", tasks(rate_limited="0x15 3x30"), [tasks(waiting="0+9x30")]),
    "DialpadIvrKeyRefused": (
        20,
        "2",
        tasks(unauthorized="0x15 1x30", forbidden="0x15 1x30"),
        [tasks(unauthorized="1x30", not_found="0+9x30")],
    ),
    "DialpadIvrTasksFail": (
        20,
        "33.33%",
        tasks(updated="0+10x30", not_found="0+5x30"),
        [
            tasks(updated="0x30", not_found="0x9 5x30"),  # all of too few
            tasks(updated="0+10x30", not_found="0+1x30", waiting="0+90x30"),
            tasks(planned="0+10x30", unchanged="0+10x30", valid="0+10x30", listed="0+10x30"),
        ],
    ),
    "DialpadIvrChangesUnconfirmed": (20, "1", tasks(unconfirmed="0x15 1x30"), [tasks(unavailable="0+3x30")]),
    "DialpadIvrDialpadFails": (
        12,
        "20%",
        calls(_200="0+80x30", none="0+10x30", _503="0+10x30"),
        [calls(_200="0+50x30", _404="0+50x30", _429="0+50x30", none="0+5x30")],
    ),
    "DialpadIvrOutage": (
        5,
        "",
        {f'dialpad_ivr_circuit_open{{{BY}, company="acme"}}': "1x30"},
        [{f'dialpad_ivr_circuit_open{{{BY}, company="acme"}}': "1x2 0x3 1x2 0x30"}],
    ),
    "DialpadIvrSlow": (
        25,
        "9.5s",
        seconds(_5="0+50x30", _10="0+100x30", _Inf="0+100x30"),
        [seconds(_5="0+99x30", _10="0+100x30", _Inf="0+100x30")],
    ),
    "DialpadIvrMemory": (
        12,
        "250Mi",
        {**memory("262144000"), **one("redis_up", "1x30")},
        [
            {**memory("104857600"), **one("redis_up", "1x30")},
            {**memory("262144000", "other"), **one("redis_up", "1x30")},
        ],
    ),
    "DialpadIvrOverrideOverdue": (
        6,
        "2",
        overrides("overrides", overdue="2x30", active="1x30"),
        [overrides("overrides", overdue="1x3 0x30"), overrides("overrides", overdue="0x30", active="9x30")],
    ),
    "DialpadIvrOverrideNotRestored": (
        6,
        "3",
        overrides("override_rows", left="3x30"),
        [overrides("override_rows", left="3x4 0x30"), overrides("override_rows", left="0x30", overridden="9x30")],
    ),
}


def test_every_alert_has_its_cases_and_a_section_that_says_what_to_do() -> None:
    assert set(CASES) == set(RULES)
    assert all(quiet for *_, quiet in CASES.values())
    page = (ROOT / "docs/operations/runbook.md").read_text("utf-8")
    sections = dict(re.findall(r"^## (DialpadIvr\w+)\n\n(.+?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert list(sections) == list(RULES)
    for name, rule in RULES.items():
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"docs/operations/runbook.md#{name.lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning")
        bold = re.findall(r"^\*\*(\w+)\.?\*\*", sections[name], re.MULTILINE)
        assert bold == ["Meaning", "Confirm", "Do", "Clears"], name


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_alerts_fire_when_they_should_and_only_then(name: str, tmp_path: Path) -> None:
    minute, value, firing, quiet = CASES[name]
    rule = RULES[name]
    labels = {"severity": rule["labels"]["severity"]}
    if "(job, instance)" in rule["expr"]:
        labels |= {"job": "dialpad-ivr", "instance": "w1"}
    elif "(company)" in rule["expr"]:
        labels |= {"company": "acme"}
    elif "(taskType)" in rule["expr"]:
        labels |= {"taskType": "set_custom_ivr"}
    filled = {
        key: re.sub(
            r"\{\{ \$labels.(\w+) \}\}",
            lambda name: labels[name[1]],
            re.sub(r"\{\{ \$value.*?\}\}", value, text),
        )
        for key, text in rule["annotations"].items()
    }

    def case(series: dict[str, str], expected: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
        return {
            "interval": "1m",
            "input_series": [{"series": metric, "values": values} for metric, values in series.items()],
            "alert_rule_test": [
                {"eval_time": f"{at}m", "alertname": name, "exp_alerts": alerts} for at, alerts in expected.items()
            ],
        }

    pending: dict[int, list[dict[str, Any]]] = {0: []} if "for" in rule else {}
    cases = [case(firing, {**pending, minute: [{"exp_labels": labels, "exp_annotations": filled}]})]
    cases += [case(series, {at: [] for at in range(26)}) for series in quiet]
    test = {"rule_files": [str(RULES_FILE)], "evaluation_interval": "1m", "tests": cases}
    promtool("test", "rules", as_yaml(test, tmp_path / "test.yml"))


# Overrides, which a thread reads from the engine


def shown(metrics: Metrics) -> dict[str, float]:
    return {
        sample.labels["state"]: sample.value
        for family in metrics.registry.collect()
        if family.name.startswith("dialpad_ivr_override")
        for sample in family.samples
    }


def test_overrides_are_read_on_a_scrape_in_a_thread_and_not_again_within_a_minute() -> None:
    metrics, may_answer, read = Metrics(), threading.Event(), threading.Event()
    calls = []

    def figures() -> OverrideFigures:
        calls.append(threading.current_thread())
        assert may_answer.wait(10)
        read.set()
        return OverrideFigures({"active": 2}, {"left": 1})

    metrics.watch_overrides(figures)
    assert calls == []  # nothing before the first scrape
    assert shown(metrics) == {}  # which does not wait for it
    may_answer.set()
    assert read.wait(10)
    calls[0].join(10)
    assert shown(metrics) == {"active": 2, "left": 1}
    assert len(calls) == 1


def test_overrides_that_cannot_be_read_are_not_shown_and_harm_no_scrape() -> None:
    metrics, read = Metrics(), threading.Event()
    metrics.overrides(OverrideFigures({"active": 2}, {"left": 1}))

    def figures() -> OverrideFigures:
        read.set()
        raise EngineError("No engine answers.", 0)

    metrics.watch_overrides(figures)
    shown(metrics)
    assert read.wait(10)
    until(lambda: shown(metrics) == {}, 10, "what is old to be gone")
