"""What the tests of the page are made of: a stream of rendered frames, and real clients."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

cv2 = pytest.importorskip("cv2")
pytest.importorskip("aiohttp", reason="The page needs the extra web.")
pytest.importorskip("prometheus_client", reason="The page needs the extra web.")

from edgeseg.card import Card
from edgeseg.data.scene import Scene
from edgeseg.labels import CAMVID, LabelSet
from edgeseg.stream.overlay import Overlay
from edgeseg.stream.report import Dropped, FrameAge, SourceReport, StreamReport
from edgeseg.stream.sink import Segmented
from edgeseg.stream.source import Captured
from edgeseg.web import PageSink

UInt8 = npt.NDArray[np.uint8]
STAGE_MS = {"capture": 2.25, "resize": 0.5, "inference": 14.0, "restore": 0.75, "draw": 1.5}


def make_card(labels: LabelSet = CAMVID, model: str = "fastscnn-camvid") -> Card:
    return Card(
        kind="engine", model=model, classes=labels.names, palette=labels.palette, size_hw=(360, 480), sha256="3f" * 32,
        backend="openvino", precision="int8",
    )  # fmt: skip


def make_report(source: str = "camera", **of_source: object) -> StreamReport:
    """A stream in which all that can be counted was."""
    one = SourceReport(
        name=source, state="live", frozen=False, reason="", stalls=2, reconnects=1, captured=1240, inferred=1180,
        dropped=Dropped(newest=52, corrupt=3, stale=5, skipped=0), clock="driver", silent_s=0.02,
    )  # fmt: skip
    one = msgspec.structs.replace(one, **of_source)
    return StreamReport(
        announced=None, captured=1240, inferred=1180, shown=1178, dropped=one.dropped, fps=28.4, recent_fps=29.7,
        frame_age_ms=FrameAge(31.4, 44.9, 61.2), class_map_age_ms=FrameAge(24.1, 33.0, 47.5), cold_start_ms=812.0,
        stage_ms=STAGE_MS, stalls=2, reconnects=1, sources=[one], outputs=[],
        failed={},
    )  # fmt: skip


class Street:
    """A rendered street in which classes lie in bands, as the stream hands it to its sinks."""

    def __init__(self, size_hw: tuple[int, int] = (120, 160), labels: LabelSet = CAMVID) -> None:
        self._scene = Scene(size_hw)
        self._overlay = Overlay(labels, 0.5)
        self._classes = len(labels)
        self.drawn = 0

    def frame(self, index: int, report: StreamReport | None = None) -> Segmented:
        report = report or make_report()
        pixels = self._scene.render(index)
        smooth = cv2.medianBlur(pixels, 15)[..., 1]
        class_map = np.asarray(smooth.astype(np.uint16) * self._classes // 256, np.uint8)
        name = report.sources[0].name
        captured = Captured(pixels, index, time.monotonic_ns(), f"{name}-{index:06d}", name, "rendered")
        return Segmented(captured, pixels, class_map, 20.0, dict(STAGE_MS), 0.7, report, self._draw)

    def _draw(self, segmented: Segmented) -> UInt8:
        self.drawn += 1
        return self._overlay.draw(segmented.frame, segmented.class_map)


class StillStreet(Street):
    """A street on which nothing moves."""

    def frame(self, index: int, report: StreamReport | None = None) -> Segmented:
        return super().frame(0, report)


def aged(segmented: Segmented, seconds: float) -> Segmented:
    """The same as if it had been captured so long ago."""
    captured = replace(segmented.captured, captured_ns=segmented.captured.captured_ns - round(seconds * 1e9))
    return replace(segmented, captured=captured)


@contextlib.contextmanager
def page(uri: str = "web://127.0.0.1:0?max_age_ms=60000", card: Card | None = None) -> Iterator[PageSink]:
    sink = PageSink(uri, card or make_card())
    try:
        yield sink
    finally:
        sink.close()


@contextlib.contextmanager
def streaming(sink: PageSink, street: Street, report: StreamReport | None = None) -> Iterator[None]:
    """Frames flow into the sink, about 30 per second, by a thread of their own as in a real stream. One came before."""
    sink.write(street.frame(0, report))
    ended = threading.Event()

    def flow() -> None:
        index = 1
        while not ended.wait(1 / 30):
            sink.write(street.frame(index, report))
            index += 1

    thread = threading.Thread(target=flow)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def port_of(sink: PageSink) -> int:
    port = urlsplit(sink.output).port
    assert port is not None
    return port


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes


def ask(sink: PageSink, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(sink), timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


@contextlib.contextmanager
def connected(sink: PageSink, sent: bytes = b"") -> Iterator[socket.socket]:
    """A bare connection on which something was sent."""
    with socket.create_connection(("127.0.0.1", port_of(sink)), timeout=20) as bare:
        bare.sendall(sent)
        yield bare


class Viewer:
    """Watches `/stream.mjpg` as a browser does."""

    def __init__(self, sink: PageSink) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port_of(sink), timeout=20)
        self._connection.request("GET", "/stream.mjpg")
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.content_type = self._response.headers["Content-Type"]
        if self.status == 200:
            assert self._response.readline() == b"--edgeseg-picture\r\n"

    def part(self) -> tuple[str, UInt8]:
        """The state and the picture, `(H, W, 3)` uint8 BGR, of the next part."""
        head = {}
        while line := self._response.readline().strip():
            name, _, value = line.decode().partition(": ")
            head[name] = value
        jpeg = self._response.read(int(head["Content-Length"]))
        assert self._response.readline() == b"\r\n"
        assert self._response.readline() == b"--edgeseg-picture\r\n"
        return head["X-Edgeseg-State"], decode(jpeg)

    def close(self) -> None:
        self._response.close()
        self._connection.close()


@contextlib.contextmanager
def watching(sink: PageSink) -> Iterator[Viewer]:
    with contextlib.closing(Viewer(sink)) as viewer:
        yield viewer


def decode(jpeg: bytes) -> UInt8:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture, np.uint8)


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether the condition came true before the time was over."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()
