"""The URL of a proxy, which may hold a password: what may be shown of it, and what goes to the proxy alone."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy. Its text is host and port: the user and the password are in `authorization` alone.

    Attributes:
        tls: Whether the connection to the proxy itself is encrypted (`https`).
        authorization: The value of `Proxy-Authorization`, if the URL has a user (RFC 7617).
    """

    host: str
    port: int
    tls: bool
    authorization: SecretStr | None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def check_proxy(proxy_url: SecretStr, api_url: str) -> Proxy:
    """Check that Dialpad may be called through this proxy.

    Args:
        proxy_url: Scheme (http or https), host, and optionally a port, a user and a password; nothing else.
        api_url: Dialpad's host, with its scheme.

    Raises:
        ValueError: The URL is not a proxy's, or the proxy could read the calls. The message does not repeat the URL.
    """
    if api_url.startswith("http:"):
        raise ValueError(
            "must not be set for a test double at an http:// address: the proxy could read the key. "
            "Unset it, or serve the double by https"
        )
    try:
        parts = urlsplit(proxy_url.get_secret_value().strip())
        port, host = parts.port, parts.hostname or ""
        named = re.fullmatch(r"[\w.-]+|[0-9a-f:.]+", host, re.ASCII)
        usable = bool(named) and port != 0 and parts.scheme in ("http", "https")
    except ValueError:  # a port out of range, or half a bracket
        usable = False
    if not usable or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(
            "must be a proxy's URL, e.g. http://proxy.example.com:3128 or https://USER:PASSWORD@proxy.example.com; "
            "write signs such as @ and / in the password as %40 and %2F"
        )
    authorization = None
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = SecretStr(f"Basic {base64.b64encode(login.encode()).decode()}")
    tls = parts.scheme == "https"
    return Proxy(host, port or (443 if tls else 80), tls, authorization)
