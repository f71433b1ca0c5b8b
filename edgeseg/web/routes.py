"""What can be asked of the page."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib.resources
import re
import socket

import msgspec
from aiohttp import web

from edgeseg.web.broadcast import Broadcast, Picture
from edgeseg.web.metrics import Metrics
from edgeseg.web.monitor import EngineFacts, Monitor, State

__all__ = ["Routes"]

#: So many may watch at a time, and each must take a picture within so many seconds.
VIEWERS = 16
PATIENCE_S = 10.0
#: A snapshot waits no longer for the next frame.
SNAPSHOT_S = 5.0
#: Bytes that the system keeps for a viewer, so that a slow one sees few old pictures.
SEND_BUFFER = 1 << 18
BOUNDARY = b"edgeseg-picture"


class Routes:
    """Answers requests from what the stream told last."""

    def __init__(
        self, engine: EngineFacts, monitor: Monitor, metrics: Metrics, broadcast: Broadcast, max_age_ms: float
    ) -> None:
        self._engine, self._monitor, self._metrics, self._broadcast = engine, monitor, metrics, broadcast
        self._max_age_ms = max_age_ms
        self._page = importlib.resources.files("edgeseg.web").joinpath("page.html").read_text("utf-8")
        self._policy = _policy(self._page)

    def add_to(self, app: web.Application) -> None:
        """Register all paths."""
        app.router.add_get("/", self._index)
        app.router.add_get("/stream.mjpg", self._stream, allow_head=False)
        app.router.add_get("/snapshot.jpg", self._snapshot, allow_head=False)
        app.router.add_get("/state.json", self._state)
        app.router.add_get("/metrics", self._metrics_text)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)

    async def _index(self, request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": self._policy}
        return web.Response(text=self._page, content_type="text/html", headers=headers)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Pictures without end. A viewer that takes none for long is left."""
        self._refuse_crowds()
        content_type = f"multipart/x-mixed-replace; boundary={BOUNDARY.decode()}"
        response = web.StreamResponse(headers={"Content-Type": content_type})
        transport = request.transport
        if transport is not None:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        with self._broadcast.watching():
            try:
                await response.prepare(request)
                await response.write(b"--%b\r\n" % BOUNDARY)
                number = self._broadcast.number
                while True:
                    picture = await self._broadcast.after(number)
                    await asyncio.wait_for(response.write(_part(picture)), PATIENCE_S)
                    number = picture.number
            except asyncio.TimeoutError:
                if transport is not None:
                    transport.abort()
                return response

    async def _snapshot(self, request: web.Request) -> web.Response:
        self._refuse_crowds()
        with self._broadcast.watching():
            try:
                picture = await asyncio.wait_for(self._broadcast.after(self._broadcast.number), SNAPSHOT_S)
            except asyncio.TimeoutError:
                raise web.HTTPServiceUnavailable(text="There is no picture yet.\n") from None
        headers = {"X-Edgeseg-State": picture.state}
        return web.Response(body=picture.jpeg, content_type="image/jpeg", headers=headers)

    def _refuse_crowds(self) -> None:
        if self._broadcast.viewers >= VIEWERS:
            raise web.HTTPServiceUnavailable(
                text=f"{VIEWERS} watch already, and no more can.\n", headers={"Retry-After": "5"}
            )

    async def _state(self, request: web.Request) -> web.Response:
        standing = self._monitor.standing()
        state = State(
            state=standing.state,
            reason=standing.reason,
            age_ms=standing.age_ms,
            viewers=self._broadcast.viewers,
            engine=self._engine,
            report=self._monitor.report,
        )
        return web.Response(body=msgspec.json.encode(state), content_type="application/json")

    async def _metrics_text(self, request: web.Request) -> web.Response:
        body, content_type = self._metrics.text(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _healthz(self, request: web.Request) -> web.Response:
        if self._monitor.hangs:
            raise web.HTTPServiceUnavailable(text=f"The stream has hung for {self._monitor.quiet_s:.0f} s.\n")
        return web.Response(text="The stream runs.\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        standing = self._monitor.standing()
        if standing.age_ms is not None and standing.age_ms < self._max_age_ms:
            return web.Response(text=f"The newest frame is {standing.age_ms:.0f} ms old.\n")
        age = "" if standing.age_ms is None else f"The newest frame is {standing.age_ms:.0f} ms old. "
        raise web.HTTPServiceUnavailable(text=f"{standing.state}: {age}{standing.reason}\n")


def _part(picture: Picture) -> bytes:
    """One picture of the stream. The boundary of the next is sent with it, for browsers show a picture only then."""
    head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\nX-Edgeseg-State: %b\r\n\r\n"
    return b"%b%b\r\n--%b\r\n" % (head % (len(picture.jpeg), picture.state.encode()), picture.jpeg, BOUNDARY)


def _policy(page: str) -> str:
    """What the page may do: run the one script and the one style that it was made with, and ask here alone."""
    script, style = (_digest(page, tag) for tag in ("script", "style"))
    return (
        f"default-src 'none'; script-src '{script}'; style-src '{style}'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _digest(page: str, tag: str) -> str:
    (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    return f"sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}"
