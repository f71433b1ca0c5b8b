"""Cameras on a network: real servers on loopback, and all that can be wrong with one."""

from __future__ import annotations

import base64
import contextlib
import gc
import http.server
import io
import itertools
import logging
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

av = pytest.importorskip("av", reason="PyAV is not installed")

from edgeseg.errors import EdgesegError, MissingDependency, SourceLost, UsageError
from edgeseg.stream.live import Patience
from edgeseg.stream.source import Captured, Source
from edgeseg.stream.sources import network, network_errors, open_source
from edgeseg.stream.sources.network import NetworkSource

UInt8 = npt.NDArray[np.uint8]
Page = Callable[[http.server.BaseHTTPRequestHandler], None]
Talk = Callable[[socket.socket], None]
SCRIPT = Path(__file__).with_name("rtsp_server.py")
PASSWORD = "p@s/s"


def find_python() -> str:
    """A Python that has GStreamer's RTSP server."""
    code = (
        "import sys; sys.path.append('/usr/lib/python3/dist-packages'); import gi\n"
        "gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; Gst.init(None)\n"
        "sys.exit(not all(map(Gst.ElementFactory.find, ('videotestsrc', 'x264enc', 'rtph264pay'))))"
    )
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run([python, "-c", code], capture_output=True).returncode == 0:
                return python
    pytest.skip("no Python here has PyGObject with GStreamer's RTSP server and x264")


class RtspServer:
    """An RTSP server in a process of its own; restarted it has the same address."""

    def __init__(self, python: str, *options: str) -> None:
        self._command, self._options = [python, str(SCRIPT)], options
        self.port = 0
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*self._command, str(self.port), *self._options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        self.port = int(self.address.split(":")[2].partition("/")[0])

    def end(self) -> None:
        with self.process:
            self.process.kill()

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


@pytest.fixture(scope="module")
def python() -> str:
    """See `find_python`."""
    return find_python()


@pytest.fixture(scope="module")
def guarded(python: str) -> Iterator[str]:
    """What follows `rtsp://user:password@` in the address of a server that asks for them."""
    with RtspServer(python, "--user", "admin", "--password", PASSWORD) as server:
        yield server.address.removeprefix("rtsp://")


class Server(http.server.ThreadingHTTPServer):
    """Pages by their path, from functions."""

    daemon_threads = False  # Their ends are waited for.

    def __init__(self, pages: dict[str, Page]) -> None:
        self.pages = pages
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients go when they like."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.pages[self.path](self)

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@contextlib.contextmanager
def serving(**pages: Page) -> Iterator[str]:
    """The address of an HTTP server with these pages."""
    with Server({f"/{name}": page for name, page in pages.items()}) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def talking(talk: Talk, port: int = 0) -> Iterator[int]:
    """The port of a server that does `talk` with one connection after the other."""
    over = False

    def accept() -> None:
        while True:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                if over:
                    return
                connection.settimeout(5)
                talk(connection)

    with socket.create_server(("127.0.0.1", port)) as listening:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over = True
            socket.create_connection(listening.getsockname()).close()
            thread.join()


def picture(number: int, size_hw: tuple[int, int] = (120, 160)) -> UInt8:
    """A coloured picture that is some levels brighter than the one before, with noise that makes its JPEG long."""
    base = np.full((*size_hw, 3), (30, 60, 90), np.int64) + 4 * number
    noise = np.random.default_rng(number).integers(-12, 13, (*size_hw, 1))
    return np.clip(base + noise, 0, 255).astype(np.uint8)


def jpeg(number: int, size_hw: tuple[int, int] = (120, 160)) -> bytes:
    return bytes(cv2.imencode(".jpg", picture(number, size_hw))[1])


def series(bodies: Iterator[bytes] | list[bytes], *, with_length: bool = True, pause_s: float = 0.01) -> Page:
    """A page of JPEGs, one after the other, as cameras give them."""

    def page(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        for body in bodies:
            length = f"Content-Length: {len(body)}\r\n" if with_length else ""
            handler.wfile.write(f"--frame\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode() + body + b"\r\n")
            time.sleep(pause_s)

    return page


def whole(status: int, kind: str, body: bytes = b"", **headers: str) -> Page:
    """A page of a known length."""

    def page(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return page


def guarded_page(page: Page, user: str) -> Page:
    """That page for who gives `user:password`."""
    wanted = "Basic " + base64.b64encode(user.encode()).decode()

    def guard(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.headers.get("Authorization") == wanted:
            page(handler)
        else:
            whole(401, "text/plain", WWW_Authenticate='Basic realm="camera"')(handler)

    return guard


def held() -> tuple[list[str], list[str]]:
    """What the descriptors of this process lead to, and its threads and children."""
    gc.collect()  # Tracebacks hold frames, and these the memory that their pixels lie in.
    handles = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # That by which the folder was read.
            handles.append(re.sub(r"\d+", "", str(path.readlink())))
    tasks = [[path.parent.name, *path.read_text().split()] for path in Path("/proc/self/task").glob("*/children")]
    return sorted(handles), sorted(itertools.chain(*tasks))


def read(source: Source, out: UInt8 | None = None) -> Captured:
    captured = source.read(out)
    assert captured is not None
    return captured


def test_frames_of_an_rtsp_camera_arrive_and_move(guarded: str) -> None:
    with NetworkSource(f"rtsp://admin:p%40s%2Fs@{guarded}", first=7) as source:
        assert (source.name, source.frame_hw, source.fps) == ("127.0.0.1-street", (240, 320), 15)
        assert (source.live, source.total, source.place) == (True, None, None)
        out = np.empty((240, 320, 3), np.uint8)
        pictures, times, ages = [], [], []
        for number in range(7, 15):
            captured = read(source, out)
            assert captured.pixels is out
            assert (captured.sequence, captured.source, captured.clock) == (number, source.name, "arrival")
            assert captured.name == f"127.0.0.1-street-{number:06d}"
            pictures.append(out.copy())
            times.append(captured.captured_ns)
            ages.append(time.monotonic_ns() - captured.captured_ns)
    assert min(np.abs(a.astype(int) - b).mean() for a, b in itertools.pairwise(pictures)) > 1, "the pattern moves"
    assert min(np.diff(times)) > 0
    assert np.median(ages) > 0.9e9 / 15, "a frame is as old as its first part, and given when the next begins"


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("p%40s%2Fs", id="percent-encoded"),
        pytest.param("p@s%2Fs", id="with an @ as it is"),
        pytest.param("p@s/s", id="with an @ and a slash as they are"),
    ],
)
def test_a_password_may_be_typed_as_it_is(password: str, guarded: str) -> None:
    with NetworkSource(f"rtsp://admin:{password}@{guarded}") as source:
        assert source.frame_hw == (240, 320)


# What is wrong, and what is said of it: a sentence and what to do.
@pytest.mark.parametrize(
    ("user", "path", "said", "hint"),
    [
        pytest.param("", "street", "is open to those alone who give a user", "rtsp://user:password@", id="none given"),
        pytest.param("admin:wrong@", "street", "'rtsp://***@{host}/street' refuses this user", "%40", id="wrong"),
        pytest.param("admin:p%40s%2Fs@", "nix", "The camera at {host} has nothing at the path", "manual", id="no path"),
    ],
)
def test_an_rtsp_camera_that_refuses_says_why(user: str, path: str, said: str, hint: str, guarded: str) -> None:
    host = guarded.partition("/")[0]
    with pytest.raises(SourceLost) as caught:
        NetworkSource(f"rtsp://{user}{host}/{path}")
    assert said.format(host=host) in caught.value.message
    assert hint in caught.value.hint


def sound() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(bytes(16000))
    return file.getvalue()


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("page", "said", "hint"),
    [
        pytest.param(guarded_page(whole(200, "text/plain"), "a:b"), "is open to those alone", "user", id="401"),
        pytest.param(whole(403, "text/plain"), "is forbidden to this user", "Allow", id="403"),
        pytest.param(whole(404, "text/plain"), "has nothing at the path", "manual", id="404"),
        pytest.param(whole(418, "text/plain"), "does not play", "video", id="another refusal"),
        pytest.param(whole(503, "text/plain"), "can't serve", "few viewers", id="busy"),
        pytest.param(whole(200, "text/html", b"<html>Camera</html>" * 99), "sends no video", "port", id="a web page"),
        pytest.param(whole(200, "audio/wav", sound()), "has no video", "sound", id="sound alone"),
        pytest.param(
            whole(200, "application/vnd.apple.mpegurl", PLAYLIST),
            "sends no video",
            "port",
            id="a playlist of files of this machine",
        ),
        pytest.param(series([b"\x00" * 99] * 3), "sends no video", "port", id="a series of what is no picture"),
    ],
)
def test_an_http_server_that_is_no_camera_is_told(page: Page, said: str, hint: str) -> None:
    with serving(video=page) as address, pytest.raises(SourceLost) as caught:
        NetworkSource(f"{address}/video")
    assert said in caught.value.message
    assert hint in caught.value.hint


def listen_and_say_nothing(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def send_garbage(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(np.random.default_rng(0).bytes(30_000))


def reset(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("scheme", ["rtsp", "http", "rtsps", "https"])
@pytest.mark.parametrize(
    ("talk", "said"),
    [
        pytest.param(listen_and_say_nothing, "did not answer within 0.3 s", id="it says nothing"),
        pytest.param(send_garbage, "sends no video", id="it sends garbage"),
        pytest.param(lambda _: None, "sends no video", id="it closes at once"),
        pytest.param(reset, "sends no video", id="it resets the connection"),
    ],
)
def test_a_port_that_is_no_cameras_is_told(scheme: str, talk: Talk, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if talk is listen_and_say_nothing:
        for module in (network, network_errors):
            monkeypatch.setattr(module, "ANSWER_S", 0.3)
    with talking(talk) as port, pytest.raises(SourceLost) as caught:
        NetworkSource(f"{scheme}://127.0.0.1:{port}/street")
    assert said in caught.value.message
    assert "127.0.0.1" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_where_nobody_is_that_is_told(scheme: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Bound and not listening: no other program gets the port meanwhile.
        port = taken.getsockname()[1]
        with pytest.raises(SourceLost, match=f"^Nothing listens at 127.0.0.1:{port}") as caught:
            NetworkSource(f"{scheme}://127.0.0.1:{port}/street")
    assert "port" in caught.value.hint
    with pytest.raises(SourceLost, match=r"^There is no host 'no-such-camera\.invalid' in this network"):
        NetworkSource(f"{scheme}://user:pass@no-such-camera.invalid/street")


@pytest.mark.parametrize("uri", ["rtsp://", "rtsp:///street", "http://a:b@/x", "rtsp://:554/x", "rtsp://[::1/x"])
def test_an_address_without_a_host_is_a_mistake(uri: str) -> None:
    with pytest.raises(UsageError, match="names no host") as caught:
        NetworkSource(uri)
    assert "://user:password@192.168.1.10/path" in caught.value.hint


def test_without_pyav_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependency) as caught:
        NetworkSource("rtsp://127.0.0.1/street")
    assert caught.value.hint == "Install it: pip install 'edgeseg[video]'"


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        pytest.param("rtsp://10.0.0.2:554/Streaming/Channels/101", "10.0.0.2-101", id="host and last part"),
        pytest.param("http://gate.example/mjpg/video.mjpg?fps=5", "gate.example-video.mjpg", id="no options"),
        pytest.param("rtsp://admin:secret@cam", "cam", id="no path and no password"),
        pytest.param("rtsp://admin:se/cr@et@cam/live/", "cam-live", id="a password with a slash and an @"),
        pytest.param(
            "rtsp://cam/user=admin_password=secret_channel=1",
            "cam-user-admin-password",
            id="one in the path",
        ),
        pytest.param("rtsp://[fe80::1]:554/1", "fe80-1-1", id="an address of version 6"),
        pytest.param("rtsp://cam/../%2e%2e/stra\u00dfe 1", "cam-stra-e-1", id="letters that file names lack"),
    ],
)
def test_names_are_words_for_files_without_passwords(uri: str, name: str) -> None:
    assert network_errors.place_of(uri).name == name


@pytest.mark.parametrize("with_length", [True, False], ids=["with their lengths", "without their lengths"])
def test_a_jpeg_that_was_cut_off_is_counted_and_the_others_are_shown(with_length: bool) -> None:
    bodies = [jpeg(number) for number in range(12)]
    bodies[4] = bodies[4][: len(bodies[4]) // 2]
    bodies[7] = b"\x00\x01" * 500
    with (
        serving(video=series([*bodies, bodies[-1]], with_length=with_length)) as address,
        NetworkSource(f"{address}/video") as source,
    ):
        assert (source.name, source.frame_hw, source.fps) == ("127.0.0.1-video", (120, 160), 25)
        for number in range(12):
            captured = read(source)
            assert captured.sequence == number
            assert (captured.pixels is None) == (number in (4, 7))
            if captured.pixels is not None:
                wanted = cv2.imdecode(np.frombuffer(bodies[number], np.uint8), cv2.IMREAD_COLOR)
                assert np.abs(captured.pixels.astype(int) - wanted).mean() < 3, "colours are right"


def test_an_http_camera_may_ask_for_a_password() -> None:
    page = guarded_page(series([jpeg(number) for number in range(5)]), "admin:p@s/s")
    with serving(video=page) as address:
        host = address.removeprefix("http://")
        with NetworkSource(f"http://admin:p%40s%2Fs@{host}/video") as source:
            assert read(source).pixels is not None
        with pytest.raises(SourceLost, match=r"'http://\*\*\*@.*/video' refuses"):
            NetworkSource(f"http://admin:wrong@{host}/video")


def test_frames_of_another_size_pass() -> None:
    bodies = [jpeg(0), jpeg(1), jpeg(2, (61, 83)), jpeg(3, (61, 83)), jpeg(4)]
    with serving(video=series(bodies)) as address, NetworkSource(f"{address}/video") as source:
        out = np.empty((120, 160, 3), np.uint8)
        found = [read(source, out).pixels for _ in range(4)]
        source.stop()
        assert source.read() is None
    assert [pixels is out for pixels in found] == [True, True, False, False]
    assert found[3] is not None and found[3].shape == (61, 83, 3)
    assert np.abs(found[3].astype(int) - picture(3, (61, 83))).mean() < 6, "no line is displaced"


def reset_after(number: int) -> Page:
    def page(handler: http.server.BaseHTTPRequestHandler) -> None:
        series([jpeg(index) for index in range(number)])(handler)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()

    return page


@pytest.mark.parametrize(
    ("page", "said"),
    [
        pytest.param(series([jpeg(index) for index in range(5)]), "broke off", id="it ends"),
        pytest.param(reset_after(5), "broke off", id="it resets the connection"),
        pytest.param(
            series([jpeg(0), *[jpeg(0)[:1500]] * 200], pause_s=0),
            "the last 100 frames were damaged",
            id="all is damaged",
        ),
    ],
)
def test_a_stream_that_breaks_off_is_lost(page: Page, said: str) -> None:
    with (
        serving(video=page) as address,
        NetworkSource(f"{address}/video") as source,
        pytest.raises(SourceLost, match=r"^'127.0.0.1-video' broke off: .*\.") as caught,
    ):
        assert read(source).pixels is not None
        for _ in range(200):
            source.read()
    assert said in caught.value.message


def record(file: Path, frames: int, rate: int) -> bytes:
    with av.open(file, "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), "bgr24")))
        container.mux(stream.encode())
    return file.read_bytes()


def test_a_recording_is_played_at_its_own_pace_and_ends(tmp_path: Path) -> None:
    with (
        serving(street=whole(200, "video/mp4", record(tmp_path / "street.mp4", 12, 30))) as address,
        NetworkSource(f"{address}/street") as source,
    ):
        begin = time.monotonic()
        found = list(source)
        assert time.monotonic() - begin > 0.3
        assert (source.total, source.fps, source.read()) == (12, 30, None)
    assert [captured.sequence for captured in found] == list(range(12))


def test_nothing_is_left_when_it_is_closed(guarded: str) -> None:
    address = f"rtsp://admin:p%40s%2Fs@{guarded}"
    before = held()
    for _ in range(2):
        source = NetworkSource(address)
        read(source)
        source.close()
        source.close()
        with pytest.raises(SourceLost):
            NetworkSource(address.replace("street", "nix"))
    del source
    assert held() == before


@pytest.mark.parametrize("password", ["hunter2", "hun%40ter2", "hun@ter2", "hun/ter2", "h@u/n@ter2", "1234/hunter2"])
def test_a_password_is_never_seen(
    password: str, guarded: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("libav").setLevel(logging.DEBUG)
    with talking(send_garbage) as port:
        places = (
            "no-such-camera.invalid/street",
            f"127.0.0.1:{port}/street",
            guarded,
            guarded.replace("street", "nix"),
        )
        for scheme, place in itertools.product(("rtsp", "http"), places):
            try:
                NetworkSource(f"{scheme}://admin:{password}@{place}").close()
            except EdgesegError as error:
                told = "".join(traceback.format_exception(error)) + repr(error) + error.message + error.hint
            assert "ter2" not in told and "hun" not in told
    written = capfd.readouterr()
    assert "ter2" not in caplog.text + written.out + written.err


def kill(server: RtspServer) -> None:
    server.end()
    time.sleep(1)
    server.start()


def stop(server: RtspServer) -> None:
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(4)
    server.process.send_signal(signal.SIGCONT)


def replace(talk: Talk) -> Callable[[RtspServer], None]:
    def harm(server: RtspServer) -> None:
        server.end()
        with talking(talk, server.port):
            time.sleep(3)
        server.start()

    return harm


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "stalls"),
    [
        pytest.param(kill, 0, id="it is switched off and on"),
        pytest.param(stop, 1, id="it hangs for a while"),
        pytest.param(replace(listen_and_say_nothing), 0, id="its port accepts and says nothing for a while"),
        pytest.param(replace(send_garbage), 0, id="its port gives garbage for a while"),
        pytest.param(replace(lambda _: None), 0, id="its port closes at once for a while"),
    ],
)
def test_a_camera_that_fails_comes_back(harm: Callable[[RtspServer], None], stalls: int, python: str) -> None:
    before, end = held(), time.monotonic() + 90
    patience = Patience(open_s=10, stall_s=2, pause_s=0.2, longest_pause_s=0.5)
    with (
        RtspServer(python) as server,
        open_source(server.address, stop=lambda: time.monotonic() > end, patience=patience) as source,
    ):
        last = [read(source).sequence for _ in range(5)][-1]
        harming = threading.Thread(target=harm, args=(server,))
        harming.start()
        try:
            while source.health.reconnects == 0:
                captured = read(source)
        finally:
            harming.join()
        assert captured.pixels is not None and captured.pixels.shape == (240, 320, 3)
        assert captured.sequence > last
        assert (source.health.state, source.health.stalls) == ("live", stalls)
    del captured
    assert held() == before, "descriptors, threads and children"
