"""The settings: read from the environment only, and validated before anything starts."""

from __future__ import annotations

import difflib
import ipaddress
import os
from pathlib import Path
from typing import Final, Literal
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
from dialpad_ivr.proxy_url import check_proxy

_PREFIX: Final = "DIALPAD_IVR_"
# By pydantic's type of an error, with the fields of its context.
_MESSAGES: Final = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "literal_error": "must be {expected}",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
}

OTHER_VARIABLES: Final = {
    f"{_PREFIX}CACHE_DIR": "The directory for downloads, created if absent; by default one in the user's cache. Only "
    "its owner may be able to write to it, since programs run from it.",
    f"{_PREFIX}MAVEN_URL": "A mirror of Maven Central, from which the local Conductor server is downloaded; by default "
    "https://repo1.maven.org/maven2. What it serves must have the server's known SHA-256.",
    f"{_PREFIX}TEST_UI": "A built Conductor UI for the tests: a folder, or a .tar.gz of one.",
    f"{_PREFIX}UI_URL": "A mirror of the official Conductor server's jar, out of which `dev` reads the workflow UI.",
}
"""The variables with our prefix that are no settings of the worker, and what they mean."""


class SettingsError(Exception):
    """Invalid settings. The message lists every error under its variable's name, without the values."""


class Settings(BaseSettings):
    """The settings of the worker and of the commands. Field `x` is the environment variable `DIALPAD_IVR_X`.

    Those of the engine have the SDK's names: CONDUCTOR_SERVER_URL, CONDUCTOR_AUTH_KEY, CONDUCTOR_AUTH_SECRET.
    Dialpad's API keys are not settings: see `dialpad_ivr.credentials`.
    """

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        populate_by_name=True,
        hide_input_in_errors=True,  # a wrong URL may hold a password
    )

    # The engine
    server_url: str = Field(
        default="http://localhost:8080/api",
        validation_alias=AliasChoices("CONDUCTOR_SERVER_URL", "DIALPAD_IVR_SERVER_URL"),
        description="The URL of the engine's API.",
    )
    auth_key: str | None = Field(
        default=None,
        validation_alias="CONDUCTOR_AUTH_KEY",
        description="The access key id, for a secured engine.",
    )
    auth_secret: SecretStr | None = Field(
        default=None,
        validation_alias="CONDUCTOR_AUTH_SECRET",
        description="The access key secret, for a secured engine.",
    )
    domain: str | None = Field(
        default=None,
        description="The task domain to poll; the default queue if not set. Bulk work is in DOMAIN.bulk, or in bulk.",
    )
    concurrency: int = Field(
        default=40,
        ge=1,
        le=500,
        description="Tasks of a type that one worker runs concurrently from each of its queues: its own, and one of "
        "bulk work for each credential profile.",
    )
    poll_interval_seconds: float = Field(
        default=0.05, gt=0, le=60, description="The longest pause between two polls of an empty queue."
    )
    grace_seconds: float = Field(
        default=25, ge=0, le=3600, description="After SIGTERM or SIGINT: how long calls in flight may take to finish."
    )

    # Dialpad
    allow_loopback: bool = Field(
        default=False, description="Allow a loopback address as Dialpad's host, for a test double."
    )
    api_url: str = Field(
        default=API_URLS[0],
        description=f"Dialpad's host: {API_URLS[0]} (live) or {API_URLS[1]}; a loopback address if allowed.",
    )
    proxy_url: SecretStr | None = Field(
        default=None,
        description="The proxy through which Dialpad is called, and nothing else, e.g. "
        "http://USER:PASSWORD@proxy.example.com:3128; http or https. None if not set.",
    )
    credentials_file: Path | None = Field(
        default=None, description="A JSON file of credential profiles, reloaded when it changes."
    )
    connect_timeout_seconds: float = Field(
        default=5, gt=0, le=300, description="The timeout for connecting, including TLS."
    )
    read_timeout_seconds: float = Field(
        default=10, gt=0, le=300, description="The timeout between two chunks of a response."
    )
    write_timeout_seconds: float = Field(
        default=10, gt=0, le=300, description="The timeout between two chunks of a request."
    )
    pool_timeout_seconds: float = Field(
        default=5, gt=0, le=300, description="The timeout for a free connection from the pool."
    )
    deadline_seconds: float = Field(default=20, gt=0, le=600, description="The timeout for a whole call.")

    # Pacing
    patch_limit: int = Field(default=PATCH_LIMIT, ge=1, description="The most PATCH calls in any patch window.")
    patch_window_seconds: float = Field(
        default=PATCH_WINDOW_SECONDS, gt=0, le=86_400, description="The length of the patch window."
    )
    company_limit: int = Field(
        default=COMPANY_LIMIT, ge=1, description="The most calls of a company, of any kind, in any company window."
    )
    company_window_seconds: float = Field(
        default=COMPANY_WINDOW_SECONDS, gt=0, le=86_400, description="The length of the company window."
    )
    max_inline_wait_seconds: float = Field(
        default=3,
        ge=0,
        le=60,
        description="The longest wait for the rate limiter inside the worker; longer waits are deferred to the engine.",
    )
    default_pause_seconds: float = Field(
        default=1,
        gt=0,
        le=300,
        description="The pause after a 429 without a Retry-After; doubled for each consecutive one.",
    )
    longest_pause_seconds: float = Field(
        default=300, gt=0, le=3600, description="The upper limit of a pause; a longer Retry-After is capped."
    )
    waiting_budget_seconds: float = Field(
        default=900,
        gt=0,
        description="A task that waited longer than this in total for pauses after 429s to end ends as rate_limited.",
    )
    outage_budget_seconds: float = Field(
        default=3600,
        ge=0,
        description="A task that waited longer than this in total for Dialpad to work again ends as unavailable; with "
        "0 none waits.",
    )

    redis_url: SecretStr | None = Field(
        default=None,
        description="The Redis (redis://, rediss:// or unix://) in which all workers share each company's limits. "
        "Without it, run one worker per company.",
    )

    state_dir: Path | None = Field(
        default=None,
        description="The directory for undelivered results, so that they survive a worker restart. Without it they "
        "are held in memory, and in Redis if there is one. Also what an interrupted export or check has read.",
    )

    # Operations
    health_host: str = Field(default="127.0.0.1", description="The address that serves /healthz, /readyz and /metrics.")
    health_port: int = Field(default=9464, ge=0, le=65535, description="The port that serves them; 0 picks a free one.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The lowest level that is logged."
    )
    log_format: Literal["auto", "human", "json"] = Field(
        default="auto", description="auto: human on a terminal, JSON elsewhere."
    )

    @field_validator("server_url")
    @classmethod
    def _normalize_server_url(cls, value: str) -> str:
        """Ends in `/api`, without a trailing slash: with one, the SDK's requests get a 404."""
        value = value.strip().rstrip("/")
        parts = urlsplit(value)
        try:
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port out of range
            usable = False
        if not usable:
            raise ValueError("must be an http(s) URL, e.g. http://localhost:8080/api")
        if parts.username or parts.password:
            raise ValueError("must not contain a user or a password; use CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET")
        return value if value.endswith("/api") else f"{value}/api"

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: SecretStr | None) -> SecretStr | None:
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
    def _check_host(cls, value: str, info: ValidationInfo) -> str:
        return check_api_url(value, allow_loopback=bool(info.data.get("allow_loopback")))

    @field_validator("proxy_url")
    @classmethod
    def _check_proxy_url(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None:
            check_proxy(value, str(info.data.get("api_url", "")))
        return value


def variable(field: str) -> str:
    """The environment variable of a setting, e.g. `DIALPAD_IVR_PATCH_LIMIT` for `patch_limit`."""
    alias = Settings.model_fields[field].validation_alias
    return str(alias.choices[0] if isinstance(alias, AliasChoices) else alias or _prefixed(field))


def load_settings() -> Settings:
    """The settings from the environment.

    Raises:
        SettingsError: A variable has an invalid value, or the name of one that begins with `DIALPAD_IVR_` is unknown.
    """
    errors = _unknown_variables()
    try:
        settings = Settings()
    except ValidationError as exc:
        fields = {variable(field): field for field in Settings.model_fields}
        for error in exc.errors(include_input=False, include_url=False):
            field = fields.get(str(error["loc"][0]), str(error["loc"][0]))
            errors.append(f"{_variable_in_use(field)}: {_message(error)}")
    if errors:
        raise SettingsError("\n".join(errors))
    return settings


def _unknown_variables() -> list[str]:
    """A line for each variable that would be ignored because its name is mistyped."""
    known = {_prefixed(field): variable(field) for field in Settings.model_fields}
    known |= {name: name for name in OTHER_VARIABLES}
    lines = []
    for name in sorted(os.environ):
        if name.upper().startswith(_PREFIX) and name.upper() not in known:
            nearest = difflib.get_close_matches(name.upper(), known, 1, cutoff=0.8)
            advice = f"did you mean {known[nearest[0]]}?" if nearest else "docs/reference/settings.md lists them."
            lines.append(f"{name}: unknown setting; {advice}")
    return lines


def _variable_in_use(field: str) -> str:
    """The variable that a setting's value is from: those of the engine have two."""
    return variable(field) if variable(field) in os.environ else _prefixed(field)


def _prefixed(field: str) -> str:
    return f"{_PREFIX}{field.upper()}"


def _message(error: ErrorDetails) -> str:
    """A validator's own message, one of ours for what settings are made of, else pydantic's."""
    if error["type"] in _MESSAGES:
        return _MESSAGES[error["type"]].format(**error.get("ctx", {}))
    return str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]


def is_loopback(host: str) -> bool:
    """Whether it is a literal loopback address (127.0.0.0/8 or ::1) in its usual notation. Host names are not."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # Python versions disagree about ::ffff:127.0.0.1.
    return address.is_loopback if address.version == 4 else address == ipaddress.IPv6Address("::1")


def check_api_url(url: str, *, allow_loopback: bool) -> str:
    """Check that keys may be sent to this host.

    Args:
        url: Scheme, host and, for loopback, port; nothing else.
        allow_loopback: Whether a literal loopback address (127.0.0.0/8 or ::1) is allowed too. Names such as
            `localhost` are not, since they depend on the resolver.

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
        # Nothing but host[:port], such as user info, is allowed.
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
    # The URL is not shown: it may hold a key.
    raise ValueError(
        f"must be exactly {' or '.join(API_URLS)}: a key is sent to no other host "
        "(for a test double: http://127.0.0.1:PORT with DIALPAD_IVR_ALLOW_LOOPBACK=true)"
    )
