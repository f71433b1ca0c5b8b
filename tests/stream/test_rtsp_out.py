"""Overlays served by RTSP, seen by a real client."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

av = pytest.importorskip("av", reason="PyAV is the client")

from edgeseg.errors import EdgesegError, MissingDependency, UsageError
from edgeseg.stream.report import Dropped, FrameAge, SourceReport, StreamReport
from edgeseg.stream.sink import Segmented
from edgeseg.stream.sinks import rtsp
from edgeseg.stream.sinks.rtsp import RtspSink
from edgeseg.stream.source import State
from tests.stream.parts import captured
from tests.stream.system_gi import gstreamer, held

__all__ = ["gstreamer"]

UInt8 = npt.NDArray[np.uint8]
ORANGE, VIOLET = (40, 140, 230), (200, 60, 120)
ANY_PORT = "rtsp://127.0.0.1:0/edgeseg"


class Writer:
    """Writes one picture over and over, as a stream does, and counts how often it was drawn."""

    def __init__(self, sink: RtspSink, colour: tuple[int, int, int], size_hw: tuple[int, int] = (96, 128)) -> None:
        self.sink, self.drawn, self.written = sink, 0, 0
        self.picture = np.full((*size_hw, 3), colour, np.uint8)
        self.is_live = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def write(self) -> None:
        self.written += 1
        self.sink.write(
            Segmented(
                captured(), self.picture, self.picture[..., 0], 20.0, {}, None, report("live"), lambda _: self._draw()
            )
        )

    def _draw(self) -> UInt8:
        self.drawn += 1
        return self.picture

    def _run(self) -> None:
        while not self._stop.wait(0.03):
            if self.is_live:
                self.write()
            else:
                self.sink.idle(report("stalled"))

    def __enter__(self) -> Writer:
        self.write()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def report(state: State) -> StreamReport:
    source = SourceReport("camera", state, False, "no frames came", 0, 0, 0, 0, Dropped(), "read", 3.0)
    age = FrameAge(0, 0, 0)
    return StreamReport(None, 0, 0, 0, Dropped(), 0, 0, age, age, None, {}, 0, 0, [source], [], {})


@pytest.fixture
def sink(gstreamer: None) -> Iterator[RtspSink]:
    sink = RtspSink(ANY_PORT, 30)
    yield sink
    sink.close()


def watch(address: str) -> Any:
    options = {"rtsp_transport": "tcp", "fflags": "nobuffer", "analyzeduration": "100000", "probesize": "5000"}
    return av.open(address, options=options, timeout=10)


def pictures(viewer: Any) -> Iterator[UInt8]:
    for _, frame in zip(range(300), viewer.decode(video=0), strict=False):
        yield frame.to_ndarray(format="bgr24")


def see(viewer: Any, colour: tuple[int, int, int]) -> UInt8:
    """The first picture whose middle has that colour, give or take what encoding loses."""
    for picture in pictures(viewer):
        middle = picture[picture.shape[0] // 2, picture.shape[1] // 2].astype(int)
        if np.abs(middle - colour).max() < 16:
            return picture
    raise AssertionError(f"{colour} did not come, the last was {middle}")


def until(true: Any) -> bool:
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(true())


def test_a_viewer_sees_the_colours_that_were_written(sink: RtspSink) -> None:
    assert sink.output.startswith("rtsp://127.0.0.1:") and sink.output.endswith("/edgeseg")
    with Writer(sink, ORANGE) as writer, watch(sink.output) as viewer:
        assert see(viewer, ORANGE).shape == (96, 128, 3)
        writer.picture[:] = VIOLET
        see(viewer, VIOLET)


def test_two_viewers_watch_the_same_picture_and_it_is_drawn_once(sink: RtspSink) -> None:
    with Writer(sink, ORANGE) as writer, watch(sink.output) as first, watch(sink.output) as second:
        see(first, ORANGE)
        see(second, ORANGE)
    assert writer.drawn <= writer.written


def test_nothing_is_drawn_while_nobody_watches(sink: RtspSink) -> None:
    with Writer(sink, ORANGE) as writer:
        assert until(lambda: writer.written > 5)
        assert writer.drawn == 0
        with watch(sink.output) as viewer:
            see(viewer, ORANGE)
        assert writer.drawn > 0
        assert until(lambda: sink._overlays is None)
        drawn, written = writer.drawn, writer.written
        assert until(lambda: writer.written > written + 5)
        assert writer.drawn <= drawn + 1
        with watch(sink.output) as again:
            see(again, ORANGE)


def test_a_stream_that_stalls_does_not_look_live(sink: RtspSink) -> None:
    pytest.importorskip("PIL", reason="it writes the banner")
    with Writer(sink, ORANGE) as writer, watch(sink.output) as viewer:
        see(viewer, ORANGE)
        writer.is_live = False
        dimmed = next(picture for picture in pictures(viewer) if picture[-12:-6, 20:60].max() < 120)
        assert np.ptp(dimmed[-12:-6, 20:60].mean((0, 1))) < 12, "it is grey"
        writer.is_live = True
        see(viewer, ORANGE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "size_hw", [pytest.param((97, 131), id="odd sides"), pytest.param((64, 64), id="another size than the first")]
)
def test_pictures_of_any_size_can_be_watched(size_hw: tuple[int, int], sink: RtspSink) -> None:
    with Writer(sink, ORANGE, (97, 131)) as writer, watch(sink.output) as viewer:
        assert see(viewer, ORANGE).shape == (96, 128, 3)
        writer.picture = np.full((*size_hw, 3), VIOLET, np.uint8)
        assert see(viewer, VIOLET).shape == (96, 128, 3)


@pytest.mark.slow
def test_a_viewer_that_does_not_read_delays_nobody(sink: RtspSink) -> None:
    port = int(sink.output.split(":")[2].split("/")[0])
    with Writer(sink, ORANGE, (480, 640)) as writer, socket.create_connection(("127.0.0.1", port)) as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ask(silent, f"DESCRIBE {sink.output} RTSP/1.0\r\nCSeq: 1\r\n")
        answer = ask(
            silent,
            f"SETUP {sink.output}/stream=0 RTSP/1.0\r\nCSeq: 2\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n",
        )
        session = next(line for line in answer.splitlines() if line.startswith("Session:"))
        silent.sendall(f"PLAY {sink.output} RTSP/1.0\r\nCSeq: 3\r\n{session}\r\n\r\n".encode())
        assert until(lambda: writer.drawn > 0)
        noise = np.random.default_rng(0).integers(0, 255, writer.picture.shape, np.uint8)
        for _ in range(40):  # Noise makes long frames: far more than a socket holds.
            writer.picture = noise
            writer.write()
        written = writer.written
        writer.picture = np.full((480, 640, 3), VIOLET, np.uint8)
        assert until(lambda: writer.written > written + 20), "writing waits for the viewer"
        with watch(sink.output) as viewer:
            see(viewer, VIOLET)


def ask(connection: socket.socket, request: str) -> str:
    connection.sendall(f"{request}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(4096)
    return answer.decode()


def test_before_the_first_frame_there_is_nothing_to_watch_yet(sink: RtspSink) -> None:
    with pytest.raises(av.error.HTTPNotFoundError):
        watch(sink.output)
    sink.idle(report("connecting"))


@pytest.mark.slow
@pytest.mark.usefixtures("gstreamer")
def test_closing_sends_viewers_away_and_leaves_nothing() -> None:
    counts = []
    for _ in range(3):
        sink = RtspSink(ANY_PORT, 30)
        with Writer(sink, ORANGE), watch(sink.output) as viewer:
            see(viewer, ORANGE)
            sink.close()
            sink.close()
            for _ in viewer.demux(video=0):
                """What was on its way; then the stream ends."""
        with pytest.raises(OSError):
            watch(sink.output)
        assert not [thread for thread in threading.enumerate() if thread.name == "edgeseg-rtsp"]
        del sink, viewer
        time.sleep(0.2)  # GStreamer takes its pipeline down on a thread of its own.
        counts.append(held())
    assert until(lambda: all(late <= early for late, early in zip(held(), counts[1], strict=True)))


@pytest.mark.usefixtures("gstreamer")
def test_a_viewer_that_waits_for_the_next_frame_does_not_delay_the_end() -> None:
    sink = RtspSink(ANY_PORT)
    writer = Writer(sink, ORANGE)
    writer.write()
    port = int(sink.output.split(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as waiting:
        waiting.sendall(f"DESCRIBE {sink.output} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
        assert until(lambda: sink._overlays is not None)
        closing = threading.Thread(target=sink.close)
        closing.start()
        closing.join(8)
        assert not closing.is_alive()


@pytest.mark.usefixtures("gstreamer")
def test_a_port_that_is_in_use_is_named_with_the_next_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EdgesegError) as caught:
            RtspSink(f"rtsp://127.0.0.1:{port}/edgeseg")
    assert f"Port {port} of 127.0.0.1 is in use" in caught.value.message
    assert f"rtsp://127.0.0.1:{port + 1}/edgeseg" in caught.value.hint


@pytest.mark.parametrize(
    ("uri", "kind", "told"),
    [
        pytest.param("rtsp://192.0.2.7:0/edgeseg", EdgesegError, "no address of this machine", id="another's address"),
        pytest.param("rtsp://no-such-host.invalid/edgeseg", EdgesegError, "unknown", id="an unknown host"),
        pytest.param("rtsp://127.0.0.1:99999/edgeseg", UsageError, "does not fit", id="no port"),
        pytest.param("rtsp://me:secret@127.0.0.1/edgeseg", UsageError, "no users", id="a password it would ignore"),
        pytest.param("rtsp://127.0.0.1/edgeseg?fps=3", UsageError, "no address", id="options it has not"),
    ],
)
@pytest.mark.usefixtures("gstreamer")
def test_addresses_that_do_not_fit_are_refused(uri: str, kind: type[EdgesegError], told: str) -> None:
    with pytest.raises(kind) as caught:
        RtspSink(uri)
    assert told in caught.value.message and caught.value.hint and "secret" not in str(caught.value)


@pytest.mark.parametrize("uri", ["rtsp://:0/edgeseg", "rtsp://localhost:0", "rtsp://127.0.0.1:0/"])
@pytest.mark.usefixtures("gstreamer")
def test_without_a_host_this_machine_alone_can_watch(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    sink = RtspSink(uri)
    sink.close()
    assert sink.output.startswith("rtsp://127.0.0.1:") and sink.output.endswith("/edgeseg")
    assert not caplog.records


@pytest.mark.usefixtures("gstreamer")
def test_a_host_that_others_reach_is_told(caplog: pytest.LogCaptureFixture) -> None:
    RtspSink("rtsp://0.0.0.0:0/edgeseg").close()
    assert "can watch" in caplog.text


@pytest.mark.usefixtures("gstreamer")
def test_without_an_encoder_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp, "ENCODERS", {"nosuchencoder": ""})
    with pytest.raises(MissingDependency, match="nosuchencoder") as caught:
        RtspSink(ANY_PORT)
    assert "gstreamer1.0-plugins-ugly" in caught.value.hint
