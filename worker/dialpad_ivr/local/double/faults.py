"""The ways in which the double can be told to misbehave: rules, tried in order against each request.

| fault | what the client sees | change made | parameters |
|---|---|---|---|
| `status` | that status | no | `status` (required), `body`, `content_type` |
| `rate_limited` | 429 | no | `retry_after`: null, seconds or `"http_date"` (then `seconds` ahead) |
| `redirect` | 302, or `status` | no | `location`, `status` |
| `echo_authorization` | 400 whose body repeats the Authorization header | no | |
| `reset_before` | the connection reset (TCP RST) | no | |
| `not_applied` | 200 that shows another IVR selected; PATCH only | no | |
| `reset_after` | the connection reset (TCP RST) | yes | |
| `slow` | the usual answer, held for `seconds` (required) | yes | |
| `broken_json` | 200, the body cut in the middle | yes | |
| `wrong_content_type` | 200 with a page of HTML | yes | |
| `huge_body` | 200, JSON followed by so many MB of spaces, streamed | yes | `megabytes` (50) |
| `gzip_bomb` | 200, small on the wire, so many MB unpacked | yes | `megabytes` (50) |
| `deep_json` | 200, JSON nested 100,000 deep | yes | |

With each but `rate_limited`, `seconds` holds the answer, or the reset, for so long.
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
from dialpad_ivr.local.double.answer import FakeResponse, error_answer
from dialpad_ivr.local.double.request import FakeCall

Instead = Literal["status", "rate_limited", "redirect", "echo_authorization", "reset_before"]
Spoiled = Literal[
    "not_applied",
    "reset_after",
    "slow",
    "broken_json",
    "wrong_content_type",
    "huge_body",
    "gzip_bomb",
    "deep_json",
]
Fault = Literal[Instead, Spoiled]

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


class Match(BaseModel):
    """Which requests a rule is for; what is absent matches any. GETs have no `ivr_type`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str | None = None
    target_type: TargetType | None = None
    target_id: Annotated[str, Field(coerce_numbers_to_str=True)] | None = None
    ivr_type: IvrType | None = None

    def fits(self, call: FakeCall) -> bool:
        """Whether a request is one of them."""
        return all(wanted is None or wanted == getattr(call, name) for name, wanted in self)


class FaultRule(BaseModel):
    """One fault, and when. See the module's table.

    Requests that are refused for their key or by a limit are not tried. One that fits is passed over `skip` times, then
    taken `times` times (null: for ever), each time with that `probability`; if it is not taken the next rule is tried.
    A request that is refused anyway (400, 404 and so on) is refused as usual by the faults that would spoil a 200.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: Match = Match()
    fault: Fault
    times: int | None = Field(default=1, ge=1)
    skip: int = Field(default=0, ge=0)
    probability: float = Field(default=1, ge=0, le=1)
    seconds: float = Field(default=0, ge=0, le=3600)
    status: int | None = Field(default=None, ge=200, le=599)
    body: Any = Field(default=None, description="A string is sent as it is, anything else as JSON.")
    content_type: _HeaderValue = "application/json"
    retry_after: Annotated[float, Field(ge=0)] | Literal["http_date"] | None = None
    location: _HeaderValue = "https://elsewhere.invalid/api/v2/customivrs"
    megabytes: int = Field(default=50, ge=1, le=1000)

    @model_validator(mode="after")
    def _parameters_are_those_of_the_fault(self) -> FaultRule:
        foreign = (self.model_fields_set & _ALL_PARAMETERS) - _PARAMETERS.get(self.fault, set())
        if foreign:
            raise ValueError(f"{', '.join(sorted(foreign))}: not a parameter of {self.fault}")
        required = _REQUIRED.get(self.fault)
        if required and not getattr(self, required):
            raise ValueError(f"{self.fault} needs {required}")
        if self.fault == "redirect" and self.status not in (None, *_REDIRECTS):
            raise ValueError(f"a redirect's status is one of {', '.join(map(str, _REDIRECTS))}")
        return self

    @property
    def prevents(self) -> bool:
        """Whether it comes in place of the call, so that no change is made; `not_applied` pretends to one."""
        return self.fault in get_args(Instead)

    @property
    def resets(self) -> bool:
        """Whether there is no answer at all."""
        return self.fault in ("reset_before", "reset_after")

    @property
    def hold(self) -> float:
        """Seconds that the answer is held for."""
        return 0 if self.fault == "rate_limited" else self.seconds


@dataclass
class _ActiveRule:
    rule: FaultRule
    passed: int = 0
    taken: int = 0

    def takes(self, call: FakeCall, dice: random.Random) -> bool:
        rule = self.rule
        if not rule.match.fits(call) or (rule.fault == "not_applied" and call.method != "PATCH"):
            return False
        if self.passed < rule.skip:
            self.passed += 1
            return False
        if self.taken == rule.times or dice.random() >= rule.probability:
            return False
        self.taken += 1
        return True


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self._rules: list[_ActiveRule] = []

    def add(self, *rules: FaultRule) -> None:
        """Put rules behind those in force."""
        self._rules += map(_ActiveRule, rules)

    def clear(self) -> None:
        """Behave."""
        self._rules.clear()

    def __len__(self) -> int:
        return len(self._rules)

    def choose(self, call: FakeCall, dice: random.Random) -> FaultRule | None:
        """The first rule that takes a request."""
        return next((live.rule for live in self._rules if live.takes(call, dice)), None)


def answer_instead(rule: FaultRule, authorization: str, wall: float) -> FakeResponse:
    """The answer in place of the call.

    Args:
        rule: One that prevents the call.
        authorization: The request's Authorization header.
        wall: Now, in seconds since 1970.
    """
    if rule.fault == "status" and rule.status is not None:
        if rule.status in _BODILESS:
            return FakeResponse(rule.status, b"", rule.content_type)
        if rule.body is None:
            return replace(error_answer(rule.status), content_type=rule.content_type)
        text = rule.body if isinstance(rule.body, str) else json.dumps(rule.body)
        return FakeResponse(rule.status, text.encode(), rule.content_type)
    if rule.fault == "rate_limited":
        return rate_limited(wall + rule.seconds if rule.retry_after == "http_date" else None, rule.retry_after)
    if rule.fault == "redirect":
        return error_answer(rule.status or 302, headers={"location": rule.location})
    if rule.fault == "echo_authorization":
        return error_answer(400, f"Cannot make sense of the header Authorization: {authorization}")
    raise ValueError(f"{rule.fault} is no answer in place of the call")


def rate_limited(date: float | None = None, seconds: float | str | None = None) -> FakeResponse:
    """A 429 with a `Retry-After` that is a date (in seconds since 1970), or seconds, or without."""
    headers = {}
    if date is not None:
        headers["retry-after"] = formatdate(date, usegmt=True)
    elif seconds is not None:
        headers["retry-after"] = f"{seconds:g}"
    return error_answer(429, "Rate limit exceeded.", headers)


async def spoil(rule: FaultRule, answer: FakeResponse) -> FakeResponse:
    """What becomes of a 200."""
    if rule.fault == "broken_json":
        return replace(answer, body=answer.body[: len(answer.body) // 2])
    if rule.fault == "wrong_content_type":
        return replace(answer, body=b"<!doctype html><title>Sign in</title><p>Sign in", content_type="text/html")
    if rule.fault == "deep_json":
        return replace(answer, body=b'{"ivrs": ' + b"[" * _DEPTH + b"]" * _DEPTH + b"}")
    if rule.fault == "huge_body":
        return replace(answer, padding=rule.megabytes * _MEGABYTE)
    if rule.fault == "gzip_bomb":
        # In a thread: the second that it takes must not delay other arrivals.
        packed = await asyncio.to_thread(_gzip, answer.body, rule.megabytes)
        return replace(answer, body=packed, headers={"content-encoding": "gzip"})
    return answer


def _gzip(body: bytes, megabytes: int) -> bytes:
    """The body and so many MB of spaces, packed."""
    packer = zlib.compressobj(level=9, wbits=zlib.MAX_WBITS | 16)
    spaces = b" " * _MEGABYTE
    return b"".join([packer.compress(body), *(packer.compress(spaces) for _ in range(megabytes)), packer.flush()])
