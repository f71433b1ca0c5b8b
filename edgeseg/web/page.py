"""`web://`: the picture in a browser, and how the stream is."""

from __future__ import annotations

import time

from edgeseg.card import Card
from edgeseg.errors import MissingDependency
from edgeseg.stream.report import StreamReport
from edgeseg.stream.sink import Segmented, Sink
from edgeseg.web.address import parse_address
from edgeseg.web.monitor import EngineFacts, Monitor
from edgeseg.web.painter import Painter

__all__ = ["PageSink"]

#: While nobody watches, a frame is kept after so many seconds, to be shown dimmed should the source stop.
KEEP_S = 1.0


class PageSink(Sink):
    """A page with the live picture, its figures and its health, for browsers and for Prometheus.

    The overlay is drawn and encoded only while somebody watches, and by another thread than the stream's.
    """

    def __init__(self, uri: str, card: Card) -> None:
        """Start to serve.

        Args:
            uri: `web://127.0.0.1:8080` for this machine alone, which `web://` means too; `web://0.0.0.0:8080?token=...`
                for others, who must know the token. `max_age_ms` is how old the newest frame may be while `/readyz`
                says yes, by default 2000.
            card: Of the engine that infers.

        Raises:
            UsageError: It is no such address, or it is open to others and has no token.
            EdgesegError: The port is taken.
            MissingDependency: aiohttp or prometheus-client is not installed.
        """
        address = parse_address(uri)
        try:
            from edgeseg.web.server import Server
        except ModuleNotFoundError as error:
            raise MissingDependency(
                f"The page needs the package {error.name}, which is not installed.",
                hint="Install it: pip install 'edgeseg[web]'",
            ) from error
        self._monitor = Monitor(address.max_age_ms)
        self._server = Server(address, EngineFacts.of(card), self._monitor)
        self._painter = Painter(self._monitor, self._server.viewers, self._server.publish)
        self._keep_at = 0.0
        self.output = f"{address.url('http', self._server.port)}/"

    def write(self, segmented: Segmented) -> None:
        """See `Sink.write`. Costs a copy of the picture while somebody watches."""
        captured = segmented.captured
        self._monitor.wrote(captured, segmented.report)
        age_s = (time.monotonic_ns() - captured.captured_ns) / 1e9
        self._server.metrics.observe(segmented.stage_ms, segmented.class_map_age_ms / 1e3, age_s)
        now = time.monotonic()
        if self._server.viewers():
            self._painter.offer(segmented.overlay)
        elif now >= self._keep_at:
            self._painter.offer(segmented.frame)
            self._keep_at = now + KEEP_S

    def idle(self, report: StreamReport) -> None:
        """See `Sink.idle`."""
        self._monitor.waited(report)

    def close(self) -> None:
        """See `Sink.close`. Viewers are left at once."""
        self._painter.close()
        self._server.close()
