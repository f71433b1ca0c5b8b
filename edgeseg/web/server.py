"""The page's HTTP server, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import threading
from concurrent.futures import Future

from aiohttp import web
from aiohttp.typedefs import Handler

from edgeseg.errors import EdgesegError, UsageError
from edgeseg.web.address import Address
from edgeseg.web.broadcast import Broadcast
from edgeseg.web.guard import guard, seal
from edgeseg.web.metrics import Metrics
from edgeseg.web.monitor import EngineFacts, Monitor, Word
from edgeseg.web.routes import Routes

__all__ = ["Server"]

#: More connections than these, and the oldest that waits for a request goes. Files and cameras need handles too.
CONNECTIONS = 128
#: So many wait to be accepted.
BACKLOG = 256
#: Seconds for a request's head to arrive, and for the next on the same connection.
HEAD_S = 10.0
#: Bytes of the request's first line.
LINE = 4096

#: Of HTTP itself. Who sends nonsense gets a 400, and does not fill the log with traces.
_quiet = logging.getLogger(f"{__name__}.http")
_quiet.setLevel(logging.CRITICAL)


class Server:
    """Serves from when it is made until it is closed.

    Attributes:
        port: It listens on.
        metrics: Counts frames; may be told from any thread.
    """

    def __init__(self, address: Address, engine: EngineFacts, monitor: Monitor) -> None:
        """Listen and start the thread.

        Raises:
            EdgesegError: The port is taken, or may not be used.
            UsageError: This machine does not have the address.
        """
        self._broadcast = Broadcast()
        self.metrics = Metrics(engine, monitor, self.viewers)
        self._routes = Routes(engine, monitor, self.metrics, self._broadcast, address.max_age_ms)
        self._address = address
        self._listening = _listen(address)
        self.port: int = self._listening.getsockname()[1]
        self._busy: set[asyncio.BaseProtocol] = set()
        self._unheard: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}
        self._stop = asyncio.Event()
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="edgeseg-page", daemon=True)
        self._thread.start()
        self._loop = started.result()

    def viewers(self) -> int:
        """How many watch the picture."""
        return self._broadcast.viewers

    def publish(self, jpeg: bytes, state: Word) -> None:
        """Show a picture to all who watch. Called by any thread before `close`."""
        self._loop.call_soon_threadsafe(self._broadcast.put, jpeg, state)

    def close(self) -> None:
        """End all connections and the thread. Closing twice is allowed."""
        with contextlib.suppress(RuntimeError):  # The loop is closed already.
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        try:
            asyncio.run(self._serve(started))
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)
        finally:
            self._listening.close()

    async def _serve(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        app = web.Application(middlewares=[self._count_busy, guard(self._address)])
        app.on_response_prepare.append(seal)
        self._routes.add_to(app)
        # A viewer that leaves ends its handler at once; nobody sends a body, and none is waited for.
        runner = web.AppRunner(
            app, handler_cancellation=True, keepalive_timeout=HEAD_S, lingering_time=0, max_line_size=LINE,
            access_log=None, logger=_quiet, shutdown_timeout=0.1,
        )  # fmt: skip
        await runner.setup()
        server = runner.server
        assert server is not None
        loop = asyncio.get_running_loop()
        accepting = await loop.create_server(lambda: self._accept(server), sock=self._listening, backlog=BACKLOG)
        started.set_result(loop)
        await self._stop.wait()
        accepting.close()
        for connection in server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()

    def _accept(self, server: web.Server) -> asyncio.BaseProtocol:
        """The protocol of one more connection, for which there is room once it is made."""
        loop = asyncio.get_running_loop()
        loop.call_soon(self._make_room, server)
        connection = server()
        # aiohttp's own time for the next request begins with the first one, but in its newest versions.
        self._unheard[connection] = loop.call_later(HEAD_S, self._leave_unheard, connection)
        return connection

    def _leave_unheard(self, connection: web.RequestHandler) -> None:
        self._unheard.pop(connection, None)
        connection.force_close()

    def _make_room(self, server: web.Server) -> None:
        """Close what is too many of the connections that wait for a request, the oldest first."""
        made = [one for one in server.connections if one.transport is not None]
        idle = [one for one in made if one not in self._busy]
        for connection in idle[: max(0, len(made) - CONNECTIONS)]:
            connection.force_close()

    @web.middleware
    async def _count_busy(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._busy.add(request.protocol)
        if (timer := self._unheard.pop(request.protocol, None)) is not None:
            timer.cancel()
        try:
            return await handler(request)
        finally:
            self._busy.discard(request.protocol)


def _listen(address: Address) -> socket.socket:
    host, port = address.host, address.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, dualstack_ipv6=host == "::")
    except OSError as error:
        other = address.url("web", port + 1 if 1024 <= port < 65535 else 8080)
        other += "?token=..." if address.token else ""
        if error.errno == errno.EADDRINUSE:
            raise EdgesegError(
                f"The page can't be served on port {port} of {host}: something else listens there.",
                hint=f"Type {other}",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise EdgesegError(
                f"The page can't be served on port {port}, which is for the system's own services.",
                hint=f"Type {other}",
            ) from error
        raise UsageError(
            f"The page can't be served on {host}: {error.strerror}.",
            hint="Name an address of this machine: 127.0.0.1 for itself alone, 0.0.0.0 for all of its networks.",
        ) from error
