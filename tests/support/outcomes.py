"""Every row of the outcome table: the double's faults, the change requested, and the expected result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dialpad_ivr.testing.double import DoubleControl
from support.provisioning import change, old_ivr, target


@dataclass(frozen=True)
class Case:
    """One row: the faults, the change, and the output that the engine should show."""

    name: str
    outcome: str
    faults: tuple[dict[str, Any], ...] = ()
    change: dict[str, Any] = field(default_factory=dict)
    retries: int = 0
    attempts: int = 1
    status_code: int | None = 200
    code: str = ""
    warnings: int = 0
    check: Callable[[dict[str, Any]], bool] = lambda _: True


def fault(name: str, times: int | None = 1, **more: Any) -> dict[str, Any]:
    return {"fault": name, "times": times, "match": {"method": "PATCH"}, **more}


def always(status: int) -> tuple[dict[str, Any], ...]:
    return (fault("status", None, status=status),)


ROWS = [
    Case("200 selected", "updated", check=lambda o: o["ivr"]["selected"]["name"] == "New hold music"),
    Case("200 without IVRs", "updated", (fault("status", status=200, body={"ivrs": []}),), warnings=1),
    Case("200 another selected", "unconfirmed", (fault("not_applied", None),), retries=1, attempts=2,
        code="another_selected", check=lambda o: o["ivr"]["selected"]["name"] == "Old hold music"),
    Case("200 another selected, inbound elsewhere", "unconfirmed", (fault("not_applied", None),),
        {"select_option": "inbound"}, retries=1, attempts=2, code="another_selected", warnings=1),
    Case("200 with an error", "unavailable", (fault("status", None, status=200, body={"error": "no"}),),
        retries=1, attempts=2, code="error_in_answer"),
    Case("200 broken JSON", "updated", (fault("broken_json", None),), retries=1, attempts=2,
        warnings=1),
    Case("200 HTML", "updated", (fault("wrong_content_type", None),), retries=1, attempts=2, warnings=1),
    Case("200 huge body", "updated", (fault("huge_body", None),), retries=1, attempts=2, warnings=1,
        check=lambda o: o["response"]["body_truncated"]),
    Case("200 gzip bomb", "updated", (fault("gzip_bomb", None, megabytes=5),), retries=1, attempts=2, warnings=1),
    Case("200 deep JSON", "updated", (fault("deep_json", None),), retries=1, attempts=2, warnings=1),
    Case("202", "unavailable", always(202), retries=1, attempts=2, status_code=202, code="unreadable_answer"),
    Case("302", "rejected", (fault("redirect"),), status_code=302, code="http_302"),
    Case("400", "rejected", always(400), status_code=400, code="http_400"),
    Case("401", "unauthorized", change={"credential": "wrong"}, status_code=401, code="http_401"),
    Case("no key", "unauthorized", change={"credential": "nobody"}, attempts=0, status_code=None, code="no_credential"),
    Case("403", "forbidden", always(403), status_code=403, code="http_403"),
    Case("404", "not_found", always(404), status_code=404, code="http_404"),
    Case("409", "conflict", always(409), status_code=409, code="http_409"),
    Case("422", "rejected", always(422), status_code=422, code="http_422"),
    Case("echoed key", "rejected", (fault("echo_authorization"),), status_code=400, code="http_400",
        check=lambda o: "[redacted]" in str(o["response"])),
    Case("408 twice", "unavailable", always(408), retries=1, attempts=2, status_code=408, code="http_408"),
    Case("500 twice", "unavailable", always(500), retries=1, attempts=2, status_code=500, code="http_500"),
    Case("502 twice", "unavailable", always(502), retries=1, attempts=2, status_code=502, code="http_502"),
    Case("503 then 200", "updated", (fault("status", status=503),), retries=1, attempts=2),
    Case("504 twice", "unavailable", always(504), retries=1, attempts=2, status_code=504, code="http_504"),
    Case("no response, change made", "updated", (fault("slow", None, seconds=5),), retries=1, attempts=2,
        status_code=None, warnings=1),
    Case("reset before the change", "unavailable", (fault("reset_before", None),), retries=1, attempts=2,
        status_code=None, code="connection_lost"),
    Case("reset after the change", "updated", (fault("reset_after", None),), retries=1, attempts=2, status_code=None,
        warnings=1),
    Case("reset, and the read fails too", "unconfirmed",
        ({"fault": "reset_before", "times": None},), retries=1, attempts=2, status_code=None, code="connection_lost"),
    Case("reset once", "updated", (fault("reset_before"),), retries=1, attempts=2),
    Case("429 then 200", "updated", (fault("rate_limited", retry_after=1),), {"credential": "odd"}, attempts=2),
    Case("rate_limit_exceeded in a 403", "updated",
        (fault("status", status=403, body={"error": {"code": "rate_limit_exceeded"}}),), {"credential": "odd"},
        attempts=2),
    Case("429 always", "rate_limited", (fault("rate_limited", None, retry_after=3),), {"credential": "limited"},
        retries=1, attempts=3, status_code=429, code="http_429",
        check=lambda o: o["error"]["retry_after_seconds"] == 3),
    Case("plan", "planned", change={"mode": "plan"}, attempts=0,
        check=lambda o: o["ivr"]["previous"]["name"] == "Old hold music"),
    Case("plan, selected already", "unchanged", change={"mode": "plan", "ivr_id": "old"}, attempts=0),
    Case("validate", "valid", change={"mode": "validate"}, attempts=0, status_code=None),
    Case("invalid", "invalid_input", change={"target_type": "nope", "mode": "go"}, attempts=0, status_code=None,
        code="invalid_input", check=lambda o: len(o["error"]["field_errors"]) == 2),
    Case("if_selected, as expected", "updated", change={"if_selected": ["old"]},
        check=lambda o: o["ivr"]["previous"]["name"] == "Old hold music"),
    Case("if_selected, moved", "conflict", change={"if_selected": ["123"]}, attempts=0, code="moved",
        check=lambda o: o["ivr"]["selected"]["name"] == "Old hold music"),
    Case("if_selected, selected already", "unchanged", change={"ivr_id": "old", "if_selected": ["123"]}, attempts=0),
    Case("if_selected, response lost", "updated", (fault("reset_after"),), {"if_selected": ["old"]},
        retries=1, attempts=1, warnings=1),
    Case("plan, moved", "planned", change={"mode": "plan", "if_selected": []}, attempts=0, warnings=1),
    Case("the engine's secret", "updated", change={"credential": "vault"}),
]  # fmt: skip


def profiles(key: str) -> dict[str, Any]:
    """A credential profile for each row, whose company is its own: what fails in one is no outage of another."""
    environment: dict[str, Any] = {}
    for number in range(len(ROWS)):
        environment |= {f"DIALPAD_API_KEY_ROW{number}": key, f"DIALPAD_COMPANY_ROW{number}": f"row {number}"}
    return environment


def prepared(double: DoubleControl) -> list[dict[str, Any]]:
    """Set up the double for all rows, each with a target of its own; returns the inputs, in order."""
    double.set_state(synthetic=len(ROWS))
    rules, inputs = [], []
    for number, row in enumerate(ROWS):
        rules += [{**rule, "match": {**rule.get("match", {}), "target_id": target(number)}} for rule in row.faults]
        old = old_ivr(number)
        changed = {
            key: old if value == "old" else [old] if value == ["old"] else value for key, value in row.change.items()
        }
        inputs.append(change(number, **{"credential": f"row{number}", **changed}))
    double.add_faults(*rules)
    return inputs


# Short timeouts, so that a row takes seconds.
QUICK: dict[str, Any] = {"DIALPAD_IVR_READ_TIMEOUT_SECONDS": "2", "DIALPAD_IVR_WAITING_BUDGET_SECONDS": "4"}
