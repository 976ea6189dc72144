"""The servers of a process: one gRPC server for each door, a fast one, one HTTP server, and the addresses at which they listen."""

import os
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import structlog

from rampd._contract.validation import violations
from rampd_server.domain.evidence.samples import Sample
from rampd_server.domain.repo_sample import RepoSample
from rampd_server.doors import Doors
from rampd_server.http.app import Pages, Parts, application
from rampd_server.http.health import Health
from rampd_server.http.server import HttpServer
from rampd_server.metrics.collector import Scraped
from rampd_server.page import routes as page
from rampd_server.process import open_files
from rampd_server.process.address import Address
from rampd_server.process.config import Config, fast_has_tls, http_has_tls, tls_of
from rampd_server.process.port import FAST
from rampd_server.process.startup import StartupError
from rampd_server.replica.replica import Replica
from rampd_server.rpc.binding import Handlers, bind
from rampd_server.rpc.call_counts import Calls
from rampd_server.rpc.certificates import Certificates
from rampd_server.rpc.door import Door
from rampd_server.rpc.server import LAUNCHER_SOCKET, Server, Servers, Serves
from rampd_server.rpc.server_status import OpenAddress, Reach
from rampd_server.rpc.streams import Streams

if TYPE_CHECKING:
    from rampd_server.fast.server import FastServer

_FOR_EVERY_USER = 0o666
"""The mode of the launcher socket. Jobs run as many users, and all of them may use it."""
_CONNECT = "connect_rpc"
"""Calls over HTTP, as the conventions of OpenTelemetry name them."""

log = structlog.get_logger()


class Listening(NamedTuple):
    """Where a server listens, with the ports that the system chose."""

    grpc: Address
    """The first one, if there are several."""
    http: Address | None
    fast: Address | None = None


class Measured(NamedTuple):
    """What counts calls, what answers a scrape, and what the page shows besides answers of the API."""

    calls: Calls
    scraped: Scraped
    samples: Callable[[str], Awaitable[Sequence[Sample]]]
    seen: Callable[[str], Awaitable[RepoSample]]


class Listeners:
    """`worker` is the number of this process among the processes that share the ports. None: no other process shares them."""

    def __init__(self, config: Config, doors: Doors, *, worker: int | None = None) -> None:
        """Raises StartupError if a certificate can't be used."""
        self._config = config
        self._doors = doors
        self._shares_port = worker is not None
        # Only the first worker has unix sockets.
        self._sockets = [] if worker else doors.sockets
        self.certificates = _certificates(config)
        listeners = (
            len(config.listen) + len(self._sockets) + (config.http is not None) + (config.fast_listen is not None)
        )
        self.addresses: list[OpenAddress] = []
        """Where the server answers, after `listen`: also at the unix sockets that another worker serves."""
        self.max_connections = open_files.connections_of_each(open_files.raise_limit(), listeners)
        """How many connections each address may have."""

    def listen(
        self, servicers: Mapping[str, object], replica: Replica, measured: Measured | None = None
    ) -> tuple[Servers, HttpServer | None, Listening]:
        """Binds all addresses. Returns the servers, which are not started yet, and where they listen. `measured` is what HTTP
        needs. Raises StartupError.
        """
        streams, calls = Streams(), None if measured is None else measured.calls
        tcp = self._server(servicers, self._doors.tcp, streams, calls)
        addresses = [self._bound(tcp, *each) for each in zip(self._config.listen, tls_of(self._config), strict=True)]
        self.addresses += (_tcp("grpc", address, self._doors.tcp) for address in addresses)
        with ExitStack() as if_another_fails:
            fast, fast_at = self._fast(servicers, streams, calls)
            if fast is not None:
                if_another_fails.callback(fast.close)
            # It starts first, because it may find that it can't.
            servers: list[Serves] = [tcp] if fast is None else [fast, tcp]
            for door, path in self._sockets:
                server = self._server(servicers, door, streams, calls)
                if path == self._config.launcher_socket:
                    server.listen_unix(path, mode=_FOR_EVERY_USER, setting=LAUNCHER_SOCKET)
                else:
                    server.listen_unix(path, mode=self._config.socket_mode, group=self._config.socket_group)
                servers.append(server)
            self.addresses += (self._socket(door, path) for door, path in self._doors.sockets)
            http, at = self._http(servicers, streams, replica, measured)
            if_another_fails.pop_all()
        return Servers(*servers), http, Listening(addresses[0], at, fast_at)

    def _fast(
        self, servicers: Mapping[str, object], streams: Streams, calls: Calls | None
    ) -> "tuple[FastServer | None, Address | None]":
        address, door = self._config.fast_listen, self._doors.tcp
        if address is None:
            return None, None
        server = _fast_server()(
            self._handlers(servicers, door, streams, calls),
            reflect=self._config.reflection,
            shares_port=self._shares_port,
            max_connections=self.max_connections,
        )
        bound = server.listen(address, self.certificates if fast_has_tls(self._config) else None)
        log.info("listening_fast", address=str(bound), tls=bound.is_tls)
        _warn_of_plaintext(bound)
        self.addresses.append(_tcp("grpc", bound, door))
        return server, bound

    def _http(
        self, servicers: Mapping[str, object], streams: Streams, replica: Replica, measured: Measured | None
    ) -> tuple[HttpServer | None, Address | None]:
        address, door = self._config.http, self._doors.tcp
        if address is None or measured is None:
            return None, None
        handlers = bind(
            servicers,
            violations=violations,
            door=door,
            streams=streams,
            calls=measured.calls,
            system=_CONNECT,
            logs_calls=self._config.access_log,
        )
        shown = page.routes(page.Served(handlers, door, replica, measured.samples, measured.seen))
        parts = Parts(
            handlers,
            door,
            replica,
            Health(replica, is_open=door.credentials is None),
            measured.scraped,
            Pages(shown, page.not_there),
            is_local=address.is_loopback and door.credentials is None,
            describes=self._config.reflection,
        )
        server = HttpServer(
            application(parts),
            stops=parts.stop,
            tls=self.certificates.context if self.certificates and http_has_tls(self._config) else None,
            shares_port=self._shares_port,
            max_connections=self.max_connections,
        )
        bound = server.listen(address)
        log.info("listening_http", address=str(bound), tls=bound.is_tls)
        _warn_of_plaintext(bound)
        self.addresses.append(_tcp("http", bound, door))
        return server, bound

    def _socket(self, door: Door, path: Path) -> OpenAddress:
        mode = _FOR_EVERY_USER if path == self._config.launcher_socket else self._config.socket_mode
        reach = Reach.MACHINE if mode & stat.S_IWOTH else Reach.GROUP if mode & stat.S_IWGRP else Reach.OWNER
        # Quoted as clients read it: a path may have bytes that are no text.
        return OpenAddress(f"unix://{quote(os.fsencode(path))}", "grpc", is_tls=False, reach=reach, door=door)

    def _server(self, servicers: Mapping[str, object], door: Door, streams: Streams, calls: Calls | None) -> Server:
        return Server(
            self._handlers(servicers, door, streams, calls),
            reflect=self._config.reflection,
            shares_port=self._shares_port,
            max_connections=self.max_connections,
        )

    def _handlers(self, servicers: Mapping[str, object], door: Door, streams: Streams, calls: Calls | None) -> Handlers:
        return bind(
            servicers,
            violations=violations,
            door=door,
            streams=streams,
            calls=calls,
            logs_calls=self._config.access_log,
        )

    def _bound(self, server: Server, address: Address, has_tls: bool) -> Address:
        certificates = self.certificates if has_tls else None
        bound = server.listen(address, None if certificates is None else certificates.credentials())
        log.info("listening", address=str(bound), tls=has_tls, socket=str(self._config.socket))
        _warn_of_plaintext(bound)
        return bound


def _fast_server() -> "type[FastServer]":
    """Raises StartupError if h2corn, which only this listener needs, is not installed."""
    try:
        from rampd_server.fast.server import FastServer  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "h2corn":
            raise
        raise StartupError(
            f"{FAST} needs h2corn, which is not installed: pip install 'rampd[server,fast]', or start without it."
        ) from error
    return FastServer


def _tcp(protocol: str, bound: Address, door: Door) -> OpenAddress:
    reach = Reach.MACHINE if bound.is_loopback else Reach.NETWORK
    return OpenAddress(str(bound), protocol, is_tls=bool(bound.is_tls), reach=reach, door=door)


def _warn_of_plaintext(bound: Address) -> None:
    if not bound.is_loopback and not bound.is_tls:
        log.warning(
            "insecure_plaintext",
            address=str(bound),
            what_it_means="others on the network can read everything that is sent, also tokens, unless the network encrypts it",
        )


def _certificates(config: Config) -> Certificates | None:
    if config.tls_cert is None or config.tls_key is None:
        return None
    return Certificates(config.tls_cert, config.tls_key, config.tls_client_ca)
