"""A stateful double of the two Dialpad calls that this project makes, for tests, the demo and `dialpad-ivr dev`.

    state.py      targets, their IVRs, what is selected; the seed and the synthetic targets
    request.py    a request against the published OpenAPI document: what it asks for, or why it is refused
    limits.py     both rate limits, in sliding and in fixed windows
    ledger.py     what arrived, what was answered, what was changed
    faults.py     the ways in which it can be told to misbehave
    answer.py     an answer, and the body that Dialpad's errors have
    core.py       the double itself, an ASGI app
    control.py    /_double/: looking at it and telling it what to do, over HTTP
    server.py     serving it on loopback; `python -m dialpad_ivr.local.double`

In process: `create_app(FakeDialpad())` with `httpx.ASGITransport`, or `serving(FakeDialpad())` on a real port.
"""

from dialpad_ivr.local.double.core import DEFAULT_COMPANY, DEFAULT_KEY, Config, FakeDialpad
from dialpad_ivr.local.double.faults import FaultRule
from dialpad_ivr.local.double.limits import FakeLimit
from dialpad_ivr.local.double.server import DoubleError, create_app, main, running_double, serving
from dialpad_ivr.local.double.state import synthetic_target

__all__ = [
    "DEFAULT_COMPANY",
    "DEFAULT_KEY",
    "Config",
    "DoubleError",
    "FakeDialpad",
    "FakeLimit",
    "FaultRule",
    "create_app",
    "main",
    "running_double",
    "serving",
    "synthetic_target",
]
