"""Where the page is served, and who is let in."""

from __future__ import annotations

import re
import socket

import pytest

from edgeseg.errors import UsageError
from edgeseg.web.address import Address, parse_address

OWN = socket.gethostname().lower()


@pytest.mark.parametrize(
    ("uri", "host", "port", "token"),
    [
        pytest.param("web://127.0.0.1:8080", "127.0.0.1", 8080, "", id="loopback"),
        pytest.param("web://", "127.0.0.1", 8080, "", id="nothing named means this machine alone"),
        pytest.param("web://:9000", "127.0.0.1", 9000, "", id="a port alone"),
        pytest.param("web://:0/", "127.0.0.1", 0, "", id="any free port"),
        pytest.param("web://[::1]:8080", "::1", 8080, "", id="IPv6"),
        pytest.param("web://localhost:81", "localhost", 81, "", id="by name"),
        pytest.param(
            "web://127.0.0.1:8080?token=abcdefgh", "127.0.0.1", 8080, "abcdefgh", id="a token for loopback too"
        ),
        pytest.param("web://0.0.0.0:8080?token=abc%20defg", "0.0.0.0", 8080, "abc defg", id="open, with a token"),
    ],
)
def test_an_address_is_read(uri: str, host: str, port: int, token: str) -> None:
    assert parse_address(uri) == Address(host, port, token)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        pytest.param("web://0.0.0.0:8080", "no token", id="open to all without a token"),
        pytest.param("web://[::]:8080", "no token", id="open to all over IPv6"),
        pytest.param("web://camera.lan:8080", "no token", id="a name of the network"),
        pytest.param("web://192.168.1.9:8080?token=", "has 0 characters", id="an empty token"),
        pytest.param("web://0.0.0.0:8080?token=short", "has 5 characters", id="a token that can be guessed"),
        pytest.param("web://127.0.0.1:99999", "no address", id="a port out of range"),
        pytest.param("web://127.0.0.1:http", "no address", id="a port that is no number"),
        pytest.param("web://me:secret@127.0.0.1", "no address", id="user and password"),
        pytest.param("web://127.0.0.1/camera", "no address", id="a path"),
        pytest.param("web://127.0.0.1?tokn=abcdefgh", "no option 'tokn'", id="a misspelt option"),
        pytest.param("web://127.0.0.1?max_age_ms=soon", "is 'soon'", id="an age that is no number"),
        pytest.param("web://127.0.0.1?max_age_ms=nan", "is 'nan'", id="an age that is not finite"),
        pytest.param("web://127.0.0.1?max_age_ms=0", "is '0'", id="an age that no frame can have"),
        pytest.param("http://127.0.0.1:8080", "no address", id="another scheme"),
    ],
)
def test_an_address_is_refused(uri: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)) as caught:
        parse_address(uri)
    assert caught.value.hint


def test_the_hint_for_an_open_address_can_be_typed() -> None:
    with pytest.raises(UsageError) as caught:
        parse_address("web://0.0.0.0:8080")
    (offered,) = re.findall(r"web://0\S+", caught.value.hint)
    assert parse_address(offered).token


def test_a_token_is_not_shown_by_what_prints_the_address() -> None:
    assert "abcdefgh" not in repr(parse_address("web://0.0.0.0:8080?token=abcdefgh"))
    with pytest.raises(UsageError) as caught:
        parse_address("web://0.0.0.0:x?token=abcdefgh")
    assert "abcdefgh" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "header", "expected"),
    [
        pytest.param("127.0.0.1", "127.0.0.1:8080", True, id="as bound"),
        pytest.param("127.0.0.1", "localhost:8080", True, id="this machine by name"),
        pytest.param("127.0.0.1", "LOCALHOST", True, id="in capitals, without a port"),
        pytest.param("127.0.0.1", "localhost:9999", True, id="through a tunnel's port"),
        pytest.param("::1", "[::1]:8080", True, id="IPv6"),
        pytest.param("127.0.0.1", "evil.example:8080", False, id="a foreign name that leads here"),
        pytest.param("127.0.0.1", "localhost.evil.example", False, id="a foreign name that begins well"),
        pytest.param("127.0.0.1", "127.0.0.1.evil.example", False, id="a foreign name that looks like an address"),
        pytest.param("127.0.0.1", "10.0.0.7:8080", False, id="another machine's address"),
        pytest.param("127.0.0.1", "", False, id="none"),
        pytest.param("127.0.0.1", "[::1", False, id="a broken one"),
        pytest.param("0.0.0.0", "10.0.0.7:8080", True, id="any address where all are bound"),
        pytest.param("0.0.0.0", f"{OWN}.local:8080", True, id="this machine's name on the network"),
        pytest.param("0.0.0.0", "evil.example:8080", False, id="a foreign name where all are bound"),
        pytest.param("camera.lan", "camera.lan:8080", True, id="the name that was bound"),
        pytest.param("192.168.1.9", "192.168.1.9", True, id="the address that was bound"),
    ],
)
def test_a_request_must_ask_for_a_bound_name(host: str, header: str, expected: bool) -> None:
    assert Address(host).serves(header) is expected


@pytest.mark.parametrize(
    ("token", "given", "expected"),
    [
        pytest.param("", "", True, id="no token is needed"),
        pytest.param("abcdefgh", "abcdefgh", True, id="the right one"),
        pytest.param("abcdefgh", "", False, id="none"),
        pytest.param("abcdefgh", "abcdefg", False, id="its beginning"),
        pytest.param("abcdefgh", "abcdefgi", False, id="another"),
        pytest.param("schlüssel", "schlüssel", True, id="not only ASCII"),
        pytest.param("abcdefgh", "abc\udcffdefgh", False, id="bytes that are no text"),
    ],
)
def test_a_request_must_know_the_token(token: str, given: str, expected: bool) -> None:
    assert Address("0.0.0.0", token=token).admits(given) is expected
