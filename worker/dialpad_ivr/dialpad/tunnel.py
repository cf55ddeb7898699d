"""Connections to Dialpad through a proxy: an end-to-end TLS connection within a CONNECT tunnel (RFC 9110, 9.3.6).

httpx has a proxy of its own. It is not used, since it forwards a plain request with all its headers, cannot tell a
proxy that hangs from an answer that never came, and loses a connection of its pool whenever TLS fails in a tunnel.
Here the tunnel is a way to open a connection, nothing else: until it stands and TLS has verified that Dialpad is at its
other end, nothing of a request is sent.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Final

import anyio
import h11
import httpcore
import httpx

from dialpad_ivr.proxy_url import Proxy

_CHUNK: Final = 4096  # bytes; a response to CONNECT has a head and no body that is read


class TunnelError(Exception):
    """No connection to Dialpad through the proxy: nothing was sent to Dialpad. The message names the proxy.

    Attributes:
        code: `proxy_unauthorized`, `proxy_refused`, `proxy_unavailable`, `untrusted_certificate`, `connect_timeout` or
            `connect_failed`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Tunnel(httpcore.AsyncNetworkBackend):
    """Opens connections through a proxy, each within the time that is given for connecting.

    Args:
        proxy: The proxy.
        context: Verifies the proxy's certificate if its URL is `https`.
    """

    def __init__(self, proxy: Proxy, context: ssl.SSLContext) -> None:
        self._proxy = proxy
        self._context = context
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Open a tunnel to a host.

        Raises:
            TunnelError: There is none.
        """
        proxy = self._proxy
        stream: httpcore.AsyncNetworkStream | None = None
        try:
            with anyio.fail_after(timeout):
                stream = await self._network.connect_tcp(proxy.host, proxy.port, None, local_address, socket_options)
                if proxy.tls:
                    stream = await stream.start_tls(self._context, proxy.host)
                status = await self._request_tunnel(stream, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            _check_status(status, proxy, f"{host}:{port}")
        except BaseException as exc:
            if stream is not None:
                with anyio.CancelScope(shield=True):
                    await stream.aclose()
            if isinstance(exc, TimeoutError):
                message = f"The proxy {proxy} opened no connection within {timeout:g} s. Check DIALPAD_IVR_PROXY_URL."
                raise TunnelError("connect_timeout", message) from None
            if isinstance(exc, httpcore.NetworkError | httpcore.TimeoutException | h11.RemoteProtocolError):
                message = f"No connection through the proxy {proxy} ({exc}). Check DIALPAD_IVR_PROXY_URL."
                code = "untrusted_certificate" if _is_untrusted(exc) else "connect_failed"
                raise TunnelError(code, message) from None
            raise
        return _TunnelStream(stream, proxy)

    async def _request_tunnel(self, stream: httpcore.AsyncNetworkStream, target: str) -> int:
        """Send the CONNECT; returns the status of the response, of which nothing else is believed or shown."""
        connection = h11.Connection(h11.CLIENT)
        headers = [("Host", target)]
        if self._proxy.authorization is not None:
            headers.append(("Proxy-Authorization", self._proxy.authorization.get_secret_value()))
        await stream.write(connection.send(h11.Request(method="CONNECT", target=target, headers=headers)) or b"")
        connection.send(h11.EndOfMessage())
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.read(_CHUNK))
            elif isinstance(event, h11.Response):
                if connection.trailing_data[0] and event.status_code < 300:
                    raise h11.RemoteProtocolError("bytes that nobody requested")
                return event.status_code


def _check_status(status: int, proxy: Proxy, target: str) -> None:
    """Raise unless the tunnel stands."""
    if status < 300:
        return
    if status == 407:
        code, what = "proxy_unauthorized", "requires another user or password (407). Check DIALPAD_IVR_PROXY_URL"
    elif status < 500:
        code, what = "proxy_refused", f"refuses connections to {target} ({status}). Have them allowed"
    else:
        code, what = "proxy_unavailable", f"cannot connect to {target} now ({status})"
    raise TunnelError(code, f"The proxy {proxy} {what}.")


class _TunnelStream(httpcore.AsyncNetworkStream):
    """A tunnel on which TLS has not begun: says through which proxy it failed."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, proxy: Proxy) -> None:
        self._stream = stream
        self._proxy = proxy

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        """Begin TLS with Dialpad.

        Raises:
            TunnelError: It failed, e.g. since who answers is not Dialpad.
        """
        through = f"{server_hostname} through the proxy {self._proxy}"
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except httpcore.ConnectTimeout:
            raise TunnelError("connect_timeout", f"No TLS with {through} within {timeout:g} s.") from None
        except httpcore.ConnectError as exc:
            if not _is_untrusted(exc):
                raise TunnelError("connect_failed", f"No TLS with {through}: {exc}.") from None
            message = (
                f"The certificate of {through} is not trusted ({exc}). Does the proxy decrypt TLS? Exempt Dialpad."
            )
            raise TunnelError("untrusted_certificate", message) from None

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()


def _is_untrusted(error: BaseException) -> bool:
    return isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def check_tunnel(tunnel: Tunnel, context: ssl.SSLContext, url: httpx.URL, timeout_seconds: float) -> None:
    """Open a connection to Dialpad through the proxy, and close it; nothing is sent to Dialpad.

    Raises:
        TunnelError: There is none.
    """
    stream = await tunnel.connect_tcp(url.host, url.port or 443, timeout_seconds)
    await (await stream.start_tls(context, url.host, timeout_seconds)).aclose()


class TunnelTransport(httpx.AsyncBaseTransport):
    """httpx over a pool of connections that a tunnel opens.

    Args:
        tunnel: The tunnel.
        context: Verifies Dialpad's certificate.
        limits: Of the pool.
    """

    def __init__(self, tunnel: Tunnel, context: ssl.SSLContext, limits: httpx.Limits) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=tunnel,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises:
            TunnelError: No connection, so nothing was sent.
            httpx.TransportError: As without a proxy.
        """
        url = request.url
        sent = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _as_httpx():
            response = await self._pool.handle_async_request(sent)
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response), extensions=response.extensions
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for chunk in self._response.aiter_stream():
                yield chunk

    async def aclose(self) -> None:
        await self._response.aclose()


@contextlib.contextmanager
def _as_httpx() -> Iterator[None]:
    """Raise httpcore's errors as httpx's, which have the same names."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as exc:
        raise getattr(httpx, type(exc).__name__)(str(exc)) from exc
