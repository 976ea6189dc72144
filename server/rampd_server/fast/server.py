"""The fast listener: h2corn in the event loop that grpcio has, with bounds for connections that are slow, many or hostile.

h2corn reads its certificate once. So a new certificate begins another run of h2corn on the same socket, and ends the run before: its
connections are told to go elsewhere, and clients come back over new ones. `held.py` says why no call is lost then.
"""

import asyncio
import contextlib
import os
import socket
from typing import Final

import h2corn
import structlog
from h2corn import _lib

from rampd._contract.grammar import MAX_MESSAGE_BYTES
from rampd_server.fast.app import FastApp
from rampd_server.fast.held import held
from rampd_server.fast.services import Services
from rampd_server.process import port
from rampd_server.process.address import Address
from rampd_server.process.startup import StartupError
from rampd_server.rpc.binding import Handlers
from rampd_server.rpc.certificates import Certificates, Content, Paths, named
from rampd_server.rpc.server import HANDSHAKE_MS, MAX_CALLS_OF_A_CONNECTION, MAX_HEADERS_BYTES, MAX_WAITING_CALLS
from rampd_server.rpc.standard import StandardServices

DRAIN_S: Final = 10.0
"""How long a run of h2corn goes on at most, after it was told to end."""
_BEFORE_DRAIN_S: Final = 2.0
"""So long before, calls of a run with an earlier certificate are ended by rampd, which tells their callers why."""
IDLE_S: Final = 2_000.0
"""How long a connection may be without a call. It is more than the half hour after which gRPC closes such a connection in the caller:
h2corn does not look whether the caller is just about to call.
"""
HEAD_S: Final = 10.0
"""How long a caller may take to send the headers of a call."""
BODY_S: Final = 30.0
"""How long a caller may pause while it sends a message."""
UNREAD_S: Final = 10.0
"""How long an answer may wait while its caller reads nothing of it. Then its call ends. All answers of a connection share 2 MiB in
h2corn until callers read them, so such a call can hold up the others of its connection for so long.
"""
WRITE_S: Final = 60.0
"""How long what is on its way to the network may take. Then the connection ends."""
_CALL_WINDOW, _CONNECTION_WINDOW = 256 * 1024, 1024 * 1024
"""How many bytes a call, and a connection, may send before rampd has read them."""
_FRAME_BYTES: Final = 16 * 1024
_MOST_HEADERS: Final = 100
_HEADERS_ON_WIRE_BYTES: Final = 4 * MAX_HEADERS_BYTES
"""Headers that are larger than this end their connection with all its calls, so the bound of one call is far below it."""
_REFLECTION: Final = "/grpc.reflection.v1alpha.ServerReflection/*"
_LOOK_S: Final = 1.0
"""How often the files of the certificate are looked at."""
_ACCEPTED_S: Final = 0.03
_CANT_BEGIN: Final = (OSError, ValueError, RuntimeError)
"""What a run of h2corn raises that can't begin."""

_log: Final = structlog.get_logger(__name__)

# h2corn says on standard error that it begins, in lines that are none of the log. It has no switch for that.
vars(_lib)["emit_banner"] = lambda *_: None


class FastServer:
    """Serves handlers on one address, by h2corn. The health service says NOT_SERVING until `set_health` changes it.

    The address takes up to `max_connections`. A further connection waits until another one ends.

    Create it inside a running loop. Call in this order: `listen`, `start`, `set_health`, `stop`.
    """

    def __init__(
        self, handlers: Handlers, *, reflect: bool = True, shares_port: bool = False, max_connections: int | None = None
    ) -> None:
        self._standard = StandardServices(reflect=reflect)
        self._services = Services(handlers, self._standard)
        self._shares_port = shares_port
        self._max_connections = max_connections
        self._certificates: Certificates | None = None
        self._sockets: list[socket.socket] = []
        self._port = 0
        self._run: _Run | None = None
        self._earlier: dict[asyncio.Task[None], _Run] = {}
        """The runs with an earlier certificate, each by what ends it."""
        self._keeping: asyncio.Task[None] | None = None
        self._stops = asyncio.Event()

    def listen(self, address: Address, certificates: Certificates | None = None) -> Address:
        """Binds the port, with TLS if there are certificates. Returns the address with the port that the system chose. Raises
        StartupError.
        """
        self._certificates = certificates
        self._sockets, found = port.opened(address, shares_port=self._shares_port, setting=port.FAST)
        self._port = found.port
        return Address(found.host, found.port, certificates is not None)

    async def start(self) -> None:
        """Begins to answer calls. Raises StartupError."""
        await self.set_health(resolves=False, writes=False)
        # h2corn would tell systemd that the whole process is ready, and at each new certificate that it stops.
        os.environ.pop("NOTIFY_SOCKET", None)
        content = None if self._certificates is None else self._certificates.content()
        try:
            self._run = await self._begun(content)
        except _CANT_BEGIN as error:
            self.close()
            raise StartupError(
                f"{port.FAST}: h2corn can't use --tls-cert, --tls-key or --tls-client-ca: {error}."
            ) from error
        self._keeping = asyncio.create_task(self._keep(content))

    async def set_health(self, *, resolves: bool, writes: bool, damaged: bool = False) -> None:
        """As `StandardServices.set_health`."""
        await self._standard.set_health(resolves=resolves, writes=writes, damaged=damaged)

    async def stop(self, grace_s: float) -> None:
        """Sets NOT_SERVING for good, takes no new calls, and ends calls under way after `grace_s` seconds with UNAVAILABLE. h2corn
        refuses new calls in the way by which clients know that nothing has had them, and send them elsewhere by themselves.
        """
        await self._standard.stop()
        self._stops.set()
        if self._keeping is not None:
            await self._keeping
        if self._run is not None:
            runs = (self._run, *self._earlier.values())
            async with held(self._port):
                for each in runs:
                    each.shutdown()
                ending = asyncio.gather(*(each.end(grace_s) for each in runs), *self._earlier)
                # h2corn must know that it ends before its socket does: it would take that for an error, and drop all connections.
                await asyncio.sleep(_ACCEPTED_S)
                self.close()
            await ending
        self.close()

    def close(self) -> None:
        """Refuses new connections at once, also while h2corn still has a copy of the socket. `stop` does it by itself; a server that
        does not come to `start` needs nothing else.
        """
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._sockets = []

    async def _begun(self, content: Content | None) -> "_Run":
        """Begins a run of h2corn. Raises `_CANT_BEGIN`."""
        with contextlib.ExitStack() as stack:
            paths = None if content is None else stack.enter_context(named(content))
            return await _Run.begun(FastApp(self._services), self._configuration(paths))

    async def _keep(self, in_use: Content | None) -> None:
        """Begins another run after each change of the certificate, and where h2corn has ended by itself, until the server stops."""
        while not await self._has_stopped_within(_LOOK_S):
            content = None if self._certificates is None else self._certificates.content()
            earlier = self._run
            if earlier is None or (content is in_use and not earlier.has_ended):
                continue
            in_use = content
            if earlier.has_ended:
                _log.error(
                    "fast_listener_ended",
                    error=earlier.why,
                    what_it_means="all its connections have ended, and callers come back by themselves",
                    what_to_do="rampd begins it again; if the line comes often, callers can use --listen meanwhile",
                )
                await self._begin_again(content)
                continue
            async with held(self._port):
                if await self._begin_again(content):
                    earlier.shutdown()
                    ending = asyncio.create_task(earlier.end(DRAIN_S - _BEFORE_DRAIN_S))
                    self._earlier[ending] = earlier
                    ending.add_done_callback(self._earlier.pop)

    async def _begin_again(self, content: Content | None) -> bool:
        """Begins another run. Returns whether it could."""
        try:
            self._run = await self._begun(content)
        except _CANT_BEGIN as error:
            _log.error(
                "certificate_refused",
                error=f"{port.FAST}: h2corn can't use it: {error}",
                what_it_means="the earlier certificate stays in use",
                what_to_do="put files in place that h2corn can use; they are read again when they change",
            )
            return False
        return True

    async def _has_stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stops.wait(), seconds)
        return self._stops.is_set()

    def _configuration(self, paths: Paths | None) -> h2corn.Config:
        """What h2corn is told, with all its bounds. What it bounds by itself: a connection that resets more than 200 calls in 10 s
        ends, and headers that grow while they are decompressed end at their limit.
        """
        client_ca = None if paths is None else paths.client_ca
        return h2corn.Config(
            bind=tuple(f"fd://{each.fileno()}" for each in self._sockets),
            certfile=None if paths is None else paths.certificate,
            keyfile=None if paths is None else paths.key,
            ca_certs=client_ca,
            cert_reqs="none" if client_ca is None else "required",
            lifespan="off",
            grpc=True,
            http1=False,
            access_log=False,
            date_header=False,
            # With two threads, one wakes the other for each call that comes alone, for nothing. Python takes more of the time.
            runtime_threads=1,
            max_concurrent_streams=MAX_CALLS_OF_A_CONNECTION,
            # Each call is a task from its headers on, also while its message does not come. Those above the limit are UNAVAILABLE.
            limit_concurrency=MAX_WAITING_CALLS,
            limit_connections=self._max_connections or 0,
            limit_request_fields=_MOST_HEADERS,
            h2_max_header_list_size=MAX_HEADERS_BYTES,
            h2_max_header_block_size=_HEADERS_ON_WIRE_BYTES,
            h2_max_inbound_frame_size=_FRAME_BYTES,
            h2_initial_stream_window_size=_CALL_WINDOW,
            h2_initial_connection_window_size=_CONNECTION_WINDOW,
            request_policies=(
                # A stream of questions has no end, and may pause.
                _policy(_REFLECTION, most_bytes=0, pause_s=0),
                _policy("/*", most_bytes=MAX_MESSAGE_BYTES + _FRAME_BYTES, pause_s=BODY_S),
            ),
            timeout_handshake=HANDSHAKE_MS / 1000,
            timeout_graceful_shutdown=DRAIN_S,
            timeout_keep_alive=IDLE_S,
            timeout_request_header=HEAD_S,
            h2_timeout_write=WRITE_S,
        )


def _policy(path: str, *, most_bytes: int, pause_s: float) -> h2corn.RequestPolicy:
    """How much the requests of a path may have, and how long they may pause. 0: there is no bound."""
    return h2corn.RequestPolicy(
        path=path,
        max_request_body_size=most_bytes,
        timeout_request_body_idle=pause_s,
        h2_timeout_response_stall=UNREAD_S,
    )


class _Run:
    """A run of h2corn with one certificate."""

    def __init__(self, app: FastApp, configuration: h2corn.Config) -> None:
        self._app = app
        self._server = h2corn.Server(app, configuration)
        self._serving: asyncio.Task[None] = asyncio.create_task(self._server.serve())

    @classmethod
    async def begun(cls, app: FastApp, configuration: h2corn.Config) -> "_Run":
        """Begins a run, and waits until it takes connections. Raises `_CANT_BEGIN`."""
        run = cls(app, configuration)
        try:
            await run._server.wait_started()
        except BaseException:
            run._server.shutdown()
            await asyncio.gather(run._serving, return_exceptions=True)
            raise
        return run

    @property
    def has_ended(self) -> bool:
        """Whether h2corn takes no connections any more."""
        return self._serving.done()

    @property
    def why(self) -> str:
        """The error with which h2corn has ended."""
        error = None if self._serving.cancelled() else self._serving.exception()
        return "it was told to" if error is None else repr(error)

    def shutdown(self) -> None:
        """Takes no new connections, and tells callers to go elsewhere. h2corn ends by itself as soon as no connection has a call or
        an answer on its way.
        """
        self._server.shutdown()

    async def end(self, grace_s: float) -> None:
        """Waits until h2corn has ended after `shutdown`. Calls under way are ended after `grace_s` seconds."""
        await asyncio.wait([self._serving], timeout=grace_s)
        self._app.calls.end()
        await asyncio.wait([self._serving], timeout=DRAIN_S)
