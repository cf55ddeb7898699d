"""A Dialpad double in a process of its own, and a client of its control API.

with started_double() as double:
    double.configure(latency=0.5)
    double.add_faults({"fault": "status", "status": 503, "times": 1})
    ...  # the worker calls double.url with the key double.key
    assert double.summary()["by_status"] == {"200": 3, "503": 1}
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import httpx

from dialpad_ivr.local.double import DEFAULT_COMPANY, DEFAULT_KEY, DoubleError, running_double


class DoubleControl:
    """One method for each control call. `dialpad_ivr.local.double.control` documents the JSON."""

    def __init__(self, url: str, key: str = DEFAULT_KEY) -> None:
        self.url = url
        self.key = key
        self._http = httpx.Client(base_url=f"{url}/_double/", timeout=30, trust_env=False)

    def __enter__(self) -> DoubleControl:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def _call(self, method: str, path: str, content: Any = None) -> Any:
        response = self._http.request(method, path, json=content)
        if not response.is_success:
            raise DoubleError(f"The double answered {response.status_code} to {method} {path}: {response.text}")
        return response.json()

    def state(self) -> list[dict[str, Any]]:
        """The targets."""
        found: list[dict[str, Any]] = self._call("GET", "state")["targets"]
        return found

    def set_state(self, *targets: Mapping[str, Any], synthetic: int = 0, company: int = 0) -> int:
        """Replace all targets by these, a number of synthetic ones, and a company with that number of call centers.

        Returns the number of targets.
        """
        body = {"targets": targets, "synthetic": synthetic, "company": company}
        found: int = self._call("PUT", "state", body)["targets"]
        return found

    def selected(self, target_type: str, target_id: str, ivr_type: str) -> dict[str, str | None]:
        """A slot's selection: `{"inbound": id, "outbound": id}`."""
        return next(
            slot["selected"]
            for target in self.state()
            if (target["target_type"], target["target_id"]) == (target_type, target_id)
            for slot in target["slots"]
            if slot["ivr_type"] == ivr_type
        )

    def add_faults(self, *rules: Mapping[str, Any]) -> int:
        """Append rules. Returns the number of rules."""
        found: int = self._call("POST", "faults", rules)["faults"]
        return found

    def clear_faults(self) -> None:
        """Remove all rules."""
        self._call("DELETE", "faults")

    def config(self) -> dict[str, Any]:
        """All settings."""
        found: dict[str, Any] = self._call("GET", "config")
        return found

    def configure(self, **changes: Any) -> dict[str, Any]:
        """Change settings. Returns them all."""
        found: dict[str, Any] = self._call("PUT", "config", changes)
        return found

    def ledger(self) -> list[dict[str, Any]]:
        """The arrivals, the oldest first."""
        found: list[dict[str, Any]] = self._call("GET", "ledger")["arrivals"]
        return found

    def summary(self) -> dict[str, Any]:
        """The totals over all arrivals."""
        found: dict[str, Any] = self._call("GET", "ledger?summary=true")["summary"]
        return found

    def reset(self) -> None:
        """Restore the seed and clear faults, ledger and windows. Settings stay."""
        self._call("POST", "reset")

    def wait_for_arrivals(self, count: int, timeout: float = 30) -> dict[str, Any]:
        """Wait until that number of requests has arrived, with or without a response. Returns the totals."""
        deadline = time.monotonic() + timeout
        while (summary := self.summary())["arrivals"] < count:
            if time.monotonic() > deadline:
                raise DoubleError(f"{summary['arrivals']} of {count} requests arrived within {timeout:g} s.")
            time.sleep(0.02)
        return summary


@contextlib.contextmanager
def started_double(keys: Mapping[str, str] | None = None, **config: Any) -> Iterator[DoubleControl]:
    """Run a double on a free port while the context lasts.

    Args:
        keys: Bearer keys and their companies. The control's `key` is the first of them.
        config: The initial settings.
    """
    keys = keys or {DEFAULT_KEY: DEFAULT_COMPANY}
    with running_double(keys=keys) as url, DoubleControl(url, next(iter(keys))) as control:
        if config:
            control.configure(**config)
        yield control
