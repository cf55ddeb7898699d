"""A stateful double of the Dialpad calls that this project makes, for tests, the demo and `dialpad-ivr dev`.

    state.py      targets, their IVRs and selections
    company.py    the seed, the synthetic targets and a generated company
    routes.py     the calls that read targets: their paths and queries
    directory.py  answers them
    request.py    parses and validates a request against the published OpenAPI document
    limits.py     both rate limits, in sliding and in fixed windows
    ledger.py     records every request, its response and the change that it made
    faults.py     fault injection
    response.py   a response, and the body of Dialpad's errors
    core.py       the double itself, an ASGI app
    control.py    the control API below /_double/: inspect and configure the double over HTTP
    server.py     serves it on loopback; `python -m dialpad_ivr.local.double`

Types named `Fake...` stand for Dialpad's side; types named `Fault...` configure fault injection.

In process: `create_app(FakeDialpad())` with `httpx.ASGITransport`, or `serving(FakeDialpad())` on a real port.
"""

from dialpad_ivr.local.double.company import synthetic_target
from dialpad_ivr.local.double.core import DEFAULT_COMPANY, DEFAULT_KEY, FakeConfig, FakeDialpad
from dialpad_ivr.local.double.faults import FaultRule
from dialpad_ivr.local.double.limits import FakeLimit
from dialpad_ivr.local.double.server import DoubleError, create_app, main, running_double, serving

__all__ = [
    "DEFAULT_COMPANY",
    "DEFAULT_KEY",
    "DoubleError",
    "FakeConfig",
    "FakeDialpad",
    "FakeLimit",
    "FaultRule",
    "create_app",
    "main",
    "running_double",
    "serving",
    "synthetic_target",
]
