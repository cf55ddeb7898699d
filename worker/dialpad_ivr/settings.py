"""Every setting, read from the environment (and from nowhere else), checked before anything starts."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from dialpad_ivr.contract.values import (
    API_URLS,
    COMPANY_LIMIT,
    COMPANY_WINDOW_SECONDS,
    PATCH_LIMIT,
    PATCH_WINDOW_SECONDS,
)


class SettingsError(Exception):
    """The environment cannot be used. The message lists every fault, without the values."""


class Settings(BaseSettings):
    """The settings of a worker and of the command. Field `x` is the environment variable `DIALPAD_IVR_X`.

    The engine's own three keep the SDK's names (CONDUCTOR_SERVER_URL, CONDUCTOR_AUTH_KEY, CONDUCTOR_AUTH_SECRET).
    Dialpad's API keys are no settings: see `dialpad_ivr.credentials`.
    """

    model_config = SettingsConfigDict(
        env_prefix="DIALPAD_IVR_", frozen=True, extra="ignore", env_ignore_empty=True, populate_by_name=True
    )

    # The engine
    server_url: str = Field(
        default="http://localhost:8080/api",
        validation_alias=AliasChoices("CONDUCTOR_SERVER_URL", "DIALPAD_IVR_SERVER_URL"),
        description="The engine's API.",
    )
    auth_key: str | None = Field(
        default=None,
        validation_alias="CONDUCTOR_AUTH_KEY",
        description="Key id of an engine that asks for one (Orkes, or a secured server).",
    )
    auth_secret: SecretStr | None = Field(
        default=None, validation_alias="CONDUCTOR_AUTH_SECRET", description="The secret that belongs to it."
    )
    domain: str | None = Field(default=None, description="The task domain to poll; none polls the default queue.")
    concurrency: int = Field(default=24, ge=1, le=500, description="Tasks that run at once in one worker.")
    poll_interval_seconds: float = Field(
        default=0.05, gt=0, le=60, description="Longest pause between two polls of an empty queue."
    )
    grace_seconds: float = Field(
        default=25, ge=0, le=3600, description="On SIGTERM or SIGINT: how long calls in flight may take to finish."
    )

    # Dialpad
    allow_loopback: bool = Field(default=False, description="Allow a loopback address as the host, for a test double.")
    api_url: str = Field(
        default=API_URLS[0],
        description=f"Dialpad's host: {API_URLS[0]} (live) or {API_URLS[1]}; a loopback address if that is allowed.",
    )
    credentials_file: Path | None = Field(
        default=None, description="A JSON file of credential profiles, read again whenever it changes."
    )
    connect_timeout_seconds: float = Field(default=5, gt=0, le=300, description="To connect, TLS included.")
    read_timeout_seconds: float = Field(default=10, gt=0, le=300, description="Between two parts of an answer.")
    write_timeout_seconds: float = Field(default=10, gt=0, le=300, description="Between two parts of a request.")
    pool_timeout_seconds: float = Field(default=5, gt=0, le=300, description="For a free connection.")
    deadline_seconds: float = Field(default=20, gt=0, le=600, description="For a whole call, whatever happens in it.")

    # Pacing
    patch_limit: int = Field(default=PATCH_LIMIT, ge=1, description="PATCHes in any patch window.")
    patch_window_seconds: float = Field(
        default=PATCH_WINDOW_SECONDS, gt=0, le=86_400, description="The length of that window."
    )
    company_limit: int = Field(default=COMPANY_LIMIT, ge=1, description="Calls of any kind in any company window.")
    company_window_seconds: float = Field(
        default=COMPANY_WINDOW_SECONDS, gt=0, le=86_400, description="The length of that window."
    )
    max_inline_wait_seconds: float = Field(
        default=3,
        ge=0,
        le=60,
        description="Longest wait for the rate limiter inside the worker; longer waits are deferred to the engine.",
    )
    default_pause_seconds: float = Field(
        default=1, gt=0, le=300, description="The pause after a 429 without a Retry-After; doubled for each in a row."
    )
    longest_pause_seconds: float = Field(default=300, gt=0, le=3600, description="A longer Retry-After is cut to this.")
    waiting_budget_seconds: float = Field(
        default=900, gt=0, description="A task that waited longer than this in all ends as rate_limited."
    )

    redis_url: SecretStr | None = Field(
        default=None,
        description="A Redis (redis://, rediss:// or unix://) in which all workers share each company's limits. "
        "Without one, run one worker for a company.",
    )

    state_dir: Path | None = Field(
        default=None,
        description="A folder in which changes whose result the engine has not taken yet outlive a restart of the "
        "worker. Without one they are kept in memory, and in the Redis if there is one.",
    )

    # Operations
    health_host: str = Field(default="127.0.0.1", description="Where /healthz, /readyz and /metrics listen.")
    health_port: int = Field(default=9464, ge=0, le=65535, description="Their port; 0 takes a free one.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least that is logged."
    )
    log_format: Literal["auto", "human", "json"] = Field(
        default="auto", description="auto: human on a terminal, JSON elsewhere."
    )

    @field_validator("server_url")
    @classmethod
    def _server_url_as_the_sdk_wants_it(cls, value: str) -> str:
        """With `/api` and without a slash at its end: with one the SDK's requests end in 404."""
        value = value.strip().rstrip("/")
        parts = urlsplit(value)
        try:
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port out of range
            usable = False
        if not usable:
            raise ValueError("must be an http(s) URL, e.g. http://localhost:8080/api")
        if parts.username or parts.password:
            raise ValueError("must not hold a user or a password; use CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET")
        return value if value.endswith("/api") else f"{value}/api"

    @field_validator("redis_url")
    @classmethod
    def _redis_url_can_be_used(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            parts = urlsplit(value.get_secret_value()) if value else None
            usable = parts is None or (
                bool(parts.path) if parts.scheme == "unix" else bool(parts.hostname) and parts.port != 0
            )
        except ValueError:  # a port out of range
            usable = False
        if not usable or (parts and parts.scheme not in ("redis", "rediss", "unix")):
            raise ValueError("must be a URL such as redis://HOST:6379/0, rediss://USER:PASSWORD@HOST:6379/0")
        return value

    @field_validator("api_url")
    @classmethod
    def _host_is_allowed(cls, value: str, info: ValidationInfo) -> str:
        return check_api_url(value, allow_loopback=bool(info.data.get("allow_loopback")))


def load_settings() -> Settings:
    """The settings from the environment.

    Raises:
        SettingsError: A variable has a value that cannot be used.
    """
    try:
        return Settings()
    except ValidationError as exc:
        errors = exc.errors(include_input=False, include_url=False)
        raise SettingsError("\n".join(f"{error['loc'][0]}: {_message(error)}" for error in errors)) from None


def _message(error: ErrorDetails) -> str:
    """A validator's own message, else pydantic's."""
    return str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]


def is_loopback(host: str) -> bool:
    """Whether it is a literal loopback address: of 127.0.0.0/8, or ::1. No name is, and no other way to write one."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # ::ffff:127.0.0.1 is one for some versions of Python and not for others.
    return address.is_loopback if address.version == 4 else address == ipaddress.IPv6Address("::1")


def check_api_url(url: str, *, allow_loopback: bool) -> str:
    """Check that a key may be sent to this host.

    Args:
        url: Scheme, host and, for loopback, port; nothing else.
        allow_loopback: Whether a literal loopback address (127.0.0.0/8 or ::1) is allowed too. Names such as
            `localhost` are not: what a name means is the resolver's to say.

    Returns:
        The same URL.

    Raises:
        ValueError: The host is not one of Dialpad's two.
    """
    if url in API_URLS:
        return url
    try:
        parts = urlsplit(url)
        plain = f"{parts.scheme}://{parts.netloc}" == url and parts.scheme in ("http", "https")
        # netloc is host[:port]: anything else, such as user info, makes the host's text differ from it.
        host, port = parts.hostname or "", parts.port
        shown = f"[{host}]" if ":" in host else host
        plain = plain and parts.netloc == (shown if port is None else f"{shown}:{port}")
        loopback = is_loopback(host)
    except ValueError:
        plain = loopback = False
    if plain and loopback:
        if allow_loopback:
            return url
        raise ValueError(f"{url} is a loopback address; for tests, set DIALPAD_IVR_ALLOW_LOOPBACK=true")
    # The URL is not repeated: it may hold a key.
    raise ValueError(
        f"DIALPAD_IVR_API_URL must be exactly {' or '.join(API_URLS)}: a key is sent to no other host "
        "(for a test double: http://127.0.0.1:PORT with DIALPAD_IVR_ALLOW_LOOPBACK=true)"
    )
