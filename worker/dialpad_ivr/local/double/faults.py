"""Fault injection: rules, tried in order against each request.

| fault | response | change made | parameters |
|---|---|---|---|
| `status` | that status | no | `status` (required), `body`, `content_type` |
| `rate_limited` | 429 | no | `retry_after`: null, seconds or `"http_date"` (`seconds` from now) |
| `redirect` | 302, or `status` | no | `location`, `status` |
| `echo_authorization` | 400 whose body echoes the Authorization header | no | |
| `reset_before` | the connection reset (TCP RST) | no | |
| `not_applied` | 200 that shows another IVR selected; PATCH only | no | |
| `reset_after` | the connection reset (TCP RST) | yes | |
| `slow` | the usual response, delayed by `seconds` (required) | yes | |
| `broken_json` | 200, half of the body | yes | |
| `wrong_content_type` | 200 with an HTML page | yes | |
| `huge_body` | 200, JSON and `megabytes` of spaces, streamed | yes | `megabytes` (50) |
| `gzip_bomb` | 200, small on the wire, `megabytes` when unpacked | yes | `megabytes` (50) |
| `deep_json` | 200, JSON nested 100,000 deep | yes | |

With each but `rate_limited`, `seconds` delays the response or the reset.
"""

from __future__ import annotations

import asyncio
import json
import random
import zlib
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dialpad_ivr.contract.values import IvrType, TargetType
from dialpad_ivr.local.double.request import FakeRequest
from dialpad_ivr.local.double.response import FakeResponse, error_response

_Instead = Literal["status", "rate_limited", "redirect", "echo_authorization", "reset_before"]
_Spoiled = Literal[
    "not_applied",
    "reset_after",
    "slow",
    "broken_json",
    "wrong_content_type",
    "huge_body",
    "gzip_bomb",
    "deep_json",
]
Fault = Literal[_Instead, _Spoiled]

_PARAMETERS: Final[dict[str, set[str]]] = {
    "status": {"status", "body", "content_type"},
    "rate_limited": {"retry_after"},
    "redirect": {"status", "location"},
    "huge_body": {"megabytes"},
    "gzip_bomb": {"megabytes"},
}
_REQUIRED: Final = {"status": "status", "slow": "seconds"}
_ALL_PARAMETERS: Final = set().union(*_PARAMETERS.values())
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_BODILESS: Final = (204, 205, 304)
_DEPTH: Final = 100_000
_MEGABYTE: Final = 1_000_000

_HeaderValue = Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,2000}$")]


class FaultMatch(BaseModel):
    """Which requests a rule applies to; an absent field matches any. GETs have no `ivr_type`.

    The `target_type` of a list of targets is that of its items.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str | None = None
    path: str | None = None
    target_type: TargetType | None = None
    target_id: Annotated[str, Field(coerce_numbers_to_str=True)] | None = None
    ivr_type: IvrType | None = None

    def fits(self, request: FakeRequest) -> bool:
        """Whether the rule applies to a request."""
        return all(expected is None or expected == getattr(request, name) for name, expected in self)


class FaultRule(BaseModel):
    """One fault, and when to inject it. See the module's table.

    Rules do not apply to requests with an invalid key or over a limit. A rule skips the first `skip` requests that
    match and then takes `times` of them (null: no limit), each with that `probability`; a request that it does not take
    goes to the next rule. Faults that alter a 200 leave error responses (400, 404 and so on) as they are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: FaultMatch = FaultMatch()
    fault: Fault
    times: int | None = Field(default=1, ge=1)
    skip: int = Field(default=0, ge=0)
    probability: float = Field(default=1, ge=0, le=1)
    seconds: float = Field(default=0, ge=0, le=3600)
    status: int | None = Field(default=None, ge=200, le=599)
    body: Any = Field(default=None, description="A string is sent verbatim, anything else as JSON.")
    content_type: _HeaderValue = "application/json"
    retry_after: Annotated[float, Field(ge=0)] | Literal["http_date"] | None = None
    location: _HeaderValue = "https://elsewhere.invalid/api/v2/customivrs"
    megabytes: int = Field(default=50, ge=1, le=1000)

    @model_validator(mode="after")
    def _parameters_fit_the_fault(self) -> FaultRule:
        unexpected = (self.model_fields_set & _ALL_PARAMETERS) - _PARAMETERS.get(self.fault, set())
        if unexpected:
            raise ValueError(f"{', '.join(sorted(unexpected))}: not a parameter of {self.fault}")
        required = _REQUIRED.get(self.fault)
        if required and not getattr(self, required):
            raise ValueError(f"{self.fault} needs {required}")
        if self.fault == "redirect" and self.status not in (None, *_REDIRECTS):
            raise ValueError(f"a redirect's status is one of {', '.join(map(str, _REDIRECTS))}")
        return self

    @property
    def prevents(self) -> bool:
        """Whether the call is not executed at all."""
        return self.fault in get_args(_Instead)

    @property
    def resets(self) -> bool:
        """Whether the connection is reset instead of a response."""
        return self.fault in ("reset_before", "reset_after")

    @property
    def hold(self) -> float:
        """Seconds by which the response is delayed."""
        return 0 if self.fault == "rate_limited" else self.seconds


@dataclass
class _ActiveRule:
    rule: FaultRule
    passed: int = 0
    taken: int = 0

    def takes(self, request: FakeRequest, dice: random.Random) -> bool:
        rule = self.rule
        if not rule.match.fits(request) or (rule.fault == "not_applied" and request.method != "PATCH"):
            return False
        if self.passed < rule.skip:
            self.passed += 1
            return False
        if self.taken == rule.times or dice.random() >= rule.probability:
            return False
        self.taken += 1
        return True


class FaultRules:
    """The active rules."""

    def __init__(self) -> None:
        self._rules: list[_ActiveRule] = []

    def add(self, *rules: FaultRule) -> None:
        """Append rules."""
        self._rules += map(_ActiveRule, rules)

    def clear(self) -> None:
        """Remove all rules."""
        self._rules.clear()

    def __len__(self) -> int:
        return len(self._rules)

    def choose(self, request: FakeRequest, dice: random.Random) -> FaultRule | None:
        """The first rule that takes a request."""
        return next((active.rule for active in self._rules if active.takes(request, dice)), None)


def response_instead(rule: FaultRule, authorization: str, wall: float) -> FakeResponse:
    """The response in place of the call.

    Args:
        rule: A rule that prevents the call.
        authorization: The request's Authorization header.
        wall: Now, in seconds since 1970.
    """
    if rule.fault == "status" and rule.status is not None:
        if rule.status in _BODILESS:
            return FakeResponse(rule.status, b"", rule.content_type)
        if rule.body is None:
            return replace(error_response(rule.status), content_type=rule.content_type)
        text = rule.body if isinstance(rule.body, str) else json.dumps(rule.body)
        return FakeResponse(rule.status, text.encode(), rule.content_type)
    if rule.fault == "rate_limited":
        return rate_limited(wall + rule.seconds if rule.retry_after == "http_date" else None, rule.retry_after)
    if rule.fault == "redirect":
        return error_response(rule.status or 302, headers={"location": rule.location})
    if rule.fault == "echo_authorization":
        return error_response(400, f"Malformed Authorization header: {authorization}")
    raise ValueError(f"{rule.fault} does not replace the response")


def rate_limited(date: float | None = None, seconds: float | str | None = None) -> FakeResponse:
    """A 429, whose `Retry-After` is a date (in seconds since 1970), a number of seconds, or absent."""
    headers = {}
    if date is not None:
        headers["retry-after"] = formatdate(date, usegmt=True)
    elif seconds is not None:
        headers["retry-after"] = f"{seconds:g}"
    return error_response(429, "Rate limit exceeded.", headers)


async def spoil(rule: FaultRule, response: FakeResponse) -> FakeResponse:
    """Alter a 200 as the rule says."""
    if rule.fault == "broken_json":
        return replace(response, body=response.body[: len(response.body) // 2])
    if rule.fault == "wrong_content_type":
        return replace(response, body=b"<!doctype html><title>Sign in</title><p>Sign in", content_type="text/html")
    if rule.fault == "deep_json":
        return replace(response, body=b'{"ivrs": ' + b"[" * _DEPTH + b"]" * _DEPTH + b"}")
    if rule.fault == "huge_body":
        return replace(response, padding=rule.megabytes * _MEGABYTE)
    if rule.fault == "gzip_bomb":
        # In a thread: it takes a second, which must not delay other requests.
        packed = await asyncio.to_thread(_gzip, response.body, rule.megabytes)
        return replace(response, body=packed, headers={"content-encoding": "gzip"})
    return response


def _gzip(body: bytes, megabytes: int) -> bytes:
    """The body followed by that many MB of spaces, compressed."""
    packer = zlib.compressobj(level=9, wbits=zlib.MAX_WBITS | 16)
    spaces = b" " * _MEGABYTE
    return b"".join([packer.compress(body), *(packer.compress(spaces) for _ in range(megabytes)), packer.flush()])
