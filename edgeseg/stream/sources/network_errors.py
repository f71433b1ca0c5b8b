"""Network cameras that can't be opened or break off: which it was, in words that never hold a password."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, NamedTuple

from edgeseg.data.uri import split_scheme, without_password
from edgeseg.errors import SourceLost, UsageError

if TYPE_CHECKING:
    from av.error import FFmpegError

__all__ = ["ANSWER_S", "SILENCE_S", "Place", "break_reason", "place_of", "refusal"]

#: Seconds for the camera's answer, and again for its first packets. Whoever supervises is more patient, and so learns
#: the reason from here.
ANSWER_S = 4.5
#: Seconds without a packet; longer than any supervisor waits, which knows better what silence means.
SILENCE_S = 30.0
EXAMPLE = "user:password@192.168.1.10/path"
#: Why a camera is not opened, by the name of FFmpeg's error or by what else is known: the message and the hint.
REFUSALS = {
    "no user": (
        "'{shown}' is open to those alone who give a user and a password.",
        "Put them into the address: " + f"rtsp://{EXAMPLE}. There, write @ as %40 and / as %2F.",
    ),
    "HTTPUnauthorizedError": (
        "'{shown}' refuses this user and password.",
        "Try them in the camera's own page. In an address, write @ as %40 and / as %2F.",
    ),
    "HTTPForbiddenError": ("'{shown}' is forbidden to this user.", "Allow the user to view live video in the camera."),
    "HTTPNotFoundError": (
        "The camera at {where} has nothing at the path of '{shown}'.",
        "Its manual names the path; common are /stream1, /live, /h264 and /Streaming/Channels/101.",
    ),
    "HTTPServerError": (
        "The camera at {where} can't serve '{shown}' now.",
        "Cameras serve few viewers at once: close others, or restart it.",
    ),
    "HTTPOtherClientError": (
        "The camera at {where} does not play '{shown}'.",
        "Is it the path of video, not of sound alone?",
    ),
    "ConnectionRefusedError": (
        "Nothing listens at {where}.",
        "Is the camera started, its network video switched on, and this the port?",
    ),
    "unknown host": ("There is no host '{host}' in this network.", "Mistyped? Its number works too: 192.168.1.10"),
    "silent": (
        "'{shown}' did not answer within {seconds:g} s.",
        "Is the camera on, in this network, and behind no firewall? Try: ping {host}",
    ),
    "no video": (
        "What answers at {where} sends no video: '{shown}' can't be decoded.",
        "Are scheme and port right? Cameras have RTSP at 554, HTTP at 80.",
    ),
}
OTHERWISE = ("'{shown}' can't be opened: {reason}.", "Try: ping {host}")
#: What FFmpeg says of silence, of a connection that was closed, and of what is no video alike.
VAGUE = (
    "BrokenPipeError",
    "ConnectionResetError",
    "EOFError",
    "ExitError",
    "InvalidDataError",
    "OSError",
    "TimeoutError",
)
#: Why a stream broke off, by the name of FFmpeg's error.
BREAKS = {
    "EOFError": "the camera ended the stream",
    "ConnectionResetError": "the camera closed the connection",
    "ExitError": f"nothing came for {SILENCE_S:g} s",
    "OSError": "the connection failed",
}
PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


class Place(NamedTuple):
    """What an address tells but for user and password: where the camera is, as `host:port`, and a name for it."""

    host: str
    where: str
    name: str


def place_of(uri: str) -> Place:
    """Take an address apart.

    Raises:
        UsageError: It names no host.
    """
    scheme, rest = split_scheme(without_password(uri))
    found = re.match(r"(?:\*\*\*@)?(\[[0-9a-fA-F:.]+\]|[^\s/?#:@\[\]]+)(?::(\d{1,5}))?(?:/([^?#]*))?(?=[?#]|$)", rest)
    if found is None:
        raise UsageError(f"'{without_password(uri)}' names no host.", hint=f"Type it so: {scheme}://{EXAMPLE}")
    host, port, path = found.groups()
    last = (path or "").rstrip("/").rpartition("/")[2]
    name = re.sub(r"[^a-zA-Z0-9.]+", "-", f"{host}-{last}").strip("-.")[:64]
    return Place(host.strip("[]"), f"{host}:{port or PORTS[scheme]}", name or "camera")


def refusal(error: FFmpegError, uri: str, seconds: float) -> SourceLost:
    """Why a camera can't be opened after `seconds` of trying, and what to do about it."""
    place, shown = place_of(uri), without_password(uri)
    kind = type(error).__name__
    if kind == "HTTPUnauthorizedError" and "***" not in shown:
        kind = "no user"
    elif kind in VAGUE and seconds > 0.9 * ANSWER_S:
        kind = "silent"
    elif kind == "OSError" and not _is_known(place.host):
        kind = "unknown host"
    told, hint = REFUSALS.get(kind, REFUSALS["no video"] if kind in VAGUE else OTHERWISE)
    words = {"shown": shown, "where": place.where, "host": place.host, "seconds": ANSWER_S, "reason": error.strerror}
    return SourceLost(told.format(**words), hint=hint.format(**words))


def _is_known(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return False
    return True


def break_reason(error: FFmpegError) -> str:
    """Why a stream that was read broke off."""
    return BREAKS.get(type(error).__name__, error.strerror or "it can't be read")
