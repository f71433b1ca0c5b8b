"""`rtsp://127.0.0.1:8554/edgeseg`: the overlays as a network camera, for players and recorders."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from edgeseg.card import Resize
from edgeseg.data.resize import resize_frame
from edgeseg.data.uri import without_password
from edgeseg.device.gstreamer import load_gstreamer
from edgeseg.errors import EdgesegError, MissingDependency, UsageError
from edgeseg.stream.gstreamer import buffer_bytes
from edgeseg.stream.hud import Hud
from edgeseg.stream.report import StreamReport
from edgeseg.stream.sink import Segmented, Sink

__all__ = ["RtspSink"]

UInt8 = npt.NDArray[np.uint8]
logger = logging.getLogger(__name__)
PORT = 8554
EXAMPLE = "rtsp://127.0.0.1:8554/edgeseg"
#: Encoders, the best one first, each with what it needs before it: pictures leave at once, one that needs no others
#: comes twice a second, for new viewers begin with it; 4 Mbit/s, and one core, as the others are the network's.
ENCODERS = {
    "nvv4l2h264enc": (
        "nvvidconv ! video/x-raw(memory:NVMM),format=NV12 "
        "! nvv4l2h264enc insert-sps-pps=true maxperf-enable=true idrinterval={interval} bitrate=4000000"
    ),
    "x264enc": (
        "video/x-raw,format=I420 "
        "! x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max={interval} bitrate=4000"
    ),
    "openh264enc": "video/x-raw,format=I420 ! openh264enc complexity=low gop-size={interval} bitrate=4000000",
}
#: At most two pictures wait for the encoder; a third replaces the older one.
PIPELINE = (
    "( appsrc name=overlays is-live=true do-timestamp=true format=time block=false leaky-type=downstream max-buffers=2 "
    "max-bytes=0 caps=video/x-raw,format=BGR,width={width},height={height},framerate={rate}/1 "
    "! videoconvert ! {encoder} ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


class RtspSink(Sink):
    """Serves the overlays by RTSP. Nothing is drawn nor encoded while nobody watches."""

    def __init__(self, uri: str, fps: float = 25.0) -> None:
        """Open the port. The picture can be asked for from the first frame on, whose size is its own.

        Args:
            uri: `rtsp://127.0.0.1:8554/edgeseg`. Without a host, or with `localhost`, this machine alone can watch;
                port 0 takes a free one.
            fps: Frames per second that the stream states.

        Raises:
            UsageError: The address does not fit.
            MissingDependency: GStreamer, its RTSP server or an H.264 encoder is not installed.
            EdgesegError: The port is in use, or the host is no address of this machine.
        """
        host, port, self._path = _parse(uri)
        host = _resolve(host, uri)
        self._gst, self._rtsp, self._glib = load_gstreamer("GstRtspServer", "GLib")
        self._encoder = _find_encoder(self._gst)
        self._rate = max(1, round(fps))
        self._size_hw: tuple[int, int] | None = None
        self._overlays: Any = None
        self._last: Any = None
        self._hud = Hud()
        self._closing = False
        _refuse_taken(host, port)
        self._serve(host, port)
        bound = self._server.get_bound_port()
        self.output = f"rtsp://{f'[{host}]' if ':' in host else host}:{bound}{self._path}"

    def write(self, segmented: Segmented) -> None:
        """See `Sink.write`. A picture of another size than the first is letterboxed."""
        if self._size_hw is None:
            height, width = segmented.pixels.shape[:2]
            self._size_hw = height - height % 2, width - width % 4  # Encoders take even sides, GStreamer whole words.
            self._offer(*self._size_hw)
        if self._overlays is not None:
            self._last = self._push(segmented.overlay, self._size_hw)

    def idle(self, report: StreamReport) -> None:
        """See `Sink.idle`: whoever watches sees the last picture dimmed, with the reason in a banner."""
        if self._overlays is None or self._size_hw is None:
            return
        picture = np.zeros((*self._size_hw, 3), np.uint8)
        if self._last is not None:
            with buffer_bytes(self._last) as data:
                np.copyto(picture, data.reshape(picture.shape))
        self._hud.draw(picture, report)
        self._push(picture, self._size_hw)

    def close(self) -> None:
        """Send all viewers away and close the port."""
        if not self._thread.is_alive():
            return
        self._closing = True
        self._release()
        ending = self._glib.idle_source_new()
        ending.set_callback(self._end)
        ending.attach(self._context)
        self._thread.join()

    def _serve(self, host: str, port: int) -> None:
        """Start the server in a thread of its own, which does all the work for all viewers but encoding."""
        self._context = self._glib.MainContext.new()
        self._loop = self._glib.MainLoop.new(self._context, False)
        self._server = self._rtsp.RTSPServer.new()
        self._server.set_address(host)
        self._server.set_service(str(port))
        self._server.get_thread_pool().set_max_threads(0)
        self._listening = self._server.attach(self._context)
        if not self._listening:
            raise EdgesegError(f"The RTSP server could not listen at {host}:{port}.", hint="Take another port.")
        self._thread = threading.Thread(target=self._loop.run, name="edgeseg-rtsp", daemon=True)
        self._thread.start()

    def _offer(self, height: int, width: int) -> None:
        """Let viewers ask for the picture; all of them watch the same one."""
        encoder = ENCODERS[self._encoder].format(interval=max(1, self._rate // 2))
        factory = self._rtsp.RTSPMediaFactory.new()
        factory.set_shared(True)
        factory.set_launch(PIPELINE.format(width=width, height=height, rate=self._rate, encoder=encoder))
        factory.connect("media-configure", self._begin)
        self._server.get_mount_points().add_factory(self._path, factory)

    def _begin(self, factory: Any, media: Any) -> None:
        """The first viewer came."""
        overlays = media.get_element().get_by_name("overlays")
        media.connect("unprepared", self._finish, overlays)
        self._overlays = overlays
        if self._closing:
            self._release()

    def _finish(self, media: Any, overlays: Any) -> None:
        """The last viewer left."""
        if self._overlays is overlays:
            self._overlays = self._last = None

    def _release(self) -> None:
        """Give a viewer who came since the last frame one to begin with: the server's thread waits for it."""
        if self._overlays is not None and self._size_hw is not None:
            self._push(np.zeros((*self._size_hw, 3), np.uint8), self._size_hw)

    def _end(self, *_: Any) -> bool:
        self._server.client_filter(lambda server, client: self._rtsp.RTSPFilterResult.REMOVE)
        self._server.get_mount_points().remove_factory(self._path)
        self._context.find_source_by_id(self._listening).destroy()
        self._loop.quit()
        return False

    def _push(self, picture: UInt8, size_hw: tuple[int, int]) -> Any:
        """Leave a picture to the encoder, without waiting for it; the buffer that it lies in."""
        if picture.shape[:2] != size_hw:
            picture = resize_frame(picture, size_hw, Resize("letterbox"))
        buffer = self._gst.Buffer.new_allocate(None, picture.nbytes, None)
        with buffer_bytes(buffer, write=True) as data:
            np.copyto(data.reshape(picture.shape), picture)
        overlays = self._overlays
        if overlays is not None:
            overlays.emit("push-buffer", buffer)
        return buffer


def _parse(uri: str) -> tuple[str, int, str]:
    """Host, port and path of the address; the host as it is there, empty where none is."""
    try:
        address = urlsplit(uri)
        port = PORT if address.port is None else address.port
    except ValueError as error:
        raise UsageError(f"'{without_password(uri)}' does not fit: {error}.", hint=f"Such as {EXAMPLE}") from error
    if address.scheme != "rtsp" or address.query or address.fragment:
        raise UsageError(f"'{without_password(uri)}' is no address to serve at.", hint=f"Such as {EXAMPLE}")
    if address.username or address.password:
        raise UsageError("The RTSP server knows no users and passwords.", hint=f"Such as {EXAMPLE}")
    return address.hostname or "", port, address.path if len(address.path) > 1 else "/edgeseg"


def _resolve(host: str, uri: str) -> str:
    """The IP address of a host, this machine's own loopback where none is given."""
    if host in ("", "localhost"):
        return "127.0.0.1"
    try:
        address = str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise EdgesegError(f"The host of '{uri}' is unknown: {error.strerror}.", hint=f"Such as {EXAMPLE}") from error
    if not ipaddress.ip_address(address).is_loopback:
        logger.warning("Whoever reaches %s over the network can watch '%s'.", address, uri)
    return address


def _refuse_taken(host: str, port: int) -> None:
    """Tell why a port can't be had, which GStreamer does not."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message, hint = f"Port {port} of {host} is in use.", f"Take another: rtsp://{host}:{port + 1}/edgeseg"
        elif error.errno == errno.EADDRNOTAVAIL:
            message, hint = f"{host} is no address of this machine.", f"For this machine alone: {EXAMPLE}"
        else:
            message, hint = f"Nothing can be served at port {port} of {host}: {error.strerror}.", f"Such as {EXAMPLE}"
        raise EdgesegError(message, hint=hint) from error


def _find_encoder(gst: Any) -> str:
    """The best encoder that is installed and opens its device: boards without one have its element all the same."""
    for name in ENCODERS:
        encoder = gst.ElementFactory.make(name, None)
        if encoder is None:
            continue
        works = encoder.set_state(gst.State.READY) != gst.StateChangeReturn.FAILURE
        encoder.set_state(gst.State.NULL)
        if works:
            return name
    raise MissingDependency(
        f"GStreamer has no H.264 encoder here; known are {', '.join(ENCODERS)}.",
        hint="sudo apt install gstreamer1.0-plugins-ugly",
    )
