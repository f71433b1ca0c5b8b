"""The page under clients that are many, slow or broken."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from edgeseg.web import PageSink
from edgeseg.web.broadcast import Broadcast
from edgeseg.web.routes import VIEWERS
from edgeseg.web.server import CONNECTIONS
from tests.web.parts import Street, Viewer, ask, connected, page, port_of, streaming, wait_until, watching

WATCH = b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextlib.contextmanager
def reluctant(sink: PageSink) -> Iterator[None]:
    """Somebody who asks for the picture and takes none of it; hardly any finds room on the way."""
    with contextlib.closing(socket.socket()) as bare, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("edgeseg.web.routes.SEND_BUFFER", 4096)
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        bare.connect(("127.0.0.1", port_of(sink)))
        bare.sendall(WATCH)
        assert wait_until(lambda: viewers_of(sink) >= 1)
        yield


def viewers_of(sink: PageSink) -> int:
    return int(json.loads(ask(sink, "/state.json").body)["viewers"])


def test_who_was_away_gets_the_newest_picture() -> None:
    async def come_back() -> tuple[int, bytes]:
        broadcast = Broadcast()
        for jpeg in (b"first", b"second", b"third"):
            broadcast.put(jpeg, "live")
        picture = await broadcast.after(1)
        return picture.number, picture.jpeg

    assert asyncio.run(come_back()) == (3, b"third")


def test_a_viewer_that_takes_nothing_delays_neither_the_others_nor_the_stream() -> None:
    street = Street()
    with page() as sink, streaming(sink, street), reluctant(sink), watching(sink) as viewer:
        assert wait_until(lambda: viewers_of(sink) == 2)
        states = [viewer.part()[0] for _ in range(20)]
        assert viewers_of(sink) == 2
    assert states == ["live"] * 20


def test_a_viewer_that_takes_nothing_for_long_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeseg.web.routes.PATIENCE_S", 0.1)
    with page() as sink, streaming(sink, Street()), reluctant(sink):
        assert wait_until(lambda: viewers_of(sink) == 1)
        assert wait_until(lambda: viewers_of(sink) == 0)


def test_one_viewer_too_many_is_sent_away_until_another_leaves() -> None:
    with page() as sink, contextlib.ExitStack() as stack:
        viewers = [stack.enter_context(contextlib.closing(Viewer(sink))) for _ in range(VIEWERS)]
        assert {viewer.status for viewer in viewers} == {200}
        assert ask(sink, "/stream.mjpg").status == 503
        refused = ask(sink, "/snapshot.jpg")
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert ask(sink, "/state.json").status == 200
        viewers[0].close()
        assert wait_until(lambda: ask(sink, "/snapshot.jpg").status == 200)


def test_a_thousand_connections_that_are_left_open_keep_nobody_out() -> None:
    with page() as sink, contextlib.ExitStack() as stack:
        try:
            bare = [stack.enter_context(connected(sink)) for _ in range(1000)]
        except OSError as error:
            pytest.skip(f"This machine gives no thousand connections: {error}")
        assert ask(sink, "/healthz").status == 200
        assert wait_until(lambda: sum(map(_is_closed, bare)) >= 1000 - CONNECTIONS)


def test_viewers_stay_while_others_open_connections() -> None:
    with page() as sink, streaming(sink, Street()), watching(sink) as viewer, contextlib.ExitStack() as stack:
        viewer.part()
        for _ in range(CONNECTIONS + 20):
            stack.enter_context(connected(sink))
        assert [viewer.part()[0] for _ in range(10)] == ["live"] * 10


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: local", id="half a request"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /", id="a request and a half"),
    ],
)
def test_who_does_not_finish_a_request_is_left(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeseg.web.server.HEAD_S", 0.3)
    with page() as sink, connected(sink, sent) as bare:
        received = b"".join(iter(lambda: bare.recv(4096), b""))
        assert (b"200 OK" in received) is (b"healthz" in sent)
        assert ask(sink, "/healthz").status == 200


def test_who_sends_a_request_byte_by_byte_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeseg.web.server.HEAD_S", 0.3)
    with page() as sink, connected(sink, b"GET / HTTP/1.1\r\nX: ") as bare, pytest.raises(OSError, match=r"pipe|reset"):
        while True:
            bare.sendall(b"a")
            time.sleep(0.01)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="TLS"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n", id="two hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", id="less than nothing"),
        pytest.param(b"\x00" * 100 + b"\r\n\r\n", id="zeros"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", id="another protocol"),
    ],
)
def test_what_is_no_request_gets_no_traces(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with page() as sink, connected(sink, sent) as bare:
        received = b"".join(iter(lambda: bare.recv(4096), b""))
        assert ask(sink, "/healthz").status == 200
    assert received.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400", b"HTTP/1.1 403"))
    assert b"Traceback" not in received
    assert [record for record in caplog.records if record.name.startswith("edgeseg")] == []


def test_closing_leaves_viewers_and_strangers_at_once() -> None:
    with page() as sink, streaming(sink, Street()), contextlib.ExitStack() as stack:
        viewers = [stack.enter_context(connected(sink, WATCH)) for _ in range(4)]
        strangers = [stack.enter_context(connected(sink)) for _ in range(4)]
        assert wait_until(lambda: viewers_of(sink) == 4)
        closing = threading.Thread(target=sink.close)
        closing.start()
        closing.join(5)
        assert not closing.is_alive()
        assert wait_until(lambda: all(map(_is_closed, [*viewers, *strangers])))


def _is_closed(bare: socket.socket) -> bool:
    """Whether the other side has ended the connection; what it sent before is passed over."""
    bare.setblocking(False)
    try:
        while bare.recv(1 << 20):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True
