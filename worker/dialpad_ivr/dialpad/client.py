"""The Dialpad client: sends what `calls` prepares. Knows nothing of workflows, pacing or outcomes.

    CallError                     no usable response
    +-- NotSentError              the request was not sent: nothing can have changed
    +-- NoAnswerError             it was sent, or may have been: the change may have been made

A response of any status is a `Response`, never an exception. A key goes into one header and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any

import anyio
import httpx
from pydantic import SecretStr

from dialpad_ivr import __version__
from dialpad_ivr.contract.values import BODY_LIMIT
from dialpad_ivr.dialpad.calls import Calls, Request
from dialpad_ivr.dialpad.sanitize import parse_body, redact, secret_forms
from dialpad_ivr.dialpad.tunnel import Tunnel, TunnelError, TunnelTransport, check_tunnel
from dialpad_ivr.ordered_transport import OrderedTransport
from dialpad_ivr.proxy_url import check_proxy
from dialpad_ivr.settings import Settings, check_api_url

READ_LIMIT = 1024 * 1024
"""Bytes of a body that are read; a longer one is truncated."""

_RELEVANT_HEADERS = ("content-type", "date", "retry-after", "x-request-id", "x-cloud-trace-context", "location")
_HEADER_LIMIT = 200  # characters of a header value
# Of a connection. Many servers close theirs after 5 s: a change that is sent in that moment gets no answer.
_IDLE_SECONDS = 4.0
_CONNECTIONS = 1000  # more than all companies' calls in flight: a task that waits for a permit uses none


class CallError(Exception):
    """A call without a usable response.

    Attributes:
        code: A short name, e.g. `connect_timeout`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class NotSentError(CallError):
    """The request was not sent completely: nothing can have changed."""


class NoAnswerError(CallError):
    """The request was sent, or may have been, without a response: the change may have been made."""


@dataclass(frozen=True)
class Response:
    """A response.

    Attributes:
        status_code: The HTTP status.
        headers: The relevant ones, names in lower case, values truncated.
        body: Parsed JSON, otherwise text; truncated to `BODY_LIMIT` bytes, and then always text.
        json: The parsed body, up to `READ_LIMIT` bytes; `None` if it is not JSON.
        body_truncated: Whether `body` was truncated.
        elapsed_ms: From the start of the request to the end of the body.
        headers_at: When the headers came, by `time.monotonic`.
    """

    status_code: int
    headers: Mapping[str, str]
    body: Any
    json: Any
    body_truncated: bool
    elapsed_ms: float
    headers_at: float


class DialpadClient(Calls):
    """One pooled HTTPS client. Use it as an async context manager, and one for a whole process.

    Redirects are not followed (one would turn the PATCH into a GET, or send the key elsewhere). Proxies, `.netrc` and
    the like in the environment are ignored, except `SSL_CERT_FILE`, for a private certificate authority. A proxy that
    the settings name sees Dialpad's host name and encrypted bytes, never a key.

    Args:
        settings: The host, the proxy and the time limits.
        transport: In place of the network, for a unit test.

    Attributes:
        filters_slots: Whether to send `ivr_type` with the list of a target's IVRs: until the server refuses it.
    """

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        super().__init__(check_api_url(settings.api_url, allow_loopback=settings.allow_loopback))
        self.filters_slots = True
        self._deadline = settings.deadline_seconds
        self._connect_timeout = settings.connect_timeout_seconds
        self._context = httpx.create_ssl_context()
        limits = httpx.Limits(
            max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS, keepalive_expiry=_IDLE_SECONDS
        )
        self._tunnel: Tunnel | None = None
        if settings.proxy_url is not None and transport is None:
            self._tunnel = Tunnel(check_proxy(settings.proxy_url, self._base), self._context)
            transport = OrderedTransport(TunnelTransport(self._tunnel, self._context, limits))
        elif transport is None:
            transport = OrderedTransport(httpx.AsyncHTTPTransport(verify=self._context, limits=limits))
        self._http = httpx.AsyncClient(
            transport=transport,
            timeout=httpx.Timeout(
                connect=settings.connect_timeout_seconds,
                read=settings.read_timeout_seconds,
                write=settings.write_timeout_seconds,
                pool=settings.pool_timeout_seconds,
            ),
            follow_redirects=False,
            trust_env=False,
            # Cookies are not stored: one company's session must not travel with another's key.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={
                "user-agent": f"dialpad-ivr/{__version__}",
                "accept": "application/json",
                # Compressed responses are rejected: guards against decompression bombs.
                "accept-encoding": "identity",
            },
        )

    async def __aenter__(self) -> DialpadClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def check_proxy(self) -> None:
        """Open a connection through the proxy, if there is one; no request is sent.

        Raises:
            NotSentError: There is no connection.
        """
        if self._tunnel is not None:
            try:
                await check_tunnel(self._tunnel, self._context, httpx.URL(self._base), self._connect_timeout)
            except TunnelError as exc:
                raise NotSentError(exc.code, str(exc)) from None

    async def send(
        self, request: Request, key: SecretStr, sent: Callable[[float], Awaitable[None]] | None = None
    ) -> Response:
        """Send a prepared request.

        Args:
            request: What to send.
            key: Of the company.
            sent: Called with the time when the request has left, by `time.monotonic`.

        Raises:
            NotSentError: The request was not sent.
            NoAnswerError: No response to a request that may have been sent.
        """
        started = time.perf_counter()
        secret = key.get_secret_value()
        hidden = secret_forms(secret)

        async def trace(event: str, _: Mapping[str, Any]) -> None:
            if sent is not None and event == "http11.send_request_body.complete":
                await sent(time.monotonic())

        try:
            with anyio.fail_after(self._deadline):
                async with self._http.stream(
                    request.method,
                    request.url,
                    json=request.body,
                    headers={"authorization": f"Bearer {secret}"},
                    extensions={"trace": trace},
                ) as response:
                    headers_at = time.monotonic()
                    raw, cut = await _read(response)
        except (httpx.ConnectTimeout, httpx.ConnectError, httpx.PoolTimeout) as exc:
            raise NotSentError(_CODES[type(exc)], describe_error(exc, hidden)) from None
        except TunnelError as exc:
            raise NotSentError(exc.code, str(exc)) from None
        except TimeoutError:
            raise NoAnswerError("deadline", f"No answer within {self._deadline:g} s.") from None
        except httpx.HTTPError as exc:
            raise NoAnswerError(_CODES.get(type(exc), "connection_lost"), describe_error(exc, hidden)) from None
        parsed, text = parse_body(raw, cut=cut, hidden=hidden)
        truncated = cut or len(raw) > BODY_LIMIT
        return Response(
            status_code=response.status_code,
            headers=_headers(response.headers, hidden),
            body=parsed
            if parsed is not None and not truncated
            else text.encode("utf-8", "replace")[:BODY_LIMIT].decode("utf-8", "ignore"),
            json=parsed,
            body_truncated=truncated,
            elapsed_ms=(time.perf_counter() - started) * 1000,
            headers_at=headers_at,
        )


_CODES: dict[type[Exception], str] = {
    httpx.ConnectTimeout: "connect_timeout",
    httpx.ConnectError: "connect_failed",
    httpx.PoolTimeout: "pool_timeout",
    httpx.ReadTimeout: "read_timeout",
    httpx.WriteTimeout: "write_timeout",
}


async def _read(response: httpx.Response) -> tuple[bytes, bool]:
    """The raw body, up to `READ_LIMIT` bytes, and whether it was truncated."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        return b"", True  # compressed although not requested: never decompressed
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > READ_LIMIT:
            return bytes(body[:READ_LIMIT]), True
    return bytes(body), False


def _headers(headers: httpx.Headers, hidden: set[str]) -> dict[str, str]:
    return {
        name: redact(value, hidden)[:_HEADER_LIMIT]
        for name, value in headers.items()
        if name in _RELEVANT_HEADERS or name.startswith(("x-ratelimit-", "ratelimit"))
    }


def describe_error(exc: Exception, hidden: set[str]) -> str:
    """An exception's message without the secret, or its name if it has none."""
    return redact(str(exc), hidden)[:_HEADER_LIMIT] or type(exc).__name__
