"""What the shell completes: names of workflows, and the values of options."""

from __future__ import annotations

import socket
import time

import pytest

from dialpad_ivr.contract.values import IVR_TYPES, MODES, SELECT_OPTIONS, TARGET_TYPES
from support.invoke import Invoke
from support.stub import StubEngine


class Complete:
    """Completes a command line as bash does."""

    def __init__(self, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
        self._invoke = invoke
        self._monkeypatch = monkeypatch

    def __call__(self, line: str) -> list[str]:
        words = ["dialpad-ivr", *line.split(" ")]
        self._monkeypatch.setenv("_DIALPAD_IVR_COMPLETE", "complete_bash")
        self._monkeypatch.setenv("COMP_WORDS", " ".join(words))
        self._monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        shown = self._invoke()
        assert shown.err == ""
        return shown.out.split()


@pytest.fixture
def complete(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> Complete:
    return Complete(invoke, monkeypatch)


SHIPPED = ["set_custom_ivr_branching", "set_custom_ivr_by_name", "set_custom_ivr_test_request"]


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--target-type", TARGET_TYPES),
        ("--ivr-type", IVR_TYPES),
        ("--select-option", SELECT_OPTIONS),
        ("--mode", MODES),
    ],
)
def test_values_of_options_are_completed(complete: Complete, option: str, values: tuple[str, ...]) -> None:
    assert complete(f"test-request {option} ") == list(values)
    assert complete(f"test-request {option} {values[0]}") == [v for v in values if v.startswith(values[0])]


def test_workflows_of_this_package_and_of_the_engine_are_completed(complete: Complete, stub_engine: StubEngine) -> None:
    stub_engine.definitions = {("set_custom_ivr_nightly", "1"): {}, ("other", "2"): {}}
    assert complete("run set_custom_ivr_") == sorted([*SHIPPED, "set_custom_ivr_nightly"])
    assert "other" in complete("run ")


def test_without_an_engine_only_those_of_this_package_are_completed(complete: Complete, no_engine: str) -> None:
    assert complete("run set_custom_ivr_") == SHIPPED


@pytest.mark.parametrize(
    ("name", "value"),
    [("DIALPAD_IVR_NONSENSE", "1"), ("DIALPAD_IVR_CONCURRENCY", "many"), ("CONDUCTOR_SERVER_URL", "x")],
)
def test_invalid_settings_do_not_disturb_completion(
    complete: Complete, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert complete("run set_custom_ivr_") == SHIPPED


@pytest.mark.parametrize("secured", [False, True])
def test_engine_that_does_not_answer_delays_completion_by_a_fraction_of_a_second(
    complete: Complete, monkeypatch: pytest.MonkeyPatch, secured: bool
) -> None:
    if secured:
        monkeypatch.setenv("CONDUCTOR_AUTH_KEY", "id")
        monkeypatch.setenv("CONDUCTOR_AUTH_SECRET", "secret")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("CONDUCTOR_SERVER_URL", f"http://127.0.0.1:{mute.getsockname()[1]}")
        began = time.monotonic()
        assert complete("run set_custom_ivr_") == SHIPPED
    assert time.monotonic() - began < 5  # the timeout of a read is 10 s
