"""The server of HTTP: uvicorn's protocol in the event loop that gRPC has, with bounds for connections that are slow or too many.

uvicorn's own server is not used: it would take the signals of the process, and drop calls when it stops.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from socket import socket
from typing import Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from rampd_server.http.context import TLS
from rampd_server.process import port
from rampd_server.process.address import Address
from rampd_server.rpc.server import HANDSHAKE_MS, MAX_HEADERS_BYTES

HEAD_S: Final = 10.0
"""How long a caller may take to send the head of a request. The first one of a connection counts from the connection on."""
UNREAD_S: Final = 60.0
"""How long an answer may wait for a caller that does not read. Then the connection is closed."""
_KEEP_ALIVE_S: Final = 75
"""How long a connection may be without a request. Most clients and proxies keep theirs for a shorter time."""
_AGAIN_S: Final = 0.1
"""The pause after a connection could not be taken, because no file is left for example."""
_PIECE: Final = 8 * 1024
"""How much of what comes at once is parsed at a time. In the worst case, chunks of one byte, this keeps the event loop for 10 ms."""
_READ_AHEAD: Final = 64 * 1024
"""How much of the next requests a connection may send while it waits for an answer."""
KEPT_S: Final = 0.5
"""How long a stopping server goes on to answer calls on the connections that are open."""
_LOOK_S: Final = 0.02
_END_S: Final = 1.0


class HttpServer:
    """Serves an application on one address. A connection beyond `max_connections` is closed at once. Connections whose handshake
    of TLS is under way count, too.

    Create it inside a running loop. Call in this order: `listen`, `start`, `stop`.
    """

    def __init__(
        self,
        application: ASGIApp,
        *,
        stops: Callable[[], None] = lambda: None,
        tls: Callable[[], ssl.SSLContext] | None = None,
        shares_port: bool = False,
        max_connections: int | None = None,
    ) -> None:
        """`stops` is called when the server begins to stop. From then on the application has to refuse calls. `tls` is called for
        each connection.
        """
        self._stops = stops
        self._tls = tls
        self._shares_port = shares_port
        self._max_connections = max_connections
        self._sockets: list[socket] = []
        self._arriving: set[asyncio.Task[None]] = set()
        """One for each connection that can't have requests yet."""
        self._state = ServerState()
        self._telling_time: asyncio.Task[None] | None = None
        self._uvicorn = uvicorn.Config(
            application,
            loop="none",
            http="h11",
            lifespan="off",
            ws="none",
            interface="asgi3",
            log_config=None,
            # What anybody who reaches the port can make happen must not fill the log. The application logs its own errors.
            log_level=logging.CRITICAL,
            access_log=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=MAX_HEADERS_BYTES,
            timeout_keep_alive=_KEEP_ALIVE_S,
        )
        self._uvicorn.load()

    def listen(self, address: Address) -> Address:
        """Binds the port. Returns the address with the port that the system chose. Raises StartupError."""
        self._sockets, found = port.opened(address, shares_port=self._shares_port, setting=port.HTTP)
        return Address(found.host, found.port, self._tls is not None)

    async def start(self) -> None:
        """Begins to answer requests."""
        self._telling_time = asyncio.create_task(self._tell_time())
        for each in self._sockets:
            self._read(each)

    async def stop(self, grace_s: float) -> None:
        """Takes no new connections, refuses new calls, and ends calls under way after `grace_s` seconds."""
        self._stops()
        for each in self._sockets:
            asyncio.get_running_loop().remove_reader(each)
            each.close()
        if self._telling_time is None:
            return
        # A call that comes on an open connection gets an answer. If the connection were closed, the caller would not know
        # whether the call was carried out.
        for _ in range(round(KEPT_S / _LOOK_S)):
            if not self._state.connections and not self._arriving:
                break
            await asyncio.sleep(_LOOK_S)
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=grace_s)
        for task in self._state.tasks:
            task.cancel()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=_END_S)
        for connection in list(self._state.connections):
            if not connection.transport.is_closing():
                connection.shutdown()
        for task in self._arriving:
            task.cancel()
        await asyncio.gather(*self._arriving, return_exceptions=True)
        self._telling_time.cancel()

    def _read(self, listener: socket) -> None:
        """Takes connections from now on. asyncio's own servers announce a connection only after its handshake, so they are not used."""
        if listener.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            # Another worker was quicker.
            return
        except OSError:
            loop.remove_reader(listener)
            loop.call_later(_AGAIN_S, self._read, listener)
            return
        if self._is_full():
            connection.close()
            return
        connection.setblocking(False)
        task = loop.create_task(self._begin(connection))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    def _is_full(self) -> bool:
        number = len(self._arriving) + len(self._state.connections)
        return self._max_connections is not None and number >= self._max_connections

    async def _begin(self, connection: socket) -> None:
        """Makes a connection ready for requests."""
        handshake_s = None if self._tls is None else HANDSHAKE_MS / 1000
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - see `_accept`
        # From then on it is among the connections of uvicorn, and must not count twice.
        arrived = partial(self._arriving.discard, task)
        # A caller that speaks no TLS, or too slowly, is no fault of this server.
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Protocol(self._uvicorn, self._state, arrived),
                connection,
                ssl=None if self._tls is None else self._tls(),
                ssl_handshake_timeout=handshake_s,
            )

    async def _tell_time(self) -> None:
        """Keeps the header `date` of all answers right."""
        while True:
            self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
            await asyncio.sleep(1)


class _Protocol(H11Protocol):
    """One connection."""

    def __init__(self, configuration: uvicorn.Config, state: ServerState, arrived: Callable[[], None]) -> None:
        """`arrived` is called when the connection is ready for requests."""
        super().__init__(configuration, state, app_state={})
        self._arrived = arrived
        self._head = _Limit(HEAD_S)
        self._unread = _Limit(UNREAD_S)
        self._waiting = bytearray()
        """What has come and is not parsed yet."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        self._arrived()
        super().connection_made(transport)
        # Each request gets a copy.
        self.app_state[TLS] = transport.get_extra_info("ssl_object")
        self._head.begin(transport)

    def data_received(self, data: bytes) -> None:
        if len(data) <= _PIECE and not self._waiting:
            self._take(data)
            return
        is_first = not self._waiting
        self._waiting += data
        self.transport.pause_reading()
        if is_first:
            self._take_piece()

    def _take_piece(self) -> None:
        """Parses a piece of what waits. The next one has its turn after those of other tasks."""
        if self.transport.is_closing():
            return
        # It stays until it is parsed, so that what comes meanwhile waits behind it.
        self._take(bytes(memoryview(self._waiting)[:_PIECE]))
        del self._waiting[:_PIECE]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._take_piece)
        elif not self.flow.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def _take(self, data: bytes) -> None:
        before = self.cycle
        try:
            super().data_received(data)
        except h11.LocalProtocolError:
            # uvicorn answers 400 also if another answer is under way.
            self.transport.abort()
        if self.flow.read_paused and self._reads_ahead():
            # uvicorn stops reading at the next request, and then it does not notice that the caller has gone.
            self.flow.resume_reading()
        if self.cycle is not before:
            self._head.end()
        elif before is None or before.response_complete:
            self._head.begin(self.transport)

    def _reads_ahead(self) -> bool:
        is_whole = not self.cycle.more_body and not self.transport.is_closing()
        return is_whole and len(self.conn.trailing_data[0]) <= _READ_AHEAD

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.end()
        self._unread.end()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.begin(self.transport)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread.end()


class _Limit:
    """A time after which a connection is closed, if what began has not ended."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, transport: asyncio.Transport) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._limit_s, transport.abort)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
