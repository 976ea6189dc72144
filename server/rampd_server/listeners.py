"""The servers of a process, one of gRPC for each door and one of HTTP, and where they listen."""

from collections.abc import Mapping
from typing import NamedTuple

import structlog

from rampd._contract.validation import violations
from rampd_server.doors import Doors
from rampd_server.http.app import Parts, application
from rampd_server.http.health import Health
from rampd_server.http.server import HttpServer
from rampd_server.process import open_files
from rampd_server.process.address import Address
from rampd_server.process.config import Config, http_has_tls, tls_of
from rampd_server.replica.replica import Replica
from rampd_server.rpc.binding import bind
from rampd_server.rpc.certificates import Certificates
from rampd_server.rpc.door import Door
from rampd_server.rpc.server import Server, Servers
from rampd_server.rpc.streams import Streams

_FOR_EVERY_USER = 0o666
"""The mode of the launcher socket: jobs have users of their own, and what it serves is for all of them."""
_CONNECT = "connect_rpc"
"""Calls over HTTP, as the conventions of OpenTelemetry name them."""

log = structlog.get_logger()


class Listening(NamedTuple):
    """Where a server listens, with the ports that the system chose."""

    grpc: Address
    """The first one, if there are several."""
    http: Address | None


class Listeners:
    """`worker` is the number of this process among those that share the ports; None: it has them alone."""

    def __init__(self, config: Config, doors: Doors, *, worker: int | None = None) -> None:
        """Raises StartupError: a certificate can't be used."""
        self._config = config
        self._doors = doors
        self._shares_port = worker is not None
        # A worker that is not the first has no unix socket.
        self._sockets = [] if worker else doors.sockets
        self._certificates = _certificates(config)
        listeners = len(config.listen) + len(self._sockets) + (config.http is not None)
        self.max_connections = open_files.connections_of_each(open_files.raise_limit(), listeners)
        """Of each address."""

    def listen(self, servicers: Mapping[str, object], replica: Replica) -> tuple[Servers, HttpServer | None, Listening]:
        """Binds all addresses; the servers, to be started. Raises StartupError."""
        streams = Streams()
        tcp = self._server(servicers, self._doors.tcp, streams)
        addresses = [self._bound(tcp, *each) for each in zip(self._config.listen, tls_of(self._config), strict=True)]
        servers = [tcp]
        for door, path in self._sockets:
            server = self._server(servicers, door, streams)
            if path == self._config.launcher_socket:
                server.listen_unix(path, mode=_FOR_EVERY_USER)
            else:
                server.listen_unix(path, mode=self._config.socket_mode, group=self._config.socket_group)
            servers.append(server)
        http, at = self._http(servicers, streams, replica)
        return Servers(*servers), http, Listening(addresses[0], at)

    def _http(
        self, servicers: Mapping[str, object], streams: Streams, replica: Replica
    ) -> tuple[HttpServer | None, Address | None]:
        address, door = self._config.http, self._doors.tcp
        if address is None:
            return None, None
        parts = Parts(
            bind(servicers, violations=violations, door=door, streams=streams, system=_CONNECT),
            door,
            Health(replica, is_open=door.credentials is None),
            is_local=address.is_loopback and door.credentials is None,
            describes=self._config.reflection,
        )
        server = HttpServer(
            application(parts),
            stops=parts.stop,
            tls=self._certificates.context() if self._certificates and http_has_tls(self._config) else None,
            shares_port=self._shares_port,
            max_connections=self.max_connections,
        )
        bound = server.listen(address)
        log.info("listening_http", address=str(bound), tls=bound.is_tls)
        _warn_of_plaintext(bound)
        return server, bound

    def _server(self, servicers: Mapping[str, object], door: Door, streams: Streams) -> Server:
        return Server(
            bind(servicers, violations=violations, door=door, streams=streams),
            reflect=self._config.reflection,
            shares_port=self._shares_port,
            max_connections=self.max_connections,
        )

    def _bound(self, server: Server, address: Address, has_tls: bool) -> Address:
        certificates = self._certificates if has_tls else None
        bound = server.listen(address, None if certificates is None else certificates.credentials())
        log.info("listening", address=str(bound), tls=has_tls, socket=str(self._config.socket))
        _warn_of_plaintext(bound)
        return bound


def _warn_of_plaintext(bound: Address) -> None:
    if not bound.is_loopback and not bound.is_tls:
        log.warning(
            "insecure_plaintext",
            address=str(bound),
            what_it_means="what is sent over it, tokens included, can be read on the way, unless the network encrypts",
        )


def _certificates(config: Config) -> Certificates | None:
    if config.tls_cert is None or config.tls_key is None:
        return None
    return Certificates(config.tls_cert, config.tls_key, config.tls_client_ca)
