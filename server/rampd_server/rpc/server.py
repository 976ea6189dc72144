"""The gRPC server: its options, its ports, its start and its end."""

import asyncio
import os
import socket
import stat
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import grpc

from rampd._contract.grammar import MAX_MESSAGE_BYTES
from rampd_server.process.address import Address
from rampd_server.process.embedded import MAX_SOCKET_PATH
from rampd_server.process.own_folder import make_own
from rampd_server.process.port import check_free
from rampd_server.process.startup import StartupError
from rampd_server.rpc.binding import Handlers
from rampd_server.rpc.standard import StandardServices

MAX_CALLS_OF_A_CONNECTION = 4_000
"""The number of calls that one connection has at once. Further calls wait at the client."""
MAX_WAITING_CALLS = 100_000
"""The number of calls that may wait until the server takes them up."""
MAX_WAIT_S = 3600
"""How long a call may wait until the server takes it up. A caller gives up earlier, and its call is dropped then."""

MAX_HEADERS_BYTES = 16 * 1024
"""The headers of one call. The token of a job of CI takes 2 KiB, one with many claims takes 8 KiB."""
HANDSHAKE_MS = 10_000
"""How long a connection may take until it is ready for calls. A client of rampd gives up earlier."""

SOCKET = "--socket (RAMPD_SOCKET)"
LAUNCHER_SOCKET = "--launcher-socket (RAMPD_LAUNCHER_SOCKET)"

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Clients ping to notice a dead link; by default more than one ping in five minutes is answered with GOAWAY.
    ("grpc.http2.min_ping_interval_without_data_ms", 4_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # By default gRPC ends some new calls at random with CANCELLED if a thousand others wait, and all of them from three
    # thousand on. Then a caller would be refused only because a whole fleet connects again at the same moment. A
    # waiting call costs a few KiB. A call that its caller has given up is dropped before it is taken up.
    ("grpc.server.max_pending_requests", MAX_WAITING_CALLS),
    ("grpc.server.max_pending_requests_hard_limit", MAX_WAITING_CALLS),
    # By default gRPC ends calls with CANCELLED that have waited for 30 s, also if their callers have more time.
    ("grpc.server_max_unrequested_time_in_server", MAX_WAIT_S),
    # More than a fleet behind one proxy needs. Without a limit, one connection could take the time of all others.
    ("grpc.max_concurrent_streams", MAX_CALLS_OF_A_CONNECTION),
    # Each connection is an open file, and their number is limited. A connection without a handshake is ended soon, a
    # connection without a call later. A caller's gRPC opens it again by itself.
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
    ("grpc.max_connection_idle_ms", 300_000),
    # Both the same. By default gRPC refuses calls at random whose headers are between the two.
    ("grpc.max_metadata_size", MAX_HEADERS_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_HEADERS_BYTES),
)
_LOOK_S = 0.03
_MOST_LOOKS = 20


class Server:
    """Serves handlers on any number of addresses. The health service says NOT_SERVING until `set_health` changes it.

    Each address takes up to `max_connections`. A further connection is closed at once, so that its caller gets
    UNAVAILABLE.

    Create it inside a running loop. Call in this order: `listen`, `listen_unix`, `start`, `set_health`, `stop`.
    """

    def __init__(
        self, handlers: Handlers, *, reflect: bool = True, shares_port: bool = False, max_connections: int | None = None
    ) -> None:
        self._handlers = handlers
        self._shares_port = shares_port
        # By default two servers can share a port by mistake, and both get calls. A second server must fail, except a
        # worker.
        options = [*_OPTIONS, ("grpc.so_reuseport", int(shares_port))]
        if max_connections is not None:
            options.append(("grpc.max_allowed_incoming_connections", max_connections))
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((handlers,))
        self._standard = StandardServices(reflect=reflect)
        self._standard.add_to(self._server)

    def listen(self, address: Address, credentials: grpc.ServerCredentials | None = None) -> Address:
        """Binds a TCP port, with TLS if there are credentials. Returns the address with the port that the system chose. Raises
        StartupError.
        """
        if address.port and not self._shares_port:
            check_free(address)
        try:
            if credentials is None:
                port = self._server.add_insecure_port(str(address))
            else:
                port = self._server.add_secure_port(str(address), credentials)
            return Address(address.host, port, credentials is not None)
        except RuntimeError as error:
            raise StartupError(f"Can't listen on {address}.") from error

    def listen_unix(self, path: Path, *, mode: int = 0o600, group: int | None = None, setting: str = SOCKET) -> None:
        """Binds a unix socket, which never has a wider mode than `mode`. Replaces the socket of a dead server. `setting` is where
        the path was given. Raises StartupError.
        """
        if len(os.fsencode(path)) > MAX_SOCKET_PATH:
            raise StartupError(
                f"{path} is too long for the path of a unix socket (at most {MAX_SOCKET_PATH} bytes): "
                f"give a shorter {setting}."
            )
        try:
            # The admin socket is in the data directory if nobody says otherwise.
            make_own(path.parent, f"{SOCKET} or --data-dir (RAMPD_DATA_DIR)" if setting == SOCKET else setting)
            _remove_stale(path, setting)
            # The mode must be right from the first moment, so it can't be set afterwards.
            umask = os.umask(0o777 & ~(mode if group is None else 0o600))
            try:
                # Quoted, because gRPC decodes the path of an address.
                self._server.add_insecure_port(f"unix:{quote(os.fsencode(path))}")
            finally:
                os.umask(umask)
            if group is not None:
                os.chown(path, -1, group)
                path.chmod(mode)
        except (OSError, RuntimeError) as error:
            reason = f": {error.strerror}" if isinstance(error, OSError) else ""
            raise StartupError(f"Can't listen on the unix socket {path}{reason}.") from error

    async def start(self) -> None:
        """Begins to answer calls."""
        await self.set_health(resolves=False, writes=False)
        await self._server.start()

    async def set_health(self, *, resolves: bool, writes: bool, damaged: bool = False) -> None:
        """As `StandardServices.set_health`."""
        await self._standard.set_health(resolves=resolves, writes=writes, damaged=damaged)

    async def stop(self, grace_s: float) -> None:
        """Sets NOT_SERVING for good, takes no new calls, and cancels calls under way after `grace_s` seconds.

        When gRPC stops, it ends calls that it has not handed on with CANCELLED. So the server first takes calls up
        without an answer until no more calls come, and refuses them after gRPC has told the callers to go elsewhere.
        """
        await self._standard.stop()
        self._handlers.hold()
        for _ in range(_MOST_LOOKS):
            held = self._handlers.held
            await asyncio.sleep(_LOOK_S)
            if self._handlers.held == held:
                break
        stopping = asyncio.create_task(self._server.stop(grace_s))
        await asyncio.sleep(_LOOK_S)
        self._handlers.refuse()
        await stopping


class Serves(Protocol):
    """A server of gRPC, whoever carries its calls."""

    async def start(self) -> None:
        """Begins to answer calls. Raises StartupError."""

    async def set_health(self, *, resolves: bool, writes: bool, damaged: bool = False) -> None:
        """As `StandardServices.set_health`."""

    async def stop(self, grace_s: float) -> None:
        """Sets NOT_SERVING for good, takes no new calls, and ends calls under way after `grace_s` seconds."""


class Servers:
    """Several servers of one process, which start, serve and stop together."""

    def __init__(self, *servers: Serves) -> None:
        self._servers = servers

    async def start(self) -> None:
        """Begins to answer calls."""
        for each in self._servers:
            await each.start()

    async def set_health(self, *, resolves: bool, writes: bool, damaged: bool = False) -> None:
        """As `Server.set_health`, of all."""
        for each in self._servers:
            await each.set_health(resolves=resolves, writes=writes, damaged=damaged)

    async def stop(self, grace_s: float) -> None:
        """As `Server.stop`, of all at once."""
        await asyncio.gather(*(each.stop(grace_s) for each in self._servers))


def _remove_stale(path: Path, setting: str) -> None:
    """Removes the socket of a dead server. gRPC would also remove the socket of a server that runs."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise StartupError(f"{path} exists and is not a socket: give another {setting}.")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise StartupError(
        f"A server listens on the unix socket {path}: end that server, or give this one another {setting}."
    )
