"""How the double can be told to misbehave, and for which requests."""

from __future__ import annotations

import gzip
import random
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FaultName = Literal[
    "status",
    "rate_limited",
    "slow",
    "reset_before",
    "reset_after",
    "not_applied",
    "broken_json",
    "wrong_content_type",
    "huge_body",
    "gzip_bomb",
    "deep_json",
    "redirect",
    "echo_authorization",
]

HUGE_BODY_BYTES = 50_000_000


class Match(BaseModel):
    """Which requests: those that have every value given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["GET", "PATCH"] | None = None
    target_type: str | None = None
    target_id: str | None = None
    ivr_type: str | None = None


class Fault(BaseModel):
    """One rule. Rules are tried in the order in which they were added; the first that applies is used."""

    model_config = ConfigDict(extra="forbid")

    fault: FaultName
    match: Match = Match()
    times: int | None = Field(default=1, description="How often; null for ever.")
    skip: int = Field(default=0, ge=0, description="Matching requests that are let through first.")
    probability: float = Field(default=1.0, ge=0, le=1)
    status: int = Field(default=503, ge=200, le=599, description="For `status`.")
    body: Any = Field(default=None, description="For `status`: JSON, or a text.")
    retry_after: float | Literal["http_date"] | None = Field(
        default=None, description="For `rate_limited`: seconds, or as a date `seconds` ahead, or none."
    )
    seconds: float = Field(default=1.0, ge=0, description="For `slow` and `http_date`.")
    location: str = Field(default="https://evil.example/", description="For `redirect`.")


class Faults:
    """The rules that are in force."""

    def __init__(self, seed: int = 0) -> None:
        self.rules: list[Fault] = []
        self._chance = random.Random(seed)  # noqa: S311

    def pick(self, request: Match) -> Fault | None:
        """The rule to apply to a request, used up once more; `None` for a request to be handled well."""
        for rule in self.rules:
            wanted = rule.match.model_dump(exclude_none=True)
            if rule.times == 0 or any(getattr(request, name) != value for name, value in wanted.items()):
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            if rule.probability < 1 and self._chance.random() >= rule.probability:
                continue
            if rule.times is not None:
                rule.times -= 1
            return rule
        return None


def gzip_bomb() -> bytes:
    """Small on the wire, 100 MB unpacked."""
    return gzip.compress(bytes(100_000_000), compresslevel=9)


def deep_json() -> str:
    """Valid JSON that nests 100,000 deep."""
    return "[" * 100_000 + "]" * 100_000
