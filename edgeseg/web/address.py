"""`web://host:port?token=...`: where the page is served, to whom, and under which names."""

from __future__ import annotations

import hmac
import ipaddress
import math
import secrets
import socket
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, urlsplit

from edgeseg.errors import UsageError, nearest

__all__ = ["Address", "parse_address"]

PORT = 8080
LOOPBACK = "127.0.0.1"
#: At least so many characters of a token: with 64 to choose from, trying them over a network takes for ever.
TOKEN_LENGTH = 8
EXAMPLE = "web://127.0.0.1:8080"


@dataclass(frozen=True)
class Address:
    """Where the page is served.

    Attributes:
        host: Name or IP address to listen on, IPv6 without brackets.
        port: To listen on; 0 for any that is free.
        token: What a request must know; empty where all may ask.
        max_age_ms: `/readyz` says yes while the newest frame is younger; no write for so long, and nothing looks live.
    """

    host: str = LOOPBACK
    port: int = PORT
    token: str = field(default="", repr=False)
    max_age_ms: float = 2000.0

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone can ask."""
        ip = _ip_of(self.host)
        return ip.is_loopback if ip else self.host == "localhost"

    def url(self, scheme: str, port: int) -> str:
        """The address with another scheme and port, without the token."""
        return f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{port}"

    def serves(self, host_header: str) -> bool:
        """Whether the page goes by the name in a request's Host header.

        Names that somebody else's name server points here do not count: a page of theirs, open in a browser on this
        machine, could read the camera. The port is not looked at, because a tunnel may end at another.
        """
        try:
            name = urlsplit(f"//{host_header}").hostname or ""
        except ValueError:
            return False
        if name == self.host.lower():
            return True
        ip = _ip_of(name)
        if self.is_loopback:
            return ip.is_loopback if ip else name == "localhost"
        own = socket.gethostname().lower()
        return ip is not None or name in ("localhost", own, f"{own}.local")

    def admits(self, given: str) -> bool:
        """Whether a request that gives this token is answered; how long that takes tells nothing of the right one."""
        return not self.token or hmac.compare_digest(given.encode(errors="backslashreplace"), self.token.encode())


def parse_address(uri: str) -> Address:
    """The address that `web://...` means: without a host this machine alone, without a port 8080.

    Raises:
        UsageError: It is none, an option does not fit, or it is open to others and has no token.
    """
    shown = uri.partition("?")[0]
    try:
        parts = urlsplit(uri)
        port = PORT if parts.port is None else parts.port
    except ValueError as error:
        raise UsageError(f"'{shown}' is no address of a page: {error}.", hint=f"Type {EXAMPLE}") from error
    if parts.scheme != "web" or parts.path not in ("", "/") or "@" in parts.netloc or parts.fragment:
        raise UsageError(f"'{shown}' is no address of a page.", hint=f"Type {EXAMPLE}")
    options = _options(parts, shown)
    token = options.get("token", "")
    if 0 < len(token) < TOKEN_LENGTH or ("token" in options and not token) or not token.isprintable():
        raise UsageError(
            f"The token of {shown} has {len(token)} characters; {TOKEN_LENGTH} or more can't be guessed.",
            hint=f"Take this one: {shown}?token={secrets.token_urlsafe(12)}",
        )
    address = Address(parts.hostname or LOOPBACK, port, token, _max_age(options.get("max_age_ms", "2000"), shown))
    if not token and not address.is_loopback:
        raise UsageError(
            f"{shown} would show the camera to the whole network, and has no token.",
            hint=f"Give it one: {shown}?token={secrets.token_urlsafe(12)}\nOr for this machine alone: {EXAMPLE}",
        )
    return address


def _options(parts: SplitResult, shown: str) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options.keys() - {"token", "max_age_ms"}:
        raise UsageError(f"{shown} has no option '{name}'.", hint=nearest(name, ("token", "max_age_ms")))
    return options


def _max_age(text: str, shown: str) -> float:
    try:
        max_age_ms = float(text)
    except ValueError:
        max_age_ms = math.nan
    if not 1 <= max_age_ms <= 3_600_000:
        raise UsageError(
            f"max_age_ms of {shown} is '{text}'; 1 to 3600000 milliseconds are possible.",
            hint=f"Type {shown}?max_age_ms=2000",
        )
    return max_age_ms


def _ip_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
